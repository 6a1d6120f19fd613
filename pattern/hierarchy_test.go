package pattern_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/pattern"
	"polity.run/pattern/patterntest"
)

// unit is a unit of a hierarchy with a lead and workers, whose members can do one thing each.
func unit(lead polity.AgentName, reports ...polity.AgentName) *pattern.Hierarchy {
	h := &pattern.Hierarchy{Lead: lead, Members: team(append([]polity.AgentName{lead, "law", "safety"}, reports...)...)}
	for _, r := range reports {
		h.Reports = append(h.Reports, pattern.DirectReport{Agent: r})
	}
	return h
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

func TestHierarchyKeepsItsPromises(t *testing.T) {
	patterntest.Run(t, patterntest.Pattern{
		Config: func(r *rand.Rand) pattern.Config {
			h := unit("boss", []polity.AgentName{"ada", "bob", "cyd", "dan"}[:1+r.IntN(4)]...)
			h.Rework = new(r.IntN(3))
			h.OnManagerFailure = []string{"", "degrade", "escalate"}[r.IntN(3)]
			for i := range h.Reports {
				h.Reports[i].Unit = r.IntN(3) == 0
				for _, m := range []polity.AgentName{"law", "safety"} {
					if r.IntN(3) == 0 {
						h.Reports[i].Dotted = append(h.Reports[i].Dotted, pattern.DottedLine{Manager: m, Precedence: []string{"solid", "dotted"}[r.IntN(2)]})
					}
				}
			}
			return h
		},
		Sensible: doesItsDuty,
	})
}

func TestHierarchyInsideAnother(t *testing.T) {
	patterntest.Run(t, patterntest.Pattern{
		Request:  `{"duty":"work","objective":"find out","level":2,"levels":3,"acceptance":["a"],"guidance_from":[{"manager":"law","guidance":"g","precedence":"advice"}]}`,
		Config:   func(*rand.Rand) pattern.Config { return unit("boss", "ada", "bob") },
		Sensible: doesItsDuty,
		Seeds:    200,
	})
}

func TestHierarchyCheck(t *testing.T) {
	tests := map[string]struct {
		change func(h *pattern.Hierarchy)
		want   string
	}{
		"right":                {func(*pattern.Hierarchy) {}, ""},
		"nobody leads":         {func(h *pattern.Hierarchy) { h.Lead = "" }, "lead: nobody is the lead; name an agent"},
		"nobody works":         {func(h *pattern.Hierarchy) { h.Reports = nil }, "reports: nobody reports to boss; name at least one agent"},
		"unknown":              {func(h *pattern.Hierarchy) { h.Reports[1].Agent = "bbo" }, `reports[1].agent: there is no agent "bbo" to be the worker`},
		"twice":                {func(h *pattern.Hierarchy) { h.Reports[1].Agent = "ada" }, "reports[1].agent: ada is reports[0] already; one solid line is enough"},
		"its own boss":         {func(h *pattern.Hierarchy) { h.Reports[1].Agent = "boss" }, "reports[1].agent: boss would report to itself; name another agent"},
		"span":                 {func(h *pattern.Hierarchy) { h.Span = 1 }, "reports: 2 reports are more than the span of 1; put some of them under a manager of their own, or set span (at most 64)"},
		"too large a span":     {func(h *pattern.Hierarchy) { h.Span = 65 }, "span: 65 is not within 1 and 64"},
		"too many levels":      {func(h *pattern.Hierarchy) { h.Levels = 17 }, "levels: 17 is not within 1 and 16"},
		"too much rework":      {func(h *pattern.Hierarchy) { h.Rework = new(6) }, "rework: 6 is not within 0 and 5"},
		"odd failure":          {func(h *pattern.Hierarchy) { h.OnManagerFailure = "panic" }, `on_manager_failure: "panic": want escalate or degrade`},
		"no schema":            {func(h *pattern.Hierarchy) { h.ReportUp = json.RawMessage(`{"type":7}`) }, "report_up: this is not a usable JSON Schema: "},
		"dotted to itself":     {dotted("ada", "solid"), "reports[0].dotted[0].manager: ada would be its own boss; name another agent"},
		"dotted to the lead":   {dotted("boss", "solid"), "reports[0].dotted[0].manager: ada reports to boss by a solid line already; delete the dotted one"},
		"dotted to nobody":     {dotted("lwa", "solid"), `reports[0].dotted[0].manager: there is no agent "lwa" to be the dotted manager`},
		"two bosses, no rule":  {dotted("law", ""), "reports[0].dotted[0].precedence: ada has two bosses, boss and law, and nothing says whose guidance wins; write solid or dotted"},
		"two bosses, odd rule": {dotted("law", "both"), "reports[0].dotted[0].precedence: ada has two bosses, boss and law, and nothing says whose guidance wins; write solid or dotted"},
		"a lead that cannot": {func(h *pattern.Hierarchy) {
			h.Members[0].Skills = []polity.Skill{{Name: "assign"}, {Name: "review"}, {Name: "decide"}, {Name: "integrate"}}
		}, "lead: boss has several skills and none is called finalize, which the lead is asked for; name one of them so"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := unit("boss", "ada", "bob")
			tt.change(h)
			err := h.Check()
			text := ""
			if err != nil {
				text = err.Error()
			}
			if tt.want == "" && err != nil || !strings.HasPrefix(text, tt.want) || err != nil && !errors.Is(err, fault.Invalid) {
				t.Error(cmp.Diff(tt.want, text))
			}
			if _, made := h.Decider(); (made == nil) != (err == nil) {
				t.Errorf("Decider: %v, and Check: %v", made, err)
			}
		})
	}
}

