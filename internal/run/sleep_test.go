package run

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
)

// simSpool is a spool that outlives its owners, and loses things.
type simSpool struct {
	w    *world
	held []byte
	full bool
}

func (s *simSpool) put(segment []byte) (place, error) {
	if s.full {
		return place{}, fault.Full.New("no room")
	}
	at := place{1, uint32(len(segment)), uint64(len(s.held))}
	s.held = append(s.held, segment...)
	return at, nil
}

func (s *simSpool) get(p place) ([]byte, error) {
	end := p.off + uint64(p.size)
	if end > uint64(len(s.held)) {
		return nil, fault.Damaged.New("not there")
	}
	return slices.Clone(s.held[p.off:end]), nil
}

func (s *simSpool) drop(uint32) {}

func (s *simSpool) lost(id polity.RunID, why error) {
	s.w.stats.reread++
	s.w.logf("%s is read from the log: %v", id, why)
}

func (s *simSpool) reread(id polity.RunID, first, last uint64, each func(time.Time, uint64, *record) error) error {
	var f frame
	for seq := first; seq <= last; seq++ {
		if err := f.decode(s.w.log[seq-1].data); err != nil {
			return err
		}
		for i := range f.records {
			if rec := &f.records[i]; rec.kind != recClaim && rec.run.Root() == id {
				if err := each(f.at, seq, rec); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// sleepOrWake does what the kernel does for reasons of time and memory, at any moment: it puts trees to sleep and wakes them, writes
// checkpoints, and loses parts of the spool.
func (w *world) sleepOrWake() {
	o := w.owners[w.rng.IntN(len(w.owners))]
	if !o.alive || len(o.core.roots) == 0 {
		return
	}
	c := o.core
	t := c.roots[w.rng.IntN(len(c.roots))]
	switch n := w.rng.IntN(100); {
	case n < 30:
		w.putToSleep(c, t)
	case n < 35:
		if t.asleep {
			w.stats.woken++
			c.wake(t)
			o.step()
		}
	case n < 37:
		w.checkpoint(c)
	case n == 38 && len(w.spool.held) > 0:
		w.stats.damaged++
		w.spool.held[w.rng.IntN(len(w.spool.held))] ^= 1 << w.rng.IntN(8)
	case n == 39:
		w.spool.full = !w.spool.full
	case n < 60 && !w.writing:
		before := len(c.trees)
		c.retryAt = 0
		c.retire()
		w.stats.retired += before - len(c.trees)
	case n == 60:
		c.spill(t)
	case n == 61 && !w.spool.full:
		c.sweep(0, len(c.roots), 2)
	}
}

// putToSleep puts a tree to sleep that only waits, however short.
func (w *world) putToSleep(c *core, t *tree) {
	if t.root == nil || t.last > c.seq || t.held() || t.queued {
		return
	}
	due, _, ok := t.root.idle(c.downtime)
	if !ok {
		return
	}
	before := describe(t.root)
	if !c.sleep(t) {
		return
	}
	c.alarm(t, due)
	w.stats.slept++
	w.logf("%s sleeps until %d", t.id, due)
	if w.rng.IntN(2) == 0 {
		w.stats.woken++
		c.wake(t)
		if t.root == nil && w.keys.gone(t.key) { // by the next owner
			return
		}
		if t.root == nil {
			w.fail("%s does not wake: %v", t.id, t.stopped)
		}
		if after := describe(t.root); before != after {
			w.fail("%s went to sleep as\n%s\nand woke as\n%s", t.id, before, after)
		}
	}
}

// describe says everything that matters of a run and those below it.
func describe(r *run) string {
	var b strings.Builder
	l := r.ledger
	fmt.Fprintf(&b, "%s %s of %s: %+v; %d names, used %+v, opened %s, excused %s, bound %v %s %d\n",
		r.id, r.agent, r.tree.id, r.state, len(r.names), r.usage, r.opened.UTC(), r.downtime, r.bound, r.boundBy, r.refusals)
	fmt.Fprintf(&b, "  ledger of %s: %+v, used %+v, held %+v, %d retries, %t\n", l.owner.id, l.limit, l.used, l.held, l.retries, l.expired)
	for _, p := range r.pending {
		fmt.Fprintf(&b, "  %s %x held %+v, since %s, due %s, refused %v, why %v\n", p.key, p.request, p.held, p.since.UTC(), p.due.UTC(), p.refused, p.why)
		if p.run != r || r.tree.root == nil {
			fmt.Fprintf(&b, "  which is of another run\n")
		}
		if p.child != nil {
			b.WriteString(describe(p.child))
		}
	}
	return b.String()
}

// checkpoint writes a checkpoint in pieces. Between them the world goes on; what becomes of its owner then becomes of it.
func (w *world) checkpoint(c *core) {
	if c.seq == 0 || w.writing || !c.plain() {
		return
	}
	w.writing = true
	defer func() { w.writing = false }()
	k, b := c.newCapture(1)
	for !k.done() {
		var err error
		if b, err = k.more(b, 1+w.rng.IntN(3)); err != nil {
			return // the spool is full
		}
		for range w.rng.IntN(4) {
			w.step()
		}
		if c.dead != nil {
			return
		}
	}
	if !c.plain() {
		return
	}
	b = k.end(b)
	sum := sha256.Sum256(b)
	w.points = append(w.points, append(b, sum[:]...))
	w.stats.checkpoints++
}

// restore gives a new owner a checkpoint, if there is one that is sound.
func (w *world) restore(c *core) {
	if len(w.points) == 0 || w.rng.IntN(4) == 0 {
		return
	}
	data := w.points[max(0, len(w.points)-1-w.rng.IntN(2))]
	if w.rng.IntN(8) == 0 {
		data = slices.Clone(data)
		data[w.rng.IntN(len(data))] ^= 1 << w.rng.IntN(8)
	}
	p, err := readCheckpointInto(bytes.NewReader(data), w.register())
	if err != nil {
		w.logf("checkpoint: %v", err)
		return
	}
	if p.head != w.log[p.seq-1].id {
		w.fail("a checkpoint is of another log")
	}
	w.stats.restored++
	c.restore(p)
}

// register makes an empty one, which gathers little before it writes.
func (w *world) register() *register {
	g := newRegister(func() (registerFile, error) { return &memoryFile{w: w}, nil })
	g.gather = w.rng.IntN(1000)
	return g
}

// memoryFile is a register's file that cannot be written while the spool cannot.
type memoryFile struct {
	w     *world // nil: it always can
	bytes []byte
}

func (f *memoryFile) WriteAt(b []byte, at int64) (int, error) {
	if f.w != nil && f.w.spool.full {
		return 0, fault.Full.New("no room")
	}
	f.bytes = append(f.bytes[:at-1:at-1], b...)
	return len(b), nil
}

func (f *memoryFile) ReadAt(b []byte, at int64) (int, error) { return copy(b, f.bytes[at-1:]), nil }

func (f *memoryFile) Close() error { return nil }
