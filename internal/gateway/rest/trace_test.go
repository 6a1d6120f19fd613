package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"polity.run"
	"polity.run/agent"
	"polity.run/client"
	"polity.run/trace"
)

// placeAgent answers with where in a trace it is asked.
func placeAgent() *agent.Agent {
	return &agent.Agent{
		Name: "place", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "place"}},
		Handle: func(ctx context.Context, _ polity.Message) (json.RawMessage, error) {
			c := trace.From(ctx)
			return json.Marshal(c.Parent() + " " + c.State)
		},
	}
}

// TestCallersTraceIsTaken asks over the wire, by package client and by hand. What is malformed is no reason to refuse a request.
func TestCallersTraceIsTaken(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	w := open(t, placeAgent())
	place, err := trace.Parse(parent, "a=b")
	if err != nil {
		t.Fatal(err)
	}
	told := func(id polity.RunID) string {
		t.Helper()
		o, err := w.client.Wait(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Trim(string(o.Output), `"`)
	}
	id, err := w.client.Start(trace.With(t.Context(), place), client.Request{Agent: "place", Input: json.RawMessage(`1`)})
	if err != nil {
		t.Fatal(err)
	}
	if got := told(id); got != parent+" a=b" {
		t.Errorf("by a client: %q", got)
	}
	// The same request from nowhere is the same run, in the trace of the first.
	if got := told(w.start(client.Request{Agent: "place", Input: json.RawMessage(`1`)})); got != parent+" a=b" {
		t.Errorf("asked again: %q", got)
	}
	for name, c := range map[string]struct {
		headers http.Header
		want    string
	}{
		"by hand":     {http.Header{"Traceparent": {parent}, "Tracestate": {"a=b", "c=d"}}, parent + " a=b,c=d"},
		"bad state":   {http.Header{"Traceparent": {parent}, "Tracestate": {"a"}}, parent + " "},
		"bad parent":  {http.Header{"Traceparent": {parent[1:]}, "Tracestate": {"a=b"}}, " "},
		"two parents": {http.Header{"Traceparent": {parent, parent}}, " "},
		"no parent":   {http.Header{}, " "},
	} {
		body, err := json.Marshal(client.Request{Agent: "place", Input: json.RawMessage(`1`), Seed: name})
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.at.URL+"/v1/releases/runs", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = c.headers
		r.Header.Set("Authorization", "Bearer "+w.at.Token)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s %v", name, answer.Status, data, err)
		}
		_ = answer.Body.Close()
		var started client.Started
		if err := json.Unmarshal(data, &started); err != nil {
			t.Fatal(err)
		}
		if got := told(started.ID); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
