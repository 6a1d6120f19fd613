package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

const (
	trimWait    = 50 * time.Millisecond // between two looks whether a checkpoint is written
	haltedNamed = 3                     // stopped runs that a refusal names
)

// Base says what stands for the beginning of a log.
type Base struct {
	Commit  uint64 // of which it tells; 0 for no base
	Dropped uint64 // up to this commit the log is not needed
	First   uint64 // the first commit that the log has
}

// Base returns what stands for the log's beginning.
func (p *Partition) Base(ctx context.Context) (Base, error) {
	b, err := p.based(ctx)
	out := Base{First: p.first.Load()}
	if b != nil {
		out.Commit, out.Dropped = b.seq, b.dropped
	}
	return out, err
}

func (p *Partition) based(ctx context.Context) (*base, error) {
	return ask(ctx, p, func(c *core, reply func(*base, error)) { reply(c.base, c.dead) })
}

// Rebase writes a base that stands for the log up to a commit, and returns when it is on the disk, was read back, and is acknowledged: then Drop may drop that
// part. The caller has looked at all runs that had ended at the commit asOf, and needs nothing of those that were opened up to upTo; of others that ended later
// less is given up. It returns fault.Conflict if a run is stopped, or if nothing more than before could be dropped.
func (p *Partition) Rebase(ctx context.Context, upTo, asOf uint64) (Base, error) {
	before, err := p.based(ctx)
	if err != nil {
		return Base{}, err
	}
	k, root, err := p.writeBase(ctx, asOf, before)
	if err != nil {
		return Base{}, err
	}
	b := &base{seq: k.seq, head: k.head, dropped: min(upTo, k.seq), root: root}
	if k.keep > 0 {
		b.dropped = min(b.dropped, k.keep-1)
	}
	if err := p.trust(ctx, b, before); err != nil {
		return Base{}, errors.Join(err, p.forget(b, before))
	}
	rec := &record{kind: recBased, base: b}
	if err := p.call(ctx, func(c *core, done func(error)) {
		if c.dead == nil {
			c.write(rec)
		}
		c.answer(done)
	}); err != nil {
		return Base{}, err
	}
	return Base{Commit: b.seq, Dropped: b.dropped, First: p.first.Load()}, nil
}

// writeBase has the loop tell of everything, and puts it into documents.
func (p *Partition) writeBase(ctx context.Context, asOf uint64, before *base) (*capture, Digest, error) {
	if p.keeper == nil {
		return nil, Digest{}, fault.Invalid.New("run: base: the partition has no folder for trails")
	}
	var previous Digest
	if before != nil {
		previous = before.root
	}
	for {
		w, err := ask(ctx, p, func(c *core, reply func(*writing, error)) {
			if c.dead != nil {
				reply(nil, c.dead)
				return
			}
			if n := len(c.halted); n > 0 {
				reply(nil, stillHalted(c.halted))
				return
			}
			reply(p.startBase(asOf, newBaseWriter(p.cfg.Blobs, previous)), nil)
		})
		if err != nil {
			return nil, Digest{}, err
		}
		if w == nil { // a checkpoint is being written
			if err := rested(ctx, trimWait); err != nil {
				return nil, Digest{}, err
			}
			continue
		}
		select {
		case <-w.ended:
			return w.told, w.root, w.err
		case <-ctx.Done(): // it ends by itself, and nobody names what it wrote
			return nil, Digest{}, contextFault(ctx, "run: base")
		}
	}
}

func rested(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return contextFault(ctx, "run: base")
	}
}

func stillHalted(halted map[polity.RunID]*tree) error {
	var names []string
	for id, t := range halted {
		names = append(names, fmt.Sprintf("%s (%s)", id, t.stopped.Text))
	}
	slices.Sort(names)
	more := ""
	if n := len(names) - haltedNamed; n > 0 {
		names, more = names[:haltedNamed], fmt.Sprintf(" and %d more", n)
	}
	return fault.Conflict.New("run: nothing can be dropped while a run is stopped, as only the log has all of it: mend or cancel %s%s", strings.Join(names, ", "), more)
}

