package run

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"polity.run"
	"polity.run/fault"
)

// endedRuns is a kernel with runs that have ended, of which the register has all.
func endedRuns(t *testing.T, runs int) *memory {
	m := newMemory(t, napCatalog)
	m.core.spool, m.core.register = &simSpool{}, newRegister(func() (registerFile, error) { return &memoryFile{}, nil })
	m.core.register.gather = 500
	for i := range runs {
		m.begin(i, "short", polity.Bounds{})
	}
	m.run()
	m.core.retire()
	return m
}

// TestEndedRunsLeaveTheMemory wants runs that have ended to be known as ever, and nothing of them to be in memory.
func TestEndedRunsLeaveTheMemory(t *testing.T) {
	const runs = 2 * leftMin
	m := endedRuns(t, runs)
	c := m.core
	if len(c.trees) != 0 || len(c.roots) > leftMin || len(c.leaving) != 0 {
		t.Fatalf("%d trees, %d roots and %d that leave are in memory", len(c.trees), len(c.roots), len(c.leaving))
	}
	commits := len(m.log)
	m.begin(7, "short", polity.Bounds{}) // the same request again
	m.core.settle()
	m.acknowledge()
	if len(m.log) != commits {
		t.Error("a run that had ended was opened again")
	}
	ask := func(agent string) (err error) {
		c.open(&request{id: rootID(7), agent: agent, bounds: polity.DefaultBounds()}, func(e error) { err = e }, nil)
		return err
	}
	if err := ask("napper"); !errors.Is(err, fault.Conflict) {
		t.Errorf("another request with its ID: %v", err)
	}
	plain := newCore(m, napCatalog, epochOfMemory)
	if err := foldLog(plain, m.log); err != nil {
		t.Fatal(err)
	}
	want, err := plain.all()
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.all()
	if err != nil || len(got) != runs {
		t.Fatal(len(got), err)
	}
	for i := range want {
		if got[i].id != want[i].id || !bytes.Equal(got[i].appendTo(nil, got[i].last, got[i].last), want[i].appendTo(nil, want[i].last, want[i].last)) {
			t.Fatalf("%d: %+v, and the log tells %+v", i, got[i].summary, want[i].summary)
		}
	}
}

// TestEndedRunChanges wants what happens to a run after its end to be kept, and to be in a checkpoint that is made at any time.
func TestEndedRunChanges(t *testing.T) {
	m := endedRuns(t, 50)
	c := m.core
	change := func(rec *record) {
		t.Helper()
		c.write(rec)
		c.settle()
		c.retire() // too early: it is not acknowledged
		m.acknowledge()
		c.retire()
	}
	change(&record{kind: recReconciled, run: rootID(3), name: "x", attempt: 1, verdict: polity.VerdictDone})
	change(&record{kind: recHeld, run: rootID(4), reason: "dispute"})
	change(&record{kind: recHeld, run: rootID(5), reason: "dispute"})
	change(&record{kind: recReleased, run: rootID(5)})
	c.revive(rootID(7)) // it has not left yet when it is held
	change(&record{kind: recHeld, run: rootID(7), reason: "dispute"})
	if c.tree(rootID(7)).hold == nil {
		t.Error("a hold is lost")
	}
	change(&record{kind: recReleased, run: rootID(7)})
	gone := &watcher{}
	c.revive(rootID(6)).watch = []*watcher{gone}
	c.retire()
	if len(c.trees) != 2 || c.trees[rootID(4)] == nil || c.trees[rootID(6)] == nil {
		t.Errorf("in memory are %d trees", len(c.trees))
	}
	k, b := c.newCapture(1)
	for i := 0; !k.done(); i++ {
		var err error
		if b, err = k.more(b, 1); err != nil {
			t.Fatal(err)
		}
		if i < 50 {
			c.revive(rootID(i))
		}
	}
	p, err := readCheckpointInto(bytes.NewReader(withSum(k.end(b))), m.core.vault, newRegister(func() (registerFile, error) { return &memoryFile{}, nil }))
	if err != nil {
		t.Fatal(err)
	}
	again := newCore(m, napCatalog, epochOfMemory)
	again.restore(p)
	gone.gone = true
	c.retire()
	for _, c := range []*core{c, again} {
		if len(c.trees) != 1 || c.tree(rootID(4)).hold == nil || c.tree(rootID(5)).hold != nil {
			t.Errorf("%d trees are in memory; %+v", len(c.trees), c.trees)
		}
		if x := c.tree(rootID(3)); x.last == x.end {
			t.Error("a finding was forgotten")
		}
		if all, err := c.all(); err != nil || len(all) != 50 {
			t.Errorf("%d of 50 are known; %v", len(all), err)
		}
	}
}

