package run

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
)

func did(n int) []polity.Command {
	return []polity.Command{polity.Finish(json.RawMessage(fmt.Sprintf(`{"did":%d}`, n)))}
}

// greedy wants the next thing until it is refused one, and then ends with what it has.
func greedy(next func(n int) polity.Command) decideFunc {
	return func(n int, e polity.Event) []polity.Command {
		if e.Fault != nil {
			return did(n - 1)
		}
		return []polity.Command{next(n + 1)}
	}
}

func callNext(n int) polity.Command {
	return polity.Call(fmt.Sprintf("call.%d", n), "tool", json.RawMessage(`{}`))
}

func thinkNext(reserve polity.Usage) func(int) polity.Command {
	return func(n int) polity.Command {
		return polity.Think(fmt.Sprintf("think.%d", n), "model", json.RawMessage(`{}`), reserve)
	}
}

// broad wants many things at once, and ends when it has heard of all of them.
func broad(width int) decideFunc {
	return func(n int, e polity.Event) []polity.Command {
		if e.Kind == polity.Result {
			if n == width {
				return did(n)
			}
			return nil
		}
		var all []polity.Command
		for i := range width {
			all = append(all, callNext(i+1))
		}
		return all
	}
}

// deep asks itself, and does a thing of its own when it is refused.
func deep(n int, e polity.Event) []polity.Command {
	switch {
	case e.Kind == polity.Opened:
		return []polity.Command{polity.Ask("down", "deep", "", json.RawMessage(`{}`))}
	case e.Name == "down" && e.Fault != nil && e.Data == nil:
		return []polity.Command{callNext(1)}
	default:
		return did(n)
	}
}

// stubborn tries the same thing again as long as it fails.
func stubborn(n int, e polity.Event) []polity.Command {
	if e.Fault != nil && e.Fault.Kind == fault.Exhausted {
		return did(n - 1)
	}
	c := polity.Call("call", "tool", json.RawMessage(`{}`))
	c.Attempt = n + 1
	return []polity.Command{c}
}

func TestBoundEndsARunWithItsBestEffort(t *testing.T) {
	tests := map[string]struct {
		decider polity.Decider
		bounds  polity.Bounds
		result  result
		effects int
		output  string
	}{
		"turns": {
			decider: greedy(callNext), bounds: polity.Bounds{Turns: 3}, effects: 3, output: `{"did":3}`,
		},
		"tokens": { // 100 wanted each time and 40 used: after four, 90 of 250 are left
			decider: greedy(thinkNext(polity.Usage{InputTokens: 30, OutputTokens: 70})), bounds: polity.Bounds{Tokens: 250},
			result: result{usage: polity.Usage{InputTokens: 30, OutputTokens: 10}}, effects: 4, output: `{"did":4}`,
		},
		"money": {
			decider: greedy(thinkNext(polity.Usage{MicroUSD: 10})), bounds: polity.Bounds{MicroUSD: 25},
			result: result{usage: polity.Usage{MicroUSD: 10}}, effects: 2, output: `{"did":2}`,
		},
		"fan_out": {
			decider: broad(10), bounds: polity.Bounds{FanOut: 4}, effects: 4, output: `{"did":10}`,
		},
		"depth": {
			decider: decideFunc(deep), bounds: polity.Bounds{Depth: 2}, effects: 1, output: `{"did":1}`,
		},
		"retries": {
			decider: decideFunc(stubborn), bounds: polity.Bounds{Retries: 2},
			result: result{fault: fault.Of(fault.Unavailable.New("not now"))}, effects: 3, output: `{"did":3}`,
		},
	}
	for bound, tc := range tests {
		t.Run(bound, func(t *testing.T) {
			m := newMemory(t, programs{deciders: map[string]polity.Decider{"deep": tc.decider}})
			effects := 0
			m.do = func(*pending) result { effects++; return tc.result }
			o := m.ask("deep", tc.bounds)
			if o.Status != polity.StatusExhausted || o.Fault == nil || o.Fault.Bound != bound || o.Fault.Kind != fault.Exhausted {
				t.Errorf("ended %s: %+v", o.Status, o.Fault)
			}
			if string(o.Output) != tc.output {
				t.Errorf("best effort %s, want %s", o.Output, tc.output)
			}
			if effects != tc.effects {
				t.Errorf("%d effects were done, want %d", effects, tc.effects)
			}
		})
	}
}

