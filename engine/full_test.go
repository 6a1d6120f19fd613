package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
)

var fullDir = flag.String("full.dir", "", "a small file system of its own that TestFullDisk may fill")

// TestFullDisk fills the disk to its last byte under runs that are under way, and frees it again, twice. The node says so: new runs are refused, it is not
// ready, and who waits for an answer is told. When there is room again the same process goes on by itself: everything that was acknowledged ends, those who
// waited for it are told how, and the state is whole.
func TestFullDisk(t *testing.T) {
	if *fullDir == "" {
		t.Skip("needs -full.dir, a small file system of its own: .ci/run mounts one")
	}
	state := filepath.Join(*fullDir, "state")
	var gate atomic.Pointer[chan struct{}]
	bulk := strings.Repeat("x", 20<<10) // more than what is left of a page
	doubler, err := agent.Func("doubler", "1", func(ctx context.Context, q question) (bulky, error) {
		select {
		case <-*gate.Load():
			return bulky{2 * q.N, bulk}, nil
		case <-ctx.Done():
			return bulky{}, ctx.Err()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	e := open(t, state, doubler)
	defer func() { stop(t, e) }()
	total := 0
	for round := range 2 {
		shut := make(chan struct{})
		gate.Store(&shut)
		type ending struct {
			want string
			out  polity.Outcome
			err  error
		}
		ended := make(chan ending)
		const runs = 50
		for range runs {
			total++
			id, err := e.Start(t.Context(), engine.Request{Agent: "doubler", Input: json.RawMessage(fmt.Sprintf(`{"n":%d}`, total))})
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf(`{"n":%d,"bulk":%q}`, 2*total, bulk)
			go func() {
				out, err := e.Wait(t.Context(), id)
				ended <- ending{want, out, err}
			}()
		}
		ballast := filepath.Join(*fullDir, "ballast")
		fill(t, ballast)
		eventually(t, "not ready", func() bool { return errors.Is(e.Ready(), fault.Full) })
		if _, err := e.Start(t.Context(), engine.Request{Agent: "doubler", Input: json.RawMessage(`{"n":100000}`)}); !errors.Is(err, fault.Full) {
			t.Errorf("a new run on a full disk: %v, want full", err)
		}
		close(shut) // the results cannot be written
		var told error
		eventually(t, "told", func() bool {
			_, told = e.Find(t.Context(), "0-none")
			return !errors.Is(told, fault.NotFound)
		})
		if k := fault.Of(told).Kind; k != fault.Full && k != fault.Unavailable {
			t.Errorf("who asks is told %v", told)
		}
		t.Logf("round %d: told: %v", round, told)
		select {
		case <-e.Down():
			t.Fatalf("the node is down: %v", e.Err())
		default:
		}

		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		eventually(t, "ready again", func() bool { return e.Ready() == nil })
		for range runs {
			select {
			case o := <-ended:
				if o.err != nil || string(o.out.Output) != o.want {
					t.Errorf("after the disk was full: %s %.100s %v, want %.20s", o.out.Status, o.out.Output, o.err, o.want)
				}
			case <-time.After(time.Minute):
				t.Fatal("a run that was acknowledged does not end")
			}
		}
		if out, err := e.Run(t.Context(), engine.Request{Agent: "doubler", Input: json.RawMessage(fmt.Sprintf(`{"n":%d}`, -1-round))}); err != nil || out.Status != polity.StatusCompleted {
			t.Errorf("a new run after the disk was full: %+v %v", out, err)
		}
		found, err := e.Lookup(t.Context(), polity.Lookup{Of: polity.LookupRuns, Wait: polity.Duration(time.Minute), Limit: 1})
		if err != nil || found.View.Behind > 0 {
			t.Errorf("the view after the disk was full: %+v %v", found.View, err)
		}
		t.Logf("round %d: %d runs that were acknowledged ended in the same process", round, runs)
	}
	stop(t, e)
	found, err := engine.Check(t.Context(), state, nil)
	if err != nil || len(found.Damage) > 0 {
		t.Errorf("the state afterwards: %+v %v", found, err)
	}
	e = open(t, state, doubler)
	if all, err := e.List(t.Context()); err != nil || len(all) != total+2 {
		t.Errorf("%d runs after a start, %v; %d were acknowledged", len(all), err, total+2)
	}
}

type bulky struct {
	N    int    `json:"n"`
	Bulk string `json:"bulk"`
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for range 6000 {
		if so() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// fill writes until nothing more fits.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}
