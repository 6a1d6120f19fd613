package polity_test

import (
	"encoding/json"
	"errors"
	"testing"

	"polity.run"
	"polity.run/fault"
)

func placed() polity.Published {
	return polity.Published{Topic: "orders.placed", ID: "17", Data: json.RawMessage(`{"total": 120, "vip": true, "no": null, "from": {"city": "Ulm"}, "tags": ["a"]}`)}
}

func TestWhere(t *testing.T) {
	for text, want := range map[string]bool{
		`data.total > 100`:                              true,
		`data.total >= 120.0`:                           true,
		`data.total < 120`:                              false,
		`data.total > "100"`:                            false,
		`data.total == 120 and data.from.city == "Ulm"`: true,
		`data.total == 1 or data.from.city < "V"`:       true,
		`not (topic == "orders.placed")`:                false,
		`topic != "x" and not data.no`:                  true,
		`data.vip`:                                      true,
		`data.vip == true and data.missing == null`:     true,
		`data.missing.deep`:                             false,
		`data.total > -5`:                               true,
		`id == "17" or data.a and data.b`:               true,
		`data.from == "Ulm"`:                            false,
	} {
		w, err := polity.ParseWhere(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := w.Holds(placed()); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
	for _, text := range []string{
		"", "data.total >", "data.total = 1", "total > 1", "data.total > 1 or", "(data.a", "data.a)", "data.a == 'x'", "not", "data. == 1", "data.a == -true",
		"data.a == b", "data..a", "\"x\" == id", "topic.a", "data.a == 1 data.b",
	} {
		if _, err := polity.ParseWhere(text); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestEventField(t *testing.T) {
	for path, want := range map[string]string{"topic": "orders.placed", "data.total": "120", "data.from": `{"city":"Ulm"}`, "data.from.city": "Ulm"} {
		if got, ok := placed().Field(path); !ok || got != want {
			t.Errorf("%s: %q %t", path, got, ok)
		}
	}
	if got, ok := placed().Field("data.nothing"); ok {
		t.Errorf("what is not there is %q", got)
	}
}

func FuzzWhere(f *testing.F) {
	f.Add(`not (data.total > 1e3 or topic == "a")`)
	f.Fuzz(func(t *testing.T, text string) {
		w, err := polity.ParseWhere(text)
		if err == nil {
			w.Holds(placed())
		} else if !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
