package engine_test

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/engine"
	"polity.run/message"
	"polity.run/remote"
)

// TestBackupHoldsOutside wants a node that is restored to let in the agents that the other did, and to know what they were refused.
func TestBackupHoldsOutside(t *testing.T) {
	o := openOutdoors(t, t.TempDir(), outpost)
	serve(t, o.creds(t, "pricer", 0), remote.Func(doubles))
	// What a run was of is in the log, and so in the backup.
	if _, err := o.Run(t.Context(), engine.Request{Release: o.release, Input: json.RawMessage(`{"n":21}`)}); err != nil {
		t.Fatal(err)
	}
	front, err := remote.Connect(t.Context(), o.creds(t, "front", 0), remote.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	if _, err := front.Ask(t.Context(), message.Envelope{
		ID: "q", To: []message.Address{message.To("pricer")}, Performative: polity.Request, Data: []byte(`{"n":4}`),
	}); err == nil {
		t.Fatal("nothing is refused")
	}
	var want []polity.Refusal
	for len(want) == 0 { // it is kept a moment later
		if want, err = o.Refused(t.Context(), 0, 10); err != nil {
			t.Fatal(err)
		}
	}
	path, there := filepath.Join(t.TempDir(), "b.polity"), filepath.Join(t.TempDir(), "there")
	if _, err := o.Backup(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Restore(t.Context(), path, there, nil); err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(t.Context(), engine.Config{State: there, Sync: engine.SyncOS, Door: &engine.Door{Listen: "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, e)
	got, err := e.Refused(t.Context(), 0, 10)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("refused: %v (-want +got)\n%s", err, diff)
	}
	if n, err := e.Revoke(t.Context(), "shop", "front"); n != 1 || err != nil {
		t.Errorf("the restored node knows %d keys of front, want 1: %v", n, err)
	}
}
