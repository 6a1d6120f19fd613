package run

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
)

// Limits of messages.
const (
	mailAtOnce  = 16               // messages that an agent works on at once, if its program says nothing else
	mailMax     = 10_000           // messages that wait for an agent
	mailAgeing  = 30 * time.Second // a message that has waited so long counts as one priority higher
	mailRetry   = time.Second      // before the second try; it doubles
	retryMax    = time.Minute
	mailTries   = 20       // at most, whatever a message says
	envelopeMax = 16 << 10 // bytes of Mail.Envelope
)

// Mail makes a run the delivery of a message: it is taken in the order of its conversation, by priority among conversations, not after it has
// expired, and what fails and may succeed later is tried again. The message's data is the run's input.
type Mail struct {
	Priority int       // 1 to 4
	Expires  time.Time // it does not begin, and is not tried again, after it
	Deadline time.Time // if not zero, the run's wall time ends then
	Tries    int       // 1 to mailTries
	Envelope json.RawMessage
}

// PriorityMax is the highest priority of a Mail.
const PriorityMax = 4

func (m *Mail) check() error {
	switch {
	case m.Priority < 1 || m.Priority > PriorityMax:
		return fault.Invalid.New("run: open: priority %d of a message; want 1 to %d", m.Priority, PriorityMax)
	case m.Tries < 1 || m.Tries > mailTries:
		return fault.Invalid.New("run: open: %d tries of a message; want 1 to %d", m.Tries, mailTries)
	case len(m.Envelope) > envelopeMax:
		return fault.Invalid.New("run: open: an envelope of %d bytes; the most is %d", len(m.Envelope), envelopeMax)
	}
	return nil
}

// bare is m without its envelope.
func (m *Mail) bare() *Mail {
	return &Mail{Priority: m.Priority, Expires: m.Expires, Deadline: m.Deadline, Tries: m.Tries}
}

// appendMail writes m.
//
//	mail = priority:1  tries:1  expires:8  deadline:8  envelope:payload
func appendMail(b []byte, m *Mail) []byte {
	b = append(b, byte(m.Priority), byte(m.Tries))
	b = appendTime(b, m.Expires)
	var deadline int64
	if !m.Deadline.IsZero() {
		deadline = m.Deadline.UnixNano()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(deadline))
	return appendPayload(b, payload{data: m.Envelope})
}

func (r *reader) mail() *Mail {
	m := &Mail{Priority: int(r.byte()), Tries: int(r.byte()), Expires: r.time()}
	if deadline := r.time(); deadline.UnixNano() != 0 {
		m.Deadline = deadline
	}
	m.Envelope = bytes.Clone(r.payload().data)
	r.bad = r.bad || m.check() != nil
	return m
}

// tray is the mail of one agent that has not ended.
type tray struct {
	agent string
	busy  int      // trees that are being worked on, or about to be
	total int      // all
	next  trayHeap // trees whose turn it is in their conversation; some of them may have ended
	dirty bool     // there may be something to begin with: it is in core.dirty
}

// trayHeap is ordered by priority and age, which both grow with time alike: so the order does not change.
type trayHeap []*tree

func (h trayHeap) Len() int           { return len(h) }
func (h trayHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h trayHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *trayHeap) Push(x any)        { *h = append(*h, x.(*tree)) }
func (h *trayHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}

// before says which of two waiting messages is taken first.
func (t *tree) before(o *tree) bool {
	return cmp.Or(t.summary.Opened.Add(-time.Duration(t.mail.Priority)*mailAgeing).Compare(o.summary.Opened.Add(-time.Duration(o.mail.Priority)*mailAgeing)),
		cmp.Compare(t.first, o.first), cmp.Compare(t.id, o.id)) < 0
}

// post says whether an agent takes one more message, and whether it has to wait.
func (c *core) post(q *request, program *Program, opened *record) error {
	opened.mail, opened.from = q.mail, q.from
	opened.queued = opened.queued || q.hold
	t := c.trays[q.agent]
	if t == nil {
		return nil
	}
	if waiting := t.total - t.busy; waiting >= mailMax {
		return fault.Full.New("run: %d messages wait for %s, which is the most; nothing was kept: send it again in some seconds", waiting, q.agent)
	}
	opened.queued = opened.queued || t.busy >= program.atOnce() || len(t.next) > 0
	return nil
}

func (p *Program) atOnce() int {
	if p.AtOnce > 0 {
		return p.AtOnce
	}
	return mailAtOnce
}

// shelve puts a tree that was opened into its agent's tray.
func (c *core) shelve(t *tree) {
	agent := t.talk.agent
	if c.trays == nil {
		c.trays = map[string]*tray{}
	}
	if c.trays[agent] == nil {
		c.trays[agent] = &tray{agent: agent}
	}
	t.tray = c.trays[agent]
	t.tray.total++
}

// ready tells that it is a tree's turn in its conversation. It is taken when the agent has time: see admit.
func (c *core) ready(t *tree) {
	if t.listed || t.taken {
		return
	}
	t.listed = true
	heap.Push(&t.tray.next, t)
	c.soil(t.tray)
}

// soil has settle look at a tray.
func (c *core) soil(t *tray) {
	if c.live && !t.dirty {
		t.dirty = true
		c.dirty = append(c.dirty, t)
	}
}

