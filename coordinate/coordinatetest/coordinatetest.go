// Package coordinatetest is the conformance suite of shelves for facts: what package coordinate promises, on any of them.
//
// It exists so that a shelf is trusted with locks only after it was tried: changes on condition, revisions that are never given twice, and the
// same answers to the same calls after a restart.
package coordinatetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run/coordinate"
	"polity.run/fault"
)

// Call returns a caller of the organization o: a run's agent, by a call.
func Call(agent, key string) coordinate.Caller {
	return coordinate.Caller{Org: "o", Run: "0-run", Agent: agent, Key: "0-run#" + key}
}

// Run checks a shelf. open returns the shelf that holds what the one before it held, and is called again for a restart; the first of each test is
// empty.
func Run(t *testing.T, open func(t *testing.T) func() coordinate.Shelf) {
	t.Run("shelf", func(t *testing.T) { shelf(t, open(t)) })
	t.Run("lock", func(t *testing.T) { lock(t, open(t)) })
	t.Run("counter", func(t *testing.T) { counter(t, open(t)) })
	t.Run("value", func(t *testing.T) { value(t, open(t)) })
	t.Run("one of many holds a lock", func(t *testing.T) { many(t, open(t)()) })
	t.Run("organizations do not meet", func(t *testing.T) { apart(t, open(t)()) })
}

func shelf(t *testing.T, again func() coordinate.Shelf) {
	ctx, s := context.Background(), again()
	if value, revision, err := s.Get(ctx, "a.x"); value != nil || revision != 0 || err != nil {
		t.Errorf("nothing: %q at %d, %v", value, revision, err)
	}
	first, err := s.Swap(ctx, "a.x", []byte("one"), 0)
	if err != nil || first == 0 {
		t.Fatalf("%d, %v", first, err)
	}
	if _, err := s.Swap(ctx, "a.x", []byte("no"), 0); !errors.Is(err, fault.Conflict) {
		t.Errorf("it is there already: %v", err)
	}
	second, err := s.Swap(ctx, "a.x", []byte("two"), first)
	if err != nil || second <= first {
		t.Errorf("%d after %d, %v", second, first, err)
	}
	if err := s.Remove(ctx, "a.x", first); err != nil {
		t.Error(err)
	}
	if value, revision, err := s.Get(ctx, "a.x"); string(value) != "two" || revision != second || err != nil {
		t.Errorf("changed since: %q at %d, %v", value, revision, err)
	}
	if err := s.Remove(ctx, "a.x", second); err != nil {
		t.Error(err)
	}
	s = again()
	third, err := s.Swap(ctx, "a.x", []byte("three"), 0)
	if err != nil || third <= second {
		t.Errorf("%d after %d was removed, %v", third, second, err)
	}
	keys, err := s.Keys(ctx, "a.")
	if diff := cmp.Diff([]string{"a.x"}, keys); diff != "" || err != nil {
		t.Errorf("keys (-want +got)\n%s%v", diff, err)
	}
}

