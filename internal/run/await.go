package run

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
)

// Limits of what is kept for those that will wait for it.
const (
	signalsMax     = 64        // signals of one run that it has not awaited yet
	signalBytesMax = 256 << 10 // bytes of their data
	signalIDsMax   = 256       // a signal's ID is known until so many others have come to the run
	eventIDsMax    = 10_000    // an event's ID is known until so many others have been published
)

// event is what is waited for: a signal to a run, or something published on a topic.
type event struct {
	name string          // of the signal, or the topic
	id   string          // the sender's: the same twice is once
	data json.RawMessage // nil: it was erased, and nobody is told it any more
	seq  uint64          // position in the stream of topics; 0 for a signal
	key  string          // that the data is to be enciphered with, of what was published; "" for none

	version int // of its topic's registered schema, 0 for none; of a signal's until it was read
}

// hash is of what an event says; zero if that was erased.
func (e *event) hash() requestHash {
	if e.data == nil {
		return requestHash{}
	}
	return hashRequest(&polity.Command{Do: polity.DoAwait, To: e.name, Input: e.data})
}

func (e *event) check(checkName func(string) error) error {
	if err := checkName(e.name); err != nil {
		return err
	}
	switch {
	case e.id == "" || len(e.id) > idMax:
		return fault.Invalid.New("id of %s: %d bytes; want 1 to %d", e.name, len(e.id), idMax)
	case len(e.data) > polity.EventMax:
		return fault.Invalid.New("data of %s: %d bytes; the most is %d: keep it elsewhere and send its name", e.name, len(e.data), polity.EventMax)
	case !json.Valid(e.data):
		return fault.Invalid.New("data of %s is not JSON: %.80q", e.name, e.data)
	}
	return nil
}

// known remembers the IDs of the last events, and what they said. The zero value knows none.
type known struct {
	said  map[string]said
	list  []noted // in order; longer than the window while some of it is not acknowledged
	count uint64  // of all that were noted
}

type said struct {
	hash   requestHash
	number uint64 // in the order of coming
}

// noted is one of the IDs.
type noted struct {
	id    string
	seq   uint64 // the commit that told of it
	taken uint64 // waits.taken since then
	key   string // that its data is enciphered with; "" for none
}

// before says whether an event was there already, among the last ones. One with its ID that says something else is fault.Conflict; what was erased
// is taken for the same.
func (k *known) before(id string, hash requestHash, window int) (bool, error) {
	earlier, ok := k.said[id]
	none := requestHash{}
	switch {
	case !ok || k.count-earlier.number > uint64(window):
		return false, nil
	case earlier.hash != hash && earlier.hash != none && hash != none:
		return true, fault.Conflict.New("id %q came before with something else", id)
	}
	return true, nil
}

// note adds an event. What is before the window is kept until those that pushed it out are acknowledged: a checkpoint may have to tell of it.
func (k *known) note(n noted, hash requestHash, window int, acknowledged uint64) {
	if k.said == nil {
		k.said = map[string]said{}
	}
	k.said[n.id] = said{hash, k.count}
	k.list = append(k.list, n)
	k.count++
	for len(k.list) > window && k.list[window].seq <= acknowledged {
		first := k.list[0].id
		if k.said[first].number == k.count-uint64(len(k.list)) {
			delete(k.said, first)
		}
		k.list = k.list[1:]
	}
}

// at returns those that were known at an acknowledged commit.
func (k *known) at(seq uint64, window int) []noted {
	n := len(k.list)
	for n > 0 && k.list[n-1].seq > seq {
		n--
	}
	return k.list[max(0, n-window):n]
}

// waits is what the runs of a partition wait for. Each tree has its own list of that, in memory while it sleeps too, and what is awaited on topics
// is found here as well. A wait holds what its result is made of, so that the tree sleeps until that is written.
type waits struct {
	topics map[string]*shelf // by topic
	wild   map[string]*shelf // by pattern that stands for more than one
	events known             // that were published
	taken  uint64            // position in the stream of topics up to which they are in the log
	owed   []*wait
}

