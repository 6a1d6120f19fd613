package run

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
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
	if s, err := n.Find(t.Context(), rootID(2)); err != nil || !reflect.DeepEqual(s, list[1]) {
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
