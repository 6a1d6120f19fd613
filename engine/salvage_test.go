package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
)

// TestBackupHoldsInstalled backs up an organization that was installed and never ran: its agents have their addresses where it is restored, and its document
// is checked like any other. Of one that was removed only its revision is kept.
func TestBackupHoldsInstalled(t *testing.T) {
	dir, path, there := t.TempDir(), filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "there")
	doubler := function(t, "1", double)
	e := open(t, dir, doubler)
	install := func(e *engine.Engine, name string) engine.Digest {
		t.Helper()
		d, err := e.Install(&agent.Release{Name: name, Main: "doubler", Agents: []agent.Definition{doubler.Definition()}}, nil)
		if err == nil {
			err = e.Enlist(t.Context(), d)
		}
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	install(e, "gone")
	if err := e.Remove(t.Context(), "gone", nil, "ada"); err != nil {
		t.Fatal(err)
	}
	d := install(e, "idle")
	if _, err := e.Backup(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	stop(t, e)
	if found, err := engine.Check(t.Context(), dir, nil); err != nil || len(found.Damage) > 0 {
		t.Errorf("%+v %v", found, err)
	}
	if _, err := engine.Restore(t.Context(), path, there, nil); err != nil {
		t.Fatal(err)
	}
	found, err := engine.Check(t.Context(), there, nil)
	if err != nil || found.Documents != 1 || found.Unnamed != 0 || len(found.Damage) > 0 {
		t.Errorf("%+v %v", found, err)
	}
	e = open(t, there, doubler)
	got, err := e.Enlisted(t.Context())
	if err != nil || !maps.Equal(got, map[string]engine.Digest{"idle": d}) {
		t.Errorf("%v %v", got, err)
	}
	if err := e.Remove(t.Context(), "idle", nil, "ada"); err != nil {
		t.Fatal(err)
	}
	d = install(e, "gone")
	if org, err := e.Org(t.Context(), "gone"); err != nil || org.Revision != 3 {
		t.Errorf("%+v %v, want revision 3", org, err)
	}
	stop(t, e)
	rewrite(t, file(t, there, "blobs/*/"+fmt.Sprintf("%x", d)[2:]), func(b []byte) []byte { b[len(b)/2] ^= 8; return b })
	if found, err = engine.Check(t.Context(), there, nil); err != nil || len(found.Damage) != 1 || found.Damage[0].What != "document" {
		t.Errorf("%+v %v", found, err)
	}
}

// TestSalvageOfEvents damages the events on topics: all that are sound are saved at their positions, the backup says what was damaged, and the state is what
// it was. An ordinary backup is refused.
func TestSalvageOfEvents(t *testing.T) {
	const events = 300
	dir := t.TempDir()
	e := openListener(t, dir)
	for i := range events {
		if err := e.Publish(t.Context(), "orders.placed", fmt.Sprint(i), 0, json.RawMessage(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	topicsDo(t, e, polity.TopicsRequest{Join: &polity.TopicGroup{Name: "workers", Topic: "orders.*", From: 1, Tries: 1}})
	for _, w := range topicsDo(t, e, polity.TopicsRequest{Take: &polity.TopicTake{Group: "workers", Most: 3, Wait: 10 * time.Second}}).Work {
		topicsDo(t, e, polity.TopicsRequest{Settle: &polity.TopicSettle{Group: "workers", Token: w.Token, Failed: "broken"}})
	}
	stop(t, e)
	topics := file(t, dir, "store/jetstream/ENGINE/streams/TOPICS/msgs/*.blk")
	dead := file(t, dir, "store/jetstream/ENGINE/streams/DEAD/msgs/*.blk")
	whole, letters := read(t, topics), read(t, dead)
	for _, tt := range []struct {
		name   string
		harm   func(topics []byte) []byte
		events int // that are left
	}{
		{"in the middle", func(b []byte) []byte { b[len(b)/2] ^= 8; return b }, events - 1},
		{"the last one", func(b []byte) []byte { b[len(b)-20] ^= 8; return b }, events - 1},
		{"a length", func(b []byte) []byte { b[1] ^= 1; return b }, events - 1},
		{"zeros", func(b []byte) []byte { clear(b[4096:8192]); return b }, events - 20},
	} {
		rewrite(t, topics, func([]byte) []byte { return tt.harm(append([]byte(nil), whole...)) })
		rewrite(t, dead, func([]byte) []byte { b := append([]byte(nil), letters...); b[40] ^= 1; return b })
		before := read(t, topics)
		path, there := filepath.Join(t.TempDir(), "part"), filepath.Join(t.TempDir(), "there")
		b, err := engine.Salvage(t.Context(), dir, path, nil)
		if err != nil || len(b.Damage) < 2 || b.Damage[0].Name != "TOPICS" || b.Damage[len(b.Damage)-1].Name != "DEAD" {
			t.Fatalf("%s: %+v %v", tt.name, b, err)
		}
		if after := read(t, topics); string(after) != string(before) {
			t.Errorf("%s: the state was changed", tt.name)
		}
		if _, err := engine.Restore(t.Context(), path, there, nil); err != nil {
			t.Fatal(err)
		}
		e := openListener(t, there)
		n := 0
		for _, p := range topicsDo(t, e, polity.TopicsRequest{Read: &polity.TopicRead{Topic: ">"}}).Events {
			if n++; p.ID != fmt.Sprint(p.Seq-1) || string(p.Data) != p.ID {
				t.Errorf("%s: %+v", tt.name, p)
			}
		}
		if n < tt.events || n >= events {
			t.Errorf("%s: %d of %d events were saved, want at least %d", tt.name, n, events, tt.events)
		}
		if left := topicsDo(t, e, polity.TopicsRequest{Dead: &polity.TopicDead{Do: "list"}}).Letters; len(left) != 2 {
			t.Errorf("%s: letters %+v", tt.name, left)
		}
		if err := e.Publish(t.Context(), "orders.placed", "next", 0, nil); err != nil {
			t.Error(err)
		}
		if s := topicsDo(t, e, polity.TopicsRequest{State: true}).State; s.Last != events+1 {
			t.Errorf("%s: the next event is at %d", tt.name, s.Last)
		}
		stop(t, e)
	}
	e = openListener(t, dir)
	defer stop(t, e)
	if _, err := e.Backup(t.Context(), filepath.Join(t.TempDir(), "b"), nil); !errors.Is(err, fault.Damaged) {
		t.Errorf("a backup of a damaged state: %v", err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
