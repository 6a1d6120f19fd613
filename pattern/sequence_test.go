package pattern_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"polity.run"
	"polity.run/pattern"
	"polity.run/pattern/patterntest"
)

// team makes members with one skill each.
func team(names ...polity.AgentName) []pattern.Member {
	var all []pattern.Member
	for i, n := range names {
		all = append(all, pattern.Member{Name: n, Description: "works", Skills: []polity.Skill{{Name: "work"}}, Repeatable: i%2 == 0})
	}
	return all
}

func TestSequenceKeepsItsPromises(t *testing.T) {
	patterntest.Run(t, patterntest.Pattern{
		Config: func(r *rand.Rand) pattern.Config {
			s := &pattern.Sequence{Members: team("ada", "bob", "cyd")}
			for range 1 + r.IntN(6) {
				s.Stages = append(s.Stages, pattern.Stage{Agent: s.Members[r.IntN(3)].Name, Objective: "go on", Optional: r.IntN(3) == 0})
			}
			return s
		},
		Sensible: func(r *rand.Rand, _ polity.Command) string { return fmt.Sprintf(`{"text":"%d"}`, r.IntN(9)) },
	})
}
