package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"polity.run"
	"polity.run/agent"
	"polity.run/coordinate"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/tool"
)

// queuer is a decider that takes a lock, adds to a counter under it, gives it up, and answers with its token and the count.
type queuer struct{}

type queued struct {
	Token    uint64 `json:"token"`
	Value    int64  `json:"value"`
	Released bool   `json:"released"`
}

func (queuer) Decide(state any, e polity.Event) (any, []polity.Command) {
	s, _ := state.(queued)
	if e.Fault != nil {
		return s, []polity.Command{polity.Fail(e.Fault)}
	}
	if e.Kind == polity.Opened {
		return s, []polity.Command{polity.Call("take", "lock.acquire", json.RawMessage(`{"name":"desk","ttl":"1h","wait":"5m"}`))}
	}
	if err := json.Unmarshal(e.Data, &s); err != nil {
		return s, []polity.Command{polity.Fail(fault.Of(err))}
	}
	switch e.Name {
	case "take":
		return s, []polity.Command{polity.Call("count", "counter.add", json.RawMessage(`{"name":"served","by":1}`))}
	case "count":
		return s, []polity.Command{polity.Call("give", "lock.release", json.RawMessage(fmt.Sprintf(`{"name":"desk","token":%d}`, s.Token)))}
	default:
		out, err := json.Marshal(s)
		if err != nil {
			return s, []polity.Command{polity.Fail(fault.Of(err))}
		}
		return s, []polity.Command{polity.Finish(out)}
	}
}

// lost is a tool of which the first answer is lost: it does its work, and the process ends before the log knows.
type lost struct {
	tool.Tool
	once *sync.Once
	done chan json.RawMessage
}

func (l lost) Call(ctx context.Context, c tool.Call) (json.RawMessage, error) {
	out, err := l.Tool.Call(ctx, c)
	l.once.Do(func() {
		l.done <- out
		<-ctx.Done()
	})
	return out, err
}

// TestLockOverACrash has runs compete for a lock, ends the process after a tool did its work and before that is in the log, and
// lets the next process go on: nobody waits for ever, nothing is counted twice, and tokens grow.
func TestLockOverACrash(t *testing.T) {
	const runs = 5
	for _, name := range []string{"lock.acquire", "counter.add", "lock.release"} {
		t.Run(name, func(t *testing.T) {
			cfg := engine.Config{State: t.TempDir(), Sync: engine.SyncOS, Agents: []*agent.Agent{{
				Name: "clerk", Version: "1", Skills: []polity.Skill{{Name: "serve"}}, Decider: queuer{},
			}}}
			crash := cfg
			once, done := new(sync.Once), make(chan json.RawMessage, 1)
			crash.WrapTool = func(x tool.Tool) tool.Tool {
				if x.Spec().Name != name {
					return x
				}
				return lost{x, once, done}
			}
			ctx := context.Background()
			e, err := engine.Open(ctx, crash)
			if err != nil {
				t.Fatal(err)
			}
			var ids []polity.RunID
			for i := range runs {
				id, err := e.Start(ctx, engine.Request{Agent: "clerk", Input: json.RawMessage(fmt.Sprint(i))})
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, id)
			}
			said := <-done
			stop(t, e)

			if e, err = engine.Open(ctx, cfg); err != nil {
				t.Fatal(err)
			}
			defer stop(t, e)
			var all []queued
			for _, id := range ids {
				o, err := e.Wait(ctx, id)
				if err != nil || o.Status != polity.StatusCompleted {
					t.Fatalf("%s: %+v, %v", id, o, err)
				}
				var q queued
				if err := json.Unmarshal(o.Output, &q); err != nil {
					t.Fatal(err)
				}
				all = append(all, q)
			}
			slices.SortFunc(all, func(a, b queued) int { return int(a.Value - b.Value) })
			for i, q := range all {
				if q.Value != int64(i+1) || !q.Released || i > 0 && q.Token <= all[i-1].Token {
					t.Errorf("in the order of the counter: %+v", all)
				}
			}
			var first queued
			if err := json.Unmarshal(said, &first); err != nil {
				t.Fatal(err)
			}
			if name == "lock.acquire" && first.Token != all[0].Token {
				t.Errorf("token %d was given before the crash, and %d after it", first.Token, all[0].Token)
			}
			facts, err := e.Facts(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if l, err := facts.Look(ctx, "go", coordinate.KindLock, "desk"); err != nil || l.Held || l.Token != all[runs-1].Token {
				t.Errorf("at the end: %+v, %v", l, err)
			}
		})
	}
}

// TestCoordinateByHand calls the tools of a node outside of a run.
func TestCoordinateByHand(t *testing.T) {
	e := open(t, t.TempDir())
	defer stop(t, e)
	call := tool.Call{Key: "1", Org: "desk", Input: json.RawMessage(`{"name":"seats","by":2}`)}
	if out, err := e.Coordinate(t.Context(), "counter.add", call); string(out) != `{"value":2}` || err != nil {
		t.Errorf("%s, %v", out, err)
	}
	if _, err := e.Coordinate(t.Context(), "files.read", call); !errors.Is(err, fault.NotFound) {
		t.Errorf("another tool: %v", err)
	}
	call.Input = json.RawMessage(`{"name":"seats"}`)
	if _, err := e.Coordinate(t.Context(), "counter.add", call); !errors.Is(err, fault.Invalid) {
		t.Errorf("bad input: %v", err)
	}
}
