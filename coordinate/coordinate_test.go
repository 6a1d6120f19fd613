package coordinate_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"polity.run/coordinate"
	"polity.run/coordinate/coordinatetest"
	"polity.run/fault"
	"polity.run/internal/bus"
)

var call = coordinatetest.Call

func TestMemory(t *testing.T) {
	coordinatetest.Run(t, func(*testing.T) func() coordinate.Shelf {
		s := &coordinatetest.Shelf{}
		return func() coordinate.Shelf { return s }
	})
}

// TestLostAcknowledgements has every other change of a shelf end without an answer.
func TestLostAcknowledgements(t *testing.T) {
	coordinatetest.Run(t, func(t *testing.T) func() coordinate.Shelf {
		if t.Name() == "TestLostAcknowledgements/shelf" { // whose own answers are tried there
			s := &coordinatetest.Shelf{}
			return func() coordinate.Shelf { return s }
		}
		n := 0
		s := &coordinatetest.Shelf{Lose: func() bool { n++; return n%2 == 1 }}
		return func() coordinate.Shelf { return s }
	})
}

func TestJetStream(t *testing.T) {
	coordinatetest.Run(t, func(t *testing.T) func() coordinate.Shelf {
		dir := t.TempDir()
		var b *bus.Bus
		t.Cleanup(func() { b.Close() })
		return func() coordinate.Shelf {
			if b != nil {
				b.Close()
			}
			var err error
			if b, err = bus.Open(context.Background(), bus.Config{Dir: dir, Sync: bus.SyncOS}); err != nil {
				t.Fatal(err)
			}
			k, err := b.Bucket(context.Background(), "coordinate")
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
	})
}

// TestLeasesEnd looks at locks over hours.
func TestLeasesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := t.Context(), coordinate.Open(&coordinatetest.Shelf{})
		acquire := func(agent, key string, wait time.Duration) (coordinate.Lock, bool) {
			t.Helper()
			l, mine, err := s.Acquire(ctx, call(agent, key), coordinate.KindLock, "door", time.Minute, wait)
			if err != nil {
				t.Fatal(err)
			}
			return l, mine
		}
		first, mine := acquire("ada", "1", 0)
		if !mine || first.Until.Sub(first.Since) != time.Minute {
			t.Fatalf("%+v", first)
		}
		time.Sleep(40 * time.Second)
		if l, mine, err := s.Renew(ctx, call("ada", "2"), coordinate.KindLock, "door", first.Token); !mine || err != nil || time.Until(l.Until) != time.Minute {
			t.Errorf("renewed: %+v, %v, %v", l, mine, err)
		}
		if l, mine := acquire("bob", "3", 59*time.Second); mine || l.Holder.Agent != "ada" {
			t.Errorf("waited for too short: %+v", l)
		}
		second, mine := acquire("bob", "4", 2*time.Second)
		if !mine || second.Token <= first.Token {
			t.Errorf("waited for: %+v", second)
		}
		if _, mine, err := s.Renew(ctx, call("ada", "5"), coordinate.KindLock, "door", first.Token); mine || err != nil {
			t.Errorf("renewed after its end: %v", err)
		}
		time.Sleep(time.Minute)
		if _, mine, err := s.Renew(ctx, call("bob", "6"), coordinate.KindLock, "door", second.Token); mine || err != nil {
			t.Errorf("renewed after its end, taken by nobody: %v", err)
		}
		if released, err := s.Release(ctx, call("bob", "7"), coordinate.KindLock, "door", second.Token); released || err != nil {
			t.Errorf("released after its end: %v", err)
		}
		if third, mine := acquire("bob", "4", 0); !mine || third.Token <= second.Token { // the same call, and its lease is over
			t.Errorf("asked again: %+v", third)
		}
		short, end := context.WithTimeout(ctx, time.Second)
		defer end()
		if _, _, err := s.Acquire(short, call("ada", "8"), coordinate.KindLock, "door", time.Minute, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller went away: %v", err)
		}
		for _, bad := range [][2]time.Duration{{0, 0}, {25 * time.Hour, 0}, {time.Minute, -1}, {time.Minute, time.Hour}} {
			if _, _, err := s.Acquire(ctx, call("ada", "9"), coordinate.KindLock, "door", bad[0], bad[1]); !errors.Is(err, fault.Invalid) {
				t.Errorf("%v: %v", bad, err)
			}
		}
	})
}

// TestNamesAreBounded fills an organization with locks: what nobody has held for a day makes room.
func TestNamesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := t.Context(), coordinate.Open(&coordinatetest.Shelf{})
		acquire := func(name string) (coordinate.Lock, error) {
			l, _, err := s.Acquire(ctx, call("ada", name), coordinate.KindLock, name, time.Minute, 0)
			return l, err
		}
		var last coordinate.Lock
		for i := range coordinate.FactsMax {
			l, err := acquire(fmt.Sprint("door", i))
			if err != nil {
				t.Fatal(err)
			}
			last = l
		}
		if _, err := acquire("one more"); !errors.Is(err, fault.Full) {
			t.Errorf("got %v", err)
		}
		if _, err := s.Add(ctx, call("ada", "n"), "n", 1); !errors.Is(err, fault.Full) {
			t.Errorf("got %v", err)
		}
		if _, err := s.Add(ctx, coordinate.Caller{Org: "p", Key: "n"}, "n", 1); err != nil {
			t.Errorf("another organization: %v", err)
		}
		time.Sleep(25 * time.Hour)
		if _, err := acquire("one more"); err != nil {
			t.Error(err)
		}
		if l, err := acquire("door7"); err != nil || l.Token <= last.Token {
			t.Errorf("a lock that was forgotten: %+v after %d, %v", l, last.Token, err)
		}
	})
}

