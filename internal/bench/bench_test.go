package bench

import (
	"context"
	"errors"
	"testing"
	"time"

	"polity.run/engine"
	"polity.run/fault"
)

// TestRuns wants every system to do real runs; how fast is not for a test to say.
func TestRuns(t *testing.T) {
	points, err := Runs(context.Background(), Config{
		Dir: t.TempDir(), Sync: []engine.Sync{engine.SyncOS}, At: []int{1, 8}, Rounds: 1, Window: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(points) != 6 {
		t.Fatalf("%d points", len(points))
	}
	for _, p := range points {
		if p.Rate <= 0 || p.Ratio <= 0 || p.P99 < p.P50 {
			t.Errorf("%+v", p)
		}
	}
}

func BenchmarkRuns(b *testing.B) {
	for b.Loop() {
		points, err := Runs(context.Background(), Config{Dir: b.TempDir(), Progress: func(s string) { b.Log(s) }})
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range points {
			b.Logf("%-16s %-5s %5d %10.0f/s p50 %8.0f p99 %8.0f %6.1f us/step %6.1f allocs  wal %.2f packed %.2f  fsync %.0f", p.System, p.Sync, p.At, p.Rate, p.P50, p.P99, p.Step, p.Allocs, p.Ratio, p.Packed, p.Fsync)
		}
	}
}

func TestAgents(t *testing.T) {
	points, err := Agents(context.Background(), Config{Dir: t.TempDir(), At: []int{1, 4}, Rounds: 1, Window: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if len(points) != 4 {
		t.Fatalf("%d points", len(points))
	}
}

func BenchmarkAgents(b *testing.B) {
	for b.Loop() {
		points, err := Agents(context.Background(), Config{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range points {
			b.Logf("%-16s %-5s %5d %10.0f/s p50 %8.0f p99 %8.0f %6.1f us/step %6.1f allocs", p.System, p.Sync, p.At, p.Rate, p.P50, p.P99, p.Step, p.Allocs)
		}
	}
}

func BenchmarkWaiting(b *testing.B) {
	for b.Loop() {
		w, err := Waiting(context.Background(), Config{Dir: b.TempDir()}, 10_000)
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("%+v", w)
	}
}

// TestWaitingOn wants runs to wait, to be woken, and to be there after a start.
func TestWaitingOn(t *testing.T) {
	for _, on := range []string{OnTimers, OnSignals, OnEvents, OnPersons} {
		t.Run(on, func(t *testing.T) {
			t.Parallel()
			w, err := WaitingOn(t.Context(), Config{Dir: t.TempDir(), Sync: []engine.Sync{engine.SyncOS}}, on, 50, 2, 5, []int{3})
			if err != nil {
				t.Fatal(err)
			}
			if len(w.Wakes) != 2 || w.Wakes[0].Count != 5 || w.Wakes[1].Count != 3*burstsMade || w.Wakes[1].Most < w.Wakes[1].P50 || w.Start.Took == 0 {
				t.Errorf("%+v", w)
			}
		})
	}
}

// TestHierarchy wants every agent to be asked, by the manager that it has.
func TestHierarchy(t *testing.T) {
	all, err := Hierarchy(context.Background(), Config{Dir: t.TempDir(), Rounds: 1}, []int{10, 125})
	if err != nil {
		t.Fatal(err)
	}
	small, large := all[0], all[1]
	if small.Managers != 1 || small.Levels != 1 || small.Most != spanMeasured+3 || large.Managers != 31 || large.Levels != 3 || large.Most > spanMeasured+3 || len(large.Level) != 3 {
		t.Errorf("%+v %+v", small, large)
	}
}

func BenchmarkHierarchy(b *testing.B) {
	for b.Loop() {
		all, err := Hierarchy(context.Background(), Config{Dir: b.TempDir(), Rounds: 1}, []int{1000, 10_000, 100_000})
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range all {
			b.Logf("%+v", c)
		}
	}
}

// TestTopics wants every event that is published to reach its reader; how fast is not for a test to say.
func TestTopics(t *testing.T) {
	points, err := Topics(context.Background(), Config{
		Dir: t.TempDir(), Sync: []engine.Sync{engine.SyncOS}, At: []int{4}, Rounds: 2, Window: 20 * time.Millisecond,
	}, []int{1, 10})
	if err != nil {
		t.Fatal(err)
	}
	if len(points) != 3 {
		t.Fatalf("%d points", len(points))
	}
	for _, p := range points {
		if p.Rate <= 0 || p.Ratio <= 0 || p.P95 < p.P50 {
			t.Errorf("%+v", p)
		}
	}
}

// TestBus wants every message that is asked to be answered; how fast is not for a test to say.
func TestBus(t *testing.T) {
	points, err := Bus(t.Context(), Config{Dir: t.TempDir(), Sync: []engine.Sync{engine.SyncOS}, At: []int{2}, Rounds: 1, Window: 20 * time.Millisecond}, BusKinds)
	if err != nil {
		t.Fatal(err)
	}
	if len(points) != 3*4+4+3+2 {
		t.Fatalf("%d points", len(points))
	}
	for _, p := range points {
		if p.Rate <= 0 || p.P50 <= 0 || p.P99 < p.P50 || p.ToP50 <= 0 || p.ToP99 <= 0 || p.ToRate <= 0 {
			t.Errorf("%+v", p)
		}
	}
}

// TestMailboxes wants agents that are idle to be reached, before and after a start.
func TestMailboxes(t *testing.T) {
	m, err := Mailboxes(t.Context(), Config{Dir: t.TempDir(), Sync: []engine.Sync{engine.SyncOS}, Rounds: 1, Window: 20 * time.Millisecond}, 30_000)
	if err != nil {
		t.Fatal(err)
	}
	if m.Rate <= 0 || m.Heap <= 0 || len(m.Points) != 4 || m.Streams+m.Consumers+m.Connections > 64 {
		t.Errorf("%+v", m)
	}
}

// TestDoor wants every request to be answered and every subscriber to have every frame; how fast is not for a test to say.
func TestDoor(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Sync: []engine.Sync{engine.SyncOS}, At: []int{2}, Rounds: 1, Window: 20 * time.Millisecond}
	points, err := Door(t.Context(), cfg, DoorKinds, 5)
	if err != nil {
		t.Fatal(err)
	}
	if len(points) != 3+4 {
		t.Fatalf("%d points", len(points))
	}
	for _, p := range points {
		if p.Rate <= 0 || p.P50 <= 0 || p.P99 < p.P50 || p.ToP50 <= 0 || p.ToP99 <= 0 || p.ToRate <= 0 {
			t.Errorf("%+v", p)
		}
	}
	w, err := OpenAt(t.Context(), cfg, 200, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if w.Starts.Count != 20 || w.Echo.Count != 2 || w.Errors != 0 || w.Starts.P50 <= 0 || w.Starts.Max < w.Starts.P99 {
		t.Errorf("%+v", w)
	}
	if _, err := Door(t.Context(), cfg, []string{"nothing"}, 5); !errors.Is(err, fault.Invalid) {
		t.Errorf("a kind that there is not: %v", err)
	}
}
