package schema_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run/fault"
	"polity.run/schema"
)

// pace writes itself as text, as polity.Duration does, though its kind is a number.
type pace time.Duration

func (p pace) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(p).String()) }

// colour writes itself as text.
type colour struct{ R, G, B uint8 }

func (colour) MarshalText() ([]byte, error) { return []byte("red"), nil }

type inner struct {
	Raw  json.RawMessage `json:"raw,omitempty"`
	Pace pace            `json:"pace,omitempty"`
}

type sample struct {
	Name   string         `json:"name" jsonschema:"what it is called"`
	When   time.Time      `json:"when"`
	Colour colour         `json:"colour"`
	Inner  []inner        `json:"inner,omitempty"`
	ByName map[string]int `json:"by_name,omitempty"`
	hidden chan int       //lint:ignore U1000 a field that JSON does not see must not reach the schema
}

func TestForFitsWhatItsTypeWrites(t *testing.T) {
	raw, err := schema.For[sample]()
	if err != nil {
		t.Fatal(err)
	}
	s := compile(t, string(raw))
	data, err := json.Marshal(sample{Name: "x", Inner: []inner{{json.RawMessage(`{"any":[1]}`), pace(time.Second)}}, ByName: map[string]int{"a": 1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(data); err != nil {
		t.Errorf("%s\ndoes not accept\n%s\n%v", raw, data, err)
	}
	if err := s.Check(json.RawMessage(`{"name":"x","when":"2026-01-01T00:00:00Z","colour":7}`)); err == nil {
		t.Errorf("a colour that is a number was accepted by %s", raw)
	}
	again, err := schema.For[sample]()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(raw), string(again)); diff != "" {
		t.Error(diff)
	}
}

func TestForRefuses(t *testing.T) {
	type tree struct {
		Children []*tree `json:"children"` // a type that contains itself
	}
	type pipe struct {
		C chan int `json:"c"`
	}
	if _, err := schema.For[tree](); !errors.Is(err, fault.Invalid) {
		t.Errorf("a tree: got %v, want an invalid fault", err)
	}
	if _, err := schema.For[pipe](); !errors.Is(err, fault.Invalid) {
		t.Errorf("a channel: got %v, want an invalid fault", err)
	}
}
