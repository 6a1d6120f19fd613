package engine_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
)

// TestPowerCutOfTrims cuts the power under a node that archives its runs and drops the beginning of its log all the time. Each run that was acknowledged has to be
// known, and what it did to be there or in an archive.
func TestPowerCutOfTrims(t *testing.T) {
	if *powerDir == "" {
		t.Skip("needs -power.dir and root, to mount file systems: .ci/run gives both")
	}
	rng := rand.New(rand.NewPCG(*powerSeed, 6))
	known, gone := 0, 0
	for i := range *powerCuts {
		after := time.Duration(1500+rng.IntN(2500)) * time.Millisecond
		acked, lost := powerCut(t, engine.SyncDisk, after, func(t *testing.T, state string, a acknowledged) []polity.RunID {
			lost, dropped := trimmedAway(t, state, a)
			gone += dropped
			return lost
		}, powerTrims+"=1")
		known += len(acked.opened)
		if len(lost) > 0 {
			t.Fatalf("cut %d (seed %d): %d of %d acknowledged runs are lost, as %s", i+1, *powerSeed, len(lost), len(acked.opened), lost[0])
		}
	}
	t.Logf("%d power cuts; %d runs were acknowledged, %d of them dropped from the log; 0 lost", *powerCuts, known, gone)
	if gone == 0 {
		t.Error("nothing was dropped: this test shows nothing")
	}
}

// trimForPower is what the process does that loses its power.
func trimForPower(t *testing.T, e *engine.Engine) {
	var now polity.Duration
	for {
		if _, err := e.Retain(t.Context(), polity.Retain{OlderThan: &now}, nil); err != nil {
			return
		}
		if _, err := e.Trim(t.Context(), polity.Trim{}, nil); err != nil {
			return
		}
	}
}

// trimmedAway opens a node on what is left, first without what is a cache, and returns the runs that are lost and how many were dropped.
func trimmedAway(t *testing.T, state string, a acknowledged) (lost []polity.RunID, dropped int) {
	found, err := engine.Check(t.Context(), state, nil)
	if err != nil || len(found.Damage) > 0 {
		t.Logf("the state is damaged: %v %+v", err, found.Damage)
		return everything(a), 0
	}
	e, err := engine.Open(t.Context(), engine.Config{State: state, Whole: true, Agents: []*agent.Agent{function(t, "1", double)}})
	if err != nil {
		t.Logf("the state does not open: %v", err)
		return everything(a), 0
	}
	defer stop(t, e)
	for id := range a.opened {
		s, err := e.Find(t.Context(), id)
		if err != nil {
			lost = append(lost, id)
			continue
		}
		o, err := e.Wait(t.Context(), id)
		output, known := a.ended[id]
		switch {
		case errors.Is(err, fault.NotFound) && strings.Contains(err.Error(), "polity archive restore"):
			if dropped++; s.Status != polity.StatusCompleted {
				t.Errorf("%s: %s", id, s.Status)
			}
		case err != nil:
			t.Logf("%s: %v", id, err)
			lost = append(lost, id)
		case o.Status != polity.StatusCompleted, known && string(o.Output) != output:
			t.Errorf("%s ended %s with %s; it was acknowledged with %s", id, o.Status, o.Output, output)
		}
	}
	return lost, dropped
}
