package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"polity.run/engine"
)

// BenchmarkLive asks an agent outside, beside NATS: for profiles.
func BenchmarkLive(b *testing.B) {
	s, err := openStreet(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for _, size := range liveSizes {
		systems, err := s.systems(size)
		if err != nil {
			b.Fatal(err)
		}
		for _, at := range []int{1, 64} {
			for _, system := range systems {
				b.Run(fmt.Sprintf("%d/%d/%s", size, at, system.name), func(b *testing.B) {
					for b.Loop() {
						t, err := measure(b.Context(), system, at, 1, time.Second)
						if err != nil {
							b.Fatal(err)
						}
						b.ReportMetric(t.rate, "asks/s")
						b.ReportMetric(t.p50, "p50-us")
						b.ReportMetric(t.cpu, "cpu-us")
						b.ReportMetric(t.allocs, "allocs")
					}
				})
			}
		}
	}
}

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
