package engine

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/outside"
	"polity.run/internal/until"
	"polity.run/internal/work"
	"polity.run/message"
)

// The limits of live messages.
const (
	liveAtOnce  = 16               // that an agent works on at once
	liveWaiting = 1024             // that wait for an agent: what is more is dropped, and its sender told
	liveTimeout = 60 * time.Second // of work that names no limit
	liveGrace   = 3 * time.Second  // work that was asked to end with the node is waited for so long
)

// live has agents work on messages of which nothing is written down: each is done once at most, in no order, and lost with the process. Its methods are safe
// for concurrent use.
type live struct {
	log   *slog.Logger
	ctx   context.Context // of messages that nobody waits for
	stop  context.CancelFunc
	under sync.WaitGroup

	taken, dropped atomic.Uint64

	mu    sync.Mutex
	boxes map[string]*liveBox // of agents that work on something; nil once the node stops
	empty *liveBox            // of the last agent that had done everything, for the next one; nil for none
}

// liveBox is what an agent was sent and has not done.
type liveBox struct {
	busy    int
	waiting []chan struct{} // each is closed when it is its turn
}

func newLive(log *slog.Logger) *live {
	l := &live{log: log, boxes: map[string]*liveBox{}}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// close ends what nobody waits for.
func (l *live) close() {
	l.stop()
	l.mu.Lock()
	l.boxes = nil
	l.mu.Unlock()
	idle := make(chan struct{})
	go func() { l.under.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-time.After(liveGrace):
		l.log.Warn("agents do not end their work on live messages; they are left behind", "grace", liveGrace)
	}
}

// liveWork is a live message's place in an agent's box.
type liveWork struct {
	live    *live
	catalog *catalog
	e       *entry
	s       skill
	to      message.Address
	turn    chan struct{} // closed when it is its turn; nil if it is
}

// offer takes a place in an agent's box: call its do once.
func (l *live) offer(c *catalog, m *message.Envelope, t *target) (w liveWork, err error) {
	w = liveWork{live: l, catalog: c, to: t.to}
	if w.e, err = t.of.agent(t.to.Name); err != nil {
		return w, err
	}
	if err := w.e.live(m, t.to); err != nil {
		return w, err
	}
	if w.s, err = w.e.skill(m.Skill); err != nil {
		return w, err
	}
	atOnce := liveAtOnce
	if w.e.askLive != nil { // its own process says how much it works on
		atOnce = outside.LiveMax
	}
	w.turn, err = l.enter(t.to.Name, atOnce)
	return w, err
}

// do waits for the turn, and has the agent work on the message.
func (w *liveWork) do(ctx context.Context, m *message.Envelope) polity.Outcome {
	name := w.to.Name
	defer w.live.leave(name)
	if w.turn != nil {
		if err := w.live.await(ctx, name, w.turn, w.catalog, m); err != nil {
			return polity.Outcome{Status: polity.StatusFailed, Fault: fault.Of(err)}
		}
	}
	out, err := w.live.work(ctx, w.catalog, w.e, w.s, m, name)
	if err != nil {
		return polity.Outcome{Status: polity.StatusFailed, Fault: fault.Of(err)}
	}
	return polity.Outcome{Status: polity.StatusCompleted, Output: out}
}

// live says why a message cannot be live: what it causes would have to be kept.
func (e *entry) live(m *message.Envelope, to message.Address) error {
	switch class := e.program.Work.Class; {
	case m.Performative == message.Cancel:
		return fault.Invalid.New("message %s: a live message cannot be taken back, and taking one back cannot be live", m.ID)
	case !m.IsJSON():
		return fault.Invalid.New("message %s: data is of %s; agents take JSON", m.ID, m.DataType)
	case e.program.Decider != nil && e.def.Kind != agent.KindGo:
		return fault.Invalid.New("message %s: %s works in steps, which are kept; leave live out", m.ID, to)
	case e.program.Decider == nil && class != polity.EffectNone && class != polity.EffectIdempotent:
		return fault.Invalid.New("message %s: %s has an effect of class %s, of which a record is kept; leave live out", m.ID, to, class)
	}
	return nil
}

// enter takes a place: it returns nil if the agent, which works on some at once, has time now, and else what is closed when it has.
func (l *live) enter(agent string, atOnce int) (chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.boxes == nil {
		return nil, fault.Unavailable.New("the node is stopping")
	}
	b := l.boxes[agent]
	if b == nil {
		if b, l.empty = l.empty, nil; b == nil {
			b = &liveBox{}
		}
		l.boxes[agent] = b
	}
	if b.busy < atOnce {
		b.busy++
		l.taken.Add(1)
		return nil, nil
	}
	if len(b.waiting) >= liveWaiting {
		l.dropped.Add(1)
		return nil, fault.Full.New("%d live messages wait for %s, which is the most; this one is dropped", len(b.waiting), agent)
	}
	l.taken.Add(1)
	turn := make(chan struct{})
	b.waiting = append(b.waiting, turn)
	return turn, nil
}

// leave gives a place to whoever waits for one.
func (l *live) leave(agent string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.boxes[agent]
	switch {
	case b == nil: // the node stops
	case len(b.waiting) > 0:
		close(b.waiting[0])
		b.waiting = b.waiting[1:]
	default:
		if b.busy--; b.busy == 0 {
			delete(l.boxes, agent)
			l.empty = b
		}
	}
}

// await waits for a turn. Whoever waits no longer, or too long, has one all the same, and leaves it at once.
func (l *live) await(ctx context.Context, agent string, turn chan struct{}, c *catalog, m *message.Envelope) error {
	select {
	case <-turn:
	case <-ctx.Done():
		l.mu.Lock()
		b := l.boxes[agent]
		if b != nil {
			if i := slices.Index(b.waiting, turn); i >= 0 {
				b.waiting = slices.Delete(b.waiting, i, i+1)
				b.busy++ // which leave takes back
			}
		}
		l.mu.Unlock()
		l.dropped.Add(1)
		return fault.Cancelled.New("message %s: nobody waits any more: %w", m.ID, context.Cause(ctx))
	}
	if now := c.now(); !now.Before(m.Expires(m.Time)) {
		l.dropped.Add(1)
		return fault.Timeout.New("message %s expired before %s began with it", m.ID, agent)
	}
	return nil
}

// work has an agent work on a message.
func (l *live) work(ctx context.Context, c *catalog, e *entry, s skill, m *message.Envelope, to string) (json.RawMessage, error) {
	data := json.RawMessage(m.Data)
	if data == nil {
		data = json.RawMessage("null")
	}
	if e.program.Decider != nil {
		return decideOnce(e, s, polity.Event{
			Kind: polity.Opened, At: m.Time, Data: data, Agent: polity.AgentName(to), Skill: m.Skill,
		})
	}
	limit := e.program.Work.Timeout
	if limit == 0 {
		limit = liveTimeout
	}
	if !m.Deadline.IsZero() {
		limit = min(limit, m.Deadline.Sub(c.now()))
	}
	if e.askLive != nil {
		q := *m
		q.To, q.Data = []message.Address{message.To(polity.AgentName(to))}, data
		return askOutside(ctx, e, s, q, time.Now().Add(limit))
	}
	b := until.New(ctx, time.Now().Add(limit))
	defer b.End()
	if s.openIn { // whoever checked the message has made sure that it is JSON
		s.in = nil
	}
	if s.openOut && e.def.Kind == agent.KindGo { // nothing of it is kept, and code of this process means what it says
		s.out = anything
	}
	out, err := c.answer(b, e, s, &polity.Message{ // from the agent itself, as of the run that a message is otherwise
		ID: m.Key, From: polity.AgentName(to), To: polity.AgentName(to), Performative: m.Performative, Skill: m.Skill, Body: data,
		Correlation: m.Conversation, Causation: m.ID, ReplyTo: m.Reply,
	})
	if err != nil && b.Err() == context.DeadlineExceeded {
		err = fault.Timeout.New("%s: no answer within %s", to, limit)
	}
	return out, err
}

// askOutside asks an agent in another process.
func askOutside(ctx context.Context, e *entry, s skill, m message.Envelope, end time.Time) (json.RawMessage, error) {
	to := m.To[0].Name
	if !s.openIn { // else whoever checked the message has made sure that it is JSON
		if err := s.in(m.Data); err != nil {
			return nil, fault.Invalid.New("input of %s: %w", to, err)
		}
	}
	out, err := e.askLive(ctx, m, end)
	if err != nil {
		return nil, err
	}
	return work.Accepted(out, s.out, to)
}

func anything(json.RawMessage) error { return nil }

// answer asks an agent and waits for its answer.
func (c *catalog) answer(ctx context.Context, e *entry, s skill, m *polity.Message) (json.RawMessage, error) {
	if e.begin == nil {
		return work.Ask(ctx, c.handler(e, ""), m, s.in, s.out)
	}
	type answer struct {
		out json.RawMessage
		err error
	}
	came := make(chan answer, 1)
	work.Begin(ctx, e.begin, m, s.in, s.out, func(out json.RawMessage, err error) { came <- answer{out, err} })
	a := <-came
	return a.out, a.err
}

// decideOnce asks a decider that ends at once: nothing has to be kept of it.
func decideOnce(e *entry, s skill, opened polity.Event) (out json.RawMessage, err error) {
	if err := s.in(opened.Data); err != nil {
		return nil, fault.Invalid.New("input of %s: %w", opened.Agent, err)
	}
	defer func() {
		if x := recover(); x != nil {
			out, err = nil, fault.Internal.New("decider of %s: panic: %v", opened.Agent, x)
		}
	}()
	state, commands := e.program.Decider.Decide(nil, opened)
	if f, ok := e.program.Decider.(polity.Forgetter); ok && state != nil {
		f.Forget(state)
	}
	switch {
	case len(commands) == 1 && commands[0].Do == polity.DoFail:
		return nil, commands[0].Fault
	case len(commands) != 1 || commands[0].Do != polity.DoFinish:
		return nil, fault.Invalid.New("%s does not answer at once, and what it does is kept; leave live out", opened.Agent)
	}
	if err := s.out(commands[0].Input); err != nil {
		return nil, fault.Invalid.New("output of %s: %w", opened.Agent, err)
	}
	return commands[0].Input, nil
}

// begin has a message worked on that nobody waits for.
func (l *live) begin(m *message.Envelope, do func(context.Context) (polity.Outcome, error)) {
	l.under.Go(func() {
		if o, _ := do(l.ctx); o.Fault != nil {
			l.log.Warn("a live message was not done", "from", m.From, "to", m.To, "id", m.ID, "error", o.Fault)
		}
	})
}