// wait is a command that waits for an event, until its result is in the log.
type wait struct {
	tree    *tree
	run     polity.RunID
	name    string
	attempt int
	request requestHash
	on      *polity.Awaited
	program *Program // the run's; nil until the tree is awake, after a start from a checkpoint
	since   int64    // in nanoseconds since 1970, as due
	due     int64    // 0 for never

	from   uint64 // the commit that told of it
	closed uint64 // the commit since which no event comes to it any more; 0 while one may
	got    *event // what came; its result is not in the log yet
	gotIn  uint64 // the commit that told of that
	sent   bool   // the result is on its way into the log
	gone   bool   // it is no longer waited for
	slot   int32  // in tree.waits

	key        string // on its shelf; see shelf
	next, prev *wait
}

func (w *wait) id() string { return polity.EffectKey(w.run, w.name, w.attempt) }

// open says that an event may still come to it.
func (w *wait) open() bool { return w.got == nil && w.closed == 0 && !w.gone }

func (w *wait) wants(e *event) bool { return w.on.Signal == e.name && w.on.Matches(e.data) }

// mailbox is what a run was told and has not awaited yet. It follows from the run's own log, and sleeps with it.
type mailbox struct {
	kept  []*event
	bytes int // of kept
	ids   known
}

// await notes what a command waits for. A signal that came before is its own at once.
func (c *core) await(p *pending) {
	t := p.run.tree
	w := &wait{
		tree: t, run: p.run.id, name: p.cmd.Name, attempt: p.cmd.Attempt, request: p.request, on: p.cmd.Await, from: t.last,
		since: p.since.UnixNano(), program: p.run.program,
	}
	p.wait = w
	t.expect(w)
	if w.on.Topic != "" {
		c.waits.list(w)
		return
	}
	box := p.run.box
	if box == nil {
		return
	}
	if i := slices.IndexFunc(box.kept, w.wants); i >= 0 {
		w.got, w.gotIn = box.kept[i], t.last
		box.kept = slices.Delete(box.kept, i, i+1)
		box.bytes -= len(w.got.data)
	}
}

func (t *tree) expect(w *wait) {
	w.tree, w.slot = t, int32(len(t.waits))
	t.waits = append(t.waits, w)
}

// shut lets no further event come to a wait.
func (c *core) shut(w *wait) {
	c.waits.unlist(w)
	if w.got == nil && w.closed == 0 {
		w.closed = w.tree.last
	}
}

// unwait forgets a wait: its result is in the log, or its tree is given up.
func (c *core) unwait(w *wait) {
	if w.gone {
		return
	}
	c.waits.unlist(w)
	w.gone = true
	t := w.tree
	last := t.waits[len(t.waits)-1]
	t.waits[w.slot], last.slot = last, w.slot
	t.waits[len(t.waits)-1] = nil
	if t.waits = t.waits[:len(t.waits)-1]; len(t.waits) == 0 {
		t.waits = nil
	}
	if c.live && c.gather != nil {
		c.gather.gone = append(c.gather.gone, w)
	}
}

// reclaim gives the commands of a tree that was folded again the waits that it had while it slept: they know what has come to it, which its own log
// does not tell. Of a command that is another one than it was, what came is nothing.
func (c *core) reclaim(t *tree) {
	slept := map[string]*wait{}
	for _, w := range t.waits {
		slept[w.id()] = w
	}
	for _, r := range c.aside.runs {
		for _, p := range r.pending {
			if p.wait == nil {
				continue
			}
			w := slept[p.wait.id()]
			if w != nil && w.request == p.request {
				delete(slept, w.id())
				if p.wait, w.program = w, r.program; w.got != nil {
					p.why = nil // what came first has won
				}
				continue
			}
			w = p.wait
			c.aside.waits.unlist(w)
			if t.expect(w); w.on.Topic != "" && w.open() {
				c.waits.list(w)
			}
		}
	}
	for _, w := range slept {
		c.unwait(w)
	}
}

