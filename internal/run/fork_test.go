package run

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// team asks a child of three steps, then each tool in turn, and ends with what they said and its own ID.
type team []string

type teamState struct {
	id   polity.RunID
	said []string
}

func (d team) Decide(state any, e polity.Event) (any, []polity.Command) {
	s, _ := state.(*teamState)
	if s == nil {
		return &teamState{id: e.Run}, []polity.Command{polity.Ask("child", "steps", "", e.Data)}
	}
	said := string(e.Data)
	if e.Fault != nil {
		said = string(e.Fault.Kind)
	}
	s.said = append(s.said, said)
	if n := len(s.said) - 1; n < len(d) {
		return s, []polity.Command{polity.Call("call."+d[n], d[n], json.RawMessage(`{}`))}
	}
	return s, []polity.Command{polity.Finish(json.RawMessage(fmt.Sprintf(`"%s %s"`, s.id, strings.ReplaceAll(strings.Join(s.said, " "), `"`, "'"))))}
}

func teamOf(tools ...string) programs {
	return programs{
		deciders: map[string]polity.Decider{"team": team(tools), "steps": steps(3)},
		effects:  map[string]polity.Effect{"keyed": polity.EffectKeyed, "external": polity.EffectExternal},
	}
}

// counted is a world whose effects are counted, and say how often it was disturbed.
type counted struct {
	mu   sync.Mutex
	done []string
}

func (w *counted) do(_ context.Context, e *Effect) (json.RawMessage, polity.Usage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = append(w.done, e.To+" "+e.Name)
	return json.RawMessage(`"ok"`), polity.Usage{}, nil
}

// take returns what was done since the last time.
func (w *counted) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	done := w.done
	w.done = nil
	return done
}

