package pattern

import (
	"fmt"
	"slices"

	"polity.run"
)

// LinksMax is the most links of an organization.
const LinksMax = 1000

// Link says to whom an agent may turn. Links are permissions: where there is none, nothing passes.
type Link struct {
	From polity.AgentName   `json:"from"`
	To   []polity.AgentName `json:"to"`
	Both bool               `json:"both,omitempty"` // the other way as well
	// Back, in a handoff, allows handing back at once to whoever handed over.
	Back bool `json:"back,omitempty"`
}

// Linked is a configuration that says which of its agents may turn to which others.
type Linked interface {
	// Reach lists whom an agent may turn to, in the order of the configuration, and says what it may do then, as in "hand over to".
	Reach(from polity.AgentName) (to []polity.AgentName, does string)
}

var (
	_ Linked = Handoff{}
	_ Linked = Peers{}
)

// Reach lists those to whom an agent may hand over.
func (h Handoff) Reach(from polity.AgentName) ([]polity.AgentName, string) {
	return reach(h.names(), from, h.linked), "hand over to"
}

// Reach lists those to whom a member may write.
func (c Peers) Reach(from polity.AgentName) ([]polity.AgentName, string) {
	return reach(c.names(), from, c.linked), "write to"
}

func reach(names []polity.AgentName, from polity.AgentName, linked func(from, to polity.AgentName) bool) []polity.AgentName {
	var out []polity.AgentName
	for _, n := range names {
		if linked(from, n) {
			out = append(out, n)
		}
	}
	return out
}

// checkLinks checks links between known agents; known says what they are.
func checkLinks(links []Link, names []polity.AgentName, known string, p *problems) {
	if len(links) > LinksMax {
		p.add(in("links"), "%d links are more than %d", len(links), LinksMax)
		return
	}
	for i, l := range links {
		at := fmt.Sprintf("links[%d]", i)
		if l.From != "" && names != nil && !slices.Contains(names, l.From) {
			p.add(in("%s.from", at), "%s is not among the %s%s", l.From, known, p.among(texts(names), string(l.From)))
		}
		if len(l.To) == 0 {
			p.add(in("%s.to", at), "the link leads nowhere; name whom %s may turn to", l.From)
		}
		for j, to := range l.To {
			switch {
			case to == l.From:
				p.add(in("%s.to[%d]", at, j), "%s would turn to itself; delete it", to)
			case slices.Index(l.To, to) < j:
				p.add(in("%s.to[%d]", at, j), "%s is listed twice; delete one", to)
			case names != nil && !slices.Contains(names, to):
				p.add(in("%s.to[%d]", at, j), "%s is not among the %s%s", to, known, p.among(texts(names), string(to)))
			}
		}
	}
}

// texts are names as texts.
func texts[S ~string](names []S) []string {
	var out []string
	for _, n := range names {
		out = append(out, string(n))
	}
	return out
}

// unreached lists the names that cannot be reached from the first ones.
func unreached(names, from []polity.AgentName, linked func(from, to polity.AgentName) bool) []polity.AgentName {
	reached := slices.Clone(from)
	for i := 0; i < len(reached); i++ {
		for _, n := range names {
			if linked(reached[i], n) {
				reached = addNew(reached, n)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(names), func(n polity.AgentName) bool { return slices.Contains(reached, n) })
}
