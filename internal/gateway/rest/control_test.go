package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/agent"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
)

// TestControl replays, forks, exports and imports through the door.
func TestControl(t *testing.T) {
	w := open(t, echo())
	id := w.start(client.Request{Agent: "echo", Input: json.RawMessage(`1`)})
	if _, err := w.client.Wait(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	got, err := w.client.Replay(t.Context(), id, client.Replay{})
	if diff := cmp.Diff(polity.Replay{Run: id, Status: polity.StatusCompleted, Events: 3, Commands: 2}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	forked, err := w.client.Fork(t.Context(), id, client.Fork{Event: 1, Input: json.RawMessage(`2`)})
	if err != nil || forked == id {
		t.Fatal(forked, err)
	}
	if o, err := w.client.Wait(t.Context(), forked); err != nil || string(o.Output) != `2` {
		t.Errorf("%+v %v", o, err)
	}
	if again, err := w.client.Fork(t.Context(), id, client.Fork{Event: 1, Input: json.RawMessage(`2`)}); err != nil || again != forked {
		t.Errorf("the same fork again is %s, want %s: %v", again, forked, err)
	}
	if s, err := w.client.Find(t.Context(), forked); err != nil || s.Fork == nil || s.Fork.Run != id {
		t.Errorf("%+v %v", s, err)
	}
	copied := filepath.Join(t.TempDir(), "state.backup")
	made, err := w.client.Backup(t.Context(), copied, nil)
	if err != nil || made.Runs != 2 {
		t.Fatalf("backed up: %+v %v", made, err)
	}
	if again, err := engine.VerifyBackup(t.Context(), copied, nil); err != nil || again.Digest != made.Digest {
		t.Errorf("verified: %+v %v", again, err)
	}
	if _, err := w.client.Backup(t.Context(), copied, nil); !errors.Is(err, fault.Conflict) {
		t.Errorf("over a file that is there: %v", err)
	}
	if _, err := w.client.Backup(t.Context(), "state.backup", nil); !errors.Is(err, fault.Invalid) {
		t.Errorf("a path that is not absolute: %v", err)
	}
	path := filepath.Join(t.TempDir(), "run.polity")
	written, err := w.client.Export(t.Context(), forked, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.Export(t.Context(), forked, path); !errors.Is(err, fault.Conflict) {
		t.Errorf("over a file that is there: %v", err)
	}
	if _, err := w.client.Export(t.Context(), forked, "run.polity"); !errors.Is(err, fault.Invalid) {
		t.Errorf("a path that is not absolute: %v", err)
	}
	if whole, err := engine.Verify(path); err != nil || whole.Head != written.Head {
		t.Errorf("%+v %v", whole, err)
	}
	there := open(t)
	taken, err := there.client.Import(t.Context(), path)
	if diff := cmp.Diff(written, taken); diff != "" || err != nil {
		t.Errorf("%v (-exported +imported):\n%s", err, diff)
	}
	if o, err := there.client.Wait(t.Context(), forked); err != nil || string(o.Output) != `2` {
		t.Errorf("%+v %v", o, err)
	}
	// The program there has no such agent.
	if got, err := there.client.Replay(t.Context(), forked, client.Replay{}); err != nil || got.Difference == nil || got.Difference.Event != 1 {
		t.Errorf("%+v %v", got, err)
	}
	for name, err := range map[string]error{
		"files without a release": func() error {
			_, err := w.client.Replay(t.Context(), id, client.Replay{Files: map[string][]byte{"x": nil}})
			return err
		}(),
		"a path that is not absolute": func() error { _, err := w.client.Import(t.Context(), "x"); return err }(),
		"an event that is not there":  func() error { _, err := w.client.Fork(t.Context(), id, client.Fork{}); return err }(),
	} {
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReconcile says through the door what became of an effect.
func TestReconcile(t *testing.T) {
	pay := &agent.Agent{
		Name: "pay", Version: "1", Skills: skill("pay"), Effect: polity.EffectExternal,
		Handle: func(context.Context, polity.Message) (json.RawMessage, error) {
			return nil, fault.Timeout.New("no answer")
		},
	}
	w := open(t, pay)
	id := w.start(client.Request{Agent: "pay", Input: json.RawMessage(`1`)})
	if _, err := w.client.Wait(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	key := polity.EffectKey(id, "do", 1)
	for _, tc := range []struct {
		q    client.Reconcile
		want fault.Kind
	}{
		{client.Reconcile{Key: key}, fault.NotFound}, // nothing says how to ask
		{client.Reconcile{Key: key, Verdict: polity.VerdictDone}, fault.Invalid},
		{client.Reconcile{Key: key, Verdict: "maybe", By: "ada", Reason: "so"}, fault.Invalid},
		{client.Reconcile{Key: "do", Verdict: polity.VerdictDone, By: "ada", Reason: "so"}, fault.Invalid},
		{client.Reconcile{Key: "0-none#do", Verdict: polity.VerdictDone, By: "ada", Reason: "so"}, fault.NotFound},
	} {
		if _, err := w.client.Reconcile(t.Context(), tc.q); !errors.Is(err, tc.want) {
			t.Errorf("%+v: got %v, want %s", tc.q, err, tc.want)
		}
	}
	want := polity.Finding{Verdict: polity.VerdictDone, By: "ada", Reason: "it is in the statement"}
	got, err := w.client.Reconcile(t.Context(), client.Reconcile{Key: key, Verdict: want.Verdict, By: want.By, Reason: want.Reason})
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	var found *polity.Finding
	if err := w.client.History(t.Context(), id, func(n polity.Notice) error {
		if n.Finding != nil {
			found = n.Finding
		}
		return nil
	}); err != nil || found == nil || found.By != "ada" {
		t.Errorf("%+v %v", found, err)
	}
}