// admit lets agents that have time begin with their next messages.
func (c *core) admit() {
	for _, t := range c.dirty {
		t.dirty = false
		for len(t.next) > 0 {
			next := t.next[0]
			waits := next.queued && (next.root != nil || next.asleep) && !next.idle
			if waits {
				c.wake(next)
				waits = next.root != nil && next.root.closing == nil
			}
			if waits && t.busy >= next.atOnce(c) {
				break
			}
			heap.Pop(&t.next)
			next.listed = false
			if waits {
				c.occupy(next)
				c.enqueue(&record{kind: recResumed, run: next.id})
			}
		}
	}
	c.dirty = c.dirty[:0]
}

// atOnce is how many messages the agent of a waiting tree works on at once.
func (t *tree) atOnce(c *core) int {
	program, err := c.catalog.Program(t.root.release, t.root.agent)
	if err != nil {
		return mailAtOnce
	}
	return program.atOnce()
}

// occupy notes that an agent works on a message.
func (c *core) occupy(t *tree) {
	if t.tray != nil && !t.taken {
		t.taken = true
		t.tray.busy++
	}
}

// reshelve notes whether an agent works on a message that a checkpoint could not tell that of.
func (c *core) reshelve(t *tree) {
	if t.tray == nil {
		return
	}
	if t.taken && t.queued {
		t.taken = false
		t.tray.busy--
	} else if !t.queued {
		c.occupy(t)
	}
}

// unshelve takes a tree that has ended out of its tray.
func (c *core) unshelve(t *tree) {
	box := t.tray
	if box == nil {
		return
	}
	t.tray = nil
	box.total--
	if t.taken {
		box.busy--
	}
	if box.total == 0 {
		delete(c.trays, box.agent)
		return
	}
	c.soil(box)
}

// lapse ends a message that has expired before it began. Until it has ended it counts as one that is worked on: a tree that is not queued does.
func (c *core) lapse(t *tree) {
	c.occupy(t)
	t.queued, t.input = false, payload{}
	c.close(t.root, polity.Outcome{Status: polity.StatusFailed, Fault: fault.Of(fault.Timeout.New(
		"the message expired at %s, before %s began with it", t.mail.Expires.UTC().Format(time.RFC3339), t.root.agent))}, requestHash{})
}

// due bounds a message's wall time by its deadline.
func (m *Mail) due(wall polity.Duration, now time.Time) polity.Duration {
	if m.Deadline.IsZero() {
		return wall
	}
	return min(wall, polity.Duration(max(m.Deadline.Sub(now), time.Nanosecond)))
}

// courier delivers a message: it asks the agent, again after a while if that failed and may succeed later, and ends as the agent does.
type courier struct{ mail *Mail }

// delivery is the courier's state.
type delivery struct {
	asked   polity.Event // the opening
	attempt int
}

func (d *delivery) ask() []polity.Command {
	cmd := polity.Ask("do", d.asked.Agent, d.asked.Skill, d.asked.Data)
	cmd.Attempt = d.attempt
	return []polity.Command{cmd}
}

func (k courier) Decide(state any, e polity.Event) (any, []polity.Command) {
	if e.Kind == polity.Opened {
		d := &delivery{asked: e, attempt: 1}
		d.asked.Data = bytes.Clone(e.Data)
		return d, d.ask()
	}
	d := state.(*delivery)
	switch {
	case e.Name == "wait" && e.Fault != nil:
		return d, []polity.Command{polity.Fail(e.Fault)}
	case e.Name == "wait":
		d.attempt++
		return d, d.ask()
	case e.Fault == nil:
		return d, []polity.Command{polity.Finish(e.Data)}
	}
	wait := pause(e.Run, d.attempt)
	if e.Fault.Kind.Retryable() && d.attempt < k.mail.Tries && e.At.Add(wait).Before(k.mail.Expires) {
		cmd := polity.Sleep("wait", wait)
		cmd.Attempt = d.attempt
		return d, []polity.Command{cmd}
	}
	f := e.Fault
	if d.attempt > 1 {
		f = &fault.Error{Kind: f.Kind, Text: fault.Failed.New("given up after %d tries: %s", d.attempt, f.Text).Error(), Bound: f.Bound}
	}
	return d, []polity.Command{polity.FailWith(f, e.Data)}
}

// pause is how long is waited after an attempt: longer each time, and by up to a half more, which differs from message to message.
func pause(run polity.RunID, attempt int) time.Duration {
	wait := min(mailRetry<<min(attempt-1, 16), retryMax)
	sum := sha256.Sum256(append([]byte(run), byte(attempt)))
	return wait + time.Duration(uint64(wait/2)*uint64(sum[0])/256)
}

// Mailed returns the envelope of the message that a run, or one above it, was opened by; nil if it was none.
func (p *Partition) Mailed(ctx context.Context, run polity.RunID) (json.RawMessage, error) {
	return ask(ctx, p, func(c *core, reply func(json.RawMessage, error)) {
		if t := c.tree(run.Root()); t != nil && t.mail != nil {
			c.wake(t) // a sleeping one does not keep it
			reply(t.mail.Envelope, nil)
			return
		}
		reply(nil, nil)
	})
}

// Mailbox is what an agent has not done yet of the messages that it was sent.
type Mailbox struct {
	Agent   string
	Busy    int // begun
	Waiting int
}

// mailboxes lists those that hold something, in the order of their agents.
func (c *core) mailboxes() []Mailbox {
	list := make([]Mailbox, 0, len(c.trays))
	for _, t := range c.trays {
		list = append(list, Mailbox{t.agent, t.busy, t.total - t.busy})
	}
	slices.SortFunc(list, func(a, b Mailbox) int { return cmp.Compare(a.Agent, b.Agent) })
	return list
}
