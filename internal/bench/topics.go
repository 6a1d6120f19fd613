package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// EventPoint is a measurement of events on a topic: the median of the rounds.
type EventPoint struct {
	System string      `json:"system"`
	Sync   engine.Sync `json:"sync"`
	At     int         `json:"at_once"` // publishers
	Batch  int         `json:"batch"`   // events of one run at most; 0 for none
	Rate   float64     `json:"events_per_second"`
	P50    float64     `json:"p50_us"` // from the call of publish until the event was consumed, or its run had ended
	P95    float64     `json:"p95_us"`
	Ratio  float64     `json:"ratio"` // of the rate to raw JetStream in the same round: the median over the rounds
}

const eventTopic = "orders.placed"

// Topics measures events from publishers to runs that have ended, at several sizes of batches, beside JetStream alone: published to the same kind of
// stream, with the same payload and headers, and read by one consumer.
func Topics(ctx context.Context, cfg Config, batches []int) (points []EventPoint, err error) {
	cfg = cfg.or()
	for _, sync := range cfg.Sync {
		for _, at := range cfg.At {
			cfg.Progress(fmt.Sprintf("events, sync %s, %d publishers", sync, at))
			p, err := topicsAt(ctx, cfg, sync, at, batches)
			if err != nil {
				return nil, err
			}
			points = append(points, p...)
		}
	}
	return points, nil
}

func topicsAt(ctx context.Context, cfg Config, sync engine.Sync, at int, batches []int) (points []EventPoint, err error) {
	dir, remove, err := cfg.folder()
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, remove()) }()
	raw, err := openRawEvents(ctx, filepath.Join(dir, "raw"), sync)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	systems := []eventSystem{raw}
	points = []EventPoint{{System: "JetStream", Sync: sync, At: at}}
	for _, batch := range batches {
		s, err := openRunEvents(ctx, filepath.Join(dir, "polity", strconv.Itoa(batch)), sync, batch, 2*at)
		if err != nil {
			return nil, err
		}
		defer func() { err = first(err, s.Close()) }()
		systems = append(systems, s)
		points = append(points, EventPoint{System: "polity", Sync: sync, At: at, Batch: batch})
	}
	rounds := make([][]EventPoint, len(systems))
	for range cfg.Rounds {
		for i, s := range systems {
			p, err := eventTurn(ctx, s, at, cfg.Window)
			if err != nil {
				return nil, err
			}
			rounds[i] = append(rounds[i], p)
		}
	}
	for i := range points {
		p := &points[i]
		var rate, p50, p95, ratio []float64
		for n, r := range rounds[i] {
			rate, p50, p95 = append(rate, r.Rate), append(p50, r.P50), append(p95, r.P95)
			ratio = append(ratio, r.Rate/rounds[0][n].Rate)
		}
		p.Rate, p.P50, p.P95, p.Ratio = median(rate), median(p50), median(p95), median(ratio)
	}
	return points, nil
}

// eventSystem takes events from publishers to a reader.
type eventSystem interface {
	publish(ctx context.Context, id string, data json.RawMessage) error
	// read gives the IDs of what was consumed to done, from any goroutine, until ctx ends.
	read(ctx context.Context, done func(id string)) error
}

// arrivals are when events were published and consumed.
type arrivals struct {
	mu   sync.Mutex
	sent map[string]time.Time
	took []float64 // us
}

// eventTurn has publishers publish for a while, and waits until everything was consumed.
func eventTurn(ctx context.Context, s eventSystem, at int, window time.Duration) (EventPoint, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	a := &arrivals{sent: map[string]time.Time{}}
	turn := strconv.FormatInt(time.Now().UnixNano(), 36)
	all := make(chan struct{}, 1)
	var reader, publishers sync.WaitGroup
	reader.Go(func() {
		err := s.read(ctx, func(id string) {
			a.mu.Lock()
			defer a.mu.Unlock()
			since, ok := a.sent[id]
			if !ok {
				return // of an earlier turn
			}
			delete(a.sent, id)
			a.took = append(a.took, float64(time.Since(since).Nanoseconds())/1e3)
			select {
			case all <- struct{}{}:
			default:
			}
		})
		if err != nil {
			stop(err)
		}
	})
	begin := time.Now()
	for p := range at {
		publishers.Go(func() {
			for i := 0; time.Since(begin) < window && ctx.Err() == nil; i++ {
				id := fmt.Sprintf("%s-%d-%d", turn, p, i)
				a.mu.Lock()
				a.sent[id] = time.Now()
				a.mu.Unlock()
				data := fmt.Appendf(nil, `{"order":%q,"customer":"c-1049","items":[{"sku":"A-17","count":2}],"total":%d}`, id, i)
				if err := s.publish(ctx, id, data); err != nil {
					stop(err)
				}
			}
		})
	}
	publishers.Wait()
	for left := 1; left > 0 && ctx.Err() == nil; {
		a.mu.Lock()
		left = len(a.sent)
		a.mu.Unlock()
		if left > 0 {
			select {
			case <-all:
			case <-ctx.Done():
			}
		}
	}
	took := time.Since(begin)
	err := context.Cause(ctx)
	stop(nil)
	reader.Wait()
	if err != nil {
		return EventPoint{}, err
	}
	if len(a.took) == 0 {
		return EventPoint{}, fault.Internal.New("bench: no event came")
	}
	slices.Sort(a.took)
	return EventPoint{Rate: float64(len(a.took)) / took.Seconds(), P50: a.took[len(a.took)/2], P95: a.took[len(a.took)*95/100]}, nil
}

