package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"polity.run/engine"
)

// BenchmarkEngine is the engine alone: for profiles.
func BenchmarkEngine(b *testing.B) {
	for _, at := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(at), func(b *testing.B) {
			e, err := openEngine(context.Background(), b.TempDir(), engine.SyncOS)
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			var rate, allocs, cpu float64
			for b.Loop() {
				t, err := measure(context.Background(), e, at, stepsPerRun, 3*time.Second)
				if err != nil {
					b.Fatal(err)
				}
				rate, allocs, cpu = t.rate, t.allocs, t.cpu
			}
			b.ReportMetric(rate, "runs/s")
			b.ReportMetric(cpu, "cpu-us/step")
			b.ReportMetric(allocs, "allocs/step")
		})
	}
}
