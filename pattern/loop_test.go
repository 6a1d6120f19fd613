package pattern_test

import (
	"testing"

	"polity.run"
	"polity.run/pattern"
	"polity.run/pattern/patterntest"
)

func TestLoopCheck(t *testing.T) {
	tests := map[string]struct {
		change func(*pattern.Loop)
		want   string // "" is none
	}{
		"as it is":        {func(*pattern.Loop) {}, ""},
		"no rounds":       {func(l *pattern.Loop) { l.Rounds = new(0) }, "rounds: 0 rounds: a loop has a bound, and at least one round; want 1 to 20"},
		"too many rounds": {func(l *pattern.Loop) { l.Rounds = new(21) }, "rounds: 21 rounds: a loop has a bound, and at least one round; want 1 to 20"},
		"no patience":     {func(l *pattern.Loop) { l.Patience = new(0) }, "patience: 0 is not within 1 and 20"},
		"judges itself": {func(l *pattern.Loop) { l.Evaluator = "ada" },
			"evaluator: ada would judge its own work, which makes it worse; name another agent, or a program that tests it"},
		"nobody":  {func(l *pattern.Loop) { l.Generator = "" }, "generator: nobody is the generator; name an agent"},
		"unknown": {func(l *pattern.Loop) { l.Evaluator = "eve" }, `evaluator: there is no agent "eve" to be the evaluator`},
		"several skills": {func(l *pattern.Loop) { l.Members[1].Skills = []polity.Skill{{Name: "a"}, {Name: "b"}} },
			"evaluator: bob has several skills and none is called evaluate, which the evaluator is asked for; name one of them so"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := &pattern.Loop{Generator: "ada", Evaluator: "bob", Members: patterntest.Team("ada", "bob")}
			tt.change(l)
			checks(t, l, tt.want)
		})
	}
}
