package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

func TestSameIDIsOneRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk()
		n := openNode(t, t.TempDir(), bus.SyncOS, Config{Do: d.Do, Catalog: programs{deciders: map[string]polity.Decider{"five": steps(5)}}})
		defer n.close(t)
		request := Request{ID: rootID(1), Agent: "five", Input: json.RawMessage(`{"q":1}`)}
		var outcomes [20]polity.Outcome
		var wg sync.WaitGroup
		for i := range outcomes {
			wg.Go(func() {
				var err error
				if outcomes[i], err = n.Run(t.Context(), request); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, o := range outcomes {
			if o.Status != polity.StatusCompleted || string(o.Output) != `{"steps":5}` {
				t.Errorf("ended %s with %s: %v", o.Status, o.Output, o.Fault)
			}
		}
		if got := len(d.list(&d.began)); got != 5 {
			t.Errorf("%d effects", got)
		}
		for what, change := range map[string]func(r *Request){
			"input":   func(r *Request) { r.Input = json.RawMessage(`{"q":2}`) },
			"skill":   func(r *Request) { r.Skill = "other" },
			"agent":   func(r *Request) { r.Agent = "six" },
			"folder":  func(r *Request) { r.Folder = "/other" },
			"release": func(r *Request) { r.Release[0]++ },
		} {
			other := request
			change(&other)
			if err := n.Open(t.Context(), other); !errors.Is(err, fault.Conflict) {
				t.Errorf("the same ID with another %s: %v", what, err)
			}
		}
	})
}

