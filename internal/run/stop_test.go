package run

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

func TestMissingBlobStopsItsRunOnly(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"gone":    os.Remove,
		"changed": func(path string) error { return os.WriteFile(path, []byte(`"x"`), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := Config{Catalog: timed{programs{deciders: echoes}, day}, Do: newDesk().Do}
			cfg.Do = func(ctx context.Context, _ *Effect) (json.RawMessage, polity.Usage, error) {
				<-ctx.Done()
				return nil, polity.Usage{}, ctx.Err()
			}
			n := openNode(t, dir, bus.SyncOS, cfg)
			for i := range 3 {
				if err := n.Open(t.Context(), Request{ID: rootID(i), Agent: "echo", Input: large(i)}); err != nil {
					t.Fatal(err)
				}
			}
			n.close(t)
			path := blobPath(dir, sha256.Sum256(large(1)))
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := harm(path); err != nil {
				t.Fatal(err)
			}
			cfg.Do = func(_ context.Context, e *Effect) (json.RawMessage, polity.Usage, error) {
				return e.Input, polity.Usage{}, nil
			}
			n = openNode(t, dir, bus.SyncOS, cfg)
			for _, i := range []int{0, 2} {
				if o := endOf(t, n, rootID(i)); string(o.Output) != string(large(i)) {
					t.Errorf("run %d ended %s: %v", i, o.Status, o.Fault)
				}
			}
			s, err := n.Find(t.Context(), rootID(1))
			if err != nil || s.Status != polity.StatusStopped || !strings.Contains(s.Fault.Text, "blobs") {
				t.Errorf("%+v %v", s, err)
			}
			if err := second(n.Wait(t.Context(), rootID(1))); !errors.Is(err, s.Fault) {
				t.Errorf("waiting for it: %v", err)
			}
			if err := n.Cancel(t.Context(), rootID(1), "x"); !errors.Is(err, fault.Conflict) {
				t.Errorf("cancelling it: %v", err)
			}
			n.close(t)
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			n = openNode(t, dir, bus.SyncOS, cfg)
			defer n.close(t)
			if o := endOf(t, n, rootID(1)); string(o.Output) != string(large(1)) {
				t.Errorf("with the blob back it ended %s: %v", o.Status, o.Fault)
			}
		})
	}
}

func TestPanicFailsItsRunOnly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		bad := decideFunc(func(n int, _ polity.Event) []polity.Command {
			if n == 1 {
				panic("oops")
			}
			return []polity.Command{tool("a", "noop"), tool("b", "wait")}
		})
		n := openNode(t, t.TempDir(), bus.SyncOS, Config{Do: newDesk().Do, Catalog: timed{programs{deciders: map[string]polity.Decider{
			"bad": bad, "five": steps(5), "root": plan(askWith("c", "bad", polity.Bounds{}), tool("d", "noop")),
		}}, day}})
		defer n.close(t)
		mustOpen(t, n, rootID(1), "bad", polity.Bounds{})
		mustOpen(t, n, rootID(2), "five", polity.Bounds{})
		mustOpen(t, n, rootID(3), "root", polity.Bounds{})
		if o := endOf(t, n, rootID(1)); o.Status != polity.StatusFailed || !errors.Is(o.Fault, fault.Internal) || !strings.Contains(o.Fault.Text, "oops") {
			t.Errorf("ended %s: %v", o.Status, o.Fault)
		}
		if o := endOf(t, n, rootID(2)); o.Status != polity.StatusCompleted {
			t.Errorf("ended %s: %v", o.Status, o.Fault)
		}
		if o := endOf(t, n, rootID(3)); string(o.Output) != `"internal ok"` {
			t.Errorf("ended %s with %s: %v", o.Status, o.Output, o.Fault)
		}
	})
}

