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
	"polity.run/message"
)

// BusPoint is a measurement of messages: the median of the rounds.
type BusPoint struct {
	System string      `json:"system"`
	Sync   engine.Sync `json:"sync"`
	At     int         `json:"at_once"` // senders
	Rate   float64     `json:"per_second"`
	P50    float64     `json:"p50_us"`
	P99    float64     `json:"p99_us"`
	Ratio  float64     `json:"ratio"` // of the p50 to that of one commit in the same round; with a priority of the p99 to that of normal messages
}

// Bus measures messages: sent, and asked, beside one commit that is packed by hand; and urgent ones beside normal ones, to an agent that has more to do than it can.
func Bus(ctx context.Context, cfg Config) (points []BusPoint, err error) {
	cfg = cfg.or()
	for _, sync := range cfg.Sync {
		for _, at := range cfg.At {
			cfg.Progress(fmt.Sprintf("messages, sync %s, %d senders", sync, at))
			p, err := busAt(ctx, cfg, sync, at)
			if err != nil {
				return nil, err
			}
			points = append(points, p...)
		}
		cfg.Progress(fmt.Sprintf("priorities under saturation, sync %s", sync))
		p, err := priorities(ctx, cfg, sync)
		if err != nil {
			return nil, err
		}
		points = append(points, p...)
	}
	return points, nil
}

// timed is a function that is measured.
type timed struct {
	name string
	make func() func(ctx context.Context, i int) error
}

func (t timed) Name() string                                      { return t.name }
func (t timed) worker(int) func(ctx context.Context, i int) error { return t.make() }
func (t timed) Close() error                                      { return nil }

func busAt(ctx context.Context, cfg Config, sync engine.Sync, at int) (points []BusPoint, err error) {
	dir, remove, err := cfg.folder()
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, remove()) }()
	packed, err := openPacked(ctx, dir, sync != engine.SyncOS)
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, packed.Close()) }()
	e, err := openOffice(ctx, filepath.Join(dir, "polity"), sync, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, e.Close()) }()
	systems := []timed{
		{"one commit", func() func(context.Context, int) error { return packed.worker(0) }},
		{"send", func() func(context.Context, int) error {
			return func(ctx context.Context, i int) error {
				_, err := e.Send(ctx, letter(i, message.Normal))
				return err
			}
		}},
		{"ask", func() func(context.Context, int) error { return asker(e, message.Normal) }},
	}
	rounds := make([][]turn, len(systems))
	for range cfg.Rounds {
		for i, s := range systems {
			t, err := measure(ctx, s, at, 1, cfg.Window)
			if err != nil {
				return nil, err
			}
			rounds[i] = append(rounds[i], t)
			if err := emptied(ctx, e); err != nil {
				return nil, err
			}
		}
	}
	for i, s := range systems {
		var rate, p50, p99, ratio []float64
		for n, t := range rounds[i] {
			rate, p50, p99, ratio = append(rate, t.rate), append(p50, t.p50), append(p99, t.p99), append(ratio, t.p50/rounds[0][n].p50)
		}
		points = append(points, BusPoint{s.name, sync, at, median(rate), median(p50), median(p99), median(ratio)})
	}
	return points, nil
}