func TestBadRequests(t *testing.T) {
	n := openNode(t, t.TempDir(), bus.SyncOS, Config{Do: noop, Catalog: programs{deciders: map[string]polity.Decider{"five": steps(5)}}})
	defer n.close(t)
	for name, tc := range map[string]struct {
		request Request
		want    fault.Kind
	}{
		"no ID":               {Request{Agent: "five"}, fault.Invalid},
		"the ID of a child":   {Request{ID: rootID(1).Child("x", 1), Agent: "five"}, fault.Invalid},
		"another partition":   {Request{ID: polity.NewRunID(1, nil), Agent: "five"}, fault.Invalid},
		"an ID without end":   {Request{ID: polity.RunID("0-" + strings.Repeat("x", 5000)), Agent: "five"}, fault.Invalid},
		"an agent nobody has": {Request{ID: rootID(1), Agent: "six"}, fault.NotFound},
		"a negative bound":    {Request{ID: rootID(1), Agent: "five", Bounds: polity.Bounds{Turns: -1}}, fault.Invalid},
		"a long name":         {Request{ID: rootID(1), Agent: "five", Skill: strings.Repeat("x", textMax+1)}, fault.Invalid},
		"a long input":        {Request{ID: rootID(1), Agent: "five", Input: make(json.RawMessage, payloadMax+1)}, fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			if err := n.Open(t.Context(), tc.request); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
			if _, err := n.Run(t.Context(), tc.request); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
	if list, err := n.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
}

func TestInputIsChecked(t *testing.T) {
	picky := func(skill string, data json.RawMessage) error {
		if string(data) != `{"good":true}` {
			return fault.Invalid.New("%s wants good", skill)
		}
		return nil
	}
	good := polity.Ask("good", "picky", "s", json.RawMessage(`{"good":true}`))
	bad := polity.Ask("bad", "picky", "s", json.RawMessage(`{}`))
	catalog := checked{programs: programs{deciders: map[string]polity.Decider{"root": plan(bad, good), "picky": steps(1)}}, input: picky}
	n := openNode(t, t.TempDir(), bus.SyncOS, Config{Do: noop, Catalog: catalog})
	defer n.close(t)
	if err := n.Open(t.Context(), Request{ID: rootID(1), Agent: "picky", Skill: "s", Input: json.RawMessage(`{}`)}); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "s wants good") {
		t.Errorf("%v", err)
	}
	o, err := n.Run(t.Context(), Request{ID: rootID(2), Agent: "root"})
	if err != nil || string(o.Output) != `"invalid ok"` {
		t.Errorf("%s %v", o.Output, err)
	}
}

// checked is a catalog whose agent "picky" checks what it is asked and answers.
type checked struct {
	programs
	input, output func(string, json.RawMessage) error
}

func (c checked) Program(d Digest, agent string) (*Program, error) {
	p, err := c.programs.Program(d, agent)
	if err == nil && agent == "picky" {
		p.Input, p.Output = c.input, c.output
	}
	return p, err
}

func TestOutputIsChecked(t *testing.T) {
	catalog := checked{
		programs: programs{deciders: map[string]polity.Decider{
			"picky": steps(1), "root": plan(askWith("a", "picky", polity.Bounds{}), tool("b", "noop")),
		}},
		output: func(_ string, data json.RawMessage) error {
			return fault.Invalid.New("%s is not what I promised", data)
		},
	}
	dir := t.TempDir()
	n := openNode(t, dir, bus.SyncOS, Config{Do: noop, Catalog: catalog})
	o, err := n.Run(t.Context(), Request{ID: rootID(1), Agent: "picky"})
	if err != nil || o.Status != polity.StatusFailed || o.Output != nil || !errors.Is(o.Fault, fault.Invalid) {
		t.Errorf("ended %s with %s: %v %v", o.Status, o.Output, o.Fault, err)
	}
	if o, err := n.Run(t.Context(), Request{ID: rootID(2), Agent: "root"}); err != nil || string(o.Output) != `"invalid ok"` {
		t.Errorf("%s %v", o.Output, err)
	}
	n.close(t)
	n = openNode(t, dir, bus.SyncOS, Config{Do: noop, Catalog: catalog})
	defer n.close(t)
	if again, err := n.Wait(t.Context(), rootID(1)); err != nil || again.Status != o.Status || again.Output != nil || !errors.Is(again.Fault, fault.Invalid) {
		t.Errorf("after a restart: %+v %v", again, err)
	}
}

func TestQueriesAfterARestart(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Do: noop, Park: true, Catalog: timed{programs{deciders: map[string]polity.Decider{
		"five": steps(5), "sleeper": plan(polity.Sleep("s", time.Hour)),
	}}, day}}
	n := openNode(t, dir, bus.SyncOS, cfg)
	first, err := n.Run(t.Context(), Request{ID: rootID(1), Agent: "five"})
	if err != nil {
		t.Fatal(err)
	}
	mustOpen(t, n, rootID(2), "sleeper", polity.Bounds{})
	history := historyOf(t, n, rootID(1))
	n.close(t)

	n = openNode(t, dir, bus.SyncOS, cfg)
	defer n.close(t)
	if o := endOf(t, n, rootID(1)); o.Status != first.Status || string(o.Output) != string(first.Output) || o.Usage != first.Usage || o.Usage.Turns != 5 {
		t.Errorf("first %+v, after the restart %+v", first, o)
	}
	if got := historyOf(t, n, rootID(1)); got != history || !strings.HasPrefix(got, "opened five null\nresult step.1 {") {
		t.Errorf("history was\n%sand is\n%s", history, got)
	}
	if again, err := n.Run(t.Context(), Request{ID: rootID(1), Agent: "five"}); err != nil || string(again.Output) != string(first.Output) {
		t.Errorf("opened again: %+v %v", again, err)
	}
	list, err := n.List(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("%v %v", list, err)
	}
	if a, b := list[0], list[1]; a.ID != rootID(1) || a.Status != polity.StatusCompleted || a.Agent != "five" || a.Usage.Turns != 5 ||
		a.Ended.Before(a.Opened) || b.ID != rootID(2) || b.Status != polity.StatusRunning || b.Opened.Before(a.Opened) || !b.Ended.IsZero() {
		t.Errorf("%+v", list)
	}
	if s, err := n.Find(t.Context(), rootID(2)); err != nil || s != list[1] {
		t.Errorf("found %+v %v", s, err)
	}
	for name, err := range map[string]error{
		"find":    second(n.Find(t.Context(), rootID(3))),
		"wait":    second(n.Wait(t.Context(), rootID(3))),
		"watch":   second(n.Watch(t.Context(), rootID(3), func(polity.Notice) {})),
		"history": n.History(t.Context(), rootID(3), func(polity.Notice) error { return nil }),
	} {
		if !errors.Is(err, fault.NotFound) {
			t.Errorf("%s of an unknown run: %v", name, err)
		}
	}
	stop := errors.New("enough")
	if err := n.History(t.Context(), rootID(1), func(polity.Notice) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("history goes on: %v", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Wait(over, rootID(2)); !errors.Is(err, fault.Cancelled) && !errors.Is(err, context.Canceled) {
		t.Errorf("waiting was given up: %v", err)
	}
}

func second[A any](_ A, err error) error { return err }

func historyOf(t *testing.T, n *node, id polity.RunID) string {
	t.Helper()
	var b strings.Builder
	if err := n.History(t.Context(), id, func(n polity.Notice) error {
		fmt.Fprintln(&b, n.Kind, n.Name+n.Agent, string(n.Data))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk()
		n := openNode(t, t.TempDir(), bus.SyncOS, Config{Do: d.Do, Catalog: timed{programs{deciders: map[string]polity.Decider{
			"root": plan(polity.Sleep("s", time.Minute), tool("a", "noop.external"), askWith("c", "leaf", polity.Bounds{})), "leaf": plan(tool("x", "noop")),
		}}, day}})
		defer n.close(t)
		mustOpen(t, n, rootID(1), "root", polity.Bounds{})
		var mu sync.Mutex
		var seen, less []string
		var commit uint64
		note := func(list *[]string) func(polity.Notice) {
			return func(n polity.Notice) {
				mu.Lock()
				defer mu.Unlock()
				*list = append(*list, strings.TrimSpace(n.Kind+" "+n.Name))
				if n.Commit < commit || n.Commit == 0 {
					t.Errorf("%s of commit %d after one of commit %d", n.Kind, n.Commit, commit)
				}
				commit = n.Commit
			}
		}
		if _, err := n.Watch(t.Context(), rootID(1), note(&seen)); err != nil {
			t.Fatal(err)
		}
		stop, err := n.Watch(t.Context(), rootID(1), note(&less))
		if err != nil {
			t.Fatal(err)
		}
		stop()
		endOf(t, n, rootID(1))
		synctest.Wait()
		want := "started s, result s, started a, began a, result a, started c, opened, started x, result x, finished, finished"
		if got := strings.Join(seen, ", "); got != want {
			t.Errorf("saw %s\nwant %s", got, want)
		}
		if len(less) != 1 {
			t.Errorf("a watcher that had gone saw %v, want only what was under way", less)
		}
	})
}

func TestParkedRunsResumeWhenTheyAreOpenedAgain(t *testing.T) {
	dir := t.TempDir()
	bubble(t, func(t *testing.T) {
		d := newDesk()
		cfg := Config{Do: d.Do, Park: true, Catalog: timed{programs{deciders: map[string]polity.Decider{
			"root": plan(tool("a", "half"), askWith("c", "leaf", polity.Bounds{})), "leaf": plan(tool("x", "noop")),
		}}, day}}
		n := openNode(t, dir, bus.SyncOS, cfg)
		for i := range 2 {
			mustOpen(t, n, rootID(i), "root", polity.Bounds{})
		}
		time.Sleep(time.Minute)
		n.close(t)
		n = openNode(t, dir, bus.SyncOS, cfg)
		defer n.close(t)
		before := len(d.list(&d.began))
		time.Sleep(time.Hour)
		synctest.Wait()
		if after := len(d.list(&d.began)); after != before {
			t.Fatalf("%d effects of parked runs", after-before)
		}
		mustOpen(t, n, rootID(1), "root", polity.Bounds{})
		mustOpen(t, n, rootID(1), "root", polity.Bounds{}) // once is enough
		if o := endOf(t, n, rootID(1)); o.Status != polity.StatusCompleted || string(o.Output) != `"ok ok"` {
			t.Errorf("ended %s with %s: %v", o.Status, o.Output, o.Fault)
		}
		if after := len(d.list(&d.began)); after != before+2 {
			t.Errorf("%d effects of the run", after-before)
		}
		if s, err := n.Find(t.Context(), rootID(0)); err != nil || s.Status != polity.StatusRunning || !s.Parked {
			t.Errorf("the other one: %+v %v", s, err)
		}
		for range 2 {
			if err := n.Resume(t.Context(), rootID(0)); err != nil {
				t.Error(err)
			}
		}
		if o := endOf(t, n, rootID(0)); o.Status != polity.StatusCompleted || string(o.Output) != `"ok ok"` {
			t.Errorf("resumed, it ended %s with %s: %v", o.Status, o.Output, o.Fault)
		}
		if err := n.Resume(t.Context(), rootID(7)); !errors.Is(err, fault.NotFound) {
			t.Errorf("resuming what is not there: %v", err)
		}
	})
}

// large is longer than what stands in a commit.
func large(n int) json.RawMessage {
	return json.RawMessage(`"` + strings.Repeat(fmt.Sprint(n%10), inlineMax+n) + `"`)
}

// echo thinks about its input, and ends with what it heard.
func echo(n int, e polity.Event) []polity.Command {
	switch n {
	case 0:
		return []polity.Command{polity.Call("one", "tool", e.Data)}
	case 1:
		return []polity.Command{polity.Ask("two", "echo2", "", e.Data)}
	default:
		return []polity.Command{polity.Finish(e.Data)}
	}
}

func echo2(n int, e polity.Event) []polity.Command {
	if n == 0 {
		return []polity.Command{polity.Call("deep", "slow", e.Data)}
	}
	return []polity.Command{polity.Finish(e.Data)}
}

var echoes = map[string]polity.Decider{"echo": decideFunc(echo), "echo2": decideFunc(echo2), "five": steps(5)}

func blobPath(dir string, d Digest) string {
	name := hex.EncodeToString(d[:])
	return filepath.Join(dir, "blobs", name[:2], name[2:])
}

func TestLargePayloadsComeBack(t *testing.T) {
	dir := t.TempDir()
	var slow atomic.Bool
	slow.Store(true)
	cfg := Config{Catalog: timed{programs{deciders: echoes}, day}, Do: func(ctx context.Context, e *Effect) (json.RawMessage, polity.Usage, error) {
		if e.To == "slow" && slow.Load() {
			<-ctx.Done()
			return nil, polity.Usage{}, ctx.Err()
		}
		return e.Input, polity.Usage{}, nil
	}}
	n := openNode(t, dir, bus.SyncOS, cfg)
	for i := range 4 {
		if err := n.Open(t.Context(), Request{ID: rootID(i), Agent: "echo", Input: large(i)}); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, n, rootID(i), "result")
	}
	messages, size, err := n.log.Size(t.Context())
	if err != nil || size > messages*4<<10 {
		t.Errorf("%d messages of %d bytes: payloads stand in the log (%v)", messages, size, err)
	}
	n.close(t)
	slow.Store(false)
	n = openNode(t, dir, bus.SyncOS, cfg)
	for i := range 4 {
		if o := endOf(t, n, rootID(i)); string(o.Output) != string(large(i)) {
			t.Errorf("run %d ended %s with %d bytes: %v", i, o.Status, len(o.Output), o.Fault)
		}
	}
	n.close(t)
	n = openNode(t, dir, bus.SyncOS, cfg)
	defer n.close(t)
	for i := range 4 {
		if o := endOf(t, n, rootID(i)); string(o.Output) != string(large(i)) {
			t.Errorf("after a restart run %d ended %s with %d bytes: %v", i, o.Status, len(o.Output), o.Fault)
		}
	}
}

// waitUntil waits until a run's log holds a record of the kind.
func waitUntil(t *testing.T, n *node, id polity.RunID, kind string) {
	t.Helper()
	found := make(chan struct{})
	var once sync.Once
	stop, err := n.Watch(t.Context(), id, func(n polity.Notice) {
		if n.Kind == kind {
			once.Do(func() { close(found) })
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if strings.Contains("\n"+historyOf(t, n, id), "\n"+kind+" ") {
		return
	}
	<-found
}

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
				var none map[string]int
				none["x"]++
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
		if o := endOf(t, n, rootID(1)); o.Status != polity.StatusFailed || !errors.Is(o.Fault, fault.Internal) || !strings.Contains(o.Fault.Text, "nil map") {
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
		"its answer":   {moody{programs: good.programs, other: steps(1)}, "asks for something else"},
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
	if s := m.core.roots[0].current(); s.Status != polity.StatusCompleted {
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

func TestEffectWithoutADeciderIsARun(t *testing.T) {
	m := newMemory(t, programs{effects: map[string]polity.Effect{"function": polity.EffectIdempotent}})
	if o := m.ask("function", polity.Bounds{}); o.Status != polity.StatusCompleted || string(o.Output) != `{"ok":true}` {
		t.Errorf("ended %s with %s: %v", o.Status, o.Output, o.Fault)
	}
	m = newMemory(t, programs{effects: map[string]polity.Effect{"function": polity.EffectIdempotent}})
	m.do = func(*pending) result { return result{fault: fault.Of(fault.Denied.New("not you"))} }
	if o := m.ask("function", polity.Bounds{}); o.Status != polity.StatusFailed || !errors.Is(o.Fault, fault.Denied) {
		t.Errorf("ended %s with %s: %v", o.Status, o.Output, o.Fault)
	}
}

func TestRootsAreListedInTheOrderOfOpening(t *testing.T) {
	m := newMemory(t, programs{deciders: map[string]polity.Decider{"five": steps(5)}})
	var want []polity.RunID
	for i := range 20 {
		m.begin(i, "five", polity.Bounds{})
		want = append(want, rootID(i))
	}
	m.run()
	var got []polity.RunID
	for _, t := range m.core.roots {
		got = append(got, t.id)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
