package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// awaiting is a decider that waits for one thing and finishes with what came, or with the fault's kind.
func awaiting(c polity.Command) decideFunc {
	return func(_ int, e polity.Event) []polity.Command {
		switch {
		case e.Kind == polity.Opened:
			return []polity.Command{c}
		case e.Fault != nil:
			return []polity.Command{polity.Finish(json.RawMessage(fmt.Sprintf("%q", e.Fault.Kind)))}
		default:
			return []polity.Command{polity.Finish(slices.Clone(nonNil(e.Data)))}
		}
	}
}

func waiters() programs {
	at := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when a bubble begins
	return programs{signals: []string{"go", "on"}, deciders: map[string]polity.Decider{
		"go":     awaiting(polity.Await("w", polity.Awaited{Signal: "go"}, time.Hour)),
		"match":  awaiting(polity.Await("w", polity.Awaited{Signal: "go", Match: json.RawMessage(`{"n":2}`)}, 0)),
		"order":  awaiting(polity.Await("w", polity.Awaited{Topic: "orders.*"}, 0)),
		"until":  awaiting(polity.AwaitUntil("w", polity.Awaited{Topic: "orders.*"}, at.Add(3*time.Hour))),
		"later":  awaiting(polity.SleepUntil("w", at.Add(3*time.Hour))),
		"past":   awaiting(polity.SleepUntil("w", at.Add(-time.Hour))),
		"nobody": awaiting(polity.Await("w", polity.Awaited{Signal: "undeclared"}, 0)),
		"late":   plan(tool("a", "hour"), tool("b", "noop")),
		"bad":    awaiting(polity.Await("w", polity.Awaited{Topic: "Orders"}, 0)),
		"parent": plan(askWith("c", "go", polity.Bounds{})),
	}}
}

func longWall() polity.Bounds { return polity.Bounds{Wall: polity.Duration(30 * day)} }

func kindOf(err error) fault.Kind {
	if err == nil {
		return ""
	}
	return fault.Of(err).Kind
}

func TestSignals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		n := openNode(t, dir, bus.SyncOS, Config{Catalog: waiters(), Do: noop})
		ctx := context.Background()
		for i, agent := range []string{"go", "go", "match", "nobody", "parent", "bad"} {
			mustOpen(t, n, rootID(i), agent, longWall())
		}
		s, err := n.Find(ctx, rootID(0))
		if err != nil || len(s.Waiting) != 1 || s.Waiting[0].For != "signal go" || !s.Waiting[0].Until.Equal(s.Opened.Add(time.Hour)) {
			t.Errorf("%+v %v", s, err)
		}
		for _, say := range []struct {
			what          string
			run           polity.RunID
			name, id, say string
			want          fault.Kind
		}{
			{"undeclared", rootID(1), "stop", "1", `1`, fault.Invalid},
			{"refused by its schema", rootID(1), "go", "1", `null`, fault.Invalid},
			{"no JSON", rootID(1), "go", "1", `{`, fault.Invalid},
			{"no name", rootID(1), "Go", "1", `1`, fault.Invalid},
			{"no id", rootID(1), "go", "", `1`, fault.Invalid},
			{"too large", rootID(1), "go", "1", `"` + strings.Repeat("x", polity.EventMax) + `"`, fault.Invalid},
			{"no run", rootID(9), "go", "1", `1`, fault.NotFound},
			{"no run below", rootID(1).Child("x", 1), "go", "1", `1`, fault.NotFound},
			{"awaited", rootID(0), "go", "1", `{"n":1}`, ""},
			{"kept", rootID(1), "on", "1", `1`, ""},
			{"kept already", rootID(1), "on", "1", `1`, ""},
			{"something else", rootID(1), "on", "1", `2`, fault.Conflict},
			{"below", rootID(4).Child("c", 1), "go", "1", `"below"`, ""},
			{"no match", rootID(2), "go", "1", `{"n":1}`, ""},
			{"match", rootID(2), "go", "2", `{"n":2,"m":3}`, ""},
		} {
			if got := kindOf(n.Signal(ctx, say.run, say.name, say.id, 0, json.RawMessage(say.say))); got != say.want {
				t.Errorf("%s: %q, want %q", say.what, got, say.want)
			}
		}
		for i, want := range map[int]string{0: `{"n":1}`, 2: `{"n":2,"m":3}`, 3: `"invalid"`, 4: `"ok"`} {
			if o := endOf(t, n, rootID(i)); string(o.Output) != want {
				t.Errorf("run %d: %s %v, want %s", i, o.Output, o.Fault, want)
			}
		}
		if o := endOf(t, n, rootID(5)); o.Status != polity.StatusFailed || !strings.Contains(o.Fault.Text, `topic "Orders"`) {
			t.Errorf("%+v %v", o, o.Fault)
		}
		if err := n.Signal(ctx, rootID(0), "go", "2", 0, json.RawMessage(`1`)); !errors.Is(err, fault.Conflict) {
			t.Errorf("to a run that has ended: %v", err)
		}
		for i := 1; i < signalsMax; i++ {
			if err := n.Signal(ctx, rootID(1), "on", fmt.Sprint("more", i), 0, json.RawMessage(`1`)); err != nil {
				t.Fatal(i, err)
			}
		}
		n.close(t)
		n = openNode(t, dir, bus.SyncOS, Config{Catalog: waiters(), Do: noop})
		defer n.close(t)
		if err := n.Signal(ctx, rootID(1), "on", "1", 0, json.RawMessage(`1`)); err != nil {
			t.Errorf("one that is there, after a restart: %v", err)
		}
		if err := n.Signal(ctx, rootID(1), "on", "too many", 0, json.RawMessage(`1`)); !errors.Is(err, fault.Full) {
			t.Errorf("one too many: %v", err)
		}
		if err := n.Signal(ctx, rootID(1), "go", "at last", 0, json.RawMessage(`"gone"`)); err != nil {
			t.Errorf("one that is awaited needs no room: %v", err)
		}
		if o := endOf(t, n, rootID(1)); string(o.Output) != `"gone"` {
			t.Errorf("%s", o.Output)
		}
	})
}

