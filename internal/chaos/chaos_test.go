package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
)

var pastFor = flag.Duration("past.for", 2*time.Second, "how long each seed of the past is run")

// TestMain is the destination and the program of an agent, too: they are processes of their own.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && (os.Args[1] == "destination" || os.Args[1] == "effect") {
		main()
	}
	os.Exit(m.Run())
}

// past are the seeds by which something was found. What is asked and injected is the same each time; when, is not.
var past = []struct {
	name string
	seed uint64
	kind string
}{
	// Package net/http asked an external agent of kind http again by itself, after the service had done it and hung up.
	{"an external effect was done twice", 1, "kill"},
	// A program that was just being made when polity was killed was stopped before its first instruction for ever.
	{"a program outlived the node", 2, "kill,between,leave"},
	// Somebody removed the lock's file: a second process served the same state, and runs that it had acknowledged were lost.
	{"two processes served one state", 6, "takeover"},
	// The files that a release pins were written in another order than they were read in.
	{"a backup could not be restored", 9, "backup,kill"},
	// An external effect that ended as unknown after a crash was not counted as a turn, and so the run did one more than it may.
	{"a run did more than it may", 20261127, "between,stumble"},
	// A service did what it was asked and answered 500, and the run was rolled back before it asked again: the step passed for not done.
	{"what may have been done was not undone", 20261129, "kill,leave"},
}

func TestSeedsOfThePast(t *testing.T) {
	polity := filepath.Join(t.TempDir(), "polity")
	if err := build(polity); err != nil {
		t.Fatal(err)
	}
	for _, p := range past {
		t.Run(strings.ReplaceAll(p.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			broken, err := run(t.Context(), []string{"-seed", fmt.Sprint(p.seed), "-for", pastFor.String(), "-faults", p.kind, "-polity", polity})
			if err != nil || broken {
				t.Errorf("a promise was broken (%v), or it could not be tried: %v", broken, err)
			}
		})
	}
}

// TestScheduleIsTheSeeds draws the same faults from the same seed, others from another, and every kind sooner or later.
func TestScheduleIsTheSeeds(t *testing.T) {
	draw := func(seed uint64, round int) (all []injection) {
		s := newSchedule(seed, round, everyFault)
		for range 100 {
			all = append(all, s.next())
		}
		return all
	}
	first := draw(1, 0)
	if !slices.Equal(first, draw(1, 0)) {
		t.Error("the same seed drew other faults")
	}
	if slices.Equal(first, draw(2, 0)) || slices.Equal(first, draw(1, 1)) {
		t.Error("another seed or round drew the same faults")
	}
	for _, k := range everyFault {
		if !slices.ContainsFunc(first, func(i injection) bool { return i.Kind == k }) {
			t.Errorf("%s was never drawn", k)
		}
	}
}

