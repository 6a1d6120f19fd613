package remote

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/until"
	"polity.run/message"
)

// liveWaiting is how many live questions wait in a process; what is more is lost.
const liveWaiting = 1024

// answerLive answers live questions until the serving ends; those that wait then are answered yet.
func (s *serving) answerLive() {
	for {
		select {
		case m := <-s.live:
			s.askedLive(m)
		case <-s.noLive:
			for {
				select {
				case m := <-s.live:
					s.askedLive(m)
				default:
					return
				}
			}
		}
	}
}

// askedLive answers one question, once. Nothing of it is kept.
func (s *serving) askedLive(m *nats.Msg) {
	q, err := message.Decode(m.Header, nil)
	if err != nil {
		s.cfg.Log.Warn("a live question cannot be read", "error", err)
		return
	}
	s.slots <- struct{}{}
	defer func() { <-s.slots }()
	q.Data = m.Data
	q.Live, q.Reply = true, true // the subject says so
	ctx := s.ctx
	if !q.Deadline.IsZero() {
		if !time.Now().Before(q.Deadline) {
			return // nobody waits any more
		}
		timed := until.New(ctx, q.Deadline)
		defer timed.End()
		ctx = timed
	}
	p, out := s.outcome(s.guarded(ctx, q))
	if err := s.publish(&nats.Msg{Subject: m.Reply, Header: LiveHeader(p), Data: out}); err != nil {
		s.cfg.Log.Warn("a live question is not answered", "question", q.ID, "error", err)
	}
}

// outcome is how what a handler returned is said.
func (s *serving) outcome(out json.RawMessage, err error) (polity.Performative, []byte) {
	if err == nil {
		return polity.Inform, out
	}
	data, bad := json.Marshal(fault.Of(err))
	if bad != nil {
		data = []byte(`"it failed"`)
	}
	return polity.Failure, data
}

// askLive asks once, and waits until ctx ends, or for liveWait.
func (a *Agent) askLive(ctx context.Context, e message.Envelope) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, liveWait)
	defer cancel()
	if end, _ := ctx.Deadline(); e.Deadline.IsZero() || end.Before(e.Deadline) {
		e.Deadline = end
	}
	m, err := a.letter(e)
	if err != nil {
		return nil, err
	}
	reply, err := a.request(ctx, m)
	switch {
	case err == nil:
		return read(ToLive(reply.Header, reply.Data))
	case errors.Is(err, fault.Denied):
		return nil, err
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fault.Unavailable.New("ask %s: the organization is not there", m.Subject)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fault.Timeout.New("ask %s: no answer in time", m.Subject)
	default:
		return nil, fault.Cancelled.New("ask %s: %w", m.Subject, err)
	}
}

const liveWait = 60 * time.Second
