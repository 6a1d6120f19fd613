package run

import (
	"container/heap"
	"sort"
	"time"

	"polity.run"
	"polity.run/fault"
)

// When a tree is put to sleep. It costs some microseconds for each of its records to wake it again.
const (
	sleepMin       = time.Second      // that it has to wait yet
	sleepPerRecord = time.Millisecond // and for each of its records
	sleepRecords   = 20_000           // a tree with more records stays awake: to fold it would hold up the others
	foldAwakeMax   = 1 << 17          // runs that are in memory while a log is folded
)

// A tree that only waits is put to sleep: its deciders are told to forget their states, its runs are dropped, and what is left is the tree itself:
// a summary, the place of its trail, and when it is due. Whatever touches it wakes it first: its trail is folded again.

// over says that a tree has no state any more, and never will have.
func (t *tree) over() bool { return t.root == nil && !t.asleep && t.stopped == nil }

// waits says that a pending command needs neither a goroutine nor a slot: that only time passes, or something comes in, until it has its result.
func (p *pending) waits() bool {
	return (p.cmd.Do == polity.DoSleep || p.cmd.Do == polity.DoAwait) && p.why == nil && p.refused == nil
}

// idle says that a run and those below it only wait, and returns when the first of them is due, in nanoseconds since 1970; 0 for never. If
// they do not, it returns what is in the way, if that is a command.
func (r *run) idle(partition time.Duration) (due int64, busy *pending, ok bool) {
	if r.closing != nil || r.finishing {
		return 0, nil, false
	}
	if wall := r.wall(partition); !wall.IsZero() {
		due = wall.UnixNano()
	}
	for _, p := range r.pending {
		at := int64(0)
		switch {
		case p.child != nil && p.why == nil:
			if at, busy, ok = p.child.idle(partition); !ok {
				return 0, busy, false
			}
		case !p.waits():
			return 0, p, false
		case !p.due.IsZero():
			at = p.due.UnixNano()
		}
		if due == 0 || at != 0 && at < due {
			due = at
		}
	}
	return due, nil, true
}

// rest puts a tree to sleep if it only waits, and long enough, and all that it did is acknowledged.
func (c *core) rest(t *tree) {
	r := t.root
	if r == nil || c.spool == nil || t.last > c.seq || t.records > sleepRecords || t.held() {
		return
	}
	if r.busy != nil && !r.busy.done && !r.busy.waits() && (r.busy.child == nil || r.busy.why != nil) {
		return // what was in the way is still, and the others need not be looked at
	}
	due, busy, ok := r.idle(c.downtime)
	r.busy = busy
	if !ok || due != 0 && due-c.now.UnixNano() < int64(max(sleepMin, time.Duration(t.records)*sleepPerRecord)) {
		return
	}
	if c.sleep(t) {
		c.alarm(t, due)
	}
}

// sleep drops the state of a tree. It returns false if the spool does not take its trail.
func (c *core) sleep(t *tree) bool {
	if !c.spill(t) || t.trail != nil {
		return false
	}
	t.summary.Usage = t.root.usage
	c.lose(t.root)
	t.root, t.asleep, t.input = nil, true, payload{}
	if t.mail != nil {
		t.mail = t.mail.bare()
	}
	c.asleep++
	return true
}

// doze puts a tree to sleep that nobody works on, whatever it waits for.
func (c *core) doze(t *tree) {
	if t.root == nil || c.spool == nil || t.records > sleepRecords {
		return
	}
	due, _, ok := t.root.idle(c.downtime)
	if c.sleep(t) {
		t.due, t.undone = due, !ok
	}
}

// makeRoom puts trees to sleep while a log is folded that has more live runs than should be in memory at once.
func (c *core) makeRoom() {
	if c.spool == nil || len(c.runs) <= c.awakeMax {
		return
	}
	for range c.roots {
		if len(c.runs) <= c.awakeMax/2 {
			return
		}
		c.hand = (c.hand + 1) % len(c.roots)
		c.doze(c.roots[c.hand])
	}
}

