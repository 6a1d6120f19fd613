package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"polity.run"
	"polity.run/engine"
	"polity.run/fault"
)

var fullDir = flag.String("full.dir", "", "a small file system of its own that TestFullDisk may fill")

// TestFullDisk fills the disk under runs that are under way: the node says so and gives up, new runs are refused, and
// when there is room again everything that was acknowledged goes on.
func TestFullDisk(t *testing.T) {
	if *fullDir == "" {
		t.Skip("needs -full.dir, a small file system of its own: .ci/run mounts one")
	}
	state := filepath.Join(*fullDir, "state")
	ballast := filepath.Join(*fullDir, "ballast")
	gate := make(chan struct{})
	wait := func(ctx context.Context, q question) (answer, error) {
		select {
		case <-gate:
			return double(ctx, q)
		case <-ctx.Done():
			return answer{}, ctx.Err()
		}
	}
	e := open(t, state, function(t, "1", wait))
	var ids []polity.RunID
	for i := range 50 {
		id, err := e.Start(t.Context(), engine.Request{Agent: "doubler", Input: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	fill(t, ballast)
	time.Sleep(1100 * time.Millisecond) // the check of free space is made once a second
	_, err := e.Start(t.Context(), engine.Request{Agent: "doubler", Input: json.RawMessage(`{"n":1000}`)})
	if !errors.Is(err, fault.Full) {
		t.Errorf("a new run on a full disk: %v, want full", err)
	}
	if !errors.Is(e.Ready(), fault.Full) {
		t.Errorf("ready on a full disk: %v, want full", e.Ready())
	}
	close(gate)
	select {
	case <-e.Down():
	case <-time.After(time.Minute):
		t.Fatal("the node does not notice that its commits are not written")
	}
	if !errors.Is(e.Err(), fault.Full) {
		t.Errorf("the node is down with %v, want full", e.Err())
	}
	t.Logf("told: %v", e.Err())
	if err := e.Close(); err != nil && !errors.Is(err, fault.Full) {
		t.Error(err)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	e = open(t, state, function(t, "1", double))
	defer stop(t, e)
	for i, id := range ids {
		o, err := e.Wait(t.Context(), id)
		if err != nil || string(o.Output) != fmt.Sprintf(`{"n":%d}`, 2*i) {
			t.Errorf("%s after the disk was full: %+v %v", id, o, err)
		}
	}
	t.Logf("%d runs that were acknowledged ended after the disk had room again", len(ids))
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
