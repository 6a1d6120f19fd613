package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"polity.run"
	"polity.run/agent"
)

// TestRepeat has a day of hours.
func TestRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		began, first, n := time.Now(), time.Duration(0), 0
		repeat(ctx, retainFirst, retainEvery, func() {
			if n++; n == 1 {
				first = time.Since(began)
			}
		})
		if n < 21 || n > 27 || first < retainFirst || first > 2*retainFirst {
			t.Errorf("%d times in a day, the first after %s", n, first)
		}
	})
}

// TestAlone has a node archive by itself: it waits for more runs, for a day at most, and looks at what it left once a day.
func TestAlone(t *testing.T) {
	fn, err := agent.Func("clerk", "1", func(_ context.Context, s string) (string, error) { return s, nil })
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var passed atomic.Int64 // hours
	now := func() time.Time { return start.Add(time.Duration(passed.Load()) * time.Hour) }
	e, err := Open(t.Context(), Config{State: t.TempDir(), Sync: SyncOS, Agents: []*agent.Agent{fn}, Retain: true, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	run := func(id polity.RunID, archive bool) {
		t.Helper()
		release, err := e.Install(&agent.Release{Name: fmt.Sprint("org-", archive), Main: "clerk", Agents: []agent.Definition{fn.Definition()}, Retention: &agent.Retention{Keep: polity.Duration(10 * time.Hour), Archive: archive}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Run(t.Context(), Request{ID: id, Release: release, Input: json.RawMessage(`"x"`)}); err != nil {
			t.Fatal(err)
		}
	}
	run("0-first", true)
	run("0-plain", false)
	hour := func() polity.Retained {
		t.Helper()
		passed.Add(1)
		done, err := e.retain(t.Context(), polity.Retain{}, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	written, left, hours := 0, 0, 0
	for hours = 1; !e.Archived("0-first"); hours++ {
		if hours == 20 {
			run("0-second", true)
		}
		if hours > 100 {
			t.Fatal("it is never archived")
		}
		done := hour()
		written, left = written+len(done.Files), left+len(done.Left)
	}
	if hours < 34 || hours > 36 || written != 1 || !e.Archived("0-second") {
		t.Errorf("after %d hours there are %d files, with the second run: %t", hours, written, e.Archived("0-second"))
	}
	if left < 1 || left > 2 {
		t.Errorf("a run that cannot be deleted was told %d times in a day", left)
	}
}