// sweep writes the trails of the next n trees into the newest file of the spool, if they are in an older one, and returns where to go on; 0
// when all are there. What cannot be read stays behind: it is read from the log when the tree is woken.
func (c *core) sweep(from, n int, newest uint32) int {
	for ; from < len(c.roots); from++ {
		t := c.roots[from]
		if t.place.none() || t.place.file >= newest {
			continue
		}
		if n--; n < 0 {
			return from
		}
		if whole, err := c.whole(t, nil); err == nil {
			c.store(t, place{}, whole)
		}
	}
	return 0
}

// acknowledged looks at what a commit told of, now that it is in the log.
func (c *core) acknowledged(p *pack) {
	for _, t := range p.trees {
		switch {
		case t.last > c.seq: // there is more, which is not
		case t.over():
			c.release(t)
			c.depart(t)
		case t.stopped != nil:
			c.spill(t)
		default:
			c.rest(t)
		}
	}
}

// lose drops a run and those below it without ending anything.
func (c *core) lose(r *run) {
	delete(c.runs, r.id)
	r.forget()
	for _, p := range r.pending {
		if p.child != nil {
			c.lose(p.child)
		}
		if p.wait != nil && !p.due.IsZero() {
			p.wait.due = p.due.UnixNano()
		}
	}
	r.pending = nil
}

// wake makes the state of a sleeping tree again, and goes on with it if the partition is served and the tree is not parked. A tree whose code
// decides otherwise by now is stopped.
func (c *core) wake(t *tree) {
	if !t.asleep {
		return
	}
	undone := t.undone
	t.asleep, t.undone = false, false
	c.asleep--
	fresh, err := c.remember(t)
	if err != nil {
		c.stop(t, fault.Of(err))
		return
	}
	if fresh.stopped != nil {
		c.stop(t, fresh.stopped)
		return
	}
	t.root, t.salt = fresh.root, fresh.salt
	t.paused, t.pausedDown, t.queued, t.input, t.from = fresh.paused, fresh.pausedDown, fresh.queued, fresh.input, fresh.from
	t.mail = fresh.mail
	if undone {
		c.reshelve(t)
	}
	c.reclaim(t)
	for id, r := range c.aside.runs {
		r.tree = t
		c.runs[id] = r
	}
	c.aside.clear()
	if t.excusedAt == t.last {
		t.root.excuse(t.excused)
	}
	if c.live && !t.parked && t.paused.IsZero() {
		t.idle = false
		c.resume(t.root, false)
	}
}

// remember folds a tree again from its trail, or from the log if the spool does not have it as it was written.
func (c *core) remember(t *tree) (*tree, error) {
	if c.aside == nil {
		c.aside = newCore(beside{c.host}, c.catalog, c.epoch)
		c.aside.vault = c.vault
	}
	parts, err := c.spooled(t)
	var rec record
	for i := 0; i < len(parts) && err == nil; i++ {
		err = eachEntry(parts[i], func(e entry) error {
			body := reader{b: e.raw}
			body = reader{b: body.bytes(body.uvarint(frameMax))}
			rec = record{}
			if body.record(&rec); body.bad || rec.run.Root() != t.id {
				return fault.Damaged.New("run: spool: an entry of %s does not make sense", t.id)
			}
			return c.retell(t, timeAt(e.at), e.seq, &rec)
		})
	}
	fresh, err := c.retold(t, err)
	if err == nil {
		return fresh, nil
	}
	c.spool.lost(t.id, err)
	err = c.spool.reread(t.id, t.first, t.last, func(at time.Time, seq uint64, rec *record) error {
		return c.retell(t, at, seq, rec)
	})
	return c.retold(t, err)
}

// retell folds one record of a tree aside.
func (c *core) retell(t *tree, at time.Time, seq uint64, rec *record) error {
	a := c.aside
	if t.excusedAt != 0 && a.seq <= t.excusedAt && seq > t.excusedAt {
		if told := a.trees[t.id]; told != nil && told.root != nil {
			told.root.excuse(t.excused)
		}
	}
	a.now, a.seq, a.downtime = at, seq, c.downtimeAt(seq)
	a.apply(rec, seq)
	return a.dead
}