// plan is a decider that asks for one thing after the other, whatever becomes of them, and ends with what it heard.
func plan(commands ...polity.Command) polity.Decider { return planned(commands) }

type planned []polity.Command

func (p planned) Decide(state any, e polity.Event) (any, []polity.Command) {
	heard, _ := state.([]string)
	if e.Kind == polity.Result {
		word := "ok"
		if e.Fault != nil {
			word = strings.TrimSuffix(string(e.Fault.Kind)+"."+e.Fault.Bound, ".")
		}
		heard = append(heard, word)
	}
	if len(heard) == len(p) {
		out, err := json.Marshal(strings.Join(heard, " "))
		if err != nil {
			panic(err)
		}
		return heard, []polity.Command{polity.Finish(out)}
	}
	return heard, []polity.Command{p[len(heard)]}
}

func askWith(name, agent string, b polity.Bounds) polity.Command {
	c := polity.Ask(name, polity.AgentName(agent), "", json.RawMessage(`{}`))
	c.Bounds = b
	return c
}

func TestDelegatedBounds(t *testing.T) {
	think := func(name string, tokens int64) polity.Command {
		return polity.Think(name, "model", json.RawMessage(`{}`), polity.Usage{InputTokens: tokens})
	}
	retry := polity.Call("again", "tool", json.RawMessage(`{}`))
	retry.Attempt = 2
	two, three := retry, retry
	two.Attempt, three.Attempt = 3, 4
	tests := map[string]struct {
		root    polity.Decider
		bounds  polity.Bounds
		result  result
		effects int
		status  polity.Status
		heard   string
	}{
		"a child's own bound does not exhaust its parent": {
			root: plan(askWith("a", "greedy", polity.Bounds{Turns: 5})), bounds: polity.Bounds{Turns: 20},
			effects: 5, status: polity.StatusCompleted, heard: "exhausted.turns",
		},
		"a shared one does": {
			root: plan(askWith("a", "greedy", polity.Bounds{})), bounds: polity.Bounds{Turns: 6},
			effects: 5, status: polity.StatusExhausted, heard: "exhausted.turns",
		},
		"a child's own bound met by a grandchild does not exhaust the root": {
			root: plan(askWith("a", "asker", polity.Bounds{Turns: 5})), bounds: polity.Bounds{Turns: 20},
			effects: 4, status: polity.StatusCompleted, heard: "exhausted.turns",
		},
		"what a child leaves comes back": { // 1 for asking and 2 used: 17 of 20 are left, and asking is one of them
			root:   plan(askWith("a", "two", polity.Bounds{Turns: 10}), askWith("b", "greedy", polity.Bounds{Turns: 16})),
			bounds: polity.Bounds{Turns: 20}, effects: 18, status: polity.StatusCompleted, heard: "ok exhausted.turns",
		},
		"and no more than that": {
			root:   plan(askWith("a", "two", polity.Bounds{Turns: 10}), askWith("b", "greedy", polity.Bounds{Turns: 17})),
			bounds: polity.Bounds{Turns: 20}, effects: 2, status: polity.StatusExhausted, heard: "ok exhausted.turns",
		},
		"what is not delegated is drawn from above": {
			root: plan(askWith("a", "thinker", polity.Bounds{Turns: 5})), bounds: polity.Bounds{Tokens: 250},
			effects: 2, status: polity.StatusExhausted, heard: "exhausted.tokens",
		},
		"a reserve that is larger than what is left is refused before the effect": {
			root: plan(think("big", 101)), bounds: polity.Bounds{Tokens: 100},
			effects: 0, status: polity.StatusExhausted, heard: "exhausted.tokens",
		},
		"a failed thought that does not say what it cost has cost its reserve": {
			root: plan(think("one", 60), think("two", 41), think("three", 40)), bounds: polity.Bounds{Tokens: 100},
			result:  result{fault: fault.Of(fault.Unavailable.New("cut off"))},
			effects: 2, status: polity.StatusExhausted, heard: "unavailable exhausted.tokens unavailable",
		},
		"one that says it has not": {
			root: plan(think("one", 60), think("two", 90)), bounds: polity.Bounds{Tokens: 100},
			result:  result{fault: fault.Of(fault.Unavailable.New("cut off")), usage: polity.Usage{InputTokens: 10}},
			effects: 2, status: polity.StatusCompleted, heard: "unavailable unavailable",
		},
		"an agent that is not there keeps nothing of what it was delegated": {
			root: plan(askWith("a", "nobody", polity.Bounds{Tokens: 60}), think("all", 100)), bounds: polity.Bounds{Tokens: 100},
			effects: 1, status: polity.StatusCompleted, heard: "not-found ok",
		},
		"nor does one that lies too deep": {
			root: plan(askWith("a", "deeper", polity.Bounds{}), think("all", 100)), bounds: polity.Bounds{Tokens: 100, Depth: 1},
			effects: 1, status: polity.StatusExhausted, heard: "exhausted.depth ok",
		},
		"a child is not given more depth than there is": {
			root: plan(askWith("a", "deep", polity.Bounds{Depth: 50})), bounds: polity.Bounds{Depth: 3},
			effects: 1, status: polity.StatusExhausted, heard: "exhausted.depth",
		},
		"nor more retries": {
			root: plan(askWith("a", "stubborn", polity.Bounds{Retries: 20})), bounds: polity.Bounds{Retries: 3},
			result:  result{fault: fault.Of(fault.Unavailable.New("not now"))},
			effects: 4, status: polity.StatusExhausted, heard: "exhausted.retries",
		},
		"nor more fan-out": {
			root: plan(askWith("a", "broad", polity.Bounds{FanOut: 20})), bounds: polity.Bounds{FanOut: 3},
			effects: 3, status: polity.StatusExhausted, heard: "exhausted.fan_out",
		},
		"retries of all children count together": {
			root: plan(retry, askWith("a", "stubborn", polity.Bounds{}), two), bounds: polity.Bounds{Retries: 3},
			result:  result{fault: fault.Of(fault.Unavailable.New("not now"))},
			effects: 4, status: polity.StatusExhausted, heard: "unavailable exhausted.retries exhausted.retries",
		},
		"a bound beyond all numbers does not come round again": {
			root:   plan(askWith("a", "greedy", polity.Bounds{Turns: math.MaxInt})),
			bounds: polity.Bounds{Turns: 10}, effects: 0, status: polity.StatusExhausted, heard: "exhausted.turns",
		},
		"nor does a reserve": {
			root:   plan(polity.Think("one", "model", nil, polity.Usage{InputTokens: math.MaxInt64, OutputTokens: 1})),
			bounds: polity.Bounds{Tokens: 10}, effects: 0, status: polity.StatusExhausted, heard: "exhausted.tokens",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMemory(t, programs{deciders: map[string]polity.Decider{
				"root": tc.root, "greedy": greedy(callNext), "two": steps(2), "deep": decideFunc(deep),
				"stubborn": decideFunc(stubborn), "broad": broad(10),
				"asker":   plan(askWith("x", "greedy", polity.Bounds{})),
				"thinker": greedy(thinkNext(polity.Usage{InputTokens: 100})),
				"deeper":  plan(askWith("x", "two", polity.Bounds{Tokens: 60})),
			}, effects: map[string]polity.Effect{}})
			effects := 0
			res := tc.result
			if res.fault == nil {
				res.usage = polity.Usage{InputTokens: 100}
				if tc.bounds.Tokens == 0 {
					res.usage = polity.Usage{}
				}
			}
			m.do = func(*pending) result {
				effects++
				checkLedgers(t, m.core)
				return res
			}
			o := m.ask("root", tc.bounds)
			want := fmt.Sprintf("%q", tc.heard)
			if o.Status != tc.status || string(o.Output) != want || effects != tc.effects {
				t.Errorf("%d effects, %s with %s (%v); want %d, %s with %s", effects, o.Status, o.Output, o.Fault, tc.effects, tc.status, want)
			}
			replayed(t, m)
		})
	}
}

