package run

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
)

// waitCommand is a command that waits for a signal, an event or a time, with or without an end.
func waitCommand(name string, rng *rand.Rand, now time.Time) polity.Command {
	on := polity.Awaited{Signal: []string{"go", "on"}[rng.IntN(2)]}
	within := time.Duration(rng.IntN(2)*rng.IntN(3000)) * time.Millisecond
	switch rng.IntN(6) {
	case 0:
		return polity.SleepUntil(name, now.Add(time.Duration(rng.IntN(3000)-500)*time.Millisecond))
	case 1:
		on = polity.Awaited{Topic: "t.a"}
	case 2:
		on = polity.Awaited{Topic: "t.*"}
	case 3:
		on = polity.Awaited{Topic: ">", Match: json.RawMessage(`{"even":true}`)}
	case 4:
		return polity.AwaitUntil(name, on, now.Add(time.Duration(rng.IntN(3000))*time.Millisecond))
	}
	return polity.Await(name, on, within)
}

var waitCatalog = programs{
	deciders: map[string]polity.Decider{"waiter": branch{waits: true}}, effects: simCatalog.effects, asks: simCatalog.asks, signals: []string{"go", "on"},
}

// waitStats counts what must have happened in the seeds together.
type waitStats struct {
	signalled, kept, again, streamed, fedAgain, published, many, paused, resumed, queued, overtaken, rejected, forked, imported, timeouts int

	told map[string]int // see checkpointed
}

func (s *waitStats) missing() []string {
	list := missingIn(s.told, "awaiting", "pattern", "match", "came", "mailbox", "known", "queue", "conversation", "pause", "doubt")
	for name, n := range map[string]int{
		"signalled": s.signalled, "kept": s.kept, "again": s.again, "streamed": s.streamed, "fedAgain": s.fedAgain, "published": s.published, "many": s.many, "paused": s.paused, "resumed": s.resumed,
		"queued": s.queued, "overtaken": s.overtaken, "rejected": s.rejected, "forked": s.forked, "imported": s.imported, "timeouts": s.timeouts,
	} {
		if n == 0 {
			list = append(list, name)
		}
	}
	return list
}

func missingIn(told map[string]int, names ...string) (list []string) {
	for _, name := range names {
		if told[name] == 0 {
			list = append(list, "a checkpoint with "+name)
		}
	}
	return list
}

// waiting is a world in which runs wait, are told things, are paused, talked to while they work, forked and imported.
type waiting struct {
	*world
	sum  *waitStats
	next int
	sent []sentEvent // what was signalled or published, to be sent again

	stream []event // of topics: durable before it is given to a partition
}

type sentEvent struct {
	run polity.RunID // "" if it was published
	event
	acked bool
}

func TestSimulatedWaiting(t *testing.T) {
	sum := waitStats{told: map[string]int{}}
	if *simSeed != 0 {
		simulateWaiting(t, *simSeed, true, &sum)
		return
	}
	for seed := range uint64(*simSeeds) {
		simulateWaiting(t, seed+1, false, &sum)
	}
	t.Logf("%d seeds: %+v", *simSeeds, sum)
	if missing := sum.missing(); len(missing) > 0 {
		t.Errorf("never happened: %v", missing)
	}
}

func simulateWaiting(t *testing.T, seed uint64, print bool, sum *waitStats) {
	w := waiting{world: newWorld(t, seed, print, waitCatalog), sum: sum}
	w.answers = func(e *simEffect) json.RawMessage { return json.RawMessage(fmt.Sprintf(`{"did":%q}`, e.p.cmd.Name)) }
	w.opens("waiter", 3)
	w.opens("waiter", 5)
	for i, c := range w.clients {
		c.id = polity.NewRunID(0, fmt.Appendf(nil, "%d/w%d", seed, i))
		if i >= 3 {
			c.conversation = fmt.Sprint("talk", i%2)
			c.skill = string(polity.Arrivals()[w.rng.IntN(4)])
		}
	}
	w.extra = w.something
	w.live()
	sum.rejected += w.stats.rejected
	for name, n := range w.told {
		sum.told[name] += n
	}
	w.checkEvents()
	w.checkStream()
	w.checkPauses()
	w.checkConversations()
}

