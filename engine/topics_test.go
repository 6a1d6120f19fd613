package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// listener awaits an event, and finishes with it.
type listener struct{}

func (listener) Decide(state any, e polity.Event) (any, []polity.Command) {
	switch {
	case e.Fault != nil:
		return state, []polity.Command{polity.Fail(e.Fault)}
	case e.Name == "event":
		return state, []polity.Command{polity.Finish(e.Data)}
	default:
		return state, []polity.Command{polity.Await("event", polity.Awaited{Topic: "orders.*"}, 0)}
	}
}

func openListener(t testing.TB, dir string) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Config{State: dir, Sync: engine.SyncOS, Agents: []*agent.Agent{
		{Name: "listener", Version: "1", Skills: []polity.Skill{{Name: "listen"}}, Decider: listener{}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestTopicsAfterCrash has events in the stream that the log has not, as after a crash between the two: the run that awaits one gets it, once,
// and the position goes on.
func TestTopicsAfterCrash(t *testing.T) {
	dir := t.TempDir()
	e := openListener(t, dir)
	if err := e.Publish(t.Context(), "orders.placed", "before", 0, json.RawMessage(`0`)); err != nil {
		t.Fatal(err)
	}
	var ids []polity.RunID
	for i := range 2 {
		id, err := e.Start(t.Context(), engine.Request{Agent: "listener", Input: json.RawMessage(`{}`), Seed: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := bus.Open(t.Context(), bus.Config{Dir: filepath.Join(dir, "store"), Sync: bus.SyncOS})
	if err != nil {
		t.Fatal(err)
	}
	stream, _, err := b.Topics(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if _, _, err := stream.Publish(t.Context(), bus.Event{Topic: "orders.placed", ID: fmt.Sprint("lost", i), Data: fmt.Append(nil, i+1)}, 0); err != nil {
			t.Fatal(err)
		}
	}
	b.Close()
	e = openListener(t, dir)
	for _, id := range ids {
		if o, err := e.Wait(t.Context(), id); err != nil || string(o.Output) != "1" {
			t.Errorf("%+v %v", o, err)
		}
	}
	if err := e.Publish(t.Context(), "orders.placed", "lost1", 0, json.RawMessage(`9`)); !errors.Is(err, fault.Conflict) {
		t.Errorf("the ID of what was published before the crash: %v", err)
	}
	a, err := e.Topics(t.Context(), polity.TopicsRequest{State: true})
	if err != nil || a.State.Taken != 3 || a.State.Last != 3 {
		t.Errorf("%+v %v", a.State, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPublishAtOnce has many publish the same events at the same time: each is one, and who waits for news gets it.
func TestPublishAtOnce(t *testing.T) {
	e := openListener(t, t.TempDir())
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	news := make(chan polity.TopicsAnswer, 1)
	go func() {
		a, err := e.Topics(t.Context(), polity.TopicsRequest{Read: &polity.TopicRead{Topic: "t", Wait: 30 * time.Second, Most: 1}})
		if err != nil {
			t.Error(err)
		}
		news <- a
	}()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 20 {
				if err := e.Publish(t.Context(), "t", fmt.Sprint(i), 0, json.RawMessage(`{}`)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if a := <-news; len(a.Events) != 1 || a.Events[0].Seq != 1 {
		t.Errorf("news: %+v", a)
	}
	a, err := e.Topics(t.Context(), polity.TopicsRequest{Read: &polity.TopicRead{Topic: ">"}})
	if err != nil || len(a.Events) != 20 {
		t.Errorf("%d events %v", len(a.Events), err)
	}
	for name, q := range map[string]polity.TopicsRequest{
		"nothing":    {},
		"too many":   {Read: &polity.TopicRead{Topic: ">", Most: math.MaxInt}},
		"no pattern": {Read: &polity.TopicRead{Topic: "A"}},
		"a cursor":   {Cursor: &polity.TopicCursor{Name: "a.b", Topic: "t"}},
		"a group":    {Join: &polity.TopicGroup{Name: "g", Topic: "t", Within: time.Millisecond}},
		"letters":    {Dead: &polity.TopicDead{Do: "list", Group: "*"}},
		"a token":    {Settle: &polity.TopicSettle{Group: "g", Token: "x"}},
	} {
		if _, err := e.Topics(t.Context(), q); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
