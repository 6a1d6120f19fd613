package run

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/trace"
)

// Request asks for a run.
type Request struct {
	ID      polity.RunID
	Release Digest // of the document that holds the agent; it is a blob already
	Agent   string
	Skill   string
	Input   json.RawMessage
	Folder  string
	Bounds  polity.Bounds // zero fields take the defaults
	// Conversation, if not empty, is the key of the conversation with the agent that this is part of: what becomes of it while an earlier
	// one is at work its skill says.
	Conversation string
	Key          string // of Config.Keys, that its payloads are enciphered with; "" for none
	// Caller is where in a trace it is asked for, if that is anywhere. It is no part of what the run is.
	Caller trace.Context
	// Mail, if set, makes the run the delivery of a message of From. It has a conversation then.
	Mail *Mail
	From string
	Hold bool // the message is parked until it is resumed
}

// Open opens a run and returns when that is durable. The same request again finds the run, finished or not; the
// same ID with another content is fault.Conflict. It returns fault.Invalid for a bad request, fault.Full if there is no room for new
// runs, and fault.Fenced or fault.Unavailable when it is not known whether the run was opened: ask again with the same ID.
func (p *Partition) Open(ctx context.Context, r Request) error {
	q, err := p.request(&r)
	if err != nil {
		return err
	}
	return p.call(ctx, func(c *core, done func(error)) { c.open(q, done, nil) })
}

// Run opens a run as Open does and waits for its end.
func (p *Partition) Run(ctx context.Context, r Request) (polity.Outcome, error) {
	q, err := p.request(&r)
	if err != nil {
		return polity.Outcome{}, err
	}
	if _, err := p.stall(); err != nil {
		return polity.Outcome{}, err
	}
	ended := make(chan ending, 2) // opening and end may both fail, and neither may block the loop
	ok := p.post(input{do: as(ctx, func(c *core) {
		c.open(q, func(err error) {
			if err != nil {
				ended <- ending{err: err}
			}
		}, func(o polity.Outcome, err error) {
			select {
			case ended <- ending{o, err}:
			default: // the opening failed, and said so
			}
		})
	}), refuse: func(err error) { ended <- ending{err: err} }})
	if !ok {
		return polity.Outcome{}, p.gone()
	}
	return p.outcome(ctx, r.ID, ended)
}

// Begin opens a run as Open does, and returns what waits for its end. A run that ends in the commit that opens it has ended then: that is returned even if the context has
// ended. What waits can be called until it has returned how the run ended.
func (p *Partition) Begin(ctx context.Context, r Request) (func(context.Context) (polity.Outcome, error), error) {
	q, err := p.request(&r)
	if err != nil {
		return nil, err
	}
	ended := make(chan ending, 1)
	err = p.call(ctx, func(c *core, done func(error)) {
		c.open(q, done, func(o polity.Outcome, err error) { ended <- ending{o, err} })
	})
	return func(ctx context.Context) (polity.Outcome, error) { return p.outcome(ctx, r.ID, ended) }, err
}

type ending struct {
	outcome polity.Outcome
	err     error
}

