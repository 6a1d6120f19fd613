package rest_test

import (
	"encoding/json"
	"errors"
	"testing"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
	"polity.run/script"
)

// TestWaiting signals, publishes, pauses and resumes through the door.
func TestWaiting(t *testing.T) {
	waits, err := script.New("waits", "1", func(c *script.Context, _ string) (string, error) {
		var paid struct{ Amount int }
		var packed struct{ Shelf string }
		if err := c.Await("payment", polity.Awaited{Signal: "paid"}, 0, &paid); err != nil {
			return "", err
		}
		err := c.Await("parcel", polity.Awaited{Topic: "warehouse.*"}, 0, &packed)
		return packed.Shelf, err
	}, script.Config{Pool: script.NewPool(-1)}) // its coroutine is made again at each event
	if err != nil {
		t.Fatal(err)
	}
	waits.Signals = map[string]json.RawMessage{"paid": json.RawMessage(`{"type":"object","required":["amount"]}`)}
	waits.Skills[0].Arrival = polity.ArrivalQueue
	w := open(t, waits)
	ctx := t.Context()
	id := w.start(client.Request{Agent: "waits", Input: json.RawMessage(`"a"`), Conversation: "ada"})
	next := w.start(client.Request{Agent: "waits", Input: json.RawMessage(`"b"`), Conversation: "ada"})
	kinds := map[string]fault.Kind{
		"undeclared": fault.Invalid, "another schema": fault.Invalid, "no run": fault.NotFound, "no topic": fault.Invalid, "no position": "",
	}
	for what, err := range map[string]error{
		"undeclared":     w.client.Signal(ctx, id, "payed", "1", 0, nil),
		"another schema": w.client.Signal(ctx, id, "paid", "1", 0, json.RawMessage(`1`)),
		"no run":         w.client.Signal(ctx, "0-x", "paid", "1", 0, json.RawMessage(`{"amount":1}`)),
		"no topic":       w.client.Publish(ctx, "Warehouse", "1", 0, nil),
	} {
		if !errors.Is(err, kinds[what]) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := errors.Join(w.client.Pause(ctx, id, "why not"), w.client.Signal(ctx, id, "paid", "1", 0, json.RawMessage(`{"amount":1}`))); err != nil {
		t.Fatal(err)
	}
	s, err := w.client.Find(ctx, id)
	if err != nil || s.Paused.IsZero() || s.Conversation != "ada" {
		t.Errorf("%+v %v", s, err)
	}
	if s, err := w.client.Find(ctx, next); err != nil || len(s.Waiting) != 1 {
		t.Errorf("the next of the conversation: %+v %v", s, err)
	}
	if err := w.client.Resume(ctx, id); err != nil {
		t.Fatal(err)
	}
	for s.Waiting == nil || s.Waiting[0].For != "topic warehouse.*" {
		if s, err = w.client.Find(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.client.Publish(ctx, "warehouse.packed", "1", 0, json.RawMessage(`{"shelf":"B"}`)); err != nil {
		t.Fatal(err)
	}
	if o, err := w.client.Wait(ctx, id); err != nil || string(o.Output) != `"B"` {
		t.Errorf("%+v %v", o, err)
	}
	read, err := w.client.Topics(ctx, polity.TopicsRequest{Read: &polity.TopicRead{Topic: "warehouse.>"}})
	if err != nil || len(read.Events) != 1 || read.Events[0].ID != "1" || read.Next != 1 {
		t.Errorf("%+v %v", read, err)
	}
	if _, err := w.client.Topics(ctx, polity.TopicsRequest{Read: &polity.TopicRead{Topic: "Warehouse"}}); !errors.Is(err, fault.Invalid) {
		t.Errorf("no pattern: %v", err)
	}
	if got, err := w.client.Replay(ctx, id, client.Replay{}); err != nil || got.Difference != nil {
		t.Errorf("replayed: %+v %v", got.Difference, err)
	}
	if err := w.client.Cancel(ctx, next, "enough"); err != nil {
		t.Fatal(err)
	}
}