func dotted(manager polity.AgentName, precedence string) func(*pattern.Hierarchy) {
	return func(h *pattern.Hierarchy) {
		h.Reports[0].Dotted = []pattern.DottedLine{{Manager: manager, Precedence: precedence}}
	}
}

// FuzzHierarchy opens a unit with anything, and has everybody answer anything. It ends, with JSON or with a fault that is not ours.
func FuzzHierarchy(f *testing.F) {
	f.Add([]byte(`{"duty":"work","objective":"o","level":2,"levels":3}`), []byte(`{"assignments":[{"report":"ada","objective":"o"}],"summary":"s","decisions":[{"report":"ada","accept":true}],"action":"drop","guidance":"g"}`))
	f.Add([]byte(`{"duty":"work","objective":"o","level":-9,"acceptance":7}`), []byte(`{"assignments":[{"report":"ada","objective":"o"}],"summary":"s","gaps":7,"escalate":"e","pattern":"hierarchy","details":{"level":"x"},"action":"do_again"}`))
	f.Add([]byte(`"q"`), []byte(`{"pattern":"hierarchy","status":"failed","unknown":true,"summary":"s","escalate":"e","assignments":[{"report":"ada","objective":"o"}]}`))
	f.Fuzz(func(t *testing.T, request, answer []byte) {
		h := unit("boss", "ada", "bob")
		h.Reports[0].Unit = true
		h.Reports[0].Dotted = []pattern.DottedLine{{Manager: "law", Precedence: "dotted"}}
		d, err := h.Decider()
		if err != nil {
			t.Fatal(err)
		}
		state, todo := d.Decide(nil, polity.Event{Kind: polity.Opened, Run: "0-fuzz", Data: request})
		for n := 0; len(todo) > 0; n++ {
			c := todo[0]
			switch {
			case n > 500:
				t.Fatal("it does not end")
			case c.Do == polity.DoFinish && !json.Valid(c.Input):
				t.Fatalf("it finishes with %q", c.Input)
			case c.Do == polity.DoFail && c.Fault.Kind == fault.Internal:
				t.Fatalf("it fails by a mistake of ours: %s", c.Fault.Text)
			case c.Do == polity.DoFinish || c.Do == polity.DoFail:
				return
			}
			var more []polity.Command
			state, more = d.Decide(state, polity.Event{Kind: polity.Result, Run: "0-fuzz", Name: c.Name, Attempt: max(c.Attempt, 1), Data: answer})
			todo = append(todo[1:], more...)
		}
		t.Fatal("it neither ended nor waits for anything")
	})
}