func (p *Partition) request(r *Request) (*request, error) {
	if n, err := r.ID.Partition(); err != nil || r.ID.Parent() != "" || n != 0 {
		return nil, fault.Invalid.New("run: open: %q is not the ID of a root run on partition 0", r.ID)
	}
	if err := r.Bounds.Check(); err != nil {
		return nil, err
	}
	if len(r.Input) > payloadMax {
		return nil, fault.Invalid.New("run: open: input of %d bytes; the most is %d", len(r.Input), payloadMax)
	}
	if len(r.ID) > idMax {
		return nil, fault.Invalid.New("run: open: an ID of %d bytes; the most is %d", len(r.ID), idMax)
	}
	if len(r.Conversation) > idMax {
		return nil, fault.Invalid.New("run: open: a conversation of %d bytes; the most is %d", len(r.Conversation), idMax)
	}
	if r.Mail != nil {
		if err := r.Mail.check(); err != nil {
			return nil, err
		}
		if r.Conversation == "" || len(r.From) > idMax {
			return nil, fault.Invalid.New("run: open: a message needs a conversation, and a sender of at most %d bytes", idMax)
		}
	}
	if len(r.Agent) > textMax || len(r.Skill) > textMax || len(r.Folder) > textMax {
		return nil, fault.Invalid.New("run: open: a name is longer than %d bytes", textMax)
	}
	if err := p.room(); err != nil {
		return nil, err
	}
	return &request{
		id: r.ID, release: r.Release, agent: r.Agent, skill: r.Skill, input: nonNil(r.Input), folder: r.Folder, bounds: r.Bounds.Or(polity.DefaultBounds()),
		conversation: r.Conversation, key: r.Key, caller: r.Caller, mail: r.Mail, from: r.From, hold: r.Hold && r.Mail != nil,
	}, nil
}

// Wait returns how a run ended, as soon as it has. It returns fault.NotFound if there is no such run, and the reason if
// it is stopped.
func (p *Partition) Wait(ctx context.Context, id polity.RunID) (polity.Outcome, error) {
	ended := make(chan ending, 1)
	ok := p.post(input{do: func(c *core) {
		t := c.tree(id)
		switch {
		case c.dead != nil:
			ended <- ending{err: c.dead}
		case t == nil:
			ended <- ending{err: fault.NotFound.New("run: no run %q", id)}
		case t.stopped != nil:
			ended <- ending{err: t.stopped}
		default:
			c.wait(t, func(o polity.Outcome, err error) { ended <- ending{o, err} })
		}
	}})
	if !ok {
		return polity.Outcome{}, p.gone()
	}
	return p.outcome(ctx, id, ended)
}

// outcome returns what ended brings: what it has already also if ctx has ended.
func (p *Partition) outcome(ctx context.Context, id polity.RunID, ended chan ending) (polity.Outcome, error) {
	var e ending
	select {
	case e = <-ended:
	default:
		select {
		case e = <-ended:
		case <-ctx.Done():
			return polity.Outcome{}, contextFault(ctx, "run: wait for "+string(id))
		}
	}
	if e.err != nil || e.outcome.Status != polity.StatusRunning {
		return e.outcome, e.err
	}
	return p.stored(ctx, id)
}

// stored reads how a run ended from the log.
func (p *Partition) stored(ctx context.Context, id polity.RunID) (polity.Outcome, error) {
	at, err := p.span(ctx, id)
	if err != nil {
		return polity.Outcome{}, err
	}
	var out *polity.Outcome
	take := func(r *record) error {
		data, err := p.core.read(r.data)
		if err != nil {
			return err
		}
		f, err := p.vault.faultOf(r)
		out = &polity.Outcome{Status: r.status, Output: data, Fault: f, Usage: r.usage}
		return err
	}
	if at.log == nil {
		at.first, at.last = at.end, at.end
	}
	if at.log == nil && (at.base == nil || at.end > at.base.dropped) {
		var r *record
		if r, err = p.ends.of(ctx, p.log, at.end, id); r != nil {
			err = take(r)
		}
	}
	if err == nil && out == nil { // of a run that was imported, or forked when it had ended
		err = p.read(ctx, id, at, func(_ time.Time, _ uint64, r *record) error {
			if r.kind != recFinished || r.run != id {
				return nil
			}
			return take(r)
		})
	}
	if err == nil && out == nil {
		err = fault.Damaged.New("run: commit %d does not hold the end of %s", at.end, id)
	}
	if err != nil {
		return polity.Outcome{}, fault.Of(err).Kind.New("run %s: what became of it: %w", id, err)
	}
	return *out, nil
}

// Ready returns nil if a new run would be admitted now, and why not otherwise: fault.Full while there is too little room on the disk, and
// what Err does once the partition is down.
func (p *Partition) Ready() error {
	select {
	case <-p.ended:
		return p.gone()
	default:
	}
	if _, err := p.stall(); err != nil {
		return err
	}
	return p.room()
}