// taker returns the first command of a run that waits for a signal, or nil.
func (r *run) taker(e *event) *wait {
	for _, p := range r.pending {
		if w := p.wait; w != nil && w.open() && w.wants(e) {
			return w
		}
	}
	return nil
}

// --- what comes

// signal tells a run something. answer is called when that is durable.
func (c *core) signal(id polity.RunID, e *event, answer func(error)) {
	r, err := c.listener(id)
	if err == nil {
		err = c.takes(r, e)
	}
	if err != nil {
		c.decline(err, answer)
		return
	}
	if box := r.box; box != nil {
		before, err := box.ids.before(e.id, e.hash(), signalIDsMax)
		switch {
		case err != nil:
			c.decline(fault.Conflict.New("run: signal %s to %s: %w", e.name, id, err), answer)
			return
		case before:
			c.answer(answer)
			return
		case r.taker(e) != nil:
		case len(box.kept) >= signalsMax || box.bytes+len(e.data) > signalBytesMax:
			c.decline(fault.Full.New("run: %s has %d signals (%d bytes) that it has not awaited yet; the most is %d (%d bytes). "+
				"Nothing was kept: send it again when the run has taken some", id, len(box.kept), box.bytes, signalsMax, signalBytesMax), answer)
			return
		}
	}
	c.write(&record{kind: recSignalled, run: id, name: e.name, id: e.id, data: payload{data: e.data}})
	c.answer(answer)
}

// listener returns a run that can be told something.
func (c *core) listener(id polity.RunID) (*run, error) {
	t := c.tree(id.Root())
	if t != nil && c.dead == nil {
		c.wake(t)
	}
	switch {
	case c.dead != nil:
		return nil, c.dead
	case t == nil:
		return nil, fault.NotFound.New("run: no run %q", id)
	case t.stopped != nil:
		return nil, fault.Conflict.New("run: %s is stopped and takes no signals: %w", t.id, t.stopped)
	case t.root == nil:
		return nil, fault.Conflict.New("run: %s has ended: %s", t.id, t.summary.Status)
	}
	r := c.runs[id]
	switch {
	case r == nil:
		return nil, fault.NotFound.New("run: %s has no run %s under way", t.id, id)
	case r.closing != nil:
		return nil, fault.Conflict.New("run: %s is coming to its end", id)
	}
	return r, nil
}

// takes reads a signal as a run's agent does, and says whether it declares it, and its schema accepts the data.
func (c *core) takes(r *run, e *event) error {
	if r.program.Signal == nil {
		return fault.Invalid.New("run: agent %s takes no signals", r.agent)
	}
	err := r.program.Signal(e.name, nil)
	if err == nil && e.version > 0 {
		err = r.program.told(e)
	}
	if err == nil {
		err = r.program.Signal(e.name, e.data)
	}
	if err != nil {
		return fault.Of(err).Kind.New("run: signal to %s: %w", r.id, err)
	}
	return nil
}

// told replaces what a signal of an older version says by what the agent reads.
func (p *Program) told(e *event) (err error) {
	if p.Told == nil {
		return fault.Invalid.New("signal %s: nothing is registered of its versions", e.name)
	}
	if e.data, err = p.Told(e.name, e.version, e.data); err == nil && len(e.data) > polity.EventMax {
		err = fault.Invalid.New("signal %s: %d bytes as it is read; the most is %d", e.name, len(e.data), polity.EventMax)
	}
	return err
}

