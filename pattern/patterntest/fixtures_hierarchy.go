package patterntest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"polity.run"
	"polity.run/pattern"
)

// hierarchy is a unit that nobody is above, or with a request as from above one of another.
func hierarchy(request string) Pattern {
	return Pattern{
		Request: request,
		Config: func(r *rand.Rand) pattern.Config {
			reports := []polity.AgentName{"ada", "bob", "cyd", "dan"}[:1+r.IntN(4)]
			h := &pattern.Hierarchy{Lead: "boss", Members: Team(append([]polity.AgentName{"boss", "law", "safety"}, reports...)...)}
			h.Rework = new(r.IntN(3))
			h.OnManagerFailure = []string{"", pattern.ManagerDegrade, pattern.ManagerEscalate}[r.IntN(3)]
			for _, name := range reports {
				one := pattern.DirectReport{Agent: name, Unit: r.IntN(3) == 0}
				for _, m := range []polity.AgentName{"law", "safety"} {
					if r.IntN(3) == 0 {
						one.Dotted = append(one.Dotted, pattern.DottedLine{Manager: m, Precedence: []string{pattern.PrecedenceSolid, pattern.PrecedenceDotted}[r.IntN(2)]})
					}
				}
				h.Reports = append(h.Reports, one)
			}
			return h
		},
		Sensible: doesItsDuty,
	}
}

// doesItsDuty answers a question of a hierarchy as an agent may who does what it is asked for.
func doesItsDuty(r *rand.Rand, c polity.Command) string {
	var in struct {
		Duty    string
		Reports []struct{ Report string }
		Results []struct{ Report string }
		Options []string
		Others  []string
	}
	if json.Unmarshal(c.Input, &in) != nil {
		return `{}`
	}
	switch in.Duty {
	case "assign":
		var all []string
		for _, one := range in.Reports {
			if len(all) == 0 || r.IntN(4) > 0 {
				all = append(all, fmt.Sprintf(`{"report":%q,"objective":"part %d"}`, one.Report, r.IntN(9)))
			}
		}
		return `{"assignments":[` + strings.Join(all, ",") + `],"strategy":"divide"}`
	case "review":
		var all []string
		for _, one := range in.Results {
			all = append(all, fmt.Sprintf(`{"report":%q,"accept":%t,"remarks":"more"}`, one.Report, r.IntN(3) > 0))
		}
		return `{"decisions":[` + strings.Join(all, ",") + `]}`
	case "decide":
		to := ""
		if len(in.Others) > 0 {
			to = in.Others[r.IntN(len(in.Others))]
		}
		return fmt.Sprintf(`{"action":%q,"to":%q,"guidance":"otherwise"}`, in.Options[r.IntN(len(in.Options))], to)
	case "advise":
		return `{"guidance":"mind the law"}`
	case "integrate", "finalize":
		return `{"summary":"whole","results":["a"],"recommendations":["b"],"gaps":[]}`
	default:
		if r.IntN(8) == 0 {
			return `{"summary":"half","escalate":"which one is meant?"}`
		}
		return fmt.Sprintf(`{"summary":"part %d","gaps":["c"]}`, r.IntN(9))
	}
}
