package pattern_test

import (
	"encoding/json"
	"testing"

	"polity.run"
	"polity.run/pattern"
	"polity.run/pattern/patterntest"
)

func TestHubOthersCheck(t *testing.T) {
	tests := map[string]struct {
		change func(*pattern.Hub)
		want   string // "" is none
	}{
		"as it is":              {func(*pattern.Hub) {}, ""},
		"plans for itself":      {func(h *pattern.Hub) { h.Planner = "ada" }, `planner: ada is a specialist, and would plan for itself; name another agent, or "match"`},
		"approves its own":      {func(h *pattern.Hub) { h.Review = "pam" }, "review: pam would approve its own plan; name another agent"},
		"words its own":         {func(h *pattern.Hub) { h.Synthesizer = "ada" }, "synthesizer: ada is a specialist, and would judge its own work; name another agent"},
		"fallback":              {func(h *pattern.Hub) { h.Fallback = "luck" }, `fallback: "luck" is unknown; use "match", or leave it out`},
		"fallback without need": {func(h *pattern.Hub) { h.Planner, h.Fallback = "", "match" }, "fallback: no agent plans whose plan could be missing"},
		"unknown":               {func(h *pattern.Hub) { h.Synthesizer = "eve" }, `synthesizer: there is no agent "eve" to be the synthesizer`},
		"cannot": {func(h *pattern.Hub) { h.Members[0].Skills = []polity.Skill{{Name: "a"}, {Name: "b"}} },
			"planner: pam has several skills and none is called plan, which the planner is asked for; name one of them so"},
		"a ledger and a plan": {func(h *pattern.Hub) { h.Ledger = &pattern.Ledger{Lead: "rex"} },
			"planner: a hub with a ledger has no plan that this could be about; delete it, or the ledger"},
		"a ledger and retries": {func(h *pattern.Hub) { h.Planner, h.Ledger, h.Retries = "", &pattern.Ledger{Lead: "rex"}, new(1) },
			"retries: a hub with a ledger has no plan that this could be about; delete it, or the ledger"},
		"rounds":         {func(h *pattern.Hub) { h.Planner, h.Ledger = "", &pattern.Ledger{Lead: "rex", Rounds: new(0)} }, "ledger.rounds: 0 is not within 1 and 100"},
		"leads itself":   {func(h *pattern.Hub) { h.Planner, h.Ledger = "", &pattern.Ledger{Lead: "ada"} }, "ledger.lead: ada is a specialist, and would choose itself; name another agent"},
		"nobody leads":   {func(h *pattern.Hub) { h.Planner, h.Ledger = "", &pattern.Ledger{} }, "ledger.lead: nobody is the lead; name an agent"},
		"negative hedge": {func(h *pattern.Hub) { h.Hedge = -1 }, "hedge.after: -1ns is negative"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := &pattern.Hub{Specialists: patterntest.Team("ada", "bob"), Planner: "pam", Members: patterntest.Team("pam", "rex")}
			tt.change(h)
			checks(t, h, tt.want)
		})
	}
}

// FuzzStaff proves that nothing that a planner, a reviewer, a synthesizer or a lead answers breaks a hub.
func FuzzStaff(f *testing.F) {
	f.Add([]byte(`{"steps":[{"id":"a","agent":"ada","objective":"o","input":{"x":"$input.question"}}]}`))
	f.Add([]byte(`{"steps":[{"id":"a","agent":"ada","depends_on":["a"],"input":"$a"}]}`))
	f.Add([]byte(`{"approve":true,"plan":{"steps":[]}}`))
	f.Add([]byte(`{"text":"x","used":["f1"],"missing":"y"}`))
	f.Add([]byte(`{"satisfied":{"answer":false},"in_loop":{"answer":true},"progress":{"answer":false},"next_speaker":{"answer":"ada"},"instruction":{"answer":"x"}}`))
	f.Add([]byte(`{"pattern":"sequence","output":{"plan":["x"],"text":7}}`))
	f.Add([]byte("\xff"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		for _, h := range []pattern.Hub{
			{Specialists: patterntest.Team("ada"), Planner: "pam", Review: "rex", Synthesizer: "syn", Members: patterntest.Team("pam", "rex", "syn")},
			{Specialists: patterntest.Team("ada"), Review: "rex", Ledger: &pattern.Ledger{Lead: "pam"}, Members: patterntest.Team("pam", "rex")},
		} {
			d, err := h.Decider()
			if err != nil {
				t.Fatal(err)
			}
			state, commands := d.Decide(nil, polity.Event{Kind: polity.Opened, Run: testRun, Data: json.RawMessage(`{"question":"?"}`)})
			for range 60 {
				if len(commands) == 0 || commands[0].Do == polity.DoFinish || commands[0].Do == polity.DoFail {
					break
				}
				e := polity.Event{Kind: polity.Result, Run: testRun, Name: commands[0].Name, Attempt: max(commands[0].Attempt, 1)}
				if commands[0].Do == polity.DoAsk {
					e.Data = answer
				}
				if state, commands = d.Decide(state, e); len(commands) == 0 {
					t.Fatalf("it waits for nothing after %q", answer)
				}
			}
			if len(commands) == 0 || commands[0].Do == polity.DoFinish && !json.Valid(commands[0].Input) {
				t.Fatalf("commands: %s", commandsText(commands))
			}
		}
	})
}
