package replay_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"polity.run"
	"polity.run/fault"
	"polity.run/model"
	"polity.run/model/modeltest"
	"polity.run/model/quote"
	"polity.run/model/replay"
)

// counter answers with how often it was asked.
type counter struct{ n int }

func (c *counter) Name() string { return "counter" }
func (c *counter) Answer(_ context.Context, r model.Request) (model.Response, error) {
	c.n++
	if strings.Contains(r.Messages[0].Text, "fail") {
		return model.Response{Usage: polity.Usage{InputTokens: 3}}, fault.Denied.New("no")
	}
	out, err := json.Marshal(c.n)
	return model.Response{Output: out}, err
}

func request(text, source string) model.Request {
	return model.Request{Messages: []model.Message{{Role: model.Tool, Source: source, Text: text}, {Role: model.User, Text: "Why?\nSay it."}}, Key: source}
}

const (
	run1 = "0-aaaaaaaaaaaaaaaaaaaaaaaa#call.a"
	run2 = "0-bbbbbbbbbbbbbbbbbbbbbbbb#call.a"
)

func TestRecordAndReplay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	rec, err := replay.Record(path)
	if err != nil {
		t.Fatal(err)
	}
	m := rec.Wrap(&counter{})
	for _, text := range []string{"a <b>", "a <b>", "fail", "c"} {
		_, _ = m.Answer(t.Context(), request(text, run1)) // one of them is meant to fail
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := replay.Record(path); !errors.Is(err, fault.Conflict) {
		t.Errorf("a recording is overwritten: %v", err)
	}
	r, err := replay.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	m = r.Wrap(&counter{})
	for _, want := range []string{"1", "2", "2"} { // in their order, and then the last
		got, err := m.Answer(t.Context(), request("a <b>", run2)) // of another run
		if err != nil || string(got.Output) != want {
			t.Errorf("got %s %v, want %s", got.Output, err, want)
		}
	}
	if got, err := m.Answer(t.Context(), request("fail", run2)); !errors.Is(err, fault.Denied) || got.Usage.InputTokens != 3 {
		t.Errorf("got %+v %v", got, err)
	}
	_, err = m.Answer(t.Context(), request("a <c>", run2))
	if !errors.Is(err, fault.NotFound) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"line 2", "- tool 0-RUN#call.a: a <b>", "+ tool 0-RUN#call.a: a <c>"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "Say it.") {
		t.Errorf("what is the same is shown:\n%v", err)
	}
	if _, err := r.Model("other").Answer(t.Context(), request("c", run1)); !errors.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
}

func TestConformance(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	rec, err := replay.Record(path)
	if err != nil {
		t.Fatal(err)
	}
	modeltest.Run(t, func() model.Model { return rec.Wrap(quote.Model{}) })
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := replay.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	modeltest.Run(t, func() model.Model { return r.Model("quote") })
}

func TestManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	rec, err := replay.Record(path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := rec.Wrap(quote.Model{}).Answer(t.Context(), request("x", run1)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := replay.Open(path); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenFiles(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "empty",
		"{}":                          "line 1",
		`{"polity_recording":2}`:      "line 1",
		"{\"polity_recording\":1}\nx": "line 2",
		"{\"polity_recording\":1}\n{\"model\":\"a\",\"request\":{\"messages\":[]},\"answer\":1}": "line 2",
		"{\"polity_recording\":1}\n{\"model\":\"a\",\"request\":{\"messages\":[]}}":              "a response or a fault",
	} {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := replay.Open(path); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if _, err := replay.Open("no such file"); !errors.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("{\"polity_recording\":1}\n{\"model\":\"a\",\"request\":{\"messages\":[{\"role\":\"user\",\"text\":\"x\"}]},\"response\":{\"usage\":{}}}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := replay.Open(path)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Errorf("got %v", err)
			}
			return
		}
		if _, err := r.Model("a").Answer(context.Background(), request("x", run1)); err != nil && fault.Of(err).Kind == fault.Internal {
			t.Error(err)
		}
	})
}
