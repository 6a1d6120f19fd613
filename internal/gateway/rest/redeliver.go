package rest

import (
	"context"
	"time"

	"polity.run/internal/gateway/hook"
)

// redeliver sends a hook's queued messages again, the oldest first, whenever there are some, until ctx ends. It goes on beside deliver: what is new does not wait for what was
// dead.
func (s *Server) redeliver(ctx context.Context, name string, queued <-chan struct{}) error {
	for {
		for {
			d, ok := s.hooks.book.Queued(name)
			if !ok {
				break
			}
			if err := s.resend(ctx, name, d); err != nil {
				return err
			}
		}
		select {
		case <-queued:
		case <-ctx.Done():
			return nil
		}
	}
}

// resend sends one message again. What it told is read from the log.
func (s *Server) resend(ctx context.Context, name string, d hook.Delivery) error {
	h, _, ok := s.hooks.book.Out(name)
	if !ok {
		return nil
	}
	c, err := s.changeAt(ctx, d.Event)
	if err != nil {
		return err
	}
	if c == nil {
		d.Status, d.At, d.Problem = hook.Dead, time.Now().UTC(), "what it told of is not in the log any more"
	} else if d, err = s.sendChange(ctx, h, c); err != nil {
		return err
	}
	return s.hooks.book.Resettle(ctx, name, &d)
}

// changeAt reads a change from the log by its ID; nil if the log does not have it any more.
func (s *Server) changeAt(ctx context.Context, id string) (found *change, err error) {
	at, err := parsePlace(id)
	if err != nil {
		return nil, err
	}
	err = s.hub.reread(ctx, place{commit: at.commit}, at.commit, func(list []*change) error {
		for _, c := range list {
			if c.at == at {
				found = c
			}
		}
		return nil
	})
	return found, err
}

// requeued tells a hook's sender that there are messages to send again.
func (s *Server) requeued(name string) {
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	select {
	case s.hooks.queued[name] <- struct{}{}:
	default: // it looks anyway, or the hook was removed
	}
}
