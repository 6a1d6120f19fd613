package pattern_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/pattern"
)

// crew returns a hub with two specialists, a and b, and the steps as its plan. The skill of a has
// an output schema; b has two skills.
func crew(steps ...pattern.Step) pattern.Hub {
	h := pattern.Hub{Specialists: []pattern.Member{
		{Name: "a", Skills: []polity.Skill{{Name: "work", Output: json.RawMessage(
			`{"type":"object","properties":{"summary":{"type":"string"},"list":{"type":"array","items":{"properties":{"x":{}}}},"free":{}}}`)}}},
		{Name: "b", Skills: []polity.Skill{{Name: "read"}, {Name: "write"}}},
	}}
	if steps != nil {
		h.Plan = &pattern.Plan{Steps: steps}
	}
	return h
}

// step returns a step for a with the input, "" for none.
func step(id, input string, deps ...string) pattern.Step {
	return pattern.Step{ID: id, Agent: "a", Input: json.RawMessage(input), DependsOn: deps}
}

func optional(s pattern.Step) pattern.Step {
	s.Optional = true
	return s
}

func with(h pattern.Hub, change func(*pattern.Hub)) pattern.Hub {
	change(&h)
	return h
}

func TestCheck(t *testing.T) {
	var chain, many []pattern.Step
	for i := range 12 {
		input := ""
		if i > 0 {
			input = fmt.Sprintf(`"$s%d"`, i-1)
		}
		chain = append(chain, step(fmt.Sprintf("s%d", i), input))
	}
	for i := range 41 {
		many = append(many, step(fmt.Sprintf("s%d", i), ""))
	}
	when := func(stance polity.Stance, severity polity.Severity, n int) pattern.Rule {
		return pattern.Rule{Verdict: "no", When: &pattern.When{Stance: stance, Severity: severity, AtLeast: n}}
	}
	tests := map[string]struct {
		hub  pattern.Hub
		want string // lines, "" for no problem
	}{
		"no plan":           {crew(), ""},
		"chain":             {crew(chain[:10]...), ""},
		"side by side":      {crew(many[:40]...), ""},
		"references":        {crew(step("x", ""), step("y", `{"a":["$x.list.0.x","$x.free.any","$input.q","$$x","costs $5"]}`)), ""},
		"optional leaf":     {crew(step("x", ""), optional(step("y", `"$x"`))), ""},
		"optional after":    {crew(optional(step("x", "")), optional(step("y", `"$x"`)), step("z", "", "x")), ""},
		"empty plan":        {with(crew(), func(h *pattern.Hub) { h.Plan = &pattern.Plan{} }), "plan: it has no steps; add one, or leave the plan out to have it made"},
		"duplicate id":      {crew(step("x", ""), step("x", "")), `plan: step "x": steps 1 and 2 have this id; rename one`},
		"no id":             {crew(step("", "")), "plan: step 1: it has no id; give it one"},
		"bad id":            {crew(step("X y", "")), `plan: step "X y": the id may hold a-z, 0-9, '-' and '_' and begins with a letter or digit`},
		"long id":           {crew(step(strings.Repeat("x", 41), "")), `plan: step "` + strings.Repeat("x", 40) + `…": the id is longer than 40 bytes; shorten it`},
		"reserved id":       {crew(step("verify", "")), `plan: step "verify": the id is reserved; choose another`},
		"unknown agent":     {crew(pattern.Step{ID: "x", Agent: "cc"}), `plan: step "x": no specialist is named "cc"; known: a, b`},
		"far agent":         {crew(pattern.Step{ID: "x", Agent: "reviewer"}), `plan: step "x": no specialist is named "reviewer"; known: a, b`},
		"unknown skill":     {crew(pattern.Step{ID: "x", Agent: "b", Skill: "wriet"}), `plan: step "x": b has no skill "wriet"; did you mean "write"?`},
		"which skill":       {crew(pattern.Step{ID: "x", Agent: "b"}), `plan: step "x": b has several skills; name one: read, write`},
		"unknown step":      {crew(step("deps", ""), step("y", `"$deps"`, "dpes")), `plan: step "y": depends_on names no step "dpes"; did you mean "deps"?`},
		"unknown reference": {crew(step("deps", ""), step("y", `["$dep.x"]`)), `plan: step "y": input: $dep.x: no step has the id "dep"; did you mean "deps"?; for text that begins with a dollar sign write $$`},
		"two unknown":       {crew(step("x", `{"b":"$nope","a":"$none","c":"$no"}`)), "plan: step \"x\": input: $none: no step has the id \"none\"; known: x, input; for text that begins with a dollar sign write $$\nplan: step \"x\": input: $nope: no step has the id \"nope\"; known: x, input; for text that begins with a dollar sign write $$\nplan: step \"x\": input: $no: no step has the id \"no\"; known: x, input; for text that begins with a dollar sign write $$"},
		"no reference":      {crew(step("x", `{"price":"$ 5"}`)), `plan: step "x": input: "$ 5" is not a reference such as "$step.field"; for text that begins with a dollar sign write "$$ 5"`},
		"undeclared field":  {crew(step("x", ""), step("y", `"$x.sumary"`)), `plan: step "y": input: $x.sumary: the output schema of $x declares no field "sumary"; did you mean "summary"?`},
		"undeclared within": {crew(step("x", ""), step("y", `"$x.list.3.why"`)), `plan: step "y": input: $x.list.3.why: the output schema of $x.list.3 declares no field "why"; known: x`},
		"cycle":             {crew(step("w", ""), step("x", `"$z"`), step("y", "", "x"), step("z", "", "y")), `plan: step "x": it waits for itself: x <- z <- y <- x; remove one of these from depends_on or input`},
		"self":              {crew(step("x", `"$x"`)), `plan: step "x": it waits for itself: x <- x; remove one of these from depends_on or input`},
		"unused":            {crew(step("x", ""), step("y", "", "x")), `plan: step "x": nobody uses its output, though "y" waits for it; reference it there as "$x" or a field of it, or remove it from depends_on`},
		"needs optional":    {crew(optional(step("x", "")), step("y", `"$x"`)), `plan: step "y": it references the output of "x", which is optional; make it optional too, or "x" required`},
		"deep":              {crew(chain[:11]...), `plan: step "s10": the chain s10 <- s9 <- s8 <- s7 <- s6 <- s5 <- s4 <- s3 <- s2 <- s1 <- s0 is 11 long, more than caps.depth of 10; let steps work side by side, or raise the cap`},
		"many":              {crew(many...), `plan: 41 steps are more than caps.steps of 40; join some, or raise the cap`},
		"dear": {with(crew(pattern.Step{ID: "x", Agent: "a", Bounds: polity.Bounds{MicroUSD: 6}}, pattern.Step{ID: "y", Agent: "a", Bounds: polity.Bounds{MicroUSD: 5}}),
			func(h *pattern.Hub) { h.Caps.MicroUSD = 10 }), `plan: step "y": up to it the steps are delegated more than the cap of 10 micro_usd; lower their bounds or raise the cap`},
		"negative bound": {crew(pattern.Step{ID: "x", Agent: "a", Bounds: polity.Bounds{Turns: -1}}), `plan: step "x": bounds: a bound is negative; leave it out for the default`},
		"not JSON":       {crew(step("x", `{"a":`)), `plan: step "x": input: not JSON`},
		"all optional":   {crew(optional(step("x", ""))), `plan: join all: the plan has no step that is not optional, so that nothing would have to succeed; make one`},
		"quorum too large": {with(crew(step("x", ""), step("y", `"$x"`)), func(h *pattern.Hub) { h.Join = pattern.Join{Policy: "quorum", K: 2} }),
			`plan: join quorum(2): the plan has only 1 of 2: each a result (a step that is not optional and that no other waits for); add steps or lower join.k`},
		"quorum of none": {with(crew(), func(h *pattern.Hub) { h.Join.Policy = "quorum" }), "join.k: policy quorum needs the number of steps that must succeed, at least 1"},
		"k for all":      {with(crew(), func(h *pattern.Hub) { h.Join.K = 2 }), "join.k: policy all takes none; leave it out, or use quorum or best-effort"},
		"policy":         {with(crew(), func(h *pattern.Hub) { h.Join.Policy = "quorom" }), `join.policy: "quorom" is unknown; want all, quorum, best-effort or first; did you mean "quorum"?`},
		"planner":        {with(crew(), func(h *pattern.Hub) { h.Planner = "magic" }), `planner: there is no agent "magic" to be the planner`},
		"caps": {with(crew(), func(h *pattern.Hub) {
			h.Caps, h.Retries, h.Replans = pattern.Caps{Steps: 501, Width: 65, Depth: -1, MicroUSD: -1}, new(21), new(-1)
		}), "caps.steps: 501 is not within 1 and 500\ncaps.width: 65 is not within 1 and 64\ncaps.depth: -1 is not within 1 and 100\n" +
			"retries: 21 is not within 0 and 20\nreplans: -1 is not within 0 and 100\ncaps.micro_usd: -1 is negative; leave it out for no cap"},
		"together": {with(crew(
			pattern.Step{ID: "x", Agent: "aa"}, step("y", ""), step("z", `{"a":"$y.sumary","b":"$x.any"}`),
		), func(h *pattern.Hub) {
			h.Join, h.Caps.Depth = pattern.Join{Policy: "quorum", K: 3}, 1
		}), `plan: step "x": no specialist is named "aa"; did you mean "a"?` + "\n" +
			`plan: step "z": input: $y.sumary: the output schema of $y declares no field "sumary"; did you mean "summary"?` + "\n" +
			`plan: step "z": the chain z <- y is 2 long, more than caps.depth of 1; let steps work side by side, or raise the cap` + "\n" +
			`plan: join quorum(3): the plan has only 1 of 3: each a result (a step that is not optional and that no other waits for); add steps or lower join.k`},
		"optional beside others": {crew(optional(step("x", "")), step("y", `["$x","$nope"]`)), `plan: step "y": input: $nope: no step has the id "nope"; known: x, y, input; for text that begins with a dollar sign write $$` + "\n" +
			`plan: step "y": it references the output of "x", which is optional; make it optional too, or "x" required`},
		"misspelt is no use":       {crew(step("deps", ""), step("y", `"$dpes"`, "deps")), `plan: step "y": input: $dpes: no step has the id "dpes"; did you mean "deps"?; for text that begins with a dollar sign write $$`},
		"one of two with an id":    {crew(step("x", ""), step("y", `"$x.nothing"`, "z"), step("x", "", "y"), step("z", "", "x")), `plan: step "x": steps 1 and 3 have this id; rename one`},
		"cycle and unused":         {crew(step("x", "", "y"), step("y", "", "x")), `plan: step "x": it waits for itself: x <- y <- x; remove one of these from depends_on or input`},
		"bad join asks no more":    {with(crew(step("x", "")), func(h *pattern.Hub) { h.Join = pattern.Join{Policy: "quorom", K: 5} }), `join.policy: "quorom" is unknown; want all, quorum, best-effort or first; did you mean "quorum"?`},
		"k for first asks no more": {with(crew(step("x", "")), func(h *pattern.Hub) { h.Join = pattern.Join{Policy: "first", K: 5} }), "join.k: policy first takes none; leave it out, or use quorum or best-effort"},
		"bad caps ask no more": {with(crew(step("x", ""), step("y", `"$x"`)), func(h *pattern.Hub) { h.Caps.Steps, h.Caps.Depth = -1, -1 }),
			"caps.steps: -1 is not within 1 and 500\ncaps.depth: -1 is not within 1 and 100"},
		"nobody":      {pattern.Hub{}, "specialists: there are none; name at least one agent"},
		"twice":       {with(crew(), func(h *pattern.Hub) { h.Specialists[1].Name = "a" }), "specialists[1]: a is listed twice; remove one"},
		"bad name":    {with(crew(), func(h *pattern.Hub) { h.Specialists[0].Name = "A" }), `specialists[0]: agent name "A": "A" is not allowed; use a-z, 0-9, '-' and '_'`},
		"no skill":    {with(crew(), func(h *pattern.Hub) { h.Specialists[0].Skills = nil }), "specialist a: it has no skill; declare at least one"},
		"skill twice": {with(crew(), func(h *pattern.Hub) { h.Specialists[1].Skills[0].Name = "write" }), `specialist b: skill "write" is declared twice; remove one`},
		"nameless":    {with(crew(), func(h *pattern.Hub) { h.Specialists[0].Skills[0].Name = "" }), "specialist a: skills[0] has no name; give it one"},
		"unreachable": {with(crew(), func(h *pattern.Hub) { h.Verdict = []pattern.Rule{{Verdict: "yes"}, when(polity.For, polity.Low, 1)} }), "verdict[0]: it always holds, so the rules after it never do; move it to the end"},
		"rules": {with(crew(), func(h *pattern.Hub) { h.Verdict = []pattern.Rule{when("maybe", "huge", 0), {}} }),
			"verdict[0].when.stance: \"maybe\" is unknown; want for, against or neutral\n" +
				"verdict[0].when.severity: \"huge\" is unknown; want critical, high, medium, low or info\n" +
				"verdict[0].when.at_least: 0 would always hold; want at least 1, or leave out when\n" +
				"verdict[1]: the verdict is empty; write what holds, as in \"ready\""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tt.hub.Check()
			got := ""
			if err != nil {
				got = err.Error()
				if !errors.Is(err, fault.Invalid) {
					t.Errorf("not Invalid: %v", err)
				}
			}
			if diff := cmp.Diff(strings.Split(tt.want, "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if _, err := tt.hub.Decider(); (err != nil) != (tt.want != "") {
				t.Errorf("NewHub: %v", err)
			}
		})
	}
}

