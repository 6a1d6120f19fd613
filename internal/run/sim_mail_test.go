package run

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
)

var mailCatalog = programs{
	deciders: map[string]polity.Decider{"branch": branch{}}, asks: simCatalog.asks, atOnce: 2,
	effects: map[string]polity.Effect{
		"reader": polity.EffectNone, "function": polity.EffectIdempotent, "external": polity.EffectExternal, "keyed": polity.EffectKeyed, "asked": polity.EffectExternal,
	},
}

// soon is how many commits it may take what was decided to be in the log: packs are small here.
const soon = 6

// mailStats counts what must have happened in the seeds together.
type mailStats struct {
	done, waited, lapsed, retried, passed, cancelled, failed int

	told map[string]int // see checkpointed
}

func TestSimulatedMessages(t *testing.T) {
	sum := mailStats{told: map[string]int{}}
	if *simSeed != 0 {
		simulateMail(t, *simSeed, true, &sum)
		return
	}
	for seed := range uint64(*simSeeds) {
		simulateMail(t, seed+1, false, &sum)
	}
	t.Logf("%d seeds: %+v", *simSeeds, sum)
	if sum.done == 0 || sum.waited == 0 || sum.lapsed == 0 || sum.retried == 0 || sum.passed == 0 || sum.cancelled == 0 || sum.failed == 0 {
		t.Errorf("something never happened: %+v", sum)
	}
	if missing := missingIn(sum.told, "message begun", "message queued", "conversation"); len(missing) > 0 {
		t.Errorf("never happened: %v", missing)
	}
}

// TestSimulatedMessagesHere plays seeds that once found mistakes.
func TestSimulatedMessagesHere(t *testing.T) {
	for seed, found := range map[uint64]string{
		371:  "a message that was to begin went to sleep while that waited for room, and did not begin",
		1180: "one that had expired counted as begun after a start from a checkpoint, and not after one from the log",
	} {
		t.Run(found, func(t *testing.T) { simulateMail(t, seed, false, &mailStats{told: map[string]int{}}) })
	}
}

// mailing is a world in which agents are sent messages.
type mailing struct {
	*world
	sum *mailStats
}

func simulateMail(t *testing.T, seed uint64, print bool, sum *mailStats) {
	w := mailing{newWorld(t, seed, print, mailCatalog), sum}
	w.answers = func(e *simEffect) json.RawMessage { return json.RawMessage(fmt.Sprintf(`{"did":%q}`, e.p.cmd.Name)) }
	w.opens("branch", 4)
	w.opens("function", 4)
	w.opens("reader", 4)
	for i, c := range w.clients {
		c.id = polity.NewRunID(0, fmt.Appendf(nil, "%d/m%d", seed, i))
		c.from = fmt.Sprint("s", w.rng.IntN(2))
		c.conversation = fmt.Sprint(c.from, " talk", w.rng.IntN(4))
		c.mail = &Mail{Priority: 1 + w.rng.IntN(PriorityMax), Tries: 1 + w.rng.IntN(3), Expires: w.now.Add(time.Hour), Envelope: json.RawMessage(`{}`), Answer: i%3 > 0}
		if i%3 == 0 && i > 0 { // it answers one that may or may not be owed
			c.mail.Answers = w.clients[i-1].id
		}
		if w.rng.IntN(4) == 0 {
			c.mail.Expires = w.now.Add(time.Duration(w.rng.IntN(4000)) * time.Millisecond)
		}
		if w.rng.IntN(4) == 0 {
			c.mail.Deadline = c.mail.Expires.Add(time.Duration(w.rng.IntN(9000)) * time.Millisecond)
		}
	}
	w.live()
	w.check()
	for name, n := range w.told {
		sum.told[name] += n
	}
}

// sent is a message as the log tells of it.
type sent struct {
	opened         *record
	at             time.Time
	number         int
	ready          int // the commit since which it is its turn in its conversation; 0 for not yet
	begun, resumed bool
	lapsed         bool // it has expired, and is about to end
	late           bool // it began after it had expired
}

