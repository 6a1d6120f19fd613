package pattern_test

import (
	"encoding/json"
	"errors"
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
	h := &pattern.Hierarchy{Lead: lead, Members: patterntest.Team(append([]polity.AgentName{lead, "law", "safety"}, reports...)...)}
	for _, r := range reports {
		h.Reports = append(h.Reports, pattern.DirectReport{Agent: r})
	}
	return h
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
