package run

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// basedStore makes a store in a folder whose log has a base: runs that have ended, and others that sleep and began before what may be dropped.
func basedStore(t *testing.T, dir string, cfg Config) Base {
	t.Helper()
	n := openNode(t, dir, bus.SyncOS, cfg)
	defer n.close(t)
	for i := range 8 {
		if err := n.Open(t.Context(), Request{ID: rootID(i), Agent: [...]string{"napper", "short"}[i%2]}); err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			if _, err := n.Wait(t.Context(), rootID(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	tip := n.Tip()
	b, err := n.Rebase(t.Context(), tip-3, tip)
	if err != nil || b.Commit < tip || b.Dropped != tip-3 || b.First != 1 {
		t.Fatal(b, err)
	}
	if err := n.Open(t.Context(), Request{ID: rootID(8), Agent: "short"}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Wait(t.Context(), rootID(8)); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestStopsOfATrim ends a process after each step of a trim, begins again with and without what is a cache, and wants the next one to finish it.
func TestStopsOfATrim(t *testing.T) {
	made := t.TempDir()
	cfg := func(dir string) Config {
		return Config{Do: noop, Catalog: napCatalog, Dormant: filepath.Join(dir, "dormant")}
	}
	based := basedStore(t, made, cfg(made))
	dropTo := func(upTo uint64) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			b, err := bus.Open(t.Context(), bus.Config{Dir: filepath.Join(dir, "store"), Sync: bus.SyncOS})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			l, err := b.Log(t.Context(), "p0", func(bus.Ack) {})
			if err == nil {
				err = l.Drop(t.Context(), upTo)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	cold := func(_ *testing.T, dir string) { os.RemoveAll(filepath.Join(dir, "dormant")) }
	lost := func(t *testing.T, dir string) { // a document of the base
		files, err := filepath.Glob(filepath.Join(dir, "blobs", "*", "*"))
		if err != nil || len(files) != 2 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			if err := os.WriteFile(f, []byte("no base"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		steps []func(t *testing.T, dir string)
		whole bool
		fails string
		kept  bool // nothing is dropped
	}{
		"before the log":                    {},
		"before the log, without caches":    {steps: []func(*testing.T, string){cold}},
		"in the middle":                     {steps: []func(*testing.T, string){dropTo(based.Dropped / 2)}},
		"in the middle, without caches":     {steps: []func(*testing.T, string){dropTo(based.Dropped / 2), cold}},
		"after the log":                     {steps: []func(*testing.T, string){dropTo(based.Dropped)}},
		"after the log, without caches":     {steps: []func(*testing.T, string){dropTo(based.Dropped), cold}},
		"after the log, as a whole":         {steps: []func(*testing.T, string){dropTo(based.Dropped)}, whole: true},
		"the base is damaged, and needed":   {steps: []func(*testing.T, string){dropTo(based.Dropped), cold, lost}, fails: "nothing stands for what came before"},
		"the base is damaged, and is not":   {steps: []func(*testing.T, string){cold, lost}, kept: true},
		"more is gone than the base allows": {steps: []func(*testing.T, string){dropTo(based.Dropped + 2)}, fails: "was to be dropped"},
		"more is gone than the base has":    {steps: []func(*testing.T, string){dropTo(based.Commit + 2), cold}, fails: "nothing stands for what came before"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(made)); err != nil {
				t.Fatal(err)
			}
			for _, step := range c.steps {
				step(t, dir)
			}
			cfg := cfg(dir)
			cfg.Whole = c.whole
			n, err := tryNode(dir, bus.SyncOS, cfg)
			if c.fails != "" {
				if !errors.Is(err, fault.Damaged) || !strings.Contains(err.Error(), c.fails) {
					t.Fatal(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer n.close(t)
			if c.kept {
				_, err := n.Drop(t.Context())
				if first, e := n.log.First(t.Context()); !errors.Is(err, fault.Damaged) || first != 1 || e != nil {
					t.Error(err, first, e)
				}
				return
			}
			trimmed(t, n, based)
		})
	}
}

// trimmed finishes a trim, and looks at what is left.
func trimmed(t *testing.T, n *node, based Base) {
	t.Helper()
	ctx := t.Context()
	b, err := n.Drop(ctx)
	if err != nil || b.Dropped != based.Dropped || b.First != based.Dropped+1 {
		t.Fatal(b, err)
	}
	if first, err := n.log.First(ctx); err != nil || first != b.First {
		t.Fatal(first, err)
	}
	all, err := n.List(ctx)
	if err != nil || len(all) != 9 {
		t.Fatal(len(all), err)
	}
	told := func(id polity.RunID) (kinds []string, err error) {
		err = n.History(ctx, id, func(n polity.Notice) error { kinds = append(kinds, n.Kind); return nil })
		return kinds, err
	}
	if kinds, err := told(rootID(1)); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "no longer in the log") {
		t.Error(kinds, err)
	}
	if _, err := n.Wait(ctx, rootID(8)); err != nil {
		t.Error(err)
	}
	if err := n.Open(ctx, Request{ID: rootID(1), Agent: "short"}); err != nil {
		t.Errorf("the same request again: %v", err)
	}
	if err := n.Open(ctx, Request{ID: rootID(1), Agent: "napper"}); !errors.Is(err, fault.Conflict) {
		t.Errorf("another request with its ID: %v", err)
	}
	if err := n.Cancel(ctx, rootID(2), "enough"); err != nil {
		t.Fatal(err)
	}
	if o, err := n.Wait(ctx, rootID(2)); err != nil || o.Status != polity.StatusCancelled {
		t.Error(o, err)
	}
	if kinds, err := told(rootID(2)); err != nil || kinds[0] != "opened" || kinds[len(kinds)-1] != "finished" {
		t.Error(kinds, err)
	}
	var next uint64
	facts := 0
	if err := n.Feed(ctx, 1, func(c *Commit) error {
		if facts += len(c.Facts); c.Seq == 0 {
			return nil
		}
		if next == 0 && c.Seq != based.Dropped || next > 0 && c.Seq != next {
			t.Errorf("commit %d where %d should be", c.Seq, next)
		}
		next = c.Seq + 1
		if c.Seq == n.Tip() {
			return context.Canceled
		}
		return nil
	}); !errors.Is(err, context.Canceled) || facts < 12 {
		t.Error(facts, err)
	}
}

// TestForgetKeepsWhatItCannotRead removes nothing as long as it is not known what a base that is kept needs.
func TestForgetKeepsWhatItCannotRead(t *testing.T) {
	blobs, err := OpenBlobs(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	put := func(data []byte) Digest {
		d, err := blobs.Put(data)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	piece := put([]byte("a piece of both"))
	root := func(previous Digest) *base {
		return &base{root: put(slices.Concat([]byte(rootLine), previous[:], piece[:]))}
	}
	old := root(Digest{})
	kept := root(old.root)
	p := &Partition{cfg: Config{Blobs: blobs}}
	there := func() bool { _, err := blobs.Get(piece); return err == nil }
	if err := os.WriteFile(blobs.path(kept.root), []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.forget(old, kept); !errors.Is(err, fault.Damaged) || !there() {
		t.Errorf("the kept base is damaged: %v; its piece is there: %v", err, there())
	}
	if err := os.Remove(blobs.path(kept.root)); err != nil {
		t.Fatal(err)
	}
	if err := p.forget(old, kept); err != nil || there() {
		t.Errorf("the kept base is gone: %v; the piece is there: %v", err, there())
	}
}

// FuzzBase reads what a backup may hold in place of a base.
func FuzzBase(f *testing.F) {
	m := newMemory(f, napCatalog)
	m.core.spool = &simSpool{}
	for i, agent := range []string{"napper", "short", "napper"} {
		m.begin(i, agent, polity.Bounds{})
	}
	m.core.settle()
	m.acknowledge()
	k, b := m.core.newBase(m.core.seq)
	b, err := k.more(b, 100)
	if err != nil {
		f.Fatal(err)
	}
	whole := k.end(b)
	trees := 0
	if err := scanBase(bytes.NewReader(withSum(whole)), func(t *tree, trail []byte) error {
		trees++
		return eachRecord(t.id, trail, func(time.Time, uint64, *record) error { return nil })
	}); err != nil || trees != 3 {
		f.Fatal(trees, err)
	}
	f.Add(whole)
	f.Add(append([]byte(rootLine), make([]byte, 64)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		err := scanBase(bytes.NewReader(withSum(data)), func(t *tree, trail []byte) error {
			return eachRecord(t.id, trail, func(time.Time, uint64, *record) error { return nil })
		})
		if err != nil && !errors.Is(err, fault.Damaged) && !errors.Is(err, fault.Invalid) {
			t.Error(err)
		}
		if _, pieces, err := readRoot(data); err == nil && len(pieces) == 0 {
			t.Error("a base of no documents")
		}
	})
}
