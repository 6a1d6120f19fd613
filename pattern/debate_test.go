package pattern_test

import (
	"encoding/json"
	"fmt"
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
	d.Know(patterntest.Team(names...))
	return d
}

// assigned gives everyone a position.
func assigned(d *pattern.Debate) {
	d.Mode = ""
	for i := range d.Debaters {
		d.Debaters[i].Position = fmt.Sprintf("position %d", i)
	}
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
		"orders":      {debaters(2, func(d *pattern.Debate) { d.Orders = 1 }), "orders: 1 is no even number within 2 and 10"},
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

// held holds a debate to its end, all of whose members answer as say says, and returns what was asked beside the result.
func held(t testing.TB, d *pattern.Debate, say func(c polity.Command) string) (pattern.DebateResult, []polity.Command) {
	t.Helper()
	decider, err := d.Decider()
	if err != nil {
		t.Fatal(err)
	}
	var result pattern.DebateResult
	var asked []polity.Command
	state, commands := decider.Decide(nil, polity.Event{Kind: polity.Opened, Run: testRun, At: testTime, Folder: "/src", Data: json.RawMessage(`"What is it?"`)})
	for len(commands) > 0 {
		c := commands[0]
		commands = commands[1:]
		switch c.Do {
		case polity.DoFinish:
			if err := json.Unmarshal(c.Input, &result); err != nil {
				t.Fatal(err)
			}
			return result, asked
		case polity.DoFail:
			t.Fatalf("%s: %s", c.Fault.Kind, c.Fault.Text)
		case polity.DoAsk, polity.DoCall:
			asked = append(asked, c)
		}
		var more []polity.Command
		e := polity.Event{Kind: polity.Result, Run: testRun, At: testTime, Name: c.Name, Attempt: c.Attempt}
		if c.Do != polity.DoSleep {
			e.Data = json.RawMessage(say(c))
		}
		state, more = decider.Decide(state, e)
		commands = append(commands, more...)
	}
	t.Fatal("the debate has not ended")
	return result, nil
}

// votes are what each debater answers, by the order of the debaters; the judge names the first.
func votes(answers ...string) func(c polity.Command) string {
	return func(c polity.Command) string {
		if c.Skill != "work" || c.To == "judge" {
			return `{"verdict":"A","ranking":["A","B"],"reasons":"it is the first"}`
		}
		var i int
		if _, err := fmt.Sscanf(c.To, "d%d", &i); err != nil {
			panic(err)
		}
		data, err := json.Marshal(map[string]string{"answer": answers[i]})
		if err != nil {
			panic(err)
		}
		return string(data)
	}
}

func TestDebateTakesAnswersForTheSame(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"Yes", " yes. ", true},
		{"**Yes!**", "yes", true},
		{"1,000", "1000.0", true},
		{"1e3", "+1,000.", true},
		{".5", "0.50", true},
		{"-5", "(-5)", true},
		{"1,234,567", "1234567", true},
		{"don't   know", "Don’t know", true},
		{"well-known", "well known", true},
		{"$5", "$5.", true},
		{"", "", true},
		{"yes", "no", false},
		{"5", "-5", false},
		{"5%", "5", false},
		{"1,00", "100", false},
		{"C", "C#", false},
		{"A-", "A", false},
		{"v1.2", "v12", false},
		{"1e999", "1e998", false},
		{"¿", "?", false},
	} {
		d := debaters(2, func(d *pattern.Debate) { d.Rounds = 1 })
		r, _ := held(t, d, votes(tt.a, tt.b))
		if same := len(r.Openings.Answers) < 2; same != tt.same {
			t.Errorf("%q and %q: same is %v, want %v", tt.a, tt.b, same, tt.same)
		}
	}
}

