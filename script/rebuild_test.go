package script_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/script"
)

// wander is a script that does a bit of everything, as its run's random numbers say, and bears every fault.
func wander(c *script.Context, in string) (any, error) {
	r := c.Random()
	said := []string{in}
	note := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	for i := range 2 + r.IntN(4) {
		switch r.IntN(8) {
		case 0:
			var v any
			err := c.Retry(script.Retry{}).Call(c.Name("call", i), "tool", said, &v)
			note("%v %v", v, err)
		case 1:
			note("%v at %s", c.Sleep(c.Name("sleep", i), 1), c.Now())
		case 2:
			err := c.Parallel(
				func() error { return c.Ask(c.Name("left", i), "oracle", i, nil) },
				func() error {
					if err := c.Ask(c.Name("right", i), "oracle", i, nil); err != nil {
						return err
					}
					return c.Sleep(c.Name("rest", i), 1)
				})
			note("%v", err)
		case 3:
			a, b := c.Start(polity.Call(c.Name("a", i), "tool", nil)), c.Start(polity.Call(c.Name("b", i), "tool", nil))
			first, err := c.First(a, b)
			note("%v", err)
			if first == a {
				b.Cancel()
			}
		case 4:
			branch := c.Go(func() error { return c.Ask(c.Name("branch", i), "oracle", nil, nil) })
			note("%v", c.Sleep(c.Name("meanwhile", i), 1))
			branch.Cancel()
			note("%v", branch.Await())
		case 5:
			note("%v", c.Timeout(c.Name("patience", i), 1, func() error {
				return errors.Join(c.Ask(c.Name("first", i), "oracle", i, nil), c.Ask(c.Name("second", i), "oracle", i, nil))
			}))
		case 6:
			won, err := c.Race(
				func() error { return c.Ask(c.Name("quick", i), "oracle", i, nil) },
				func() error { return c.Sleep(c.Name("slow", i), 1) })
			note("%d %v", won, err)
		case 7:
			out, err := script.Map(c, 1+r.IntN(2), []int{3, 4, 5}, func(j, item int) (v any, err error) {
				err = c.Ask(c.Name(c.Name("item", i), j), "oracle", item, &v)
				return v, err
			})
			note("%v %v %s", out, err, c.UUID("x"))
		}
	}
	return said, nil
}

// world answers what a script's runs have begun, in an order and with the luck that a seed chooses.
type world struct {
	r       *rand.Rand
	plays   []*play
	pending map[*play][]string
	after   func() // each event
}

func (w *world) run(t *testing.T) {
	t.Helper()
	w.pending = map[*play][]string{}
	for _, p := range w.plays {
		w.took(p, p.open())
	}
	for events := 0; len(w.pending) > 0; events++ {
		if events > 10_000 {
			t.Fatal("it does not end")
		}
		p := w.plays[w.r.IntN(len(w.plays))]
		open := w.pending[p]
		if len(open) == 0 {
			continue
		}
		i := w.r.IntN(len(open))
		key := open[i]
		w.pending[p] = append(open[:i:i], open[i+1:]...)
		w.took(p, p.line(key+" "+[]string{`1`, `"x"`, `{"a":[]}`, ``, "!unavailable", "!denied", "!cancelled"}[w.r.IntN(7)]))
		if w.after != nil {
			w.after()
		}
	}
}

func (w *world) took(p *play, commands []polity.Command) {
	for _, c := range commands {
		switch c.Do {
		case polity.DoFinish, polity.DoFail:
			delete(w.pending, p)
			return
		case polity.DoCancel:
		default:
			w.pending[p] = append(w.pending[p], c.Key())
		}
	}
	if len(w.pending[p]) == 0 {
		p.t.Errorf("%s neither ended nor waits for anything:\n%s", p.run, p.log.String())
	}
}

