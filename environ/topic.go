package environ

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"polity.run/fault"
)

// topicEvery is how often is looked for new events.
const topicEvery = 200 * time.Millisecond

// Published is an event on a topic, as a Topic reads it.
type Published struct {
	Topic string
	ID    string // of the sender: the same on the same topic again is the same event
	Data  json.RawMessage
	At    time.Time
	Seq   uint64 // its position
}

// Topic is what is published on topics. An observation's ID is the event's topic and ID.
type Topic struct {
	Pattern string // as in orders.*
	// Read returns what was published after a position, in order, and the position after it. A position that is larger than any gives
	// the last one.
	Read func(ctx context.Context, pattern string, after uint64) (list []Published, next uint64, err error)
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

// Open returns the topic as a source. It begins where the last one ended that kept a position, and at first with what is published from then on,
// so that nothing is missed while nobody watches. Once observes what there is by now.
func (t Topic) Open() (Source, error) {
	if t.Pattern == "" || t.Read == nil || t.Load == nil || t.Keep == nil {
		return nil, fault.Invalid.New("topic: want a pattern, and where to read and keep positions")
	}
	return &topic{Topic: t}, nil
}

type topic struct {
	Topic
	at   uint64 // the position after what was emitted
	read bool   // at is set
}

func (t *topic) Name() string { return "topic " + t.Pattern }

func (t *topic) Run(ctx context.Context, emit Emit) error {
	for {
		if err := t.Once(ctx, emit); err != nil {
			return err
		}
		if err := pause(ctx, t.Name(), topicEvery); err != nil {
			return err
		}
	}
}

func (t *topic) Once(ctx context.Context, emit Emit) error {
	if err := t.begin(ctx); err != nil {
		return err
	}
	for {
		list, next, err := t.look(ctx, t.at)
		if err != nil {
			return err
		}
		for _, e := range list {
			o, err := observe(e.Topic+" "+e.ID, e.At, topicInput{"topic.published", e.Topic, e.ID, e.Data})
			if err == nil {
				err = emit(ctx, o)
			}
			if err != nil {
				return err
			}
		}
		if len(list) > 0 { // else whoever begins anew looks through the same once more
			if err := t.Keep(next); err != nil {
				return err
			}
		}
		if next == t.at {
			return nil
		}
		t.at = next
	}
}

// begin finds where to begin.
func (t *topic) begin(ctx context.Context) error {
	if t.read {
		return nil
	}
	at, known, err := t.Load()
	if err == nil && !known {
		if _, at, err = t.look(ctx, math.MaxInt64); err == nil {
			err = t.Keep(at)
		}
	}
	t.at, t.read = at, err == nil
	return err
}

func (t *topic) look(ctx context.Context, after uint64) ([]Published, uint64, error) {
	list, next, err := t.Read(ctx, t.Pattern, after)
	if err != nil && ctx.Err() != nil {
		err = ended(ctx, t.Name())
	}
	return list, next, err
}