// A judge that goes by places alone, in whatever way, decides nothing.
func TestJudgeByPlaceFindsATie(t *testing.T) {
	for n := 2; n <= 10; n++ {
		for _, orders := range []int{2, 4, 6, 10} {
			for _, place := range []int{0, n - 1} {
				d := debaters(n, func(d *pattern.Debate) { d.Rounds, d.Orders = 1, orders })
				r, _ := held(t, d, func(c polity.Command) string {
					if c.To != "judge" {
						return fmt.Sprintf(`{"answer":%q}`, "answer of "+c.To)
					}
					ranking := make([]string, n)
					for i := range ranking {
						ranking[i] = string(rune('A' + (i+place)%n))
						if place > 0 {
							ranking[i] = string(rune('A' + place - i))
						}
					}
					data, err := json.Marshal(map[string]any{"verdict": ranking[0], "ranking": ranking, "reasons": "by place"})
					if err != nil {
						t.Fatal(err)
					}
					return string(data)
				})
				if r.Verdict.Outcome != "tie" || len(r.Verdict.Tied) != n {
					t.Errorf("%d candidates in %d orders: %+v", n, orders, r.Verdict)
				}
			}
		}
	}
}

// Nobody learns who said what: no name of an agent reaches a peer or the judge, letters are drawn anew for each question, and each sees as many
// others as the degree says.
func TestDeliberationIsAnonymous(t *testing.T) {
	d := debaters(7, func(d *pattern.Debate) { d.Rounds, d.Degree = 3, 3 })
	round := map[string]int{}
	r, asked := held(t, d, func(c polity.Command) string {
		if c.To == "judge" {
			return `{"verdict":"insufficient","reasons":"none"}`
		}
		round[c.To]++
		return fmt.Sprintf(`{"answer":"%d","arguments":[{"text":"because"}]}`, (int(c.To[1])+round[c.To])%5)
	})
	for _, c := range asked {
		for _, one := range d.Debaters {
			if strings.Contains(string(c.Input), string(one.Agent)) {
				t.Errorf("%s is told of %s: %s", c.Name, one.Agent, c.Input)
			}
		}
	}
	orders := map[string]bool{}
	for _, one := range r.History[1:] {
		for _, s := range one.Statements {
			if len(s.Saw) != 3 {
				t.Errorf("%s saw %v", s.Agent, s.Saw)
			}
			orders[fmt.Sprint(s.Saw)] = true
		}
	}
	if len(r.History) != 4 || len(orders) < 15 { // 21 questions
		t.Errorf("%d rounds, %d orders", len(r.History), len(orders))
	}
}

// The judge sees plain text, of no candidate more than of another.
func TestJudgeSeesNoForm(t *testing.T) {
	d := debaters(2, assigned)
	var seen struct {
		Candidates []struct {
			Position   string
			Statements []string
		}
	}
	long := strings.Repeat("Word upon word. ", 2000)
	_, _ = held(t, d, func(c polity.Command) string {
		switch {
		case c.To == "judge":
			if err := json.Unmarshal(c.Input, &seen); err != nil {
				t.Fatal(err)
			}
			return `{"verdict":"tie","reasons":"so"}`
		case c.To == "d0":
			return fmt.Sprintf(`{"statement":%q}`, "# "+c.Name+"\n\n- **Bold** and `code` 🎉\n1. see [the page](https://example.com)\n```go\nx\n```\n| a | b |\n|---|---|\n")
		default:
			return fmt.Sprintf(`{"statement":%q}`, c.Name+" "+long)
		}
	})
	size := map[string]int{}
	for _, c := range seen.Candidates {
		for _, text := range c.Statements {
			size[c.Position] += len(text)
		}
		if c.Position != "position 0" {
			continue
		}
		if diff := cmp.Diff("open.d0 Bold and code see the page x a b", c.Statements[0]); diff != "" {
			t.Error(diff)
		}
	}
	if size["position 1"] > 2<<10 || size["position 1"] < 2000 {
		t.Errorf("of %d bytes the judge sees %d", len(long), size["position 1"])
	}
}

