package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/message"
)

// MailboxesMax is the most mailboxes that are measured.
const MailboxesMax = 10_000_000

// mailboxesFew is how many the many are beside.
const mailboxesFew = 1000

// Mailboxed is what many agents cost that are idle and have addresses: instances of one agent.
type Mailboxed struct {
	Agents int           `json:"agents"`
	Added  time.Duration `json:"added_ns"` // until they were durable
	Rate   float64       `json:"added_per_second"`
	Heap   float64       `json:"heap_bytes_per_agent"` // over the node without them
	Start  time.Duration `json:"start_ns"`             // of a node, until one of them has answered
	Points []BusPoint    `json:"requests"`             // to one of 1000, to one of all: kept and live
	// What the store holds with all of them.
	Streams     int `json:"streams"`
	Consumers   int `json:"consumers"`
	Connections int `json:"connections"`
}

// Mailboxes measures what so many mailboxes cost, and requests to any of them beside requests to one of few.
func Mailboxes(ctx context.Context, cfg Config, agents int) (m Mailboxed, err error) {
	cfg = cfg.or()
	dir, remove, err := cfg.folder()
	if err != nil {
		return m, err
	}
	defer func() { err = first(err, remove()) }()
	m.Agents = agents
	e, err := openHerd(ctx, filepath.Join(dir, "polity"), cfg.Sync[0])
	if err != nil {
		return m, err
	}
	defer func() {
		if e != nil {
			err = first(err, e.Close())
		}
	}()
	cfg.Progress(fmt.Sprintf("%d mailboxes", agents))
	if err := m.fill(ctx, e); err != nil {
		return m, err
	}
	if m.Points, err = herdRequests(ctx, cfg, e, agents); err != nil {
		return m, err
	}
	if m.Streams, m.Consumers, m.Connections, err = e.Census(); err != nil {
		return m, err
	}
	err = e.Close()
	e = nil
	if err != nil {
		return m, err
	}
	begin := time.Now()
	if e, err = openHerd(ctx, filepath.Join(dir, "polity"), cfg.Sync[0]); err != nil {
		return m, err
	}
	err = replied(ctx, e, herdLetter(block(1), agents-1), 1)
	m.Start = time.Since(begin)
	return m, err
}

func openHerd(ctx context.Context, dir string, sync engine.Sync) (*engine.Engine, error) {
	clerk := &agent.Agent{
		Name: "clerk", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "do"}},
		Handle: func(_ context.Context, m polity.Message) (json.RawMessage, error) { return m.Body, nil },
	}
	return openHouse(ctx, engine.Config{State: dir, Sync: sync, Agents: []*agent.Agent{clerk}},
		&agent.Release{Name: "herd", Main: "clerk", Agents: []agent.Definition{clerk.Definition()}})
}

// fill adds the agents, some at a time, as whoever has them in a file does.
func (m *Mailboxed) fill(ctx context.Context, e *engine.Engine) error {
	before := heapNow()
	for from := 0; from < m.Agents; from += message.InstancesMax {
		names := make([]string, min(message.InstancesMax, m.Agents-from))
		for i := range names {
			names[i] = herdName(from + i)
		}
		begin := time.Now()
		if _, err := e.AddInstances(ctx, "clerk", names); err != nil {
			return err
		}
		m.Added += time.Since(begin)
	}
	m.Rate, m.Heap = float64(m.Agents)/m.Added.Seconds(), (heapNow()-before)/float64(m.Agents)
	return nil
}

func herdName(i int) string { return fmt.Sprintf("customer-%d", i) }

func herdLetter(i, to int) message.Envelope {
	m := letter(i, message.Normal)
	m.To = []message.Address{message.To(polity.AgentName("clerk/" + herdName(to)))}
	return m
}

// herdRequests asks any of few and any of all, in turns.
func herdRequests(ctx context.Context, cfg Config, e *engine.Engine, agents int) (points []BusPoint, err error) {
	few := min(mailboxesFew, agents)
	for _, live := range []bool{false, true} {
		to := func(n int) func(context.Context, int) error {
			return func(ctx context.Context, i int) error {
				m := herdLetter(i, rand.IntN(n))
				m.Live = live
				return replied(ctx, e, m, 1)
			}
		}
		what := "kept"
		if live {
			what = "live"
		}
		p, err := cfg.beside(ctx, 1, []timed{alone(fmt.Sprintf("one of %d", few), to(few)), alone(fmt.Sprintf("one of %d", agents), to(agents))}, nil)
		if err != nil {
			return nil, err
		}
		for i := range p {
			p[i].What, p[i].Sync = what, cfg.Sync[0]
		}
		points = append(points, p...)
	}
	return points, nil
}
