package run

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"polity.run"
	"polity.run/internal/bus"
	"polity.run/script"
)

// BenchmarkRestart measures how long the folding of a log takes that holds only live runs, each with an opening and nine results: first with as many events in a
// commit as it takes, then with a single one. The events of all runs are interleaved: of scripts that are
// more than LiveMax, none has a coroutine when its turn comes.
func BenchmarkRestart(b *testing.B) {
	deciders := programs{deciders: map[string]polity.Decider{"long": steps(100)}}
	for _, c := range []struct {
		name    string
		runs    int
		single  bool
		made    Catalog // the log with
		catalog Catalog
	}{
		{"packed", 100_000, false, deciders, deciders},
		{"single", 20_000, true, deciders, deciders},
		{"deciders", 20_000, false, deciders, deciders},
		{"scripts/live", 20_000, false, longScript(20_000), longScript(20_000)},
		{"scripts/dropped", 20_000, false, longScript(20_000), longScript(2_000)},
		{"scripts/many", 100_000, false, longScript(100_000), longScript(100_000)},
	} {
		b.Run(c.name, func(b *testing.B) { benchRestart(b, liveLog(b, c.runs, c.single, c.made), c.catalog) })
	}
}

const eventsOfLiveRun = 10

// liveLog makes a log of runs that wait for their tenth result.
func liveLog(b *testing.B, runs int, single bool, catalog Catalog) *memory {
	m := newMemory(b, catalog)
	settle := func() {
		if single || m.core.full() {
			m.core.settle()
			m.acknowledge()
		}
	}
	m.core.now = m.now
	for i := range runs {
		q := &request{id: rootID(i), agent: "long", input: json.RawMessage(`{"question":"who wrote Faust?"}`), bounds: polity.DefaultBounds()}
		m.core.open(q, func(err error) {
			if err != nil {
				b.Error(err)
			}
		}, nil)
		settle()
	}
	for range eventsOfLiveRun - 1 {
		m.core.settle()
		m.acknowledge()
		effects := m.effects
		m.effects = nil
		for _, p := range effects {
			m.core.done(p, result{data: json.RawMessage(`{"ok":true,"text":"a result of some forty bytes"}`)})
			settle()
		}
	}
	m.core.settle()
	m.acknowledge()
	if m.failed != nil {
		b.Fatal(m.failed)
	}
	return m
}

// longScript is steps(100) as a script.
func longScript(live int) Catalog {
	return programs{deciders: map[string]polity.Decider{
		"long": script.Decider(func(c *script.Context, in json.RawMessage) (json.RawMessage, error) {
			for i := range 100 {
				if err := c.Call(c.Name("step", i+1), "noop", in, &in); err != nil {
					return nil, err
				}
			}
			return in, nil
		}, script.Config{LiveMax: live}),
	}}
}

