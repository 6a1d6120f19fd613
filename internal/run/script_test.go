package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
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

// everything is a script that joins commands in all ways there are.
func everything(c *script.Context, _ json.RawMessage) ([]string, error) {
	var said []string
	note := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	call := func(name string, out any) func() error {
		return func() error { return c.Call(name, "noop", name, out) }
	}
	never := func(name string) func() error { return func() error { return c.Sleep(name, 240*time.Hour) } }
	var one, two string
	note("parallel %v %s %s", c.Parallel(call("one", &one), call("two", &two)), one, two)
	won, err := c.Race(never("idle"), call("quick", nil))
	note("race %d %v", won, err)
	note("timeout %v", c.Timeout("patience", time.Minute, never("late")))
	each, err := script.Map(c, 2, []int{7, 8, 9}, func(i, item int) (out string, err error) {
		err = c.Call(c.Name("item", i), "noop", item, &out)
		return out, err
	})
	note("map %v %v", each, err)
	note("retry %v", c.Retry(script.Retry{Delay: time.Second}).Call("flaky", "noop", nil, nil))
	a, b := c.Start(polity.Ask("child", "child", "", nil)), c.Start(polity.Sleep("pause", 240*time.Hour))
	next, err := c.Next(b, a)
	note("next %v %v %s", next == a, err, a.Data())
	if c.Since("2") {
		note("new")
	}
	note("%s %d", c.UUID("x"), c.Random().IntN(1000))
	return said, c.Sleep("rest", time.Hour)
}

// TestScriptCrashesEverywhere opens a run of everything, and again from each prefix of its log, as after a crash there: with the coroutines made anew, each goes on to the same end.
func TestScriptCrashesEverywhere(t *testing.T) {
	for _, live := range []int{0, -1} {
		a, err := script.New("everything", "2", everything, script.Config{Older: []string{"1"}, LiveMax: live})
		if err != nil {
			t.Fatal(err)
		}
		catalog := programs{deciders: map[string]polity.Decider{"everything": a.Older["1"], "child": steps(2)}}
		do := func(p *pending) result {
			if p.cmd.Name == "flaky" && p.cmd.Attempt == 1 {
				return result{fault: fault.Of(fault.Unavailable.New("not now"))}
			}
			return result{data: json.RawMessage(fmt.Sprintf("%q", p.key))}
		}
		m := newMemory(t, catalog)
		m.do = do
		m.core.open(&request{id: rootID(1), agent: "everything", input: json.RawMessage(`{}`), bounds: polity.Bounds{Wall: polity.Duration(1000 * time.Hour)}.Or(polity.DefaultBounds())}, func(err error) {
			if err != nil {
				t.Error(err)
			}
		}, nil)
		m.core.settle()
		m.run()
		want := m.output(rootID(1))
		const said = `["parallel \u003cnil\u003e one two","race 1 \u003cnil\u003e","timeout script: patience: it was not done within 1m0s",` +
			`"map [item.0 item.1 item.2] \u003cnil\u003e","retry \u003cnil\u003e","next true \u003cnil\u003e {\"steps\":2}",`
		if !strings.HasPrefix(want, said) || strings.Contains(want, "new") {
			t.Fatalf("undisturbed it ended with %s", want)
		}
		crashes := 0
		for i := range m.log {
			n := &memory{t: t, do: do, now: time.Unix(1_800_000_000, 0), blobs: m.blobs, log: slices.Clone(m.log[:i])}
			n.open(catalog, false)
			if len(n.core.runs) == 0 {
				continue // it was not open yet
			}
			crashes++
			n.run()
			if got := n.output(rootID(1)); got != want {
				t.Errorf("after a crash at commit %d of %d it ended with %s", i, len(m.log), got)
			}
		}
		if crashes < 12 {
			t.Errorf("%d crashes, want more", crashes)
		}
	}
}

// output is what a run ended with.
func (m *memory) output(id polity.RunID) (out string) {
	m.records(func(_ int, r *record) {
		if r.kind == recFinished && r.run == id {
			out = string(r.data.data)
		}
	})
	return out
}

// TestManyScriptsAndFewCoroutines has 10,000 runs of a script wait at the same time and keeps 100 coroutines: all go on where they stood, and there are never
// more goroutines than that.
func TestManyScriptsAndFewCoroutines(t *testing.T) {
	const runs, live = 10_000, 100
	before, most := runtime.NumGoroutine(), 0
	a, err := script.New("waits", "1", func(c *script.Context, in json.RawMessage) (json.RawMessage, error) {
		most = max(most, runtime.NumGoroutine())
		if err := c.Sleep("wait", time.Hour); err != nil {
			return nil, err
		}
		err := c.Call("call", "noop", in, &in)
		return in, err
	}, script.Config{LiveMax: live})
	if err != nil {
		t.Fatal(err)
	}
	m := newMemory(t, programs{deciders: map[string]polity.Decider{"waits": a.Decider}})
	ended := 0
	for i := range runs {
		q := &request{id: rootID(i), agent: "waits", input: json.RawMessage(`{}`), bounds: polity.Bounds{Wall: polity.Duration(24 * time.Hour)}.Or(polity.DefaultBounds())}
		m.core.open(q, func(err error) {
			if err != nil {
				t.Error(err)
			}
		}, func(o polity.Outcome, err error) {
			if ended++; err != nil || string(o.Output) != `{"ok":true}` {
				t.Errorf("run %d ended %+v %v", i, o, err)
			}
		})
	}
	m.core.settle()
	m.acknowledge()
	if got := runtime.NumGoroutine() - before; len(m.core.runs) != runs || got > 2*live || got < live/2 { // some of before may have ended
		t.Errorf("%d coroutines while %d runs wait, want %d", got, len(m.core.runs), live)
	}
	m.run()
	if most -= before; ended != runs || most > 2*live { // those that are ending count for a while, and what else the process does
		t.Errorf("%d of %d runs ended, with %d coroutines at most, want %d", ended, runs, most, live)
	}
	for try := 0; runtime.NumGoroutine() > before && try < 2000; try++ { // until those that are ending have ended
		time.Sleep(time.Millisecond)
	}
	if got := runtime.NumGoroutine() - before; got > 0 {
		t.Errorf("%d coroutines are left", got)
	}
}
