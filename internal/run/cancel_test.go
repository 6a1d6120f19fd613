package run

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// family is a run with effects of its own, two levels of children, and a child that sleeps.
var family = map[string]polity.Decider{
	"root": all(tool("a", "wait"), polity.Sleep("nap", time.Hour), askWith("b", "middle", polity.Bounds{}),
		askWith("c", "sleeper", polity.Bounds{})),
	"middle":  all(tool("x", "wait"), askWith("y", "leaf", polity.Bounds{Turns: 5})),
	"leaf":    all(tool("z", "deaf"), polity.Sleep("s", time.Hour)),
	"sleeper": plan(polity.Sleep("s", 2*time.Hour)),
}

// all is a decider that asks for everything at once, and ends when it has heard of all of it.
func all(commands ...polity.Command) decideFunc {
	return func(n int, e polity.Event) []polity.Command {
		switch {
		case e.Kind == polity.Opened:
			return commands
		case n == len(commands):
			return did(n)
		default:
			return nil
		}
	}
}

func TestCancelReachesEverything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk()
		n := openNode(t, t.TempDir(), bus.SyncOS, Config{Do: d.Do, Catalog: timed{programs{deciders: family}, day}})
		defer n.close(t)
		mustOpen(t, n, rootID(1), "root", polity.Bounds{})
		synctest.Wait()
		if got := strings.Join(d.list(&d.began), " "); got != "#a /b#x /b/y#z" {
			t.Fatalf("in flight: %s", got)
		}
		at := time.Now()
		if err := n.Cancel(t.Context(), rootID(1), "enough"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s, err := n.Find(t.Context(), rootID(1)); err != nil || s.Status != polity.StatusRunning {
			t.Fatalf("it ended before its effects did: %+v %v", s, err)
		}
		if got := strings.Join(d.list(&d.ended), " "); got != "#a /b#x" {
			t.Fatalf("ended: %s", got)
		}
		close(d.free)
		o := endOf(t, n, rootID(1))
		if o.Status != polity.StatusCancelled || o.Fault.Kind != fault.Cancelled || o.Fault.Text != "cancelled: enough" || o.Output != nil {
			t.Errorf("ended %s with %s: %v", o.Status, o.Output, o.Fault)
		}
		if took := time.Since(at); took > time.Second {
			t.Errorf("cancelling took %s", took)
		}
		ends, faults := map[polity.RunID]string{}, map[string]string{}
		if err := n.History(t.Context(), rootID(1), func(n polity.Notice) error {
			if n.Kind == "finished" {
				ends[n.Run] = n.Status + ": " + n.Fault.Text
			}
			if n.Kind == "result" && n.Fault != nil {
				faults[n.Name] = string(n.Fault.Kind) + ": " + n.Fault.Text
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for _, id := range []polity.RunID{rootID(1), rootID(1).Child("b", 1), rootID(1).Child("b", 1).Child("y", 1), rootID(1).Child("c", 1)} {
			if ends[id] != "cancelled: cancelled: enough" {
				t.Errorf("%s ended %q", id, ends[id])
			}
		}
		for _, name := range []string{"a", "x", "s"} {
			if faults[name] != "cancelled: cancelled: enough" {
				t.Errorf("%s ended %q", name, faults[name])
			}
		}
	})
}

func TestCancelWaitsForADeafEffectNoLongerThanItsGrace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk()
		n := openNode(t, t.TempDir(), bus.SyncOS, Config{Do: d.Do, Catalog: timed{programs{deciders: family}, day}})
		mustOpen(t, n, rootID(1), "root", polity.Bounds{})
		synctest.Wait()
		at := time.Now()
		if err := n.Cancel(t.Context(), rootID(1), "enough"); err != nil {
			t.Fatal(err)
		}
		if o := endOf(t, n, rootID(1)); o.Status != polity.StatusCancelled {
			t.Errorf("ended %s: %v", o.Status, o.Fault)
		}
		if took := time.Since(at); took < effectGrace || took > effectGrace+time.Second {
			t.Errorf("cancelling took %s", took)
		}
		close(d.free)
		n.close(t)
	})
}

