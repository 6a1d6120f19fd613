package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/internal/run"
	"polity.run/message"
	"polity.run/trace"
)

const (
	triesDefault = 3 // of a message whose run fails and may succeed later
	retryAfter   = 5 // seconds that a sender is told to wait for a full mailbox
)

// Send sends a message, and returns when it is durable for each of its recipients: an agent's is a run of it in the message's conversation, a
// topic's is an event. A live message is durable nowhere: it returns when the agents have it. Each recipient has a receipt; if none agreed the error is the
// first one's reason. It returns fault.Invalid for an envelope that is
// wrong, fault.NotFound for an agent without an address, fault.Denied where no link leads, which is recorded (Engine.Refused), fault.Full
// for a full mailbox, fault.Timeout for a message that has expired, and fault.Conflict for a key that came with something else.
func (e *Engine) Send(ctx context.Context, m message.Envelope) ([]message.Receipt, error) {
	return e.send(ctx, "", m, false)
}

// send sends a message of a run, "" for whoever is no run.
func (e *Engine) send(ctx context.Context, by polity.RunID, m message.Envelope, hold bool) ([]message.Receipt, error) {
	m = m.Or()
	if m.Live && m.Reply {
		return nil, fault.Invalid.New("message %s: a live one is answered to who waits for it: ask", m.ID)
	}
	if m.Live && hold {
		return nil, fault.Unavailable.New("message %s: it is live, and no process works on messages here; see: polity listen", m.ID)
	}
	sent, err := e.dispatch(ctx, &m, posting{by: by, hold: hold, answer: m.Reply && e.answerable(ctx, m.From)})
	for i := range sent {
		if sent[i].end != nil && m.Live {
			e.live.begin(&m, sent[i].end)
		}
	}
	return receipts(sent), err
}

// posting is how a message is sent, beside what it says.
type posting struct {
	by      polity.RunID // that sends it; "" for whoever is no run
	hold    bool         // it waits until its run is resumed
	answer  bool         // its sender is answered by a message
	answers polity.RunID // whose end it tells
}

// delivery is what became of a message for one of its recipients.
type delivery struct {
	message.Receipt
	// end waits for how the recipient's run ends, and has a live message worked on; nil for a recipient that answers nothing.
	end func(ctx context.Context) (polity.Outcome, error)
}

func receipts(all []delivery) []message.Receipt {
	list := make([]message.Receipt, len(all))
	for i := range all {
		list[i] = all[i].Receipt
	}
	return list
}

// open checks a message that is to be given to somebody, and returns with e.orgs.mu held for reading: unlock it.
func (e *Engine) open(ctx context.Context, m *message.Envelope) error {
	if err := m.Check(); err != nil {
		return err
	}
	now := e.now()
	if m.Time.IsZero() || m.Time.After(now) {
		m.Time = now.UTC()
	}
	if at := m.Expires(now); !now.Before(at) {
		return fault.Timeout.New("message %s expired at %s", m.ID, at.UTC().Format(time.RFC3339))
	}
	return e.orgs.ready(ctx)
}

// dispatch checks a message, and gives it to all of its recipients. The error is why it was given to none.
func (e *Engine) dispatch(ctx context.Context, m *message.Envelope, how posting) ([]delivery, error) {
	if err := e.open(ctx, m); err != nil {
		return nil, err
	}
	targets := e.orgs.targets(m)
	e.orgs.mu.RUnlock()
	if len(targets) == 0 {
		return nil, fault.Invalid.New("message %s: it is for nobody but its sender", m.ID)
	}
	sent := make([]delivery, len(targets))
	if len(targets) == 1 || m.Live {
		for i := range targets {
			sent[i] = e.deliver(ctx, m, &targets[i], how)
		}
	} else {
		var all sync.WaitGroup
		for i := range targets {
			all.Go(func() { sent[i] = e.deliver(ctx, m, &targets[i], how) })
		}
		all.Wait()
	}
	for i := range sent {
		if sent[i].Fault == nil {
			return sent, nil
		}
	}
	return sent, sent[0].Fault
}

// deliver gives a message to one target.
func (e *Engine) deliver(ctx context.Context, m *message.Envelope, t *target, how posting) delivery {
	d := delivery{Receipt: message.Receipt{To: t.to, Performative: polity.Agree}}
	var err error
	switch {
	case m.Live:
		var w liveWork
		if w, err = e.offer(m, t); err == nil {
			d.end = func(ctx context.Context) (polity.Outcome, error) { return w.do(ctx, m), nil }
		}
	case t.err != nil:
		err = e.notLinked(m, t)
	case t.to.Kind == message.Topic:
		err = e.topics.publish(ctx, how.by, bus.Event{Topic: t.to.Name, ID: eventID(m), Data: m.Data})
	case m.Performative == message.Cancel:
		id := messageRun(m.From, t.to, m.Correlation)
		d.Run = id
		d.end = func(ctx context.Context) (polity.Outcome, error) { return e.part.Wait(ctx, id) }
		err = e.part.Cancel(ctx, id, "message "+m.ID+" of "+m.From.String()+" takes it back")
	default:
		var q run.Request
		if q, err = e.mail(ctx, m, t, how); err == nil {
			d.Run = q.ID
			d.end, err = e.part.Begin(ctx, q)
		}
	}
	if err != nil {
		r := refusal(t.to, err)
		r.Run = d.Run
		return delivery{Receipt: r}
	}
	return d
}

