package engine_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	scripts "polity.run/script"
)

// sum is a script that has numbers doubled side by side, sleeps, and asks itself for what is left.
func sum(c *scripts.Context, q question) (answer, error) {
	if q.N == 0 {
		return answer{}, nil
	}
	var a, b, rest answer
	err := c.Parallel(
		func() error { return c.Ask("a", "doubler", q, &a) },
		func() error {
			if err := c.Sleep("wait", time.Millisecond); err != nil {
				return err
			}
			return c.Retry(scripts.Retry{Delay: time.Millisecond}).Ask("b", "doubler", q, &b)
		})
	if err != nil {
		return answer{}, err
	}
	err = c.Ask("rest", "sum", question{q.N - 1}, &rest)
	return answer{a.N + b.N + rest.N}, err
}

func scripted(t *testing.T, fn func(*scripts.Context, question) (answer, error)) *agent.Agent {
	t.Helper()
	a, err := scripts.New("sum", "1", fn, scripts.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestScriptGoesOn stops a node again and again in the middle of a script and of those that it asks; nothing is lost, and what was done is not
// done again.
func TestScriptGoesOn(t *testing.T) {
	state := t.TempDir()
	var done atomic.Int32
	hang := make(chan struct{}, 1)
	doubler := func(most int32) *agent.Agent {
		return function(t, "1", func(ctx context.Context, q question) (answer, error) {
			if done.Load() >= most {
				select {
				case hang <- struct{}{}:
				default:
				}
				<-ctx.Done()
				return answer{}, ctx.Err()
			}
			done.Add(1)
			return answer{2 * q.N}, nil
		})
	}
	var id polity.RunID
	for most := range int32(5) {
		e := open(t, state, doubler(most+1), scripted(t, sum))
		if most == 0 {
			var err error
			if id, err = e.Start(t.Context(), engine.Request{Agent: "sum", Input: json.RawMessage(`{"n":3}`)}); err != nil {
				t.Fatal(err)
			}
		}
		<-hang
		stop(t, e)
	}
	e := open(t, state, doubler(1000), scripted(t, sum))
	defer stop(t, e)
	o, err := e.Wait(t.Context(), id)
	if err != nil || o.Status != polity.StatusCompleted || string(o.Output) != `{"n":24}` {
		t.Fatalf("%+v %v", o, err)
	}
	if n := done.Load(); n < 6 || n > 6+5 { // two may have been at work when a node stopped
		t.Errorf("6 questions were answered %d times", n)
	}
}

// slow is a script of two versions: since "2" it doubles twice.
func slow(c *scripts.Context, q question) (answer, error) {
	if err := c.Sleep("first", time.Millisecond); err != nil {
		return answer{}, err
	}
	var a answer
	if err := c.Ask("ask", "doubler", q, &a); err != nil || !c.Since("2") {
		return a, err
	}
	err := c.Ask("again", "doubler", question(a), &a)
	return a, err
}

// TestScriptOfTwoVersions changes the code of a script while a run of it waits: with the older version named, the run goes on as it began, whatever newer
// runs do; without, it is stopped, and not lost.
func TestScriptOfTwoVersions(t *testing.T) {
	state := t.TempDir()
	ready := make(chan struct{})
	doubler := function(t, "1", func(ctx context.Context, q question) (answer, error) {
		select {
		case <-ready:
			return answer{2 * q.N}, nil
		case <-ctx.Done():
			return answer{}, ctx.Err()
		}
	})
	version := func(v string, fn func(*scripts.Context, question) (answer, error), older ...string) *agent.Agent {
		a, err := scripts.New("slow", v, fn, scripts.Config{Older: older})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	request := engine.Request{Agent: "slow", Input: json.RawMessage(`{"n":3}`)}

	e := open(t, state, doubler, version("1", func(c *scripts.Context, q question) (answer, error) { // as slow was
		if err := c.Sleep("first", time.Millisecond); err != nil {
			return answer{}, err
		}
		var a answer
		err := c.Ask("ask", "doubler", q, &a)
		return a, err
	}))
	old, err := e.Start(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	stop(t, e)

	e = open(t, state, doubler, version("2", slow))
	s, err := e.Find(t.Context(), old)
	if err != nil || s.Status != polity.StatusStopped || !strings.Contains(s.Fault.Text, "made with version 1 of slow, and this program has 2") {
		t.Errorf("without the older version: %+v %v", s, err)
	}
	stop(t, e)

	close(ready)
	e = open(t, state, doubler, version("2", slow, "1"))
	defer stop(t, e)
	if o, err := e.Wait(t.Context(), old); err != nil || string(o.Output) != `{"n":6}` {
		t.Errorf("the older run: %+v %v", o, err)
	}
	if o, err := e.Run(t.Context(), request); err != nil || string(o.Output) != `{"n":12}` {
		t.Errorf("a newer run: %+v %v", o, err)
	}
}

// TestScriptMeetsABound wants the fault of a bound to reach the script, and the run to be exhausted with what the script makes of it.
func TestScriptMeetsABound(t *testing.T) {
	e := open(t, t.TempDir(), function(t, "1", double), scripted(t, func(c *scripts.Context, q question) (answer, error) {
		var total answer
		for i := range 10 {
			var a answer
			err := c.Ask(c.Name("ask", i), "doubler", q, &a)
			if fault.Of(err) != nil && fault.Of(err).Kind == fault.Exhausted {
				return total, nil
			}
			if err != nil {
				return total, err
			}
			total.N += a.N
		}
		return total, nil
	}))
	defer stop(t, e)
	o, err := e.Run(t.Context(), engine.Request{Agent: "sum", Input: json.RawMessage(`{"n":1}`), Bounds: polity.Bounds{Turns: 3}})
	if err != nil || o.Status != polity.StatusExhausted || string(o.Output) != `{"n":6}` {
		t.Errorf("%+v %v", o, err)
	}
}
