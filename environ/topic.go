package environ

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"polity.run/fault"
)

// The limits of topics.
const (
	topicWait      = 2 * time.Second // one look waits for news up to this
	BatchMax       = 1000            // events
	BatchWithinMax = time.Hour
)

// Published is an event on a topic, as a Topic reads it.
type Published struct {
	Topic string
	ID    string // of the sender: the same on the same topic again is the same event
	Data  json.RawMessage
	At    time.Time // when it was stored: later ones have no earlier time
	Seq   uint64    // its position
}

// Topic is what is published on topics. An observation's ID is the event's topic and ID, or the positions of a batch.
type Topic struct {
	Pattern string // as in orders.*
	// Want says whether an event is observed; nil for all. Key names what it is about: see Observation.Key; nil for nothing.
	Want func(Published) bool
	Key  func(Published) string
	// Batch, if not 0, is how many events one observation has at most: those that were stored Within a time of the first of them. Which these are follows
	// from the events alone, so that a batch that is seen again is the same.
	Batch  int
	Within time.Duration
	// Read returns what was published after a position, in order, and the position after it; it waits for it up to a time. A position that is larger
	// than any gives the last one.
	Read func(ctx context.Context, pattern string, after uint64, wait time.Duration) (list []Published, next uint64, err error)
	// Load returns the position that was kept last, or false if none was. Keep keeps one.
	Load func() (position uint64, known bool, err error)
	Keep func(position uint64) error
}

// topicInput is what an observation of a Topic says.
type topicInput struct {
	Event string          `json:"event"` // topic.published
	Topic string          `json:"topic"`
	ID    string          `json:"id"`
	Data  json.RawMessage `json:"data"`
}

// batchInput is what the observation of a batch says.
type batchInput struct {
	Event  string       `json:"event"` // topic.batch
	Events []batchEvent `json:"events"`
}

type batchEvent struct {
	Topic string          `json:"topic"`
	ID    string          `json:"id"`
	Data  json.RawMessage `json:"data"`
	At    time.Time       `json:"at"`
}

// Open returns the topic as a source. It begins where the last one ended that kept a position, and at first with what is published from then on,
// so that nothing is missed while nobody watches. Once observes what there is by now, and waits for the end of a batch that has begun.
func (t Topic) Open() (Source, error) {
	switch {
	case t.Pattern == "" || t.Read == nil || t.Load == nil || t.Keep == nil:
		return nil, fault.Invalid.New("topic: want a pattern, and where to read and keep positions")
	case t.Batch < 0 || t.Batch > BatchMax || t.Batch > 0 && (t.Within <= 0 || t.Within > BatchWithinMax):
		return nil, fault.Invalid.New("topic: batches of %d within %s: want up to %d within up to %s", t.Batch, t.Within, BatchMax, BatchWithinMax)
	}
	if t.Want == nil {
		t.Want = func(Published) bool { return true }
	}
	if t.Key == nil {
		t.Key = func(Published) string { return "" }
	}
	return &topic{Topic: t}, nil
}

type topic struct {
	Topic
	at   uint64      // the position up to which was read
	read bool        // at is set
	kept uint64      // the position that was kept
	open []Published // the batch that has begun
}

func (t *topic) Name() string { return "topic " + t.Pattern }

func (t *topic) Run(ctx context.Context, emit Emit) error {
	for {
		if err := t.look(ctx, topicWait, emit); err != nil {
			return err
		}
	}
}

func (t *topic) Once(ctx context.Context, emit Emit) error {
	for {
		before, known := t.at, t.read
		if err := t.look(ctx, 0, emit); err != nil {
			return err
		}
		switch {
		case !known || t.at != before:
		case len(t.open) == 0:
			return nil
		default:
			if err := pause(ctx, t.Name(), time.Until(t.ends())); err != nil {
				return err
			}
		}
	}
}

// ends is when the batch that has begun is complete.
func (t *topic) ends() time.Time { return t.open[0].At.Add(t.Within) }

// look reads what there is after the last look, and emits what is complete. After an error the next look begins where positions were kept.
func (t *topic) look(ctx context.Context, wait time.Duration, emit Emit) error {
	if ctx.Err() != nil {
		return ended(ctx, t.Name())
	}
	err := t.begin(ctx)
	if err == nil {
		err = t.step(ctx, wait, emit)
	}
	if err != nil {
		t.read, t.open = false, nil
		if ctx.Err() != nil {
			return ended(ctx, t.Name())
		}
	}
	return err
}

func (t *topic) step(ctx context.Context, wait time.Duration, emit Emit) error {
	if len(t.open) > 0 {
		wait = min(wait, max(time.Until(t.ends()), time.Millisecond))
	}
	now := time.Now()
	list, next, err := t.Read(ctx, t.Pattern, t.at, wait)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := t.event(ctx, e, emit); err != nil {
			return err
		}
	}
	t.at = next
	if len(list) == 0 && len(t.open) > 0 && !now.Before(t.ends()) { // whatever is stored from now on is too late for it
		if err := t.flush(ctx, emit); err != nil {
			return err
		}
	}
	done := t.at
	if len(t.open) > 0 {
		done = t.open[0].Seq - 1
	}
	if len(list) == 0 && len(t.open) > 0 || done == t.kept {
		return nil // whoever begins anew looks through the same once more
	}
	t.kept = done
	return t.Keep(done)
}

// event emits an event, or adds it to the batch that has begun, and emits what is complete by that.
func (t *topic) event(ctx context.Context, e Published, emit Emit) error {
	if !t.Want(e) {
		return nil
	}
	if t.Batch == 0 {
		o, err := observe(e.Topic+" "+e.ID, e.At, topicInput{"topic.published", e.Topic, e.ID, e.Data})
		if err != nil {
			return err
		}
		o.Key = t.Key(e)
		return emit(ctx, o)
	}
	if len(t.open) > 0 && !e.At.Before(t.ends()) {
		if err := t.flush(ctx, emit); err != nil {
			return err
		}
	}
	t.open = append(t.open, e)
	if len(t.open) == t.Batch {
		return t.flush(ctx, emit)
	}
	return nil
}

// flush emits the batch that has begun.
func (t *topic) flush(ctx context.Context, emit Emit) error {
	in := batchInput{Event: "topic.batch"}
	for _, e := range t.open {
		in.Events = append(in.Events, batchEvent{e.Topic, e.ID, e.Data, e.At})
	}
	first, last := t.open[0], t.open[len(t.open)-1]
	o, err := observe(fmt.Sprintf("%s %d-%d", t.Pattern, first.Seq, last.Seq), last.At, in)
	if err == nil {
		err = emit(ctx, o)
	}
	t.open = nil
	return err
}

// begin finds where to begin.
func (t *topic) begin(ctx context.Context) error {
	if t.read {
		return nil
	}
	at, known, err := t.Load()
	if err == nil && !known {
		if _, at, err = t.Read(ctx, t.Pattern, math.MaxInt64, 0); err == nil {
			err = t.Keep(at)
		}
	}
	t.at, t.kept, t.read = at, at, err == nil
	return err
}
