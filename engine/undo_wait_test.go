package engine_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/engine"
	"polity.run/saga"
	scripts "polity.run/script"
)

// TestUndoingWaits cancels a script whose undoing lets time pass, waits for a signal and for an event. The node leaves while it waits. In the end
// it has undone, and is cancelled; what it waited for before that is not waited for any more.
func TestUndoingWaits(t *testing.T) {
	state := t.TempDir()
	undo := func(c *scripts.Context, _ scripts.Why) error {
		if err := c.Sleep("undo.pause", time.Millisecond); err != nil {
			return err
		}
		var word string
		if err := c.Await("undo.word", polity.Awaited{Signal: "word"}, time.Hour, &word); err != nil {
			return err
		}
		return c.Await("undo.event", polity.Awaited{Topic: "refunds.made", Match: json.RawMessage(`{"word":"` + word + `"}`)}, time.Hour, nil)
	}
	start := func() *engine.Engine {
		a, err := scripts.New("shop", "1", func(c *scripts.Context, q question) (answer, error) {
			return answer{}, scripts.Saga(c, scripts.Undoing{}, func(s *scripts.Steps) error {
				if err := s.Do("pay", func() error { return c.Ask("pay", "doubler", q, nil) }, undo); err != nil {
					return err
				}
				return c.Await("never", polity.Awaited{Signal: "word"}, 0, nil)
			})
		}, scripts.Config{})
		if err != nil {
			t.Fatal(err)
		}
		a.Signals = map[string]json.RawMessage{"word": json.RawMessage(`{"type":"string"}`)}
		return open(t, state, function(t, "1", double), a)
	}
	e := start()
	id, err := e.Start(t.Context(), engine.Request{Agent: "shop", Input: json.RawMessage(`{"n":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	waits(t, e, id, "never")
	if err := e.Cancel(t.Context(), id, "wrong date"); err != nil {
		t.Fatal(err)
	}
	waits(t, e, id, "undo.word")
	stop(t, e)
	e = start()
	waits(t, e, id, "undo.word")
	if err := e.Signal(t.Context(), id, "word", "s1", 0, json.RawMessage(`"please"`)); err != nil {
		t.Fatal(err)
	}
	waits(t, e, id, "undo.event")
	if err := e.Publish(t.Context(), "refunds.made", "e1", 0, json.RawMessage(`{"word":"please"}`)); err != nil {
		t.Fatal(err)
	}
	o, err := e.Wait(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if r := saga.Of(o.Output); o.Status != polity.StatusCancelled || r == nil || r.Status != saga.Compensated || !strings.Contains(o.Fault.Text, "wrong date") {
		t.Errorf("it ended as %+v %s", o, o.Output)
	}
	stop(t, e)
}

// waits waits until a run waits for one command alone.
func waits(t *testing.T, e *engine.Engine, id polity.RunID, name string) {
	t.Helper()
	for {
		s, err := e.Find(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if s.Status.Final() {
			t.Fatalf("it has ended as %s, and does not wait for %s", s.Status, name)
		}
		if len(s.Waiting) == 1 && s.Waiting[0].Name == name {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
