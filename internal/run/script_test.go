package run

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/script"
)

// scripted is a catalog with one script, which does step after step.
func scripted(pool *script.Pool, step func(c *script.Context, i int) error) programs {
	return programs{deciders: map[string]polity.Decider{
		"script": script.Decider(func(c *script.Context, _ json.RawMessage) (string, error) {
			for i := range 5 {
				if err := step(c, i); err != nil {
					return "", err
				}
			}
			return "done", nil
		}, script.Config{Pool: pool}),
		"root": plan(askWith("c", "script", polity.Bounds{}), tool("d", "noop")),
	}}
}

func goodStep(c *script.Context, i int) error { return c.Call(c.Name("step", i), "noop", i, nil) }

// TestScriptThatChanged continues runs of a script in the middle with another script under the same version: they are stopped with the
// first command that differs, and go on with the right one.
func TestScriptThatChanged(t *testing.T) {
	for name, tc := range map[string]struct {
		bad  func(c *script.Context, i int) error
		want string
	}{
		"another command": {func(c *script.Context, i int) error {
			return c.Ask(c.Name("other", i), "root", nil, nil)
		}, "the log has a result of step.0 of 0-"},
		"named": {func(c *script.Context, i int) error {
			if i == 1 {
				return c.Ask("other", "root", nil, nil)
			}
			return goodStep(c, i)
		}, "this code asks for something else there: other (ask root)"},
		"another input": {func(c *script.Context, i int) error {
			return c.Call(c.Name("step", i), "noop", i+1, nil)
		}, "there: step.0 (call noop), with another input"},
		"an earlier end": {func(c *script.Context, i int) error {
			if i == 2 {
				return fault.Failed.New("script: enough")
			}
			return goodStep(c, i)
		}, "there: it has come to its end"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			bubble(t, func(t *testing.T) {
				var quick atomic.Bool
				do := func(ctx context.Context, e *Effect) (json.RawMessage, polity.Usage, error) {
					if !quick.Load() && e.Name == "step.3" {
						<-ctx.Done()
						return nil, polity.Usage{}, ctx.Err()
					}
					return json.RawMessage(`{}`), polity.Usage{}, nil
				}
				pool := script.NewPool(0)
				n := openNode(t, dir, bus.SyncOS, Config{Do: do, Catalog: scripted(pool, goodStep)})
				for i, agent := range []string{"script", "root"} {
					mustOpen(t, n, rootID(i), agent, polity.Bounds{})
				}
				synctest.Wait()
				n.close(t)
				quick.Store(true)
				n = openNode(t, dir, bus.SyncOS, Config{Do: do, Catalog: scripted(pool, tc.bad)})
				for i := range 2 {
					s, err := n.Find(t.Context(), rootID(i))
					if err != nil || s.Status != polity.StatusStopped || !errors.Is(s.Fault, fault.Diverged) || !strings.Contains(s.Fault.Text, tc.want) {
						t.Errorf("run %d: %+v %v", i, s, err)
					}
				}
				n.close(t)
				n = openNode(t, dir, bus.SyncOS, Config{Do: do, Catalog: scripted(pool, goodStep)})
				for i, want := range []string{`"done"`, `"ok ok"`} {
					if o := endOf(t, n, rootID(i)); string(o.Output) != want {
						t.Errorf("run %d went on and ended %s with %s: %v", i, o.Status, o.Output, o.Fault)
					}
				}
				n.close(t)
				if pool.Live() != 0 {
					t.Errorf("%d coroutines are left", pool.Live())
				}
			})
		})
	}
}

// TestScriptThatReadsAClock drops the coroutine of a script that does not decide the same twice: its run is stopped where that is found, and the
// partition and the other runs go on.
func TestScriptThatReadsAClock(t *testing.T) {
	dir := t.TempDir()
	bubble(t, func(t *testing.T) {
		times, clock := 0, true
		catalog := scripted(script.NewPool(-1), func(c *script.Context, i int) error {
			if times++; clock {
				return c.Call(c.Name("step", i), "noop", times, nil)
			}
			return c.Call(c.Name("step", i), "noop", i+1, nil)
		})
		catalog.deciders["five"] = steps(5)
		n := openNode(t, dir, bus.SyncOS, Config{Do: noop, Catalog: catalog})
		mustOpen(t, n, rootID(1), "script", polity.Bounds{})
		mustOpen(t, n, rootID(2), "five", polity.Bounds{})
		if o := endOf(t, n, rootID(2)); o.Status != polity.StatusCompleted {
			t.Errorf("the other run ended %s: %v", o.Status, o.Fault)
		}
		synctest.Wait()
		s, err := n.Find(t.Context(), rootID(1))
		if err != nil || s.Status != polity.StatusStopped || !errors.Is(s.Fault, fault.Diverged) ||
			!strings.Contains(s.Fault.Text, "at step 0 the run has step.0 (call noop), the code now does step.0 (call noop) with something else") {
			t.Errorf("%+v %v", s, err)
		}
		n.close(t)
		clock = false
		n = openNode(t, dir, bus.SyncOS, Config{Do: noop, Catalog: catalog})
		defer n.close(t)
		if o := endOf(t, n, rootID(1)); o.Status != polity.StatusCompleted {
			t.Errorf("mended, it went on and ended %s: %v", o.Status, o.Fault)
		}
	})
}

