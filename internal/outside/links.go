package outside

import (
	"slices"
	"strings"

	"polity.run"
	"polity.run/agent"
	"polity.run/message"
	"polity.run/pattern"
	"polity.run/remote"
)

// rights are the subjects that an agent in another process may use.
type rights struct{ publish, subscribe []string }

// answers are what whoever is asked may say to whoever asks it, without a link of its own.
var answers = []polity.Performative{polity.Agree, polity.Refuse, polity.Inform, polity.Failure}

// compile makes rights of what stands in a release: the organization's links are the access list. A sender's name is a token of each
// subject that it may publish on, so that nobody speaks for another; all that is not named here is refused.
func compile(r *agent.Release, name polity.AgentName) rights {
	self := string(name)
	var out rights
	for _, to := range linked(r, name) {
		out.publish = append(out.publish, to.Subject(name, "*"))
	}
	if len(out.publish) > 0 { // all are those to whom its links lead
		out.publish = append(out.publish, message.Address{Kind: message.All}.Subject(name, "*"))
	}
	for _, to := range askers(r, name) {
		for _, p := range answers {
			out.publish = append(out.publish, message.To(to).Subject(name, p))
		}
	}
	out.publish = append(out.publish, remote.Control(name, remote.ControlHere), remote.Control(name, remote.ControlRenew), remote.OperatorInbox+".>")
	out.subscribe = append(out.subscribe, remote.Box(name, ">"), remote.Inbox(name)+".>")
	for _, verb := range []string{"PING", "INFO", "STATS"} { // as nats micro asks for
		at := "$SRV." + verb
		out.subscribe = append(out.subscribe, at, at+"."+self, at+"."+self+".*")
	}
	return out
}

// linked is to whom an agent may write on its own: by the links of messages, or as a peer. A topic may be a pattern, whose wildcards are those of
// subjects.
func linked(r *agent.Release, name polity.AgentName) []message.Address {
	var to []message.Address
	if r.Messages != nil {
		for _, l := range r.Messages.Links {
			if l.From == message.To(name) {
				to = append(to, l.To...)
			}
		}
	}
	for _, d := range r.Agents {
		if d.Org == nil || !slices.Contains(d.Org.Members, name) {
			continue
		}
		cfg, err := pattern.Parse(d.Org.Pattern, d.Org.Config)
		if err != nil {
			continue // of a pattern that this program does not know: it is not run either
		}
		if peers, ok := cfg.(*pattern.Peers); ok {
			reach, _ := peers.Reach(name)
			for _, n := range reach {
				to = append(to, message.To(n))
			}
		}
	}
	slices.SortFunc(to, func(a, b message.Address) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(to)
}

// askers are those that may ask an agent, sorted: the organization itself for people, and for agents that write to it, whose messages are runs.
func askers(r *agent.Release, name polity.AgentName) []polity.AgentName {
	by := []polity.AgentName{polity.AgentName(r.Name)}
	for _, d := range r.Agents {
		asks := d.Org != nil && slices.Contains(d.Org.Members, name)
		if m := d.Model; m != nil {
			asks = asks || m.Approve != nil && m.Approve.By == name ||
				slices.ContainsFunc(m.Agents, func(p agent.AgentPin) bool { return p.Agent == name })
		}
		if d.Org != nil {
			asks = asks || slices.ContainsFunc(d.Org.Members, func(m polity.AgentName) bool { return approves(r.Agent(string(m)), name) })
		}
		if asks && d.Name != name {
			by = append(by, d.Name)
		}
	}
	return unique(by)
}

// approves says whether uses of an agent's skills wait for the named one.
func approves(d *agent.Definition, name polity.AgentName) bool {
	return d != nil && slices.ContainsFunc(d.Skills, func(s polity.Skill) bool { return s.Approve != nil && s.Approve.By == name })
}

func unique(names []polity.AgentName) []polity.AgentName {
	slices.Sort(names)
	return slices.Compact(names)
}

// remotes are a release's agents in other processes, in its order.
func remotes(r *agent.Release) []polity.AgentName {
	var out []polity.AgentName
	for _, d := range r.Agents {
		if d.Kind == agent.KindRemote {
			out = append(out, d.Name)
		}
	}
	return out
}
