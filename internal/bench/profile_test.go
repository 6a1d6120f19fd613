package bench

import (
	"context"
	"testing"
	"time"

	"polity.run/engine"
)

// BenchmarkEngine is the engine alone: for profiles.
func BenchmarkEngine(b *testing.B) {
	for _, at := range []int{1, 64} {
		b.Run(map[int]string{1: "1", 64: "64"}[at], func(b *testing.B) {
			e, err := openEngine(context.Background(), b.TempDir(), engine.SyncOS)
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			var rate, allocs float64
			for b.Loop() {
				t, err := measure(context.Background(), e, at, stepsPerRun, 3*time.Second)
				if err != nil {
					b.Fatal(err)
				}
				rate, allocs = t.rate, t.allocs
			}
			b.ReportMetric(rate, "runs/s")
			b.ReportMetric(allocs, "allocs/step")
		})
	}
}
