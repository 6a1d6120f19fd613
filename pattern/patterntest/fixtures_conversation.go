package patterntest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"polity.run"
	"polity.run/pattern"
)

// Dutiful makes members with one skill of the name.
func Dutiful(duty string, names ...polity.AgentName) []pattern.Member {
	all := Team(names...)
	for i := range all {
		all[i].Skills[0].Name = duty
	}
	return all
}

// Gathering makes peers of the names.
func Gathering(names ...polity.AgentName) *pattern.Peers {
	c := &pattern.Peers{Members: Dutiful("receive", names...)}
	for _, n := range names {
		c.Peers = append(c.Peers, pattern.Peer{Agent: n})
	}
	return c
}

func router() Pattern {
	return Pattern{
		Config: func(r *rand.Rand) pattern.Config {
			c := &pattern.Router{Members: append(Team("ada", "bob", "cyd"), Dutiful("classify", "cls")...)}
			c.Routes = []pattern.Route{
				{Agent: "ada", When: []pattern.Condition{{Field: "input.question", Contains: []string{"red", "blue"}[r.IntN(2)]}}},
				{Agent: "bob", When: []pattern.Condition{{Field: "input.kind", Equals: json.RawMessage(`"bill"`)}}},
			}
			if r.IntN(2) == 0 {
				c.Classifier, c.Least = "cls", float64(r.IntN(11))/10
			}
			if r.IntN(2) == 0 {
				c.Fallback = "cyd"
			}
			return c
		},
		Sensible: func(r *rand.Rand, c polity.Command) string {
			if c.Skill == "classify" {
				return fmt.Sprintf(`{"route":"%s","confidence":%.2f}`, []string{"ada", "bob", "none"}[r.IntN(3)], r.Float64())
			}
			return fmt.Sprintf(`{"text":"%d"}`, r.IntN(9))
		},
	}
}

func handoff() Pattern {
	return Pattern{
		Config: func(r *rand.Rand) pattern.Config {
			c := &pattern.Handoff{
				Owner: "ada", Hops: r.IntN(6), History: []string{"", "last", "summary", "all"}[r.IntN(4)], Members: Dutiful("take", "ada", "bob", "cyd", "dan"),
				Links: []pattern.Link{{From: "ada", To: []polity.AgentName{"bob", "cyd"}}, {From: "bob", To: []polity.AgentName{"cyd", "ada"}}, {From: "cyd", To: []polity.AgentName{"ada"}, Back: true}},
			}
			if r.IntN(2) == 0 {
				c.NoReturn = new(r.IntN(4))
			}
			if r.IntN(2) == 0 {
				c.Fallback = "dan"
			}
			return c
		},
		Sensible: func(r *rand.Rand, c polity.Command) string {
			var asked struct {
				May []struct{ Name string } `json:"may_hand_to"`
			}
			_ = json.Unmarshal(c.Input, &asked) // without it there is nobody to hand over to
			if len(asked.May) == 0 || r.IntN(4) == 0 {
				return fmt.Sprintf(`{"answer":{"text":"%d"}}`, r.IntN(9))
			}
			return fmt.Sprintf(`{"handoff":{"to":"%s","reason":"it is theirs","summary":"seen %d","work":%d}}`, asked.May[r.IntN(len(asked.May))].Name, r.IntN(3), r.IntN(3))
		},
	}
}

func peers() Pattern {
	return Pattern{
		Config: func(r *rand.Rand) pattern.Config {
			c := Gathering("ada", "bob", "cyd", "dan", "eve")
			c.Topology = []pattern.Topology{{}, {Shape: "ring"}, {Shape: "star", Center: "bob"}, {Shape: "sparse", Degree: 2}}[r.IntN(4)]
			c.Peers[3].Later = r.IntN(2) == 0
			c.Limits = pattern.PeerLimits{Turns: r.IntN(60), Messages: r.IntN(100), Queue: r.IntN(8), Stall: r.IntN(8)}
			switch r.IntN(3) {
			case 0:
				c.Goal = &pattern.Goal{Done: []string{"1", "3", "all"}[r.IntN(3)]}
			case 1:
				c.Goal = &pattern.Goal{When: &pattern.GoalState{Condition: pattern.Condition{Field: "state.n", Equals: json.RawMessage("7")}}}
			}
			return c
		},
		Sensible: func(r *rand.Rand, c polity.Command) string {
			var asked struct {
				Messages []struct{ ID, Kind string }
				Members  []struct{ Name string }
			}
			_ = json.Unmarshal(c.Input, &asked) // what it does not say is not answered
			sends := []string{}
			for _, m := range asked.Messages {
				if (m.Kind == "request" || m.Kind == "query") && r.IntN(3) > 0 {
					sends = append(sends, fmt.Sprintf(`{"kind":"response","in_reply_to":"%s","body":%d}`, m.ID, r.IntN(9)))
				}
			}
			for range r.IntN(3) {
				to := "*"
				if len(asked.Members) > 0 && r.IntN(3) > 0 {
					to = asked.Members[r.IntN(len(asked.Members))].Name
				}
				sends = append(sends, fmt.Sprintf(`{"to":"%s","kind":"%s","body":%d}`, to, []string{"request", "query", "inform", "invite"}[r.IntN(4)], r.IntN(9)))
			}
			return fmt.Sprintf(`{"send":[%s],"state":{"n":%d},"done":%t,"leave":%t}`, strings.Join(sends, ","), r.IntN(9), r.IntN(4) == 0, r.IntN(9) == 0)
		},
	}
}
