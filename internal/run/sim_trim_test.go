package run

import (
	"crypto/sha256"
	"time"

	"polity.run"
	"polity.run/fault"
)

// ownSpool is the world's spool as one owner uses it, who reads what the spool lost from what he may read of the log.
type ownSpool struct {
	*simSpool
	core *core
}

func (s ownSpool) reread(id polity.RunID, first, last uint64, each func(time.Time, uint64, *record) error) error {
	if b := s.core.base; b.lacks(first) {
		s.w.stats.carried++
		next, err := b.carried(id, s.w.document, func(at time.Time, seq uint64, rec *record) error {
			if seq > last {
				return nil
			}
			return each(at, seq, rec)
		})
		if err != nil {
			return err
		}
		first = max(next, b.dropped+1)
	}
	return s.simSpool.reread(id, first, last, each)
}

func (w *world) document(d Digest) ([]byte, error) {
	if data, ok := w.blobs[d]; ok {
		return data, nil
	}
	return nil, fault.NotFound.New("no document %x", d)
}

// Put is for who writes a base.
func (w *world) Put(data []byte) (Digest, error) {
	d := Digest(sha256.Sum256(data))
	w.blobs[d] = append([]byte(nil), data...)
	return d, nil
}

// rebase writes a base in pieces. Between them the world goes on; what becomes of its owner then becomes of it. Everything may be dropped but what ended
// since it was begun.
func (w *world) rebase(o *owner) {
	c := o.core
	if c.seq == 0 || w.writing || len(c.halted) > 0 {
		return
	}
	w.writing = true
	defer func() { w.writing = false }()
	to := newBaseWriter(w, Digest{})
	k, b := c.newBase(c.seq)
	for !k.done() {
		var err error
		if b, err = k.more(b, 1+w.rng.IntN(3)); err != nil {
			return // the spool is full
		}
		for range w.rng.IntN(20) {
			w.step()
		}
		if c.dead != nil || !o.alive {
			return
		}
	}
	b = k.end(b)
	sum := sha256.Sum256(b)
	if _, err := to.Write(append(b, sum[:]...)); err != nil {
		w.fail("%v", err)
	}
	root, err := to.finish()
	if err != nil {
		w.fail("%v", err)
	}
	one := &base{seq: k.seq, head: k.head, dropped: 1 + w.rng.Uint64N(k.seq), root: root}
	if k.keep > 0 {
		one.dropped = min(one.dropped, k.keep-1)
	}
	if one.dropped == 0 || c.base != nil && one.dropped <= c.base.dropped {
		return
	}
	one.prev = w.log[one.dropped-1].id
	w.keepAudits(c)
	w.stats.rebased++
	w.compareBase(one)
	c.now = w.now
	c.write(&record{kind: recBased, base: one})
	o.step()
}

// readBase gives a core what a base has.
func (w *world) readBase(c *core, b *base) {
	from, err := openBase(b.root, w.document)
	if err != nil {
		w.fail("%v", err)
	}
	full := w.spool.full
	w.spool.full = false // else the node does not start
	p, err := readBase(from, c.vault, w.register(), func(t *tree, entries []byte) error {
		t.place, t.stored, t.links = place{}, 0, 0
		if !c.store(t, place{}, entries) {
			w.fail("the spool takes nothing")
		}
		return nil
	})
	w.spool.full = full
	if err != nil {
		w.fail("base of commit %d: %v", b.seq, err)
	}
	if p.seq != b.seq || p.head != b.head {
		w.fail("a base is of another commit")
	}
	c.restore(p)
	c.base = b
}

// begin gives a new owner a base, if he has no checkpoint and the beginning of the log is gone.
func (w *world) begin(c *core) {
	if c.seq > 0 || w.first == 0 {
		return
	}
	var f frame
	var newest *base
	for _, e := range w.log[w.first-1:] {
		if err := f.decode(e.data); err != nil {
			w.fail("%v", err)
		}
		for i := range f.records {
			if b := f.records[i].base; b != nil {
				newest = b
			}
		}
	}
	if newest == nil || newest.seq+1 < w.first {
		w.fail("nothing stands for the commits before %d", w.first)
	}
	w.stats.begun++
	w.readBase(c, newest)
}

// compareBase wants a start by a base and what is behind it to know what a start by the whole log does.
func (w *world) compareBase(b *base) {
	whole := newCore(&owner{w: w, alive: true}, w.catalog, [8]byte{})
	part := newCore(&owner{w: w, alive: true}, w.catalog, [8]byte{})
	whole.vault, part.vault = w.vault(), w.vault()
	part.spool, part.register, part.awakeMax = ownSpool{&w.spool, part}, w.register(), w.rng.IntN(20)
	w.readBase(part, b)
	for _, c := range []*core{whole, part} {
		if err := foldFrom(c, w.log); err != nil {
			w.fail("fold: %v", err)
		}
	}
	if d := difference(portrait(part), portrait(whole)); d != "" {
		w.fail("from the base of commit %d the state at %d is another one: %s", b.seq, len(w.log), d)
	}
}