// something does one thing to a run that is under way.
func (w *waiting) something() {
	o := w.newest()
	if w.rng.IntN(8) == 0 && !w.calm {
		o = w.owners[w.rng.IntN(len(w.owners))]
	}
	if !o.alive {
		return
	}
	o.core.now = w.now
	c := w.clients[w.rng.IntN(len(w.clients))]
	switch n := w.rng.IntN(20); {
	case n < 5:
		w.signalTo(o, w.anyRun(o))
	case n < 9:
		w.publishOn(o)
	case n < 11 && len(w.sent) > 0:
		w.again(o)
	case n < 13 && !w.calm:
		o.core.pauseRun(c.id, "the test wants it", func(error) {})
	case n < 16:
		o.core.resumeRun(c.id, func(error) {})
	case n == 16 && !w.calm && len(w.clients) < 12:
		w.forkOf(o, c)
	case n == 17 && !w.calm:
		w.importOf(o, c)
	case n >= 18:
		w.feed(o)
	}
	o.step()
}

// anyRun is one of the runs that an owner knows to be under way.
func (w *waiting) anyRun(o *owner) polity.RunID {
	var ids []polity.RunID
	for id := range o.core.runs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if len(ids) == 0 {
		return ""
	}
	return ids[w.rng.IntN(len(ids))]
}

func (w *waiting) event(name string) event {
	w.next++
	key := ""
	if w.keys != nil {
		key = w.clients[w.rng.IntN(len(w.clients))].key
	}
	return event{key: key, name: name, id: fmt.Sprint("e", w.next), data: json.RawMessage(fmt.Sprintf(`{"n":%d,"even":%t}`, w.next, w.next%2 == 0))}
}

func (w *waiting) signalTo(o *owner, id polity.RunID) {
	if id == "" {
		return
	}
	e := w.event([]string{"go", "on"}[w.rng.IntN(2)])
	if w.rng.IntN(10) == 0 {
		e.name = "undeclared"
	}
	i := len(w.sent)
	w.sent = append(w.sent, sentEvent{run: id, event: e})
	o.core.signal(id, &e, func(err error) {
		switch {
		case err == nil && e.name == "undeclared":
			w.fail("signal %s to %s was taken", e.name, id)
		case err == nil:
			w.sent[i].acked = true
		}
	})
}

func (w *waiting) publishOn(o *owner) {
	e := w.event([]string{"t.a", "t.b", "other"}[w.rng.IntN(3)])
	if n := len(o.core.waits.awaiting(&e)); n > 1 {
		w.sum.many++
	}
	i := len(w.sent)
	w.sent = append(w.sent, sentEvent{event: e})
	o.core.publish(&e, func(err error) { w.sent[i].acked = w.sent[i].acked || err == nil })
}

// feed has something published and gives an owner what it has not taken of the stream, sometimes from earlier on, as after a crash, and sometimes
// not all of it.
func (w *waiting) feed(o *owner) {
	e := w.event([]string{"t.a", "t.b", "other"}[w.rng.IntN(3)])
	if w.rng.IntN(4) > 0 || len(w.stream) == 0 {
		e.seq = uint64(len(w.stream)*2 + 1) // the stream holds other things, too
		e.version = int(e.seq % 3)          // of the seed's choices none is needed for it
		w.stream = append(w.stream, e)
	}
	taken := o.core.waits.taken
	back := uint64(w.rng.IntN(5))
	for i := range w.stream {
		e := w.stream[i]
		if e.seq+back <= taken || w.rng.IntN(20) == 0 && e.seq > taken {
			if e.seq > taken {
				return
			}
			continue
		}
		if e.seq <= taken {
			w.sum.fedAgain++
		}
		o.core.publish(&e, func(error) {})
	}
}

