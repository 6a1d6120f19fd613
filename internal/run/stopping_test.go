package run

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// undoer does its steps one after the other, undoes them in reverse when one fails or its run is to end, and says what is left.
type undoer struct {
	steps func(run polity.RunID) []polity.Command
	undo  string // the tool that undoes
}

type undoerState struct {
	steps  []polity.Command
	next   int
	open   bool     // a step is under way
	done   []string // to be undone, in order
	undone []string
	left   []string
	why    *fault.Error
}

func (u undoer) Stops(state any) bool {
	s := state.(*undoerState)
	return s.open || len(s.done) > 0
}

func (u undoer) Decide(state any, e polity.Event) (any, []polity.Command) {
	s, _ := state.(*undoerState)
	switch {
	case e.Kind == polity.Opened:
		s = &undoerState{steps: u.steps(e.Run)}
		return s, s.step()
	case e.Kind == polity.Stopping:
		if s.why != nil { // it is undoing already
			return s, nil
		}
		if s.why = e.Fault; s.open {
			return s, nil
		}
		return s, s.back(u.undo)
	case strings.HasPrefix(e.Name, "undo."):
		name := strings.TrimPrefix(e.Name, "undo.")
		switch {
		case e.Fault == nil:
			s.undone = append(s.undone, name)
		case e.Fault.Kind.Retryable() && e.Attempt < 3:
			return s, []polity.Command{s.undoing(u.undo, name, e.Attempt+1)}
		default:
			s.left = append(s.left, name+": "+string(e.Fault.Kind))
		}
		s.done = s.done[:len(s.done)-1]
		return s, s.back(u.undo)
	}
	s.open = false
	if e.Fault == nil || e.Fault.Kind == fault.Unknown || e.Fault.Kind == fault.Cancelled { // nobody knows
		s.done = append(s.done, e.Name)
	}
	if e.Fault != nil && s.why == nil {
		s.why = e.Fault
	}
	if s.why != nil {
		return s, s.back(u.undo)
	}
	return s, s.step()
}

func (s *undoerState) step() []polity.Command {
	if s.next == len(s.steps) {
		return []polity.Command{polity.Finish(json.RawMessage(`"all done"`))}
	}
	s.next++
	s.open = true
	return []polity.Command{s.steps[s.next-1]}
}

func (s *undoerState) undoing(tool, name string, attempt int) polity.Command {
	c := polity.Call("undo."+name, tool, json.RawMessage(`{}`))
	c.Undo, c.Attempt = true, attempt
	return c
}

func (s *undoerState) back(tool string) []polity.Command {
	if len(s.done) == 0 {
		out, err := json.Marshal(struct{ Undone, Left []string }{s.undone, s.left})
		if err != nil {
			panic(err)
		}
		return []polity.Command{polity.FailWith(s.why, out)}
	}
	return []polity.Command{s.undoing(tool, s.done[len(s.done)-1], 1)}
}

func fixed(commands ...polity.Command) func(polity.RunID) []polity.Command {
	return func(polity.RunID) []polity.Command { return slices.Clone(commands) }
}

// simSteps are steps that follow from a run's ID.
func simSteps(id polity.RunID) []polity.Command {
	h := fnv.New64a()
	h.Write([]byte(id))
	rng := rand.New(rand.NewPCG(h.Sum64(), 2))
	var out []polity.Command
	for i := range 2 + rng.IntN(4) {
		name := fmt.Sprintf("s%d", i)
		switch k := rng.IntN(8); {
		case k < 3 && strings.Count(string(id), "/") < 2:
			c := polity.Ask(name, []polity.AgentName{"saga", "parent"}[rng.IntN(2)], "", json.RawMessage(`{}`))
			if rng.IntN(2) == 0 {
				c.Bounds = polity.Bounds{Turns: 4 + rng.IntN(6)}
			}
			out = append(out, c)
		case k < 5:
			out = append(out, polity.Call(name, "keyed", json.RawMessage(`{}`)))
		case k < 6:
			out = append(out, polity.Sleep(name, time.Duration(rng.IntN(2000))*time.Millisecond))
		default:
			out = append(out, polity.Call(name, "external", json.RawMessage(`{}`)))
		}
	}
	return out
}