// TestTimes waits for times and for what does not come, over a restart.
func TestTimes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		n := openNode(t, dir, bus.SyncOS, Config{Catalog: waiters(), Do: noop})
		agents := []string{"past", "later", "until", "go"}
		began := time.Now()
		for i, agent := range agents {
			mustOpen(t, n, rootID(i), agent, longWall())
		}
		endOf(t, n, rootID(0))
		if since := time.Since(began); since > time.Minute {
			t.Errorf("a time that is past took %s", since)
		}
		n.close(t)
		time.Sleep(2 * time.Hour)
		n = openNode(t, dir, bus.SyncOS, Config{Catalog: waiters(), Do: noop})
		defer n.close(t)
		if o := endOf(t, n, rootID(3)); string(o.Output) != `"timeout"` || time.Since(began) > 3*time.Hour {
			t.Errorf("%s after %s", o.Output, time.Since(began))
		}
		for i, want := range map[int]string{1: `null`, 2: `"timeout"`} {
			if o := endOf(t, n, rootID(i)); string(o.Output) != want {
				t.Errorf("%s: %s, want %s", agents[i], o.Output, want)
			}
		}
		if at := time.Now(); at.Before(time.Date(2000, 1, 1, 3, 0, 0, 0, time.UTC)) || at.After(time.Date(2000, 1, 1, 3, 30, 0, 0, time.UTC)) {
			t.Errorf("later came at %s", at)
		}
	})
}

// publish publishes an event as the engine does, which takes its position from the stream of topics.
func (n *node) publish(ctx context.Context, topic, id string, data json.RawMessage) error {
	if before, err := n.Admit(ctx, topic, id, data); err != nil || before {
		return err
	}
	at, err := n.Taken(ctx)
	if err != nil {
		return err
	}
	taken := make(chan error, 1)
	n.Deliver(polity.Published{Seq: at + 1, Topic: topic, ID: id, Data: nonNil(data)}, "", func(err error) { taken <- err })
	return <-taken
}