func (c *core) signalled(r *run, rec *record) {
	data, err := c.read(rec.data)
	if err != nil {
		c.stop(r.tree, fault.Of(err))
		return
	}
	e := &event{name: rec.name, id: rec.id, key: r.tree.key, data: bytes.Clone(data)} // the record is used again
	if r.box == nil {
		r.box = &mailbox{}
	}
	r.box.ids.note(noted{id: e.id}, e.hash(), signalIDsMax, 0)
	c.tell(r.tree, polity.Notice{Kind: "signalled", Run: r.id, To: e.name})
	if w := r.taker(e); w != nil {
		c.got(w, e, r.tree.last)
		return
	}
	r.box.kept = append(r.box.kept, e)
	r.box.bytes += len(e.data)
}

// publish gives everyone who waits for it an event of the stream of topics. Its position is in the same commit, so one that is given again
// after a crash is known. answer is called when that is durable.
func (c *core) publish(e *event, answer func(error)) {
	if c.dead != nil {
		answer(c.dead)
		return
	}
	if e.seq > 0 && e.seq <= c.waits.taken {
		c.answer(answer)
		return
	}
	if c.vault.ready(e.key) != nil {
		e = &event{name: e.name, id: e.id, seq: e.seq, version: e.version}
	}
	switch before, err := c.waits.events.before(e.topicID(), e.hash(), eventIDsMax); {
	case err != nil:
		c.decline(fault.Conflict.New("run: event on %s: %w", e.name, err), answer)
		return
	case !before:
		c.write(&record{kind: recPublished, name: e.name, id: e.id, data: payload{key: e.key, data: e.data}, place: e.seq, version: e.version})
	}
	c.answer(answer)
}

func (e *event) topicID() string { return e.name + " " + e.id }

func (c *core) published(rec *record, seq uint64) {
	c.waits.taken = max(c.waits.taken, rec.place)
	e := &event{name: rec.name, id: rec.id, version: rec.version, key: rec.data.key}
	if c.vault.ready(rec.data.key) == nil {
		data, err := c.read(rec.data)
		if err != nil {
			c.giveUp(fault.Of(err).Kind.New("run: event %s on %s: %w", e.id, e.name, err))
			return
		}
		e.data = bytes.Clone(data)
	}
	c.waits.events.note(noted{e.topicID(), seq, c.waits.taken, e.key}, e.hash(), eventIDsMax, c.seq)
	if e.data == nil {
		return
	}
	for _, w := range c.waits.awaiting(e) {
		if seq > c.skips[w.tree] {
			c.got(w, e, seq)
		}
	}
}

// got gives a wait its event. From then on its result follows from the state, whatever becomes of its time.
func (c *core) got(w *wait, e *event, seq uint64) {
	c.waits.unlist(w)
	w.got, w.gotIn = e, seq
	c.deliverEvent(w)
}

// deliverEvent queues the result of a wait, unless its run is left alone now: then that is done when it goes on.
func (c *core) deliverEvent(w *wait) {
	if c.live && !w.tree.held() && w.got != nil && !w.sent {
		w.sent = true
		c.waits.owed = append(c.waits.owed, w)
	}
}

// pay writes results that are owed while there is room: an event may be awaited by more runs than one pack holds.
func (c *core) pay() {
	n := 0
	for n < len(c.waits.owed) && !c.full() {
		w := c.waits.owed[n]
		c.waits.owed[n] = nil
		n++
		c.wake(w.tree)
		if !w.gone { // else its run was given up, or its code waits for something else by now
			c.write(c.given(w))
		}
	}
	if c.waits.owed = c.waits.owed[n:]; len(c.waits.owed) == 0 {
		c.waits.owed = nil
	}
}

// given is the result of a wait whose event came: its data as the run's agent reads it. What it reads is asked here and not when a log is folded, so
// that the log says what the run was told, whatever is registered later.
func (c *core) given(w *wait) *record {
	rec := &record{kind: recResult, run: w.run, name: w.name, attempt: w.attempt, request: w.request, data: payload{data: w.got.data}}
	program := c.runs[w.run].program              // its tree is awake
	if w.on.Topic == "" || program.Event == nil { // a signal was read at the door
		return rec
	}
	data, err := program.Event(w.got.name, w.got.version, w.got.data)
	if err == nil && len(data) > polity.EventMax {
		err = fault.Invalid.New("%d bytes as it is read; the most is %d", len(data), polity.EventMax)
	}
	if err == nil {
		rec.data.data = data
	} else {
		rec.data, rec.fault = payload{}, fault.Of(fault.Invalid.New("event %q on %s: %w", w.got.id, w.got.name, err))
	}
	return rec
}