// retold returns the tree that was folded aside. It returns fault.Damaged if what was told is not the whole of it.
func (c *core) retold(t *tree, err error) (*tree, error) {
	told := c.aside.trees[t.id]
	if err == nil && (told == nil || told.last != t.last || told.root == nil && told.stopped == nil) {
		err = fault.Damaged.New("run: what is told of %s ends before commit %d", t.id, t.last)
	}
	if err != nil || told.stopped != nil {
		c.aside.clear()
	}
	return told, err
}

// clear forgets everything that was folded.
func (c *core) clear() {
	clear(c.runs)
	clear(c.trees)
	clear(c.halted)
	clear(c.roots)
	c.roots, c.seq, c.dead = c.roots[:0], 0, nil
	c.waits, c.talks, c.trays, c.dirty = waits{}, nil, nil, nil
}

func timeAt(nanos int64) time.Time { return time.Unix(0, nanos).UTC() }

// beside is the host of a kernel that folds beside another one.
type beside struct{ host }

func (beside) down(error)    {} // it is told by what apply leaves behind
func (beside) stop(*pending) {} // nothing of it is under way

// --- how long nobody served the partition

// claim is when an owner took the log, and how long nobody had served it until then, all in all.
type claim struct {
	seq      uint64
	downtime time.Duration
}

// downtimeAt returns how long nobody had served the partition up to a commit.
func (c *core) downtimeAt(seq uint64) time.Duration {
	i := sort.Search(len(c.claims), func(i int) bool { return c.claims[i].seq > seq })
	if i == 0 {
		return 0
	}
	return c.claims[i-1].downtime
}

// --- alarms

// alarms are the trees that have something due, the first one first.
type alarms []*tree

func (h alarms) Len() int           { return len(h) }
func (h alarms) Less(i, j int) bool { return h[i].due < h[j].due }
func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = int32(i+1), int32(j+1)
}
func (h *alarms) Push(x any) {
	t := x.(*tree)
	*h = append(*h, t)
	t.slot = int32(len(*h))
}
func (h *alarms) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.slot = 0
	return t
}

// alarm sets when a tree has something due; 0 for never.
func (c *core) alarm(t *tree, due int64) {
	t.due = due
	switch {
	case due == 0 && t.slot > 0:
		heap.Remove(&c.alarms, int(t.slot-1))
	case due != 0 && t.slot > 0:
		heap.Fix(&c.alarms, int(t.slot-1))
	case due != 0:
		heap.Push(&c.alarms, t)
	}
}

// arm sets a timer of a run.
func (c *core) arm(tm timer) {
	t := tm.run.tree
	heap.Push(&t.root.timers, tm)
	if due := t.root.timers[0].due.UnixNano(); t.slot == 0 || due < t.due {
		c.alarm(t, due)
	}
}

// tick does what is due, and returns when the next is.
func (c *core) tick() time.Time {
	for len(c.alarms) > 0 && c.alarms[0].due <= c.now.UnixNano() && !c.full() && c.dead == nil {
		c.ring(c.alarms[0])
	}
	if len(c.alarms) == 0 {
		return time.Time{}
	}
	return timeAt(c.alarms[0].due)
}

// ring fires the timers of a tree that are due, and sets its alarm anew.
func (c *core) ring(t *tree) {
	c.alarm(t, 0)
	if t.held() {
		return // what it waits for is set again when it goes on
	}
	c.wake(t)
	for t.root != nil && len(t.root.timers) > 0 && c.dead == nil {
		if due := t.root.timers[0].due; due.After(c.now) || c.full() {
			c.alarm(t, due.UnixNano())
			break
		}
		c.fire(heap.Pop(&t.root.timers).(timer))
	}
	c.rest(t) // if it was too early
}

func (c *core) fire(tm timer) {
	switch {
	case c.runs[tm.run.id] != tm.run:
	case tm.wait == nil && tm.run.wall(c.downtime).After(tm.due): // it was paused meanwhile
		c.setWall(tm.run)
	case tm.wait == nil:
		if l := tm.run.ledger; l.owner == tm.run && !l.expired && tm.run.works() {
			c.write(&record{kind: recExpired, run: tm.run.id})
		}
	case !tm.wait.done && tm.wait.why == nil:
		c.timeUp(tm.wait)
	}
}