// TestScriptLeavesNothing wants no coroutine of runs that ended in any way, or whose partition was closed.
func TestScriptLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	bubble(t, func(t *testing.T) {
		pool := script.NewPool(0)
		catalog := scripted(pool, func(c *script.Context, i int) error {
			if i == 4 {
				panic("ouch")
			}
			return c.Parallel(func() error { return c.Sleep(c.Name("a", i), time.Minute) }, func() error { return c.Sleep(c.Name("b", i), time.Minute) })
		})
		n := openNode(t, dir, bus.SyncOS, Config{Do: noop, Catalog: catalog})
		for i := range 3 {
			mustOpen(t, n, rootID(i), []string{"script", "script", "root"}[i], polity.Bounds{})
		}
		synctest.Wait()
		if pool.Live() != 9 {
			t.Errorf("%d coroutines, want 9", pool.Live())
		}
		if err := n.Cancel(t.Context(), rootID(2), "enough"); err != nil {
			t.Error(err)
		}
		endOf(t, n, rootID(2))
		if pool.Live() != 6 {
			t.Errorf("%d coroutines after a cancellation, want 6", pool.Live())
		}
		n.close(t)
		if pool.Live() != 0 {
			t.Errorf("%d coroutines after the partition was closed", pool.Live())
		}
		n = openNode(t, dir, bus.SyncOS, Config{Do: noop, Catalog: catalog})
		defer n.close(t)
		for i := range 2 {
			o := endOf(t, n, rootID(i))
			if o.Status != polity.StatusFailed || o.Fault.Kind != fault.Internal || !strings.Contains(o.Fault.Text, "panic: ouch; at run.TestScriptLeavesNothing") {
				t.Errorf("ended %s: %v", o.Status, o.Fault)
			}
		}
		if pool.Live() != 0 {
			t.Errorf("%d coroutines after the end", pool.Live())
		}
	})
}

// refuses is a decider that cannot decide.
type refuses struct{ why error }

func (d refuses) Decide(any, polity.Event) (any, []polity.Command) { panic(d.why) }

// TestDeciderThatCannotDecide wants a panic with a fault to be that fault, and one of kind Diverged to stop the run, with whoever waits for it told.
func TestDeciderThatCannotDecide(t *testing.T) {
	dir := t.TempDir()
	bubble(t, func(t *testing.T) {
		n := openNode(t, dir, bus.SyncOS, Config{Do: noop, Catalog: programs{deciders: map[string]polity.Decider{
			"denied": refuses{fault.Denied.New("not today")}, "diverged": refuses{fault.Diverged.New("another clock")}, "other": refuses{errors.New("ouch")},
		}}})
		defer n.close(t)
		for i, agent := range []string{"denied", "other"} {
			o, err := n.Run(t.Context(), Request{ID: rootID(i), Agent: agent, Input: json.RawMessage(`{}`)})
			want := []string{"denied: decider of denied: not today", "internal: decider of other: panic: ouch"}[i]
			if err != nil || o.Status != polity.StatusFailed || string(o.Fault.Kind)+": "+o.Fault.Text != want {
				t.Errorf("%s: %+v %v", agent, o, err)
			}
		}
		_, err := n.Run(t.Context(), Request{ID: rootID(2), Agent: "diverged", Input: json.RawMessage(`{}`)})
		if !errors.Is(err, fault.Diverged) || !strings.Contains(err.Error(), "decider of diverged: another clock") {
			t.Errorf("diverged: %v", err)
		}
	})
}

// TestReplayOfScripts folds a script again in the middle of its run, with its own code and with another, and wants no coroutine to be left of it.
func TestReplayOfScripts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		pool := script.NewPool(0)
		other := scripted(pool, func(c *script.Context, i int) error { return c.Call(c.Name("step", i), "noop", i+1, nil) })
		catalog := byRelease{Digest{1}: scripted(pool, goodStep), Digest{2}: other}
		n := openNode(t, t.TempDir(), bus.SyncOS, Config{Catalog: catalog, Do: func(ctx context.Context, e *Effect) (json.RawMessage, polity.Usage, error) {
			if e.Name == "step.3" {
				<-ctx.Done()
				return nil, polity.Usage{}, ctx.Err()
			}
			return json.RawMessage(`{}`), polity.Usage{}, nil
		}})
		id := rootID(1)
		if err := n.Open(t.Context(), Request{ID: id, Release: Digest{1}, Agent: "script"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		live := pool.Live()
		for range 3 {
			if got, err := n.Replay(t.Context(), id, Digest{}); err != nil || got.Difference != nil || got.Events != 4 {
				t.Errorf("%+v %v", got, err)
			}
			if got, err := n.Replay(t.Context(), id, Digest{2}); err != nil || got.Difference == nil || got.Difference.Event != 1 {
				t.Errorf("%+v %v", got, err)
			}
		}
		if now := pool.Live(); now != live {
			t.Errorf("%d coroutines before, %d after", live, now)
		}
		n.close(t)
		if pool.Live() != 0 {
			t.Errorf("%d coroutines are left", pool.Live())
		}
	})
}
