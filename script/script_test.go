package script_test

import (
	"encoding/json"
	"errors"
	"fmt"
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

// play is a run that is told what happens by hand.
type play struct {
	t       testing.TB
	decider polity.Forgetter
	run     polity.RunID
	state   any
	now     time.Time
	log     strings.Builder // what was decided, as text
}

func newPlay[Out any](t testing.TB, pool *script.Pool, fn func(c *script.Context, in string) (Out, error)) *play {
	return &play{t: t, decider: script.Decider(fn, script.Config{Pool: pool}), run: "0-script", now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

// tell tells of an event and notes the commands.
func (p *play) tell(e polity.Event) []polity.Command {
	p.now = p.now.Add(time.Second)
	e.Run, e.At = p.run, p.now
	data := e.Data
	e.Data = append(json.RawMessage(nil), data...)
	state, commands := p.decider.Decide(p.state, e)
	p.state = state
	for i := range e.Data {
		e.Data[i] = '#' // nothing of it may be kept
	}
	for i := range commands {
		c := &commands[i]
		fmt.Fprintf(&p.log, "%s", c)
		if len(c.Input) > 0 {
			fmt.Fprintf(&p.log, " %s", c.Input)
		}
		if c.Fault != nil {
			fmt.Fprintf(&p.log, " %s: %s", c.Fault.Kind, c.Fault.Text)
		}
		p.log.WriteString("\n")
	}
	return commands
}

func (p *play) open() []polity.Command {
	return p.tell(polity.Event{Kind: polity.Opened, Data: json.RawMessage(`"in"`), Agent: "script"})
}

// line is a result as a test writes it: "name data", "name !kind", or with an attempt behind the name, "name~2 data".
func (p *play) line(s string) []polity.Command {
	key, data, _ := strings.Cut(s, " ")
	e := polity.Event{Kind: polity.Result, Attempt: 1}
	name, attempt, again := strings.Cut(key, "~")
	e.Name = name
	if again {
		fmt.Sscan(attempt, &e.Attempt)
	}
	if kind, failed := strings.CutPrefix(data, "!"); failed {
		e.Fault = &fault.Error{Kind: fault.Kind(kind), Text: "told so"}
	} else {
		e.Data = json.RawMessage(data)
	}
	fmt.Fprintf(&p.log, "<- %s\n", s)
	return p.tell(e)
}

// played is the transcript of a run.
func played[Out any](t *testing.T, pool *script.Pool, fn func(c *script.Context, in string) (Out, error), events ...string) string {
	t.Helper()
	p := newPlay(t, pool, fn)
	p.open()
	for _, e := range events {
		p.line(e)
	}
	p.decider.Forget(p.state)
	return p.log.String()
}

type function = func(c *script.Context, in string) (any, error)

// scripts are the functions whose transcripts are compared, with what they are told.
var scripts = map[string]struct {
	fn     function
	events string
	want   string
}{
	"one after the other": {
		func(c *script.Context, in string) (any, error) {
			var fetched string
			if err := c.Call("fetch", "web.get", in, &fetched); err != nil {
				return nil, err
			}
			var answer int
			err := c.Ask("ask", "oracle", fetched, &answer)
			return answer + 1, err
		},
		"fetch \"page\"; ask 41",
		`fetch (call web.get) "in"
<- fetch "page"
ask (ask oracle) "page"
<- ask 41
finish (finish) 42
`,
	},
	"a fault ends it": {
		func(c *script.Context, in string) (any, error) { return nil, c.Ask("ask", "oracle", in, nil) },
		"ask !denied",
		"ask (ask oracle) \"in\"\n<- ask !denied\nfail (fail) denied: told so\n",
	},
	"an answer of another form": {
		func(c *script.Context, in string) (any, error) {
			var n int
			return n, c.Ask("ask", "oracle", in, &n)
		},
		`ask "many"`,
		"ask (ask oracle) \"in\"\n<- ask \"many\"\nfail (fail) invalid: script: result of ask: json: cannot unmarshal string into Go value of type int\n",
	},
	"a loop, and time": {
		func(c *script.Context, in string) (any, error) {
			begin := c.Now()
			for i := range 2 {
				if err := c.Sleep(c.Name("wait", i), time.Hour); err != nil {
					return nil, err
				}
			}
			return c.Now().Sub(begin).String(), nil
		},
		"wait.0 ; wait.1 ",
		`wait.0 (sleep 1h0m0s)
<- wait.0 
wait.1 (sleep 1h0m0s)
<- wait.1 
finish (finish) "2s"
`,
	},
	"a name twice": {
		func(c *script.Context, in string) (any, error) {
			if err := c.Ask("ask", "oracle", in, nil); err != nil {
				return nil, err
			}
			return nil, c.Ask("ask", "oracle", in, nil)
		},
		"ask 1",
		"ask (ask oracle) \"in\"\n<- ask 1\nfail (fail) internal: script: the command name \"ask\" is used twice in a run; in a loop use Context.Name\n",
	},
	"tried again": {
		func(c *script.Context, in string) (any, error) {
			var n int
			err := c.Retry(script.Retry{Attempts: 3, Delay: time.Second, DelayMax: 1500 * time.Millisecond}).Ask("ask", "oracle", in, &n)
			return n, err
		},
		"ask !unavailable; ask.wait ; ask~2 !timeout; ask.wait~2 ; ask~3 7",
		`ask (ask oracle) "in"
<- ask !unavailable
ask.wait (sleep 1s)
<- ask.wait 
ask~2 (ask oracle) "in"
<- ask~2 !timeout
ask.wait~2 (sleep 1.5s)
<- ask.wait~2 
ask~3 (ask oracle) "in"
<- ask~3 7
finish (finish) 7
`,
	},
	"not tried again": {
		func(c *script.Context, in string) (any, error) {
			return nil, c.Retry(script.Retry{}).Ask("ask", "oracle", in, nil)
		},
		"ask !invalid",
		"ask (ask oracle) \"in\"\n<- ask !invalid\nfail (fail) invalid: told so\n",
	},
	"side by side": {
		func(c *script.Context, in string) (any, error) {
			sum := 0
			add := func(name string) func() error {
				return func() error {
					var n int
					if err := c.Ask(name, "oracle", nil, &n); err != nil {
						return err
					}
					sum += n
					return c.Sleep(name+".rest", time.Second)
				}
			}
			return &sum, c.Parallel(add("a"), add("b"))
		},
		"b 2; b.rest ; a 1; a.rest ",
		`a (ask oracle) null
b (ask oracle) null
<- b 2
b.rest (sleep 1s)
<- b.rest 
<- a 1
a.rest (sleep 1s)
<- a.rest 
finish (finish) 3
`,
	},
	"side by side, and one fails": {
		func(c *script.Context, in string) (any, error) {
			ask := func(name string) func() error { return func() error { return c.Ask(name, "oracle", nil, nil) } }
			return nil, c.Parallel(ask("a"), ask("b"), ask("c"))
		},
		"c 1; b !failed; a !cancelled",
		`a (ask oracle) null
b (ask oracle) null
c (ask oracle) null
<- c 1
<- b !failed
cancel.a (cancel a)
<- a !cancelled
fail (fail) failed: told so
`,
	},
	"the first, and what is left is cancelled by the end": {
		func(c *script.Context, in string) (any, error) {
			a, b := c.Start(polity.Call("a", "x", nil)), c.Start(polity.Call("b", "x", nil))
			first, err := c.First(a, b)
			if err != nil {
				return nil, err
			}
			var n int
			return &n, first.Decode(&n)
		},
		"a !failed; b 2",
		"a (call x)\nb (call x)\n<- a !failed\n<- b 2\nfinish (finish) 2\n",
	},
	"a quorum that cannot be": {
		func(c *script.Context, in string) (any, error) {
			a, b, d := c.Start(polity.Call("a", "x", nil)), c.Start(polity.Call("b", "x", nil)), c.Start(polity.Call("d", "x", nil))
			return nil, c.Wait(2, a, b, d)
		},
		"d !denied; a !failed",
		"a (call x)\nb (call x)\nd (call x)\n<- d !denied\n<- a !failed\nfail (fail) failed: told so\n",
	},
	"a race is won by the first that succeeds": {
		func(c *script.Context, in string) (any, error) {
			said := make([]int, 3)
			ask := func(i int) func() error {
				return func() error { return c.Ask(c.Name("ask", i), "oracle", nil, &said[i]) }
			}
			i, err := c.Race(ask(0), ask(1), ask(2))
			return []any{i, said}, err
		},
		"ask.1 !failed; ask.2 7; ask.0 !cancelled",
		`ask.0 (ask oracle) null
ask.1 (ask oracle) null
ask.2 (ask oracle) null
<- ask.1 !failed
<- ask.2 7
cancel.ask.0 (cancel ask.0)
<- ask.0 !cancelled
finish (finish) [2,[0,0,7]]
`,
	},
	"a race that nobody wins": {
		func(c *script.Context, in string) (any, error) {
			ask := func(name string) func() error { return func() error { return c.Ask(name, "oracle", nil, nil) } }
			i, err := c.Race(ask("a"), ask("b"))
			return nil, fmt.Errorf("%d: %w", i, err)
		},
		"b !failed; a !denied",
		"a (ask oracle) null\nb (ask oracle) null\n<- b !failed\n<- a !denied\nfail (fail) denied: -1: told so\n",
	},
	"in time": {
		func(c *script.Context, in string) (any, error) {
			var n int
			err := c.Timeout("patience", time.Minute, func() error { return c.Ask("ask", "oracle", nil, &n) })
			return n, err
		},
		"ask 7",
		"patience (sleep 1m0s)\nask (ask oracle) null\n<- ask 7\nfinish (finish) 7\n",
	},
	"not in time: all that was begun is cancelled": {
		func(c *script.Context, in string) (any, error) {
			err := c.Timeout("patience", time.Minute, func() error {
				return c.Parallel(
					func() error { return c.Ask("a", "oracle", nil, nil) },
					func() error {
						return c.Timeout("less", time.Second, func() error { return c.Ask("b", "oracle", nil, nil) })
					})
			})
			return nil, errors.Join(err, c.Sleep("after", 1))
		},
		"patience ; a !cancelled; b !cancelled; less !cancelled; after ",
		`patience (sleep 1m0s)
a (ask oracle) null
less (sleep 1s)
b (ask oracle) null
<- patience 
cancel.a (cancel a)
cancel.b (cancel b)
cancel.less (cancel less)
<- a !cancelled
<- b !cancelled
after (sleep 1ns)
<- less !cancelled
<- after 
fail (fail) timeout: script: patience: it was not done within 1m0s
`,
	},
	"not in time, and done all the same": {
		func(c *script.Context, in string) (any, error) {
			var n int
			return &n, c.Timeout("patience", time.Minute, func() error { return c.Ask("ask", "oracle", nil, &n) })
		},
		"patience ; ask 7",
		"patience (sleep 1m0s)\nask (ask oracle) null\n<- patience \ncancel.ask (cancel ask)\n<- ask 7\nfinish (finish) 7\n",
	},
	"a time that cannot be waited for": {
		func(c *script.Context, in string) (any, error) {
			return nil, c.Timeout("patience", time.Minute, func() error { return c.Ask("ask", "oracle", nil, nil) })
		},
		"patience !exhausted; ask !cancelled",
		"patience (sleep 1m0s)\nask (ask oracle) null\n<- patience !exhausted\ncancel.ask (cancel ask)\n<- ask !cancelled\nfail (fail) exhausted: told so\n",
	},
	"each of many, some at once": {
		func(c *script.Context, in string) (any, error) {
			return script.Map(c, 2, []string{"x", "y", "z"}, func(i int, item string) (n int, err error) {
				err = c.Ask(c.Name("ask", i), "oracle", item, &n)
				return n, err
			})
		},
		"ask.1 1; ask.2 2; ask.0 0",
		`ask.0 (ask oracle) "x"
ask.1 (ask oracle) "y"
<- ask.1 1
ask.2 (ask oracle) "z"
<- ask.2 2
<- ask.0 0
finish (finish) [0,1,2]
`,
	},
	"each of many, and one fails": {
		func(c *script.Context, in string) (any, error) {
			return script.Map(c, 2, []string{"x", "y", "z"}, func(i int, item string) (n int, err error) {
				err = c.Ask(c.Name("ask", i), "oracle", item, &n)
				return n, err
			})
		},
		"ask.0 !denied; ask.1 1",
		`ask.0 (ask oracle) "x"
ask.1 (ask oracle) "y"
<- ask.0 !denied
cancel.ask.1 (cancel ask.1)
<- ask.1 1
fail (fail) denied: told so
`,
	},
	"each of none, and none at once": {
		func(c *script.Context, in string) (any, error) {
			do := func(int, string) (int, error) { return 0, errors.New("never") }
			none, err := script.Map(c, 3, nil, do)
			_, bad := script.Map(c, 0, []string{"x"}, do)
			return []any{len(none), fmt.Sprint(err), bad.Error()}, nil
		},
		"", "finish (finish) [0,\"\\u003cnil\\u003e\",\"script: Map with 0 at once; want 1 or more\"]\n",
	},
	"results as they come": {
		func(c *script.Context, in string) (any, error) {
			var said []string
			left := []*script.Future{c.Start(polity.Call("a", "x", nil)), c.Start(polity.Call("b", "x", nil))}
			for len(left) > 0 {
				f, err := c.Next(left...)
				if err != nil {
					return nil, err
				}
				said = append(said, fmt.Sprintf("%s %v", f.Data(), f.Await()))
				left = slices.DeleteFunc(left, func(o *script.Future) bool { return o == f })
			}
			_, err := c.Next()
			return append(said, err.Error()), nil
		},
		"b !failed; a 1",
		"a (call x)\nb (call x)\n<- b !failed\n<- a 1\nfinish (finish) [\" told so\",\"1 \\u003cnil\\u003e\",\"script: no future to wait for\"]\n",
	},
	"a UUID is the run's": {
		func(c *script.Context, in string) (any, error) {
			return []string{c.UUID("order"), c.UUID("order"), c.UUID("refund")}, nil
		},
		"", "finish (finish) [\"e3bebae5-ed10-8c99-92df-ed366a5b5251\",\"e3bebae5-ed10-8c99-92df-ed366a5b5251\",\"2afc6aa5-578f-85da-8014-15b0eebb93c7\"]\n",
	},
	"a branch is cancelled": {
		func(c *script.Context, in string) (any, error) {
			var after error
			b := c.Go(func() error {
				err := c.Sleep("long", time.Hour)
				after = c.Sleep("more", time.Hour)
				return err
			})
			if err := c.Sleep("short", time.Second); err != nil {
				return nil, err
			}
			b.Cancel()
			b.Cancel()
			err := b.Await()
			return fmt.Sprint(err, "; ", after), nil
		},
		"short ; long !cancelled",
		`short (sleep 1s)
long (sleep 1h0m0s)
<- short 
cancel.long (cancel long)
<- long !cancelled
finish (finish) "told so; script: the branch was cancelled"
`,
	},
	"a panic of an error in a deferred function is not lost": {
		func(c *script.Context, in string) (out any, err error) {
			defer func() {
				if x := recover(); x != nil {
					err = fault.Failed.New("script: %v", x)
				}
			}()
			if err := c.Sleep("s", 1); err != nil {
				return nil, err
			}
			panic("caught")
		},
		"s ",
		"s (sleep 1ns)\n<- s \nfail (fail) failed: script: caught\n",
	},
	"random numbers are the run's": {
		func(c *script.Context, in string) (any, error) { return c.Random().IntN(1000), nil },
		"", "finish (finish) 684\n",
	},
	"commands that a script does not begin": {
		func(c *script.Context, in string) (any, error) { return nil, c.Do(polity.Finish(nil), nil) },
		"", "fail (fail) internal: script: a script does not begin a finish: it returns, or calls Future.Cancel\n",
	},
	"an input that is no JSON": {
		func(c *script.Context, in string) (any, error) { return nil, c.Ask("a", "x", func() {}, nil) },
		"", "fail (fail) internal: script: input of a: json: unsupported type: func()\n",
	},
	"branches without end": {
		func(c *script.Context, in string) (any, error) {
			var last *script.Future
			for range script.BranchesMax + 1 {
				last = c.Go(func() error { return c.Sleep("s", 1) })
			}
			return nil, last.Await()
		},
		"", "fail (fail) internal: script: more than 1024 branches at once; begin many commands with Context.Start\n",
	},
	"wait for too many": {
		func(c *script.Context, in string) (any, error) { return nil, c.Wait(1) },
		"", "fail (fail) internal: script: wait for 1 of 0 futures\n",
	},
}

// TestTranscripts plays each script with its coroutine kept, and with the coroutine dropped after every decision.
func TestTranscripts(t *testing.T) {
	for name, tt := range scripts {
		for how, live := range map[string]int{"kept": 1, "dropped": -1} {
			t.Run(name+"/"+how, func(t *testing.T) {
				var events []string
				if tt.events != "" {
					events = strings.Split(tt.events, "; ")
				}
				if diff := cmp.Diff(tt.want, played(t, script.NewPool(live), tt.fn, events...)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// TestBestEffort wants what came with a fault to be had: decoded at a bound, as it is otherwise.
func TestBestEffort(t *testing.T) {
	for kind, want := range map[fault.Kind]string{fault.Exhausted: `7 [7] exhausted`, fault.Failed: `0 [7] failed`} {
		p := newPlay(t, nil, func(c *script.Context, in string) (string, error) {
			var n int
			f := c.Start(polity.Ask("ask", "oracle", "", nil))
			err := f.Decode(&n)
			return fmt.Sprintf("%d [%s] %s", n, f.Data(), fault.Of(err).Kind), nil
		})
		p.open()
		commands := p.tell(polity.Event{Kind: polity.Result, Name: "ask", Data: json.RawMessage(`7`), Fault: &fault.Error{Kind: kind}})
		if got := string(commands[0].Input); got != fmt.Sprintf("%q", want) {
			t.Errorf("%s: %s, want %q", kind, got, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	_, err1 := script.New[string, string]("a", "1", nil, script.Config{})
	_, err2 := script.New("a", "1", func(*script.Context, chan int) (string, error) { return "", nil }, script.Config{})
	_, err3 := script.New("a", "", func(*script.Context, string) (string, error) { return "", nil }, script.Config{})
	for i, err := range []error{err1, err2, err3} {
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// failure is how a decision panics.
func failure(t *testing.T, decide func() []polity.Command) (f *fault.Error) {
	t.Helper()
	defer func() { f, _ = recover().(*fault.Error) }()
	t.Errorf("it decided %v", decide())
	return nil
}

func TestPanics(t *testing.T) {
	for name, tt := range map[string]struct {
		fn   function
		want string
	}{
		"a panic":        {func(*script.Context, string) (any, error) { panic("ouch") }, "script: panic: ouch; at script_test.TestPanics.func"},
		"of the runtime": {func(_ *script.Context, in string) (any, error) { return in[len(in)], nil }, "(script_test.go:"},
		"of a branch": {func(c *script.Context, _ string) (any, error) {
			return nil, c.Parallel(func() error { return c.Sleep("s", 1) }, func() error { panic("ouch") })
		}, "script: panic: ouch"},
		"Goexit": {func(*script.Context, string) (any, error) { runtime.Goexit(); return nil, nil }, "runtime.Goexit"},
		"another goroutine": {func(c *script.Context, in string) (any, error) {
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					if err := c.Ask(c.Name("ask", i), "oracle", in, nil); !errors.Is(err, fault.Internal) {
						t.Errorf("it was not refused: %v", err)
					}
				})
			}
			wg.Wait()
			return "fine", nil
		}, "script: Context.Start was called from another goroutine"},
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			p := newPlay(t, nil, tt.fn)
			f := failure(t, p.open)
			if f == nil || f.Kind != fault.Internal || !strings.Contains(f.Text, tt.want) {
				t.Errorf("it failed with %v", f)
			}
			noMore(t, before)
		})
	}
}

// noMore wants no more goroutines than before, once those that are ending have ended.
func noMore(t *testing.T, before int) {
	t.Helper()
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, and %d before", runtime.NumGoroutine(), before)
}
