package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
)

func ExampleEngine_Lookup() {
	state, err := os.MkdirTemp("", "polity-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(state)
	doubler, err := agent.Func("doubler", "1", double)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	e, err := engine.Open(ctx, engine.Config{State: state, Agents: []*agent.Agent{doubler}, View: true})
	if err != nil {
		panic(err)
	}
	defer e.Close()
	for n := range 3 {
		if _, err := e.Run(ctx, engine.Request{Agent: "doubler", Input: json.RawMessage(fmt.Sprintf(`{"n":%d}`, 100+n))}); err != nil {
			panic(err)
		}
	}
	found, err := e.Lookup(ctx, polity.Lookup{Of: polity.LookupRuns, Filter: "status:completed 204"})
	for _, r := range found.Runs {
		fmt.Println(r.Agent, r.Status, r.Usage.Turns)
	}
	fmt.Println(found.View.Behind, err)
	// Output:
	// doubler completed 1
	// 0 <nil>
}

// TestReadYourWrites wants whoever did something to find it, at once and from several sides.
func TestReadYourWrites(t *testing.T) {
	e := open(t, t.TempDir(), function(t, "1", double))
	defer stop(t, e)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 25 {
				id, err := e.Start(t.Context(), engine.Request{Agent: "doubler", Input: json.RawMessage(`{"n":1}`), Seed: fmt.Sprint(w, i)})
				if err != nil {
					t.Error(err)
					return
				}
				q := polity.Lookup{Of: polity.LookupRuns, Filter: "id:" + string(id), Position: e.Position(), Wait: polity.LookupWaitMax}
				found, err := e.Lookup(t.Context(), q)
				if err != nil || len(found.Runs) != 1 || found.View.Position < q.Position {
					t.Errorf("%s: %+v %v", id, found, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestLiveStandings wants of runs that go on, wait or are stopped what the kernel knows and the log does not tell.
func TestLiveStandings(t *testing.T) {
	state := t.TempDir()
	began := make(chan struct{}, 1)
	hang := func(ctx context.Context, _ question) (answer, error) {
		began <- struct{}{}
		<-ctx.Done()
		return answer{}, ctx.Err()
	}
	e := open(t, state, function(t, "1", hang))
	id, err := e.Start(t.Context(), engine.Request{Agent: "doubler", Input: json.RawMessage(`{"n":4}`)})
	if err != nil {
		t.Fatal(err)
	}
	<-began
	standing := func(e *engine.Engine, filter string) string {
		t.Helper()
		found, err := e.Lookup(t.Context(), polity.Lookup{Of: polity.LookupRuns, Filter: filter, Wait: polity.LookupWaitMax})
		if err != nil {
			t.Fatal(err)
		}
		if len(found.Runs) == 0 {
			return "none"
		}
		if r := found.Runs[0]; r.ID != id || len(found.Runs) > 1 {
			t.Fatalf("%+v", found.Runs)
		}
		return fmt.Sprintf("%s parked:%t fault:%t", found.Runs[0].Status, found.Runs[0].Parked, found.Runs[0].Fault != nil)
	}
	if got := standing(e, "status:running"); got != "running parked:false fault:false" {
		t.Errorf("running: %s", got)
	}
	stop(t, e)

	parked, err := engine.Open(t.Context(), engine.Config{State: state, Sync: engine.SyncOS, Park: true, Agents: []*agent.Agent{function(t, "1", hang)}})
	if err != nil {
		t.Fatal(err)
	}
	if got := standing(parked, "status:running"); got != "running parked:true fault:false" {
		t.Errorf("parked: %s", got)
	}
	stop(t, parked)

	other := open(t, state, function(t, "2", double)) // its code is another one
	if got := standing(other, "status:stopped"); got != "stopped parked:false fault:true" {
		t.Errorf("stopped: %s", got)
	}
	if got := standing(other, "status:running"); got != "none" {
		t.Errorf("asked for as running: %s", got)
	}
	if got := standing(other, "status!=stopped"); got != "none" {
		t.Errorf("asked for as not stopped: %s", got)
	}
	stop(t, other)
	if _, err := other.Lookup(t.Context(), polity.Lookup{Of: polity.LookupRuns}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("after the end: %v", err)
	}
}
