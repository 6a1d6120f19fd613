package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/internal/bench/unary"
	"polity.run/internal/bus"
	"polity.run/message"
	"polity.run/remote"
)

// liveSizes are the sizes of the data, in bytes.
var liveSizes = []int{128, 1024, 16384}

const outsideWait = 10 * time.Second // for the agent outside to be there

// liveMessages measures messages that are asked and answered, and not kept: to an agent in another process as far as the bus is concerned, which
// is connected over loopback, and to one in this process.
func liveMessages(ctx context.Context, cfg Config) (points []BusPoint, err error) {
	dir, remove, err := cfg.folder()
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, remove()) }()
	h, err := openStreet(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, h.Close()) }()
	for _, size := range liveSizes {
		for _, at := range cfg.At {
			cfg.Progress(fmt.Sprintf("live messages of %d bytes, %d senders", size, at))
			systems, err := h.systems(size)
			if err != nil {
				return nil, err
			}
			p, err := cfg.beside(ctx, at, systems, nil)
			if err != nil {
				return nil, err
			}
			for i := range p {
				p[i].What, p[i].Size = "live", size
			}
			points = append(points, p...)
		}
	}
	return points, nil
}

// street has an agent in the house, one outside, and what both are measured beside.
type street struct {
	nats *bus.Echo
	grpc *unary.Echo
	e    *engine.Engine
	stop context.CancelFunc
	end  chan error // of the agent outside
}

func openStreet(ctx context.Context, dir string) (s *street, err error) {
	s = &street{}
	defer func() {
		if err != nil {
			err = first(err, s.Close())
		}
	}()
	if s.nats, err = bus.OpenEcho(); err != nil {
		return s, err
	}
	if s.grpc, err = unary.Open(); err != nil {
		return s, err
	}
	inside := &agent.Agent{
		Name: "inside", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "do"}},
		Handle: func(_ context.Context, m polity.Message) (json.RawMessage, error) { return m.Body, nil },
	}
	r := &agent.Release{
		Name: "street", Main: "inside",
		Agents: []agent.Definition{inside.Definition(), {
			Name: "outside", Kind: agent.KindRemote, Skills: []polity.Skill{{Name: "do"}},
			Remote: &agent.Remote{Effect: polity.EffectIdempotent, Timeout: polity.Duration(time.Minute)},
		}},
		Messages: &agent.Messages{Links: []agent.Link{{From: agent.Outsiders, To: []message.Address{message.To("outside")}}}},
	}
	s.e, err = openHouse(ctx, engine.Config{State: filepath.Join(dir, "street"), Sync: engine.SyncOS, Agents: []*agent.Agent{inside}, Door: &engine.Door{}}, r)
	if err != nil {
		return s, err
	}
	return s, s.serve(ctx, filepath.Join(dir, "outside.creds"))
}

// serve serves the agent outside, and returns when it is there.
func (s *street) serve(ctx context.Context, path string) error {
	seed, public, err := bus.NewKey()
	if err != nil {
		return err
	}
	admitted, err := s.e.Admit(ctx, "street", "outside", public, 0)
	if err != nil {
		return err
	}
	if err := (remote.Credentials{Admission: admitted, Seed: seed}).Write(path); err != nil {
		return err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop, s.end = stop, make(chan error, 1)
	go func() {
		s.end <- remote.Serve(serving, path, func(_ context.Context, q message.Envelope) (json.RawMessage, error) { return q.Data, nil })
	}()
	ctx, cancel := context.WithTimeout(ctx, outsideWait)
	defer cancel()
	for {
		err := replied(ctx, s.e, s.letter("outside", 0, json.RawMessage(`""`)), 1)
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(time.Millisecond) // it is not there yet
	}
}

func (s *street) letter(name polity.AgentName, i int, data json.RawMessage) message.Envelope {
	return message.Envelope{
		ID: "bench-" + strconv.Itoa(i), From: message.Address{Kind: message.Outside, Name: "bench"}, To: []message.Address{message.To(name)},
		Type: message.Query, Live: true, Data: data,
	}
}

// systems are what is measured with data of a size.
func (s *street) systems(size int) ([]timed, error) {
	data := json.RawMessage(`"` + strings.Repeat("x", size-2) + `"`)
	asked := s.letter("outside", 1_000_000, data) // as it is on the wire: docs/spec/bus.md
	asked.From, asked.Live, asked.Deadline = message.To("street"), false, time.Now().Add(time.Minute)
	header, err := asked.ShortHeader()
	live := func(name string, to polity.AgentName) timed {
		return alone(name, func(ctx context.Context, i int) error { return replied(ctx, s.e, s.letter(to, i, data), 1) })
	}
	return []timed{
		alone("NATS", func(ctx context.Context, _ int) error { return same(s.nats.Ask(ctx, header, data))(size) }),
		alone("gRPC", func(ctx context.Context, _ int) error { return same(s.grpc.Ask(ctx, data))(size) }),
		live("to an agent outside", "outside"),
		live("in the same process", "inside"),
	}, err
}

// same wants an answer of a size.
func same(data []byte, err error) func(size int) error {
	return func(size int) error {
		if err == nil && len(data) != size {
			err = errUnexpected
		}
		return err
	}
}

func (s *street) Close() (err error) {
	if s.stop != nil {
		s.stop()
		err = <-s.end
	}
	if s.e != nil {
		err = first(err, s.e.Close())
	}
	if s.grpc != nil {
		err = first(err, s.grpc.Close())
	}
	if s.nats != nil {
		s.nats.Close()
	}
	return err
}
