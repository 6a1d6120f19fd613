package pattern_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"polity.run"
	"polity.run/pattern"
	"polity.run/pattern/patterntest"
)

// plannedHub makes a hub that a planner plans for.
func plannedHub(r *rand.Rand) pattern.Config {
	h := &pattern.Hub{
		Specialists: team("ada", "bob", "cyd"), Planner: "pam", Members: team("pam", "rex", "syn"), Retries: new(r.IntN(2)), Replans: new(r.IntN(3)),
		Join: []pattern.Join{{}, {Policy: "quorum", K: 1}, {Policy: "best-effort"}, {Policy: "first"}}[r.IntN(4)],
	}
	if r.IntN(2) == 0 {
		h.Review = "rex"
	}
	if r.IntN(2) == 0 {
		h.Synthesizer = "syn"
	}
	if r.IntN(2) == 0 {
		h.Fallback = "match"
	}
	if r.IntN(2) == 0 {
		h.Hedge = 1
	}
	if r.IntN(4) == 0 {
		h.Plan = &pattern.Plan{Steps: []pattern.Step{{ID: "x", Agent: "ada"}, {ID: "y", Agent: "bob"}}}
	}
	return h
}

// sensibleStaff answers for everybody of a hub.
func sensibleStaff(r *rand.Rand, c polity.Command) string {
	var asked struct {
		Duty string `json:"duty"`
	}
	if json.Unmarshal(c.Input, &asked) != nil {
		return `{}`
	}
	switch {
	case c.Do == polity.DoCall:
		return `{"results":[{"ok":true}]}`
	case asked.Duty == "plan" || asked.Duty == "replan":
		n := r.IntN(1000)
		return fmt.Sprintf(`{"steps":[{"id":"a%d","agent":"ada","objective":"o%d"},{"id":"b%d","agent":"bob","objective":"of %d","input":{"x":"$a%d"}},{"id":"c%d","agent":"cyd","objective":"p"}]}`,
			n, n, n, n, n, n)
	case asked.Duty == "approve_plan":
		return []string{`{"approve":true}`, `{"approve":true}`, `{"approve":false,"changes":"fewer steps"}`, `{"approve":false}`,
			`{"approve":true,"plan":{"steps":[{"id":"z","agent":"cyd","objective":"only this"}]}}`}[r.IntN(5)]
	case asked.Duty == "synthesize":
		return []string{`{"text":"so"}`, `{"text":"so","missing":"the price"}`}[r.IntN(2)]
	default:
		return fmt.Sprintf(`{"text":"%d"}`, r.IntN(9))
	}
}

func TestPlannedHubKeepsItsPromises(t *testing.T) {
	patterntest.Run(t, patterntest.Pattern{
		Config: plannedHub, Sensible: sensibleStaff,
		Request: `{"question":"Who works?"}`,
		Grace:   9, // plans, corrections of them and reviews are nothing to finish with
	})
}

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
		"rounds":         {func(h *pattern.Hub) { h.Planner, h.Ledger = "", &pattern.Ledger{Lead: "rex", Rounds: new(0)} }, "ledger.rounds: 0 is not within 1 and 100"},
		"leads itself":   {func(h *pattern.Hub) { h.Planner, h.Ledger = "", &pattern.Ledger{Lead: "ada"} }, "ledger.lead: ada is a specialist, and would choose itself; name another agent"},
		"nobody leads":   {func(h *pattern.Hub) { h.Planner, h.Ledger = "", &pattern.Ledger{} }, "ledger.lead: nobody is the lead; name an agent"},
		"negative hedge": {func(h *pattern.Hub) { h.Hedge = -1 }, "hedge.after: -1ns is negative"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := &pattern.Hub{Specialists: team("ada", "bob"), Planner: "pam", Members: team("pam", "rex")}
			tt.change(h)
			checks(t, h, tt.want)
		})
	}
}

func TestLedgerKeepsItsPromises(t *testing.T) {
	patterntest.Run(t, patterntest.Pattern{
		Config: func(r *rand.Rand) pattern.Config {
			h := &pattern.Hub{Specialists: team("ada", "bob", "cyd"), Members: team("pam", "rex"),
				Ledger: &pattern.Ledger{Lead: "pam", Rounds: new(1 + r.IntN(12)), Stall: new(r.IntN(4)), Resets: new(r.IntN(3))}}
			if r.IntN(3) == 0 {
				h.Review = "rex"
			}
			if r.IntN(2) == 0 {
				h.Hedge = 1
			}
			return h
		},
		Sensible: func(r *rand.Rand, c polity.Command) string {
			switch {
			case strings.HasPrefix(c.Name, "ledger"):
				return fmt.Sprintf(`{"given":["a door"],"look_up":[],"derive":[],"guesses":[],"plan":["ada looks %d"]}`, r.IntN(9))
			case strings.HasPrefix(c.Name, "progress"):
				return fmt.Sprintf(`{"satisfied":{"reason":"r","answer":%t},"in_loop":{"reason":"r","answer":%t},"progress":{"reason":"r","answer":%t},`+
					`"next_speaker":{"reason":"r","answer":"%s"},"instruction":{"reason":"r","answer":"look %d"}}`,
					r.IntN(8) == 0, r.IntN(5) == 0, r.IntN(4) > 0, []string{"ada", "bob", "cyd", "eve"}[r.IntN(4)], r.IntN(4))
			case strings.HasPrefix(c.Name, "review"):
				return []string{`{"approve":true}`, `{"approve":false,"changes":"fewer"}`}[r.IntN(2)]
			case c.Name == "answer":
				return `{"text":"It is red."}`
			default:
				return fmt.Sprintf(`{"summary":"%d","claims":[{"text":"c%d","stance":"for","severity":"low","evidence":[{"call":"0-pattern/%s#call.x"}]}]}`,
					r.IntN(5), r.IntN(9), polity.CommandKey(c.Name, c.Attempt))
			}
		},
		Partial: func(output json.RawMessage) bool {
			var m pattern.MagenticResult
			return json.Unmarshal(output, &m) == nil && (m.Answer != "" || len(m.Task.Plan) > 0)
		},
	})
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
			{Specialists: team("ada"), Planner: "pam", Review: "rex", Synthesizer: "syn", Members: team("pam", "rex", "syn")},
			{Specialists: team("ada"), Review: "rex", Ledger: &pattern.Ledger{Lead: "pam"}, Members: team("pam", "rex")},
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