// rawEvents is JetStream alone.
type rawEvents struct {
	b  *bus.Bus
	t  *bus.Topics
	at uint64 // what was read
}

func openRawEvents(ctx context.Context, dir string, sync engine.Sync) (*rawEvents, error) {
	b, err := bus.Open(ctx, bus.Config{Dir: dir, Sync: bus.Sync(sync)})
	if err != nil {
		return nil, err
	}
	t, _, err := b.Topics(ctx, 0)
	if err != nil {
		b.Close()
		return nil, err
	}
	return &rawEvents{b: b, t: t}, nil
}

func (s *rawEvents) Close() { s.b.Close() }

func (s *rawEvents) publish(ctx context.Context, id string, data json.RawMessage) error {
	_, _, err := s.t.Publish(ctx, bus.Event{Topic: eventTopic, ID: id, Data: data}, 0)
	return err
}

func (s *rawEvents) read(ctx context.Context, done func(id string)) error {
	return s.t.Feed(ctx, s.at, func(e bus.Event) error {
		s.at = e.Seq
		done(e.ID)
		return nil
	})
}

// runEvents has a run of an agent for each batch of events.
type runEvents struct {
	e     *engine.Engine
	batch int
	slots chan struct{} // one for each run that may go on at the same time
	at    uint64
}

func openRunEvents(ctx context.Context, dir string, sync engine.Sync, batch, runs int) (*runEvents, error) {
	clerk := &agent.Agent{
		Name: "clerk", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "clerk"}},
		Handle: func(context.Context, polity.Message) (json.RawMessage, error) {
			return json.RawMessage(`{"done":true}`), nil
		},
	}
	e, err := engine.Open(ctx, engine.Config{State: dir, Sync: sync, Agents: []*agent.Agent{clerk}})
	if err != nil {
		return nil, err
	}
	return &runEvents{e: e, batch: batch, slots: make(chan struct{}, max(runs, 16))}, nil
}

func (s *runEvents) Close() error { return s.e.Close() }

func (s *runEvents) publish(ctx context.Context, id string, data json.RawMessage) error {
	return s.e.Publish(ctx, eventTopic, id, 0, data)
}

const readWait = time.Second

func (s *runEvents) read(ctx context.Context, done func(id string)) error {
	var runs sync.WaitGroup
	defer runs.Wait()
	for {
		a, err := s.e.Topics(ctx, polity.TopicsRequest{Read: &polity.TopicRead{Topic: eventTopic, After: s.at, Wait: readWait}})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		s.at = a.Next
		for batch := range slices.Chunk(a.Events, s.batch) {
			s.slots <- struct{}{}
			runs.Go(func() {
				defer func() { <-s.slots }()
				if err := s.run(ctx, batch); err != nil {
					return // the turn ends without it, and says so
				}
				for _, e := range batch {
					done(e.ID)
				}
			})
		}
	}
}

func (s *runEvents) run(ctx context.Context, batch []polity.Published) error {
	input, err := json.Marshal(batch)
	if err != nil {
		return err
	}
	id := polity.NewRunID(0, fmt.Appendf(nil, "%d-%d", batch[0].Seq, batch[len(batch)-1].Seq))
	o, err := s.e.Run(ctx, engine.Request{ID: id, Agent: "clerk", Input: input})
	if err == nil && o.Status != polity.StatusCompleted {
		err = errUnexpected
	}
	return err
}
