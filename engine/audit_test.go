package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"polity.run/agent"
	"polity.run/internal/access"
)

// TestCarried wants the record of whoever changed something in the log of runs to be in the journal once and in order, also if the process ended before it was copied, and the
// record of what changed nothing there as well.
func TestCarried(t *testing.T) {
	state := t.TempDir()
	echo, err := agent.Func("echo", "1", func(_ context.Context, text string) (string, error) { return text, nil })
	if err != nil {
		t.Fatal(err)
	}
	open := func() *Engine {
		t.Helper()
		e, err := Open(t.Context(), Config{State: state, Agents: []*agent.Agent{echo}, Sync: SyncOS})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	start := func(e *Engine, who, seed string) {
		t.Helper()
		ctx, c := e.Carry(t.Context())
		if c == nil {
			t.Fatal("nothing is carried")
		}
		c.Offer(access.Record{Who: who})
		if _, err := e.Start(ctx, Request{Agent: "echo", Input: json.RawMessage(`"x"`), Seed: seed}); err != nil {
			t.Fatal(err)
		}
		if err := c.Keep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wants := func(e *Engine, want []string) {
		t.Helper()
		list, err := e.Audited(t.Context(), 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range list {
			got = append(got, r.Who)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	e := open()
	var want []string
	for i := range 5 {
		who := fmt.Sprint("a", i)
		start(e, who, who)
		want = append(want, who)
	}
	for seq, told := uint64(1), 0; told < len(want); seq++ { // each stands before what it caused
		c, err := e.part.Commit(t.Context(), seq)
		if err != nil {
			t.Fatalf("%d of %d records are in the log: %v", told, len(want), err)
		}
		for i, f := range c.Facts {
			if f.Kind != "audited" {
				continue
			}
			if told++; i+1 == len(c.Facts) || c.Facts[i+1].Kind != "opened" {
				t.Errorf("commit %d: %v", seq, c.Facts)
			}
		}
	}
	wants(e, want)
	start(e, "again", "a0") // the run is there
	want = append(want, "again")
	wants(e, want)
	start(e, "late", "late")
	e.doors.audits.lose()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open()
	want = append(want, "late")
	wants(e, want)
	start(e, "new", "new")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open()
	wants(e, append(want, "new"))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// lose forgets what is owed, as a process does that is killed.
func (a *audits) lose() {
	a.turn.Lock()
	defer a.turn.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.owed, a.size = nil, 0
}
