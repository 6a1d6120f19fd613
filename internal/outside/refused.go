package outside

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// The limits of what is kept of refusals.
const (
	refusedWindow = time.Minute
	windowShare   = 120 // kept of one agent in a window; the others are counted
	windowAgents  = 10_000
	journalTries  = 5 * time.Second
)

// Audit keeps what was refused, by the broker and by the engine alike. It is safe for concurrent use.
type Audit struct {
	bus *bus.Bus
	log *slog.Logger

	opening sync.Mutex
	journal *bus.Journal // nil before the first refusal

	mu     sync.Mutex
	since  time.Time
	window map[string]*tally
}

// NewAudit returns an audit in the journal of refusals, which there is once something was refused.
func NewAudit(b *bus.Bus, log *slog.Logger) *Audit {
	return &Audit{bus: b, log: log, window: map[string]*tally{}}
}

func (a *Audit) open(ctx context.Context) (j *bus.Journal, err error) {
	a.opening.Lock()
	defer a.opening.Unlock()
	if a.journal == nil {
		a.journal, err = a.bus.Journal(ctx, bus.RefusedJournal, bus.RefusedMax, bus.RefusedAge)
	}
	return a.journal, err
}

type tally struct{ kept, missed uint64 }

// Refused keeps a refusal, unless too many of the same agent came lately, and returns when that is safe. One that cannot be kept is logged: whoever
// was refused is refused all the same.
func (a *Audit) Refused(r polity.Refusal) {
	keep, more := a.room(r)
	if !keep {
		return
	}
	a.log.Warn("refused", "org", r.Org, "agent", r.Agent, "from", r.From, "verb", r.Verb, "subject", r.Subject, "reason", r.Reason)
	r.Missed += more
	data, err := json.Marshal(r)
	ctx, cancel := context.WithTimeout(context.Background(), journalTries)
	defer cancel()
	if err == nil {
		var j *bus.Journal
		if j, err = a.open(ctx); err == nil {
			err = j.Add(ctx, data)
		}
	}
	if err != nil {
		a.log.Error("a refusal could not be kept", "error", err)
	}
}

// room says whether a refusal is kept, and how many of the same agent were not before it.
func (a *Audit) room(r polity.Refusal) (keep bool, missed uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.At.Sub(a.since) >= refusedWindow || len(a.window) >= windowAgents {
		left := map[string]*tally{}
		for name, t := range a.window {
			if t.missed > 0 && len(left) < windowAgents/2 {
				left[name] = &tally{missed: t.missed}
			}
		}
		a.since, a.window = r.At, left
	}
	name := r.Org + " " + string(r.Agent) // without one it is all those who did not prove to be an agent
	t := a.window[name]
	if t == nil {
		t = &tally{}
		a.window[name] = t
	}
	if t.kept >= windowShare {
		t.missed++
		return false, 0
	}
	t.kept++
	missed, t.missed = t.missed, 0
	return true, missed
}

// ReadRefused returns up to most refusals after a position, in order.
func ReadRefused(ctx context.Context, b *bus.Bus, after uint64, most int) ([]polity.Refusal, error) {
	there, err := b.HasJournal(ctx, bus.RefusedJournal)
	if err != nil || !there {
		return nil, err
	}
	j, err := b.Journal(ctx, bus.RefusedJournal, bus.RefusedMax, bus.RefusedAge)
	if err != nil {
		return nil, err
	}
	entries, err := j.Read(ctx, after, most)
	if err != nil {
		return nil, err
	}
	list := make([]polity.Refusal, len(entries))
	for i, e := range entries {
		if err := json.Unmarshal(e.Data, &list[i]); err != nil {
			return nil, fault.Damaged.New("outside: refusal %d: %w", e.Seq, err)
		}
		list[i].Seq = e.Seq
	}
	return list, nil
}
