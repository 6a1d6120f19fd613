package manifest

import (
	"strings"
	"testing"

	"polity.run"
)

func TestSuggestListsAFew(t *testing.T) {
	known := strings.Split("aa bb cc dd ee ff gg hh ii jj", " ")
	if got, want := suggest("zzzzzz", known), "known are aa, bb, cc, dd, ee, ff, gg, hh and 2 more"; got != want {
		t.Errorf("want %q, got %q", want, got)
	}
	if got := suggest("zzzzzz", nil); got != "" {
		t.Errorf("nothing is known, but got %q", got)
	}
}

// FuzzWord holds the rule of the format's names to that of agents.
func FuzzWord(f *testing.F) {
	for _, s := range []string{"", "a", "-a", "a_b-1", "A", "é", "a b", "a\n", strings.Repeat("a", 63), strings.Repeat("a", 64)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		form := word("").shape()
		if ok := len(s) <= form.max && form.text.MatchString(s); ok != (polity.AgentName(s).Check() == nil) {
			t.Errorf("%q: the format says %t, the noun says %v", s, ok, polity.AgentName(s).Check())
		}
		if near := tidy(s); near != "" && len(near) <= form.max && polity.AgentName(near).Check() != nil {
			t.Errorf("%q is proposed for %q", near, s)
		}
	})
}