// check reads the log: an agent works on two messages at a time, one of a conversation after the other in the order of opening; nothing begins late, and
// what waits longest with the highest priority is next.
func (w *mailing) check() {
	all := map[polity.RunID]*sent{}
	var f frame
	n := 0
	for commit, e := range w.log {
		if err := f.decode(e.data); err != nil {
			w.fail("%v", err)
		}
		for i := range f.records {
			r := f.records[i]
			m := all[r.run]
			switch {
			case r.kind == recOpened && r.mail != nil:
				n++
				m = &sent{opened: &r, at: f.at, number: n, begun: !r.queued}
				all[r.run] = m
				w.turn(all, m, commit)
				if m.begun {
					w.begins(all, m)
				} else {
					w.sum.waited++
				}
			case r.kind == recResumed && m != nil:
				w.next(all, m, commit)
				m.begun, m.resumed, m.late = true, true, !f.at.Before(m.opened.mail.Expires)
				w.begins(all, m)
			case r.kind == recExpired && m != nil && !m.begun:
				m.lapsed = true
			case r.kind == recResult && r.name == "wait" && m != nil && r.fault == nil:
				w.sum.retried++
			case r.kind == recFinished && m != nil:
				w.ends(m, &r)
				delete(all, r.run)
				w.turn(all, m, commit)
			}
		}
	}
	c := newCore(&owner{w: w.world, alive: true}, w.catalog, [8]byte{})
	if err := foldLog(c, w.log); err != nil {
		w.fail("%v", err)
	}
	w.owed(c)
	if len(c.trays)+len(c.talks) > 0 {
		w.fail("all messages have ended, and %d trays and %d conversations are left", len(c.trays), len(c.talks))
	}
}

// owed wants every message that wants an answer and has ended to be owed, unless one that answers it was opened after that.
func (w *mailing) owed(c *core) {
	owed, wants := map[polity.RunID]bool{}, map[polity.RunID]bool{}
	var f frame
	for _, e := range w.log {
		if err := f.decode(e.data); err != nil {
			w.fail("%v", err)
		}
		for _, r := range f.records {
			switch {
			case r.kind == recOpened && r.mail != nil:
				wants[r.run] = r.mail.Answer
				delete(owed, r.mail.Answers)
			case r.kind == recFinished && wants[r.run]:
				owed[r.run] = true
			}
		}
	}
	for _, t := range c.debts {
		if !owed[t.id] {
			w.fail("%s is owed, and the log does not say so", t.id)
		}
	}
	if len(c.debts) != len(owed) {
		w.fail("%d messages are owed, and by the log it is %d", len(c.debts), len(owed))
	}
}

// begins wants room for a message, and nobody before it.
func (w *mailing) begins(all map[polity.RunID]*sent, m *sent) {
	busy := 0
	for id, o := range all {
		if o.begun && o.opened.agent == m.opened.agent {
			busy++
		}
		if o != m && o.opened.agent == m.opened.agent && o.opened.conversation == m.opened.conversation && o.number < m.number {
			w.fail("%s begins before %s of the same conversation has ended", m.opened.run, id)
		}
	}
	if busy > w.catalog.atOnce {
		w.fail("%s works on %d messages at once", m.opened.agent, busy)
	}
}

// next wants nobody to have been passed over who waited already when the one before was let in.
func (w *mailing) next(all map[polity.RunID]*sent, m *sent, commit int) {
	rank := func(s *sent) time.Time { return s.at.Add(-time.Duration(s.opened.mail.Priority) * mailAgeing) }
	for id, o := range all {
		switch {
		case o == m || o.begun || o.lapsed || o.opened.agent != m.opened.agent || o.ready == 0 || w.cancelling(id):
		case rank(m).Before(rank(o)) && m.number > o.number:
			w.sum.passed++
		case rank(o).Before(rank(m)) && o.ready < commit-soon:
			w.fail("commit %d: %s (%d, %s) begins, and %s (%d, %s) has waited since commit %d", commit, m.opened.run, m.opened.mail.Priority,
				m.at.Format("05.000"), id, o.opened.mail.Priority, o.at.Format("05.000"), o.ready)
		}
	}
}

// turn tells the first of a message's conversation that it is its turn.
func (w *mailing) turn(all map[polity.RunID]*sent, m *sent, commit int) {
	var first *sent
	for _, o := range all {
		if o.opened.agent == m.opened.agent && o.opened.conversation == m.opened.conversation && (first == nil || o.number < first.number) {
			first = o
		}
	}
	if first != nil && first.ready == 0 {
		first.ready = commit
	}
}

// cancelling says that a client wants a message taken back: it may be on its way out.
func (w *mailing) cancelling(id polity.RunID) bool {
	return slices.ContainsFunc(w.clients, func(c *simClient) bool { return c.id == id && c.cancelled })
}

func (w *mailing) ends(m *sent, r *record) {
	switch {
	case m.late && (r.status == polity.StatusCompleted || r.usage != (polity.Usage{})):
		w.fail("%s had expired at %s and was begun with", r.run, m.opened.mail.Expires)
	case r.status == polity.StatusCompleted:
		w.sum.done++
	case r.status == polity.StatusCancelled:
		w.sum.cancelled++
	case r.fault != nil && r.fault.Kind == fault.Timeout && r.usage == (polity.Usage{}):
		w.sum.lapsed++
	default:
		w.sum.failed++
	}
	if m.begun && m.opened.queued && !m.resumed {
		w.fail("%s began without being told to", r.run)
	}
}