// Resume goes on with a run that is parked or paused; one that is neither stays as it is. It returns fault.NotFound if there is no such
// run, and the reason if it is stopped.
func (p *Partition) Resume(ctx context.Context, id polity.RunID) error {
	return p.call(ctx, func(c *core, done func(error)) { c.resumeRun(id, done) })
}

// Pause lets nothing new begin in a run and below it, until it is resumed, and returns when that is durable: no effect, no child, no timer. What is
// in flight ends and is recorded; its wall time stands still; signals and events that come are kept. A run that is paused stays as it is. It
// returns fault.NotFound if there is no such run, and fault.Conflict if it has ended, is ending or has not begun.
func (p *Partition) Pause(ctx context.Context, id polity.RunID, reason string) error {
	if len(reason) > textMax {
		return fault.Invalid.New("run: pause: a reason of %d bytes; the most is %d", len(reason), textMax)
	}
	return p.call(ctx, func(c *core, done func(error)) { c.pauseRun(id, reason, done) })
}

// Signal tells a run, or one below it, something, and returns when that is durable. If nothing in the run awaits it yet it is kept until
// something does, up to a bound. The same id again is the same signal: it is told once. It returns fault.NotFound if there is no such run,
// fault.Invalid for a signal that the run's agent does not declare or whose data its schema refuses, fault.Conflict if the run has ended or the
// id came with something else, and fault.Full if the run has too many signals that it has not awaited. version is that of the signal's
// registered schema for which data was written, 0 for the run's own: see Program.Told.
func (p *Partition) Signal(ctx context.Context, id polity.RunID, name, signalID string, version int, data json.RawMessage) error {
	e := &event{name: name, id: signalID, data: nonNil(data), version: version}
	if err := e.check(polity.CheckSignal); err != nil {
		return fault.Of(err).Kind.New("run: signal: %w", err)
	}
	return p.call(ctx, func(c *core, done func(error)) { c.signal(id, e, done) })
}

// Cancel asks a run and everything below it to end, and returns when that is durable. What has something to undo undoes it first: see
// polity.Stopper. The run has ended when that is done and every effect in flight has ended. A run that has ended already stays as it is.
func (p *Partition) Cancel(ctx context.Context, id polity.RunID, reason string) error {
	return p.stopRun(ctx, id, reason, true)
}

// Kill is Cancel without undoing anything; what is being undone is given up. It is for a run that was cancelled and does not end, too.
func (p *Partition) Kill(ctx context.Context, id polity.RunID, reason string) error {
	return p.stopRun(ctx, id, reason, false)
}

func (p *Partition) stopRun(ctx context.Context, id polity.RunID, reason string, gently bool) error {
	if len(reason) > textMax {
		return fault.Invalid.New("run: cancel: a reason of %d bytes; the most is %d", len(reason), textMax)
	}
	return p.call(ctx, func(c *core, done func(error)) { c.cancelRun(id, reason, gently, done) })
}

// List returns all root runs in the order of opening; those that one commit opened by their IDs.
func (p *Partition) List(ctx context.Context) ([]polity.Summary, error) {
	return ask(ctx, p, func(c *core, reply func([]polity.Summary, error)) {
		trees, damage := c.all()
		all := c.summaries(trees)
		c.answer(func(err error) { reply(all, cmp.Or(err, damage)) })
	})
}

func (c *core) current(t *tree) polity.Summary {
	s := t.summary
	if !t.over() && t.stopped == nil {
		s.Parked, s.Paused = t.parked, t.paused
	}
	if t.hold != nil {
		s.Held = *t.hold
	}
	if t.root != nil {
		s.Usage = t.root.usage
		s.Waiting = c.waiting(t.root, nil)
		_, _, s.Idle = t.root.idle(c.downtime)
	} else if t.asleep {
		s.Idle = !t.undone
		s.Waiting = t.waitingAsleep()
	}
	if t.queued && (t.root != nil || t.asleep) {
		s.Waiting = []polity.Waiting{{Run: t.id, For: "the runs before it in conversation " + strconv.Quote(t.talk.key), Since: s.Opened}}
		if t.mail != nil {
			s.Waiting = []polity.Waiting{{Run: t.id, For: t.talk.agent + " to take the message", Since: s.Opened, Until: t.mail.Expires}}
		}
	}
	return s
}

