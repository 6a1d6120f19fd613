package run

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"polity.run"
	"polity.run/internal/bus"
)

// BenchmarkWake measures how long it takes from a signal until its run has ended, while many others wait.
func BenchmarkWake(b *testing.B) {
	for _, many := range []int{1, 10_000} {
		for _, sync := range []bus.Sync{bus.SyncOS, bus.SyncDisk} {
			b.Run(fmt.Sprintf("%s/%d", sync, many), func(b *testing.B) {
				n := openNode(b, b.TempDir(), sync, Config{Catalog: waiters(), Do: noop})
				defer n.close(b)
				open := func(i int) polity.RunID {
					id := rootID(i)
					if err := n.Open(b.Context(), Request{ID: id, Agent: "match", Bounds: longWall()}); err != nil {
						b.Fatal(err)
					}
					return id
				}
				waiting := make(chan int, many)
				done := make(chan error, 64)
				for range cap(done) {
					go func() {
						var err error
						for i := range waiting {
							if e := n.Open(b.Context(), Request{ID: rootID(-i), Agent: "match", Bounds: longWall()}); e != nil {
								err = e
							}
						}
						done <- err
					}()
				}
				for i := range many {
					waiting <- i + 1
				}
				close(waiting)
				for range cap(done) {
					if err := <-done; err != nil {
						b.Fatal(err)
					}
				}
				var took []time.Duration
				for i := range b.N {
					id := open(i)
					began := time.Now()
					if err := n.Signal(b.Context(), id, "go", "1", 0, json.RawMessage(`{"n":2}`)); err != nil {
						b.Fatal(err)
					}
					if o, err := n.Wait(b.Context(), id); err != nil || o.Status != polity.StatusCompleted {
						b.Fatal(o, err)
					}
					took = append(took, time.Since(began))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
				b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			})
		}
	}
}
