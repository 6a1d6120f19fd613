package pattern_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/pattern"
	"polity.run/pattern/patterntest"
)

// debaters makes a debate of so many, with a judge.
func debaters(n int, change func(*pattern.Debate)) *pattern.Debate {
	d := &pattern.Debate{Mode: "deliberative", Judge: "judge"}
	names := []polity.AgentName{"judge"}
	for i := range n {
		names = append(names, polity.AgentName(fmt.Sprintf("d%d", i)))
		d.Debaters = append(d.Debaters, pattern.Debater{Agent: names[i+1]})
	}
	change(d)
	d.Know(team(names...))
	return d
}

// assigned gives everyone a position.
func assigned(d *pattern.Debate) {
	d.Mode = ""
	for i := range d.Debaters {
		d.Debaters[i].Position = fmt.Sprintf("position %d", i)
	}
}

// debated is what a member says that does its duty.
func debated(r *rand.Rand, c polity.Command) string {
	var in struct {
		Duty       string
		Position   string
		Candidates []struct{ Candidate string }
		Citations  []polity.Evidence
	}
	if err := json.Unmarshal(c.Input, &in); err != nil {
		panic(err)
	}
	arguments := fmt.Sprintf(`[{"text":"because of %d","quotes":[{"file":"a.md","line":%d,"text":"so it is"}]}]`, r.IntN(9), 1+r.IntN(9))
	switch {
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
		verdict := []string{letters[0], letters[0], letters[0], `"tie"`, `"insufficient"`}[r.IntN(5)]
		if len(letters) == 1 && verdict == `"tie"` {
			verdict = letters[0]
		}
		return fmt.Sprintf(`{"verdict":%s,"ranking":[%s],"reasons":"so","sides":[{"candidate":%s,"strongest":["s"],"weaknesses":["w"]}],"conclusion":"c"}`,
			verdict, strings.Join(letters, ","), letters[0])
	case in.Position != "":
		return fmt.Sprintf(`{"statement":"I say %d.","arguments":%s}`, r.IntN(99), arguments)
	default:
		return fmt.Sprintf(`{"answer":"%s","confidence":0.5,"arguments":%s}`, []string{"yes", "no", "perhaps", ""}[r.IntN(4)], arguments)
	}
}

func TestDebateKeepsItsPromises(t *testing.T) {
	patterntest.Run(t, patterntest.Pattern{
		Folder: "/src",
		Config: func(r *rand.Rand) pattern.Config {
			return debaters(2+r.IntN(5), func(d *pattern.Debate) {
				d.Rounds, d.Orders, d.Source = 1+r.IntN(3), 2+r.IntN(3), r.IntN(2) == 0
				if r.IntN(2) == 0 {
					assigned(d)
				} else if r.IntN(2) == 0 {
					d.Quorum, d.Degree = 51+r.IntN(50), 1
					d.Choices = []pattern.Choice{{Answer: "yes", Aliases: []string{"aye"}}, {Answer: "no"}, {Answer: "perhaps"}}
				}
			})
		},
		Sensible: debated,
		Partial: func(output json.RawMessage) bool {
			var r pattern.DebateResult
			return json.Unmarshal(output, &r) == nil && len(r.History) > 0 && r.Verdict.Outcome != ""
		},
	})
}