// TestManyAwaitOneEvent has more runs wait for one event than one pack holds, and the process end as soon as it is published.
func TestManyAwaitOneEvent(t *testing.T) {
	const many = 200
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		n := openNode(t, dir, bus.SyncOS, Config{Catalog: waiters(), Do: noop})
		for i := range many {
			mustOpen(t, n, rootID(i), "order", longWall())
		}
		ctx := context.Background()
		placed := json.RawMessage(fmt.Sprintf(`{"order":17,"for":%q}`, strings.Repeat("x", polity.EventMax/2)))
		for range 2 {
			if err := n.publish(ctx, "orders.placed", "17", placed); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.publish(ctx, "orders.placed", "17", json.RawMessage(`{"order":18}`)); !errors.Is(err, fault.Conflict) {
			t.Errorf("the same id with something else: %v", err)
		}
		if err := n.publish(ctx, "orders.*", "18", json.RawMessage(`1`)); !errors.Is(err, fault.Invalid) {
			t.Errorf("on a pattern: %v", err)
		}
		n.close(t)
		n = openNode(t, dir, bus.SyncOS, Config{Catalog: waiters(), Do: noop})
		defer n.close(t)
		for i := range many {
			if o := endOf(t, n, rootID(i)); string(o.Output) != string(placed) {
				t.Fatalf("run %d: %.80s %v", i, o.Output, o.Fault)
			}
		}
		mustOpen(t, n, rootID(many), "order", longWall())
		if err := n.publish(ctx, "orders.paid", "17", nil); err != nil {
			t.Fatal(err)
		}
		if o := endOf(t, n, rootID(many)); string(o.Output) != `null` {
			t.Errorf("who waits later: %s", o.Output)
		}
	})
}

// versioned are waiters that read version 2 of events, and may not await what is secret.
type versioned struct{ programs }

func (v versioned) Program(d Digest, agent string) (*Program, error) {
	p, err := v.programs.Program(d, agent)
	if err != nil {
		return nil, err
	}
	read := func(name string, version int, data json.RawMessage) (json.RawMessage, error) {
		if version > 2 {
			return nil, fault.Invalid.New("version %d is newer than 2", version)
		}
		return fmt.Appendf(nil, `{"of":%q,"version":%d,"was":%s}`, name, version, data), nil
	}
	p.Event, p.Told = read, read
	p.Topic = func(pattern string) error {
		if strings.HasPrefix(pattern, "secret") {
			return fault.Denied.New("not for %s", agent)
		}
		return nil
	}
	return p, nil
}

// TestEventsAreReadByVersion has events of several versions, and signals, read as an agent reads them: also by those who get an event after a restart, when
// only the log knows its version, and by those that were asleep.
func TestEventsAreReadByVersion(t *testing.T) {
	const many = 200
	bubble(t, func(t *testing.T) {
		catalog := versioned{waiters()}
		catalog.deciders["secret"] = awaiting(polity.Await("w", polity.Awaited{Topic: "secret.things"}, 0))
		dir, ctx := t.TempDir(), context.Background()
		n := openNode(t, dir, bus.SyncOS, Config{Catalog: catalog, Do: noop})
		publish := func(id string, version int, data string) {
			t.Helper()
			at, err := n.Taken(ctx)
			if err != nil {
				t.Fatal(err)
			}
			taken := make(chan error, 1)
			n.Deliver(polity.Published{Seq: at + 1, Topic: "orders.placed", ID: id, Version: version, Data: json.RawMessage(data)}, "", func(err error) { taken <- err })
			if err := <-taken; err != nil {
				t.Fatal(err)
			}
		}
		for i := range many {
			mustOpen(t, n, rootID(i), "order", longWall())
		}
		time.Sleep(time.Hour) // they sleep
		long := strings.Repeat("x", polity.EventMax/2)
		publish("first", 1, fmt.Sprintf("%q", long))
		n.close(t)
		n = openNode(t, dir, bus.SyncOS, Config{Catalog: catalog, Do: noop})
		defer func() { n.close(t) }()
		for i := range many {
			if o := endOf(t, n, rootID(i)); string(o.Output) != fmt.Sprintf(`{"of":"orders.placed","version":1,"was":%q}`, long) {
				t.Fatalf("run %d: %.80s %v", i, o.Output, o.Fault)
			}
		}
		mustOpen(t, n, rootID(many), "order", longWall())
		publish("newer", 3, `1`)
		if o := endOf(t, n, rootID(many)); string(o.Output) != `"invalid"` {
			t.Errorf("an event that is not understood: %s", o.Output)
		}
		mustOpen(t, n, rootID(many+1), "order", longWall())
		publish("large", 2, fmt.Sprintf("%q", strings.Repeat("x", polity.EventMax-2)))
		if o := endOf(t, n, rootID(many+1)); string(o.Output) != `"invalid"` {
			t.Errorf("an event that grew too large: %.80s", o.Output)
		}
		mustOpen(t, n, rootID(many+2), "secret", longWall())
		if o := endOf(t, n, rootID(many+2)); string(o.Output) != `"denied"` {
			t.Errorf("what it may not await: %s", o.Output)
		}
		mustOpen(t, n, rootID(many+3), "go", longWall())
		if err := n.Signal(ctx, rootID(many+3), "go", "1", 3, json.RawMessage(`1`)); !errors.Is(err, fault.Invalid) {
			t.Errorf("a signal that is not understood: %v", err)
		}
		if err := n.Signal(ctx, rootID(many+3), "go", "1", 1, json.RawMessage(`1`)); err != nil {
			t.Fatal(err)
		}
		if o := endOf(t, n, rootID(many+3)); string(o.Output) != `{"of":"go","version":1,"was":1}` {
			t.Errorf("a signal of version 1: %s", o.Output)
		}
	})
}

