package bench

import (
	"fmt"
	"testing"
	"time"

	"polity.run/engine"
)

// BenchmarkDoor is a request that is answered, alone: for profiles.
func BenchmarkDoor(b *testing.B) {
	for _, sync := range []engine.Sync{engine.SyncOS, engine.SyncDisk} {
		for _, at := range []int{1, 64} {
			b.Run(fmt.Sprint(sync, at), func(b *testing.B) {
				s, err := openServed(b.Context(), b.TempDir(), sync)
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				var t turn
				for b.Loop() {
					if t, err = measure(b.Context(), s.asked("judge", "judge"), at, 1, 3*time.Second); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(t.rate, "runs/s")
				b.ReportMetric(t.cpu, "cpu-us/run")
				b.ReportMetric(t.allocs, "allocs/run")
			})
		}
	}
}
