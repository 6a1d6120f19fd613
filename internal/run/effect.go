package run

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/journal"
	"polity.run/trace"
)

// Effect is a command that is to be done now.
type Effect struct {
	Run     polity.RunID
	Name    string
	Attempt int
	Verb    polity.Verb
	To      string // agent, tool or model
	Agent   string // who wants it
	Skill   string
	Input   json.RawMessage
	Folder  string // the only folder it may read; "" for none
	Release Digest
	Class   polity.Effect
	Since   time.Time // when it was decided; it began no earlier
	// Mail is the envelope of the message that the run is the delivery of; nil for none.
	Mail json.RawMessage

	// Receipt is set by Do: what the destination gave as proof. One that polity.CheckReceipt refuses is not kept.
	Receipt json.RawMessage

	part    *Partition
	pending *pending
	later   bool
}

// Later says that the result will come through the returned function, and not from what Do returns: the effect
// waits for something without a goroutine. It is called before Do returns; the function once, from anywhere, also when
// the context ends.
func (e *Effect) Later() func(json.RawMessage, polity.Usage, error) {
	e.later = true
	part, q := e.part, e.pending
	return func(data json.RawMessage, usage polity.Usage, err error) {
		part.report(q, result{data: data, usage: usage}, err)
	}
}

// Key is the effect's idempotency key. Every attempt of a keyed effect has the same one: who asks again after a
// time-out does not know whether the first attempt was done, and the destination does.
func (e *Effect) Key() string {
	if e.Class == polity.EffectKeyed {
		return polity.EffectKey(e.Run, e.Name, 1)
	}
	return polity.EffectKey(e.Run, e.Name, e.Attempt)
}

// flight is an effect on its way: its context, which costs nothing until somebody asks it for a channel, and its place
// among those that share its time limit.
type flight struct {
	mu    sync.Mutex
	done  chan struct{}
	cause error

	of       *pending        // itself, once it has begun
	exported bool            // spans are
	mail     json.RawMessage // Effect.Mail: the loop's own part of the run does not keep it for ever

	line       *line
	prev, next *pending
	since      time.Time
}

var _ context.Context = (*flight)(nil)

// Deadline says that there is none: the kernel keeps the time.
func (f *flight) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done returns the channel that is closed when the effect is to end.
func (f *flight) Done() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done == nil {
		f.done = make(chan struct{})
		if f.cause != nil {
			close(f.done)
		}
	}
	return f.done
}

// Err returns context.Canceled once the effect is to end.
func (f *flight) Err() error {
	if f.why() != nil {
		return context.Canceled
	}
	return nil
}

// Value says where in a trace the effect is done, and what lines of the log are about, when somebody asks. Nothing else is passed to an effect
// but its arguments.
func (f *flight) Value(key any) any {
	if f.of == nil {
		return nil
	}
	switch key.(type) {
	case trace.ContextKey:
		return f.of.place(f.exported)
	case journal.ContextKey:
		return f.of.about()
	default:
		return nil
	}
}

func (f *flight) why() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cause
}

func (f *flight) cancel(cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause != nil {
		return
	}
	f.cause = cause
	if f.done != nil {
		close(f.done)
	}
}

// line holds the effects in flight that have the same time limit, in the order of their beginning: the first is the first to
// be late, and one that ends leaves from wherever it stands.
type line struct {
	limit       time.Duration
	first, last *pending
	size        int
}

func (l *line) join(p *pending, now time.Time) {
	l.size++
	p.flight.line, p.flight.since, p.flight.prev = l, now, l.last
	if l.last != nil {
		l.last.flight.next = p
	} else {
		l.first = p
	}
	l.last = p
}

func (p *pending) leave() {
	f := &p.flight
	l := f.line
	if l == nil {
		return
	}
	if f.prev != nil {
		f.prev.flight.next = f.next
	} else {
		l.first = f.next
	}
	if f.next != nil {
		f.next.flight.prev = f.prev
	} else {
		l.last = f.prev
	}
	l.size--
	f.line, f.prev, f.next = nil, nil, nil
}