// TestFork forks a run at each of its events, and wants of each fork that it does what the run had not done by then, and nothing else; that
// it ends as the run did; and that it is the same after a start, replayed, exported and imported.
func TestFork(t *testing.T) {
	one, two := Digest{1}, Digest{2}
	catalog := byRelease{one: teamOf("none", "other"), two: teamOf("none", "another")}
	dir := t.TempDir()
	w := &counted{}
	n := openNode(t, dir, bus.SyncOS, Config{Catalog: catalog, Do: w.do})
	release, err := n.cfg.Blobs.Put([]byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	catalog[release] = catalog[one]
	origin := rootID(1)
	if err := n.Open(t.Context(), Request{ID: origin, Release: release, Agent: "team"}); err != nil {
		t.Fatal(err)
	}
	ended := endOf(t, n, origin)
	all := toldOf(t, n, origin)
	whole := w.take()
	if len(all) != 9 || len(whole) != 5 {
		t.Fatalf("%d events, %d effects", len(all), len(whole))
	}
	results := 0
	for event := 1; event < len(all); event++ {
		if all[event-1].Kind == "result" {
			results++
		}
		id := rootID(100 + event)
		for range 2 { // the same again finds it
			if err := n.Fork(t.Context(), Fork{ID: id, Origin: origin, Event: event}); err != nil {
				t.Fatalf("event %d: %v", event, err)
			}
		}
		if got := endOf(t, n, id); !cmp.Equal(got, ended, cmp.Comparer(sameFault)) {
			t.Errorf("event %d: the fork ended with %+v, its origin with %+v", event, got, ended)
		}
		if done := w.take(); !slices.Equal(done, whole[results:]) {
			t.Errorf("event %d: done again: %v, of %v", event, done, whole)
		}
		told := toldOf(t, n, id)
		for i := range told {
			if want := all[i]; i < event && (told[i].At != want.At || told[i].Kind != want.Kind || !bytes.Equal(told[i].Data, want.Data)) {
				t.Errorf("event %d: event %d was not taken over as it was: %+v", event, i+1, told[i])
			}
			if told[i].Run.Root() != id {
				t.Errorf("event %d: event %d tells of %s", event, i+1, told[i].Run)
			}
		}
	}
	id := rootID(103)
	told := toldOf(t, n, id)
	check := func() {
		t.Helper()
		s, err := n.Find(t.Context(), id)
		if err != nil || s.Status != polity.StatusCompleted {
			t.Fatalf("%+v %v", s, err)
		}
		if r, err := n.Replay(t.Context(), id, Digest{}); err != nil || r.Difference != nil || r.Events != len(told) {
			t.Errorf("replay: %+v %+v %v", r, r.Difference, err)
		}
		if diff := cmp.Diff(told, toldOf(t, n, id)); diff != "" {
			t.Errorf("its history is another:\n%s", diff)
		}
	}
	check()
	n.close(t)
	n = openNode(t, dir, bus.SyncOS, Config{Catalog: catalog, Do: w.do})
	check()
	if s, err := n.Find(t.Context(), id); err != nil || !cmp.Equal(s.Fork, &polity.ForkOf{Run: origin, Event: 3}) {
		t.Errorf("%+v %v", s, err)
	}
	// A fork of a fork, at an event of its own.
	if err := n.Fork(t.Context(), Fork{ID: rootID(200), Origin: id, Event: 7}); err != nil {
		t.Fatal(err)
	}
	if got := endOf(t, n, rootID(200)); !cmp.Equal(got, ended, cmp.Comparer(sameFault)) {
		t.Errorf("the fork of a fork: %+v", got)
	}
	w.take()
	// Another release goes on from where it asks for the same.
	if err := n.Fork(t.Context(), Fork{ID: rootID(201), Origin: origin, Event: 7, Release: two}); err != nil {
		t.Fatal(err)
	}
	endOf(t, n, rootID(201))
	if done := w.take(); !slices.Equal(done, []string{"another call.another"}) {
		t.Errorf("with another release: %v", done)
	}
	var file bytes.Buffer
	if _, err := n.Export(t.Context(), id, noFiles, &file); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		fork Fork
		kind fault.Kind
		text string
	}{
		"no such run":         {Fork{Origin: rootID(9), Event: 1}, fault.NotFound, "no run"},
		"no event":            {Fork{Origin: origin}, fault.Invalid, "counted from 1"},
		"its end":             {Fork{Origin: origin, Event: 9}, fault.Invalid, "event 9 ends"},
		"after its end":       {Fork{Origin: origin, Event: 10}, fault.Invalid, "the last that can be taken over is 8"},
		"another release":     {Fork{Origin: origin, Event: 8, Release: two}, fault.Conflict, "event 8 cannot be taken over"},
		"input in the middle": {Fork{Origin: origin, Event: 2, Input: json.RawMessage(`1`)}, fault.Invalid, "nothing but event 1"},
		"a taken ID":          {Fork{ID: origin, Origin: origin, Event: 2}, fault.Conflict, "exists"},
	} {
		if tc.fork.ID == "" {
			tc.fork.ID = rootID(300)
		}
		if err := n.Fork(t.Context(), tc.fork); !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	n.close(t)

	n = openNode(t, t.TempDir(), bus.SyncOS, Config{Catalog: catalog, Do: w.do})
	defer n.close(t)
	if _, err := n.Import(t.Context(), bytes.NewReader(file.Bytes()), noFiles); err != nil {
		t.Fatal(err)
	}
	told = toldOf(t, n, id)
	check()
}

// TestForkOfEffects forks a run before its keyed and its external effect, with and without leave to do them, and where the external
// one had begun and not ended.
func TestForkOfEffects(t *testing.T) {
	w := &counted{}
	n := openNode(t, t.TempDir(), bus.SyncOS, Config{Catalog: teamOf("none", "keyed", "external"), Do: w.do})
	defer n.close(t)
	origin := rootID(1)
	mustOpen(t, n, origin, "team", polity.Bounds{})
	endOf(t, n, origin)
	began := 1 + slices.IndexFunc(toldOf(t, n, origin), func(e polity.Notice) bool { return e.Kind == "began" })
	w.take()
	for i, tc := range []struct {
		event   int
		effects bool
		done    []string
		says    string
	}{
		{7, false, nil, "'ok' denied denied"},
		{7, true, []string{"keyed call.keyed", "external call.external"}, "'ok' 'ok' 'ok'"},
		{began, false, nil, "'ok' 'ok' unknown"},
		{began, true, nil, "'ok' 'ok' unknown"},
		{began - 1, true, []string{"external call.external"}, "'ok' 'ok' 'ok'"},
	} {
		if err := n.Fork(t.Context(), Fork{ID: rootID(10 + i), Origin: origin, Event: tc.event, Effects: tc.effects}); err != nil {
			t.Fatal(err)
		}
		o := endOf(t, n, rootID(10+i))
		if !strings.Contains(string(o.Output), tc.says) {
			t.Errorf("%d: got %s, want %s", i, o.Output, tc.says)
		}
		if done := w.take(); !slices.Equal(done, tc.done) {
			t.Errorf("%d: done %v, want %v", i, done, tc.done)
		}
	}
}

// TestForkWithInput asks the same of another input.
func TestForkWithInput(t *testing.T) {
	n := openNode(t, t.TempDir(), bus.SyncOS, Config{Catalog: programs{deciders: map[string]polity.Decider{"echo": decideFunc(func(_ int, e polity.Event) []polity.Command {
		return []polity.Command{polity.Finish(e.Data)}
	})}}, Do: noop})
	defer n.close(t)
	mustOpen(t, n, rootID(1), "echo", polity.Bounds{})
	endOf(t, n, rootID(1))
	if err := n.Fork(t.Context(), Fork{ID: rootID(2), Origin: rootID(1), Event: 1, Input: json.RawMessage(`"other"`)}); err != nil {
		t.Fatal(err)
	}
	if o := endOf(t, n, rootID(2)); string(o.Output) != `"other"` {
		t.Errorf("%+v", o)
	}
}

// TestForkGoesOn stops a node while an effect of a fork's child is in flight and wants the fork to end as its origin did after the next start, at
// once or when it is asked for.
func TestForkGoesOn(t *testing.T) {
	for name, park := range map[string]bool{"at once": false, "when it is asked for": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			catalog := teamOf("none")
			n := openNode(t, dir, bus.SyncOS, Config{Catalog: catalog, Do: noop})
			origin, id := rootID(1), rootID(2)
			mustOpen(t, n, origin, "team", polity.Bounds{})
			ended := endOf(t, n, origin)
			n.close(t)

			began := make(chan struct{})
			n = openNode(t, dir, bus.SyncOS, Config{Catalog: catalog, Do: func(ctx context.Context, _ *Effect) (json.RawMessage, polity.Usage, error) {
				close(began)
				<-ctx.Done()
				return nil, polity.Usage{}, ctx.Err()
			}})
			if err := n.Fork(t.Context(), Fork{ID: id, Origin: origin, Event: 4}); err != nil {
				t.Fatal(err)
			}
			<-began
			n.close(t)

			n = openNode(t, dir, bus.SyncOS, Config{Catalog: catalog, Do: noop, Park: park})
			defer n.close(t)
			s, err := n.Find(t.Context(), id)
			if err != nil || s.Parked != park {
				t.Fatalf("%+v %v", s, err)
			}
			if err := n.Resume(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if got := endOf(t, n, id); !cmp.Equal(got, ended, cmp.Comparer(sameFault)) {
				t.Errorf("got %+v, want %+v", got, ended)
			}
		})
	}
}

