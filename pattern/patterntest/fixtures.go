package patterntest

import (
	"fmt"
	"math/rand/v2"

	"polity.run"
	"polity.run/pattern"
)

// Fixtures are the patterns as they are played, by name: configurations from seeds, and members that do their duty.
func Fixtures() map[string]Pattern {
	return map[string]Pattern{
		"sequence":  sequence(),
		"router":    router(),
		"handoff":   handoff(),
		"peers":     peers(),
		"debate":    debate(),
		"hierarchy": hierarchy(""),
		"hierarchy below": hierarchy(`{"duty":"work","objective":"find out","level":2,"levels":3,"acceptance":["a"],` +
			`"guidance_from":[{"manager":"law","guidance":"g","precedence":"advice"}]}`),
	}
}

// Team makes members with one skill each; every other one may be asked twice.
func Team(names ...polity.AgentName) []pattern.Member {
	var all []pattern.Member
	for i, n := range names {
		all = append(all, pattern.Member{Name: n, Description: "works", Skills: []polity.Skill{{Name: "work"}}, Repeatable: i%2 == 0})
	}
	return all
}

func sequence() Pattern {
	return Pattern{
		Config: func(r *rand.Rand) pattern.Config {
			s := &pattern.Sequence{Members: Team("ada", "bob", "cyd")}
			for range 1 + r.IntN(6) {
				s.Stages = append(s.Stages, pattern.Stage{Agent: s.Members[r.IntN(3)].Name, Objective: "go on", Optional: r.IntN(3) == 0})
			}
			return s
		},
		Sensible: func(r *rand.Rand, _ polity.Command) string { return fmt.Sprintf(`{"text":"%d"}`, r.IntN(9)) },
	}
}