// start does an effect in a goroutine of its own.
func (p *Partition) start(q *pending) {
	limit := q.work.Timeout
	switch {
	case q.asking:
		limit = q.work.Asks
	case limit == 0:
		limit = timeoutDefault
	}
	l := p.lines[limit]
	if l == nil {
		l = &line{limit: limit}
		p.lines[limit] = l
	}
	q.flight.of, q.flight.exported = q, p.cfg.Exported
	if r := q.run; r.parent == nil && r.tree.mail != nil {
		q.flight.mail = r.tree.mail.Envelope
	}
	l.join(q, p.core.now)
	select {
	case p.jobs <- q: // somebody is idle, with a stack that has grown already
	default:
		p.effects.Add(1)
		go p.work(q)
	}
}

// work does effects until there are more idle goroutines than are worth keeping.
func (p *Partition) work(q *pending) {
	defer p.effects.Done()
	for {
		p.do(q)
		if p.idle.Add(1) > idleMax {
			p.idle.Add(-1)
			return
		}
		var more bool
		if q, more = <-p.jobs; !more {
			return
		}
		p.idle.Add(-1)
	}
}

// late asks effects to end whose time is over, and returns when the next one's is.
func (p *Partition) late(now time.Time) (next time.Time) {
	for _, l := range p.lines {
		for l.first != nil && now.Sub(l.first.flight.since) >= l.limit {
			q := l.first
			q.leave()
			p.abandon(q, fault.Timeout.New("%s: no answer within %s", q.cmd.To, l.limit))
		}
		if l.first != nil {
			next = sooner(next, l.first.flight.since.Add(l.limit))
		}
	}
	return next
}

func (p *Partition) do(q *pending) {
	r := q.run
	e := effects.Get().(*Effect)
	*e = Effect{
		Run: r.id, Name: q.cmd.Name, Attempt: q.cmd.Attempt, Verb: q.cmd.Do, To: q.cmd.To, Agent: r.agent,
		Skill: q.cmd.Skill, Input: q.cmd.Input, Folder: r.folder, Release: r.release, Class: q.work.Class, Since: q.since, Mail: q.flight.mail,
		part: p, pending: q,
	}
	if q.asking {
		f, err := p.cfg.Ask(&q.flight, e)
		if err == nil && f.Verdict == polity.VerdictUnknown && f.Reason != "" {
			err = fault.Unknown.New("%s", f.Reason)
		}
		p.report(q, result{data: f.Output, receipt: f.Receipt, verdict: f.Verdict}, err)
	} else if data, usage, err := p.cfg.Do(&q.flight, e); !e.later {
		p.report(q, result{data: data, usage: usage, receipt: e.Receipt}, err)
	}
	*e = Effect{}
	effects.Put(e)
}

// effects are used again: Do keeps none.
var effects = sync.Pool{New: func() any { return new(Effect) }}

// report hands an effect's result to the loop.
func (p *Partition) report(q *pending, res result, err error) {
	if err != nil {
		if why := q.flight.why(); why != nil {
			err = why
		}
	}
	if p.ctx.Err() != nil {
		return // the node stops: whatever the effect says now is of its being stopped
	}
	p.post(input{effect: q, result: q.outcome(res, err)})
}

// outcome is what the log is told of an effect. An external one that did not end well may have done its work, and
// must not be done again unless somebody knows better.
func (q *pending) outcome(res result, err error) result {
	f := fault.Of(err)
	if f != nil && !q.asking && q.work.Class == polity.EffectExternal && (f.Kind.Retryable() || f.Kind == fault.Cancelled) {
		f = fault.Of(fault.Unknown.New("%s; it may have had its effect, so it is not repeated (declare its effect if it may be: none, idempotent or keyed)", f.Text))
	}
	res.fault = f
	return res
}

// abandon asks an effect to end for a reason, and no longer waits for it after a grace: what it says later is dropped.
func (p *Partition) abandon(q *pending, why error) {
	q.flight.cancel(why)
	time.AfterFunc(effectGrace, func() {
		p.post(input{effect: q, result: q.outcome(result{}, why)})
	})
}

func (p *Partition) stop(q *pending) {
	var why error = fault.Cancelled
	if q.why != nil {
		why = q.why
	}
	p.abandon(q, why)
}
