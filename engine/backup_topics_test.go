package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/engine"
	"polity.run/fault"
)

// topicsDo does one thing with the topics of a node.
func topicsDo(t *testing.T, e *engine.Engine, q polity.TopicsRequest) polity.TopicsAnswer {
	t.Helper()
	a, err := e.Topics(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestBackupHoldsEvents backs up a node that others publish on meanwhile, and restores it into an empty folder: events have their positions and times,
// cursors and groups go on where they were, dead letters and registered schemas are there, and a run that waits gets what comes next, once.
func TestBackupHoldsEvents(t *testing.T) {
	dir := t.TempDir()
	e := openListener(t, dir)
	topicsDo(t, e, polity.TopicsRequest{Declare: &polity.Topic{Topic: "orders.placed", Schema: json.RawMessage(`{"type":"integer"}`), Keep: time.Hour}})
	for i := range 10 {
		if err := e.Publish(t.Context(), "orders.placed", fmt.Sprint(i), 0, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	topicsDo(t, e, polity.TopicsRequest{Cursor: &polity.TopicCursor{Name: "audit", Topic: ">", At: 4}})
	topicsDo(t, e, polity.TopicsRequest{Join: &polity.TopicGroup{Name: "workers", Topic: "orders.*", From: 1, Tries: 1}})
	for i, w := range topicsDo(t, e, polity.TopicsRequest{Take: &polity.TopicTake{Group: "workers", Most: 4, Wait: 10 * time.Second}}).Work {
		settle := polity.TopicSettle{Group: "workers", Token: w.Token}
		if i == 2 {
			settle.Failed = "broken"
		}
		topicsDo(t, e, polity.TopicsRequest{Settle: &settle})
	}
	waits, err := e.Start(t.Context(), engine.Request{Agent: "listener", Input: json.RawMessage(`{}`), Seed: "waits"})
	if err != nil {
		t.Fatal(err)
	}
	before := topicsDo(t, e, polity.TopicsRequest{State: true}).State
	stopped, loaded := make(chan struct{}), make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stopped:
				return
			default:
			}
			if err := e.Publish(t.Context(), "other.things", fmt.Sprint(i), 0, nil); err != nil {
				t.Error(err)
				return
			}
			if i == 20 {
				close(loaded)
			}
		}
	})
	<-loaded
	path := filepath.Join(t.TempDir(), "state.backup")
	made, err := e.Backup(t.Context(), path, nil)
	close(stopped)
	load.Wait()
	if err != nil || made.Events < 10+1+20 { // events, a letter, and the load
		t.Fatalf("%+v %v", made, err)
	}
	events := topicsDo(t, e, polity.TopicsRequest{Read: &polity.TopicRead{Topic: "orders.*"}}).Events
	letters := topicsDo(t, e, polity.TopicsRequest{Dead: &polity.TopicDead{Do: "list"}}).Letters
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if again, err := engine.VerifyBackup(t.Context(), path, nil); err != nil || again.Digest != made.Digest || again.Events != made.Events {
		t.Fatalf("%+v %v", again, err)
	}

	there := filepath.Join(t.TempDir(), "there")
	if _, err := engine.Restore(t.Context(), path, there, nil); err != nil {
		t.Fatal(err)
	}
	if found, err := engine.Check(t.Context(), there, nil); err != nil || len(found.Damage) > 0 || found.Records < made.Events {
		t.Fatalf("%+v %v", found, err)
	}
	e = openListener(t, there)
	defer stop(t, e)
	if diff := cmp.Diff(events, topicsDo(t, e, polity.TopicsRequest{Read: &polity.TopicRead{Topic: "orders.*"}}).Events); diff != "" {
		t.Errorf("events (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(letters, topicsDo(t, e, polity.TopicsRequest{Dead: &polity.TopicDead{Do: "list"}}).Letters); diff != "" || len(letters) != 1 {
		t.Errorf("letters (-before +after):\n%s", diff)
	}
	after := topicsDo(t, e, polity.TopicsRequest{State: true}).State
	if diff := cmp.Diff(before.Cursors, after.Cursors); diff != "" {
		t.Errorf("cursors (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(before.Groups, after.Groups); diff != "" {
		t.Errorf("groups (-before +after):\n%s", diff)
	}
	if after.Last < before.Last+20 {
		t.Errorf("the stream ends with %d, and with %d before the backup", after.Last, before.Last)
	}
	w := topicsDo(t, e, polity.TopicsRequest{Take: &polity.TopicTake{Group: "workers", Most: 1, Wait: 10 * time.Second}}).Work
	if len(w) != 1 || string(w[0].Data) != "4" {
		t.Errorf("the group goes on with %+v", w)
	}
	if err := e.Publish(t.Context(), "orders.placed", "bad", 0, json.RawMessage(`"text"`)); !errors.Is(err, fault.Invalid) {
		t.Errorf("what the schema refuses: %v", err)
	}
	if err := e.Publish(t.Context(), "orders.placed", "3", 0, json.RawMessage(`3`)); err != nil { // it is known
		t.Error(err)
	}
	if err := e.Publish(t.Context(), "orders.placed", "new", 0, json.RawMessage(`17`)); err != nil {
		t.Fatal(err)
	}
	if o, err := e.Wait(t.Context(), waits); err != nil || string(o.Output) != "17" {
		t.Errorf("what waited: %+v %v", o, err)
	}
}
