package engine_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/archive"
)

// archivist is a node whose time a test sets, and whose runs' releases say how long they are kept.
type archivist struct {
	*engine.Engine
	t     *testing.T
	began time.Time
	on    atomic.Int64 // nanoseconds after it
	agent *agent.Agent
	over  bool
}

func openArchivist(t *testing.T, state string, cfg engine.Config) *archivist {
	t.Helper()
	fn, err := agent.Func("clerk", "1", clerk)
	if err != nil {
		t.Fatal(err)
	}
	d := &archivist{t: t, began: time.Now(), agent: fn}
	cfg.State, cfg.Sync, cfg.Agents, cfg.Now = state, engine.SyncOS, []*agent.Agent{fn}, d.now
	if d.Engine, err = engine.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !d.over {
			stop(t, d.Engine)
		}
	})
	return d
}

func (d *archivist) now() time.Time { return d.began.Add(time.Duration(d.on.Load())) }

// pass lets time pass.
func (d *archivist) pass(by time.Duration) { d.on.Add(int64(by)) }

// run runs the clerk to its end.
func (d *archivist) run(org string, says *agent.Retention, id polity.RunID, subject, text string) polity.RunID {
	d.t.Helper()
	release, err := d.Install(&agent.Release{Name: org, Main: "clerk", Agents: []agent.Definition{d.agent.Definition()}, Retention: says}, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	input, _ := json.Marshal(letter{Text: text})
	o, err := d.Run(d.t.Context(), engine.Request{ID: id, Release: release, Input: input, Subject: subject})
	if err != nil || o.Status != polity.StatusCompleted {
		d.t.Fatal(o, err)
	}
	return id
}

func (d *archivist) retain(q polity.Retain) polity.Retained {
	d.t.Helper()
	done, err := d.Retain(d.t.Context(), q, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return done
}

// keeps is what a release says of old runs.
func keeps(keep time.Duration, archive bool) *agent.Retention {
	return &agent.Retention{Keep: polity.Duration(keep), Archive: archive}
}

// unpacked is everything that files of archived runs hold, as plain as it can be read without keys.
func unpacked(t *testing.T, files []polity.ArchiveFile) []byte {
	t.Helper()
	var all bytes.Buffer
	for _, head := range files {
		f, err := archive.Open(head.Path)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range f.Runs {
			if err := f.Export(r, func(in io.Reader) error {
				zip, err := gzip.NewReader(in)
				if err != nil {
					return err
				}
				_, err = io.Copy(&all, zip)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		f.Close()
	}
	return all.Bytes()
}

func TestRetain(t *testing.T) {
	state := t.TempDir()
	d := openArchivist(t, state, engine.Config{})
	ctx := t.Context()
	d.run("desk", keeps(48*time.Hour, true), "0-desk1", "", "one")
	d.run("court", keeps(480*time.Hour, true), "0-court", "", "kept for longer")
	d.run("inn", nil, "0-inn", "", "kept for good")
	d.run("mint", keeps(48*time.Hour, false), "0-plain", "", "not enciphered")
	d.run("mint", keeps(48*time.Hour, false), "0-alone", "ada", "alone with its key")
	d.run("mint", keeps(48*time.Hour, false), "0-twin1", "ben", "one of two")
	d.run("mint", keeps(48*time.Hour, false), "0-twin2", "ben", "the other")
	d.run("mint", keeps(48*time.Hour, false), "0-heldm", "eve", "held")
	d.run("desk", keeps(48*time.Hour, true), "0-held", "", "held")
	for _, id := range []polity.RunID{"0-held", "0-heldm"} {
		if err := d.Hold(ctx, id, "dispute"); err != nil {
			t.Fatal(err)
		}
	}
	d.pass(24 * time.Hour)
	d.run("desk", keeps(48*time.Hour, true), "0-desk2", "", "two")
	if done := d.retain(polity.Retain{}); len(done.Orgs)+len(done.Left) > 0 {
		t.Errorf("after a day: %+v", done)
	}

	d.pass(25 * time.Hour)
	want := func(done polity.Retained, desk, mint polity.RetainedOrg) {
		t.Helper()
		desk.Org, mint.Org = "desk", "mint"
		if len(done.Orgs) != 2 || done.Orgs[0] != desk || done.Orgs[1] != mint {
			t.Errorf("after two days: %+v", done)
		}
	}
	dry := d.retain(polity.Retain{DryRun: true})
	want(dry, polity.RetainedOrg{Archived: 1, Left: 1}, polity.RetainedOrg{Deleted: 1, Left: 4})
	if d.Archived("0-desk1") {
		t.Error("archived by a dry run")
	}
	if s, err := d.Find(ctx, "0-alone"); err != nil || s.Status != polity.StatusCompleted {
		t.Error(s, err)
	}
	done := d.retain(polity.Retain{})
	want(done, polity.RetainedOrg{Archived: 1, Left: 1}, polity.RetainedOrg{Deleted: 1, Left: 4})
	why := map[polity.RunID]string{}
	for _, l := range done.Left {
		why[l.Run] = l.Why
	}
	for id, text := range map[polity.RunID]string{"0-held": "held", "0-heldm": "held", "0-plain": "was not enciphered", "0-twin1": "same key", "0-twin2": "same key"} {
		if !strings.Contains(why[id], text) {
			t.Errorf("%s is left because %q, want %q", id, why[id], text)
		}
	}
	if _, err := d.Wait(ctx, "0-alone"); !errors.Is(err, fault.Erased) {
		t.Errorf("a deleted run ended with %v", err)
	}
	for id, archived := range map[polity.RunID]bool{"0-desk1": true, "0-desk2": false, "0-held": false, "0-court": false, "0-inn": false, "0-alone": false} {
		if d.Archived(id) != archived {
			t.Errorf("%s archived: %t", id, !archived)
		}
	}
	want(d.retain(polity.Retain{}), polity.RetainedOrg{Left: 1}, polity.RetainedOrg{Left: 4})

	// Who asks by age gets what is old enough, but for what is to be deleted and held.
	day := polity.Duration(24 * time.Hour)
	aged := d.retain(polity.Retain{OlderThan: &day, Org: "inn"})
	if len(aged.Orgs) != 1 || aged.Orgs[0] != (polity.RetainedOrg{Org: "inn", Archived: 1}) {
		t.Errorf("%+v", aged)
	}
	aged = d.retain(polity.Retain{OlderThan: &day})
	if len(aged.Orgs) != 3 || aged.Orgs[0] != (polity.RetainedOrg{Org: "court", Archived: 1}) || aged.Orgs[1] != (polity.RetainedOrg{Org: "desk", Archived: 1, Left: 1}) || aged.Orgs[2].Archived > 0 {
		t.Errorf("%+v", aged)
	}
	if _, err := d.Retain(ctx, polity.Retain{Dir: "/elsewhere"}, nil); !errors.Is(err, fault.Conflict) {
		t.Errorf("another folder: %v", err)
	}

	// A live run is never archived, whatever is asked for.
	input, _ := json.Marshal(letter{Do: "wait"})
	live, err := d.Start(ctx, engine.Request{Agent: "clerk", Input: input})
	if err != nil {
		t.Fatal(err)
	}
	var none polity.Duration
	d.pass(time.Hour)
	d.retain(polity.Retain{OlderThan: &none})
	if d.Archived(live) {
		t.Error("a live run is archived")
	}

	// After a restart the files tell what is archived, and nothing is done twice.
	files, err := engine.Archives(engine.ArchiveDir(state))
	if err != nil {
		t.Fatal(err)
	}
	runs := 0
	for _, f := range files {
		runs += f.Runs
		if found, err := engine.VerifyArchive(ctx, f.Path, nil); err != nil || len(found.Damage) > 0 {
			t.Errorf("%+v %v", found, err)
		}
	}
	if runs != 4 {
		t.Errorf("%d runs are archived", runs)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	now := d.now()
	d.Engine, err = engine.Open(ctx, engine.Config{State: state, Sync: engine.SyncOS, Agents: []*agent.Agent{d.agent}, Park: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	if !d.Archived("0-desk1") || d.Archived("0-alone") {
		t.Error("the archive is forgotten")
	}
	want(d.retain(polity.Retain{}), polity.RetainedOrg{Left: 1}, polity.RetainedOrg{Left: 4})
}

// TestArchivedFolder keeps archives in a folder of their own.
func TestArchivedFolder(t *testing.T) {
	state, dir := t.TempDir(), filepath.Join(t.TempDir(), "deep", "archives")
	d := openArchivist(t, state, engine.Config{Archive: dir})
	d.run("desk", keeps(time.Hour, true), "0-desk1", "", "one")
	d.pass(2 * time.Hour)
	if done := d.retain(polity.Retain{Dir: dir}); len(done.Files) != 1 || filepath.Dir(filepath.Dir(done.Files[0].Path)) != dir {
		t.Errorf("%+v", done)
	}
	if _, err := os.Stat(engine.ArchiveDir(state)); !os.IsNotExist(err) {
		t.Errorf("the other folder is there, too: %v", err)
	}
}

// TestRestoreArchived takes runs over into another state folder, and finds those that are here.
func TestRestoreArchived(t *testing.T) {
	ctx := t.Context()
	d := openArchivist(t, t.TempDir(), engine.Config{})
	d.run("desk", keeps(time.Hour, true), "0-desk1", "", "one")
	d.run("desk", keeps(time.Hour, true), "0-desk2", "", "two")
	if _, err := d.Fork(ctx, engine.Fork{ID: "0-fork", Run: "0-desk2", Event: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Wait(ctx, "0-fork"); err != nil {
		t.Fatal(err)
	}
	d.pass(2 * time.Hour)
	path := d.retain(polity.Retain{}).Files[0].Path
	if r, err := d.RestoreArchived(ctx, "0-desk1", path); err != nil || !r.Here {
		t.Errorf("%+v %v", r, err)
	}
	other := openArchivist(t, t.TempDir(), engine.Config{})
	for _, id := range []polity.RunID{"0-desk1", "0-desk2", "0-fork"} {
		r, err := other.RestoreArchived(ctx, id, path)
		if err != nil || r.Here || r.Run.Run != id {
			t.Errorf("%+v %v", r, err)
		}
		was, err := d.Wait(ctx, id)
		if o, again := other.Wait(ctx, id); err != nil || again != nil || !bytes.Equal(o.Output, was.Output) || len(o.Output) == 0 {
			t.Errorf("%s: %+v %v, was %+v %v", id, o, again, was, err)
		}
		if r, err := other.Replay(ctx, id, engine.Digest{}); err != nil || r.Difference != nil {
			t.Errorf("%s is replayed: %+v %v", id, r, err)
		}
		if r, err := other.RestoreArchived(ctx, id, path); err != nil || !r.Here {
			t.Errorf("%+v %v", r, err)
		}
	}
	if _, err := other.RestoreArchived(ctx, "0-other", path); !errors.Is(err, fault.NotFound) {
		t.Errorf("a run that is not there: %v", err)
	}
	// What was restored ended long ago, and its release says what becomes of it here, too.
	other.pass(2 * time.Hour)
	if done := other.retain(polity.Retain{}); len(done.Orgs) != 1 || done.Orgs[0].Archived != 3 {
		t.Errorf("%+v", done)
	}
	// Without its index the file still gives back what it holds.
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut")
	if err := os.WriteFile(cut, data[:len(data)-100], 0o600); err != nil {
		t.Fatal(err)
	}
	third := openArchivist(t, t.TempDir(), engine.Config{})
	if r, err := third.RestoreArchived(ctx, "0-desk2", cut); err != nil || r.Here {
		t.Errorf("%+v %v", r, err)
	}
}

// TestEraseReachesArchives archives runs of a person, and erases the person: nothing of them is to be had from the files, which are the same.
func TestEraseReachesArchives(t *testing.T) {
	ctx := t.Context()
	state := t.TempDir()
	d := openArchivist(t, state, engine.Config{})
	d.run("desk", keeps(time.Hour, true), "0-sealed", "zebulon", secret)
	d.run("desk", keeps(time.Hour, true), "0-plain", "", "an open word")
	d.pass(2 * time.Hour)
	done := d.retain(polity.Retain{})
	if len(done.Files) != 1 || done.Files[0].Runs != 2 {
		t.Fatalf("%+v", done)
	}
	before := unpacked(t, done.Files)
	if !bytes.Contains(before, []byte("an open word")) {
		t.Fatal("what is not enciphered is not found either: the test looks at nothing")
	}
	if bytes.Contains(before, []byte(secret)) || len(holding(t, state, secret)) > 0 {
		t.Error("the name stands in the folder")
	}

	// Another node that has the keys reads it, until the person is erased there.
	copied := t.TempDir()
	if err := os.CopyFS(filepath.Join(copied, "keys"), os.DirFS(filepath.Join(state, "keys"))); err != nil {
		t.Fatal(err)
	}
	other := openArchivist(t, copied, engine.Config{})
	if _, err := other.RestoreArchived(ctx, "0-sealed", done.Files[0].Path); err != nil {
		t.Fatal(err)
	}
	if o, err := other.Wait(ctx, "0-sealed"); err != nil || !strings.Contains(string(o.Output), secret) {
		t.Fatalf("with the key it reads as %+v %v", o, err)
	}
	if _, err := other.Erase(ctx, "zebulon", "asked for", false); err != nil {
		t.Fatal(err)
	}
	if o, err := other.Wait(ctx, "0-sealed"); !errors.Is(err, fault.Erased) {
		t.Errorf("erased, it reads as %+v %v", o, err)
	}

	// And the node that it was archived by.
	if _, err := d.Erase(ctx, "zebulon", "asked for", false); err != nil {
		t.Fatal(err)
	}
	if after := unpacked(t, done.Files); !bytes.Equal(before, after) {
		t.Error("the archive changed")
	}
	third := t.TempDir()
	if err := os.CopyFS(filepath.Join(third, "keys"), os.DirFS(filepath.Join(state, "keys"))); err != nil {
		t.Fatal(err)
	}
	last := openArchivist(t, third, engine.Config{})
	if _, err := last.RestoreArchived(ctx, "0-sealed", done.Files[0].Path); err != nil {
		t.Fatal(err)
	}
	if o, err := last.Wait(ctx, "0-sealed"); err == nil || strings.Contains(string(o.Output), secret) {
		t.Errorf("without the key it reads as %+v", o)
	}
	if found, err := engine.VerifyArchive(ctx, done.Files[0].Path, nil); err != nil || len(found.Damage) > 0 || found.Sound != 2 {
		t.Errorf("%+v %v", found, err)
	}
	// An erased run is archived as what is left of it.
	d.run("desk", keeps(time.Hour, true), "0-later", "zebulon", secret)
	if _, err := d.Erase(ctx, "zebulon", "asked for", false); err != nil {
		t.Fatal(err)
	}
	d.pass(2 * time.Hour)
	if again := d.retain(polity.Retain{}); len(again.Files) != 1 || !d.Archived("0-later") || bytes.Contains(unpacked(t, again.Files), []byte(secret)) {
		t.Errorf("%+v", again)
	}
}

// TestRetainIsInterrupted ends with who asked, and is done by the next one.
func TestRetainIsInterrupted(t *testing.T) {
	d := openArchivist(t, t.TempDir(), engine.Config{})
	for _, id := range []polity.RunID{"0-desk1", "0-desk2", "0-desk3"} {
		d.run("desk", keeps(time.Hour, true), id, "", string(id))
	}
	d.pass(2 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	told := 0
	if _, err := d.Retain(ctx, polity.Retain{}, func(polity.Progress) { told++; cancel() }); !errors.Is(err, fault.Cancelled) || told == 0 {
		t.Errorf("%v after %d", err, told)
	}
	if done := d.retain(polity.Retain{}); len(done.Files) != 1 || done.Files[0].Runs != 3 {
		t.Errorf("%+v", done)
	}
}

// BenchmarkRetain archives small runs and compares what a run takes with what it took in the log.
func BenchmarkRetain(b *testing.B) {
	ctx := b.Context()
	fn, err := agent.Func("clerk", "1", clerk)
	if err != nil {
		b.Fatal(err)
	}
	state := b.TempDir()
	e, err := engine.Open(ctx, engine.Config{State: state, Sync: engine.SyncOS, Agents: []*agent.Agent{fn}})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	for i := range b.N {
		input, _ := json.Marshal(letter{Text: fmt.Sprint("What does customer ", i, " owe us, and since when?")})
		if _, err := e.Run(ctx, engine.Request{Agent: "clerk", Input: input}); err != nil {
			b.Fatal(err)
		}
	}
	var none polity.Duration
	b.ResetTimer()
	done, err := e.Retain(ctx, polity.Retain{OlderThan: &none}, nil)
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
	runs, size := 0, int64(0)
	for _, f := range done.Files {
		runs, size = runs+f.Runs, size+f.Size
	}
	if runs != b.N {
		b.Fatalf("%d of %d runs", runs, b.N)
	}
	room, err := engine.Room(state)
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range room {
		if r.Part == "log" {
			b.ReportMetric(float64(r.Bytes)/float64(b.N), "log-B/run")
		}
	}
	b.ReportMetric(float64(size)/float64(b.N), "archive-B/run")
	b.ReportMetric(float64(runs)/b.Elapsed().Seconds(), "runs/s")
}