// wandering plays eight runs of wander with one pool, and returns what was decided.
func wandering(t *testing.T, seed uint64, live int) string {
	t.Helper()
	pool := script.NewPool(live)
	w := &world{r: rand.New(rand.NewPCG(seed, 1))}
	d := script.Decider(wander, script.Config{Pool: pool})
	for i := range 8 {
		p := newPlay[any](t, nil, nil)
		p.decider, p.run = d, polity.RunID(fmt.Sprintf("0-wander%d", i))
		w.plays = append(w.plays, p)
	}
	w.after = func() {
		if live != 0 && pool.Live() > max(live, 0) {
			t.Errorf("%d coroutines are kept of at most %d", pool.Live(), live)
		}
	}
	w.run(t)
	if pool.Live() != 0 {
		t.Errorf("%d coroutines are left when all runs have ended", pool.Live())
	}
	var all strings.Builder
	for _, p := range w.plays {
		all.WriteString(p.log.String())
	}
	return all.String()
}

// TestDroppedRunsDecideTheSame plays runs whose coroutines are always, often and never dropped, and wants the same decisions, and no
// goroutine left.
func TestDroppedRunsDecideTheSame(t *testing.T) {
	before := runtime.NumGoroutine()
	for seed := range uint64(60) {
		want := wandering(t, seed, 0)
		for _, live := range []int{-1, 1, 3, 8} {
			if diff := cmp.Diff(want, wandering(t, seed, live)); diff != "" {
				t.Fatalf("seed %d, %d kept: %s", seed, live, diff)
			}
		}
	}
	noMore(t, before)
}

// TestManyPartitions has runs decided from many goroutines that drop each other's coroutines.
func TestManyPartitions(t *testing.T) {
	before := runtime.NumGoroutine()
	d := script.Decider(wander, script.Config{Pool: script.NewPool(3)})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			w := &world{r: rand.New(rand.NewPCG(uint64(i), 2))}
			for j := range 20 {
				p := newPlay[any](t, nil, nil)
				p.decider, p.run = d, polity.RunID(fmt.Sprintf("0-%d.%d", i, j))
				w.plays = append(w.plays, p)
			}
			w.run(t)
		})
	}
	wg.Wait()
	noMore(t, before)
}

// TestForget wants no goroutine of a run that nobody asks again, whatever its function defers.
func TestForget(t *testing.T) {
	before := runtime.NumGoroutine()
	var deferred []string
	pool := script.NewPool(0)
	p := newPlay(t, pool, func(c *script.Context, in string) (any, error) {
		defer func() {
			if x := recover(); x != nil { // it ends all the same
				deferred = append(deferred, fmt.Sprint(x))
			}
			deferred = append(deferred, fmt.Sprint(fault.Of(c.Ask("late", "x", nil, nil)).Kind))
		}()
		return nil, c.Parallel(
			func() error { return c.Sleep("a", 1) },
			func() error { defer func() { deferred = append(deferred, "branch") }(); return c.Sleep("b", 1) },
		)
	})
	p.open()
	if pool.Live() != 3 {
		t.Errorf("%d coroutines, want 3", pool.Live())
	}
	p.decider.Forget(p.state)
	if diff := cmp.Diff([]string{"branch", "cancelled"}, deferred); diff != "" || pool.Live() != 0 {
		t.Errorf("%d coroutines; %s", pool.Live(), diff)
	}
	if commands := p.line("a "); commands != nil {
		t.Errorf("a forgotten run decides %v", commands)
	}
	p.decider.Forget(p.state)
	p.decider.Forget(nil)
	noMore(t, before)
}