// routeAwait begins to wait: what came already is the result.
func (c *core) routeAwait(p *pending) {
	if err := p.run.program.awaits(p.cmd.Await); err != nil {
		c.unwait(p.wait)
		p.refused = fault.Of(err)
		c.enqueue(p.result(result{fault: p.refused, usage: polity.Usage{Turns: 1}}))
		return
	}
	if p.wait.got != nil {
		c.deliverEvent(p.wait)
		return
	}
	if !p.due.IsZero() {
		c.arm(timer{due: p.due, run: p.run, wait: p})
	}
}

// awaits says why a program cannot wait for something.
func (p *Program) awaits(a *polity.Awaited) error {
	switch {
	case a.Signal != "" && (p.Signal == nil || p.Signal(a.Signal, nil) != nil):
		return fault.Invalid.New("signal %q is awaited and not declared: nobody can send it", a.Signal)
	case a.Topic != "" && p.Topic != nil:
		return p.Topic(a.Topic)
	default:
		return nil
	}
}

// timeUp ends a sleep, or a wait whose event has not come.
func (c *core) timeUp(p *pending) {
	if p.cmd.Do == polity.DoSleep {
		c.write(p.result(result{}))
		return
	}
	if w := p.wait; w.open() {
		c.write(p.result(result{fault: fault.Of(fault.Timeout.New("%s did not come by %s", w.on, p.due.UTC().Format(time.RFC3339)))}))
	}
}

// ends returns when a sleep or a wait that is decided now is over; zero for never.
func ends(cmd *polity.Command, now time.Time) time.Time {
	switch {
	case !cmd.At.IsZero():
		return cmd.At
	case cmd.Do == polity.DoSleep, cmd.After > 0:
		return now.Add(cmd.After)
	default:
		return time.Time{}
	}
}

// waiting adds what a run and those below it wait for to a list, up to polity.WaitingMax.
func (c *core) waiting(r *run, list []polity.Waiting) []polity.Waiting {
	for _, p := range r.pending {
		switch {
		case len(list) == polity.WaitingMax:
			return list
		case p.child != nil:
			list = c.waiting(p.child, list)
		case p.why != nil, p.refused != nil:
		case p.wait != nil && p.wait.got != nil: // no more
		case p.cmd.Do == polity.DoSleep:
			list = append(list, polity.Waiting{Run: r.id, Name: p.key, For: "time", Since: p.since, Until: p.due})
		case p.cmd.Do == polity.DoAwait:
			list = append(list, polity.Waiting{Run: r.id, Name: p.key, For: p.cmd.Await.String(), Since: p.since, Until: p.due})
		}
	}
	return list
}

// waitingAsleep is what a sleeping tree waits for: of times only the next one, and only if that is all.
func (t *tree) waitingAsleep() (list []polity.Waiting) {
	for _, w := range t.waits {
		if !w.open() || len(list) == polity.WaitingMax {
			continue
		}
		one := polity.Waiting{Run: w.run, Name: polity.CommandKey(w.name, w.attempt), For: w.on.String(), Since: timeAt(w.since)}
		if w.due != 0 {
			one.Until = timeAt(w.due)
		}
		list = append(list, one)
	}
	if len(list) == 0 && t.due != 0 && !t.undone {
		return []polity.Waiting{{Run: t.id, For: "time", Since: t.summary.Opened, Until: timeAt(t.due)}}
	}
	slices.SortStableFunc(list, func(a, b polity.Waiting) int { return a.Since.Compare(b.Since) })
	return list
}