// TestDestinationCounts asks for effects again and again, as badly as they are answered, until they are.
func TestDestinationCounts(t *testing.T) {
	s := httptest.NewServer(newDestination(7))
	defer s.Close()
	const run = "0-aaaaaaaaaaaaaaaaaaaaaaaa"
	ask := func(class, op, key string) {
		r, err := http.NewRequest(http.MethodPost, s.URL+"/do/"+class+"/"+op, strings.NewReader(`{"token":"`+run+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Close = true // so that it is asked for once
		r.Header.Set("Idempotency-Key", key)
		if a, err := http.DefaultClient.Do(r); err == nil { // else it hung up
			_ = a.Body.Close()
		}
	}
	for range 5 {
		for _, key := range []string{"#one", "#two"} {
			ask("keyed", "pay", run+key)
		}
		ask("idempotent", "put", run+"#put")
		ask("external", "mail", run+"#mail")
	}
	c, err := (&far{url: s.URL}).counts()
	if err != nil {
		t.Fatal(err)
	}
	of := c.Counts[run]
	if got := of["pay"]; got.Asked != 10 || got.Done != 2 {
		t.Errorf("two keys, each five times: %+v", got)
	}
	if got := of["put"]; got.Asked != 5 || got.Done != 1 {
		t.Errorf("five times the same: %+v", got)
	}
	if got := of["mail"]; got.Asked != 5 || got.Done < 3 {
		t.Errorf("five mails, of which at least the last three were sent: %+v", got)
	}
}

// TestWhatIsFound gives the checks what must not be, one thing at a time.
func TestWhatIsFound(t *testing.T) {
	done := func(class string, asked, done int, keys ...string) *count {
		return &count{Class: class, Asked: asked, Done: done, Keys: keys}
	}
	hub := `{"details":{"steps":[{"id":"mailer","status":"ok"},{"id":"post","status":"failed","fault":{"kind":"unknown"}}]}}`
	saga := `{"saga":{"status":"compensated"}}`
	all := map[string]*count{
		"ledger": done("keyed", 2, 1, "k"), "script": done("keyed", 1, 1, "s"), "index": done("idempotent", 1, 1), "mailer": done("external", 1, 1),
	}
	with := func(op string, c *count) map[string]*count {
		out := map[string]*count{}
		for k, v := range all {
			out[k] = v
		}
		out[op] = c
		return out
	}
	sagaOps := func(refund *count) map[string]*count {
		return map[string]*count{
			"seat": done("keyed", 1, 1, "a"), "unseat": done("keyed", 1, 1, "b"), "bank": done("keyed", 1, 1, "c"), "refund": refund, "courier": done("external", 1, 0),
		}
	}
	for name, tt := range map[string]struct {
		kind   string
		status polity.Status
		kindOf fault.Kind
		output string
		ops    map[string]*count
		turns  int
		found  string // "" for nothing
	}{
		"all is well":               {"hub", polity.StatusCompleted, "", hub, all, 0, ""},
		"sent twice":                {"hub", polity.StatusCompleted, "", hub, with("mailer", done("external", 2, 2)), 0, "asked for at most once"},
		"told as sent, and was not": {"hub", polity.StatusCompleted, "", hub, with("mailer", done("external", 1, 0)), 0, "mailer, which succeeded, is done once"},
		"two keys":                  {"hub", polity.StatusCompleted, "", hub, with("ledger", done("keyed", 2, 2, "k", "l")), 0, "has one key"},
		"lost":                      {"hub", polity.StatusCompleted, "", hub, with("script", done("keyed", 0, 0)), 0, "script is done once"},
		"failed":                    {"hub", polity.StatusFailed, fault.Failed, "", all, 0, "it completes"},
		"not at its end":            {"hub", polity.StatusRunning, "", hub, all, 0, "a final status"},
		"failed as denied, not as unknown": {"hub", polity.StatusCompleted, "", `{"details":{"steps":[{"id":"post","status":"failed","fault":{"kind":"denied"}}]}}`, all, 0,
			"succeeds or ends as unknown"},
		"more turns than it has":   {"bounded", polity.StatusExhausted, fault.Exhausted, "", nil, 4, "at most 3 turns"},
		"compensated":              {"saga", polity.StatusFailed, fault.Unknown, saga, sagaOps(done("keyed", 2, 1, "d")), 0, ""},
		"not paid back":            {"saga", polity.StatusFailed, fault.Unknown, saga, sagaOps(done("keyed", 1, 0)), 0, "bank, which was done, is undone once"},
		"partly":                   {"saga", polity.StatusFailed, fault.Unknown, `{"saga":{"status":"partly"}}`, sagaOps(done("keyed", 1, 1, "d")), 0, "it is compensated"},
		"no room, and so not done": {"hub", polity.StatusFailed, fault.Full, `{"why":"write x: no space left on device"}`, with("script", done("keyed", 0, 0)), 0, ""},
		"a fork that acts":         {"fork", polity.StatusCompleted, "", "", all, 0, "a fork does no effect"},
		"another answer":           {"debate", polity.StatusCompleted, "", `{"verdict":{"answer":"B"}}`, nil, 0, "what an undisturbed run answers"},
	} {
		t.Run(name, func(t *testing.T) {
			var found []violation
			o := polity.Outcome{Status: tt.status, Output: json.RawMessage(tt.output), Usage: polity.Usage{Turns: tt.turns}}
			if tt.kindOf != "" {
				o.Fault = fault.Of(tt.kindOf.New("it was so"))
			}
			k := kindByName(tt.kind)
			e := &entry{id: "0-a", kind: k}
			e.request.Bounds = k.bounds
			baseline := map[string]polity.Outcome{"debate": {Status: polity.StatusCompleted, Output: json.RawMessage(`{"verdict":{"answer":"A"}}`)}}
			c := checker{e: e, o: o, ops: tt.ops, baseline: baseline, violate: func(v violation) { found = append(found, v) }}
			c.check()
			if tt.found == "" && len(found) > 0 {
				t.Errorf("found %+v, want nothing", found)
			}
			if tt.found != "" && !slices.ContainsFunc(found, func(v violation) bool { return strings.Contains(v.Expected, tt.found) }) {
				t.Errorf("found %+v, want %q", found, tt.found)
			}
		})
	}
}

func TestFaultsAreKnown(t *testing.T) {
	if _, err := parseFaults("kill,stpo"); err == nil || !strings.Contains(err.Error(), `did you mean "stop"?`) {
		t.Errorf("%v", err)
	}
	if got, err := parseFaults("kill, power"); err != nil || !slices.Equal(got, []string{"kill", "power"}) {
		t.Errorf("%v %v", got, err)
	}
}
