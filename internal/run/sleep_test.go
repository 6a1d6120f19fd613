package run

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"regexp"
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
	case n < 64 && w.trims:
		w.rebase(o)
	case n == 64 && c.base != nil && c.base.dropped >= w.first: // it is acknowledged
		w.first = c.base.dropped + 1
		w.stats.dropped++
	}
}

// putToSleep puts a tree to sleep that only waits, however short.
func (w *world) putToSleep(c *core, t *tree) {
	if t.root == nil || t.last > c.seq || t.held() {
		return
	}
	due, _, ok := t.root.idle(c.downtime)
	if !ok {
		return
	}
	before, asked := describe(t.root), w.asks(c, t)
	if !c.sleep(t) {
		return
	}
	if now := w.asks(c, t); now != asked && !w.spool.full {
		w.fail("%s asks %s, and asleep %s", t.id, asked, now)
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
		if now := w.asks(c, t); now != asked {
			w.fail("%s asked %s, and awake again %s", t.id, asked, now)
		}
		if after := describe(t.root); before != after {
			w.fail("%s went to sleep as\n%s\nand woke as\n%s", t.id, before, after)
		}
	}
}

var pointers = regexp.MustCompile(`0x[0-9a-f]+`)

// stateText is what can be compared of a decider's state: not where it is in memory, and nothing of a coroutine, which may be there or not.
func stateText(state any) string {
	if text := fmt.Sprintf("%T", state); strings.HasPrefix(text, "*script.") {
		return text
	}
	return pointers.ReplaceAllString(fmt.Sprintf("%+v", state), "0x")
}

// describe says everything that matters of a run and those below it.
func describe(r *run) string {
	var b strings.Builder
	l := r.ledger
	fmt.Fprintf(&b, "%s %s of %s: %s; %d names, used %+v, opened %s, excused %s, bound %v %s %d\n",
		r.id, r.agent, r.tree.id, stateText(r.state), len(r.names), r.usage, r.opened.UTC(), r.downtime, r.bound, r.boundBy, r.refusals)
	fmt.Fprintf(&b, "  ledger of %s: %+v, used %+v, held %+v, %d retries, %t\n", l.owner.id, l.limit, l.used, l.held, l.retries, l.expired)
	fmt.Fprintf(&b, "  will end as %+v, was told to as %+v; killed %t, undoing %t, finishing %t\n", r.closing, r.stopping, r.killed, r.undoing, r.finishing)
	if r.box != nil {
		fmt.Fprintf(&b, "  %d bytes for it, signals %v\n", r.box.bytes, r.box.ids)
		for _, e := range r.box.kept {
			fmt.Fprintf(&b, "  %s %s %s\n", e.name, e.id, e.data)
		}
	}
	for _, p := range r.pending {
		due := p.due
		if p.cmd.Do == polity.DoAsk { // a person's: it follows from the rest, once it is asked
			due = time.Time{}
		}
		if p.cmd.To == "boss" || p.cmd.To == "late" {
			fmt.Fprintf(&b, "  asks a person\n")
		}
		fmt.Fprintf(&b, "  %s %x held %+v, since %s, due %s, refused %v, why %v, began %t %d times, foreign %t\n",
			p.key, p.request, p.held, p.since.UTC(), due.UTC(), p.refused, p.why, p.began, p.begins, p.foreign)
		if w := p.wait; w != nil {
			fmt.Fprintf(&b, "    waits for %s since commit %d, closed %d, %s\n", w.on, w.from, w.closed, w.came())
		}
		if p.run != r || r.tree.root == nil {
			fmt.Fprintf(&b, "  which is of another run\n")
		}
		if p.child != nil {
			b.WriteString(describe(p.child))
		}
	}
	return b.String()
}

func (w *wait) came() string {
	if w.got == nil {
		return "nothing came"
	}
	how := "signalled"
	if w.on.Topic != "" {
		how = "published"
	}
	return fmt.Sprintf("%s %s %s came, %s in commit %d", w.got.name, w.got.id, w.got.data, how, w.gotIn)
}

