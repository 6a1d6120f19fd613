package agent

import (
	"slices"

	"polity.run"
	"polity.run/message"
)

// Messages says who may message whom, and who is messaged together.
type Messages struct {
	Links []Link `json:"links,omitempty"`
	// Groups are agents by the name of their group.
	Groups map[string][]polity.AgentName `json:"groups,omitempty"`
	// Crossings are links with agents of other organizations.
	Crossings []Crossing `json:"crossings,omitempty"`
}

// Crossing is a link from an agent of one organization to one of another. It holds where both releases have it, and as long as they do.
type Crossing struct {
	From Party `json:"from"`
	To   Party `json:"to"`
}

// Party is an agent of an organization.
type Party struct {
	Org   string           `json:"org"`
	Agent polity.AgentName `json:"agent"`
}

func (p Party) String() string { return p.Org + "/" + string(p.Agent) }

// Cross says whether an agent of one release may message an agent of another one, because both say so.
func Cross(from *Release, a polity.AgentName, to *Release, b polity.AgentName) bool {
	c := Crossing{Party{from.Name, a}, Party{to.Name, b}}
	return from.has(c) && to.has(c)
}

func (r *Release) has(c Crossing) bool { return slices.Contains(r.Crossings(), c) }

// Crossings are the links of a release with agents of other organizations.
func (r *Release) Crossings() []Crossing {
	if r.Messages == nil {
		return nil
	}
	return r.Messages.Crossings
}

// Link lets somebody message others. Links are permissions: where there is none, nothing passes.
type Link struct {
	From message.Address   `json:"from"`
	To   []message.Address `json:"to"`
}

// Outsiders, as the From of a link, are all who are no agents.
var Outsiders = message.Address{Kind: message.Outside, Name: "any"}

// May says whether links let somebody message an address: an agent, or a group, role, topic or all that a link names. An agent may message
// nobody, and others nobody but the main agent, unless a link says so. An instance may what its agent may.
func (r *Release) May(from, to message.Address) bool {
	from, to = from.Base(), to.Base()
	if from.Kind == message.Outside && to == message.To(polity.AgentName(r.Main)) {
		return true
	}
	if r.Messages == nil {
		return false
	}
	return slices.ContainsFunc(r.Messages.Links, func(l Link) bool {
		return (l.From == from || l.From == Outsiders && from.Kind == message.Outside) &&
			slices.ContainsFunc(l.To, func(a message.Address) bool {
				return a == to || a.Kind == to.Kind && a.Kind == message.Topic && polity.MatchTopic(a.Name, to.Name)
			})
	})
}