// TestPause pauses a run in the middle of a call that takes an hour: it ends and is kept, nothing new begins, also after a restart, and the
// time of the pause is not the run's.
func TestPause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		d := newDesk()
		catalog := timed{waiters(), 3 * time.Hour}
		n := openNode(t, dir, bus.SyncOS, Config{Catalog: catalog, Do: d.Do})
		ctx := context.Background()
		mustOpen(t, n, rootID(0), "late", polity.Bounds{Wall: polity.Duration(2 * time.Hour)})
		mustOpen(t, n, rootID(1), "go", longWall())
		time.Sleep(10 * time.Minute)
		for i := range 2 {
			for range 2 {
				if err := n.Pause(ctx, rootID(i), "we look at it"); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(3 * time.Hour)
		if err := n.Signal(ctx, rootID(1), "go", "1", 0, json.RawMessage(`"while paused"`)); err != nil {
			t.Errorf("a signal to a paused run: %v", err)
		}
		if ended := d.list(&d.ended); !slices.Equal(ended, []string{"#a"}) || !slices.Equal(d.list(&d.began), ended) {
			t.Errorf("began %v, ended %v; want a alone", d.list(&d.began), ended)
		}
		n.close(t)
		time.Sleep(3 * time.Hour)
		n = openNode(t, dir, bus.SyncOS, Config{Catalog: catalog, Do: d.Do})
		defer n.close(t)
		time.Sleep(3 * time.Hour)
		if s, err := n.Find(ctx, rootID(0)); err != nil || s.Paused.IsZero() || s.Status != polity.StatusRunning {
			t.Errorf("%+v %v", s, err)
		}
		for i := range 2 {
			if err := n.Resume(ctx, rootID(i)); err != nil {
				t.Fatal(err)
			}
		}
		if o := endOf(t, n, rootID(0)); o.Status != polity.StatusCompleted {
			t.Errorf("%s %v", o.Status, o.Fault)
		}
		if o := endOf(t, n, rootID(1)); string(o.Output) != `"while paused"` {
			t.Errorf("%s", o.Output)
		}
		var told []string
		if err := n.History(ctx, rootID(1), func(n polity.Notice) error { told = append(told, n.Kind+n.Reason); return nil }); err != nil {
			t.Fatal(err)
		}
		if want := "opened pausedwe look at it signalled resumed result finished"; strings.Join(told, " ") != want {
			t.Errorf("history %v, want %s", told, want)
		}
		for _, id := range []polity.RunID{rootID(0), rootID(9)} {
			if err := n.Pause(ctx, id, ""); !errors.Is(err, fault.Conflict) && !errors.Is(err, fault.NotFound) {
				t.Errorf("pause %s: %v", id, err)
			}
		}
	})
}

// TestPausedWall has a run paused for longer than it may last: the wall time goes on where it stood.
func TestPausedWall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := openNode(t, t.TempDir(), bus.SyncOS, Config{Catalog: waiters(), Do: noop})
		defer n.close(t)
		ctx := context.Background()
		mustOpen(t, n, rootID(0), "order", polity.Bounds{Wall: polity.Duration(time.Hour)})
		began := time.Now()
		time.Sleep(30 * time.Minute)
		err := n.Pause(ctx, rootID(0), "")
		time.Sleep(3 * time.Hour)
		if err := errors.Join(err, n.Resume(ctx, rootID(0))); err != nil {
			t.Fatal(err)
		}
		o := endOf(t, n, rootID(0))
		if took := time.Since(began); string(o.Output) != `"exhausted"` || took < 3*time.Hour+time.Hour || took > 3*time.Hour+time.Hour+time.Minute {
			t.Errorf("%s after %s; want its hour without the time of the pause", o.Output, took)
		}
	})
}