// TestDeferredPanic wants a function whose deferred function panics while it is dropped to end all the same, and only itself: whoever decides goes on.
func TestDeferredPanic(t *testing.T) {
	before := runtime.NumGoroutine()
	pool := script.NewPool(1)
	p := newPlay(t, pool, func(c *script.Context, in string) (any, error) {
		defer func() {
			if in == "in" && c.Ask("late", "x", nil, nil) != nil {
				panic("ouch")
			}
		}()
		return nil, c.Sleep("a", 1)
	})
	p.open()
	decided := make(chan bool, 1)
	go func() {
		defer close(decided)
		p.decider.Forget(p.state)
		decided <- true
	}()
	if !<-decided {
		t.Error("the goroutine that dropped it has ended, too")
	}
	noMore(t, before)
}

// TestCodeThatDecidesOtherwise drops the coroutine of functions that read something else than their context, and wants the first command
// that differs to be named.
func TestCodeThatDecidesOtherwise(t *testing.T) {
	for name, tt := range map[string]struct {
		// times says what the function does the n-th time that it is run.
		times func(c *script.Context, n int) error
		want  string
	}{
		"another command": {func(c *script.Context, n int) error {
			if err := c.Ask("a", "oracle", nil, nil); err != nil || n == 1 {
				return c.Ask("b", "oracle", nil, nil)
			}
			return c.Call("d", "tool", nil, nil)
		}, "at step 1 the run has b (ask oracle), the code now does d (call tool)"},
		"another input": {func(c *script.Context, n int) error {
			return errors.Join(c.Ask("a", "oracle", n, nil), c.Sleep("s", 1))
		}, "at step 0 the run has a (ask oracle), the code now does a (ask oracle) with something else"},
		"another sleep": {func(c *script.Context, n int) error {
			return errors.Join(c.Sleep("a", time.Duration(n)), c.Sleep("s", 1))
		}, "at step 0 the run has a (sleep 1ns), the code now does a (sleep 2ns)"},
		"more": {func(c *script.Context, n int) error {
			if n > 1 {
				c.Start(polity.Call("more", "tool", nil))
			}
			return errors.Join(c.Ask("a", "oracle", nil, nil), c.Sleep("s", 1))
		}, "at step 0 the run has a (ask oracle), the code now does more (call tool)"},
		"less": {func(c *script.Context, n int) error {
			err := c.Ask("a", "oracle", nil, nil)
			if n > 1 {
				return err
			}
			return c.Sleep("s", 1)
		}, "at step 1 the run has s (sleep 1ns), the code now does finish (finish)"},
		"nothing": {func(c *script.Context, n int) error {
			if n == 1 {
				c.Start(polity.Call("more", "tool", nil))
			}
			return errors.Join(c.Ask("a", "oracle", nil, nil), c.Sleep("s", 1))
		}, "at step 0 the run has more (call tool), the code now does a (ask oracle)"},
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			n := 0
			pool := script.NewPool(1)
			p := newPlay(t, pool, func(c *script.Context, in string) (any, error) {
				n++
				return nil, tt.times(c, n)
			})
			p.open()
			p.line("a 1")
			other := newPlay(t, pool, func(c *script.Context, in string) (any, error) { return nil, c.Sleep("s", 1) })
			other.open() // drops the coroutine of the one before
			other.decider.Forget(other.state)
			f := failure(t, func() []polity.Command { return p.line("s ") })
			if f == nil || f.Kind != fault.Diverged || !strings.Contains(f.Text, tt.want) {
				t.Errorf("it ended with %v", f)
			}
			noMore(t, before)
		})
	}
}

// FuzzEvents tells a script results in any order, of commands that it did and did not begin, twice and after its end, and wants it to decide the same
// with its coroutine dropped.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03"), uint8(1))
	f.Add([]byte("\x05\x05\x15\x25\x31\x07\xff"), uint8(7))
	f.Fuzz(func(t *testing.T, order []byte, seed uint8) {
		tell := func(live int) string {
			p := newPlay(t, script.NewPool(live), wander)
			p.run = polity.RunID(fmt.Sprint("0-", seed))
			var keys []string
			for i, b := range append([]byte{0}, order...) {
				var commands []polity.Command
				switch {
				case i == 0 || b == 0xff:
					commands = p.open()
				case int(b>>4) < len(keys):
					commands = p.line(keys[b>>4] + " " + []string{"1", "!failed", "{", "!unavailable"}[b&3])
				default:
					commands = p.line("unheard-of 1")
				}
				for _, c := range commands {
					keys = append(keys, c.Key())
				}
			}
			p.decider.Forget(p.state)
			return p.log.String()
		}
		if diff := cmp.Diff(tell(1), tell(-1)); diff != "" {
			t.Error(diff)
		}
	})
}

