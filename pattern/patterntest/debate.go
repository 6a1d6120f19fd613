package patterntest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"polity.run"
	"polity.run/pattern"
)

// debate plays debates of both modes, with and without a source.
func debate() Pattern {
	return Pattern{
		Folder: "/src", Config: debateConfig, Sensible: debated,
		Partial: func(output json.RawMessage) bool {
			var r pattern.DebateResult
			return json.Unmarshal(output, &r) == nil && len(r.History) > 0 && r.Verdict.Outcome != ""
		},
	}
}

func debateConfig(r *rand.Rand) pattern.Config {
	d := &pattern.Debate{Topic: "What is to be done?", Judge: "judge", Rounds: 1 + r.IntN(2), Orders: 2 + 2*r.IntN(3), Source: r.IntN(2) == 0}
	names := []polity.AgentName{"judge"}
	deliberates := r.IntN(2) == 0
	for i := range 2 + r.IntN(3) {
		one := pattern.Debater{Agent: polity.AgentName(fmt.Sprintf("d%d", i))}
		if !deliberates {
			one.Position = fmt.Sprintf("position %d", i)
		}
		names = append(names, one.Agent)
		d.Debaters = append(d.Debaters, one)
	}
	if deliberates {
		d.Mode = "deliberative"
		if r.IntN(2) == 0 {
			d.Quorum, d.Degree = 51+r.IntN(50), 1
			d.Choices = []pattern.Choice{{Answer: "yes", Aliases: []string{"aye"}}, {Answer: "no"}, {Answer: "perhaps"}}
		}
	}
	d.Know(Team(names...))
	return d
}

// debated is what a debater, the judge or the tool says that does its duty.
func debated(r *rand.Rand, c polity.Command) string {
	var in struct {
		Duty       string
		Position   string
		Candidates []struct{ Candidate string }
		Citations  []polity.Evidence
	}
	if err := json.Unmarshal(c.Input, &in); err != nil {
		return "{" // what was asked is not JSON, which is found elsewhere
	}
	switch arguments := fmt.Sprintf(`[{"text":"because of %d","quotes":[{"file":"a.md","line":%d,"text":"so it is"}]}]`, r.IntN(9), 1+r.IntN(9)); {
	case c.Do == polity.DoCall:
		results := make([]string, len(in.Citations))
		for i := range results {
			results[i] = fmt.Sprintf(`{"ok":%v}`, r.IntN(2) == 0)
		}
		return `{"results":[` + strings.Join(results, ",") + `]}`
	case in.Duty == "judge":
		letters := make([]string, len(in.Candidates))
		for i, n := range r.Perm(len(letters)) {
			letters[i] = `"` + in.Candidates[n].Candidate + `"`
		}
		verdict := []string{letters[0], letters[0], letters[0], `"insufficient"`, `"tie"`}[r.IntN(min(3+len(letters), 5))]
		return fmt.Sprintf(`{"verdict":%s,"ranking":[%s],"reasons":"so","sides":[{"candidate":%s,"strongest":["s"],"weaknesses":["w"]}],"conclusion":"c"}`,
			verdict, strings.Join(letters, ","), letters[0])
	case in.Position != "":
		return fmt.Sprintf(`{"statement":"I say %d.","arguments":%s}`, r.IntN(99), arguments)
	default:
		return fmt.Sprintf(`{"answer":"%s","confidence":0.5,"arguments":%s}`, []string{"yes", "no", "perhaps", ""}[r.IntN(4)], arguments)
	}
}