// TestCancelOfWhatIsPaused cancels a paused run, here and after a restart.
func TestCancelOfWhatIsPaused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		d := newDesk()
		n := openNode(t, dir, bus.SyncOS, Config{Catalog: waiters(), Do: d.Do})
		ctx := context.Background()
		for i := range 2 {
			mustOpen(t, n, rootID(i), "parent", longWall())
			if err := n.Pause(ctx, rootID(i), ""); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.Cancel(ctx, rootID(0), "enough"); err != nil {
			t.Fatal(err)
		}
		if o := endOf(t, n, rootID(0)); o.Status != polity.StatusCancelled {
			t.Errorf("%s", o.Status)
		}
		n.close(t)
		n = openNode(t, dir, bus.SyncOS, Config{Catalog: waiters(), Do: d.Do})
		defer n.close(t)
		if err := n.Cancel(ctx, rootID(1), "enough"); err != nil {
			t.Fatal(err)
		}
		if o := endOf(t, n, rootID(1)); o.Status != polity.StatusCancelled {
			t.Errorf("%s", o.Status)
		}
	})
}

// TestArrival talks to an agent that is at work, in each way.
func TestArrival(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		n := openNode(t, dir, bus.SyncOS, Config{Catalog: waiters(), Do: noop})
		ctx := context.Background()
		talk := func(i int, arrival polity.Arrival) error {
			return n.Open(ctx, Request{ID: rootID(i), Agent: "go", Skill: string(arrival), Conversation: "ada", Bounds: longWall()})
		}
		if err := errors.Join(talk(0, polity.ArrivalQueue), talk(1, polity.ArrivalQueue), talk(2, polity.ArrivalQueue)); err != nil {
			t.Fatal(err)
		}
		if err := talk(3, polity.ArrivalReject); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), string(rootID(0))) {
			t.Errorf("reject: %v; want the run in the way", err)
		}
		if err := n.Pause(ctx, rootID(1), ""); !errors.Is(err, fault.Conflict) {
			t.Errorf("pause one that has not begun: %v", err)
		}
		if err := n.Signal(ctx, rootID(1), "go", "1", 0, json.RawMessage(`"early"`)); err != nil {
			t.Errorf("a signal to one that has not begun: %v", err)
		}
		s, err := n.Find(ctx, rootID(1))
		if err != nil || s.Conversation != "ada" || len(s.Waiting) != 1 || !strings.Contains(s.Waiting[0].For, "before it in conversation") {
			t.Errorf("%+v %v", s, err)
		}
		n.close(t)
		n = openNode(t, dir, bus.SyncOS, Config{Catalog: waiters(), Do: noop})
		defer n.close(t)
		if err := n.Signal(ctx, rootID(0), "go", "1", 0, json.RawMessage(`"first"`)); err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{`"first"`, `"early"`} {
			if o := endOf(t, n, rootID(i)); string(o.Output) != want {
				t.Errorf("run %d: %s, want %s", i, o.Output, want)
			}
		}
		if err := errors.Join(talk(4, polity.ArrivalQueue), talk(5, polity.ArrivalInterrupt)); err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{2, 4} {
			if o := endOf(t, n, rootID(i)); o.Status != polity.StatusCancelled || !strings.Contains(o.Fault.Text, string(rootID(5))) {
				t.Errorf("run %d: %s %v", i, o.Status, o.Fault)
			}
		}
		if o := endOf(t, n, rootID(5)); string(o.Output) != `"timeout"` {
			t.Errorf("the one that interrupted: %s %v", o.Output, o.Fault)
		}
		for i := 10; i < 11+queueMax; i++ {
			if err := talk(i, polity.ArrivalQueue); err != nil {
				t.Fatal(i, err)
			}
		}
		if err := talk(500, polity.ArrivalInterrupt); !errors.Is(err, fault.Full) {
			t.Errorf("one too many: %v", err)
		}
	})
}
