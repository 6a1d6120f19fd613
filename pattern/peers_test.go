package pattern_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/pattern"
	"polity.run/pattern/patterntest"
)

func TestPeersCheck(t *testing.T) {
	peers := func(change func(*pattern.Peers)) pattern.Peers {
		c := patterntest.Gathering("ada", "bob", "cyd")
		change(c)
		return *c
	}
	link := func(from polity.AgentName, to ...polity.AgentName) pattern.Link {
		return pattern.Link{From: from, To: to}
	}
	state := func(member polity.AgentName, field string) *pattern.Goal {
		return &pattern.Goal{When: &pattern.GoalState{Member: member, Condition: pattern.Condition{Field: field, Equals: json.RawMessage("1")}}}
	}
	tests := map[string]struct {
		peers pattern.Peers
		want  string
	}{
		"good":        {peers(func(*pattern.Peers) {}), ""},
		"one":         {peers(func(c *pattern.Peers) { c.Peers = c.Peers[:1] }), "peers: 1 peer; want 2 to 64"},
		"twice":       {peers(func(c *pattern.Peers) { c.Peers[1].Agent = "ada" }), "peers[1].agent: ada is listed twice; delete one"},
		"office":      {*patterntest.Gathering("ada", "organization"), `peers[1].agent: "organization" is who the request comes from; give the agent another name`},
		"ring of two": {peers(func(c *pattern.Peers) { c.Peers, c.Topology.Shape = c.Peers[:2], "ring" }), "topology: two peers are no ring; leave the topology out, or add a peer"},
		"no center":   {peers(func(c *pattern.Peers) { c.Topology.Shape = "star" }), "topology: the star has no center; write {shape: star, center: NAME}"},
		"center":      {peers(func(c *pattern.Peers) { c.Topology = pattern.Topology{Shape: "star", Center: "bbo"} }), `topology.center: bbo is not among the peers; did you mean "bob"?`},
		"needless":    {peers(func(c *pattern.Peers) { c.Topology = pattern.Topology{Shape: "mesh", Center: "bob"} }), "topology.center: only a star has a center; delete it"},
		"shape":       {peers(func(c *pattern.Peers) { c.Topology.Shape = "tree" }), `topology: "tree" is unknown; want mesh, ring, star, sparse or links`},
		"odd degree":  {peers(func(c *pattern.Peers) { c.Topology = pattern.Topology{Shape: "sparse", Degree: 3} }), "topology.degree: 3 of 3 peers cannot be linked to each; want 2 to 2, and an even degree where the number of peers is odd"},
		"two links":   {peers(func(c *pattern.Peers) { c.Topology.Shape, c.Links = "mesh", []pattern.Link{link("ada", "bob")} }), "links: the topology mesh has its own links; delete these, or the topology"},
		"itself":      {peers(func(c *pattern.Peers) { c.Links = []pattern.Link{link("ada", "ada")} }), "links[0].to[0]: ada would turn to itself; delete it"},
		"stranger":    {peers(func(c *pattern.Peers) { c.Links = []pattern.Link{link("adda", "eve")} }), "links[0].from: adda is not among the peers; did you mean \"ada\"?\nlinks[0].to[0]: eve is not among the peers; known: ada, bob, cyd"},
		"unreachable": {peers(func(c *pattern.Peers) {
			c.Start, c.Links = []polity.AgentName{"ada"}, []pattern.Link{link("ada", "bob"), link("cyd", "ada")}
		}), "peers[2].agent: no message can come to cyd from ada; add a link to it"},
		"all later": {peers(func(c *pattern.Peers) {
			for i := range c.Peers {
				c.Peers[i].Later = true
			}
		}), "peers: all of them join later, so that nobody gets the request; let one be there from the start"},
		"start later":  {peers(func(c *pattern.Peers) { c.Peers[1].Later, c.Start = true, []polity.AgentName{"bob", "eve"} }), "start[0]: bob joins later, and cannot get the request\nstart[1]: eve is not among the peers; known: ada, bob, cyd"},
		"goal":         {peers(func(c *pattern.Peers) { c.Goal = &pattern.Goal{} }), "goal: it says nothing; add when or done"},
		"goal of whom": {peers(func(c *pattern.Peers) { c.Goal = state("eve", "sold") }), "goal.when.field: \"sold\" names no field; write state, or state.NAME for a field of it\ngoal.when.member: eve is not among the peers; known: ada, bob, cyd"},
		"goal done":    {peers(func(c *pattern.Peers) { c.Goal = &pattern.Goal{Done: "4"} }), `goal.done: "4" is neither a number within 1 and 3 nor all`},
		"limits":       {peers(func(c *pattern.Peers) { c.Limits = pattern.PeerLimits{Turns: -1, Queue: 1001} }), "limits.turns: -1 is not within 1 and 10000\nlimits.queue: 1001 is not within 1 and 1000"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, lines(tt.peers.Check())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
