package run

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"

	"polity.run"
	"polity.run/internal/bus"
)

// BenchmarkStart measures how long a start takes with 100,000 live runs, each with ten events and an effect that is begun again: with a checkpoint and
// without, and when they are to wait until they are asked for.
func BenchmarkStart(b *testing.B) {
	const runs = 100_000
	dir := b.TempDir()
	s, err := bus.Open(context.Background(), bus.Config{Dir: filepath.Join(dir, "store"), Sync: bus.SyncOS})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	catalog := programs{deciders: map[string]polity.Decider{"long": steps(100)}}
	liveLog(b, runs, false, catalog).store(b, s)
	cfg := Config{
		Catalog: catalog, Dormant: filepath.Join(dir, "dormant"),
		Do: func(_ context.Context, e *Effect) (json.RawMessage, polity.Usage, error) {
			e.Later() // and never answers
			return nil, polity.Usage{}, nil
		},
	}
	start := func(b *testing.B, cfg Config) *Partition {
		acks := NewAcks()
		l, err := s.Log(context.Background(), "p0", acks.Put)
		if err != nil {
			b.Fatal(err)
		}
		p, err := Open(context.Background(), l, acks, cfg)
		if err != nil {
			b.Fatal(err)
		}
		return p
	}
	if err := start(b, cfg).Close(); err != nil { // which writes the checkpoint
		b.Fatal(err)
	}
	for _, c := range []struct {
		name        string
		whole, park bool
	}{{"checkpoint", false, false}, {"whole", true, false}, {"checkpoint-parked", false, true}, {"whole-parked", true, true}} {
		b.Run(c.name, func(b *testing.B) {
			cfg := cfg
			cfg.Whole, cfg.Park = c.whole, c.park
			var heap uint64
			for b.Loop() {
				before := inUse()
				p := start(b, cfg)
				b.StopTimer()
				heap = inUse() - before
				if list, err := p.List(context.Background()); err != nil || len(list) != runs || list[0].Parked != c.park {
					b.Fatalf("%d runs, %v", len(list), err)
				}
				if from := p.keeper.restored.seq; (from == 0) != c.whole {
					b.Fatalf("started from commit %d", from)
				}
				p.keeper.logged = 0 // nothing new is written
				if err := p.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(heap)/runs, "heap-B/run")
		})
	}
}