func TestBadCommands(t *testing.T) {
	reserved := tool("a", "noop")
	reserved.Bounds.Turns = -1
	many := make([]polity.Command, commandsMax+1)
	for i := range many {
		many[i] = tool(fmt.Sprintf("c%d", i), "noop")
	}
	for name, tc := range map[string]struct {
		commands []polity.Command
		want     string
	}{
		"nothing":          {nil, "neither finished nor waits"},
		"a name twice":     {[]polity.Command{tool("a", "noop"), tool("a", "noop")}, `"a" is decided twice`},
		"no name":          {[]polity.Command{tool("", "noop")}, "want 1 to 64 bytes"},
		"a long name":      {[]polity.Command{tool(strings.Repeat("x", nameMax+1), "noop")}, "want 1 to 64 bytes"},
		"a slash":          {[]polity.Command{tool("a/b", "noop")}, `"/" is not allowed`},
		"an attempt":       {[]polity.Command{tool("a~2", "noop")}, `"~" is not allowed`},
		"no verb":          {[]polity.Command{{Name: "a"}}, "does nothing that is known"},
		"a negative bound": {[]polity.Command{reserved}, "negative"},
		"too many":         {many, "1025 commands in one answer"},
		"a long address":   {[]polity.Command{tool("a", strings.Repeat("x", textMax+1))}, "longer than 4096"},
		"a long skill":     {[]polity.Command{polity.Ask("a", "five", strings.Repeat("x", textMax+1), nil)}, "longer than 4096"},
		"no fault":         {[]polity.Command{polity.Fail(nil)}, "failed without a fault"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := decideFunc(func(int, polity.Event) []polity.Command { return tc.commands })
			m := newMemory(t, programs{deciders: map[string]polity.Decider{"bad": bad, "five": steps(5)}})
			ok := m.begin(2, "five", polity.Bounds{})
			o := m.ask("bad", polity.Bounds{FanOut: 2000, Turns: 5000})
			if o.Status != polity.StatusFailed || !errors.Is(o.Fault, fault.Internal) || !strings.Contains(o.Fault.Text, tc.want) {
				t.Errorf("ended %s: %v", o.Status, o.Fault)
			}
			if ok.Status != polity.StatusCompleted {
				t.Errorf("the other run ended %s: %v", ok.Status, ok.Fault)
			}
			replayed(t, m)
		})
	}
}

func TestNameIsUsedAgainLater(t *testing.T) {
	again := decideFunc(func(int, polity.Event) []polity.Command { return []polity.Command{tool("a", "noop")} })
	m := newMemory(t, programs{deciders: map[string]polity.Decider{"again": again}})
	if o := m.ask("again", polity.Bounds{}); o.Status != polity.StatusFailed || !strings.Contains(o.Fault.Text, `"a" is decided twice`) {
		t.Errorf("ended %s: %v", o.Status, o.Fault)
	}
	replayed(t, m)
}

// moody is a catalog that says what has become of agents since.
type moody struct {
	programs
	program, work error
	other         polity.Decider
}

func (c moody) Program(d Digest, agent string) (*Program, error) {
	if c.program != nil && agent == "five" {
		return nil, c.program
	}
	if c.other != nil && agent == "five" {
		return &Program{Decider: c.other}, nil
	}
	return c.programs.Program(d, agent)
}

func (c moody) Work(d Digest, agent string, verb polity.Verb, to string) (Work, error) {
	w, err := c.programs.Work(d, agent, verb, to)
	if c.work != nil && agent == "five" {
		err = c.work
	}
	w.Timeout = day
	return w, err
}

func TestChangedAgentStopsItsRuns(t *testing.T) {
	good := moody{programs: programs{deciders: map[string]polity.Decider{
		"five": steps(5), "other": steps(3), "root": plan(askWith("c", "five", polity.Bounds{}), tool("d", "noop")),
	}}}
	gone := fault.Diverged.New("agent \"five\" is not what it was: another digest")
	for name, tc := range map[string]struct {
		bad  moody
		want string
	}{
		"its program":  {moody{programs: good.programs, program: gone}, "another digest"},
		"its tools":    {moody{programs: good.programs, work: gone}, "another digest"},
		"what it asks": {moody{programs: good.programs, other: greedy(callNext)}, "asks for something else"},
		"its words": {moody{programs: good.programs, other: greedy(func(n int) polity.Command {
			return polity.Call(fmt.Sprintf("step.%d", n), "noop", json.RawMessage(`{"now":true}`))
		})}, "asks for something else"},
		"its answer": {moody{programs: good.programs, other: steps(1)}, "asks for something else"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			bubble(t, func(t *testing.T) {
				var slow atomic.Bool
				slow.Store(true)
				do := func(ctx context.Context, e *Effect) (json.RawMessage, polity.Usage, error) {
					if slow.Load() && e.Name == "step.3" {
						<-ctx.Done()
						return nil, polity.Usage{}, ctx.Err()
					}
					return json.RawMessage(`{}`), polity.Usage{}, nil
				}
				n := openNode(t, dir, bus.SyncOS, Config{Do: do, Catalog: good})
				for i, agent := range []string{"five", "other", "root"} {
					mustOpen(t, n, rootID(i), agent, polity.Bounds{})
				}
				synctest.Wait()
				n.close(t)
				slow.Store(false)
				n = openNode(t, dir, bus.SyncOS, Config{Do: do, Catalog: tc.bad})
				if o := endOf(t, n, rootID(1)); o.Status != polity.StatusCompleted {
					t.Errorf("the other run ended %s: %v", o.Status, o.Fault)
				}
				for _, i := range []int{0, 2} {
					s, err := n.Find(t.Context(), rootID(i))
					if err != nil || s.Status != polity.StatusStopped || !errors.Is(s.Fault, fault.Diverged) || !strings.Contains(s.Fault.Text, tc.want) {
						t.Errorf("run %d: %+v %v", i, s, err)
					}
				}
				synctest.Wait()
				n.close(t)
				n = openNode(t, dir, bus.SyncOS, Config{Do: do, Catalog: good})
				defer n.close(t)
				for i, want := range map[int]string{0: `{"steps":5}`, 2: `"ok ok"`} {
					if o := endOf(t, n, rootID(i)); string(o.Output) != want {
						t.Errorf("run %d went on and ended %s with %s: %v", i, o.Status, o.Output, o.Fault)
					}
				}
			})
		})
	}
}