// trust completes a base, and reads it back.
func (p *Partition) trust(ctx context.Context, b, before *base) error {
	if before != nil && b.dropped <= before.dropped || b.dropped == 0 {
		return fault.Conflict.New("run: there is nothing in the log that could be dropped")
	}
	e, err := p.log.Get(ctx, b.dropped)
	if err == nil && e.Seq != b.dropped {
		err = fault.Damaged.New("run: base: commit %d is missing", b.dropped)
	}
	if err != nil {
		return err
	}
	b.prev = sha256.Sum256(e.Data)
	return p.readBack(b)
}

// readBack reads a base as a start would. Nothing is dropped for one that was not.
func (p *Partition) readBack(b *base) error {
	if p.trusted == b.root {
		return nil
	}
	g := newRegister(scratch(p.cfg.Dormant))
	cp, err := p.readBase(b, p.vault, g, func(t *tree, entries []byte) error {
		var last uint64
		err := eachRecord(t.id, entries, func(_ time.Time, seq uint64, _ *record) error { last = seq; return nil })
		if err == nil && last != t.last {
			err = fault.Damaged.New("the trail of %s ends at commit %d, and not at %d", t.id, last, t.last)
		}
		return err
	})
	if err == nil && (cp.seq != b.seq || cp.head != b.head) {
		err = fault.Damaged.New("run: base: it is of another commit")
	}
	if err == nil {
		p.trusted = b.root
	}
	return errors.Join(err, g.close())
}

func (p *Partition) readBase(b *base, v *vault, g *register, take func(*tree, []byte) error) (*checkpoint, error) {
	from, err := openBase(b.root, p.document)
	if err != nil {
		return nil, err
	}
	return readBase(from, v, g, take)
}

func (p *Partition) document(d Digest) ([]byte, error) { return p.cfg.Blobs.Get(d) }

// Drop removes from the log what a base stands for, if anything is left of it, and then what only the bases before the last one needed. It waits until
// a check of that part of the log that began with the partition has ended. It can be repeated after any fault. One that calls Rebase or Drop is alone in doing so.
func (p *Partition) Drop(ctx context.Context) (Base, error) {
	b, err := p.based(ctx)
	if err != nil || b == nil {
		return Base{First: p.first.Load()}, err
	}
	select {
	case <-p.rechecked:
	case <-ctx.Done():
		return Base{}, contextFault(ctx, "run: drop")
	case <-p.ended:
		return Base{}, p.gone()
	}
	if p.cfg.Anchor != "" {
		if err := p.writeAnchor(); err != nil { // one that names a commit that is gone could not be held against the log
			return Base{}, err
		}
	}
	first, err := p.log.First(ctx)
	if err != nil {
		return Base{}, err
	}
	if first <= b.dropped {
		if err := p.readBack(b); err != nil {
			return Base{}, err
		}
		p.first.Store(b.dropped + 1) // from now on nobody reads there
		if err := p.log.Drop(ctx, b.dropped); err != nil {
			return Base{}, err
		}
		if err := p.call(ctx, func(c *core, done func(error)) { // one from before cannot be used any more
			p.keeper.logged = max(p.keeper.logged, p.every(p.keeper))
			done(nil)
		}); err != nil {
			return Base{}, err
		}
	}
	return Base{Commit: b.seq, Dropped: b.dropped, First: p.first.Load()}, p.forgetOlder(b)
}

// forgetOlder removes the documents of the base before the one before b: who began to read a state when that counted has ended.
func (p *Partition) forgetOlder(b *base) error {
	data, err := p.document(b.root)
	if err != nil {
		return err
	}
	previous, _, err := readRoot(data)
	if err != nil || previous == (Digest{}) {
		return err
	}
	kept := &base{root: previous}
	data, err = p.document(previous)
	if errors.Is(err, fault.NotFound) {
		return nil // of a state that was restored it is not there
	}
	if err != nil {
		return err
	}
	older, _, err := readRoot(data)
	if err != nil || older == (Digest{}) {
		return err
	}
	return p.forget(&base{root: older}, b, kept)
}

