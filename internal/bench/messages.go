package bench

import (
	"context"
	"encoding/json"
	"errors"
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
	"polity.run/message"
)

// BusPoint is a measurement of messages: the median of the rounds.
type BusPoint struct {
	What   string      `json:"what"` // which of them are beside each other
	System string      `json:"system"`
	Sync   engine.Sync `json:"sync,omitempty"` // where something is written
	Size   int         `json:"size,omitempty"` // bytes of the data, where several are measured
	At     int         `json:"at_once"`        // senders
	Rate   float64     `json:"per_second"`
	P50    float64     `json:"p50_us"`
	P99    float64     `json:"p99_us"`
	// The rest are ratios to the first system beside it, in the same round: of the median, the 99th percentile and the rate.
	ToP50  float64 `json:"to_p50"`
	ToP99  float64 `json:"to_p99"`
	ToRate float64 `json:"to_rate"`
}

// BusKinds are what Bus measures.
var BusKinds = []string{"live", "kept", "broadcast", "saturated"}

// Bus measures messages, each kind beside what it is made of: those that are not kept beside bare NATS and gRPC, kept ones beside one commit that
// is packed by hand, a broadcast to BroadcastTo agents, and urgent ones beside normal ones to an agent that has more to do than it can.
func Bus(ctx context.Context, cfg Config, kinds []string) (points []BusPoint, err error) {
	cfg = cfg.or()
	add := func(text string, measure func() ([]BusPoint, error)) {
		if err != nil {
			return
		}
		cfg.Progress(text)
		var p []BusPoint
		p, err = measure()
		points = append(points, p...)
	}
	if slices.Contains(kinds, "live") {
		add("live messages", func() ([]BusPoint, error) { return liveMessages(ctx, cfg) })
	}
	for _, sync := range cfg.Sync {
		for _, at := range cfg.At {
			if slices.Contains(kinds, "kept") {
				add(fmt.Sprintf("messages, sync %s, %d senders", sync, at), func() ([]BusPoint, error) { return keptMessages(ctx, cfg, sync, at) })
			}
		}
		if slices.Contains(kinds, "broadcast") {
			add(fmt.Sprintf("a broadcast, sync %s", sync), func() ([]BusPoint, error) { return broadcast(ctx, cfg, sync) })
		}
		if slices.Contains(kinds, "saturated") {
			add(fmt.Sprintf("priorities under saturation, sync %s", sync), func() ([]BusPoint, error) { return priorities(ctx, cfg, sync) })
		}
	}
	return points, err
}

// timed is a function that is measured.
type timed struct {
	name string
	make func() func(ctx context.Context, i int) error
}

func (t timed) Name() string                                      { return t.name }
func (t timed) worker(int) func(ctx context.Context, i int) error { return t.make() }
func (t timed) Close() error                                      { return nil }

// alone makes a function that every worker may call a system.
func alone(name string, do func(ctx context.Context, i int) error) timed {
	return timed{name, func() func(context.Context, int) error { return do }}
}

// beside measures systems in turns; rest, if not nil, is called after each.
func (c Config) beside(ctx context.Context, at int, systems []timed, rest func() error) ([]BusPoint, error) {
	rounds := make([][]turn, len(systems))
	for range c.Rounds {
		for i, s := range systems {
			t, err := measure(ctx, s, at, 1, c.Window)
			if err == nil && rest != nil {
				err = rest()
			}
			if err != nil {
				return nil, err
			}
			rounds[i] = append(rounds[i], t)
		}
	}
	points := make([]BusPoint, len(systems))
	for i, s := range systems {
		points[i] = besides(rounds[i], rounds[0])
		points[i].System, points[i].At = s.name, at
	}
	return points, nil
}

// besides is what came of a system in its turns, beside another one.
func besides(turns, other []turn) BusPoint {
	of := func(f func(t, o turn) float64) float64 {
		all := make([]float64, len(turns))
		for i := range turns {
			all[i] = f(turns[i], other[i])
		}
		return median(all)
	}
	return BusPoint{
		Rate: of(func(t, _ turn) float64 { return t.rate }), P50: of(func(t, _ turn) float64 { return t.p50 }), P99: of(func(t, _ turn) float64 { return t.p99 }),
		ToP50: of(func(t, o turn) float64 { return t.p50 / o.p50 }), ToP99: of(func(t, o turn) float64 { return t.p99 / o.p99 }),
		ToRate: of(func(t, o turn) float64 { return t.rate / o.rate }),
	}
}

func keptMessages(ctx context.Context, cfg Config, sync engine.Sync, at int) (points []BusPoint, err error) {
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
	points, err = cfg.beside(ctx, at, []timed{
		{"one commit", func() func(context.Context, int) error { return packed.worker(0) }},
		alone("send", func(ctx context.Context, i int) error { return sent(ctx, e, letter(i, message.Normal)) }),
		alone("ask a function", asker(e, letter)),
		alone("ask a decider", asker(e, to("judge"))),
	}, func() error { return emptied(ctx, e) })
	for i := range points {
		points[i].What, points[i].Sync = "kept", sync
	}
	return points, err
}

