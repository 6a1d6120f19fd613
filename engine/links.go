package engine

import (
	"slices"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/message"
	"polity.run/pattern"
)

// target is an agent or a topic that a message goes to.
type target struct {
	to      message.Address
	release Digest
	of      *release
	err     error // why not
}

// targets resolves the recipients of a message: each agent once, and never the sender. o.mu is held.
func (o *orgs) targets(e *message.Envelope) []target {
	if isToOne(*e) {
		return []target{o.target(e.From, e.To[0])}
	}
	var list []target
	seen := map[message.Address]bool{e.From: true}
	add := func(t target) {
		if !seen[t.to] {
			seen[t.to] = true
			list = append(list, t)
		}
	}
	for _, to := range e.To {
		switch to.Kind {
		case message.Agent:
			add(o.target(e.From, to))
		case message.Topic:
			add(target{to: to, err: o.mayPublish(e.From, to)})
		default:
			members := o.members(e.From, to)
			for _, m := range members {
				d, r, err := o.of(m)
				add(target{message.To(m), d, r, err})
			}
			switch {
			case len(members) > 0:
			case to.Kind != message.All && o.means(to):
				add(target{to: to, err: denied(e.From, to)})
			default:
				add(target{to: to, err: fault.NotFound.New("%s: nobody is meant by it whom %s is linked to", to, e.From)})
			}
		}
	}
	return list
}

// target is one agent, if it may be written to.
func (o *orgs) target(from, to message.Address) target {
	d, r, err := o.of(polity.AgentName(to.Name))
	if err == nil && !o.may(r, from, to) {
		err = denied(from, to)
	}
	return target{to, d, r, err}
}

func denied(from, to message.Address) error {
	return fault.Denied.New("%s is not linked to %s: messages.links of the organization says who may write to whom", from, to)
}

// may says whether somebody may message an agent of a release: by its links, because its pattern of peers links them, or because both organizations
// have a link that crosses. An instance may what its agent may. o.mu is held.
func (o *orgs) may(r *release, from, to message.Address) bool {
	if r.doc.May(from, to) {
		return true
	}
	if from.Kind != message.Agent {
		return false
	}
	a, _ := polity.AgentName(from.Name).Base()
	b, _ := polity.AgentName(to.Name).Base()
	return pattern.ArePeers(&r.doc, a, b) || o.crosses(r, a, b)
}

// crosses says whether a link of two organizations lets an agent of another one message one of a release. o.mu is held.
func (o *orgs) crosses(r *release, from, to polity.AgentName) bool {
	org, ok := o.agents[from]
	if !ok || org == r.doc.Name || len(r.doc.Crossings()) == 0 {
		return false
	}
	theirs, err := o.catalog.release(o.byName[org])
	return err == nil && agent.Cross(&theirs.doc, from, &r.doc, to)
}

// mayPublish returns nil for somebody outside, who may publish as polity topics does, and for an agent that is linked to the topic and, where
// its organization declares topics, is one of those that publish on it.
func (o *orgs) mayPublish(from, to message.Address) error {
	if from.Kind == message.Outside {
		return nil
	}
	_, r, err := o.of(polity.AgentName(from.Name))
	if err == nil && !r.doc.May(from, to) {
		err = denied(from, to)
	}
	if err == nil {
		err = r.doc.MayPublish(polity.AgentName(from.Name), to.Name)
	}
	return err
}

// members lists the agents that a group, a role or all stands for, in order. A link to the group or role lets all of it be messaged; otherwise it is
// those of it that the sender is linked to.
func (o *orgs) members(from, to message.Address) []polity.AgentName {
	var list []polity.AgentName
	for _, d := range o.byName {
		r, err := o.catalog.release(d)
		if err != nil {
			continue // it says so when it is asked for itself
		}
		whole := to.Kind != message.All && r.doc.May(from, to)
		for _, name := range pattern.Meant(&r.doc, to) {
			if whole || o.may(r, from, message.To(name)) {
				list = append(list, name)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// means says whether a group or a role has members, whoever may message them.
func (o *orgs) means(to message.Address) bool {
	for _, d := range o.byName {
		if r, err := o.catalog.release(d); err == nil && len(pattern.Meant(&r.doc, to)) > 0 {
			return true
		}
	}
	return false
}

// refused records that somebody wrote where no link leads.
func (e *Engine) refused(m *message.Envelope, to message.Address) {
	r := polity.Refusal{At: time.Now(), Verb: polity.RefusedPublish, Subject: to.Subject(polity.AgentName(m.From.Name), m.Performative), Reason: "no link leads there"}
	if m.From.Kind == message.Agent {
		r.Org, r.Agent = e.orgs.orgOf(polity.AgentName(m.From.Name)), polity.AgentName(m.From.Name)
	} else {
		r.From = m.From.String()
	}
	e.audit.Refused(r)
}

// orgOf is the organization of an agent or of its instance, "" if it has no address.
func (o *orgs) orgOf(name polity.AgentName) string {
	name, _ = name.Base()
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.agents[name]
}
