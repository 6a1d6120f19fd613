package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
)

func TestDecisionOfAPerson(t *testing.T) {
	tests := map[string]struct {
		want polity.Decision
		ok   bool
	}{
		"yes":                 {polity.Decision{Approve: true, Hash: "h"}, true},
		" Y ":                 {polity.Decision{Approve: true, Hash: "h"}, true},
		"yes, as agreed":      {polity.Decision{Approve: true, Hash: "h", Reason: "as agreed"}, true},
		"always":              {polity.Decision{Approve: true, Hash: "h", Always: true}, true},
		"no: too much":        {polity.Decision{Hash: "h", Reason: "too much"}, true},
		"n":                   {polity.Decision{Hash: "h"}, true},
		"yesterday":           {},
		"not yet":             {},
		`{"approve": true}`:   {},
		"":                    {},
		"go ahead, yes, sure": {},
	}
	for text, tt := range tests {
		t.Run(text, func(t *testing.T) {
			got, ok := decision(text, "h")
			if ok != tt.ok {
				t.Fatalf("understood: %t", ok)
			}
			if diff := cmp.Diff(tt.want, got); ok && diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAnActionIsShownWhole has an input with text that is hidden, turned around or moves the cursor: it is shown as what it is.
func TestAnActionIsShownWhole(t *testing.T) {
	q := polity.Question{Key: "0-a#approve.1.1", Approval: &polity.Approval{
		Action: polity.Action{Tool: "pay", Input: json.RawMessage("{\"to\":\"\u202eevE\u200b\x7f\U000e0041é<\"}")}, Hash: "00", Agent: "clerk",
		Why: "fine\n  hash    11\x1b[2J",
	}}
	got := approvalText(q)
	for _, want := range []string{`"\u202eevE\u200b\u007f\udb40\udc41é<"`, "it says fine   hash    11[2J\n", "effect  not known"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