// Mailboxes lists the agents that have messages which have not ended.
func (p *Partition) Mailboxes(ctx context.Context) ([]Mailbox, error) {
	return ask(ctx, p, func(c *core, reply func([]Mailbox, error)) {
		list := c.mailboxes()
		c.answer(func(err error) { reply(list, err) })
	})
}

// Find returns a run's summary, or fault.NotFound.
func (p *Partition) Find(ctx context.Context, id polity.RunID) (polity.Summary, error) {
	return ask(ctx, p, func(c *core, reply func(polity.Summary, error)) {
		t := c.tree(id)
		if t == nil {
			reply(polity.Summary{}, c.none(id))
			return
		}
		found := c.current(t)
		c.answer(func(err error) { reply(found, err) })
	})
}

// none is why there is no tree of an ID.
func (c *core) none(id polity.RunID) error {
	if c.dead != nil {
		return c.dead
	}
	return fault.NotFound.New("run: no run %q", id)
}

// span is where the log tells of a run: from its first to its last commit, or in a log of its own.
type span struct {
	first, last uint64
	base        *base          // what stands for the log's beginning, if that has not all of it
	gone        bool           // and the base has nothing of it
	summary     polity.Summary // likewise
	end         uint64         // where it finished; 0 while it has not
	log         *payload       // of a run that was imported
}

func (p *Partition) span(ctx context.Context, id polity.RunID) (span, error) {
	return ask(ctx, p, func(c *core, reply func(span, error)) {
		t := c.tree(id)
		if t == nil {
			reply(span{}, c.none(id))
			return
		}
		found := span{first: t.first, last: t.last, end: t.end, log: t.log, base: c.base, gone: c.base.gone(t), summary: t.summary}
		c.answer(func(err error) { reply(found, err) })
	})
}

// Watch calls notice for what is under way in a run, and then for everything that happens to it from now on, from the
// partition's goroutine: it must not block. The returned function ends that.
func (p *Partition) Watch(ctx context.Context, id polity.RunID, notice func(polity.Notice)) (func(), error) {
	w := &watcher{notice: notice}
	err := p.call(ctx, func(c *core, done func(error)) {
		t := c.revive(id)
		if t == nil {
			done(c.none(id))
			return
		}
		t.watch = append(t.watch, w)
		if !t.parked {
			c.wake(t)
		}
		if t.root != nil && !t.parked {
			t.root.underWay(notice, t.last)
			c.rest(t)
		}
		done(nil)
	})
	return func() { p.post(input{do: func(*core) { w.gone = true }}) }, err
}

func (p *pending) startedNotice(at time.Time, commit uint64) polity.Notice {
	n := polity.Notice{
		At: at, Commit: commit, Kind: "started", Run: p.run.id, Name: p.cmd.Name, Attempt: p.cmd.Attempt, Verb: p.cmd.Do.String(), To: p.cmd.To,
		Until: p.due,
	}
	if p.cmd.Await != nil {
		n.To = p.cmd.Await.String()
	}
	return n
}

// underWay tells what has begun in a run and below, and has not ended.
func (r *run) underWay(notice func(polity.Notice), commit uint64) {
	for _, p := range r.pending {
		if p.refused == nil {
			notice(p.startedNotice(p.since, commit))
		}
		if p.child != nil {
			p.child.underWay(notice, commit)
		}
	}
}