// emptied waits until everything that was sent is done: the next system shall not stand in line behind it.
func emptied(ctx context.Context, e *engine.Engine) error {
	for {
		d, err := e.Messages(ctx, message.Do{Mailboxes: true})
		if err != nil || len(d.Boxes) == 0 {
			return err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func letter(i int, p message.Priority) message.Envelope {
	return message.Envelope{
		ID: "bench-" + strconv.Itoa(i), From: message.Address{Kind: message.Outside, Name: "bench"}, To: []message.Address{message.To("clerk")},
		Type: message.Task, Priority: p, Data: json.RawMessage(`{"order":17,"customer":"c-1049","items":[{"sku":"A-17","count":2}],"note":"as soon as you can, please; the last one was late"}`),
	}
}

// asker asks and wants an answer.
func asker(e *engine.Engine, p message.Priority) func(ctx context.Context, i int) error {
	return func(ctx context.Context, i int) error {
		_, answers, err := e.Ask(ctx, letter(i, p), message.Join{})
		if err == nil && (len(answers) != 1 || answers[0].Performative != polity.Inform) {
			err = errUnexpected
		}
		return err
	}
}

// openOffice opens a node with one agent, which takes some time for each message.
func openOffice(ctx context.Context, dir string, sync engine.Sync, takes time.Duration) (*engine.Engine, error) {
	clerk := &agent.Agent{
		Name: "clerk", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "do"}},
		Handle: func(_ context.Context, m polity.Message) (json.RawMessage, error) {
			time.Sleep(takes)
			return m.Body, nil
		},
	}
	e, err := engine.Open(ctx, engine.Config{State: dir, Sync: sync, Agents: []*agent.Agent{clerk}})
	if err != nil {
		return nil, err
	}
	d, err := e.Install(&agent.Release{Name: "office", Main: "clerk", Agents: []agent.Definition{clerk.Definition()}}, nil)
	if err == nil {
		err = e.Enlist(ctx, d)
	}
	if err != nil {
		return nil, first(err, e.Close())
	}
	return e, nil
}

const (
	saturators = 128                  // senders of normal messages, each of which waits for its answer
	urgents    = 4                    // senders of urgent ones
	clerkTakes = 5 * time.Millisecond // for one message; the clerk has 16 hands
)

// priorities measures how long normal and urgent messages take while there are more than the agent can do.
func priorities(ctx context.Context, cfg Config, sync engine.Sync) (points []BusPoint, err error) {
	dir, remove, err := cfg.folder()
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, remove()) }()
	e, err := openOffice(ctx, dir, sync, clerkTakes)
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, e.Close()) }()
	points = []BusPoint{{System: "normal, saturated", Sync: sync, At: saturators}, {System: "urgent, saturated", Sync: sync, At: urgents}}
	var rounds [2][]turn
	for range cfg.Rounds {
		both, err := saturate(ctx, e, cfg.Window)
		if err != nil {
			return nil, err
		}
		rounds[0], rounds[1] = append(rounds[0], both[0]), append(rounds[1], both[1])
	}
	for i := range points {
		var rate, p50, p99, ratio []float64
		for n, t := range rounds[i] {
			rate, p50, p99, ratio = append(rate, t.rate), append(p50, t.p50), append(p99, t.p99), append(ratio, t.p99/rounds[0][n].p99)
		}
		points[i].Rate, points[i].P50, points[i].P99, points[i].Ratio = median(rate), median(p50), median(p99), median(ratio)
	}
	return points, nil
}

// saturate has both kinds of messages sent at the same time.
func saturate(ctx context.Context, e *engine.Engine, window time.Duration) (both [2]turn, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var mu sync.Mutex
	var took [2][]float64
	var senders sync.WaitGroup
	begin := time.Now()
	for n := range saturators + urgents {
		which, priority := 0, message.Normal
		if n >= saturators {
			which, priority = 1, message.Urgent
		}
		ask := asker(e, priority)
		senders.Go(func() {
			for ctx.Err() == nil && time.Since(begin) < window {
				since := time.Now()
				if err := ask(ctx, block(1)); err != nil {
					stop(err)
					return
				}
				mu.Lock()
				took[which] = append(took[which], float64(time.Since(since).Nanoseconds())/1e3)
				mu.Unlock()
			}
		})
	}
	senders.Wait()
	if ctx.Err() != nil {
		return both, context.Cause(ctx)
	}
	for i, all := range took {
		if len(all) == 0 {
			return both, errUnexpected
		}
		slices.Sort(all)
		at := func(q float64) float64 { return all[int(q*float64(len(all)-1))] }
		both[i] = turn{rate: float64(len(all)) / time.Since(begin).Seconds(), p50: at(.5), p99: at(.99)}
	}
	return both, nil
}
