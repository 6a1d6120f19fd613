package scenario

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"polity.run"
	"polity.run/fault"
)

func TestExpectations(t *testing.T) {
	h := &happened{
		outcome: polity.Outcome{Status: polity.StatusCompleted, Output: json.RawMessage(`{"a":{"b/c":[1,"two"]},"n":null}`), Usage: polity.Usage{Turns: 3, MicroUSD: 2_000_000}},
		steps:   []string{"plan", "ask/think", "ask/think.2", "ask"}, agents: map[string]int{"x": 1}, asked: map[string][]string{"x": {"go"}},
		calls: map[string]int{"t": 2}, wanted: map[string]int{"bad": 1},
	}
	tests := map[string]struct {
		expect Expect
		wrong  int
	}{
		"nothing":        {Expect{Status: "completed"}, 0},
		"status":         {Expect{Status: "failed"}, 1},
		"equals":         {Expect{Status: "completed", Output: []Check{{At: "/a/b~1c/0", Equals: 1}, {At: "/a/b~1c/1", Equals: "two"}, {At: "/n", Absent: true}}}, 1},
		"no such place":  {Expect{Status: "completed", Output: []Check{{At: "/a/x", Contains: "y"}, {At: "/a/x", Absent: true}}}, 1},
		"text":           {Expect{Status: "completed", Output: []Check{{Contains: "two"}, {Contains: "three"}, {At: "/a/b~1c/1", Matches: "^t.o$"}}}, 1},
		"path":           {Expect{Status: "completed", Path: []string{"plan", "think", "ask"}}, 0},
		"path backwards": {Expect{Status: "completed", Path: []string{"think.2", "think"}}, 1},
		"reached":        {Expect{Status: "completed", Agents: []string{"x", "y"}, Tools: []string{"t", "u"}, Never: []string{"t", "z"}}, 3},
		"forbidden":      {Expect{Status: "completed", Forbidden: []string{"bad", "worse"}}, 1},
		"at most":        {Expect{Status: "completed", AtMost: map[string]int{"t": 1, "u": 0}}, 1},
		"asked":          {Expect{Status: "completed", Asked: []Asked{{"x", "go"}, {"x", "stop"}, {"y", "go"}}}, 2},
		"cost":           {Expect{Status: "completed", Cost: &Cost{USD: 1, Turns: 2, Tokens: 1}}, 2},
		"fault":          {Expect{Status: "completed", Fault: "boom"}, 1},
	}
	for name, tt := range tests {
		if got := look(&tt.expect, h); len(got) != tt.wrong {
			t.Errorf("%s: %d wrong, want %d: %q", name, len(got), tt.wrong, got)
		}
	}
}

func TestJUnit(t *testing.T) {
	out, err := JUnit([]Result{{File: "a", Name: "x", Passed: true, Runs: 1, Good: 1}, {File: "a", Name: "<y>", Runs: 2, Good: 1, Wrong: []string{"a\x00\n<b>"}}})
	if err != nil || !strings.Contains(string(out), `tests="2" failures="1"`) || !strings.Contains(string(out), "&lt;b&gt;") || strings.Contains(string(out), "\x00") {
		t.Errorf("%s %v", out, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("polity: v1\nmanifest: a\nscenarios: [{name: x, question: y, expect: {output: [{at: /a, equals: 1}]}}]\n"))
	f.Add([]byte("polity: v1\nscenarios: [{name: x, runs: -1, faults: [{}]}]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parse(data)
		if err != nil {
			if !errors.Is(err, fault.Invalid) && !strings.Contains(err.Error(), "want") {
				t.Errorf("got %v", err)
			}
			return
		}
		for i := range file.Scenarios {
			_, _ = file.Scenarios[i].input() // what YAML knows and JSON does not is an error, never a panic
		}
	})
}