// step is a call of a history, and what came of it.
type step struct {
	do, agent string
	token     uint64
	ok        bool
	holder    string
	count     int64
}

// lockState is a lock as porcupine follows it.
type lockState struct {
	holder       string
	token, great uint64
}

var lockModel = porcupine.Model{
	Init: func() any { return lockState{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(lockState), input.(step), output.(step)
		switch {
		case in.do == "acquire" && !out.ok:
			return s.holder != "" && s.holder != in.agent && s.holder == out.holder, s
		case in.do == "acquire" && s.holder == in.agent:
			return out.token == s.token, s
		case in.do == "acquire":
			return s.holder == "" && out.token > s.great, lockState{in.agent, out.token, out.token}
		case !out.ok: // release
			return s.holder == "" || s.token != in.token, s
		default:
			return s.holder != "" && s.token == in.token, lockState{"", 0, s.great}
		}
	},
}

var counterModel = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		n := state.(int64) + input.(step).count
		return n == output.(step).count, n
	},
}

// history has agents do something at the same time through stores of their own, on a shelf that loses every third acknowledgement.
func history(t *testing.T, do func(s *coordinate.Store, agent string, n int, before step) (in, out step, err error)) []porcupine.Operation {
	t.Helper()
	const agents, each = 6, 40
	lost := rand.New(rand.NewPCG(1, 2))
	under := &coordinatetest.Shelf{Lose: func() bool { return lost.IntN(3) == 0 }}
	begin := time.Now()
	var mu sync.Mutex
	var ops []porcupine.Operation
	var all sync.WaitGroup
	for i := range agents {
		all.Go(func() {
			s, agent := coordinate.Open(under), fmt.Sprint("agent", i)
			var before step
			for n := range each {
				called := time.Since(begin)
				in, out, err := do(s, agent, n, before)
				if err != nil {
					t.Error(err)
					return
				}
				before = out
				mu.Lock()
				ops = append(ops, porcupine.Operation{ClientId: i, Input: in, Call: int64(called), Output: out, Return: int64(time.Since(begin))})
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return ops
}

func TestLockIsLinearizable(t *testing.T) {
	ops := history(t, func(s *coordinate.Store, agent string, n int, before step) (in, out step, err error) {
		c := call(agent, fmt.Sprint(agent, n))
		if before.do == "acquire" && before.ok {
			in = step{do: "release", agent: agent, token: before.token}
			out.ok, err = s.Release(context.Background(), c, coordinate.KindLock, "door", in.token)
			return in, out, err
		}
		in = step{do: "acquire", agent: agent}
		l, mine, err := s.Acquire(context.Background(), c, coordinate.KindLock, "door", time.Hour, 0)
		return in, step{do: "acquire", ok: mine, token: l.Token, holder: l.Holder.Agent}, err
	})
	if !porcupine.CheckOperations(lockModel, ops) {
		t.Error("the lock's history cannot be put into an order")
	}
	ops[len(ops)/2].Output = step{do: "acquire", ok: true, token: 1 << 60} // the check finds what is wrong
	ops[len(ops)/2].Input = step{do: "acquire", agent: "nobody"}
	if porcupine.CheckOperations(lockModel, ops) {
		t.Error("a history that is wrong passes")
	}
}

func TestCounterIsLinearizable(t *testing.T) {
	ops := history(t, func(s *coordinate.Store, agent string, n int, _ step) (in, out step, err error) {
		if n%4 == 3 {
			out.count, err = s.Count(context.Background(), "o", "seats")
			return step{}, out, err
		}
		in.count = int64(n%3 - 1)
		out.count, err = s.Add(context.Background(), call(agent, fmt.Sprint(agent, n)), "seats", in.count)
		return in, out, err
	})
	if !porcupine.CheckOperations(counterModel, ops) {
		t.Error("the counter's history cannot be put into an order")
	}
	ops[0].Output = step{count: 1 << 40}
	if porcupine.CheckOperations(counterModel, ops) {
		t.Error("a history that is wrong passes")
	}
}

// BenchmarkJetStream measures changes on the node's store: from the call until they are safe.
func BenchmarkJetStream(b *testing.B) {
	for _, sync := range []bus.Sync{bus.SyncOS, bus.SyncDisk} {
		server, err := bus.Open(b.Context(), bus.Config{Dir: b.TempDir(), Sync: sync})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(server.Close)
		k, err := server.Bucket(b.Context(), "coordinate")
		if err != nil {
			b.Fatal(err)
		}
		s, n := coordinate.Open(k), 0
		b.Run("add/"+string(sync), func(b *testing.B) {
			for b.Loop() {
				n++
				if _, err := s.Add(b.Context(), call("ada", fmt.Sprint(n)), "seats", 1); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("acquire and release/"+string(sync), func(b *testing.B) {
			for b.Loop() {
				n++
				l, mine, err := s.Acquire(b.Context(), call("ada", fmt.Sprint(n)), coordinate.KindLock, "door", time.Minute, 0)
				if err != nil || !mine {
					b.Fatal(mine, err)
				}
				if _, err := s.Release(b.Context(), call("ada", fmt.Sprint(n, "done")), coordinate.KindLock, "door", l.Token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