// forget removes the documents of a base that those that are kept do not have.
func (p *Partition) forget(b *base, kept ...*base) error {
	data, err := p.document(b.root)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, pieces, err := readRoot(data)
	if err != nil {
		return err
	}
	needed := map[Digest]bool{}
	for _, one := range kept {
		if one == nil {
			continue
		}
		needed[one.root] = true
		data, err := p.document(one.root)
		if errors.Is(err, fault.NotFound) {
			continue // with it nothing can be needed
		}
		if err != nil {
			return err
		}
		_, list, err := readRoot(data)
		if err != nil {
			return err
		}
		for _, d := range list {
			needed[d] = true
		}
	}
	for _, d := range append(pieces, b.root) { // the root last: until then it can be tried again
		if !needed[d] {
			if err := p.cfg.Blobs.remove(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove removes a document. One that is not there is removed.
func (b *Blobs) remove(d Digest) error {
	if b.far != nil {
		if err := b.far.remove(d); err != nil {
			return err
		}
	}
	if err := os.Remove(b.path(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Denied.New("blobs: %w", err)
	}
	return nil
}

// LiveSince returns how many root runs have not ended that were opened up to a commit.
func (p *Partition) LiveSince(ctx context.Context, upTo uint64) (int, error) {
	return ask(ctx, p, func(c *core, reply func(int, error)) {
		n := 0
		for _, t := range c.roots {
			if !t.left && !t.over() && t.first <= upTo {
				n++
			}
		}
		reply(n, c.dead)
	})
}

// --- the start

// rebuild makes the state from a base, if the log's beginning is gone and there is no checkpoint.
func (p *Partition) rebuild(ctx context.Context, last uint64) error {
	first := p.first.Load()
	if first == 1 || p.core.seq > 0 {
		return nil
	}
	if p.core.spool == nil {
		return fault.Invalid.New("run: open: the log begins with commit %d, and there is no folder for the trails of waiting runs", first)
	}
	var all []*base
	var f frame
	err := p.log.Read(ctx, first, last, func(e bus.Entry) error {
		if err := f.decode(e.Data); err != nil {
			return fault.Of(err).Kind.New("run: open: commit %d: %w", e.Seq, err)
		}
		for i := range f.records {
			if b := f.records[i].base; b != nil && b.seq+1 >= first {
				all = append(all, b)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	why := error(fault.NotFound.New("no commit tells of any"))
	for _, b := range slices.Backward(all) {
		if why = p.begun(ctx, b); why == nil || errors.Is(why, fault.Cancelled) || errors.Is(why, fault.Full) || errors.Is(why, fault.Unavailable) {
			return why
		}
		p.cfg.Log.Error("a base is not used", "commit", b.seq, "error", why)
	}
	return fault.Damaged.New("run: open: the log begins with commit %d, and nothing stands for what came before: %w", first, why)
}

// begun begins with a base.
func (p *Partition) begun(ctx context.Context, b *base) error {
	g := newRegister(scratch(p.cfg.Dormant))
	c := p.core
	cp, err := p.readBase(b, p.vault, g, func(t *tree, entries []byte) error {
		t.place, t.stored, t.links = place{}, 0, 0
		if !c.store(t, place{}, entries) {
			return fault.Unavailable.New("run: open: the folder for trails takes nothing")
		}
		return nil
	})
	if err == nil && (cp.seq != b.seq || cp.head != b.head) {
		err = fault.Damaged.New("run: base: it is of another commit")
	}
	if err != nil {
		return errors.Join(err, g.close())
	}
	old := c.register
	c.restore(cp)
	c.base = b
	p.cfg.Log.Info("the log's beginning was dropped: its base is read", "commit", b.seq)
	return old.close()
}

// stands returns fault.Damaged if more is gone of the log than a base stands for.
func (p *Partition) stands() error {
	first, b := p.first.Load(), p.core.base
	switch {
	case first == 1:
		return nil
	case b == nil:
		return fault.Damaged.New("run: open: the log begins with commit %d, and nothing stands for what came before", first)
	case first > b.dropped+1:
		return fault.Damaged.New("run: open: the log begins with commit %d, and only what came up to commit %d was to be dropped", first, b.dropped)
	}
	return nil
}

// --- what is read of runs that began before

// errCarried ends the reading of a base.
var errCarried = fault.Cancelled.New("run: found in the base")

// carried gives what a base has of a tree that had not ended, and returns the commit behind that. get reads a document.
func (b *base) carried(id polity.RunID, get func(Digest) ([]byte, error), each func(at time.Time, seq uint64, rec *record) error) (next uint64, err error) {
	from, err := openBase(b.root, get)
	if err != nil {
		return 0, err
	}
	err = scanBase(from, func(t *tree, trail []byte) error {
		if t.id != id || len(trail) == 0 {
			return nil
		}
		if err := eachRecord(id, trail, func(at time.Time, seq uint64, rec *record) error {
			next = seq + 1
			return each(at, seq, rec)
		}); err != nil {
			return err
		}
		return errCarried
	})
	switch {
	case err != nil && err != errCarried:
		return 0, err
	case next == 0:
		return 0, fault.Damaged.New("run: the base of commit %d does not have %s, which had not ended", b.seq, id)
	}
	return next, nil
}

// dropped is why what a run did cannot be read.
func (p *Partition) dropped(id polity.RunID, s polity.Summary, b *base) error {
	where := "it was in no archive here when it was dropped, or that is gone"
	if p.cfg.Archived != nil {
		if file := p.cfg.Archived(id); file != "" {
			where = fmt.Sprintf("it is in %s: polity archive restore %s", file, id)
		}
	}
	return fault.NotFound.New("run %s ended as %s at %s; what it did is no longer in the log, which was dropped up to commit %d; %s",
		id, s.Status, s.Ended.UTC().Format(time.RFC3339), b.dropped, where)
}

// Readable says that there is a run, and that what it did was not dropped with the log's beginning.
func (p *Partition) Readable(ctx context.Context, id polity.RunID) (bool, error) {
	return ask(ctx, p, func(c *core, reply func(bool, error)) { reply(c.there(id), c.dead) })
}

// ReleaseOf returns the release of a run.
func (p *Partition) ReleaseOf(ctx context.Context, id polity.RunID) (d Digest, err error) {
	err = p.events(ctx, id, func(_ time.Time, _ uint64, rec *record) error {
		d = rec.release
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return d, err
}

// --- what is told of the beginning

const tellStep = 1000 // facts in one commit of those that tell of a base

// before returns the hash of the commit before the first, and a time that is not before it.
func (p *Partition) before(ctx context.Context, first uint64) (head string, at time.Time, err error) {
	e, err := p.log.Get(ctx, first)
	if err == nil && e.Seq != first {
		err = fault.Damaged.New("run: commit %d is missing", first)
	}
	var f frame
	if err == nil {
		err = f.decode(e.Data)
	}
	return hex.EncodeToString(f.prev[:]), f.at, err
}

// tellBase is Feed for what comes before the first commit.
func (p *Partition) tellBase(ctx context.Context, first uint64, each func(*Commit) error) error {
	b, err := p.based(ctx)
	if err != nil {
		return err
	}
	head, at, err := p.before(ctx, first)
	if err != nil {
		return err
	}
	from, err := openBase(b.root, p.document)
	if err != nil {
		return err
	}
	var c Commit
	flush := func() error {
		if err := ctx.Err(); err != nil {
			return contextFault(ctx, "run: feed")
		}
		err := each(&c)
		c.Facts = c.Facts[:0]
		return err
	}
	err = scanBase(from, func(t *tree, trail []byte) error {
		if t.first >= first {
			return nil // the log tells of it
		}
		if len(trail) == 0 {
			c.Facts = append(c.Facts, droppedFact(t))
		}
		if err := eachRecord(t.id, trail, func(at time.Time, seq uint64, rec *record) error {
			if seq >= first {
				return nil
			}
			c.Facts = append(c.Facts, p.factOf(rec, at, seq))
			if rec.kind == recForked {
				p.taken(&c, rec)
			}
			return nil
		}); err != nil {
			return err
		}
		if len(c.Facts) < tellStep {
			return nil
		}
		return flush()
	})
	if err == nil && len(c.Facts) > 0 {
		err = flush()
	}
	if err != nil {
		return err
	}
	c.Seq, c.Head, c.At = first-1, head, at
	return each(&c)
}

// droppedFact is what a base has of a tree that had ended.
func droppedFact(t *tree) Fact {
	s := &t.summary
	return Fact{
		Notice: polity.Notice{At: s.Opened, Commit: t.first, Kind: "dropped", Run: t.id, Agent: s.Agent, Status: s.Status.String(), Usage: s.Usage},
		Opened: s.Opened, Ended: s.Ended, Fork: s.Fork, Conversation: s.Conversation,
	}
}