// A problem says where it is by the names of the JSON, down to the text within an input, and on what it rests.
func TestProblemFields(t *testing.T) {
	h := with(crew(
		step("x", ""), step("x", ""), step("y", `{"a b":["","$x.sumary"],"c":"$5"}`), pattern.Step{ID: "z", Agent: "b", DependsOn: []string{"no"}},
		step("u", `"$y"`, "z"), optional(step("v", "")), step("w", `"$v"`), pattern.Step{Agent: "cc", Bounds: polity.Bounds{MicroUSD: 2, Turns: -1}},
	), func(h *pattern.Hub) {
		h.Caps, h.Join = pattern.Caps{Steps: 7, MicroUSD: 1}, pattern.Join{Policy: "quorum", K: 9}
		h.Verdict = []pattern.Rule{{Verdict: "no", When: &pattern.When{Stance: polity.For, Severity: "huge", AtLeast: 1}}}
		h.Specialists[1].Skills = append(h.Specialists[1].Skills, polity.Skill{})
	})
	var got []string
	for _, err := range h.Check().(interface{ Unwrap() []error }).Unwrap() {
		var p *pattern.Problem
		if !errors.As(err, &p) || !errors.Is(err, fault.Invalid) || fault.Of(err).Kind != fault.Invalid || p.Text == "" {
			t.Fatalf("not a problem: %v", err)
		}
		got = append(got, fmt.Sprintf("%s %q", p.Field, p.With))
	}
	want := []string{
		`specialists[1].skills []`, `verdict[0].when.severity []`, `plan ["caps.steps"]`, `plan.steps[1].id []`, `plan.steps[7].id []`,
		`plan.steps[7].bounds []`, `plan.steps[7].bounds ["plan.steps[7].bounds" "caps.micro_usd"]`, `plan.steps[2].input.c []`,
		`plan.steps[3].skill []`, `plan.steps[3].depends_on []`, `plan.steps[7].agent []`, `plan.steps[6] ["plan.steps[6]" "plan.steps[5]"]`, `join.k ["join"]`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	h = crew(step("x", ""), step("y", `{"a b":["","$x.sumary"]}`))
	if err := h.Check(); err == nil || err.(interface{ Unwrap() []error }).Unwrap()[0].(*pattern.Problem).Field != `plan.steps[1].input["a b"][1]` {
		t.Errorf("got %v", err)
	}
}

// However much is wrong, a hundred problems are listed and the rest is counted.
func TestProblemsAreBounded(t *testing.T) {
	var steps []pattern.Step
	for i := range 150 {
		steps = append(steps, pattern.Step{ID: fmt.Sprintf("s%d", i), Agent: "nobody"})
	}
	lines := strings.Split(with(crew(steps...), func(h *pattern.Hub) { h.Caps.Steps = 500 }).Check().Error(), "\n")
	if len(lines) != 101 || lines[100] != "and 50 more problems" {
		t.Errorf("%d lines, the last of them %q", len(lines), lines[len(lines)-1])
	}
}

// FuzzCheck proves that no configuration makes Check panic or hang, that it says the same twice,
// and that what it accepts a decider can be made of and opened.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"specialists":[{"name":"a","skills":[{"name":"s"}]}],"plan":{"steps":[{"id":"x","agent":"a","input":"$y"},{"id":"y","agent":"a"}]}}`,
		`{"specialists":[{"name":"a","skills":[{"name":"s","output":{"properties":{"x":true},"additionalProperties":false}}]}],"plan":{"steps":[{"id":"x","agent":"a"},{"id":"y","agent":"a","input":{"k":["$x.y","$$","$"]},"depends_on":["x","y"]}]}}`,
		`{"specialists":[{"name":"a","skills":[{"name":"s"}]}],"join":{"policy":"quorum","k":-1},"caps":{"width":-4},"retries":99,"verdict":[{"when":{}}]}`,
	} {
		f.Add([]byte(seed), []byte(`{"question":"s"}`))
	}
	f.Fuzz(func(t *testing.T, config, request []byte) {
		var h pattern.Hub
		if json.Unmarshal(config, &h) != nil {
			return
		}
		err := h.Check()
		if again := h.Check(); fmt.Sprint(err) != fmt.Sprint(again) {
			t.Fatalf("Check says %v, then %v", err, again)
		}
		d, newErr := h.Decider()
		if (err == nil) != (newErr == nil) {
			t.Fatalf("Check says %v, NewHub %v", err, newErr)
		}
		if err != nil {
			return
		}
		if _, commands := d.Decide(nil, polity.Event{Kind: polity.Opened, Run: testRun, Data: request}); len(commands) == 0 {
			t.Fatal("the run was opened and waits for nothing")
		}
	})
}
