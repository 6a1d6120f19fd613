package pattern_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run/pattern"
	"polity.run/pattern/patterntest"
)

func TestParallelCheck(t *testing.T) {
	tests := map[string]struct {
		change func(*pattern.Parallel)
		want   string // "" is none
	}{
		"as it is":          {func(*pattern.Parallel) {}, ""},
		"no branch":         {func(p *pattern.Parallel) { p.Branches = nil }, "branches: 0 branches; want 1 to 64"},
		"nobody":            {func(p *pattern.Parallel) { p.Branches[0].Agent = "" }, "branches[0].agent: nobody is the branch; name an agent"},
		"unknown":           {func(p *pattern.Parallel) { p.Merge = "eve" }, `merge: there is no agent "eve" to be the merger`},
		"judges itself":     {func(p *pattern.Parallel) { p.Checker = "ada" }, "checker: ada is a branch, and would judge its own answer; name another agent"},
		"merges itself":     {func(p *pattern.Parallel) { p.Merge = "ada" }, "merge: ada is a branch, and would weigh its own answer; name another agent"},
		"policy":            {func(p *pattern.Parallel) { p.Join.Policy = "first" }, `join.policy: "first" is unknown in a parallel; want all, quorum, best-effort or first-valid; did you mean "first-valid"?`},
		"nothing is valid":  {func(p *pattern.Parallel) { p.Join.Policy = "first-valid" }, "join.policy: nothing says which answer is valid; add valid, a schema, or checker, an agent"},
		"quorum of nothing": {func(p *pattern.Parallel) { p.Join.Policy = "quorum" }, "join.k: policy quorum needs the number of branches that must succeed, at least 1"},
		"too many":          {func(p *pattern.Parallel) { p.Join = pattern.Join{Policy: "quorum", K: 3} }, "join.k: 3 of the branches, of which there are 2, can never succeed; lower it, or add branches"},
		"k with all":        {func(p *pattern.Parallel) { p.Join.K = 1 }, "join.k: policy all takes none; leave it out, or use quorum or best-effort"},
		"schema":            {func(p *pattern.Parallel) { p.Valid = json.RawMessage(`{"type":7}`) }, "valid: "},
		"of another branch": {func(p *pattern.Parallel) { p.Branches[1].Input = json.RawMessage(`{"x":"$ada.y"}`) }, "branches[1].input.x: $ada.y: a branch sees the request only, as in $input.question"},
		"reference":         {func(p *pattern.Parallel) { p.Branches[1].Input = json.RawMessage(`"$ "`) }, `branches[1].input: "$ " is not a reference`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &pattern.Parallel{Branches: []pattern.Branch{{Agent: "ada"}, {Agent: "bob"}}, Members: patterntest.Team("ada", "bob", "cyd")}
			tt.change(p)
			checks(t, p, tt.want)
		})
	}
}

// checks wants a configuration to be refused with a text, or to be accepted.
func checks(t *testing.T, c pattern.Config, want string) {
	t.Helper()
	err := c.Check()
	switch {
	case err == nil && want == "":
	case err == nil || want == "":
		t.Errorf("got %v, want %q", err, want)
	case !strings.HasPrefix(err.Error(), want):
		t.Error(cmp.Diff(want, err.Error()))
	}
	if _, err := c.Decider(); (err == nil) != (want == "") {
		t.Errorf("Decider: %v", err)
	}
}
