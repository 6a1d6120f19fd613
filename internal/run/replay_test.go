package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// byRelease is a catalog of releases, each with programs of its own.
type byRelease map[Digest]programs

func (b byRelease) Program(d Digest, agent string) (*Program, error) {
	p, ok := b[d]
	if !ok {
		return nil, fault.NotFound.New("no release %x", d[:3])
	}
	return p.Program(d, agent)
}

func (b byRelease) Work(d Digest, agent string, verb polity.Verb, to string) (Work, error) {
	return b[d].Work(d, agent, verb, to)
}

// parent asks a child of a number of steps and then calls a tool with what is given.
func parent(input string) decideFunc {
	return func(done int, _ polity.Event) []polity.Command {
		switch done {
		case 0:
			return []polity.Command{polity.Ask("child", "steps", "", json.RawMessage(`{}`))}
		case 1:
			return []polity.Command{polity.Call("tell", "noop", json.RawMessage(input))}
		default:
			return []polity.Command{polity.Finish(json.RawMessage(`{}`))}
		}
	}
}

func household(input string, childSteps int) programs {
	return programs{deciders: map[string]polity.Decider{"parent": parent(input), "steps": steps(childSteps)}}
}

// TestReplay folds runs again that have ended, with the code that they were opened with and with others.
func TestReplay(t *testing.T) {
	one, two, three, four := Digest{1}, Digest{2}, Digest{3}, Digest{4}
	dir := t.TempDir()
	catalog := byRelease{
		one: household(`{"to":"all"}`, 2), two: household(`{"to":"one"}`, 2), three: household(`{"to":"all"}`, 3),
		four: {deciders: map[string]polity.Decider{"parent": parent(`{"to":"all"}`)}},
	}
	n := openNode(t, dir, bus.SyncOS, Config{Catalog: catalog, Do: noop})
	ctx := t.Context()
	for i := range 3 { // more than one, so that the log holds what is not of the run
		if o, err := n.Run(ctx, Request{ID: rootID(i), Release: one, Agent: "parent"}); err != nil || o.Status != polity.StatusCompleted {
			t.Fatalf("%+v %v", o, err)
		}
	}
	id := rootID(1)
	for name, tc := range map[string]struct {
		release Digest
		event   int
		run     polity.RunID
		log     string
		now     string
	}{
		"its own":        {},
		"itself":         {release: one},
		"another input":  {release: two, event: 5, run: id, log: `call tell to noop: {"to":"all"}`, now: `call tell to noop: {"to":"one"}`},
		"one step more":  {release: three, event: 4, run: id.Child("child", 1), log: `finish finish: {"steps":2}`, now: "call step.3 to noop: {}"},
		"no such agent":  {release: four, event: 2, run: id, log: string(id) + "/child of steps is opened", now: `no agent "steps"`},
		"no such parent": {release: Digest{5}, event: 1, run: id, log: string(id) + " of parent is opened", now: "no release 050000"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := n.Replay(ctx, id, tc.release)
			if err != nil {
				t.Fatal(err)
			}
			if tc.event == 0 {
				if got.Difference != nil || got.Events != 7 || got.Commands != 6 || got.Status != polity.StatusCompleted || got.Run != id {
					t.Fatalf("%+v %+v", got, got.Difference)
				}
				return
			}
			d := got.Difference
			if d == nil {
				t.Fatal("no difference")
			}
			if d.Event != tc.event || d.Run != tc.run || d.Log != tc.log || !strings.HasPrefix(d.Now, tc.now) || d.At.IsZero() {
				t.Errorf("%+v", d)
			}
		})
	}
	if _, err := n.Replay(ctx, rootID(9), Digest{}); !errors.Is(err, fault.NotFound) {
		t.Errorf("a run that is not there: %v", err)
	}
	n.close(t)

	// The code has changed under the same release: the log is all that is left of what it decided.
	n = openNode(t, dir, bus.SyncOS, Config{Catalog: byRelease{one: household(`{"to":"none"}`, 2), two: household(`{"to":"all"}`, 2)}, Do: noop})
	defer n.close(t)
	got, err := n.Replay(ctx, id, Digest{})
	if err != nil {
		t.Fatal(err)
	}
	d := got.Difference
	if d == nil || d.Event != 6 || d.Log != `the result of tell: {"ok":true}` || !strings.HasSuffix(d.Now, `; it waits for: call tell to noop: {"to":"none"}`) {
		t.Errorf("%+v", d)
	}
	if got, err = n.Replay(ctx, id, two); err != nil || got.Difference != nil {
		t.Errorf("the code of another release decides what the log has: %+v %v", got.Difference, err)
	}
}

// TestReplayOfRunningRun folds what there is of runs that are in the middle, while they go on.
func TestReplayOfRunningRun(t *testing.T) {
	n := openNode(t, t.TempDir(), bus.SyncOS, Config{Catalog: programs{deciders: map[string]polity.Decider{"many": steps(400)}}, Do: noop})
	defer n.close(t)
	mustOpen(t, n, rootID(1), "many", polity.Bounds{Turns: 1000})
	events := 0
	for {
		got, err := n.Replay(t.Context(), rootID(1), Digest{})
		if err != nil || got.Difference != nil || got.Events < events {
			t.Fatalf("%+v %v", got, err)
		}
		if events = got.Events; got.Status == polity.StatusCompleted {
			break
		}
	}
	got, err := n.Replay(t.Context(), rootID(1), Digest{})
	if err != nil || got.Events != 402 || got.Commands != 401 {
		t.Errorf("%+v %v", got, err)
	}
}

// TestReplayOfEverything folds each run of a simulated world alone, and wants of all what a fold of the whole log decides.
func TestReplayOfEverything(t *testing.T) {
	n := openNode(t, t.TempDir(), bus.SyncOS, Config{Do: noop, Catalog: simCatalog})
	defer n.close(t)
	commands := 0
	for i := range 20 {
		mustOpen(t, n, rootID(i), "branch", simBounds)
	}
	for i := range 20 {
		endOf(t, n, rootID(i))
		got, err := n.Replay(t.Context(), rootID(i), Digest{})
		if err != nil || got.Difference != nil {
			t.Fatalf("%+v %v", got.Difference, err)
		}
		commands += got.Commands
	}
	m := &memory{t: t, blobs: map[Digest]json.RawMessage{}}
	if whole := strings.Count(decisionsOf(t, m, simCatalog, entries(t, n.log)), "\n"); commands != whole {
		t.Errorf("%d commands run by run, %d in the whole", commands, whole)
	}
}

func TestExcerpt(t *testing.T) {
	long := strings.Repeat("ä", 200)
	for name, tc := range map[string]struct {
		text string
		at   int
		want string
	}{
		"short":    {"abc", 0, "abc"},
		"the end":  {"abc", 3, "abc"},
		"a long":   {long, 0, long[:excerptMax] + "…"},
		"far away": {long, 201, fmt.Sprintf("…(byte 160) %s…", long[160:280])},
	} {
		if got := excerpt([]byte(tc.text), tc.at); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}