// History gives everything that the log tells of a run and the runs below it, in order.
func (p *Partition) History(ctx context.Context, id polity.RunID, each func(polity.Notice) error) error {
	return p.events(ctx, id, func(at time.Time, seq uint64, r *record) error {
		n, err := p.notice(r, at, seq)
		if err != nil {
			return err
		}
		return each(n)
	})
}

var kindText = map[recordKind]string{
	recOpened: "opened", recBegan: "began", recResult: "result", recCancel: "cancel", recExpired: "expired", recFinished: "finished",
	recReconciled: "reconciled", recSettled: "settled",
	recSignalled: "signalled", recPublished: "published", recPaused: "paused", recResumed: "resumed",
	recErased: "erased", recHeld: "held", recReleased: "released", recDeleted: "deleted", recBased: "based",
	recAudited: "audited",
}

func (p *Partition) notice(r *record, at time.Time, seq uint64) (polity.Notice, error) {
	n := noticeOf(r, at, seq)
	p.vault.show(&n, r)
	var err error
	n.Data, err = p.core.read(r.data)
	if errors.Is(err, fault.Erased) {
		n.Erased, err = true, nil
	}
	if n.Finding != nil {
		n.Finding.Output, n.Data = n.Data, nil
	}
	return n, err
}

// noticeOf is a notice without its data.
func noticeOf(r *record, at time.Time, seq uint64) polity.Notice {
	n := polity.Notice{
		At: at, Commit: seq, Kind: kindText[r.kind], Run: r.run, Name: r.name, Attempt: r.attempt, Agent: r.agent,
		Fault: r.fault, Usage: r.usage, Receipt: r.receipt, Asked: r.asked,
	}
	if r.kind == recReconciled {
		n.Finding, n.Receipt = &polity.Finding{Verdict: r.verdict, Receipt: r.receipt, By: r.by, Reason: r.reason}, nil
	}
	switch r.kind {
	case recFinished:
		n.Status = r.status.String()
	case recSignalled, recPublished:
		n.Name, n.To = "", r.name
	case recPaused:
		n.Reason = r.reason
	}
	if e := r.effect; e.class != "" {
		n.Effect = &polity.EffectNotice{
			Key: (&Effect{Run: r.run, Name: r.name, Attempt: r.attempt, Class: e.class}).Key(), Class: e.class, Verb: e.verb.String(), To: e.to,
			Since: e.since, Request: hex.EncodeToString(r.request[:]),
		}
	}
	return n
}

// call runs f in the loop and waits until it is done.
func (p *Partition) call(ctx context.Context, f func(c *core, done func(error))) error {
	_, err := ask(ctx, p, func(c *core, reply func(struct{}, error)) {
		f(c, func(err error) { reply(struct{}{}, err) })
	})
	return err
}

// ask runs f in the loop and waits for its reply, which is the caller's alone. A reply that comes when nobody waits any
// more is dropped.
func ask[T any](ctx context.Context, p *Partition, f func(c *core, reply func(T, error))) (T, error) {
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	var none T
	if _, err := p.stall(); err != nil {
		return none, err
	}
	in := input{do: as(ctx, func(c *core) { f(c, func(v T, err error) { done <- answer{v, err} }) }), refuse: func(err error) { done <- answer{none, err} }}
	if !p.post(in) {
		return none, p.gone()
	}
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		return none, contextFault(ctx, "run")
	case <-p.ended:
		select {
		case a := <-done:
			return a.value, a.err
		default:
			return none, p.gone()
		}
	}
}

// contextFault is why a caller no longer waits.
func contextFault(ctx context.Context, what string) error {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, context.DeadlineExceeded):
		return fault.Timeout.New("%s: %w", what, cause)
	case errors.Is(cause, context.Canceled):
		return fault.Cancelled.New("%s: %w", what, cause)
	default:
		return fault.Of(cause).Kind.New("%s: %w", what, cause)
	}
}

func (p *Partition) gone() error {
	if err := p.Err(); err != nil {
		return err
	}
	return fault.Unavailable.New("run: the node is stopping; ask again with the same ID")
}
