package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"polity.run"
	"polity.run/agent"
	"polity.run/message"
	"polity.run/pattern"
)

// messages says who may message whom.
func (b *builder) messages(r *agent.Release) {
	m := b.file.Messages
	if m == nil {
		return
	}
	r.Messages = &agent.Messages{}
	known := slices.Sorted(maps.Keys(b.defs))
	for _, name := range slices.Sorted(maps.Keys(m.Groups)) {
		for i, member := range m.Groups[name] {
			if b.defs[string(member)] == nil && nameText.MatchString(string(member)) {
				b.unknown(fmt.Sprintf("messages.groups%s[%d]", keyPath(string(name)), i), "no agent", string(member), known)
			}
		}
		if r.Messages.Groups == nil {
			r.Messages.Groups = map[string][]polity.AgentName{}
		}
		r.Messages.Groups[string(name)] = agentNames(m.Groups[name])
	}
	if len(m.Links) > pattern.LinksMax {
		b.add("messages.links", fmt.Sprintf("%d links are more than %d", len(m.Links), pattern.LinksMax), "link groups")
		return
	}
	for i, l := range m.Links {
		path := fmt.Sprintf("messages.links[%d]", i)
		l, crossings := b.crossings(r, path, l)
		if r.Messages.Crossings = append(r.Messages.Crossings, crossings...); len(l.To) == 0 {
			continue
		}
		from, ok := b.sender(path+".from", string(l.From), known)
		var to []message.Address
		for n, text := range l.To {
			a, good := b.recipient(fmt.Sprintf("%s.to[%d]", path, n), string(text), known)
			ok = ok && good
			to = append(to, a)
		}
		if ok {
			r.Messages.Links = append(r.Messages.Links, agent.Link{From: from, To: to})
			r.Messages.Links = append(r.Messages.Links, b.back(path, l.Both, from, to)...)
		}
	}
}

// crossings takes from a link what leads to or from agents of other organizations, and returns the rest of it.
func (b *builder) crossings(r *agent.Release, path string, l mayMessage) (rest mayMessage, list []agent.Crossing) {
	rest = l
	rest.To = nil
	from, far := b.party(r, path+".from", l.From)
	for i, text := range l.To {
		at := fmt.Sprintf("%s.to[%d]", path, i)
		to, alsoFar := b.party(r, at, text)
		switch {
		case !far && !alsoFar:
			rest.To = append(rest.To, text)
			continue
		case far && alsoFar:
			b.add(at, shown(string(text))+" is of another organization, as is who sends", "one end of a link is an agent of this manifest")
		case from.Agent == "" || to.Agent == "":
			b.add(path, "a link to or from another organization is between two agents", "name an agent of this manifest, and ORG/NAME")
		default:
			list = append(list, agent.Crossing{From: from, To: to})
			if l.Both {
				list = append(list, agent.Crossing{From: to, To: from})
			}
		}
	}
	return rest, list
}

// party reads one end of a link, and whether it is of another organization. What is no agent of this manifest has no name.
func (b *builder) party(r *agent.Release, path string, text addressText) (agent.Party, bool) {
	org, name, far := strings.Cut(string(text), "/")
	switch {
	case !far:
		name = strings.TrimPrefix(string(text), "agent:")
		if b.defs[name] == nil {
			name = ""
		}
		org = r.Name
	case org == r.Name:
		b.add(path, shown(string(text))+" is of this organization", "write "+name)
	}
	return agent.Party{Org: org, Agent: polity.AgentName(name)}, far
}

// back makes the links of the other way.
func (b *builder) back(path string, both bool, from message.Address, to []message.Address) []agent.Link {
	var links []agent.Link
	for _, a := range to {
		if both && (from.Kind != message.Agent || a.Kind != message.Agent) {
			b.add(path+".both", fmt.Sprintf("there is no way from %s to %s", a, from), "write the links between agents on their own")
			return nil
		}
		if both {
			links = append(links, agent.Link{From: a, To: []message.Address{from}})
		}
	}
	return links
}

// sender reads who may send.
func (b *builder) sender(path, text string, known []string) (message.Address, bool) {
	if text == string(message.Outside) {
		return agent.Outsiders, true
	}
	a, err := message.ParseAddress(text)
	switch {
	case err != nil || text == "":
		return a, false // reported by the decoder
	case a.Kind != message.Agent && a.Kind != message.Outside:
		b.add(path, shown(text)+" sends nothing", "name an agent, or outside")
		return a, false
	case a.Kind == message.Agent && b.defs[a.Name] == nil:
		b.unknown(path, "no agent", a.Name, append([]string{string(message.Outside)}, known...))
		return a, false
	}
	return a, true
}

// recipient reads to whom.
func (b *builder) recipient(path, text string, known []string) (message.Address, bool) {
	kind, name, typed := strings.Cut(text, ":")
	if typed && kind == string(message.Topic) {
		if err := polity.CheckPattern(name); err != nil {
			b.add(path, oneLine(err), "")
			return message.Address{}, false
		}
		return message.Address{Kind: message.Topic, Name: name}, true
	}
	a, err := message.ParseAddress(text)
	if err != nil || text == "" {
		return a, false // reported by the decoder
	}
	switch a.Kind {
	case message.Agent:
		if b.defs[a.Name] == nil {
			b.unknown(path, "no agent", a.Name, known)
			return a, false
		}
	case message.Group:
		if _, ok := b.file.Messages.Groups[word(a.Name)]; !ok {
			var groups []string
			for g := range b.file.Messages.Groups {
				groups = append(groups, string(g))
			}
			slices.Sort(groups)
			b.unknown(path, "no group", a.Name, groups)
			return a, false
		}
	case message.Role:
	default:
		b.add(path, shown(text)+" has no mailbox", "name an agent, group:NAME, role:NAME or topic:PATTERN")
		return a, false
	}
	return a, true
}

// messaged lists the agents that somebody may message, or that may.
func (b *builder) messaged() []string {
	m := b.file.Messages
	if m == nil {
		return nil
	}
	var list []string
	for _, members := range m.Groups {
		for _, name := range members {
			list = append(list, string(name))
		}
	}
	for _, l := range m.Links {
		for _, a := range append(slices.Clone(l.To), l.From) {
			list = append(list, strings.TrimPrefix(string(a), "agent:"))
		}
	}
	return list
}
