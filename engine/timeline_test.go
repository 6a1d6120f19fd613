package engine_test

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
)

// TestTimelineGrows reads the timeline of a run and of one below it at every question, and at the end: what was kept and gone on with is what an engine
// reads that kept nothing, in pages as in one.
func TestTimelineGrows(t *testing.T) {
	state, ctx := t.TempDir(), t.Context()
	var e *engine.Engine
	var id polity.RunID
	var met atomic.Int32
	begun := make(chan struct{})
	doubler := function(t, "1", func(ctx context.Context, q question) (answer, error) {
		<-begun
		for _, run := range []polity.RunID{id, id.Child("rest", 1)} {
			steps, _, err := e.Steps(ctx, run, 0, 100)
			if err == nil && steps[len(steps)-1].Number == 0 {
				met.Add(1)
			}
		}
		return answer{2 * q.N}, nil
	})
	agents := []*agent.Agent{doubler, scripted(t, sum)}
	e = open(t, state, agents...)
	id, err := e.Start(ctx, engine.Request{Agent: "sum", Input: json.RawMessage(`{"n":3}`)})
	if err != nil {
		t.Fatal(err)
	}
	close(begun)
	if _, err := e.Wait(ctx, id); err != nil {
		t.Fatal(err)
	}
	if met.Load() == 0 {
		t.Error("no timeline told what was under way")
	}
	below := id.Child("rest", 1)
	read := func(run polity.RunID) (all []polity.Step) {
		t.Helper()
		for more := true; more; {
			var page []polity.Step
			if page, more, err = e.Steps(ctx, run, len(all), 2); err != nil {
				t.Fatal(err)
			}
			all = append(all, page...)
		}
		return all
	}
	kept := [][]polity.Step{read(id), read(below)}
	stop(t, e)
	e = open(t, state, agents...)
	defer stop(t, e)
	for i, run := range []polity.RunID{id, below} {
		whole, more, err := e.Steps(ctx, run, 0, 100)
		if err != nil || more || len(whole) < 5 {
			t.Fatalf("%d steps, %v", len(whole), err)
		}
		if d := cmp.Diff(whole, kept[i]); d != "" {
			t.Errorf("%s (-read anew +kept): %s", run, d)
		}
	}
}