// checkLedgers wants every ledger within its limits, and what was delegated held above.
func checkLedgers(t *testing.T, c *core) {
	t.Helper()
	for _, r := range c.runs {
		l := r.ledger
		if l.owner != r {
			continue
		}
		all := l.used.Plus(l.held)
		if n := l.limit.Turns; n > 0 && all.Turns > n {
			t.Errorf("%s: %d turns of %d", r.id, all.Turns, n)
		}
		if n := l.limit.Tokens; n > 0 && all.Tokens() > n {
			t.Errorf("%s: %d tokens of %d", r.id, all.Tokens(), n)
		}
		if n := l.limit.MicroUSD; n > 0 && all.MicroUSD > n {
			t.Errorf("%s: %d micro-USD of %d", r.id, all.MicroUSD, n)
		}
		if l.held.Turns < 0 || l.held.InputTokens < 0 || l.held.OutputTokens < 0 || l.held.MicroUSD < 0 {
			t.Errorf("%s holds less than nothing: %+v", r.id, l.held)
		}
		if l.above != nil {
			above := l.above.turns()
			if above.held.Turns < l.limit.Turns {
				t.Errorf("%s was given %d turns, and only %d are held above", r.id, l.limit.Turns, above.held.Turns)
			}
		}
	}
}

// replayed wants a fold of the log to end where the live kernel did.
func replayed(t *testing.T, m *memory) {
	t.Helper()
	again := newCore(m, m.core.catalog, epochOfMemory)
	var decided strings.Builder
	again.decided = note(&decided)
	if err := foldLog(again, m.log); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.decided.String(), decided.String()); diff != "" {
		t.Fatalf("a fold decides otherwise (-live +folded):\n%.2000s", diff)
	}
	if len(again.runs) != len(m.core.runs) {
		t.Fatalf("a fold leaves %d runs, the kernel %d", len(again.runs), len(m.core.runs))
	}
	for i, tree := range again.roots {
		if tree.stopped != nil {
			t.Fatalf("a fold stops %s: %v", tree.id, tree.stopped)
		}
		if got, want := m.core.current(tree), m.core.current(m.core.roots[i]); got.Status != want.Status || got.Usage != want.Usage {
			t.Fatalf("a fold ends with %+v, the kernel with %+v", got, want)
		}
	}
}

