package run

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// decideFunc is a decider whose state is the number of results.
type decideFunc func(n int, e polity.Event) []polity.Command

func (f decideFunc) Decide(state any, e polity.Event) (any, []polity.Command) {
	n, _ := state.(int)
	if e.Kind == polity.Result {
		n++
	}
	return n, f(n, e)
}

// steps calls the tool n times, one after the other.
func steps(n int) decideFunc {
	return func(done int, e polity.Event) []polity.Command {
		if done == n {
			return []polity.Command{polity.Finish(json.RawMessage(fmt.Sprintf(`{"steps":%d}`, done)))}
		}
		return []polity.Command{polity.Call(fmt.Sprintf("step.%d", done+1), "noop", json.RawMessage(`{}`))}
	}
}

// programs is a catalog of deciders; every tool is known.
type programs struct {
	deciders map[string]polity.Decider
	effects  map[string]polity.Effect // of agents without a decider, and of tools
	asks     map[string]time.Duration // of tools whose destination can be asked
	signals  []string                 // that every decider declares; each takes any data but null
	atOnce   int                      // messages that each agent works on
	persons  map[string]time.Duration // how long each has for an answer, which is any data but null
}

func (p programs) Program(_ Digest, agent string) (*Program, error) {
	if d, ok := p.deciders[agent]; ok {
		return &Program{Decider: d, AtOnce: p.atOnce, Signal: p.signal, Arrival: func(skill string) polity.Arrival { return polity.Arrival(skill) }}, nil
	}
	if e, ok := p.effects[agent]; ok {
		w := Work{Class: e}
		if e == polity.EffectNone {
			w.Early = new(Early)
		}
		return &Program{Work: w, AtOnce: p.atOnce}, nil
	}
	if limit, ok := p.persons[agent]; ok {
		return &Program{Work: Work{Class: polity.EffectIdempotent, Timeout: limit, Person: true}, Answer: notNull}, nil
	}
	return nil, fault.NotFound.New("no agent %q", agent)
}

func notNull(_ string, _, answer json.RawMessage, _ string) (json.RawMessage, error) {
	if string(answer) == "null" {
		return nil, fault.Invalid.New("null is no answer")
	}
	return answer, nil
}

func (p programs) signal(name string, data json.RawMessage) error {
	switch {
	case !slices.Contains(p.signals, name):
		return fault.Invalid.New("no signal %q; there is %v", name, p.signals)
	case string(data) == "null":
		return fault.Invalid.New("signal %s: null", name)
	}
	return nil
}

func (p programs) Work(_ Digest, _ string, _ polity.Verb, to string) (Work, error) {
	if e, ok := p.effects[to]; ok {
		return Work{Class: e, Asks: p.asks[to]}, nil
	}
	return Work{Class: polity.EffectNone}, nil
}

// node is a partition on a real embedded JetStream.
type node struct {
	*Partition
	bus *bus.Bus
	log *bus.Log
}

func (n *node) close(t testing.TB) {
	t.Helper()
	if err := n.Partition.Close(); err != nil {
		t.Error(err)
	}
	n.bus.Close()
}

func openNode(t testing.TB, dir string, sync bus.Sync, cfg Config) *node {
	t.Helper()
	n, err := tryNode(dir, sync, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func tryNode(dir string, sync bus.Sync, cfg Config) (*node, error) {
	b, err := bus.Open(context.Background(), bus.Config{Dir: filepath.Join(dir, "store"), Sync: sync})
	if err != nil {
		return nil, err
	}
	acks := NewAcks()
	l, err := b.Log(context.Background(), "p0", acks.Put)
	if err != nil {
		b.Close()
		return nil, err
	}
	if cfg.Blobs, err = OpenBlobs(filepath.Join(dir, "blobs"), sync == bus.SyncDisk); err != nil {
		b.Close()
		return nil, err
	}
	cfg.Anchor = filepath.Join(dir, "anchor")
	p, err := Open(context.Background(), l, acks, cfg)
	if err != nil {
		b.Close()
		return nil, err
	}
	return &node{p, b, l}, nil
}

func noop(context.Context, *Effect) (json.RawMessage, polity.Usage, error) {
	return json.RawMessage(`{"ok":true}`), polity.Usage{}, nil
}

func rootID(i int) polity.RunID { return polity.NewRunID(0, fmt.Appendf(nil, "%d", i)) }

func TestRunOfFiveSteps(t *testing.T) {
	n := openNode(t, t.TempDir(), bus.SyncOS, Config{Catalog: programs{deciders: map[string]polity.Decider{"five": steps(5)}}, Do: noop})
	defer n.close(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	o, err := n.Run(ctx, Request{ID: rootID(1), Agent: "five"})
	if err != nil || o.Status != polity.StatusCompleted || string(o.Output) != `{"steps":5}` {
		t.Fatalf("%+v %v", o, err)
	}
	again, err := n.Run(ctx, Request{ID: rootID(1), Agent: "five"})
	if err != nil || string(again.Output) != string(o.Output) || again.Status != o.Status || again.Usage != o.Usage {
		t.Fatalf("asked again: %+v %v", again, err)
	}
	var kinds []string
	if err := n.History(ctx, rootID(1), func(n polity.Notice) error { kinds = append(kinds, n.Kind); return nil }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(kinds) != "[opened result result result result result finished]" {
		t.Fatalf("history: %v", kinds)
	}
}

func BenchmarkFiveSteps(b *testing.B) {
	for _, sync := range []bus.Sync{bus.SyncOS, bus.SyncDisk} {
		for _, c := range []int{1, 16, 64, 256, 1024} {
			b.Run(fmt.Sprintf("%s/%d", sync, c), func(b *testing.B) { benchFiveSteps(b, sync, c) })
		}
	}
}

func benchFiveSteps(b *testing.B, sync_ bus.Sync, c int) {
	n := openNode(b, b.TempDir(), sync_, Config{Catalog: programs{deciders: map[string]polity.Decider{"five": steps(5)}}, Do: noop})
	defer n.close(b)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	next := make(chan int, c)
	for range c {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range next {
				if o, err := n.Run(context.Background(), Request{ID: rootID(i), Agent: "five"}); err != nil || o.Status != polity.StatusCompleted {
					b.Errorf("%+v %v", o, err)
				}
			}
		}()
	}
	for i := range b.N {
		next <- i
	}
	close(next)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
}
