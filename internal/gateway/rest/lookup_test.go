package rest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
)

// TestLookup asks the same through the door and inside.
func TestLookup(t *testing.T) {
	w := open(t, echo())
	id := w.start(client.Request{Agent: "echo", Input: json.RawMessage(`"hello there"`)})
	if _, err := w.client.Wait(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, q := range []polity.Lookup{
		{Of: polity.LookupRuns, Filter: "agent:echo hello", Limit: 1}, {Of: polity.LookupSteps, Run: id}, {Of: polity.LookupTexts, Filter: "there"},
		{Of: polity.LookupCosts, By: "agent"}, {Of: polity.LookupAgents}, {Of: polity.LookupView},
	} {
		q.Position = w.engine.Position()
		far, err := w.client.Lookup(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		near, err := w.engine.Lookup(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		near.View.Bytes, far.View.Bytes = 0, 0
		if d := cmp.Diff(near, far); d != "" {
			t.Errorf("%s: (-inside +through the door) %s", q.Of, d)
		}
		if n := len(far.Runs) + len(far.Steps) + len(far.Texts) + len(far.Costs) + len(far.Agents); n == 0 && q.Of != polity.LookupView {
			t.Errorf("%s: nothing was found", q.Of)
		}
	}
	for _, q := range []polity.Lookup{{Of: "rums"}, {Of: polity.LookupRuns, Wait: polity.Duration(time.Minute)}, {Of: polity.LookupRuns, Filter: "a:b"}} {
		if _, err := w.client.Lookup(t.Context(), q); !errors.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", q, err)
		}
	}
	if err := w.client.RebuildView(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := w.client.Lookup(t.Context(), polity.Lookup{Of: polity.LookupRuns})
	if err != nil || len(again.Runs) != 1 || again.Runs[0].ID != id {
		t.Errorf("made again: %+v, %v", again, err)
	}
}

// TestPositionHeader wants every answer to name a position that a lookup can wait for.
func TestPositionHeader(t *testing.T) {
	w := open(t, echo())
	body, err := json.Marshal(client.Request{Agent: "echo", Input: json.RawMessage(`1`)})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.at.URL+"/v1/releases/runs", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.at.Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	at, err := strconv.ParseUint(resp.Header.Get(client.PositionHeader), 10, 64)
	if err != nil || at == 0 {
		t.Fatalf("position %q of %s", resp.Header.Get(client.PositionHeader), resp.Status)
	}
	found, err := w.client.Lookup(t.Context(), polity.Lookup{Of: polity.LookupRuns, Position: at})
	if err != nil || len(found.Runs) != 1 {
		t.Errorf("%+v, %v", found, err)
	}
}
