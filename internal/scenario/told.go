package scenario

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"polity.run"
	"polity.run/engine"
	"polity.run/fault"
)

// clock is the time of the runs of a scenario, which jumps where the scenario says so.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// tell does what happens while the run waits, each thing once it is waited for. What cannot be done cancels the run, and says so.
func (h *happened) tell(ctx context.Context, e *engine.Engine, s *Scenario, c *clock, o *others) {
	tick := time.NewTicker(answerEvery)
	defer tick.Stop()
	for i := 0; i < len(s.Told); {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		t := &s.Told[i]
		waiting, quiet, err := o.waiting(ctx)
		if err != nil {
			return // whoever looks for events says so
		}
		to := t.awaited(waiting)
		switch {
		case to == nil && o.watched(t.Topic):
			to = &polity.Waiting{}
		case to == nil, t.Skip > 0 && !quiet:
			continue
		}
		if err := t.do(ctx, e, to, cmp.Or(t.ID, fmt.Sprintf("told-%d", i+1)), c); err != nil {
			if ctx.Err() == nil {
				_ = e.Cancel(ctx, h.id, fault.Of(err).Text) // a run that has ended meanwhile needs none
			}
			return
		}
		i++
		h.mu.Lock()
		h.told = i
		h.mu.Unlock()
	}
}

// awaited returns what waits for t, or nil.
func (t *Told) awaited(list []polity.Waiting) *polity.Waiting {
	for i, w := range list {
		what, name, _ := strings.Cut(w.For, " ")
		name, _, _ = strings.Cut(name, " ")
		switch {
		case t.Skip > 0,
			t.Signal != "" && what == "signal" && name == t.Signal,
			t.Topic != "" && what == "topic" && polity.MatchTopic(name, t.Topic):
			return &list[i]
		}
	}
	return nil
}

func (t *Told) do(ctx context.Context, e *engine.Engine, to *polity.Waiting, id string, c *clock) error {
	data, err := json.Marshal(t.Data)
	switch {
	case err != nil:
		return fault.Invalid.New("told: data: %w", err)
	case t.Signal != "":
		return e.Signal(ctx, to.Run, t.Signal, id, 0, data)
	case t.Topic != "":
		return e.Publish(ctx, t.Topic, id, 0, data)
	}
	c.ahead.Add(int64(t.Skip))
	e.Wake()
	return nil
}

// untold says what the run ended without waiting for.
func (s *Scenario) untold(h *happened) []string {
	if h.told == len(s.Told) {
		return nil
	}
	t := s.Told[h.told]
	return []string{fmt.Sprintf("told\n  - expected: the run waits for told[%d] (%s)\n  + came:     it ended before", h.told, t.what())}
}

func (t *Told) what() string {
	switch {
	case t.Signal != "":
		return "signal " + t.Signal
	case t.Topic != "":
		return "topic " + t.Topic
	default:
		return "skip " + t.Skip.String()
	}
}
