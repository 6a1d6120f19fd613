package run

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// desk does effects in a bubble, and remembers them.
type desk struct {
	mu    sync.Mutex
	began []string // keys, in order
	ended []string
	why   map[string]error // what the context of an effect that waited told
	now   map[string]time.Time
	free  chan struct{} // lets those go that do not listen
}

func newDesk() *desk {
	return &desk{why: map[string]error{}, now: map[string]time.Time{}, free: make(chan struct{})}
}

// Do does what the tool's name says: "wait" ends with its context, "deaf" does not listen to it, "hour" takes an hour, and every other
// one is done at once.
func (d *desk) Do(ctx context.Context, e *Effect) (json.RawMessage, polity.Usage, error) {
	d.note(&d.began, e)
	defer d.note(&d.ended, e)
	switch strings.TrimSuffix(e.To, ".external") {
	case "wait":
		<-ctx.Done()
		d.mu.Lock()
		d.why[e.Key()] = ctx.Err()
		d.mu.Unlock()
		return nil, polity.Usage{}, ctx.Err()
	case "deaf":
		<-d.free
	case "hour", "half":
		for range 2 {
			if !waitFor(ctx, 15*time.Minute) {
				return nil, polity.Usage{}, ctx.Err()
			}
			if e.To == "hour" && !waitFor(ctx, 15*time.Minute) {
				return nil, polity.Usage{}, ctx.Err()
			}
		}
	}
	return json.RawMessage(`{}`), polity.Usage{}, nil
}

func waitFor(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (d *desk) note(list *[]string, e *Effect) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*list = append(*list, strings.TrimPrefix(e.Key(), string(e.Run.Root())))
	d.now[e.Key()] = time.Now()
}

func (d *desk) list(which *[]string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := slices.Clone(*which)
	slices.Sort(out)
	return out
}

// timed is a catalog whose tools take as long as they need.
type timed struct {
	programs
	timeout time.Duration
}

func (c timed) Work(d Digest, agent string, verb polity.Verb, to string) (Work, error) {
	w, err := c.programs.Work(d, agent, verb, to)
	w.Timeout = c.timeout
	if strings.HasSuffix(to, ".external") {
		w.Class = polity.EffectExternal
	}
	return w, err
}

func tool(name, tool string) polity.Command { return polity.Call(name, tool, json.RawMessage(`{}`)) }

// ending is what a run in a bubble ended with.
func endOf(t testing.TB, n *node, id polity.RunID) polity.Outcome {
	t.Helper()
	o, err := n.Wait(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func mustOpen(t *testing.T, n *node, id polity.RunID, agent string, b polity.Bounds) {
	t.Helper()
	if err := n.Open(t.Context(), Request{ID: id, Agent: agent, Input: json.RawMessage(`{}`), Bounds: b}); err != nil {
		t.Fatal(err)
	}
}

const day = 24 * time.Hour

func TestWallTimeEndsWhatIsPending(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk()
		catalog := timed{programs{deciders: map[string]polity.Decider{
			"root":  plan(tool("a", "noop"), askWith("b", "child", polity.Bounds{}), tool("c", "noop")),
			"child": plan(tool("x", "wait"), tool("y", "noop")),
		}}, day}
		n := openNode(t, t.TempDir(), bus.SyncOS, Config{Catalog: catalog, Do: d.Do})
		defer n.close(t)
		began := time.Now()
		mustOpen(t, n, rootID(1), "root", polity.Bounds{Wall: polity.Duration(time.Hour)})
		o := endOf(t, n, rootID(1))
		if took := time.Since(began); took < time.Hour || took > time.Hour+effectGrace {
			t.Errorf("ended after %s", took)
		}
		if o.Status != polity.StatusExhausted || o.Fault.Bound != "wall" || string(o.Output) != `"ok exhausted.wall exhausted.wall"` {
			t.Errorf("ended %s with %s: %v", o.Status, o.Output, o.Fault)
		}
		if got := strings.Join(d.list(&d.ended), " "); got != "#a /b#x" {
			t.Errorf("effects: %s", got)
		}
		if d.why[string(rootID(1))+"/b#x"] == nil {
			t.Error("the pending effect was not asked to end")
		}
	})
}

func TestWallTimeOfAChildIsItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk()
		catalog := timed{programs{deciders: map[string]polity.Decider{
			"root":       plan(askWith("b", "child", polity.Bounds{Wall: polity.Duration(time.Hour)}), tool("c", "noop")),
			"child":      plan(askWith("x", "grandchild", polity.Bounds{}), tool("y", "noop")),
			"grandchild": plan(tool("z", "wait")),
		}}, day}
		n := openNode(t, t.TempDir(), bus.SyncOS, Config{Catalog: catalog, Do: d.Do})
		defer n.close(t)
		mustOpen(t, n, rootID(1), "root", polity.Bounds{Wall: polity.Duration(10 * time.Hour)})
		o := endOf(t, n, rootID(1))
		if o.Status != polity.StatusCompleted || string(o.Output) != `"exhausted.wall ok"` {
			t.Errorf("ended %s with %s: %v", o.Status, o.Output, o.Fault)
		}
	})
}

func TestDowntimeIsNotWallTime(t *testing.T) {
	dir := t.TempDir()
	bubble(t, func(t *testing.T) {
		d := newDesk()
		cfg := Config{Do: d.Do, Catalog: timed{programs{deciders: map[string]polity.Decider{
			"root": plan(tool("a", "half"), tool("b", "wait"), tool("c", "noop")),
		}}, day}}
		n := openNode(t, dir, bus.SyncOS, cfg)
		mustOpen(t, n, rootID(1), "root", polity.Bounds{Wall: polity.Duration(time.Hour)})
		time.Sleep(31 * time.Minute) // a took 30
		n.close(t)
		time.Sleep(10 * time.Hour)
		n = openNode(t, dir, bus.SyncOS, cfg)
		defer n.close(t)
		again := time.Now()
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if s, err := n.Find(t.Context(), rootID(1)); err != nil || s.Status != polity.StatusRunning {
			t.Fatalf("%+v %v: the time without an owner was counted", s, err)
		}
		o := endOf(t, n, rootID(1))
		if o.Status != polity.StatusExhausted || string(o.Output) != `"ok exhausted.wall exhausted.wall"` {
			t.Errorf("ended %s with %s: %v", o.Status, o.Output, o.Fault)
		}
		// What was served since the last commit is not known after a restart: it is the run's gain.
		if took := time.Since(again); took < 29*time.Minute || took > 31*time.Minute {
			t.Errorf("ended %s after the restart", took)
		}
	})
}

func TestSleepSurvivesARestart(t *testing.T) {
	for name, tc := range map[string]struct{ down, want time.Duration }{
		"it is over later":             {3*day - 2*time.Hour, 3 * day},
		"it was over in the meanwhile": {5 * day, 5*day + time.Hour},
	} {
		dir := t.TempDir()
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := newDesk()
				cfg := Config{Do: d.Do, Catalog: timed{programs{deciders: map[string]polity.Decider{
					"root": plan(polity.Sleep("long", 3*day), tool("after", "noop")),
				}}, day}}
				n := openNode(t, dir, bus.SyncOS, cfg)
				began := time.Now()
				mustOpen(t, n, rootID(1), "root", polity.Bounds{Wall: polity.Duration(30 * day)})
				time.Sleep(time.Hour)
				n.close(t)
				time.Sleep(tc.down)
				n = openNode(t, dir, bus.SyncOS, cfg)
				defer n.close(t)
				o := endOf(t, n, rootID(1))
				if o.Status != polity.StatusCompleted || string(o.Output) != `"ok ok"` {
					t.Errorf("ended %s with %s: %v", o.Status, o.Output, o.Fault)
				}
				if took := time.Since(began); took < tc.want || took > tc.want+time.Second {
					t.Errorf("slept %s", took)
				}
			})
		})
	}
}

func TestEffectHasATimeLimit(t *testing.T) {
	for name, tc := range map[string]struct {
		tool    string
		timeout time.Duration
		heard   string
		want    time.Duration
	}{
		"it listens":                 {"wait", 10 * time.Second, "timeout", 10 * time.Second},
		"it does not":                {"deaf", 10 * time.Second, "timeout", 10*time.Second + effectGrace},
		"it has the default":         {"wait", 0, "timeout", timeoutDefault},
		"it may have had its effect": {"wait.external", 0, "unknown", timeoutDefault},
		"it is in time":              {"half", day, "ok", 30 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := newDesk()
				n := openNode(t, t.TempDir(), bus.SyncOS, Config{Do: d.Do, Catalog: timed{programs{deciders: map[string]polity.Decider{
					"root": plan(tool("a", tc.tool)),
				}}, tc.timeout}})
				began := time.Now()
				mustOpen(t, n, rootID(1), "root", polity.Bounds{})
				o := endOf(t, n, rootID(1))
				if o.Status != polity.StatusCompleted || string(o.Output) != `"`+tc.heard+`"` {
					t.Errorf("ended %s with %s: %v", o.Status, o.Output, o.Fault)
				}
				if took := time.Since(began); took < tc.want || took > tc.want+time.Second {
					t.Errorf("took %s, want %s", took, tc.want)
				}
				close(d.free)
				synctest.Wait()
				if s, err := n.Find(t.Context(), rootID(1)); err != nil || s.Status != polity.StatusCompleted || s.Usage.Turns != 1 {
					t.Errorf("after a late answer: %+v %v", s, err)
				}
				n.close(t)
			})
		})
	}
}