// checkStream wants what was taken of the stream in the log once, in order, without a gap.
func (w *waiting) checkStream() {
	n := 0
	w.records(func(commit int, r *record) {
		if r.kind != recPublished || r.place == 0 {
			return
		}
		if n == len(w.stream) || w.stream[n].seq != r.place || w.stream[n].id != r.id || w.stream[n].version != r.version {
			w.fail("commit %d has event %s at position %d, which is not the next one", commit, r.id, r.place)
		}
		n++
	})
	w.sum.streamed += n
}

// again sends an event as who does not know whether it came, and one that says something else.
func (w *waiting) again(o *owner) {
	i := w.rng.IntN(len(w.sent))
	s := &w.sent[i]
	e := s.event
	other := w.rng.IntN(4) == 0 && s.acked && !o.deposed && o == w.newest() && o.core.vault.ready(s.key) == nil
	if other {
		e.data = json.RawMessage(`"something else"`)
	}
	answer := func(err error) {
		switch {
		case err == nil && other:
			w.fail("%s came twice with different data", e.id)
		case err == nil:
			w.sent[i].acked = true
			w.sum.again++
		}
	}
	if s.run == "" {
		o.core.publish(&e, answer)
	} else {
		o.core.signal(s.run, &e, answer)
	}
}

// forkOf has a client want a fork of what the log tells of a run by now.
func (w *waiting) forkOf(o *owner, c *simClient) {
	var log []byte
	rec := &record{kind: recForked, run: polity.NewRunID(0, fmt.Appendf(nil, "%d/fork %d", w.seed, len(w.clients))), agent: c.agent, origin: c.id}
	most := 1 + w.rng.IntN(12)
	var f frame
	for _, e := range w.log {
		if err := f.decode(e.data); err != nil {
			w.fail("%v", err)
		}
		for i := range f.records {
			r := &f.records[i]
			if r.run.Root() != c.id || r.kind == recForked || r.kind == recFinished && r.run == c.id || rec.event == most {
				continue
			}
			buf := appendRecord(beginFrame(nil, [8]byte{}, hash{}, f.at), r)
			log = append(binary.BigEndian.AppendUint32(log, uint32(len(buf))), buf...)
			rec.event++
		}
	}
	if rec.event == 0 || c.fork != nil {
		return
	}
	rec.data = payload{data: log, blob: Digest{byte(len(w.clients))}, size: uint64(len(log))}
	w.blobs[rec.data.blob] = log
	w.clients = append(w.clients, &simClient{id: rec.run, agent: c.agent, key: c.key, fork: rec})
	w.sum.forked++
}

// importOf brings a run that ended, as one that ended elsewhere.
func (w *waiting) importOf(o *owner, c *simClient) {
	if c.outcome == nil || len(w.clients) > 20 {
		return
	}
	id := polity.NewRunID(0, fmt.Appendf(nil, "%d/import %d", w.seed, w.next))
	w.next++
	o.core.importRun(&record{
		kind: recImported, run: id, agent: c.agent, status: c.outcome.Status, opened: w.now, ended: w.now, data: payload{blob: Digest{1}, size: 1},
	}, func(err error) {
		if err == nil {
			w.sum.imported++
		} else if fault.Of(err).Kind != fault.Fenced {
			w.fail("import: %v", err)
		}
	})
}

// records gives every record of the log.
func (w *waiting) records(each func(commit int, r *record)) {
	var f frame
	for i, e := range w.log {
		if err := f.decode(e.data); err != nil {
			w.fail("%v", err)
		}
		for j := range f.records {
			each(i+1, &f.records[j])
		}
	}
}