func TestCancel(t *testing.T) {
	deciders := map[string]polity.Decider{
		"sleeper": plan(polity.Sleep("s", 2*time.Hour)), "quick": steps(1), "external": plan(tool("e", "wait.external")),
	}
	for name, test := range map[string]func(t *testing.T, n *node){
		"a run that sleeps, at once": func(t *testing.T, n *node) {
			mustOpen(t, n, rootID(1), "sleeper", polity.Bounds{})
			at := time.Now()
			if err := n.Cancel(t.Context(), rootID(1), "enough"); err != nil {
				t.Fatal(err)
			}
			if o := endOf(t, n, rootID(1)); o.Status != polity.StatusCancelled || time.Since(at) > time.Second {
				t.Errorf("ended %s after %s", o.Status, time.Since(at))
			}
		},
		"an unknown one": func(t *testing.T, n *node) {
			if err := n.Cancel(t.Context(), rootID(99), ""); !errors.Is(err, fault.NotFound) {
				t.Errorf("%v", err)
			}
		},
		"one that has ended": func(t *testing.T, n *node) {
			mustOpen(t, n, rootID(2), "quick", polity.Bounds{})
			before := endOf(t, n, rootID(2))
			if err := n.Cancel(t.Context(), rootID(2), "too late"); err != nil {
				t.Fatal(err)
			}
			if after := endOf(t, n, rootID(2)); after.Status != before.Status || string(after.Output) != string(before.Output) {
				t.Errorf("before %+v, after %+v", before, after)
			}
		},
		"with a reason that is too long": func(t *testing.T, n *node) {
			if err := n.Cancel(t.Context(), rootID(1), strings.Repeat("x", textMax+1)); !errors.Is(err, fault.Invalid) {
				t.Errorf("%v", err)
			}
		},
		"twice": func(t *testing.T, n *node) {
			mustOpen(t, n, rootID(3), "sleeper", polity.Bounds{})
			for _, reason := range []string{"one", "two"} {
				if err := n.Cancel(t.Context(), rootID(3), reason); err != nil {
					t.Fatal(err)
				}
			}
			if o := endOf(t, n, rootID(3)); o.Status != polity.StatusCancelled || o.Fault.Text != "cancelled: one" {
				t.Errorf("ended %s: %v", o.Status, o.Fault)
			}
		},
		"an external effect in flight": func(t *testing.T, n *node) {
			mustOpen(t, n, rootID(4), "external", polity.Bounds{})
			synctest.Wait()
			if err := n.Cancel(t.Context(), rootID(4), "enough"); err != nil {
				t.Fatal(err)
			}
			if o := endOf(t, n, rootID(4)); o.Status != polity.StatusCancelled {
				t.Errorf("ended %s: %v", o.Status, o.Fault)
			}
			var kinds []string
			if err := n.History(t.Context(), rootID(4), func(n polity.Notice) error {
				word := n.Kind
				if n.Kind == "result" {
					word += "." + string(n.Fault.Kind)
				}
				kinds = append(kinds, word)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(kinds, " "); got != "opened began cancel result.unknown finished" {
				t.Errorf("history: %s", got)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := openNode(t, t.TempDir(), bus.SyncOS, Config{Do: newDesk().Do, Catalog: timed{programs{deciders: deciders}, day}})
				defer n.close(t)
				test(t, n)
			})
		})
	}
}

// TestLongReasonReachesTheLowestRun wants the longest reason to come through every level and a restart.
func TestLongReasonReachesTheLowestRun(t *testing.T) {
	dir := t.TempDir()
	bubble(t, func(t *testing.T) {
		d := newDesk()
		close(d.free)
		cfg := Config{Do: d.Do, Catalog: timed{programs{deciders: family}, day}}
		n := openNode(t, dir, bus.SyncOS, cfg)
		mustOpen(t, n, rootID(1), "root", polity.Bounds{})
		synctest.Wait()
		if err := n.Cancel(t.Context(), rootID(1), strings.Repeat("é", textMax/2)); err != nil {
			t.Fatal(err)
		}
		if o := endOf(t, n, rootID(1)); o.Status != polity.StatusCancelled {
			t.Errorf("ended %s: %v", o.Status, o.Fault)
		}
		n.close(t)
		n = openNode(t, dir, bus.SyncOS, cfg)
		defer n.close(t)
		if o := endOf(t, n, rootID(1)); o.Status != polity.StatusCancelled {
			t.Errorf("after a restart: %s: %v", o.Status, o.Fault)
		}
	})
}

func TestCancelOfAParkedRun(t *testing.T) {
	dir := t.TempDir()
	bubble(t, func(t *testing.T) {
		d := newDesk()
		cfg := Config{Do: d.Do, Park: true, Catalog: timed{programs{deciders: family}, day}}
		n := openNode(t, dir, bus.SyncOS, cfg)
		mustOpen(t, n, rootID(1), "root", polity.Bounds{})
		synctest.Wait()
		close(d.free)
		n.close(t)
		before := len(d.list(&d.began))
		n = openNode(t, dir, bus.SyncOS, cfg)
		defer n.close(t)
		if err := n.Cancel(t.Context(), rootID(1), "enough"); err != nil {
			t.Fatal(err)
		}
		if o := endOf(t, n, rootID(1)); o.Status != polity.StatusCancelled || o.Fault.Text != "cancelled: enough" {
			t.Errorf("ended %s: %v", o.Status, o.Fault)
		}
		if after := len(d.list(&d.began)); after != before {
			t.Errorf("%d effects were done again to be cancelled", after-before)
		}
	})
}

func TestFinishCancelsWhatIsPending(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk()
		early := decideFunc(func(_ int, e polity.Event) []polity.Command {
			if e.Kind == polity.Opened {
				return []polity.Command{
					tool("quick", "noop"), tool("slow", "wait"), polity.Sleep("long", time.Hour), askWith("child", "middle", polity.Bounds{}),
				}
			}
			return []polity.Command{polity.Finish(json.RawMessage(`"` + e.Name + `"`)), tool("never", "noop")}
		})
		deciders := map[string]polity.Decider{"early": early, "middle": family["middle"], "leaf": all(tool("z", "wait"), polity.Sleep("s", time.Hour))}
		n := openNode(t, t.TempDir(), bus.SyncOS, Config{Do: d.Do, Catalog: timed{programs{deciders: deciders}, day}})
		defer n.close(t)
		at := time.Now()
		mustOpen(t, n, rootID(1), "early", polity.Bounds{})
		o := endOf(t, n, rootID(1))
		if o.Status != polity.StatusCompleted || string(o.Output) != `"quick"` || time.Since(at) > time.Second {
			t.Errorf("ended %s with %s after %s: %v", o.Status, o.Output, time.Since(at), o.Fault)
		}
		if got := strings.Join(d.list(&d.ended), " "); strings.Contains(got, "never") || !strings.Contains(got, "#slow") {
			t.Errorf("effects that ended: %s", got)
		}
		if began, ended := d.list(&d.began), d.list(&d.ended); len(began) != len(ended) {
			t.Errorf("began %v, ended %v", began, ended)
		}
	})
}