func lock(t *testing.T, again func() coordinate.Shelf) {
	ctx, s := context.Background(), coordinate.Open(again())
	acquire := func(agent, key string, want bool) coordinate.Lock {
		t.Helper()
		l, mine, err := s.Acquire(ctx, Call(agent, key), coordinate.KindLock, "door", time.Hour, 0)
		if err != nil || mine != want || !l.Held {
			t.Fatalf("acquire: %+v, %v, %v; want mine %v", l, mine, err, want)
		}
		return l
	}
	release := func(key string, token uint64, want bool) {
		t.Helper()
		if got, err := s.Release(ctx, Call("any", key), coordinate.KindLock, "door", token); got != want || err != nil {
			t.Errorf("release %d: %v, %v; want %v", token, got, err, want)
		}
	}
	first := acquire("ada", "1", true)
	s = coordinate.Open(again())
	if diff := cmp.Diff(first, acquire("ada", "1", true)); diff != "" {
		t.Errorf("the same call after a restart (-want +got)\n%s", diff)
	}
	if l := acquire("bob", "2", false); l.Holder.Agent != "ada" {
		t.Errorf("held by %+v", l.Holder)
	}
	if l := acquire("ada", "3", true); l.Token != first.Token || l.Until.Before(first.Until) || !l.Since.Equal(first.Since) {
		t.Errorf("by its holder: %+v", l)
	}
	if _, mine, err := s.Renew(ctx, Call("ada", "4"), coordinate.KindLock, "door", first.Token+1); mine || err != nil {
		t.Errorf("renewed with a token that is not its own: %v", err)
	}
	if l, mine, err := s.Renew(ctx, Call("ada", "5"), coordinate.KindLock, "door", first.Token); !mine || err != nil || l.Token != first.Token {
		t.Errorf("renew: %+v, %v, %v", l, mine, err)
	}
	stranger := coordinate.Caller{Org: "o", Run: "0-other", Agent: "ada", Key: "0-other#1"}
	if _, err := s.Release(ctx, stranger, coordinate.KindLock, "door", first.Token); !errors.Is(err, fault.Denied) {
		t.Errorf("released by another run: %v", err)
	}
	release("6", first.Token+1, false)
	release("7", first.Token, true)
	second := acquire("bob", "8", true)
	s = coordinate.Open(again())
	release("7", first.Token, true) // the same call
	release("9", first.Token, false)
	broken, err := s.Break(ctx, "o", coordinate.KindLock, "door")
	if err != nil || broken.Held || broken.Token <= second.Token {
		t.Errorf("by force: %+v, %v", broken, err)
	}
	third := acquire("cyd", "10", true)
	if second.Token <= first.Token || third.Token <= broken.Token {
		t.Errorf("tokens do not grow: %d, %d, %d, %d", first.Token, second.Token, broken.Token, third.Token)
	}
	all, err := s.Locks(ctx, "")
	if err != nil || len(all) != 1 || all[0].Holder.Agent != "cyd" {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := s.Break(ctx, "o", coordinate.KindLock, "gate"); !errors.Is(err, fault.NotFound) {
		t.Errorf("no such lock: %v", err)
	}
}

func counter(t *testing.T, again func() coordinate.Shelf) {
	ctx, s := context.Background(), coordinate.Open(again())
	for i := range coordinate.RecentMax {
		if n, err := s.Add(ctx, Call("ada", fmt.Sprint(i)), "seats", 2); n != int64(2*i+2) || err != nil {
			t.Fatalf("%d: %d, %v", i, n, err)
		}
	}
	s = coordinate.Open(again())
	for _, i := range []int{coordinate.RecentMax - 1, 7, 0} { // as a crash repeats it
		if n, err := s.Add(ctx, Call("ada", fmt.Sprint(i)), "seats", 2); n != int64(2*i+2) || err != nil {
			t.Errorf("again %d: %d, %v", i, n, err)
		}
	}
	if n, err := s.Count(ctx, "o", "seats"); n != 2*coordinate.RecentMax || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := s.Count(ctx, "o", "nothing"); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := s.Add(ctx, Call("ada", "far"), "seats", coordinate.CountMax); !errors.Is(err, fault.Invalid) {
		t.Errorf("too far: %v", err)
	}
}

func value(t *testing.T, again func() coordinate.Shelf) {
	ctx, s := context.Background(), coordinate.Open(again())
	agree := func(agent, key, text string, mine bool) {
		t.Helper()
		v, got, err := s.Agree(ctx, Call(agent, key), "colour", json.RawMessage(text))
		if err != nil || got != mine || string(v.Value) != `"red"` || v.Revision != 1 {
			t.Errorf("%s: %+v, mine %v, %v", agent, v, got, err)
		}
	}
	agree("ada", "1", ` "red"`, true)
	agree("bob", "2", `"blue"`, false)
	s = coordinate.Open(again())
	agree("ada", "1", `"red"`, true)
	agree("bob", "2", `"blue"`, false)
	if _, _, err := s.Swap(ctx, Call("bob", "3"), "colour", json.RawMessage(`1`), 1); !errors.Is(err, fault.Denied) {
		t.Errorf("an agreed value: %v", err)
	}
	swap := func(key, text string, revision uint64, want coordinate.Value, done bool) {
		t.Helper()
		want.By = coordinate.Holder{Run: "0-run", Agent: "ada"}
		v, got, err := s.Swap(ctx, Call("ada", key), "phase", json.RawMessage(text), revision)
		if diff := cmp.Diff(want, v); diff != "" || got != done || err != nil {
			t.Errorf("%s: %v, %v (-want +got)\n%s", text, got, err, diff)
		}
	}
	one := coordinate.Value{Value: json.RawMessage(`1`), Revision: 1}
	two := coordinate.Value{Value: json.RawMessage(`2`), Revision: 2}
	swap("4", `1`, 0, one, true)
	swap("5", `9`, 0, one, false)
	swap("6", `2`, 1, two, true)
	s = coordinate.Open(again())
	swap("4", `1`, 0, one, true) // the same call
	if v, err := s.Value(ctx, "o", "phase"); string(v.Value) != `2` || v.Revision != 2 || err != nil {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := s.Value(ctx, "o", "nothing"); v.Value != nil || v.Revision != 0 || err != nil {
		t.Errorf("%+v, %v", v, err)
	}
	if _, _, err := s.Agree(ctx, Call("bob", "7"), "phase", json.RawMessage(`3`)); !errors.Is(err, fault.Conflict) {
		t.Errorf("agreed on what changes: %v", err)
	}
	for _, bad := range []string{"", "{", `"` + strings.Repeat("x", coordinate.ValueMax) + `"`} {
		if _, _, err := s.Agree(ctx, Call("bob", "8"), "bad", json.RawMessage(bad)); !errors.Is(err, fault.Invalid) {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
}

// many has agents of two stores, as of two processes, ask for one lock in turn; whoever has it looks whether it is alone.
func many(t *testing.T, under coordinate.Shelf) {
	const agents, each = 6, 5
	ctx := context.Background()
	stores := []*coordinate.Store{coordinate.Open(under), coordinate.Open(under)}
	var mu sync.Mutex
	inside, tokens := 0, []uint64{}
	var all sync.WaitGroup
	for i := range agents {
		all.Go(func() {
			s, agent := stores[i%2], fmt.Sprint("agent", i)
			for j := 0; j < each; {
				l, mine, err := s.Acquire(ctx, Call(agent, fmt.Sprint(agent, ".", j)), coordinate.KindLeader, "desk", time.Hour, coordinate.WaitMax)
				if err != nil || !mine {
					t.Errorf("%v, %v", mine, err)
					return
				}
				mu.Lock()
				if inside++; inside != 1 {
					t.Error("two hold one lock")
				}
				tokens = append(tokens, l.Token)
				inside--
				mu.Unlock()
				if ok, err := s.Release(ctx, Call(agent, fmt.Sprint(agent, ".done.", j)), coordinate.KindLeader, "desk", l.Token); !ok || err != nil {
					t.Errorf("released %v, %v", ok, err)
				}
				j++
			}
		})
	}
	all.Wait()
	if len(tokens) != agents*each || !slices.IsSorted(tokens) || len(slices.Compact(tokens)) != agents*each {
		t.Errorf("tokens do not grow strictly: %v", tokens)
	}
}

func apart(t *testing.T, under coordinate.Shelf) {
	ctx, s := context.Background(), coordinate.Open(under)
	for _, org := range []string{"o", "o.x", "o/x", "ö *>"} {
		c := coordinate.Caller{Org: org, Run: "0-run", Agent: "ada", Key: org}
		if _, mine, err := s.Acquire(ctx, c, coordinate.KindLock, "x.*", time.Minute, 0); !mine || err != nil {
			t.Errorf("%s: %v, %v", org, mine, err)
		}
		if n, err := s.Add(ctx, c, "x", 1); n != 1 || err != nil {
			t.Errorf("%s: %d, %v", org, n, err)
		}
		if l, err := s.Locks(ctx, org); len(l) != 1 || err != nil || l[0].Org != org || l[0].Name != "x.*" {
			t.Errorf("%s: %+v, %v", org, l, err)
		}
	}
	for _, bad := range []string{"", "a\nb", "\xff", strings.Repeat("x", coordinate.NameMax+1)} {
		if _, err := s.Count(ctx, "o", bad); !errors.Is(err, fault.Invalid) {
			t.Errorf("name %.10q: %v", bad, err)
		}
		if _, err := s.Count(ctx, bad, "x"); !errors.Is(err, fault.Invalid) {
			t.Errorf("organization %.10q: %v", bad, err)
		}
	}
}
