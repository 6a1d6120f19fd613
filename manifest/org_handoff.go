package manifest

import (
	"polity.run"
	"polity.run/pattern"
)

// handoff makes the configuration of a handoff.
func (b *builder) handoff(o *org) pattern.Config {
	h := &o.as.handoff
	return &pattern.Handoff{
		Owner: polity.AgentName(h.Owner), Links: links(o.as.Links), Hops: int(h.Hops), NoReturn: (*int)(h.NoReturn), History: string(h.History),
		Fallback: polity.AgentName(o.as.Fallback),
	}
}

func links(declared []link) []pattern.Link {
	var out []pattern.Link
	for _, l := range declared {
		out = append(out, pattern.Link{From: polity.AgentName(l.From), To: agentNames(l.To), Both: l.Both, Back: l.Back})
	}
	return out
}

func agentNames(words []word) []polity.AgentName {
	var names []polity.AgentName
	for _, w := range words {
		names = append(names, polity.AgentName(w))
	}
	return names
}

// hops and noReturn count handovers.
type (
	hops     int
	noReturn int
)

func (hops) limits() (least, most int64)     { return 1, pattern.HopsMax }
func (noReturn) limits() (least, most int64) { return 0, pattern.HopsMax }