// order is the input of the benchmarked deciders.
type order struct {
	Item string `json:"item"`
	N    int    `json:"n"`
}

const benchSteps = 10

// byScript does benchSteps calls one after the other, each with what the one before answered.
func byScript(c *script.Context, in order) (order, error) {
	for i := range benchSteps {
		if err := c.Call(c.Name("step", i), "tool", in, &in); err != nil {
			return in, err
		}
	}
	return in, nil
}

// byHand is the same as a decider.
type byHand struct{}

type handState struct {
	i  int
	in order
}

func (byHand) Decide(state any, e polity.Event) (any, []polity.Command) {
	s, ok := state.(*handState)
	if !ok {
		s = &handState{}
	}
	if e.Fault != nil {
		return s, []polity.Command{polity.Fail(e.Fault)}
	}
	if err := json.Unmarshal(e.Data, &s.in); err != nil {
		return s, []polity.Command{polity.Fail(fault.Of(err))}
	}
	data, err := json.Marshal(s.in)
	if err != nil {
		return s, []polity.Command{polity.Fail(fault.Of(err))}
	}
	if s.i == benchSteps {
		return s, []polity.Command{polity.Finish(data)}
	}
	s.i++
	return s, []polity.Command{polity.Call(fmt.Sprintf("step.%d", s.i-1), "tool", data)}
}

func timed(do func()) int64 {
	began := time.Now()
	do()
	return time.Since(began).Nanoseconds()
}

// whole plays one run to its end.
func whole(b *testing.B, d polity.Decider, run polity.RunID) {
	b.Helper()
	e := polity.Event{Kind: polity.Opened, Run: run, Data: json.RawMessage(`{"item":"a book","n":3}`)}
	var state any
	for range benchSteps + 2 {
		var commands []polity.Command
		state, commands = d.Decide(state, e)
		switch c := commands[0]; c.Do {
		case polity.DoFinish:
			return
		case polity.DoFail:
			b.Fatal(c.Fault)
		default:
			e = polity.Event{Kind: polity.Result, Run: run, Name: c.Name, Attempt: 1, Data: c.Input}
		}
	}
	b.Fatal("it did not end")
}

// passOn is byScript for values that it does not look into.
func passOn(c *script.Context, in json.RawMessage) (json.RawMessage, error) {
	for i := range benchSteps {
		if err := c.Call(c.Name("step", i), "tool", in, &in); err != nil {
			return in, err
		}
	}
	return in, nil
}

// passByHand is the same as a decider.
type passByHand struct{}

func (passByHand) Decide(state any, e polity.Event) (any, []polity.Command) {
	i, _ := state.(int)
	switch {
	case e.Fault != nil:
		return i, []polity.Command{polity.Fail(e.Fault)}
	case i == benchSteps:
		return i, []polity.Command{polity.Finish(slices.Clone(e.Data))}
	default:
		return i + 1, []polity.Command{polity.Call(fmt.Sprintf("step.%d", i), "tool", slices.Clone(e.Data))}
	}
}