// TestChildAskedOtherwise wants a child that the log opened with another question to stop its tree.
func TestChildAskedOtherwise(t *testing.T) {
	ask := func(input string) programs {
		root := plan(polity.Ask("c", "child", "", json.RawMessage(input)))
		return programs{deciders: map[string]polity.Decider{"root": root, "child": plan(polity.Sleep("s", time.Minute))}}
	}
	m := newMemory(t, ask(`{"q":1}`))
	m.begin(1, "root", polity.Bounds{})
	m.acknowledge()
	m.open(ask(`{"q":2}`), false)
	if f := m.core.roots[0].stopped; f == nil || !errors.Is(f, fault.Diverged) || !strings.Contains(f.Text, "and this code does not") {
		t.Errorf("stopped: %v", f)
	}
	m.open(ask(`{"q":1}`), false)
	m.run()
	if s := m.core.current(m.core.roots[0]); s.Status != polity.StatusCompleted {
		t.Errorf("it went on and ended %s: %v", s.Status, s.Fault)
	}
}

// TestCloseAnswersEveryone wants nobody to wait for ever for a node that stops under load, with more waiting than a commit takes.
func TestCloseAnswersEveryone(t *testing.T) {
	var first sync.Once
	busy := make(chan struct{})
	do := func(ctx context.Context, e *Effect) (json.RawMessage, polity.Usage, error) {
		first.Do(func() { close(busy) })
		return noop(ctx, e)
	}
	n := openNode(t, t.TempDir(), bus.SyncDisk, Config{Do: do, Catalog: programs{deciders: map[string]polity.Decider{"five": steps(5)}}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // nobody comes near it
	defer cancel()
	var wg sync.WaitGroup
	var answered [2]atomic.Int32
	input := json.RawMessage(`"` + strings.Repeat("x", 30<<10) + `"`)
	for i := range 1000 {
		wg.Go(func() {
			var err error
			if i%2 == 0 {
				_, err = n.Run(ctx, Request{ID: rootID(i), Agent: "five", Input: input})
			} else {
				err = n.Open(ctx, Request{ID: rootID(i), Agent: "five", Input: input})
			}
			switch {
			case err == nil:
				answered[0].Add(1)
			case errors.Is(err, fault.Unavailable):
				answered[1].Add(1)
			default:
				t.Errorf("run %d: %v", i, err)
			}
		})
	}
	<-busy
	n.close(t)
	wg.Wait()
	if answered[1].Load() == 0 {
		t.Error("the node stopped when all was done: nothing was tried")
	}
	t.Logf("%d were answered, %d were told to ask again", answered[0].Load(), answered[1].Load())
	if err := n.Open(ctx, Request{ID: rootID(1), Agent: "five"}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("after the end: %v", err)
	}
	if err := n.Err(); err != nil {
		t.Errorf("it went down by itself: %v", err)
	}
}

func TestFullDiskAdmitsNoNewRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var free atomic.Uint64
		n := openNode(t, t.TempDir(), bus.SyncOS, Config{
			Do: noop, Catalog: programs{deciders: map[string]polity.Decider{"five": steps(5)}},
			Free: func() (uint64, error) { return free.Load(), nil },
		})
		defer n.close(t)
		if err := n.Open(t.Context(), Request{ID: rootID(1), Agent: "five"}); !errors.Is(err, fault.Full) {
			t.Errorf("without room: %v", err)
		}
		free.Store(freeMin)
		time.Sleep(time.Second)
		if err := n.Open(t.Context(), Request{ID: rootID(1), Agent: "five"}); err != nil {
			t.Errorf("with room: %v", err)
		}
	})
}
