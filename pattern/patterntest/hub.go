package patterntest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"polity.run"
	"polity.run/pattern"
)

// hub is a hub with a declared plan, or one that is matched.
func hub() Pattern {
	return Pattern{
		Request: `{"question":"what do you see when you look at things?"}`, Folder: "/src", Config: matchedHub, Sensible: seen, Sound: hubAddsUp,
		// An answer that no leaf of the plan rests on is nothing to finish with.
		Grace: 40,
	}
}

// matchedHub makes a configuration that Check accepts.
func matchedHub(r *rand.Rand) pattern.Config {
	for range 100 {
		h := &pattern.Hub{Retries: new(r.IntN(3)), Replans: new(r.IntN(3)), Verdict: []pattern.Rule{
			{Verdict: "no", When: &pattern.When{Stance: polity.Against, Severity: polity.Low, AtLeast: 1}}, {Verdict: "yes"},
		}}
		h.Caps.Width = r.IntN(5)
		for i := range 1 + r.IntN(4) {
			h.Specialists = append(h.Specialists, pattern.Member{
				Name: polity.AgentName(fmt.Sprintf("a%d", i)), Description: "looks at things",
				Skills: []polity.Skill{{Name: []string{"look", "see"}[r.IntN(2)], Tags: []string{[]string{"x", "y"}[r.IntN(2)]}}},
			})
		}
		h.Join = []pattern.Join{{}, {Policy: "quorum", K: 1 + r.IntN(3)}, {Policy: "best-effort"}, {Policy: "first"}}[r.IntN(4)]
		if r.IntN(8) > 0 {
			h.Plan = randomPlan(r, h.Specialists)
		}
		if h.Check() == nil {
			return h
		}
	}
	return &pattern.Hub{Specialists: []pattern.Member{{Name: "a0", Skills: []polity.Skill{{Name: "look"}}}}}
}

// undoingHub is a hub whose specialists' skills say how they are undone, and need approval.
func undoingHub() Pattern {
	p := hub()
	p.Config = func(r *rand.Rand) pattern.Config {
		for {
			h, ok := matchedHub(r).(*pattern.Hub)
			if !ok || h.Plan == nil {
				continue
			}
			for i := range h.Specialists {
				m := &h.Specialists[i]
				skill := &m.Skills[0]
				if r.IntN(3) > 0 {
					skill.Undo = &polity.Undo{Skill: "undo"}
				}
				if r.IntN(3) == 0 {
					skill.Approve = &polity.Approver{By: "boss", Skill: "approve", Timeout: polity.Duration(r.IntN(2)) * polity.Duration(time.Hour)}
				}
				if r.IntN(2) == 0 && skill.Undo != nil {
					skill.Undo.Input = json.RawMessage(`{"was":"$output.x","of":"$input"}`)
				}
				m.Skills = append(m.Skills, polity.Skill{Name: "undo"})
			}
			for i := range h.Plan.Steps {
				s := &h.Plan.Steps[i]
				s.Skill = h.Specialists[slices.IndexFunc(h.Specialists, func(m pattern.Member) bool { return m.Name == s.Agent })].Skills[0].Name
			}
			h.Members = []pattern.Member{{Name: "boss", Skills: []polity.Skill{{Name: "approve"}}}, {Name: "owner", Skills: []polity.Skill{{Name: "mend"}}}}
			h.AtOnce = r.IntN(2) == 0
			if r.IntN(2) == 0 {
				h.Stuck = "owner"
			}
			if h.Check() == nil {
				return h
			}
		}
	}
	p.Sensible = func(r *rand.Rand, c polity.Command) string {
		if c.Skill == "approve" {
			return decides(r, c)
		}
		return seen(r, c)
	}
	return p
}

func randomPlan(r *rand.Rand, agents []pattern.Member) *pattern.Plan {
	p := &pattern.Plan{}
	for i := range 1 + r.IntN(8) {
		s := pattern.Step{ID: fmt.Sprintf("s%d", i), Agent: agents[r.IntN(len(agents))].Name, Optional: r.IntN(5) == 0}
		if i > 0 && r.IntN(2) == 0 {
			s.Input = json.RawMessage(fmt.Sprintf(`{"in":"$s%d%s"}`, r.IntN(i), []string{"", ".x", ".x.y"}[r.IntN(3)]))
		}
		if r.IntN(4) == 0 {
			s.Bounds = polity.Bounds{Turns: 3}
		}
		p.Steps = append(p.Steps, s)
	}
	return p
}

// seen is what a specialist says, or the tool that looks citations up.
func seen(r *rand.Rand, c polity.Command) string {
	if c.Do != polity.DoCall {
		return []string{
			`{"x":{"y":1},"claims":[{"text":"t","stance":"against","severity":"high","evidence":[{"file":"a","line":1}]}]}`,
			`{"x":{"y":[]},"claims":[{"text":"u","stance":"for"},{"text":"t","stance":"against","severity":"low","evidence":[{"file":"b"}]}],"notes":["n"]}`,
			`{"x":{"y":2},"response":{"for":[{"text":"z","stance":"for","status":"opinion"}]}}`,
		}[r.IntN(3)]
	}
	var in struct{ Citations []polity.Evidence }
	if json.Unmarshal(c.Input, &in) != nil || len(in.Citations) == 0 {
		return `"nothing was cited"`
	}
	results := make([]map[string]any, len(in.Citations))
	for i := range results {
		results[i] = map[string]any{"ok": r.IntN(4) > 0}
	}
	out, err := json.Marshal(map[string]any{"results": results})
	if err != nil {
		return `"` + err.Error() + `"`
	}
	return string(out)
}

// hubAddsUp checks a hub's result: its verification adds up, and gives no verdict where it failed.
func hubAddsUp(output json.RawMessage) error {
	var result pattern.HubResult
	if err := json.Unmarshal(output, &result); err != nil {
		return err
	}
	v := result.Details.Verification
	if v.Checked != v.Verified+v.Refused {
		return fmt.Errorf("verification does not add up: %+v", v)
	}
	if v.Fault != "" && result.Response.Verdict != "" {
		return fmt.Errorf("verdict %q without verification", result.Response.Verdict)
	}
	for _, s := range result.Details.Steps {
		if !slices.Contains([]string{"ok", "failed", "skipped", "cancelled", "exhausted"}, s.Status) {
			return fmt.Errorf("step %s ended %q", s.ID, s.Status)
		}
	}
	return nil
}
