package engine_test

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"polity.run"
	"polity.run/engine"
)

// BenchmarkOneEvent publishes one event that wakes many runs, which end with it, and prints the time and the processor time of each: they are to be the same for
// many as for few.
func BenchmarkOneEvent(b *testing.B) {
	for _, runs := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(runs), func(b *testing.B) {
			for b.Loop() {
				t := oneEvent(b, runs)
				b.ReportMetric(t.wall.Seconds()*1e6/float64(runs), "µs/run")
				b.ReportMetric(t.cpu.Seconds()*1e6/float64(runs), "cpu-µs/run")
				b.ReportMetric(t.wall.Seconds()*1e3, "ms")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

type spent struct{ wall, cpu time.Duration }

func oneEvent(b *testing.B, runs int) spent {
	e := openListener(b, b.TempDir())
	defer func() {
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	}()
	var ids []polity.RunID
	for i := range runs {
		id, err := e.Start(b.Context(), engine.Request{Agent: "listener", Input: json.RawMessage(`{}`), Seed: fmt.Sprint(i)})
		if err != nil {
			b.Fatal(err)
		}
		ids = append(ids, id)
	}
	cpu, began := processor(b), time.Now()
	if err := e.Publish(b.Context(), "orders.placed", "1", 0, json.RawMessage(`1`)); err != nil {
		b.Fatal(err)
	}
	for _, id := range ids {
		if o, err := e.Wait(b.Context(), id); err != nil || o.Status != polity.StatusCompleted {
			b.Fatalf("%+v %v", o, err)
		}
	}
	return spent{time.Since(began), processor(b) - cpu}
}

// processor is the processor time of the process so far.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
