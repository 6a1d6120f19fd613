package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
)

// begin opens a run of the clerk that lasts until it is cancelled.
func (d *archivist) begin(id polity.RunID) {
	d.t.Helper()
	release, err := d.Install(&agent.Release{Name: "desk", Main: "clerk", Agents: []agent.Definition{d.agent.Definition()}}, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	input, _ := json.Marshal(letter{Do: "wait", Text: "patience"})
	if _, err := d.Start(d.t.Context(), engine.Request{ID: id, Release: release, Input: input}); err != nil {
		d.t.Fatal(err)
	}
}

// end stops the node before the test does.
func (d *archivist) end() {
	d.t.Helper()
	d.over = true
	stop(d.t, d.Engine)
}

func (d *archivist) trim(q polity.Trim) polity.Trimmed {
	d.t.Helper()
	done, err := d.Trim(d.t.Context(), q, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return done
}

// history is how many things are told of a run.
func (d *archivist) history(id polity.RunID) (told int, err error) {
	err = d.History(d.t.Context(), id, func(polity.Notice) error { told++; return nil })
	return told, err
}

// sound wants a state folder to be whole, with so many runs.
func sound(t *testing.T, state string, runs, live int) polity.Integrity {
	t.Helper()
	found, err := engine.Check(t.Context(), state, nil)
	if err != nil || len(found.Damage) > 0 || found.Runs != runs || found.Live != live {
		t.Fatalf("%v: %+v", err, found)
	}
	return found
}

// TestTrim drops the beginning of a log on which a run began that has not ended, and looks at it through every door.
func TestTrim(t *testing.T) {
	state, ctx := t.TempDir(), t.Context()
	d := openArchivist(t, state, engine.Config{})
	d.begin("0-live")
	const ended = 30
	for i := range ended {
		d.run("desk", nil, polity.RunID(fmt.Sprintf("0-run%02d", i)), "", strings.Repeat("word ", 5000))
	}
	if done := d.trim(polity.Trim{}); done.Commits != 0 && done.Runs > 0 || len(done.Left) == 0 {
		t.Errorf("runs that are in no archive are dropped: %+v", done)
	}
	if done := d.trim(polity.Trim{DryRun: true, WithoutArchive: true}); done.Runs != ended || done.Carried != 1 {
		t.Errorf("without archives: %+v", done)
	}
	var now polity.Duration
	files := d.retain(polity.Retain{OlderThan: &now}).Files
	d.run("desk", nil, "0-after", "", "in no archive")
	before := sound(t, state, ended+2, 1)
	would := d.trim(polity.Trim{DryRun: true})
	done := d.trim(polity.Trim{})
	if done.Runs != ended || done.Carried != 1 || done.Commits == 0 || len(done.Left) != 1 || done.Left[0].Run != "0-after" || would.First != done.First {
		t.Errorf("trimmed: %+v, and would: %+v", done, would)
	}
	if after := sound(t, state, ended+2, 1); after.First != done.First || after.Commits >= before.Commits || after.Documents < before.Documents {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	if again := d.trim(polity.Trim{}); again.Commits != 0 {
		t.Errorf("trimmed again: %+v", again)
	}
	d.looks(t, "0-run03", files[0].Path)

	backup := filepath.Join(t.TempDir(), "backup")
	if b, err := d.Backup(ctx, backup, nil); err != nil || b.First < 2 || b.First > done.First || b.Runs != ended+2 {
		t.Fatal(b, err)
	}
	restored := filepath.Join(t.TempDir(), "restored")
	if _, err := engine.Restore(ctx, backup, restored, nil); err != nil {
		t.Fatal(err)
	}
	sound(t, restored, ended+2, 1)
	there := openArchivist(t, restored, engine.Config{Archive: filepath.Join(state, "archive")})
	there.looks(t, "0-run03", files[0].Path)
	there.end()

	d.end()
	d = openArchivist(t, state, engine.Config{}) // by the checkpoint
	d.looks(t, "0-run03", files[0].Path)
	d.end()
	for _, cfg := range []engine.Config{{}, {Whole: true}} {
		if err := os.RemoveAll(filepath.Join(state, "dormant")); err != nil {
			t.Fatal(err)
		}
		if d = openArchivist(t, state, cfg); d.history1("0-live") < 1 {
			t.Error("the run that had not ended is gone")
		}
		d.looks(t, "0-run03", files[0].Path)
		d.end()
	}

	d = openArchivist(t, state, engine.Config{})
	if r, err := d.RestoreArchived(ctx, "0-run03", files[0].Path); err != nil || r.Here {
		t.Fatal(r, err)
	}
	if o, err := d.Wait(ctx, "0-run03"); err != nil || o.Status != polity.StatusCompleted || len(o.Output) < 1000 {
		t.Error(o, err)
	}
	if r, err := d.RestoreArchived(ctx, "0-run03", files[0].Path); err != nil || !r.Here {
		t.Error(r, err)
	}
	if err := d.Cancel(ctx, "0-live", "enough"); err != nil {
		t.Fatal(err)
	}
	if o, err := d.Wait(ctx, "0-live"); err != nil || o.Status != polity.StatusCancelled {
		t.Fatal(o, err)
	}
	if n, err := d.history("0-live"); err != nil || n < 3 {
		t.Error(n, err)
	}
	if r, err := d.Replay(ctx, "0-live", engine.Digest{}); err != nil || r.Difference != nil {
		t.Error(r, err)
	}
	// What was carried over and has ended is archived as a whole, and goes with the next.
	if done := d.retain(polity.Retain{OlderThan: &now}); len(done.Files) != 1 || done.Files[0].Runs != 2 {
		t.Errorf("archived: %+v", done)
	}
	for range 2 { // the second removes what only the base before the last one needed
		d.run("desk", nil, polity.RunID(fmt.Sprintf("0-more%d", time.Now().UnixNano())), "", "more")
		if done := d.trim(polity.Trim{WithoutArchive: true}); done.Commits == 0 || done.Carried != 0 {
			t.Errorf("trimmed: %+v", done)
		}
	}
	if _, err := d.history("0-live"); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "polity archive restore 0-live") {
		t.Error(err)
	}
	sound(t, state, ended+4, 0)
	d.end()
	sound(t, state, ended+4, 0)
}

func (d *archivist) history1(id polity.RunID) int {
	n, err := d.history(id)
	if err != nil {
		d.t.Error(err)
	}
	return n
}

// looks wants a node to know of a run that was dropped what it should, and of one that was carried over everything.
func (d *archivist) looks(t *testing.T, dropped polity.RunID, file string) {
	t.Helper()
	ctx := t.Context()
	for name, err := range map[string]error{
		"history": d.historyErr(dropped), "wait": errOf(d.Wait(ctx, dropped)), "replay": errOf(d.Replay(ctx, dropped, engine.Digest{})),
		"export": errOf(d.Export(ctx, dropped, filepath.Join(t.TempDir(), "export"))), "fork": errOf(d.Fork(ctx, engine.Fork{Run: dropped, Event: 1})),
	} {
		if !errors.Is(err, fault.NotFound) || !strings.Contains(fmt.Sprint(err), file+": polity archive restore "+string(dropped)) {
			t.Errorf("%s of a run that was dropped: %v", name, err)
		}
	}
	if s, err := d.Find(ctx, dropped); err != nil || s.Status != polity.StatusCompleted || s.Ended.IsZero() {
		t.Error(s, err)
	}
	if n := d.history1("0-live"); n < 1 {
		t.Errorf("%d events of the run that was carried over", n)
	}
	if r, err := d.Replay(ctx, "0-live", engine.Digest{}); err != nil || r.Difference != nil {
		t.Error(r, err)
	}
	found, err := d.Lookup(ctx, polity.Lookup{Of: polity.LookupRuns, Wait: polity.Duration(10 * time.Second)})
	if err != nil || len(found.Runs) < 32 {
		t.Errorf("the view lists %d runs: %v", len(found.Runs), err)
	}
	if err := d.RebuildView(ctx, false); !errors.Is(err, fault.Conflict) {
		t.Errorf("rebuild: %v", err)
	}
	if b, err := d.VerifyView(ctx, nil); !errors.Is(err, fault.Conflict) {
		t.Error(b, err)
	}
	if t.Failed() {
		t.FailNow()
	}
}

func (d *archivist) historyErr(id polity.RunID) error {
	_, err := d.history(id)
	return err
}

func errOf[T any](_ T, err error) error { return err }
