package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"polity.run"
	"polity.run/fault"
	"polity.run/message"
)

// queue is the group in which the processes of one agent share its questions.
const queue = "agents"

// work is a question that was asked here, and its answer once there is one.
type work struct {
	said *nats.Msg // nil while it is worked on
}

// serving is one call of Serve.
type serving struct {
	*Agent
	handle Handler
	slots  chan struct{}
	ctx    context.Context // of the questions
	under  sync.WaitGroup
	live   chan *nats.Msg // live questions that wait
	noLive chan struct{}  // closed when no more come

	started     time.Time
	kept, lived tally // questions of runs, and live ones

	draining bool // with Agent.mu held
}

// Serve answers what the agent is asked until ctx ends; then it takes nothing new, ends what it has begun, for up to half a minute, and returns nil. It says
// meanwhile that it is there, renews the credentials, and answers nats micro. Several processes may serve an agent: each question goes
// to one of them. A question comes again if its answer may have been lost; Serve then repeats the answer, and not the work, as
// long as the process lives. It returns fault.Unauthenticated if the agent is not let in any more.
func (a *Agent) Serve(ctx context.Context, h Handler) error {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	s := &serving{Agent: a, handle: h, slots: make(chan struct{}, a.cfg.AtOnce), ctx: working, live: make(chan *nats.Msg, liveWaiting), noLive: make(chan struct{}), started: time.Now().UTC()}
	for range a.cfg.AtOnce {
		s.under.Go(s.answerLive)
	}
	noMore := sync.OnceFunc(func() { close(s.noLive) })
	defer noMore()
	at, err := s.attend(a.conn())
	if err != nil {
		return err
	}
	beat := time.NewTicker(BeatEvery)
	defer beat.Stop()
	at = s.renew(working, at)
	s.here(Serving)
	for {
		select {
		case <-beat.C:
			at = s.renew(working, at)
			s.here(Serving)
		case <-a.closed:
			return a.reason(errors.Join(nats.ErrConnectionClosed, a.conn().LastError()))
		case <-ctx.Done():
			return s.drain(at, noMore)
		}
	}
}

// attend has questions come in by a connection, and nats micro answered.
func (s *serving) attend(nc *nats.Conn) (attendance, error) {
	at, err := s.micro(nc)
	if err == nil {
		var sub *nats.Subscription
		sub, err = nc.QueueSubscribe(Box(s.name, polity.Request), queue, s.asked)
		at = append(at, sub)
	}
	if err == nil {
		var sub *nats.Subscription
		sub, err = nc.ChanQueueSubscribe(Box(s.name, Live), queue, s.live)
		at = append(at, sub)
	}
	if err == nil {
		err = nc.FlushTimeout(sayWait) // the subscriptions are there before the agent says so
	}
	if err != nil {
		return nil, s.reason(err)
	}
	return at, nil
}

// attendance has questions come in by one connection until it is stopped.
type attendance []*nats.Subscription

// Stop lets come what is on its way.
func (a attendance) Stop() error {
	var all []error
	for _, sub := range a {
		all = append(all, sub.Drain())
	}
	return errors.Join(all...)
}

// drain ends what was begun, and takes nothing new.
func (s *serving) drain(at attendance, noMore func()) error {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.here(Draining)
	if err := at.Stop(); err != nil {
		s.cfg.Log.Warn("take nothing new", "error", err)
	}
	if err := s.conn().FlushTimeout(sayWait); err != nil { // then everything has come
		s.cfg.Log.Warn("take nothing new", "error", err)
	}
	noMore()
	done := make(chan struct{})
	go func() { s.under.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(drainMax):
		s.cfg.Log.Warn("questions are left behind")
	}
	s.here(Gone)
	if err := s.conn().FlushTimeout(sayWait); err != nil {
		s.cfg.Log.Warn("say that the agent is gone", "error", err) // it is found out
	}
	return nil
}

// here says that the agent is there, and what it works on.
func (s *serving) here(state State) {
	h := Here{Instance: s.instance, State: state, Version: s.cfg.Version, Working: []string{}}
	s.mu.Lock()
	for id, w := range s.known {
		if w.said == nil {
			h.Working = append(h.Working, id)
		}
	}
	s.mu.Unlock()
	data, err := json.Marshal(h)
	if err == nil {
		err = s.publish(&nats.Msg{Subject: Control(s.name, ControlHere), Data: data})
	}
	if err != nil {
		s.cfg.Log.Warn("say that the agent is here", "error", err)
	}
}

// asked takes a question: it says that it does, and works on it.
func (s *serving) asked(m *nats.Msg) {
	q, err := message.Decode(m.Header, m.Data)
	if err != nil {
		s.cfg.Log.Warn("a question cannot be read", "error", err)
		return
	}
	q.Data = append([]byte(nil), q.Data...)
	if !s.begin(q) {
		return // it is asked again, and another process takes it
	}
	if err := s.publishAnswer(q, polity.Agree, nil); err != nil {
		s.cfg.Log.Warn("agree", "question", q.ID, "error", err)
	}
}