func TestLedgersAreTheSameAfterAFold(t *testing.T) {
	decider := plan(
		askWith("a", "nobody", polity.Bounds{Tokens: 60}),
		polity.Think("b", "model", json.RawMessage(`{}`), polity.Usage{InputTokens: 30}),
		askWith("c", "two", polity.Bounds{Turns: 4}),
		polity.Sleep("d", time.Hour),
	)
	catalog := programs{deciders: map[string]polity.Decider{"root": decider, "two": steps(2)}}
	m := newMemory(t, catalog)
	m.begin(1, "root", polity.Bounds{Wall: polity.Duration(2 * time.Hour)})
	for range 20 {
		m.acknowledge()
		if len(m.effects) > 0 {
			p := m.effects[0]
			m.effects = m.effects[1:]
			m.core.done(p, m.do(p))
			m.core.settle()
		}
	}
	live := m.core.runs[rootID(1)].ledger
	if live.used.Turns != 5 { // nobody was asked, a thought, asking two and its two steps
		t.Errorf("%d turns are used", live.used.Turns)
	}
	again := newCore(m, catalog, epochOfMemory)
	if err := foldLog(again, m.log); err != nil {
		t.Fatal(err)
	}
	folded := again.runs[rootID(1)].ledger
	if folded.used != live.used || folded.held != live.held || live.held != (polity.Usage{}) {
		t.Errorf("live: used %+v, held %+v; folded: used %+v, held %+v", live.used, live.held, folded.used, folded.held)
	}
}

// TestDeciderThatAsksForEver wants every way of asking in vain to come to an end.
func TestDeciderThatAsksForEver(t *testing.T) {
	for name, next := range map[string]func(n int) polity.Command{
		"turns": callNext,
		"depth": func(n int) polity.Command { return askWith(fmt.Sprintf("ask.%d", n), "root", polity.Bounds{}) },
		"nobody": func(n int) polity.Command {
			return askWith(fmt.Sprintf("ask.%d", n), "nobody", polity.Bounds{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			decided := 0
			decider := decideFunc(func(n int, e polity.Event) []polity.Command {
				decided++
				if strings.Contains(string(e.Run), "/") {
					return did(0)
				}
				return []polity.Command{next(n + 1)}
			})
			m := newMemory(t, programs{deciders: map[string]polity.Decider{"root": decider}})
			effects := 0
			m.do = func(*pending) result { effects++; return result{} }
			o := m.ask("root", polity.Bounds{Turns: 100, Depth: 1})
			if o.Status != polity.StatusExhausted || o.Output != nil {
				t.Errorf("ended %s with %s: %v", o.Status, o.Output, o.Fault)
			}
			if decided > 2*100+refusalsMax+2 || effects > 100 {
				t.Errorf("decided %d times, %d effects", decided, effects)
			}
			replayed(t, m)
		})
	}
}
