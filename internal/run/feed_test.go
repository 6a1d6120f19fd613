package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// errEnough ends a feed.
var errEnough = errors.New("enough")

// fed reads a feed up to a position, and checks that nothing is missing in it.
func fed(t *testing.T, n *node, from, to uint64) []Fact {
	t.Helper()
	var all []Fact
	next := from
	err := n.Feed(t.Context(), from, func(c *Commit) error {
		if c.Seq != next {
			t.Errorf("commit %d follows %d", c.Seq, next-1)
		}
		next++
		all = append(all, c.Facts...)
		if c.Seq == to {
			return errEnough
		}
		return nil
	})
	if err != errEnough {
		t.Fatal(err)
	}
	return all
}

// TestFeed follows a log from its first commit while runs are done, and wants it to tell of each run what its history does.
func TestFeed(t *testing.T) {
	const runs = 200
	dir := t.TempDir()
	big := strings.Repeat("x", inlineMax)
	do := func(_ context.Context, e *Effect) (json.RawMessage, polity.Usage, error) {
		if e.Name == "step.2" {
			return json.RawMessage(`"` + big + `"`), polity.Usage{InputTokens: 3}, nil
		}
		return noop(context.Background(), e)
	}
	cfg := Config{Catalog: programs{deciders: map[string]polity.Decider{"three": steps(3)}}, Do: do}
	n := openNode(t, dir, bus.SyncOS, cfg)
	live := make(chan []Fact, 1)
	ended := map[polity.RunID]bool{}
	go func() {
		var all []Fact
		err := n.Feed(context.Background(), 1, func(c *Commit) error {
			if c.Seq > n.Tip() {
				t.Errorf("commit %d is told of, and %d is the last acknowledged one", c.Seq, n.Tip())
			}
			all = append(all, c.Facts...)
			for _, f := range c.Facts {
				if f.Kind == "finished" {
					ended[f.Run] = true
				}
			}
			if len(ended) == runs {
				return errEnough
			}
			return nil
		})
		if err != errEnough {
			t.Errorf("feed: %v", err)
		}
		live <- all
	}()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < runs; i += 4 {
				if _, err := n.Run(context.Background(), Request{ID: rootID(i), Agent: "three", Input: json.RawMessage(`{"i":1}`)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	all := <-live
	again := fed(t, n, 1, n.Tip())
	if len(again) < len(all) || !sameFacts(all, again[:len(all)]) {
		t.Error("what was told live is not what the log tells")
	}
	for i := range runs {
		want := toldOf(t, n, rootID(i))
		var got []polity.Notice
		for _, f := range all {
			if f.Run != rootID(i) {
				continue
			}
			data, err := n.Data(&f)
			if err != nil || uint64(len(data)) != f.DataSize() {
				t.Fatalf("%d of %d bytes: %v", len(data), f.DataSize(), err)
			}
			f.Data = data
			f.Commit = 0 // toldOf leaves it out
			got = append(got, f.Notice)
		}
		for k := range got {
			if k < len(want) && bytes.Equal(got[k].Data, want[k].Data) {
				got[k].Data, want[k].Data = nil, nil // they are long, and cmp is slow with them
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("run %d (-history +feed): %s", i, d)
		}
	}
	tip := n.Tip()
	n.close(t)
	n = openNode(t, dir, bus.SyncOS, cfg)
	defer n.close(t)
	if got := fed(t, n, 1, tip); !sameFacts(got, again) {
		t.Error("after a start the log tells otherwise")
	}
	if got := fed(t, n, tip-5, tip); !sameFacts(got, again[len(again)-len(got):]) {
		t.Error("from a position on the log tells otherwise")
	}
	one, err := n.Commit(t.Context(), tip)
	if err != nil || !sameFacts(one.Facts, again[len(again)-len(one.Facts):]) {
		t.Errorf("the last commit alone: %+v, %v", one, err)
	}
	if _, err := n.Commit(t.Context(), n.Tip()+1); !errors.Is(err, fault.NotFound) {
		t.Errorf("a commit that there is not: %v", err)
	}
}

func sameFacts(a, b []Fact) bool { return fmt.Sprint(plain(a)) == fmt.Sprint(plain(b)) }

// plain is what a list of facts says.
func plain(list []Fact) []string {
	var all []string
	for _, f := range list {
		all = append(all, fmt.Sprintf("%s %s %s %s %v %v %x %t", f.Kind, f.Run, f.Name, f.At, f.Usage, f.Effect, f.payload.data, f.Taken))
	}
	return all
}

// TestFeedOfForks wants what a fork and an imported run take over to be told as taken.
func TestFeedOfForks(t *testing.T) {
	n := openNode(t, t.TempDir(), bus.SyncOS, Config{Catalog: programs{deciders: map[string]polity.Decider{"three": steps(3)}}, Do: noop})
	defer n.close(t)
	if _, err := n.Run(t.Context(), Request{ID: rootID(1), Agent: "three"}); err != nil {
		t.Fatal(err)
	}
	if err := n.Fork(t.Context(), Fork{ID: rootID(2), Origin: rootID(1), Event: 3, Effects: true}); err != nil {
		t.Fatal(err)
	}
	endOf(t, n, rootID(2))
	var got []string
	for _, f := range fed(t, n, 1, n.Tip()) {
		if f.Run == rootID(2) {
			got = append(got, fmt.Sprintf("%s %t", f.Kind, f.Taken))
		}
	}
	want := []string{"forked false", "opened true", "result true", "result true", "result false", "finished false"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestFeedEnds(t *testing.T) {
	n := openNode(t, t.TempDir(), bus.SyncOS, Config{Catalog: programs{}, Do: noop})
	ctx, cancel := context.WithCancel(t.Context())
	ends := make(chan error, 2)
	go func() { ends <- n.Feed(ctx, 1, func(*Commit) error { cancel(); return nil }) }()
	if err := <-ends; !errors.Is(err, fault.Cancelled) {
		t.Errorf("with its context: %v", err)
	}
	read := make(chan bool, 1)
	go func() { ends <- n.Feed(t.Context(), 1, func(*Commit) error { read <- true; return nil }) }()
	<-read
	n.close(t)
	if err := <-ends; !errors.Is(err, fault.Unavailable) {
		t.Errorf("with the partition: %v", err)
	}
	if len(n.feeds) != 0 {
		t.Errorf("%d feeds are left", len(n.feeds))
	}
}