// begin has a question worked on, or its answer said again if there is one. It returns false while nothing new is taken.
func (s *serving) begin(q message.Envelope) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, known := s.known[q.ID]
	switch {
	case known && w.said == nil: // it is under way
	case s.draining:
		return false
	case known:
		said := w.said
		s.under.Go(func() { s.tell(q, said) })
	default:
		s.remember(q.ID)
		s.under.Go(func() {
			s.slots <- struct{}{}
			defer func() { <-s.slots }()
			s.work(q)
		})
	}
	return true
}

// remember notes a question, and forgets the oldest that is answered if there are too many.
func (a *Agent) remember(id string) {
	a.known[id] = &work{}
	a.order = append(a.order, id)
	for i := 0; len(a.order) > knownMax && i < len(a.order); i++ {
		if w := a.known[a.order[i]]; w.said != nil {
			delete(a.known, a.order[i])
			a.order = append(a.order[:i:i], a.order[i+1:]...)
			return
		}
	}
}

func (s *serving) work(q message.Envelope) {
	ctx, cancel := s.ctx, context.CancelFunc(func() {})
	if !q.Deadline.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, q.Deadline)
	}
	defer cancel()
	out, err := s.guarded(ctx, q)
	m, bad := s.answer(q, out, err)
	if bad != nil {
		m, bad = s.answer(q, nil, bad)
	}
	if bad != nil {
		s.cfg.Log.Error("an answer cannot be written", "question", q.ID, "error", bad)
		return
	}
	s.mu.Lock()
	if w := s.known[q.ID]; w != nil {
		w.said = m
	}
	s.mu.Unlock()
	s.tell(q, m)
}

// guarded calls the handler, and counts. One that panics has failed.
func (s *serving) guarded(ctx context.Context, q message.Envelope) (out json.RawMessage, err error) {
	count, begun := &s.kept, time.Now()
	if q.Live {
		count = &s.lived
	}
	defer func() {
		if x := recover(); x != nil {
			err = fault.Internal.New("panic: %v", x)
		}
		count.count(time.Since(begun), err)
	}()
	return s.handle(ctx, q)
}

// answer makes the message that answers a question.
func (s *serving) answer(q message.Envelope, out json.RawMessage, err error) (*nats.Msg, error) {
	if err == nil {
		return s.message(q, polity.Inform, out)
	}
	data, bad := json.Marshal(fault.Of(err))
	if bad != nil {
		return nil, bad
	}
	return s.message(q, polity.Failure, data)
}

// tell says an answer until it is taken, or nobody wants it any more.
func (s *serving) tell(q message.Envelope, m *nats.Msg) {
	ctx, cancel := s.ctx, context.CancelFunc(func() {})
	if !q.Deadline.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, q.Deadline)
	}
	defer cancel()
	if _, err := s.say(ctx, m); err != nil {
		s.cfg.Log.Warn("an answer was not taken", "question", q.ID, "error", err)
	}
}

func (s *serving) publishAnswer(q message.Envelope, p polity.Performative, data []byte) error {
	m, err := s.message(q, p, data)
	if err != nil {
		return err
	}
	return s.publish(m)
}

// message makes what is said to whoever asked.
func (s *serving) message(q message.Envelope, p polity.Performative, data []byte) (*nats.Msg, error) {
	e := message.Envelope{
		ID: q.ID + " " + string(p), From: message.To(s.name), To: []message.Address{q.From}, Performative: p,
		Conversation: q.Conversation, Correlation: q.ID, Causation: q.ID, Time: time.Now(), TTL: message.TTLMax, Hops: min(q.Hops+1, message.HopsMax), Data: data,
		TraceParent: q.TraceParent, TraceState: q.TraceState,
	}
	if len(e.ID) > message.TextMax {
		e.ID = fmt.Sprintf("%.*s", message.TextMax, string(p)+" "+q.ID)
	}
	header, err := e.Header()
	if err != nil {
		return nil, err
	}
	return &nats.Msg{Subject: q.From.Subject(s.name, p), Header: header, Data: data}, nil
}

// renew has the credentials renewed when half of their time is over, and the questions come by the new connection from then on: at no time by none.
func (s *serving) renew(ctx context.Context, at attendance) attendance {
	s.mu.Lock()
	due := time.Until(s.creds.Until) < s.creds.Until.Sub(s.creds.Since)/2
	s.mu.Unlock()
	if !due {
		return at
	}
	ctx, cancel := context.WithTimeout(ctx, sayWait)
	defer cancel()
	next, err := s.renewed(ctx)
	var nc *nats.Conn
	if err == nil {
		nc, err = s.dial(next)
	}
	var other attendance
	if err == nil {
		other, err = s.attend(nc)
	}
	if err != nil { // there is time to try again
		s.cfg.Log.Warn("renew the credentials", "error", err)
		if nc != nil {
			nc.Close() // nothing may come by it
		}
		return at
	}
	old := s.replace(next, nc)
	if err := errors.Join(at.Stop(), old.Drain()); err != nil {
		s.cfg.Log.Warn("leave the old connection", "error", err)
	}
	return other
}
