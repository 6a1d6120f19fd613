package engine

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/message"
	"polity.run/pattern"
)

const (
	refusedEvery = time.Minute
	refusedMax   = 60               // refusals that are recorded in refusedEvery: what is more is counted
	refusedTopic = "polity.refused" // where refusals are recorded
)

// target is an agent or a topic that a message goes to.
type target struct {
	to      message.Address
	release Digest
	err     error // why not
}

// targets resolves the recipients of a message: each agent once, and never the sender. o.mu is held.
func (o *orgs) targets(e *message.Envelope) []target {
	if len(e.To) == 1 && e.To[0].Kind == message.Agent && e.To[0] != e.From {
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
				d, _, err := o.of(m)
				add(target{message.To(m), d, err})
			}
			if len(members) == 0 {
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
	return target{to, d, err}
}

func denied(from, to message.Address) error {
	return fault.Denied.New("%s is not linked to %s: messages.links of the organization says who may write to whom", from, to)
}

// may says whether a release lets somebody message an agent of it: by its links, or because its pattern of peers links them.
func (o *orgs) may(r *release, from, to message.Address) bool {
	return r.doc.May(from, to) || from.Kind == message.Agent && r.peers(polity.AgentName(from.Name), polity.AgentName(to.Name))
}

// peers says whether an organization of the release whose members write to each other links two of them.
func (r *release) peers(from, to polity.AgentName) bool {
	from, _ = from.Base()
	to, _ = to.Base()
	for i := range r.doc.Agents {
		def := r.doc.Agents[i].Org
		if def == nil || !slices.Contains(def.Members, from) || !slices.Contains(def.Members, to) {
			continue
		}
		cfg, err := pattern.Parse(def.Pattern, def.Config)
		if linked, ok := cfg.(*pattern.Peers); err == nil && ok {
			if reach, _ := linked.Reach(from); slices.Contains(reach, to) {
				return true
			}
		}
	}
	return false
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
		for _, name := range r.meant(to) {
			if whole || o.may(r, from, message.To(name)) {
				list = append(list, name)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// meant lists the agents of a release that an address stands for, whoever may message them.
func (r *release) meant(to message.Address) []polity.AgentName {
	var list []polity.AgentName
	switch to.Kind {
	case message.Group:
		if r.doc.Messages != nil {
			list = r.doc.Messages.Groups[to.Name]
		}
	case message.Role:
		for i := range r.doc.Agents {
			list = append(list, inRole(r.doc.Agents[i].Org, to.Name)...)
		}
	case message.All:
		for i := range r.doc.Agents {
			list = append(list, r.doc.Agents[i].Name)
		}
	}
	return list
}

// inRole lists the members of an organization that have a role: the field of its configuration that names them, without what follows it.
func inRole(def *agent.Org, role string) []polity.AgentName {
	if def == nil {
		return nil
	}
	cfg, err := pattern.Parse(def.Pattern, def.Config)
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

// refused records that somebody wrote where no link leads. What is more than refusedMax in refusedEvery is not recorded one by one.
func (e *Engine) refused(ctx context.Context, m *message.Envelope, to message.Address) {
	a := &e.orgs.audit
	a.Lock()
	now := time.Now()
	if now.Sub(a.since) >= refusedEvery {
		a.since, a.n = now, 0
	}
	a.n++
	n := a.n
	a.Unlock()
	e.orgs.log.Warn("a message was refused: no link leads there", "from", m.From, "to", to, "performative", m.Performative, "id", m.ID)
	if n > refusedMax {
		return
	}
	data, err := json.Marshal(map[string]string{
		"from": m.From.String(), "to": to.String(), "performative": string(m.Performative), "id": m.ID, "reason": "not linked",
	})
	if err == nil {
		err = e.topics.publish(ctx, "", bus.Event{Topic: refusedTopic, ID: eventID(m) + "." + hex.EncodeToString([]byte(to.String())), Data: data})
	}
	if err != nil {
		e.orgs.log.Error("a refusal could not be recorded", "from", m.From, "to", to, "error", err)
	}
}