// TestSimulatedUndoing has sagas in each other cancelled, killed and taken over in the middle of steps and of undoing them. Whatever was really done
// by a run that was stopped or failed is undone, or told as left, unless it was killed.
func TestSimulatedUndoing(t *testing.T) {
	catalog := programs{
		deciders: map[string]polity.Decider{
			"saga":   undoer{simSteps, "undo"},
			"parent": all(askWith("a", "saga", polity.Bounds{}), polity.Sleep("nap", time.Second), askWith("b", "saga", polity.Bounds{Turns: 8})),
		},
		effects: map[string]polity.Effect{"external": polity.EffectExternal, "keyed": polity.EffectKeyed, "undo": polity.EffectIdempotent},
	}
	seeds := make([]uint64, *simSeeds)
	for i := range seeds {
		seeds[i] = uint64(i) + 1
	}
	if *simSeed != 0 {
		seeds = []uint64{*simSeed}
	}
	var sum undoStats
	told := map[string]int{}
	for _, seed := range seeds {
		w := newWorld(t, seed, *simSeed != 0, catalog)
		w.answers = func(e *simEffect) json.RawMessage { return json.RawMessage(fmt.Sprintf(`{"did":%q}`, e.p.cmd.Name)) }
		w.bounds = polity.Bounds{Turns: 20 + w.rng.IntN(20), UndoReserve: []int{0, 50}[w.rng.IntN(2)]}.Or(polity.DefaultBounds())
		w.opens([]string{"saga", "parent"}[w.rng.IntN(2)], 5)
		for _, c := range w.clients {
			c.cancel = w.rng.IntN(2) == 0
		}
		w.live()
		w.checkUndone(&sum)
		for name, n := range w.told {
			told[name] += n
		}
	}
	t.Logf("%d seeds: %+v", len(seeds), sum)
	if *simSeed == 0 && (sum.Stopped == 0 || sum.Undone == 0 || sum.Left == 0 || sum.Killed == 0 || sum.Reserve == 0) {
		t.Errorf("something never happened: %+v", sum)
	}
	if missing := missingIn(told, "stopping", "doubt"); *simSeed == 0 && len(missing) > 0 {
		t.Errorf("never happened: %v", missing)
	}
}

type undoStats struct{ Stopped, Undone, Left, Killed, Reserve int }

// checkUndone holds what was really done against what the ends in the log say.
func (w *world) checkUndone(sum *undoStats) {
	type end struct {
		status       polity.Status
		fault        *fault.Error
		Undone, Left []string
	}
	ends, killed, steps := map[polity.RunID]*end{}, map[polity.RunID]bool{}, map[polity.RunID][]string{}
	var f frame
	for _, entry := range w.log {
		if err := f.decode(entry.data); err != nil {
			w.fail("%v", err)
		}
		for _, r := range f.records {
			switch r.kind {
			case recCancel:
				if !r.gently {
					killed[r.run] = true
				}
			case recResult:
				key := polity.EffectKey(r.run, r.name, r.attempt)
				if strings.HasPrefix(r.name, "s") && w.done[key] > 0 {
					steps[r.run] = append(steps[r.run], r.name)
				}
			case recFinished:
				o := &end{status: r.status, fault: r.fault}
				if len(r.data.data) > 0 && r.data.data[0] == '{' {
					if err := json.Unmarshal(r.data.data, o); err != nil {
						w.fail("%s ended with %s: %v", r.run, r.data.data, err)
					}
				}
				ends[r.run] = o
			}
		}
	}
	for id, o := range ends {
		sum.Undone += len(o.Undone)
		sum.Left += len(o.Left)
		for at := id; at != ""; at = at.Parent() {
			killed[id] = killed[id] || killed[at]
		}
		switch {
		case killed[id]:
			sum.Killed++
			continue
		case o.status == polity.StatusCompleted:
			continue
		case o.status == polity.StatusCancelled:
			sum.Stopped++
		case o.status == polity.StatusExhausted && len(o.Undone) > 0:
			sum.Reserve++
		}
		for _, name := range o.Undone {
			if w.done[polity.EffectKey(id, "undo."+name, 1)]+w.done[polity.EffectKey(id, "undo."+name, 2)]+w.done[polity.EffectKey(id, "undo."+name, 3)] == 0 {
				w.fail("%s says that %s is undone, and nobody did", id, name)
			}
		}
		for _, name := range steps[id] {
			told := slices.Contains(o.Undone, name) || slices.ContainsFunc(o.Left, func(l string) bool { return strings.HasPrefix(l, name+":") })
			if !told {
				w.fail("%s ended %s; %s was done, and is neither undone %v nor left %v: %v", id, o.status, name, o.Undone, o.Left, o.fault)
			}
		}
	}
}

