package patterntest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"polity.run"
	"polity.run/pattern"
)

// Fixtures are the patterns as they are played, by name: configurations from seeds, and members that do their duty.
func Fixtures() map[string]Pattern {
	return map[string]Pattern{
		"hub":         hub(),
		"hub-undoing": undoingHub(),
		"hub-planned": plannedHub(),
		"hub-ledger":  ledger(),
		"parallel":    parallel(),
		"loop":        loop(),
		"sequence":    sequence(),
		"router":      router(),
		"handoff":     handoff(),
		"peers":       peers(),
		"hierarchy":   hierarchy(""),
		"debate":      debate(),
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
			if r.IntN(2) == 0 {
				s.Members[0].Skills[0].Approve = &polity.Approver{By: "boss", Skill: "approve", Timeout: polity.Duration(time.Minute)}
				s.Members = append(s.Members, pattern.Member{Name: "boss", Skills: []polity.Skill{{Name: "approve"}}})
			}
			saga := r.IntN(2) == 0
			for i := range 1 + r.IntN(6) {
				one := pattern.Stage{Agent: s.Members[r.IntN(3)].Name, Objective: "go on", Optional: r.IntN(3) == 0}
				if saga && (i == 0 || r.IntN(2) == 0) {
					one.Undo = &pattern.Undo{Agent: s.Members[r.IntN(3)].Name}
				}
				s.Stages = append(s.Stages, one)
			}
			s.AtOnce = saga && r.IntN(2) == 0
			if saga && r.IntN(2) == 0 {
				s.Stuck = "cyd"
			}
			return s
		},
		Sensible: func(r *rand.Rand, c polity.Command) string {
			if c.Skill == "approve" {
				return decides(r, c)
			}
			return fmt.Sprintf(`{"text":"%d"}`, r.IntN(9))
		},
	}
}

func parallel() Pattern {
	return Pattern{
		Config: randomParallel,
		Sensible: func(r *rand.Rand, c polity.Command) string {
			switch {
			case strings.HasPrefix(c.Name, "check"):
				return fmt.Sprintf(`{"valid":%t,"reason":"so it is"}`, r.IntN(4) > 0)
			case c.Name == "merge":
				return `{"text":"all of it","used":["a1"]}`
			default:
				return fmt.Sprintf(`{"text":"%d"}`, r.IntN(3))
			}
		},
		Partial: func(output json.RawMessage) bool {
			var p pattern.ParallelResult
			return json.Unmarshal(output, &p) == nil && len(p.Answers)+len(p.Refused) > 0
		},
	}
}

// randomParallel makes a configuration that Check accepts.
func randomParallel(r *rand.Rand) pattern.Config {
	p := &pattern.Parallel{Members: Team("ada", "bob", "cyd", "judge", "pen")}
	for i := range 1 + r.IntN(6) {
		b := pattern.Branch{Agent: p.Members[r.IntN(3)].Name, Objective: "look"}
		if r.IntN(4) == 0 {
			b.Input = json.RawMessage(fmt.Sprintf(`{"n":%d,"q":"$input.question"}`, i))
		}
		p.Branches = append(p.Branches, b)
	}
	if r.IntN(2) == 0 {
		p.Checker = "judge"
	}
	if r.IntN(2) == 0 {
		p.Merge = "pen"
	}
	if r.IntN(3) == 0 {
		p.Valid = json.RawMessage(`{"type":"object","required":["text"]}`)
	}
	if r.IntN(2) == 0 {
		p.Hedge = 1
	}
	p.Join = []pattern.Join{{}, {Policy: "quorum", K: 1 + r.IntN(len(p.Branches))}, {Policy: "best-effort"}, {Policy: "first-valid"}}[r.IntN(4)]
	if p.Join.Policy == "first-valid" && len(p.Valid) == 0 {
		p.Checker = "judge"
	}
	return p
}

func loop() Pattern {
	return Pattern{
		Config: func(r *rand.Rand) pattern.Config {
			return &pattern.Loop{
				Generator: "ada", Evaluator: "bob", Rounds: new(1 + r.IntN(6)), Patience: new(1 + r.IntN(3)), Members: Team("ada", "bob"),
			}
		},
		Sensible: func(r *rand.Rand, c polity.Command) string {
			if strings.HasSuffix(c.Name, "evaluate") {
				return fmt.Sprintf(`{"score":0.%d,"pass":%t,"critique":"shorter"}`, r.IntN(10), r.IntN(6) == 0)
			}
			return fmt.Sprintf(`{"text":"%d"}`, r.IntN(9))
		},
		Partial: func(output json.RawMessage) bool {
			var l pattern.LoopResult
			return json.Unmarshal(output, &l) == nil && len(l.Best) > 0
		},
	}
}

func plannedHub() Pattern {
	return Pattern{
		Config: randomHub, Sensible: sensibleStaff, Request: `{"question":"Who works?"}`,
		Grace: 9, // plans, corrections of them and reviews are nothing to finish with
	}
}

// randomHub makes a hub that a planner plans for.
func randomHub(r *rand.Rand) pattern.Config {
	h := &pattern.Hub{
		Specialists: Team("ada", "bob", "cyd"), Planner: "pam", Members: Team("pam", "rex", "syn"), Retries: new(r.IntN(2)), Replans: new(r.IntN(3)),
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

func ledger() Pattern {
	return Pattern{
		Config: func(r *rand.Rand) pattern.Config {
			h := &pattern.Hub{Specialists: Team("ada", "bob", "cyd"), Members: Team("pam", "rex"),
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
	}
}
