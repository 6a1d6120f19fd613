package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/model"
	"polity.run/model/modeltest/wire"
)

// secret is what is looked for in every file of a state folder.
const secret = "Zebulon Quartermaine of Little Haven"

type letter struct {
	Text string `json:"text"`
	Do   string `json:"do,omitempty"` // large, fail or wait
}

// clerk answers with what it was asked, many times over, with a fault about it, or not at all.
func clerk(ctx context.Context, l letter) (letter, error) {
	switch l.Do {
	case "large":
		return letter{Text: strings.Repeat(l.Text, 4000)}, nil
	case "fail":
		return letter{}, fault.Failed.New("nobody knows %s", l.Text)
	case "wait":
		<-ctx.Done()
		return letter{}, ctx.Err()
	default:
		return l, nil
	}
}

// holding returns the files of a folder that hold a text, by their paths in it.
func holding(t *testing.T, dir, text string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil && bytes.Contains(data, []byte(text)) {
			rel, _ := filepath.Rel(dir, path)
			found = append(found, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestErase has runs about a person answer, fail, write large payloads, remember, and wait; then erases the person, and looks for their name
// in every byte of the state folder.
func TestErase(t *testing.T) {
	provider := wire.New(
		wire.Reply{Calls: []model.Call{{ID: "1", Name: "memory_note", Input: json.RawMessage(`{"text":"` + secret + ` prefers letters.","share":true,"because":[{"memory":"x","id":"y"}]}`)}}},
		wire.Reply{Text: "Noted for " + secret + "."},
	)
	server := httptest.NewServer(provider)
	defer server.Close()
	state, ctx := t.TempDir(), t.Context()
	fn, err := agent.Func("clerk", "1", clerk)
	if err != nil {
		t.Fatal(err)
	}
	e := open(t, state, fn)
	ask := func(subject, do string) polity.RunID {
		t.Helper()
		input, _ := json.Marshal(letter{secret, do})
		id, err := e.Start(ctx, engine.Request{Agent: "clerk", Input: input, Subject: subject, Seed: do})
		if err != nil {
			t.Fatal(err)
		}
		if do != "wait" {
			if _, err := e.Wait(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
		return id
	}
	ids := []polity.RunID{ask("zebulon", "say"), ask("zebulon", "large"), ask("zebulon", "fail"), ask("zebulon", "wait")}
	if again := ask("zebulon", "say"); again != ids[0] {
		t.Errorf("the same request is another run: %s", again)
	}
	if o, err := e.Wait(ctx, ids[2]); err != nil || o.Fault == nil || !strings.Contains(o.Fault.Text, secret) || o.Fault.Kind != fault.Failed {
		t.Errorf("a fault reads as %+v, %v", o.Fault, err)
	}
	if o, err := e.Wait(ctx, ids[1]); err != nil || strings.Count(string(o.Output), secret) != 4000 {
		t.Errorf("a large output does not come back: %v", err)
	}
	release, err := e.Install(rememberer(t, server.URL), nil)
	if err != nil {
		t.Fatal(err)
	}
	o, err := e.Run(ctx, engine.Request{ID: "0-remembers", Release: release, Input: json.RawMessage(`{"question":"Note it: ` + secret + `"}`), Subject: "zebulon"})
	if err != nil || o.Status != polity.StatusCompleted {
		t.Fatalf("%+v %v", o, err)
	}
	ids = append(ids, "0-remembers")
	forked, err := e.Fork(ctx, engine.Fork{Run: ids[0], Event: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Wait(ctx, forked); err != nil {
		t.Fatal(err)
	}
	ids = append(ids, forked)
	other := func() polity.RunID {
		id, err := e.Start(ctx, engine.Request{Agent: "clerk", Input: json.RawMessage(`{"text":"somebody else"}`), Subject: "else"})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}()
	for _, f := range holding(t, state, secret) {
		if !strings.Contains(f, "BUCKET_memory") { // which a run's key does not reach
			t.Errorf("before it is erased the name stands in %s", f)
		}
	}

	fails := func() string {
		t.Helper()
		steps, _, err := e.Steps(ctx, ids[2], 0, 10)
		if err != nil || len(steps) == 0 || steps[0].Fault == nil {
			t.Fatalf("the timeline of a run that failed: %+v %v", steps, err)
		}
		return steps[0].Fault.Text
	}
	if text := fails(); !strings.Contains(text, secret) {
		t.Errorf("a timeline tells the fault %q", text)
	}

	// A run that goes on is in the way, and a person who is not there is named.
	if _, err := e.Erase(ctx, "zebulon", "", false); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), string(ids[3])) {
		t.Fatalf("erased under a run: %v", err)
	}
	if _, err := e.Erase(ctx, "nobody", "", true); !errors.Is(err, fault.NotFound) {
		t.Fatalf("erased nobody: %v", err)
	}
	done, err := e.Erase(ctx, "zebulon", "asked for", true)
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Runs) != len(ids) || !slices.Equal(done.Cancelled, ids[3:4]) || done.Records == 0 {
		t.Errorf("erased %+v", done)
	}
	erased := func(when string) {
		t.Helper()
		if found := holding(t, state, secret); len(found) > 0 {
			t.Errorf("%s the name stands in %v", when, found)
		}
		for _, id := range ids {
			if s, err := e.Find(ctx, id); err != nil || !s.Status.Final() {
				t.Errorf("%s run %s is listed as %+v, %v", when, id, s, err)
			}
			if o, err := e.Wait(ctx, id); !errors.Is(err, fault.Erased) {
				t.Errorf("%s %s ended with %+v, %v", when, id, o, err)
			}
			if _, err := e.Replay(ctx, id, engine.Digest{}); !errors.Is(err, fault.Erased) {
				t.Errorf("%s %s is replayed: %v", when, id, err)
			}
			told := 0
			if err := e.History(ctx, id, func(n polity.Notice) error {
				if told++; len(n.Data) > 0 || n.Fault != nil && n.Fault.Kind == fault.Failed && n.Fault.Text != "erased" {
					t.Errorf("%s %s tells %s %+v", when, id, n.Data, n.Fault)
				}
				return nil
			}); err != nil || told < 3 {
				t.Errorf("%s the history of %s tells of %d events: %v", when, id, told, err)
			}
		}
		if o, err := e.Wait(ctx, other); err != nil || !strings.Contains(string(o.Output), "somebody else") {
			t.Errorf("%s another one's run is not what it was: %+v %v", when, o, err)
		}
		if _, err := e.Fork(ctx, engine.Fork{Run: ids[0], Event: 1, Seed: when}); !errors.Is(err, fault.Erased) {
			t.Errorf("%s a fork of what is erased: %v", when, err)
		}
		if found, err := engine.Check(ctx, state, nil); err != nil || len(found.Damage) > 0 {
			t.Errorf("%s the state is damaged: %+v %v", when, found.Damage, err)
		}
	}
	erased("after it was erased")
	if text := fails(); text != "erased" {
		t.Errorf("the timeline that was kept tells %q", text)
	}
	if _, err := e.Start(ctx, engine.Request{ID: ids[0], Agent: "clerk", Input: json.RawMessage(`{"text":"again"}`)}); !errors.Is(err, fault.Erased) {
		t.Errorf("the ID of an erased run: %v", err)
	}
	if a, err := e.Export(ctx, ids[0], filepath.Join(t.TempDir(), "a")); err != nil || a.Status != polity.StatusCompleted {
		t.Errorf("an erased run is not exported as it is: %v", err)
	}
	for _, whole := range []bool{false, true} {
		stop(t, e)
		if e, err = engine.Open(ctx, engine.Config{State: state, Sync: engine.SyncOS, Agents: []*agent.Agent{fn}, Whole: whole}); err != nil {
			t.Fatal(err)
		}
		erased("after a start")
	}
	if _, err := e.Erase(ctx, "zebulon", "", true); !errors.Is(err, fault.NotFound) {
		t.Errorf("erased twice: %v", err)
	}
	if id := ask("zebulon", "say"); id == ids[0] {
		t.Error("a new run of an erased person is the old one")
	}
	stop(t, e)
}

// TestKeysThatComeBack puts the keys of before the erasure back into the state folder, as a careless restore does: the log destroys them again.
// Keys that are lost are another matter, and named so.
func TestKeysThatComeBack(t *testing.T) {
	state, ctx := t.TempDir(), t.Context()
	fn, err := agent.Func("clerk", "1", clerk)
	if err != nil {
		t.Fatal(err)
	}
	e := open(t, state, fn)
	run := func(subject string) polity.RunID {
		id, err := e.Start(ctx, engine.Request{Agent: "clerk", Input: json.RawMessage(`{"text":"x"}`), Subject: subject})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Wait(ctx, id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	gone, lost := run("gone"), run("lost")
	keys := filepath.Join(state, "keys")
	old := filepath.Join(t.TempDir(), "keys")
	if err := os.CopyFS(old, os.DirFS(keys)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Erase(ctx, "gone", "", false); err != nil {
		t.Fatal(err)
	}
	stop(t, e)
	if err := errors.Join(os.RemoveAll(keys), os.CopyFS(keys, os.DirFS(old))); err != nil {
		t.Fatal(err)
	}
	before, _ := filepath.Glob(filepath.Join(keys, "*.key"))
	e = open(t, state, fn)
	after, _ := filepath.Glob(filepath.Join(keys, "*.key"))
	if len(before) != 2 || len(after) != 1 {
		t.Errorf("%d keys were put back, and %d are left", len(before), len(after))
	}
	if _, err := e.Wait(ctx, gone); !errors.Is(err, fault.Erased) {
		t.Errorf("it is back: %v", err)
	}
	if _, err := e.Wait(ctx, lost); err != nil {
		t.Errorf("the other one is not: %v", err)
	}
	stop(t, e)
	if err := os.Remove(after[0]); err != nil {
		t.Fatal(err)
	}
	e = open(t, state, fn)
	defer stop(t, e)
	if _, err := e.Wait(ctx, lost); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "put back") {
		t.Errorf("a lost key: %v", err)
	}
}

// TestDelete deletes one run: not while it goes on, is held, or shares its key; then for good, over starts, and from the view.
func TestDelete(t *testing.T) {
	state, ctx := t.TempDir(), t.Context()
	fn, err := agent.Func("clerk", "1", clerk)
	if err != nil {
		t.Fatal(err)
	}
	e := open(t, state, fn)
	ask := func(subject, do, seed string) polity.RunID {
		t.Helper()
		id, err := e.Start(ctx, engine.Request{Agent: "clerk", Input: json.RawMessage(`{"text":"x","do":"` + do + `"}`), Subject: subject, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	refused := func(id polity.RunID, kind fault.Kind, why string) {
		t.Helper()
		if _, err := e.Delete(ctx, id, ""); !errors.Is(err, kind) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s is deleted: %v", id, err)
		}
	}
	own, plain := ask("ada", "wait", ""), ask("", "", "")
	refused("0-nobody", fault.NotFound, "no run")
	refused(own, fault.Conflict, "has not ended")
	for _, err := range []error{e.Cancel(ctx, own, "enough"), e.Hold(ctx, own, "dispute 17")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []polity.RunID{own, plain} {
		if _, err := e.Wait(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	refused(own, fault.Conflict, "dispute 17")
	if err := e.Release(ctx, own, ""); err != nil {
		t.Fatal(err)
	}
	refused(plain, fault.Conflict, "not enciphered")
	first, second := ask("eve", "", "1"), ask("eve", "", "2")
	for _, id := range []polity.RunID{first, second} {
		if _, err := e.Wait(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	refused(first, fault.Conflict, string(second))
	listed := func() (ids []polity.RunID) {
		t.Helper()
		found, err := e.Lookup(ctx, polity.Lookup{Of: polity.LookupRuns, All: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range found.Runs {
			ids = append(ids, r.ID)
		}
		return ids
	}
	if got := listed(); !slices.Contains(got, own) || len(got) != 4 {
		t.Errorf("before it is deleted there are %v", got)
	}
	for _, whole := range []bool{false, true, false} {
		if _, err := e.Delete(ctx, own, "too old"); err != nil {
			t.Fatal(err)
		}
		if got := listed(); slices.Contains(got, own) || len(got) != 3 {
			t.Errorf("listed are %v", got)
		}
		if _, err := e.Wait(ctx, own); !errors.Is(err, fault.Erased) {
			t.Errorf("it says %v", err)
		}
		stop(t, e)
		if e, err = engine.Open(ctx, engine.Config{State: state, Sync: engine.SyncOS, Agents: []*agent.Agent{fn}, Whole: whole}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.RebuildView(ctx, false); err != nil {
		t.Fatal(err)
	}
	if got := listed(); slices.Contains(got, own) || len(got) != 3 {
		t.Errorf("a view that is made again lists %v", got)
	}
	if _, err := e.Wait(ctx, first); err != nil {
		t.Errorf("another run: %v", err)
	}
	stop(t, e)
	if found, err := engine.Check(ctx, state, nil); err != nil || len(found.Damage) > 0 {
		t.Errorf("%+v %v", found.Damage, err)
	}
}

// BenchmarkSealedRuns measures what sealing costs: runs of one effect, 64 at once, synced to the disk.
func BenchmarkSealedRuns(b *testing.B) {
	fn, err := agent.Func("clerk", "1", clerk)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		subject func(n int64) string
	}{
		{"plain", func(int64) string { return "" }},
		{"persons-1000", func(n int64) string { return fmt.Sprint("person ", n%1000) }},
		{"person-each", func(n int64) string { return fmt.Sprint("person ", n) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			e, err := engine.Open(b.Context(), engine.Config{State: b.TempDir(), Agents: []*agent.Agent{fn}})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			for i := range int64(1000) { // a person's first run makes the key, which is measured apart
				if _, err := e.Run(b.Context(), engine.Request{Agent: "clerk", Input: json.RawMessage(`{"text":"first"}`), Subject: c.subject(i)}); err != nil {
					b.Fatal(err)
				}
			}
			n := atomic.Int64{}
			n.Add(1000)
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					input, _ := json.Marshal(letter{Text: fmt.Sprint(i)})
					if _, err := e.Run(b.Context(), engine.Request{Agent: "clerk", Input: input, Subject: c.subject(i)}); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
		})
	}
}

// TestHeldRunIsNotErased holds a run of a person, before and after it has ended, across starts from a checkpoint and from the whole log.
func TestHeldRunIsNotErased(t *testing.T) {
	state, ctx := t.TempDir(), t.Context()
	fn, err := agent.Func("clerk", "1", clerk)
	if err != nil {
		t.Fatal(err)
	}
	e := open(t, state, fn)
	id, err := e.Start(ctx, engine.Request{Agent: "clerk", Input: json.RawMessage(`{"text":"x","do":"wait"}`), Subject: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Hold(ctx, id, ""); !errors.Is(err, fault.Invalid) {
		t.Errorf("held without a reason: %v", err)
	}
	if err := e.Hold(ctx, "0-nobody", "dispute"); !errors.Is(err, fault.NotFound) {
		t.Errorf("held what is not there: %v", err)
	}
	if err := e.Hold(ctx, id, "dispute 17"); err != nil {
		t.Fatal(err)
	}
	refused := func(when string) {
		t.Helper()
		s, err := e.Find(ctx, id)
		if err != nil || s.Held != "dispute 17" {
			t.Errorf("%s: %+v %v", when, s, err)
		}
		if _, err := e.Erase(ctx, "ada", "", true); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "dispute 17") {
			t.Errorf("%s it is erased: %v", when, err)
		}
	}
	refused("while it runs")
	if s, err := e.Find(ctx, id); err != nil || s.Status.Final() {
		t.Errorf("a refused erasure cancelled it: %+v %v", s, err)
	}
	for _, whole := range []bool{false, true, false} {
		stop(t, e)
		if e, err = engine.Open(ctx, engine.Config{State: state, Sync: engine.SyncOS, Agents: []*agent.Agent{fn}, Whole: whole}); err != nil {
			t.Fatal(err)
		}
		refused("after a start")
	}
	if err := e.Cancel(ctx, id, "enough"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Wait(ctx, id); err != nil {
		t.Fatal(err)
	}
	refused("after it ended")
	if err := e.Release(ctx, id, "settled"); err != nil {
		t.Fatal(err)
	}
	if err := e.Hold(ctx, id, "dispute 17"); err != nil {
		t.Fatal(err)
	}
	refused("held again after its end")
	if err := e.Release(ctx, id, "settled"); err != nil {
		t.Fatal(err)
	}
	told := 0
	if err := e.History(ctx, id, func(polity.Notice) error { told++; return nil }); err != nil || told != 4 {
		t.Errorf("its history tells of %d events, %v", told, err) // opened, cancel, result, finished
	}
	if r, err := e.Replay(ctx, id, engine.Digest{}); err != nil || r.Difference != nil {
		t.Errorf("replayed: %+v %v", r, err)
	}
	if a, err := e.Export(ctx, id, filepath.Join(t.TempDir(), "a")); err != nil || a.Events != 4 {
		t.Errorf("exported: %+v %v", a, err)
	}
	if _, err := e.Erase(ctx, "ada", "", false); err != nil {
		t.Errorf("after its release: %v", err)
	}
	stop(t, e)
}
