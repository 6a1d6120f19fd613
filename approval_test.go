package polity_test

import (
	"encoding/json"
	"errors"
	"testing"

	"polity.run"
	"polity.run/fault"
)

func TestHashOfAnAction(t *testing.T) {
	hash := func(a polity.Action) string {
		t.Helper()
		h, err := a.Hash()
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	one := hash(polity.Action{Tool: "pay", Input: json.RawMessage(`{"to":"<Eve>","euros":1}`)})
	same := map[string]polity.Action{
		"other order":  {Tool: "pay", Input: json.RawMessage(`{"euros":1,"to":"<Eve>"}`)},
		"space":        {Tool: "pay", Input: json.RawMessage(" { \"to\" : \"<Eve>\", \"euros\" : 1 }\n")},
		"escapes":      {Tool: "pay", Input: json.RawMessage(`{"to":"\u003cEv\u0065\u003e","euros":1}`)},
		"a name twice": {Tool: "pay", Input: json.RawMessage(`{"to":"Ada","to":"<Eve>","euros":1}`)}, // and the last one is what is done
	}
	for name, a := range same {
		if got := hash(a); got != one {
			t.Errorf("%s: %s, want %s", name, got, one)
		}
	}
	other := map[string]polity.Action{
		"tool":      {Tool: "Pay", Input: json.RawMessage(`{"to":"<Eve>","euros":1}`)},
		"agent":     {Agent: "pay", Input: json.RawMessage(`{"to":"<Eve>","euros":1}`)},
		"effect":    {Tool: "pay", Effect: polity.EffectNone, Input: json.RawMessage(`{"to":"<Eve>","euros":1}`)},
		"number":    {Tool: "pay", Input: json.RawMessage(`{"to":"<Eve>","euros":1.0}`)},
		"type":      {Tool: "pay", Input: json.RawMessage(`{"to":"<Eve>","euros":"1"}`)},
		"more":      {Tool: "pay", Input: json.RawMessage(`{"to":"<Eve>","euros":1,"cc":null}`)},
		"name case": {Tool: "pay", Input: json.RawMessage(`{"To":"<Eve>","euros":1}`)},
	}
	for name, a := range other {
		if hash(a) == one {
			t.Errorf("%s: the hash is the same", name)
		}
	}
	for _, bad := range []string{``, `{`, `{} {}`, `{}x`} {
		if _, err := (polity.Action{Tool: "pay", Input: json.RawMessage(bad)}).Hash(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func FuzzActionHash(f *testing.F) {
	f.Add(`{"b":[1e5,"\u2028<"],"a":null}`)
	f.Add("\"\xff\"")
	f.Add(`{"a":1}{`)
	f.Fuzz(func(t *testing.T, input string) {
		a, err := polity.Action{Tool: "t", Input: json.RawMessage(input)}.Canonical()
		if err != nil {
			return
		}
		again, err := a.Canonical()
		if err != nil || string(again.Input) != string(a.Input) {
			t.Fatalf("%q became %q, and that %q: %v", input, a.Input, again.Input, err)
		}
		one, err1 := polity.Action{Tool: "t", Input: json.RawMessage(input)}.Hash()
		two, err2 := a.Hash()
		if one != two || err1 != nil || err2 != nil {
			t.Fatalf("%q: %s and %s: %v %v", input, one, two, err1, err2)
		}
	})
}