func TestDebateCheck(t *testing.T) {
	tests := map[string]struct {
		debate *pattern.Debate
		want   string // lines, "" for no problem
	}{
		"adversarial":  {debaters(2, assigned), ""},
		"deliberative": {debaters(100, func(*pattern.Debate) {}), ""},
		"alone":        {debaters(1, func(*pattern.Debate) {}), "debaters: 1 debater in a debate that is deliberative; want 2 to 100"},
		"nobody":       {debaters(0, func(d *pattern.Debate) { d.Mode = "" }), "debaters: 0 debaters in a debate that is adversarial; want 2 to 16"},
		"crowd":        {debaters(17, assigned), "debaters: 17 debaters in a debate that is adversarial; want 2 to 16"},
		"judge debates": {debaters(2, func(d *pattern.Debate) { d.Judge = "d1" }),
			"judge: d1 is debaters[1] too, and nobody judges their own case; name another agent"},
		"no judge": {debaters(2, func(d *pattern.Debate) { d.Judge = "" }), "judge: nobody is the judge; name an agent"},
		"twice": {debaters(3, func(d *pattern.Debate) { d.Debaters[2].Agent = "d0" }),
			"debaters[2].agent: d0 is debaters[0] already; name another agent, behind which the same model may stand"},
		"same position": {debaters(2, func(d *pattern.Debate) {
			assigned(d)
			d.Debaters[1].Position = " Position 0."
		}), "debaters[1].position: it is that of debaters[0] already; give each a position of its own"},
		"no position": {debaters(2, func(d *pattern.Debate) { d.Mode = "adversarial"; d.Debaters[0].Position = "yes" }),
			"debaters[1].position: d1 has no position to defend; write one, or set mode: deliberative"},
		"position of its own": {debaters(2, func(d *pattern.Debate) { d.Debaters[0].Position = "yes" }),
			"debaters[0].position: in a deliberative debate everyone has an answer of their own; delete it, or set mode: adversarial"},
		"many rounds": {debaters(2, func(d *pattern.Debate) { assigned(d); d.Rounds = 11 }), "rounds: 11 is not within 1 and 10"},
		"rounds":      {debaters(2, func(d *pattern.Debate) { d.Rounds = 4 }), "rounds: 4 is not within 1 and 3"},
		"negative":    {debaters(2, func(d *pattern.Debate) { d.Rounds = -1 }), "rounds: -1 is not within 1 and 3"},
		"orders":      {debaters(2, func(d *pattern.Debate) { d.Orders = 1 }), "orders: 1 is not within 2 and 10"},
		"degree":      {debaters(4, func(d *pattern.Debate) { d.Degree = 4 }), "degree: 4 is not within 1 and 3, the number of others"},
		"quorum":      {debaters(2, func(d *pattern.Debate) { d.Quorum = 50 }), "quorum: 50% is not within 51% and 100% of the debaters; two answers could have less"},
		"mode":        {debaters(2, func(d *pattern.Debate) { d.Mode = "deliberate" }), `mode: "deliberate" is unknown; want adversarial or deliberative; did you mean "deliberative"?`},
		"topic":       {debaters(2, func(d *pattern.Debate) { d.Topic = strings.Repeat("x", 4097) }), "topic: 4097 bytes are more than 4096; put the rest into a file"},
		"assigned": {debaters(2, func(d *pattern.Debate) {
			assigned(d)
			d.Degree, d.Quorum, d.Choices = 1, 80, []pattern.Choice{{Answer: "a"}, {Answer: "b"}}
		}), "degree: it belongs to a deliberative debate; delete it, or set mode: deliberative\n" +
			"quorum: it belongs to a deliberative debate; delete it, or set mode: deliberative\n" +
			"choices: it belongs to a deliberative debate; delete it, or set mode: deliberative"},
		"choices": {debaters(2, func(d *pattern.Debate) {
			d.Choices = []pattern.Choice{{Answer: "1,000", Aliases: []string{"a lot"}}, {Answer: "1e3"}, {Answer: " . "}}
		}), "choices[1].answer: \"1e3\" is the same as \"1,000\"; delete one of them\nchoices[2].answer: it says nothing; write an answer, or delete it"},
		"one choice": {debaters(2, func(d *pattern.Debate) { d.Choices = []pattern.Choice{{Answer: "yes"}} }), "choices: 1 choice; want 2 to 50, or none for any answer"},
		"bounds": {debaters(2, func(d *pattern.Debate) { d.Debaters[1].Bounds.Turns = -1 }),
			"debaters[1].bounds: a bound is negative; leave it out for the default"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := tt.debate.Check(); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
