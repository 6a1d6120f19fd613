package pattern_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/pattern"
	"polity.run/pattern/patterntest"
)

func TestHandoffCheck(t *testing.T) {
	handoff := func(change func(*pattern.Handoff)) pattern.Handoff {
		c := pattern.Handoff{Owner: "ada", Links: []pattern.Link{{From: "ada", To: []polity.AgentName{"bob"}}}, Members: patterntest.Dutiful("take", "ada", "bob", "cyd")}
		change(&c)
		return c
	}
	tests := map[string]struct {
		handoff pattern.Handoff
		want    string
	}{
		"good":     {handoff(func(*pattern.Handoff) {}), ""},
		"no owner": {handoff(func(c *pattern.Handoff) { c.Owner = "" }), "owner: nobody is the owner; name an agent"},
		"no links": {handoff(func(c *pattern.Handoff) { c.Links = nil }), "links: nobody may hand over; add a link, or ask ada alone"},
		"unreachable": {handoff(func(c *pattern.Handoff) {
			c.Links = append(c.Links, pattern.Link{From: "cyd", To: []polity.AgentName{"ada"}})
		}), "links[1].from: the conversation never comes to cyd; add a link to it, or delete those from it"},
		"itself":  {handoff(func(c *pattern.Handoff) { c.Links[0].To = []polity.AgentName{"bob", "ada"} }), "links[0].to[1]: ada would turn to itself; delete it"},
		"twice":   {handoff(func(c *pattern.Handoff) { c.Links[0].To = []polity.AgentName{"bob", "bob"} }), "links[0].to[1]: bob is listed twice; delete one"},
		"nowhere": {handoff(func(c *pattern.Handoff) { c.Links[0].To = nil }), "links[0].to: the link leads nowhere; name whom ada may turn to"},
		"unknown": {handoff(func(c *pattern.Handoff) { c.Links[0].To = []polity.AgentName{"eve"} }), `links[0].to[0]: there is no agent "eve" to be the holder`},
		"limits": {handoff(func(c *pattern.Handoff) { c.Hops, c.NoReturn, c.History = 101, new(-1), "everything" }),
			"hops: 101 is not within 1 and 100\nno_return: -1 is not within 0 and 100\nhistory: \"everything\" is unknown; want last, summary or all"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, lines(tt.handoff.Check())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