// TestForkKeepsWhatWasLeftOfTime forks, a day later, a run whose wall time was half over while it slept: the fork sleeps on for what was left
// of that, and its wall time ends when what was left of it is over.
func TestForkKeepsWhatWasLeftOfTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sleeper := func(naps ...time.Duration) decideFunc {
			return func(done int, e polity.Event) []polity.Command {
				if done == len(naps) || e.Fault != nil {
					return []polity.Command{polity.Finish(json.RawMessage(fmt.Sprint(done)))}
				}
				return []polity.Command{polity.Sleep(fmt.Sprintf("nap.%d", done), naps[done])}
			}
		}
		n := openNode(t, t.TempDir(), bus.SyncOS, Config{Catalog: programs{deciders: map[string]polity.Decider{"sleeper": sleeper(20*time.Minute, 20*time.Minute, time.Hour)}}, Do: noop})
		defer n.close(t)
		mustOpen(t, n, rootID(1), "sleeper", polity.Bounds{Wall: polity.Duration(time.Hour)})
		if o := endOf(t, n, rootID(1)); o.Status != polity.StatusExhausted {
			t.Fatalf("%+v", o)
		}
		time.Sleep(2 * time.Hour)
		began := time.Now()
		if err := n.Fork(t.Context(), Fork{ID: rootID(2), Origin: rootID(1), Event: 2}); err != nil { // after the first nap
			t.Fatal(err)
		}
		o := endOf(t, n, rootID(2))
		if took := time.Since(began).Round(time.Minute); took != 40*time.Minute || o.Status != polity.StatusExhausted || string(o.Output) != "3" {
			t.Errorf("after %s: %+v %s", took, o, o.Output)
		}
	})
}

// forkedFrame is how version 2 writes a fork, and an opening that names an origin, for good.
const forkedFrame = "020000000000000000000000000000000000000000000000000000000000000000000000000000000018fae27693b400006a0906302d616263640100000000000000000000000000000000000000000000000000000000000000046e616d650900000000000000000000000000000006302d65666768ac02010200020000000000000000000000000000000000000000000000000000000000000005520206302d616263640000000000000000000000000000000000000000000000000000000000000000046e616d6500000000000000000000000000000000000000000000000000000100013106302d65666768"

func TestForkedRecord(t *testing.T) {
	want := []record{
		{
			kind: recForked, run: "0-abcd", release: Digest{1}, agent: "name", request: requestHash{9}, origin: "0-efgh", event: 300, effects: true,
			data: payload{blob: Digest{2}, size: 5},
		},
		{kind: recOpened, run: "0-abcd", agent: "name", origin: "0-efgh", data: payload{data: json.RawMessage(`1`)}},
	}
	b := beginFrame(nil, [8]byte{}, hash{}, time.Unix(1_800_000_000, 0))
	for i := range want {
		b = appendRecord(b, &want[i])
	}
	b[0] = frameImports
	if got := hex.EncodeToString(b); got != forkedFrame {
		t.Errorf("version 2 is written otherwise than it was:\n%s\n%s", got, forkedFrame)
	}
	var f frame
	if err := f.decode(b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, f.records, fields()...); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
