package rest_test

import (
	"encoding/json"
	"errors"
	"testing"

	"polity.run"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
)

// TestArchive archives through the door, and asks for what is here.
func TestArchive(t *testing.T) {
	w := open(t, echo())
	id := w.start(client.Request{Agent: "echo", Input: json.RawMessage(`1`)})
	if _, err := w.client.Wait(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	told := 0
	tell := func(polity.Progress) { told++ }
	if done, err := w.client.Retain(t.Context(), polity.Retain{}, tell); err != nil || len(done.Orgs) > 0 {
		t.Errorf("no release says anything: %+v %v", done, err)
	}
	var none polity.Duration
	done, err := w.client.Retain(t.Context(), polity.Retain{OlderThan: &none}, tell)
	if err != nil || len(done.Files) != 1 || done.Orgs[0].Archived != 1 || told == 0 {
		t.Fatalf("%+v %v, told %d times", done, err, told)
	}
	path := done.Files[0].Path
	if found, err := engine.VerifyArchive(t.Context(), path, nil); err != nil || found.Sound != 1 || len(found.Damage) > 0 {
		t.Errorf("%+v %v", found, err)
	}
	if r, err := w.client.RestoreArchived(t.Context(), id, path); err != nil || !r.Here {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := w.client.RestoreArchived(t.Context(), "0-other", path); !errors.Is(err, fault.NotFound) {
		t.Errorf("a run that is not in it: %v", err)
	}
	if _, err := w.client.RestoreArchived(t.Context(), id, "relative.archive"); !errors.Is(err, fault.Invalid) {
		t.Errorf("a path that is not absolute: %v", err)
	}
	if _, err := w.client.Retain(t.Context(), polity.Retain{Dir: "/elsewhere"}, nil); !errors.Is(err, fault.Conflict) {
		t.Errorf("another folder: %v", err)
	}
}