// portrait says everything that a kernel which has folded a log knows by it, and wakes all that sleeps.
func portrait(c *core) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d commits up to %x at %s; downtime %s %v\n", c.seq, c.head, c.at.UTC(), c.downtime, c.claims)
	fmt.Fprintf(&b, "taken %d\n", c.waits.taken)
	for _, n := range c.waits.events.at(c.seq, eventIDsMax) {
		fmt.Fprintf(&b, "known %s %x\n", n.id, c.waits.events.said[n.id].hash)
	}
	all, err := c.all()
	if err != nil {
		panic(err)
	}
	for _, t := range all {
		fmt.Fprintf(&b, "%s %s first %d last %d end %d, of %s %x, parked %t\n", t.id, t.summary.Status, t.first, t.last, t.end, t.summary.Agent, t.request, t.parked)
		fmt.Fprintf(&b, "opened %s ended %s; fork of %s: %v, simulates %t, log %v\n", t.summary.Opened.UTC(), t.summary.Ended.UTC(), t.origin, t.summary.Fork, t.simulates, t.log)
		waiting := slices.Clone(t.waits)
		slices.SortFunc(waiting, func(a, b *wait) int { return strings.Compare(a.id(), b.id()) })
		for _, w := range waiting {
			fmt.Fprintf(&b, "  %s %x, waits for %s since commit %d, closed %d, %s\n", w.id(), w.request, w.on, w.from, w.closed, w.came())
		}
		c.wake(t)
		switch {
		case t.root != nil:
			fmt.Fprintf(&b, "paused %s with downtime %s, queued %t, talks %v, asked %s by %q\n", t.paused.UTC(), t.pausedDown, t.queued, t.talk, t.input.data, t.from)
			if t.mail != nil {
				fmt.Fprintf(&b, "mail %+v, begun %t\n", *t.mail, t.taken)
			}
			b.WriteString(describe(t.root))
		case t.stopped != nil:
			fmt.Fprintln(&b, t.stopped)
		default:
			fmt.Fprintf(&b, "used %+v\n", t.summary.Usage)
		}
	}
	var found []string
	for _, shelves := range []map[string]*shelf{c.waits.topics, c.waits.wild} {
		for topic, s := range shelves {
			list := func(key string, w *wait) {
				for ; w != nil; w = w.next {
					found = append(found, fmt.Sprintf("listed %s for %s (%t)\n", w.id(), topic, key != ""))
				}
			}
			list("", s.all)
			for key, w := range s.keyed {
				list(key, w)
			}
		}
	}
	for agent, t := range c.trays {
		found = append(found, fmt.Sprintf("tray of %s: %d, %d begun\n", agent, t.total, t.busy))
	}
	for talk, list := range c.talks {
		line := fmt.Sprintf("conversation %s:", talk)
		for _, t := range list {
			line += " " + string(t.id)
		}
		found = append(found, line+"\n")
	}
	for _, t := range c.debts {
		found = append(found, fmt.Sprintf("owes an answer for %s\n", t.id))
	}
	for id := range c.halted {
		found = append(found, fmt.Sprintf("halted %s\n", id))
	}
	slices.Sort(found)
	return b.String() + strings.Join(found, "")
}

// difference is the first line in which two texts differ; "" for none.
func difference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			return "the end, want " + b[i]
		case i >= len(b):
			return a[i] + ", want the end"
		case a[i] != b[i]:
			return fmt.Sprintf("line %d:\n%s\nwant\n%s", i+1, a[i], b[i])
		}
	}
	return ""
}

// compare wants a start by a checkpoint and what is behind it to know what a start by the whole log does.
func (w *world) compare(point []byte) {
	whole := newCore(&owner{w: w, alive: true}, w.catalog, [8]byte{})
	part := newCore(&owner{w: w, alive: true}, w.catalog, [8]byte{})
	whole.vault, part.vault = w.vault(), w.vault()
	part.spool, part.awakeMax = ownSpool{&w.spool, part}, w.rng.IntN(20)
	p, err := readCheckpointInto(bytes.NewReader(point), part.vault, w.register())
	if err != nil {
		w.fail("%v", err)
	}
	part.restore(p)
	if id := part.repaired(); id != "" {
		w.fail("%s was stopped", id)
	}
	for _, c := range []*core{whole, part} {
		if err := foldFrom(c, w.log); err != nil {
			w.fail("fold: %v", err)
		}
	}
	text := portrait(whole)
	if d := difference(portrait(part), text); d != "" {
		w.fail("from the checkpoint of commit %d the state at %d is another one: %s", p.seq, len(w.log), d)
	}
	w.stats.compared++
	for what, sign := range checkpointed {
		if strings.Contains(text, sign) {
			w.told[what]++
		}
	}
}

// checkpointed is what must have been there when checkpoints were compared with the log.
var checkpointed = map[string]string{
	"awaiting": " for t.a (", "pattern": " for t.* (", "match": " for > (", "came": " came, published in commit", "mailbox": "bytes for it", "known": "known t.a",
	"queue": "queued true", "pause": "paused 20", "conversation": "conversation ", "stopping": "told to as &{", "doubt": "began true",
	"message begun": "begun true", "message queued": "begun false", "message owed": "owes an answer", "asking": "asks a person",
}

// checkpoint writes a checkpoint in pieces. Between them the world goes on; what becomes of its owner then becomes of it.
func (w *world) checkpoint(c *core) {
	if c.seq == 0 || w.writing {
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
		steps := w.rng.IntN(4)
		if w.rng.IntN(3) == 0 {
			steps = w.rng.IntN(60)
		}
		for range steps {
			w.step()
		}
		if c.dead != nil {
			return
		}
	}
	b = k.end(b)
	sum := sha256.Sum256(b)
	w.keepAudits(c)
	w.points = append(w.points, append(b, sum[:]...))
	w.stats.checkpoints++
	w.compare(w.points[len(w.points)-1])
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
	p, err := readCheckpointInto(bytes.NewReader(data), c.vault, w.register())
	if err != nil {
		w.logf("checkpoint: %v", err)
		return
	}
	if p.head != w.log[p.seq-1].id {
		w.fail("a checkpoint is of another log")
	}
	if p.seq < w.first {
		return // as the log begins behind it
	}
	w.stats.restored++
	c.restore(p)
	w.compare(data)
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