// BenchmarkDecide compares a script with the same logic as a hand-written decider: x-hand is how much longer a run takes, decisions alone. "typed" reads and
// writes JSON; "raw" passes it on, so that nearly nothing but the script's own cost is left.
func BenchmarkDecide(b *testing.B) {
	for _, others := range []bool{true, false} {
		how := map[bool]string{true: "beside another", false: "alone"}[others]
		b.Run("typed/"+how, func(b *testing.B) { against(b, byHand{}, script.Decider(byScript, script.Config{}), others) })
		b.Run("raw/"+how, func(b *testing.B) { against(b, passByHand{}, script.Decider(passOn, script.Config{}), others) })
	}
	b.Run("raw/bare", func(b *testing.B) { against(b, passByHand{}, bare{}, false) })
}

// bare is passByHand as a coroutine and nothing else: it keeps nothing, so that it could not be made again, and checks nothing. That is the least that
// a function which waits can cost in Go.
type bare struct{}

type bareState struct {
	next func() (polity.Command, bool)
	data json.RawMessage
}

func (bare) Decide(state any, e polity.Event) (any, []polity.Command) {
	s, ok := state.(*bareState)
	if !ok {
		s = &bareState{}
		s.next, _ = iter.Pull(func(yield func(polity.Command) bool) {
			for i := range benchSteps {
				if !yield(polity.Call(fmt.Sprintf("step.%d", i), "tool", s.data)) {
					return
				}
			}
			yield(polity.Finish(s.data))
		})
	}
	s.data = slices.Clone(e.Data)
	c, _ := s.next()
	if c.Do == polity.DoFinish {
		s.next()
	}
	return s, []polity.Command{c}
}

func (bare) Forget(any) {}

func against(b *testing.B, d polity.Decider, s polity.Forgetter, other bool) {
	b.ReportAllocs()
	if other {
		state, _ := s.Decide(nil, polity.Event{Kind: polity.Opened, Run: "0-other", Data: json.RawMessage(`{}`)})
		defer s.Forget(state)
	}
	var hand, scripted []int64
	for b.Loop() { // in turns, so that both see the same machine
		hand = append(hand, timed(func() { whole(b, d, "0-bench") }))
		scripted = append(scripted, timed(func() { whole(b, s, "0-bench") }))
	}
	slices.Sort(hand)
	slices.Sort(scripted)
	h, x := float64(hand[len(hand)/2]), float64(scripted[len(scripted)/2]) // medians: others use the machine, too
	b.ReportMetric(h/(benchSteps+1), "ns/hand-step")
	b.ReportMetric(x/(benchSteps+1), "ns/script-step")
	b.ReportMetric(x/h, "x-hand")
}

// BenchmarkRevive is the cost of making the coroutine of a run again that has seen benchSteps results, each time.
func BenchmarkRevive(b *testing.B) {
	d := script.Decider(byScript, script.Config{LiveMax: -1})
	var took []int64
	for b.Loop() {
		took = append(took, timed(func() { whole(b, d, "0-bench") }))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/(benchSteps+1), "ns/step")
}

// BenchmarkWaiting measures what a run costs that waits, with its coroutine and without.
func BenchmarkWaiting(b *testing.B) {
	for name, live := range map[string]int{"kept": script.LiveMax, "dropped": -1} {
		b.Run(name, func(b *testing.B) {
			d := script.Decider(byScript, script.Config{Pool: script.NewPool(live)})
			var heap, stacks float64
			for b.Loop() {
				states := make([]any, script.LiveMax)
				h0, s0 := inUse()
				for i := range states {
					states[i], _ = d.Decide(nil, polity.Event{Kind: polity.Opened, Run: "0-bench", Data: json.RawMessage(`{"item":"a book","n":3}`)})
				}
				h1, s1 := inUse()
				heap, stacks = (h1-h0)/script.LiveMax, (s1-s0)/script.LiveMax
				for _, s := range states {
					d.Forget(s)
				}
			}
			b.ReportMetric(heap, "heap-B/run")
			b.ReportMetric(stacks, "stack-B/run")
		})
	}
}

func inUse() (heap, stacks float64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc), float64(m.StackInuse)
}
