package pattern

import (
	"slices"
	"strings"

	"polity.run"
	"polity.run/agent"
	"polity.run/message"
)

// Links are permissions, and this file is where they are read: who may message whom in a release, whoever enforces it.

// ArePeers says whether an organization of a release whose members write to each other links two of them.
func ArePeers(r *agent.Release, from, to polity.AgentName) bool {
	return slices.ContainsFunc(peers(r, from), func(n polity.AgentName) bool { return n == to })
}

// peers are those to whom an agent may write as a peer.
func peers(r *agent.Release, name polity.AgentName) (list []polity.AgentName) {
	for i := range r.Agents {
		def := r.Agents[i].Org
		if def == nil || !slices.Contains(def.Members, name) {
			continue
		}
		cfg, err := Parse(def.Pattern, def.Config)
		if err != nil {
			continue // of a pattern that this program does not know: it is not run either
		}
		if linked, ok := cfg.(*Peers); ok {
			reach, _ := linked.Reach(name)
			list = append(list, reach...)
		}
	}
	return list
}

// Recipients are those to whom an agent may write by its own release: by the links of messages, or as a peer, sorted. A topic may be a pattern.
func Recipients(r *agent.Release, name polity.AgentName) []message.Address {
	var to []message.Address
	if r.Messages != nil {
		for _, l := range r.Messages.Links {
			if l.From == message.To(name) {
				to = append(to, l.To...)
			}
		}
	}
	for _, n := range peers(r, name) {
		to = append(to, message.To(n))
	}
	slices.SortFunc(to, func(a, b message.Address) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(to)
}

// Writers are the agents of a release that may write to one of it, sorted.
func Writers(r *agent.Release, name polity.AgentName) []polity.AgentName {
	var from []polity.AgentName
	if r.Messages != nil {
		for _, l := range r.Messages.Links {
			if l.From.Kind == message.Agent && slices.ContainsFunc(l.To, func(to message.Address) bool {
				return to == message.To(name) || to.Kind != message.Agent && slices.Contains(Meant(r, to), name)
			}) {
				from = append(from, polity.AgentName(l.From.Name))
			}
		}
	}
	for i := range r.Agents {
		if def := r.Agents[i].Org; def != nil && slices.Contains(def.Members, name) {
			for _, m := range def.Members {
				if ArePeers(r, m, name) {
					from = append(from, m)
				}
			}
		}
	}
	slices.Sort(from)
	from = slices.Compact(from)
	return slices.DeleteFunc(from, func(n polity.AgentName) bool { return n == name })
}

// Meant lists the agents of a release that an address stands for, whoever may message them.
func Meant(r *agent.Release, to message.Address) []polity.AgentName {
	var list []polity.AgentName
	switch to.Kind {
	case message.Group:
		if r.Messages != nil {
			list = r.Messages.Groups[to.Name]
		}
	case message.Role:
		for i := range r.Agents {
			list = append(list, inRole(r.Agents[i].Org, to.Name)...)
		}
	case message.All:
		for i := range r.Agents {
			list = append(list, r.Agents[i].Name)
		}
	}
	return list
}

// inRole lists the members of an organization that have a role: the field of its configuration that names them, without what follows it.
func inRole(def *agent.Org, role string) []polity.AgentName {
	if def == nil {
		return nil
	}
	cfg, err := Parse(def.Pattern, def.Config)
	if err != nil {
		return nil
	}
	var list []polity.AgentName
	for _, r := range cfg.Roles() {
		if field, _, _ := strings.Cut(r.Field, "["); field == role || r.Name == role {
			list = append(list, r.Agent)
		}
	}
	return list
}