// However much a debater says, what is kept of it is bounded, and so is the result.
func TestStatementsAreBounded(t *testing.T) {
	d := debaters(4, func(d *pattern.Debate) { d.Rounds = 1 })
	text := strings.Repeat("x", 8<<10)
	argument := fmt.Sprintf(`{"text":%q,"quotes":[%s]}`, text, strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`{"file":"a","text":%q},`, text[:2<<10]), 8), ","))
	many := strings.TrimSuffix(strings.Repeat(argument+",", 20), ",")
	r, asked := held(t, d, func(c polity.Command) string {
		if c.To == "judge" {
			return `{"verdict":"insufficient","reasons":"too much"}`
		}
		return fmt.Sprintf(`{"answer":%q,"arguments":[%s]}`, c.To+text, many)
	})
	if n := len(r.History[0].Statements[0].Said.Arguments); n != 1 {
		t.Errorf("%d arguments are kept", n)
	}
	for _, c := range asked {
		if len(c.Input) > 256<<10 {
			t.Errorf("%s is asked with %d bytes", c.Name, len(c.Input))
		}
	}
}

func TestEffectiveVotes(t *testing.T) {
	tests := map[string]struct {
		models []string
		want   float64
	}{
		"one":             {[]string{"gpt-4o"}, 1},
		"the same model":  {[]string{"gpt-4o", "gpt-4o", "gpt-4o"}, 1.15}, // 3 / (1 + 2*0.8)
		"one family":      {[]string{"gpt-4o", "gpt-5", "maker/GPT-6"}, 1.36},
		"nine families":   {[]string{"a1", "b1", "c1", "d1", "e1", "f1", "g1", "h1", "i1"}, 1.96},
		"without a model": {[]string{"", ""}, 1.38},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := debaters(max(2, len(tt.models)), func(d *pattern.Debate) { d.Rounds = 1 })
			answers := make([]string, len(d.Debaters))
			for i, model := range tt.models {
				answers[i] = "yes"
				for j := range d.Members {
					if d.Members[j].Name == d.Debaters[i].Agent {
						d.Members[j].Model = model
					}
				}
			}
			r, _ := held(t, d, votes(answers...))
			if r.Openings.Effective != tt.want {
				t.Errorf("got %v, want %v", r.Openings.Effective, tt.want)
			}
		})
	}
}

// FuzzDebateOutput proves that nothing that a debater, the judge or the tool answers breaks a debate, and that its result can be read.
func FuzzDebateOutput(f *testing.F) {
	f.Add([]byte(`{"answer":"1e3","arguments":[{"text":"x","quotes":[{"file":"a","line":1,"text":"y"}]}]}`), []byte(`{"verdict":"A","ranking":["A","B"],"sides":[{"candidate":"b"}]}`))
	f.Add([]byte(`{"pattern":"debate","verdict":{"answer":"x"}}`), []byte(`{"pattern":"sequence","output":{"verdict":"tie"}}`))
	f.Add([]byte(`{"response":{"for":[],"verdict":7},"arguments":[7,{}]}`), []byte(`{"results":[{"ok":true}]}`))
	f.Add([]byte("\xff"), []byte(`null`))
	f.Fuzz(func(t *testing.T, said, other []byte) {
		d, err := debaters(3, func(d *pattern.Debate) { d.Rounds, d.Source = 1, true }).Decider()
		if err != nil {
			t.Fatal(err)
		}
		state, commands := d.Decide(nil, polity.Event{Kind: polity.Opened, Run: testRun, Folder: "/src", Data: json.RawMessage(`"why?"`)})
		for n := 0; len(commands) > 0; n++ {
			c := commands[0]
			commands = commands[1:]
			if c.Do == polity.DoFinish || c.Do == polity.DoFail {
				if c.Do == polity.DoFinish && !json.Valid(c.Input) {
					t.Fatalf("it finished with %q", c.Input)
				}
				return
			}
			e := polity.Event{Kind: polity.Result, Run: testRun, Name: c.Name, Attempt: c.Attempt}
			if e.Data = said; c.Do == polity.DoCall || c.To == "judge" || n == 1 {
				e.Data = other
			}
			var more []polity.Command
			state, more = d.Decide(state, e)
			commands = append(commands, more...)
		}
		t.Fatal("it has not ended")
	})
}
