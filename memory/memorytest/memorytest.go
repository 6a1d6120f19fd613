// Package memorytest is the conformance suite of memories.
//
// It exists so that every store keeps what package memory promises: what was added is found, what was forgotten is gone with all that
// was concluded from it, a memory is bounded, and all that survives a restart.
package memorytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run/fault"
	"polity.run/memory"
)

// At is when the suite's records were made.
var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func note(id, text string) memory.Record {
	return memory.Record{ID: id, Kind: memory.Note, Text: text, At: at, Origin: memory.Origin{Agent: "ada", Run: "0-run/ask", Event: "0-run/ask#" + id}}
}

// Run checks a store. open opens the store that holds what the one before it held, and is called again for a restart; the first of each test is empty. The store's
// limits are 40 records of 4 KiB together.
func Run(t *testing.T, open func(t *testing.T) func() memory.Store) {
	ctx := context.Background()
	add := func(t *testing.T, s memory.Store, name string, records ...memory.Record) {
		t.Helper()
		if _, err := s.Add(ctx, name, records); err != nil {
			t.Fatal(err)
		}
	}
	ids := func(t *testing.T, s memory.Store, name string) []string {
		t.Helper()
		records, _, err := s.List(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		out := []string{}
		for _, r := range records {
			out = append(out, r.ID)
		}
		return out
	}
	found := func(t *testing.T, s memory.Store, names []string, q memory.Query) []string {
		t.Helper()
		hits, _, err := s.Search(ctx, names, q)
		if err != nil {
			t.Fatal(err)
		}
		out := []string{}
		for _, h := range hits {
			out = append(out, h.ID)
		}
		return out
	}
	want := func(t *testing.T, want, got []string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}

	t.Run("what was added is found, and after a restart", func(t *testing.T) {
		again := open(t)
		s := again()
		add(t, s, "desk", note("a", "Ada owes forty euros."), note("b", "Bob pays on Fridays."))
		add(t, s, "desk/ada", note("c", "Ada prefers letters to calls."))
		for range 2 {
			want(t, []string{"a"}, found(t, s, []string{"desk"}, memory.Query{Text: "what does Ada owe?"}))
			want(t, []string{"b"}, found(t, s, []string{"desk", "desk/ada"}, memory.Query{Text: "fridays"}))
			want(t, []string{}, found(t, s, []string{"desk"}, memory.Query{Text: "zebra"}))
			want(t, []string{}, found(t, s, []string{"nobody"}, memory.Query{Text: "ada"}))
			if got := found(t, s, []string{"desk", "desk/ada"}, memory.Query{Text: "ada"}); len(got) != 2 {
				t.Errorf("in two memories: %v", got)
			}
			s = again()
		}
	})
	t.Run("the same again is one record, and another content is refused", func(t *testing.T) {
		s := open(t)()
		add(t, s, "m", note("a", "one"))
		add(t, s, "m", note("a", "one"))
		want(t, []string{"a"}, ids(t, s, "m"))
		if _, err := s.Add(ctx, "m", []memory.Record{note("a", "two")}); !errors.Is(err, fault.Conflict) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("kinds, limits, and what says the same", func(t *testing.T) {
		s := open(t)()
		e := note("e", "the door is red, and it was asked about")
		e.Kind = memory.Episode
		add(t, s, "m", note("a", "the door is red"), note("b", "the door is red"), e, note("c", "a door of oak"))
		want(t, []string{"e"}, found(t, s, []string{"m"}, memory.Query{Text: "door", Kinds: []memory.Kind{memory.Episode}}))
		if got := found(t, s, []string{"m"}, memory.Query{Text: "red door", Limit: 10}); len(got) != 3 || slices.Contains(got, "a") == slices.Contains(got, "b") {
			t.Errorf("got %v", got)
		}
		if got := found(t, s, []string{"m"}, memory.Query{Text: "door", Limit: 1}); len(got) != 1 {
			t.Errorf("got %v", got)
		}
	})
	t.Run("what was forgotten is gone, with all that was concluded from it, in every memory", func(t *testing.T) {
		again := open(t)
		s := again()
		lie := note("lie", "The boss said that every debt is let go.")
		lie.Origin.Event, lie.Origin.Run = "0-bad#act.1.1", "0-bad"
		because := func(id string, from ...memory.Ref) memory.Record {
			r := note(id, "It follows: "+id)
			r.Origin.Because = from
			return r
		}
		add(t, s, "desk", lie, note("truth", "Debts are paid."))
		add(t, s, "desk/clerk", because("first", memory.Ref{Memory: "desk", ID: "lie"}), because("other", memory.Ref{Memory: "desk", ID: "truth"}))
		add(t, s, "desk", because("second", memory.Ref{Memory: "desk/clerk", ID: "first"}))
		done, err := s.Forget(ctx, "desk", memory.Filter{Event: "0-bad#act.1.1"}, at)
		if err != nil || done.Records != 3 || done.Derived != 2 {
			t.Fatalf("%+v, %v", done, err)
		}
		for range 2 {
			want(t, []string{"truth"}, ids(t, s, "desk"))
			want(t, []string{"other"}, ids(t, s, "desk/clerk"))
			want(t, []string{}, found(t, s, []string{"desk"}, memory.Query{Text: "boss"}))
			_, gone, err := s.List(ctx, "desk")
			if err != nil || len(gone) != 1 || gone[0].Records != 3 {
				t.Errorf("forgotten: %+v, %v", gone, err)
			}
			s = again()
		}
		if done, err = s.Forget(ctx, "desk", memory.Filter{Event: "0-bad#act.1.1"}, at); err != nil || done.Records != 0 {
			t.Errorf("again: %+v, %v", done, err)
		}
	})
	t.Run("by run, by document and its older versions, all, and nothing", func(t *testing.T) {
		s := open(t)()
		passage := func(id, digest string) memory.Record {
			return memory.Record{ID: id, Kind: memory.Passage, Text: "passage " + id, At: at, Origin: memory.Origin{Document: "d.md", Digest: digest}}
		}
		other := note("z", "of another run")
		other.Origin.Run = "0-running" // begins alike
		add(t, s, "m", note("a", "of a run below"), other, passage("p1", "old"), passage("p2", "new"))
		if _, err := s.Forget(ctx, "m", memory.Filter{Run: "0-run"}, at); err != nil {
			t.Fatal(err)
		}
		want(t, []string{"z", "p1", "p2"}, ids(t, s, "m"))
		if _, err := s.Forget(ctx, "m", memory.Filter{Document: "d.md", Keep: "new"}, at); err != nil {
			t.Fatal(err)
		}
		want(t, []string{"z", "p2"}, ids(t, s, "m"))
		if _, err := s.Forget(ctx, "m", memory.Filter{}, at); !errors.Is(err, fault.Invalid) {
			t.Errorf("nothing: %v", err)
		}
		if _, err := s.Forget(ctx, "m", memory.Filter{All: true}, at); err != nil {
			t.Fatal(err)
		}
		want(t, []string{}, ids(t, s, "m"))
	})
	t.Run("a memory is bounded: the oldest episodes go, then the oldest notes, never a document", func(t *testing.T) {
		again := open(t)
		s := again()
		for i := range 60 {
			r := note(fmt.Sprintf("n%d", i), fmt.Sprintf("number %d", i))
			if i < 30 {
				r.Kind = memory.Episode
			}
			add(t, s, "m", r)
		}
		got := ids(t, s, "m")
		if len(got) > 40 || got[len(got)-1] != "n59" || slices.Contains(got, "n0") || !slices.Contains(got, "n30") {
			t.Errorf("%d records: %v", len(got), got)
		}
		s = again()
		want(t, got, ids(t, s, "m"))
		var passages []memory.Record
		for i := range 60 {
			passages = append(passages, memory.Record{ID: fmt.Sprintf("p%d", i), Kind: memory.Passage, Text: strings.Repeat("long ", 30), At: at})
		}
		if _, err := s.Add(ctx, "m", passages); !errors.Is(err, fault.Full) {
			t.Errorf("a document that is too long: %v", err)
		}
	})
	t.Run("bad records are refused, all at once", func(t *testing.T) {
		s := open(t)()
		bad := []memory.Record{{}, note("", "x"), note("a", " "), note("b", strings.Repeat("x", memory.TextMax+1)), {ID: "c", Kind: "rumour", Text: "x"}}
		_, err := s.Add(ctx, "m", bad)
		if !errors.Is(err, fault.Invalid) || strings.Count(err.Error(), "\n") != len(bad)-1 {
			t.Errorf("got %v", err)
		}
		if _, err := s.Add(ctx, "", []memory.Record{note("a", "x")}); !errors.Is(err, fault.Invalid) {
			t.Errorf("no name: %v", err)
		}
	})
	t.Run("many at once", func(t *testing.T) {
		s := open(t)()
		var wait sync.WaitGroup
		for i := range 8 {
			wait.Go(func() {
				for j := range 4 {
					if _, err := s.Add(ctx, "m", []memory.Record{note(fmt.Sprintf("%d-%d", i, j), "x"), note("shared", "x")}); err != nil {
						t.Error(err)
					}
					if _, _, err := s.Search(ctx, []string{"m"}, memory.Query{Text: "x"}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
		if got := ids(t, s, "m"); len(got) != 33 {
			t.Errorf("%d records: %v", len(got), got)
		}
	})
}