// sent sends a message. While the mailbox is full it waits as long as it is told to, which is part of what sending takes.
func sent(ctx context.Context, e *engine.Engine, m message.Envelope) error {
	for {
		receipts, err := e.Send(ctx, m)
		if !errors.Is(err, fault.Full) || len(receipts) == 0 || receipts[0].RetryAfter == 0 {
			return err
		}
		select {
		case <-time.After(time.Duration(receipts[0].RetryAfter) * time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
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

// to makes letters to another agent.
func to(name polity.AgentName) func(int, message.Priority) message.Envelope {
	return func(i int, p message.Priority) message.Envelope {
		m := letter(i, p)
		m.To = []message.Address{message.To(name)}
		return m
	}
}

// asker asks and wants an answer.
func asker(e *engine.Engine, made func(i int, p message.Priority) message.Envelope) func(ctx context.Context, i int) error {
	return func(ctx context.Context, i int) error { return replied(ctx, e, made(i, message.Normal), 1) }
}

// replied wants a number of good answers.
func replied(ctx context.Context, e *engine.Engine, m message.Envelope, n int) error {
	_, answers, err := e.Ask(ctx, m, message.Join{})
	if err == nil && len(answers) != n {
		err = errUnexpected
	}
	for i := range answers {
		if err == nil && answers[i].Performative != polity.Inform {
			err = fault.Failed.New("bench: %s answers %s", answers[i].From, answers[i].Data)
		}
	}
	return err
}

// echo decides at once.
type echo struct{}

func (echo) Decide(state any, e polity.Event) (any, []polity.Command) {
	return state, []polity.Command{polity.Finish(e.Data)}
}

// openOffice opens a node with a clerk, which takes some time for each message, and a judge, who decides at once.
func openOffice(ctx context.Context, dir string, sync engine.Sync, takes time.Duration) (*engine.Engine, error) {
	clerk := &agent.Agent{
		Name: "clerk", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "do"}},
		Handle: func(_ context.Context, m polity.Message) (json.RawMessage, error) {
			time.Sleep(takes)
			return m.Body, nil
		},
	}
	judge := &agent.Agent{Name: "judge", Version: "1", Skills: []polity.Skill{{Name: "do"}}, Decider: echo{}}
	return openHouse(ctx, engine.Config{State: dir, Sync: sync, Agents: []*agent.Agent{clerk, judge}}, &agent.Release{
		Name: "office", Main: "clerk", Agents: []agent.Definition{clerk.Definition(), judge.Definition()},
		Messages: &agent.Messages{Links: []agent.Link{{From: agent.Outsiders, To: []message.Address{message.To("judge")}}}},
	})
}

// openHouse opens a node whose agents are those of a release.
func openHouse(ctx context.Context, cfg engine.Config, r *agent.Release) (*engine.Engine, error) {
	e, err := engine.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	d, err := e.Install(r, nil)
	if err == nil {
		err = e.Enlist(ctx, d)
	}
	if err != nil {
		return nil, first(err, e.Close())
	}
	return e, nil
}

// BroadcastTo is how many agents a broadcast is for.
const BroadcastTo = 1000

// broadcast measures a message to all of many agents, beside one to one of them.
func broadcast(ctx context.Context, cfg Config, sync engine.Sync) (points []BusPoint, err error) {
	dir, remove, err := cfg.folder()
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, remove()) }()
	clerk := &agent.Agent{
		Name: "clerk", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "do"}},
		Handle: func(_ context.Context, m polity.Message) (json.RawMessage, error) { return m.Body, nil },
	}
	r := &agent.Release{Name: "hall", Messages: &agent.Messages{Groups: map[string][]polity.AgentName{}}}
	for i := range BroadcastTo {
		d := clerk.Definition()
		d.Name = polity.AgentName(fmt.Sprintf("clerk-%04d", i))
		r.Agents = append(r.Agents, d)
		r.Messages.Groups["all-clerks"] = append(r.Messages.Groups["all-clerks"], d.Name)
	}
	r.Main = string(r.Agents[0].Name)
	everybody := message.Address{Kind: message.Group, Name: "all-clerks"}
	r.Messages.Links = []agent.Link{{From: agent.Outsiders, To: []message.Address{everybody}}}
	e, err := openHouse(ctx, engine.Config{State: dir, Sync: sync, Agents: []*agent.Agent{clerk}}, r)
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, e.Close()) }()
	all := func(i int) message.Envelope {
		m := letter(i, message.Normal)
		m.To = []message.Address{everybody}
		return m
	}
	points, err = cfg.beside(ctx, 1, []timed{
		alone("ask one", asker(e, to(polity.AgentName(r.Main)))),
		alone("send to 1000", func(ctx context.Context, i int) error {
			_, err := e.Send(ctx, all(i))
			return err
		}),
		alone("ask 1000", func(ctx context.Context, i int) error { return replied(ctx, e, all(i), BroadcastTo) }),
	}, func() error { return emptied(ctx, e) })
	for i := range points {
		points[i].What, points[i].Sync = "broadcast", sync
	}
	return points, err
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
	var rounds [2][]turn
	for range cfg.Rounds {
		both, err := saturate(ctx, e, cfg.Window)
		if err != nil {
			return nil, err
		}
		rounds[0], rounds[1] = append(rounds[0], both[0]), append(rounds[1], both[1])
	}
	for i, name := range []string{"normal", "urgent"} {
		p := besides(rounds[i], rounds[0])
		p.What, p.System, p.Sync, p.At = "saturated", name, sync, [...]int{saturators, urgents}[i]
		points = append(points, p)
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
		senders.Go(func() {
			for ctx.Err() == nil && time.Since(begin) < window {
				since := time.Now()
				if err := replied(ctx, e, letter(block(1), priority), 1); err != nil {
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