// store appends a log to a stream.
func (m *memory) store(b *testing.B, s *bus.Bus) {
	acks := make(chan bus.Ack, 1)
	l, err := s.Log(context.Background(), "p0", func(a bus.Ack) { acks <- a })
	if err != nil {
		b.Fatal(err)
	}
	var prev hash
	for i, e := range m.log {
		if err := l.Append(e.data, e.id.id(), prev.id(), 0, uint64(i)); err != nil {
			b.Fatal(err)
		}
		if a := <-acks; a.Err != nil {
			b.Fatal(a.Err)
		}
		prev = e.id
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

func benchRestart(b *testing.B, m *memory, catalog Catalog) {
	dir := b.TempDir()
	s, err := bus.Open(context.Background(), bus.Config{Dir: filepath.Join(dir, "store"), Sync: bus.SyncOS})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	runs := len(m.core.runs)
	m.store(b, s)
	commits, size := len(m.log), 0
	for _, e := range m.log {
		size += len(e.data)
	}
	for _, r := range m.core.runs {
		r.forget()
	}
	m = nil
	before := inUse()
	var after uint64
	b.ReportAllocs()
	for b.Loop() {
		acks := NewAcks()
		l, err := s.Log(context.Background(), "p0", acks.Put)
		if err != nil {
			b.Fatal(err)
		}
		p, err := Open(context.Background(), l, acks, Config{Catalog: catalog, Do: noop, Park: true})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		after = inUse()
		if n := len(p.core.runs); n != runs {
			b.Fatalf("%d runs are live, want %d", n, runs)
		}
		if err := p.Close(); err != nil {
			b.Fatal(err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	each := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
	b.ReportMetric(each/float64(runs*eventsOfLiveRun), "ns/event")
	b.ReportMetric(each/float64(commits), "ns/commit")
	b.ReportMetric(float64(commits), "commits")
	b.ReportMetric(float64(size)/float64(runs*eventsOfLiveRun), "bytes/event")
	b.ReportMetric(float64(after-min(before, after))/float64(runs), "heap-B/run")
}

func inUse() uint64 { h, s := inUseBy(); return h + s }

// inUseBy is what is in use on heap and stacks once the garbage is gone.
func inUseBy() (heap, stacks uint64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, m.StackInuse
}

const slow = 2 * time.Second // an effect of BenchmarkWaiting

// BenchmarkWaiting measures many runs that wait for a slow effect at the same time, one that blocks and one that answers later: how much longer than the
// effect itself all of them take, and what one of them costs while it waits.
func BenchmarkWaiting(b *testing.B) {
	b.Run("blocking", func(b *testing.B) {
		benchWaiting(b, func(ctx context.Context, _ *Effect) (json.RawMessage, polity.Usage, error) {
			if !waitFor(ctx, slow) {
				return nil, polity.Usage{}, ctx.Err()
			}
			return json.RawMessage(`{}`), polity.Usage{}, nil
		})
	})
	b.Run("later", func(b *testing.B) {
		benchWaiting(b, func(_ context.Context, e *Effect) (json.RawMessage, polity.Usage, error) {
			answer := e.Later()
			time.AfterFunc(slow, func() { answer(json.RawMessage(`{}`), polity.Usage{}, nil) })
			return nil, polity.Usage{}, nil
		})
	})
}

func benchWaiting(b *testing.B, do func(context.Context, *Effect) (json.RawMessage, polity.Usage, error)) {
	const runs = 10_000
	catalog := programs{deciders: map[string]polity.Decider{"once": steps(1)}}
	n := openNode(b, b.TempDir(), bus.SyncOS, Config{Catalog: catalog, Do: do})
	defer n.close(b)
	next := 0
	for b.Loop() {
		heapBefore, stacksBefore := inUseBy()
		goroutines := runtime.NumGoroutine()
		began := time.Now()
		var wg sync.WaitGroup
		ended := make(chan error, runs)
		for range runs {
			id := rootID(next)
			next++
			if err := n.begin(id, ended); err != nil {
				b.Fatal(err)
			}
		}
		opened := time.Since(began)
		// In the middle of the wait, when all have begun.
		wg.Go(func() {
			waitFor(b.Context(), slow/2)
			heap, stacks := inUseBy()
			b.ReportMetric((float64(heap)-float64(heapBefore))/runs, "heap-B/run")
			b.ReportMetric((float64(stacks)-float64(stacksBefore))/runs, "stack-B/run")
			b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/runs, "goroutines/run")
		})
		for range runs {
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
		}
		took := time.Since(began)
		wg.Wait()
		b.ReportMetric(float64(took)/float64(slow), "x-ideal")
		b.ReportMetric(float64(opened.Milliseconds()), "ms-to-open")
	}
}

// begin opens a run without a goroutine that waits for it.
func (n *node) begin(id polity.RunID, ended chan error) error {
	q, err := n.request(&Request{ID: id, Agent: "once", Input: json.RawMessage(`{}`)})
	if err != nil {
		return err
	}
	n.post(input{do: func(c *core) {
		c.open(q, func(err error) {
			if err != nil {
				ended <- err
			}
		}, func(o polity.Outcome, err error) {
			if err == nil && o.Status != polity.StatusCompleted {
				err = fmt.Errorf("%s ended %s: %w", id, o.Status, o.Fault)
			}
			ended <- err
		})
	}})
	return nil
}
