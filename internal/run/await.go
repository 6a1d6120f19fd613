package run

import (
	"bytes"
	"cmp"
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

// known remembers the IDs of the last events, and what they said.
type known struct {
	said map[string]requestHash
	ring []string // the oldest is at next, once it is full
	next int
}

// before says whether an event was there already. One with its ID that says something else is fault.Conflict; what was erased is taken for the same.
func (k *known) before(id string, said requestHash) (bool, error) {
	earlier, ok := k.said[id]
	if none := (requestHash{}); ok && earlier != said && earlier != none && said != none {
		return true, fault.Conflict.New("id %q came before with something else", id)
	}
	return ok, nil
}

func (k *known) note(id string, said requestHash, most int) {
	if k.said == nil {
		k.said = map[string]requestHash{}
	}
	if len(k.ring) < most {
		k.ring = append(k.ring, id)
	} else {
		delete(k.said, k.ring[k.next])
		k.ring[k.next] = id
		k.next = (k.next + 1) % most
	}
	k.said[id] = said
}

// waits is the index of what runs wait for. It names runs and commands as text and holds what their results are made of, so
// that it needs none of their states.
type waits struct {
	count   uint64
	byKey   map[string]*wait // by EffectKey; until the result is in the log
	topics  map[string]map[*wait]struct{}
	signals map[polity.RunID]*mailbox
	events  known  // that were published
	taken   uint64 // position in the stream of topics up to which they are in the log
	owed    []*wait
}

// wait is a command that waits for an event.
type wait struct {
	run     polity.RunID
	name    string
	attempt int
	request requestHash
	program *Program // the run's
	on      *polity.Awaited
	number  uint64 // in the order of awaiting
	got     *event // what came; its result is not in the log yet
	sent    bool   // the result is on its way into the log
}

func (w *wait) key() string { return polity.EffectKey(w.run, w.name, w.attempt) }

// mailbox is what a run was told.
type mailbox struct {
	waits []*wait // for a signal, in the order of awaiting
	kept  []*event
	bytes int // of kept
	ids   known
}

// await notes what a command waits for. A signal that came before is its own at once.
func (ws *waits) await(p *pending) {
	w := &wait{
		run: p.run.id, name: p.cmd.Name, attempt: p.cmd.Attempt, request: p.request, program: p.run.program, on: p.cmd.Await, number: ws.count,
	}
	ws.count++
	if ws.byKey == nil {
		ws.byKey, ws.topics = map[string]*wait{}, map[string]map[*wait]struct{}{}
	}
	ws.byKey[w.key()] = w
	if topic := w.on.Topic; topic != "" {
		if ws.topics[topic] == nil {
			ws.topics[topic] = map[*wait]struct{}{}
		}
		ws.topics[topic][w] = struct{}{}
		return
	}
	box := ws.mailbox(w.run)
	i := slices.IndexFunc(box.kept, func(e *event) bool { return w.wants(e) })
	if i < 0 {
		box.waits = append(box.waits, w)
		return
	}
	w.got = box.kept[i]
	box.kept = slices.Delete(box.kept, i, i+1)
	box.bytes -= len(w.got.data)
}

func (w *wait) wants(e *event) bool { return w.on.Signal == e.name && w.on.Matches(e.data) }

func (ws *waits) mailbox(run polity.RunID) *mailbox {
	if ws.signals == nil {
		ws.signals = map[polity.RunID]*mailbox{}
	}
	box := ws.signals[run]
	if box == nil {
		box = &mailbox{}
		ws.signals[run] = box
	}
	return box
}

// of returns what a command waits for; nil if it waits no more.
func (ws *waits) of(p *pending) *wait {
	return ws.byKey[polity.EffectKey(p.run.id, p.cmd.Name, p.cmd.Attempt)]
}

// unlist lets no further event come to a wait.
func (ws *waits) unlist(w *wait) {
	if topic := w.on.Topic; topic != "" {
		delete(ws.topics[topic], w)
		if len(ws.topics[topic]) == 0 {
			delete(ws.topics, topic)
		}
	} else if box := ws.signals[w.run]; box != nil {
		box.waits = slices.DeleteFunc(box.waits, func(o *wait) bool { return o == w })
	}
}

// drop forgets a command that waited.
func (ws *waits) drop(p *pending) {
	if w := ws.of(p); w != nil {
		ws.unlist(w)
		delete(ws.byKey, w.key())
	}
}

// taker returns the first wait of a run that a signal is for, or nil.
func (box *mailbox) taker(e *event) *wait {
	if box == nil {
		return nil
	}
	for _, w := range box.waits {
		if w.wants(e) {
			return w
		}
	}
	return nil
}

// awaiting returns who waits for an event on a topic, in the order of awaiting.
func (ws *waits) awaiting(e *event) []*wait {
	var list []*wait
	add := func(pattern string) {
		for w := range ws.topics[pattern] {
			if w.on.Matches(e.data) {
				list = append(list, w)
			}
		}
	}
	add(e.name)
	for pattern := range ws.topics {
		if pattern != e.name && polity.MatchTopic(pattern, e.name) {
			add(pattern)
		}
	}
	slices.SortFunc(list, func(a, b *wait) int { return cmp.Compare(a.number, b.number) })
	return list
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
	box := c.waits.signals[id]
	if box != nil {
		before, err := box.ids.before(e.id, e.hash())
		switch {
		case err != nil:
			c.decline(fault.Conflict.New("run: signal %s to %s: %w", e.name, id, err), answer)
			return
		case before:
			c.answer(answer)
			return
		case box.taker(e) != nil:
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
	e := &event{name: rec.name, id: rec.id, data: bytes.Clone(data)} // the record is used again
	box := c.waits.mailbox(r.id)
	box.ids.note(e.id, e.hash(), signalIDsMax)
	c.tell(r.tree, polity.Notice{Kind: "signalled", Run: r.id, To: e.name})
	if w := box.taker(e); w != nil {
		c.got(w, e)
		return
	}
	box.kept = append(box.kept, e)
	box.bytes += len(e.data)
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
	switch before, err := c.waits.events.before(e.topicID(), e.hash()); {
	case err != nil:
		c.decline(fault.Conflict.New("run: event on %s: %w", e.name, err), answer)
		return
	case !before:
		c.write(&record{kind: recPublished, name: e.name, id: e.id, data: payload{key: e.key, data: e.data}, place: e.seq, version: e.version})
	}
	c.answer(answer)
}

func (e *event) topicID() string { return e.name + " " + e.id }

func (c *core) published(rec *record) {
	c.waits.taken = max(c.waits.taken, rec.place)
	e := &event{name: rec.name, id: rec.id, version: rec.version}
	if c.vault.ready(rec.data.key) == nil {
		data, err := c.read(rec.data)
		if err != nil {
			c.giveUp(fault.Of(err).Kind.New("run: event %s on %s: %w", e.id, e.name, err))
			return
		}
		e.data = bytes.Clone(data)
	}
	c.waits.events.note(e.topicID(), e.hash(), eventIDsMax)
	if e.data == nil {
		return
	}
	for _, w := range c.waits.awaiting(e) {
		c.got(w, e)
	}
}

// got gives a wait its event. From then on its result follows from the state, whatever becomes of its time.
func (c *core) got(w *wait, e *event) {
	c.waits.unlist(w)
	w.got = e
	c.deliverEvent(w)
}

// deliverEvent queues the result of a wait, unless its run is left alone now: then that is done when it goes on.
func (c *core) deliverEvent(w *wait) {
	t := c.trees[w.run.Root()]
	if c.live && !t.held() && w.got != nil && !w.sent {
		w.sent = true
		c.waits.owed = append(c.waits.owed, w)
	}
}

// pay writes results that are owed while there is room: an event may be awaited by more runs than one pack holds.
func (c *core) pay() {
	n := 0
	for n < len(c.waits.owed) && !c.full() {
		w := c.waits.owed[n]
		n++
		if c.waits.byKey[w.key()] == w { // else its run was given up
			c.write(c.given(w))
		}
	}
	if c.waits.owed = c.waits.owed[n:]; len(c.waits.owed) == 0 {
		c.waits.owed = nil
	}
}

// given is the result of a wait whose event came: its data as the run's agent reads it. What it reads is asked here and not when a log is folded, so
// that the log says what the run was told, whatever is registered later.
func (*core) given(w *wait) *record {
	rec := &record{kind: recResult, run: w.run, name: w.name, attempt: w.attempt, request: w.request, data: payload{data: w.got.data}}
	if w.on.Topic == "" || w.program.Event == nil { // a signal was read at the door
		return rec
	}
	data, err := w.program.Event(w.got.name, w.got.version, w.got.data)
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
		c.waits.drop(p)
		p.refused = fault.Of(err)
		c.enqueue(p.result(result{fault: p.refused, usage: polity.Usage{Turns: 1}}))
		return
	}
	if w := c.waits.of(p); w.got != nil {
		c.deliverEvent(w)
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
	if w := c.waits.of(p); w != nil && w.got == nil {
		c.waits.unlist(w)
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
		case p.cmd.Do == polity.DoAwait && c.waits.of(p).got != nil: // no more
		case p.cmd.Do == polity.DoSleep:
			list = append(list, polity.Waiting{Run: r.id, Name: p.key, For: "time", Since: p.since, Until: p.due})
		case p.cmd.Do == polity.DoAwait:
			list = append(list, polity.Waiting{Run: r.id, Name: p.key, For: p.cmd.Await.String(), Since: p.since, Until: p.due})
		}
	}
	return list
}
