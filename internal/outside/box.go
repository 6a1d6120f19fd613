package outside

import (
	"encoding/json"
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/remote"
)

const (
	windowMax  = 256              // questions that one agent has at once; the others wait here
	askAgain   = 15 * time.Second // without a sign of its being worked on, a question is asked again
	probeEvery = time.Second      // one question is tried at this pace while nobody is there

	instancesMax = 256 // processes of one agent: what each says is kept
)

// box holds what one agent is asked and has not answered, and what it last said of itself. It is a cache: after a crash the kernel asks
// everything again, under the same IDs. It reads no clock.
type box struct {
	open      []*question // in the order of asking
	away      bool        // what was last put had no receiver
	probed    time.Time
	instances map[string]*instance
}

// question is something that an agent is asked.
type question struct {
	id     string // of its message
	token  string // of one token of a subject
	at     ref
	from   polity.AgentName // who gets the answer
	parcel bus.Parcel
	done   func(json.RawMessage, error)
	leave  func() bool // of its context

	put   time.Time // last; zero for never
	sign  time.Time // last sign of its being worked on
	taken bool      // it agreed to it
}

// instance is a process that serves an agent.
type instance struct {
	remote.Here // without what it works on, which is read once
	heard       time.Time
}

func (b *box) remove(q *question) {
	b.open = slices.DeleteFunc(b.open, func(o *question) bool { return o == q })
}

// hear notes what an agent says of itself. It returns fault.Full if too many say so.
func (b *box) hear(h remote.Here, now time.Time) error {
	if h.State == remote.Gone {
		delete(b.instances, h.Instance)
		return nil
	}
	if b.instances == nil {
		b.instances = map[string]*instance{}
	}
	if b.state(now); b.instances[h.Instance] == nil && len(b.instances) >= instancesMax { // state forgets who says nothing any more
		return fault.Full.New("here: %d processes serve the agent, which is the most", instancesMax)
	}
	kept := h
	kept.Working = nil
	b.instances[h.Instance] = &instance{kept, now}
	b.away = false
	for _, q := range b.open {
		if h.Working == nil && q.taken || slices.Contains(h.Working, q.id) {
			q.sign = now
		}
	}
	return nil
}

// state is what the agent is ready for, by what its processes said lately.
func (b *box) state(now time.Time) remote.State {
	best := remote.Away
	for name, i := range b.instances {
		switch {
		case now.Sub(i.heard) > remote.GoneAfter:
			delete(b.instances, name)
		case i.State == remote.Draining:
			if best == remote.Away {
				best = remote.Draining
			}
		default:
			best = remote.Serving
		}
	}
	return best
}

// due are the questions that are put now. An agent that says nothing of itself is tried, too: a simple one only answers.
func (b *box) due(now time.Time) []*question {
	if len(b.open) == 0 || b.state(now) == remote.Draining {
		return nil
	}
	if b.away {
		if now.Sub(b.probed) < probeEvery {
			return nil
		}
		b.probed = now
		b.open[0].put, b.open[0].sign = now, now
		return b.open[:1]
	}
	var due []*question
	for _, q := range b.open[:min(len(b.open), windowMax)] {
		if q.put.IsZero() || now.Sub(q.sign) >= askAgain {
			q.put, q.sign = now, now
			due = append(due, q)
		}
	}
	return due
}

// missed notes that a question had no receiver.
func (b *box) missed(q *question, now time.Time) {
	b.away, b.probed = true, now
	for _, o := range b.open {
		if o == q || !o.taken {
			o.put, o.sign = time.Time{}, time.Time{}
		}
	}
}