// TestWallKeepsTimeForUndoing has the time for ordinary steps end in the middle of one: what undoes may use the rest, and no more.
func TestWallKeepsTimeForUndoing(t *testing.T) {
	for tool1, test := range map[string]struct {
		want string
		took time.Duration
	}{
		"half": {`{"Undone":["s0"],"Left":null}`, 72*time.Minute + 30*time.Minute},
		"hour": {`{"Undone":null,"Left":["s0: exhausted"]}`, 2 * time.Hour},
	} {
		t.Run(tool1, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := newDesk()
				saga := undoer{fixed(tool("s0", "noop"), tool("s1", "wait")), tool1}
				n := openNode(t, t.TempDir(), bus.SyncOS, Config{Do: d.Do, Catalog: timed{programs{deciders: map[string]polity.Decider{"saga": saga}}, day}})
				defer n.close(t)
				at := time.Now()
				mustOpen(t, n, rootID(1), "saga", polity.Bounds{Wall: polity.Duration(2 * time.Hour), UndoReserve: 40})
				o := endOf(t, n, rootID(1))
				if o.Status != polity.StatusExhausted || o.Fault.Bound != "wall" || string(o.Output) != test.want {
					t.Errorf("ended %s with %s: %v", o.Status, o.Output, o.Fault)
				}
				if took := time.Since(at).Round(time.Minute); took != test.took {
					t.Errorf("it took %s, want %s", took, test.took)
				}
			})
		})
	}
}

// TestCancelledSaga cancels a saga whose step is under way; then another one, which is killed while it undoes.
func TestCancelledSaga(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDesk()
		n := openNode(t, t.TempDir(), bus.SyncOS, Config{Do: d.Do, Catalog: timed{programs{deciders: map[string]polity.Decider{
			"quick": undoer{fixed(tool("s0", "noop"), tool("s1", "wait.external")), "noop"},
			"slow":  undoer{fixed(tool("s0", "noop"), tool("s1", "wait")), "wait"},
			"above": all(askWith("a", "quick", polity.Bounds{})),
		}}, day}})
		defer n.close(t)
		for i, agent := range []string{"quick", "above", "slow"} {
			mustOpen(t, n, rootID(i), agent, polity.Bounds{})
		}
		synctest.Wait()
		for i := range 3 {
			if err := n.Cancel(t.Context(), rootID(i), "enough"); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for i, want := range []string{`{"Undone":["s1","s0"],"Left":null}`, ""} {
			if o := endOf(t, n, rootID(i)); o.Status != polity.StatusCancelled || string(o.Output) != want {
				t.Errorf("%d ended %s with %s: %v", i, o.Status, o.Output, o.Fault)
			}
		}
		if s, err := n.Find(t.Context(), rootID(2)); err != nil || s.Status != polity.StatusRunning {
			t.Fatalf("it has ended in the middle of undoing: %+v %v", s, err)
		}
		if err := n.Cancel(t.Context(), rootID(2), "again"); err != nil { // it is being cancelled already
			t.Fatal(err)
		}
		synctest.Wait()
		if s, err := n.Find(t.Context(), rootID(2)); err != nil || s.Status != polity.StatusRunning {
			t.Fatalf("a second gentle cancellation has ended it: %+v %v", s, err)
		}
		if err := n.Kill(t.Context(), rootID(2), "now"); err != nil {
			t.Fatal(err)
		}
		if o := endOf(t, n, rootID(2)); o.Status != polity.StatusCancelled || o.Output != nil || o.Fault.Text != "cancelled: now" {
			t.Errorf("ended %s with %s: %v", o.Status, o.Output, o.Fault)
		}
	})
}

// TestStoppingRecords reads back what stands at the ends of records since runs undo. Without it they are as they were: see the golden log.
func TestStoppingRecords(t *testing.T) {
	for _, want := range []record{
		{kind: recCancel, run: rootID(1), reason: "wrong date"},
		{kind: recCancel, run: rootID(1), reason: "wrong date", gently: true},
		{kind: recOpened, run: rootID(1), agent: "a", bounds: polity.Bounds{Turns: 4, UndoReserve: 20}},
		{kind: recOpened, run: rootID(1), agent: "a", bounds: polity.Bounds{Turns: 4, UndoReserve: 20}, origin: rootID(2)},
		{kind: recOpened, run: rootID(1), agent: "a", bounds: polity.Bounds{Turns: 4}, origin: rootID(2)},
	} {
		var f frame
		if err := f.decode(appendRecord(beginFrame(nil, [8]byte{}, hash{}, time.Unix(1, 0)), &want)); err != nil {
			t.Fatal(err)
		}
		got := f.records[0]
		if got.gently != want.gently || got.reason != want.reason || got.bounds != want.bounds || got.origin != want.origin || got.kind != want.kind {
			t.Errorf("wrote %+v, read %+v", want, got)
		}
	}
}