// TestRegister holds a register against a map, with many IDs and keys of one fingerprint and a file that cannot always be written.
func TestRegister(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := &world{}
		g := newRegister(func() (registerFile, error) { return &memoryFile{w: w}, nil })
		g.gather = rng.IntN(300)
		g.print = func(text string) uint64 { return uint64(len(text) + int(text[max(0, len(text)-1):][0])%3) }
		want := map[polity.RunID]*tree{}
		for n := range 400 {
			x := &tree{
				id: polity.RunID(fmt.Sprintf("0-run%d", rng.IntN(40))), key: fmt.Sprintf("key%d", rng.IntN(5)), first: 1, last: uint64(n + 1),
				summary: polity.Summary{Status: polity.StatusCompleted},
			}
			if g.put(x) == nil {
				want[x.id] = x
			}
			w.spool.full = rng.IntN(10) == 0
		}
		seen := map[polity.RunID]bool{}
		_, err := g.each(0, g.end(), func(e registered) bool {
			got, err := g.decode(e)
			if err != nil || want[e.id].last != got.last || seen[e.id] {
				t.Errorf("seed %d: %s is given as %+v; %v", seed, e.id, got, err)
			}
			seen[e.id] = true
			return true
		})
		if err != nil || len(seen) != len(want) {
			t.Fatalf("seed %d: %d trees of %d; %v", seed, len(seen), len(want), err)
		}
		for i := range 5 {
			key, held := fmt.Sprintf("key%d", i), 0
			for _, x := range want {
				if x.key == key {
					held++
				}
			}
			if err := g.sealed(key, func(e registered) bool {
				if want[e.id].key == key {
					held--
				}
				return true
			}); err != nil || held != 0 {
				t.Errorf("seed %d: %d trees with %s too few; %v", seed, held, key, err)
			}
		}
		for id, x := range want {
			if got, err := g.find(id); err != nil || got == nil || got.last != x.last {
				t.Errorf("seed %d: %s: %+v, %v", seed, id, got, err)
			}
		}
		if got, err := g.find("0-another"); got != nil || err != nil {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// TestDamagedRegister wants no byte that is changed to be served: the partition goes down, and the next owner has everything.
func TestDamagedRegister(t *testing.T) {
	m := endedRuns(t, 10)
	file := m.core.register.file.(*memoryFile)
	noticed := 0
	for i := range file.bytes {
		file.bytes[i] ^= 1
		for run := range 10 {
			got := m.core.tree(rootID(run))
			switch {
			case got == nil && errors.Is(m.core.dead, fault.Damaged):
				noticed++
			case got == nil || got.id != rootID(run) || got.summary.Status != polity.StatusCompleted:
				t.Fatalf("byte %d: %+v; %v", i, got, m.core.dead)
			}
			m.core.dead, m.failed = nil, nil
		}
		file.bytes[i] ^= 1
	}
	if noticed < len(file.bytes) {
		t.Errorf("%d bytes were changed, and %d times it was noticed", len(file.bytes), noticed)
	}
	m.open(napCatalog, false)
	for run := range 10 {
		if got := m.core.tree(rootID(run)); got == nil || got.summary.Status != polity.StatusCompleted {
			t.Errorf("%+v", got)
		}
	}
}
