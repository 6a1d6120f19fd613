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
				b.ReportMetric(t.p50, "p50-us")
				b.ReportMetric(t.cpu, "cpu-us/run")
				b.ReportMetric(t.allocs, "allocs/run")
			})
		}
	}
}

// BenchmarkStream is events to many subscribers, and a plain hub, for profiles.
func BenchmarkStream(b *testing.B) {
	for b.Loop() {
		points, err := streams(b.Context(), Config{Dir: b.TempDir(), Rounds: 5, Window: time.Second}.or(), engine.SyncOS, 1000)
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range points {
			b.Logf("%+v", p)
		}
	}
}
