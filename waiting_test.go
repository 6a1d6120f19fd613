package polity_test

import (
	"encoding/json"
	"errors"
	"testing"

	"polity.run"
	"polity.run/fault"
)

func TestPatternsOfTopics(t *testing.T) {
	for _, tc := range []struct {
		pattern, topic string
		want           bool
	}{
		{"orders.placed", "orders.placed", true},
		{"orders.placed", "orders.paid", false},
		{"orders.*", "orders.placed", true},
		{"orders.*", "orders", false},
		{"orders.*", "orders.placed.eu", false},
		{"orders.*.eu", "orders.placed.eu", true},
		{"*", "orders", true},
		{"orders.>", "orders.placed.eu", true},
		{"orders.>", "orders.placed", true},
		{"orders.>", "orders", false},
		{">", "a.b", true},
		{"orders", "orders.placed", false},
	} {
		if err := errors.Join(polity.CheckPattern(tc.pattern), polity.CheckTopic(tc.topic)); err != nil {
			t.Error(err)
		}
		if got := polity.MatchTopic(tc.pattern, tc.topic); got != tc.want {
			t.Errorf("%s for %s: %t", tc.pattern, tc.topic, got)
		}
	}
	for _, bad := range []string{"", ".", "a.", ".a", "a..b", "A", "a b", "a.>.b", "a.b>", "a*"} {
		if err := polity.CheckPattern(bad); !errors.Is(err, fault.Invalid) {
			t.Errorf("pattern %q: %v", bad, err)
		}
	}
	for _, bad := range []string{"*", "a.*", "a.>", ">"} {
		if err := polity.CheckTopic(bad); !errors.Is(err, fault.Invalid) {
			t.Errorf("topic %q: %v", bad, err)
		}
	}
}

func TestMatch(t *testing.T) {
	const data = `{"order":17,"to":{"name":"Ada","town":"London"},"tags":["a",1],"big":9007199254740993,"none":null}`
	for match, want := range map[string]bool{
		``:                         true,
		`{}`:                       true,
		`{"order":17}`:             true,
		`{"order":17.0}`:           true,
		`{"order":"17"}`:           false,
		`{"order":18}`:             false,
		`{"to":{"town":"London"}}`: true,
		`{"to":{"town":"Paris"}}`:  false,
		`{"to":"London"}`:          false,
		`{"tags":["a",1]}`:         true,
		`{"tags":["a"]}`:           false,
		`{"big":9007199254740992}`: false,
		`{"none":null}`:            true,
		`{"absent":null}`:          false,
		`{"order":{"x":1}}`:        false,
		`{"tags":{}}`:              false,
	} {
		on := polity.Awaited{Signal: "s", Match: json.RawMessage(match)}
		if err := on.Check(); err != nil {
			t.Error(err)
		}
		if got := on.Matches(json.RawMessage(data)); got != want {
			t.Errorf("%s: %t", match, got)
		}
	}
	for _, bad := range []polity.Awaited{
		{}, {Signal: "a", Topic: "b"}, {Signal: "A"}, {Topic: "a..b"}, {Signal: "a", Match: json.RawMessage(`[]`)},
		{Signal: "a", Match: json.RawMessage(`null`)}, {Signal: "a", Match: json.RawMessage(`{}{}`)},
	} {
		if err := bad.Check(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