// checkEvents wants every event that was acknowledged in the log once, and every signal taken by one wait at most, all of that after it came.
func (w *waiting) checkEvents() {
	came := map[string]bool{}
	data := map[string]bool{}
	taken := map[string]bool{}
	w.records(func(_ int, r *record) {
		key := string(r.run) + " " + r.id
		switch r.kind {
		case recSignalled, recPublished:
			if came[key] {
				w.fail("%s is in the log twice", key)
			}
			came[key] = true
			data[string(r.run)+string(r.data.data)] = true
			if r.kind == recSignalled {
				w.sum.signalled++
			} else {
				w.sum.published++
			}
		case recResult:
			if r.fault != nil && r.fault.Kind == fault.Timeout {
				w.sum.timeouts++
			}
			if r.fault != nil || r.effect.class != "" || r.data.data == nil {
				return
			}
			signal := data[string(r.run)+string(r.data.data)]
			if !signal && !data[string(r.data.data)] && !w.isFork(r.run.Root()) {
				w.fail("%s %s got %s, which nobody had sent by then", r.run, r.name, r.data.data)
			}
			if signal {
				if taken[string(r.run)+string(r.data.data)] {
					w.fail("%s took the signal %s twice", r.run, r.data.data)
				}
				taken[string(r.run)+string(r.data.data)] = true
			}
		}
	})
	for _, s := range w.sent {
		if s.acked && !came[string(s.run)+" "+s.id] {
			w.fail("%s to %q was acknowledged and is lost", s.id, s.run)
		}
		if s.acked && s.run != "" && !taken[string(s.run)+string(s.data)] {
			w.sum.kept++
		}
	}
	c := newCore(&owner{w: w.world, alive: true}, w.catalog, [8]byte{})
	if err := foldLog(c, w.log); err != nil {
		w.fail("%v", err)
	}
	left := 0
	for _, t := range c.roots {
		left += len(t.waits)
	}
	if n := left + len(c.waits.topics) + len(c.waits.wild) + len(c.talks); n > 0 {
		w.fail("all runs have ended, and %d waits, %d topics, %d patterns and %d conversations are left",
			left, len(c.waits.topics), len(c.waits.wild), len(c.talks))
	}
}

func (w *waiting) isFork(id polity.RunID) bool {
	return slices.ContainsFunc(w.clients, func(c *simClient) bool { return c.id == id && c.fork != nil })
}

// checkPauses wants nothing to begin between a pause and what ends it.
func (w *waiting) checkPauses() {
	paused := map[polity.RunID]bool{}
	w.records(func(commit int, r *record) {
		root := r.run.Root()
		switch r.kind {
		case recPaused:
			paused[root] = true
			w.sum.paused++
		case recResumed:
			if paused[root] {
				w.sum.resumed++
			}
			delete(paused, root)
		case recCancel:
			if r.run == root {
				delete(paused, root)
			}
		case recOpened, recBegan:
			if paused[root] {
				w.fail("commit %d: %s begins something while it is paused", commit, r.run)
			}
		}
	})
}

// checkConversations wants one run of a conversation at work at a time, in the order of opening.
func (w *waiting) checkConversations() {
	talk := map[polity.RunID]string{}
	waits := map[string][]polity.RunID{}
	w.records(func(commit int, r *record) {
		switch {
		case r.kind == recOpened && r.conversation != "":
			talk[r.run] = r.conversation
			if r.queued == (len(waits[r.conversation]) == 0) {
				w.fail("commit %d: %s is queued: %t, behind %v", commit, r.run, r.queued, waits[r.conversation])
			}
			waits[r.conversation] = append(waits[r.conversation], r.run)
			if r.queued {
				w.sum.queued++
				if r.arrival != polity.ArrivalQueue {
					w.sum.overtaken++
				}
			}
		case r.kind == recFinished && talk[r.run] != "":
			waits[talk[r.run]] = slices.DeleteFunc(waits[talk[r.run]], func(id polity.RunID) bool { return id == r.run })
		case talk[r.run.Root()] != "" && (r.kind == recResult || r.kind == recBegan || r.kind == recOpened):
			if first := waits[talk[r.run.Root()]][0]; first != r.run.Root() {
				w.fail("commit %d: %s works before %s has ended", commit, r.run, first)
			}
		}
	})
}
