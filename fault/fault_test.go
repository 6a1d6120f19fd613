package fault_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"polity.run/fault"
)

func Example() {
	err := fmt.Errorf("run: open: %w", fault.NotFound.New("agent %q", "critic"))
	fmt.Println(err)
	fmt.Println(errors.Is(err, fault.NotFound), errors.Is(err, fault.Timeout))
	// Output:
	// run: open: agent "critic"
	// true false
}

func TestEveryKindHasWords(t *testing.T) {
	titles := map[string]fault.Kind{}
	for _, k := range fault.Kinds() {
		if other, taken := titles[k.Title()]; k.Title() == "" || k.Hint() == "" || taken {
			t.Errorf("%s: title %q (also of %q), hint %q", k, k.Title(), other, k.Hint())
		}
		titles[k.Title()] = k
	}
}

func TestEveryKindComesBackEqual(t *testing.T) {
	for _, k := range fault.Kinds() {
		stored := fault.Of(fmt.Errorf("door: %w", k.New("cause %d", 7)))
		data, err := json.Marshal(stored)
		if err != nil {
			t.Fatal(err)
		}
		var back fault.Error
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatalf("%s: %v", k, err)
		}
		if !errors.Is(&back, stored) || !errors.Is(&back, k) || back.Error() != "door: cause 7" {
			t.Errorf("%s: came back as %+v", k, back)
		}
		for _, other := range fault.Kinds() {
			if other != k && errors.Is(&back, other) {
				t.Errorf("%s is also %s", k, other)
			}
		}
	}
}

func TestWrappedCauseStaysReachable(t *testing.T) {
	err := fault.Unavailable.New("store: open: %w", fs.ErrPermission)
	if !errors.Is(err, fs.ErrPermission) || !errors.Is(err, fault.Unavailable) {
		t.Fatalf("lost a cause: %v", err)
	}
}

func TestOf(t *testing.T) {
	if fault.Of(nil) != nil {
		t.Error("Of(nil) is not nil")
	}
	if got := fault.Of(errors.New("plain")); got.Kind != fault.Internal {
		t.Errorf("plain error became %s", got.Kind)
	}
	if got := fault.Of(fmt.Errorf("x: %w", fault.Timeout)); got.Kind != fault.Timeout || got.Text != "x: timeout" {
		t.Errorf("bare kind became %+v", got)
	}
	if got := fault.Of(fmt.Errorf("x: %w", fault.Exceeded("turns", "no turn left"))); got.Bound != "turns" {
		t.Errorf("bound lost: %+v", got)
	}
}

func TestUnknownKindIsRefused(t *testing.T) {
	var e fault.Error
	if err := json.Unmarshal([]byte(`{"kind":"gremlin","text":"x"}`), &e); err == nil {
		t.Fatal("a foreign kind was taken for ours")
	}
}

func TestNearest(t *testing.T) {
	known := []string{"code.dependencies", "code.tests", "quote", "hub", "all", "retries", "replans", "description", "description-file", "plan", "planner", "use"}
	tests := map[string]struct{ name, want string }{
		"replaced":       {"code.dependancies", "code.dependencies"},
		"swapped":        {"qoute", "quote"},
		"left out":       {"quot", "quote"},
		"too much":       {"hubb", "hub"},
		"two of five":    {"qouet", "quote"},
		"third of long":  {"codedependency", "code.dependencies"},
		"other word":     {"weather", ""},
		"nothing of it":  {"x", ""},
		"empty":          {"", ""},
		"too long":       {"quote" + strings.Repeat("e", 128), ""},
		"first of equal": {"al", "all"},
		"another ending": {"retry", "retries"},
		"a beginning":    {"desc", "description"},
		"begins with it": {"use_registered", "use"},
		"shortest rest":  {"plan_of_all_steps", "plan"},
		"edits go first": {"plann", "plan"},
		"too short":      {"de", ""},
		"other word too": {"retail", ""},
		"another stem":   {"retrab", ""},
		"a long end":     {"descx", ""},
		"begins with 4":  {"planetary-gears", "plan"},
		"other end":      {"reflection", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := fault.Nearest(test.name, known); got != test.want {
				t.Errorf("%q: want %q, got %q", test.name, test.want, got)
			}
		})
	}
}