// offer has an agent take a live message, which is worked on when it is told to.
func (e *Engine) offer(m *message.Envelope, t *target) (liveWork, error) {
	switch {
	case t.err != nil:
		return liveWork{}, e.notLinked(m, t)
	case t.to.Kind == message.Topic:
		return liveWork{}, fault.Invalid.New("message %s: what is published on a topic is kept; leave live out", m.ID)
	}
	return e.live.offer(e.catalog, m, t)
}

// notLinked is why a target is none. That no link leads there is recorded.
func (e *Engine) notLinked(m *message.Envelope, t *target) error {
	if errors.Is(t.err, fault.Denied) {
		e.refused(m, t.to)
	}
	return t.err
}

// refusal is the receipt of whoever does not take a message.
func refusal(to message.Address, reason error) message.Receipt {
	r := message.Receipt{To: to, Performative: polity.Refuse, Fault: fault.Of(reason)}
	if r.Fault.Kind == fault.Full {
		r.RetryAfter = retryAfter
	}
	return r
}

// messageRun is the run that delivers a message: the same sender and key are the same run of the recipient.
func messageRun(from, to message.Address, key string) polity.RunID {
	return polity.NewRunID(0, []byte("message\x00"+from.String()+"\x00"+to.String()+"\x00"+key))
}

// eventID is the ID of the event that a message to a topic is.
func eventID(m *message.Envelope) string {
	sum := sha256.Sum256([]byte(m.From.String() + "\x00" + m.Key))
	return hex.EncodeToString(sum[:16])
}

// mail makes the request for the run that delivers a message.
func (e *Engine) mail(ctx context.Context, m *message.Envelope, t *target, how posting) (run.Request, error) {
	if !m.IsJSON() {
		return run.Request{}, fault.Invalid.New("message %s: data is of %s; agents take JSON", m.ID, m.DataType)
	}
	head := *m
	head.Data = nil
	envelope, err := head.MarshalJSON()
	if err != nil {
		return run.Request{}, err
	}
	q, err := e.fill(ctx, Request{
		ID: messageRun(m.From, t.to, m.Key), Release: t.release, Agent: t.to.Name, Skill: m.Skill, Input: m.Data, Conversation: talk(m),
	})
	if err == nil && how.by != "" && q.Key == "" { // what a run about a person says is about them
		q.Key, _, err = e.part.SealFor(ctx, how.by, nil)
	}
	if err == nil && !q.Caller.Valid() {
		q.Caller, err = trace.Parse(m.TraceParent, m.TraceState)
	}
	q.From, q.Hold = m.From.Name, how.hold
	q.Mail = &run.Mail{
		Priority: int(m.Priority), Tries: triesDefault, Expires: m.Expires(m.Time), Deadline: m.Deadline, Envelope: envelope, Answer: how.answer, Answers: how.answers,
	}
	return q, err
}

// send sends a message of a run, once there is a node. It is one hop further than the message that the run was opened by. The answers to a live one that wants them
// are waited for; another one's go to its sender's mailbox.
func (p *publisher) send(ctx context.Context, by polity.RunID, m message.Envelope) ([]message.Receipt, []message.Envelope, error) {
	if p.ready == nil {
		return nil, nil, fault.Unavailable.New("message: nobody can be told outside of a node; see: polity send")
	}
	select {
	case <-p.ready:
	case <-ctx.Done():
		return nil, nil, fault.Cancelled.New("message: %w", context.Cause(ctx))
	}
	cause, err := p.engine.part.Mailed(ctx, by)
	if err != nil {
		return nil, nil, err
	}
	if cause != nil {
		var e message.Envelope
		if err := e.UnmarshalJSON(cause); err != nil {
			return nil, nil, fault.Damaged.New("message: %s: %w", by, err)
		}
		m.Hops, m.TraceParent, m.TraceState, m.Causation = e.Hops+1, e.TraceParent, e.TraceState, e.ID
	}
	switch {
	case m.Live && m.Reply:
		return p.engine.Ask(ctx, m, message.Join{})
	case m.Reply && !p.engine.answerable(ctx, m.From):
		return nil, nil, fault.Invalid.New("message %s: %s has no mailbox that an answer could come to; leave reply out", m.ID, m.From)
	}
	receipts, err := p.engine.send(ctx, by, m, false)
	return receipts, nil, err
}

// talk is the key of a message's conversation with each of its recipients.
func talk(m *message.Envelope) string {
	key := m.Conversation
	if key == m.ID {
		key = m.Key // of its own: the same message again is of the same one
	}
	if key = m.From.String() + " " + key; len(key) <= message.TextMax {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return m.From.String() + " " + hex.EncodeToString(sum[:])
}

// now is the time as runs have it.
func (e *Engine) now() time.Time { return e.catalog.now() }

func (c *catalog) now() time.Time {
	if c.cfg.Now != nil {
		return c.cfg.Now()
	}
	return time.Now()
}