// TestTimesAreReadAsTheyWereWritten wants a decider that shows a time to show the same after a restart.
func TestTimesAreReadAsTheyWereWritten(t *testing.T) {
	dir := t.TempDir()
	bubble(t, func(t *testing.T) {
		d := newDesk()
		clock := decideFunc(func(n int, e polity.Event) []polity.Command {
			if n == 3 {
				return []polity.Command{polity.Finish(json.RawMessage(`"` + e.At.Format(time.RFC3339Nano) + `"`))}
			}
			input, err := json.Marshal(e.At.String())
			if err != nil {
				panic(err)
			}
			name := []string{"first", "second", "third"}[n]
			return []polity.Command{polity.Call(name, map[bool]string{true: "hour", false: "noop"}[n == 1], input)}
		})
		cfg := Config{Do: d.Do, Catalog: timed{programs{deciders: map[string]polity.Decider{"clock": clock}}, day}}
		n := openNode(t, dir, bus.SyncOS, cfg)
		mustOpen(t, n, rootID(1), "clock", polity.Bounds{Wall: polity.Duration(day)})
		time.Sleep(time.Minute)
		n.close(t)
		n = openNode(t, dir, bus.SyncOS, cfg)
		o := endOf(t, n, rootID(1))
		if o.Status != polity.StatusCompleted || !strings.HasSuffix(string(o.Output), `Z"`) {
			t.Errorf("ended %s with %s: %v", o.Status, o.Output, o.Fault)
		}
		n.close(t)
		n = openNode(t, dir, bus.SyncOS, cfg)
		defer n.close(t)
		if s, err := n.Find(t.Context(), rootID(1)); err != nil || s.Status != polity.StatusCompleted {
			t.Errorf("after a restart: %+v %v", s, err)
		}
		if _, err := n.Find(t.Context(), rootID(2)); fault.Of(err).Kind != fault.NotFound {
			t.Errorf("unknown run: %v", err)
		}
	})
}

// TestEffectAnswersLater wants the first answer of an effect that holds no goroutine, whenever it comes, and no other.
func TestEffectAnswersLater(t *testing.T) {
	for name, tc := range map[string]struct {
		after []time.Duration
		heard string
		want  time.Duration
	}{
		"at once":       {[]time.Duration{0}, "ok", 0},
		"in time":       {[]time.Duration{time.Second}, "ok", time.Second},
		"twice":         {[]time.Duration{time.Second, 2 * time.Second}, "ok", time.Second},
		"after a while": {[]time.Duration{timeoutDefault + time.Second}, "ok", timeoutDefault + time.Second}, // it ended within the grace
		"too late":      {[]time.Duration{timeoutDefault + effectGrace + time.Second}, "timeout", timeoutDefault + effectGrace},
		"never":         {nil, "timeout", timeoutDefault + effectGrace},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				do := func(_ context.Context, e *Effect) (json.RawMessage, polity.Usage, error) {
					answer := e.Later()
					for _, d := range tc.after {
						time.AfterFunc(d, func() { answer(json.RawMessage(`{}`), polity.Usage{InputTokens: 1}, nil) })
					}
					return nil, polity.Usage{}, nil
				}
				n := openNode(t, t.TempDir(), bus.SyncOS, Config{Do: do, Catalog: programs{deciders: map[string]polity.Decider{
					"root": plan(tool("a", "noop"), polity.Sleep("b", 10*time.Minute)),
				}}})
				defer n.close(t)
				began := time.Now()
				mustOpen(t, n, rootID(1), "root", polity.Bounds{})
				o := endOf(t, n, rootID(1))
				if o.Status != polity.StatusCompleted || string(o.Output) != `"`+tc.heard+` ok"` || o.Usage.Turns != 1 {
					t.Errorf("ended %s with %s, %+v: %v", o.Status, o.Output, o.Usage, o.Fault)
				}
				if took := time.Since(began) - 10*time.Minute; took < tc.want || took > tc.want+time.Second/2 {
					t.Errorf("took %s, want %s", took, tc.want)
				}
			})
		})
	}
}
