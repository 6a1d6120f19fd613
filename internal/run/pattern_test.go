package run

import (
	"encoding/json"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"polity.run"
	"polity.run/pattern/patterntest"
)

// TestSimulatedPatterns runs every pattern in the simulated kernel: crashes at any moment, owners that take each other's log, lost and late
// messages. Whatever happens the runs end, nothing is lost or done twice, and the log folds to the same commands again.
func TestSimulatedPatterns(t *testing.T) {
	all, seeds := patterntest.Fixtures(), max(*simSeeds/10, 1)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			var sum simStats
			ended := map[polity.Status]int{}
			for seed := range uint64(seeds) {
				w := patternWorld(t, all[name], seed+1)
				w.live()
				sum.crashes += w.stats.crashes
				sum.takeovers += w.stats.takeovers
				for _, c := range w.clients {
					ended[c.outcome.Status]++
				}
			}
			t.Logf("%d seeds, %d crashes, %d takeovers: runs %v", seeds, sum.crashes, sum.takeovers, ended)
			if sum.crashes == 0 || ended[polity.StatusCompleted] == 0 {
				t.Error("nothing happened, or nothing was completed")
			}
		})
	}
}

// patternWorld is a world in which two clients want runs of a pattern's organization, whose members are functions.
func patternWorld(t *testing.T, p patterntest.Pattern, seed uint64) *world {
	t.Helper()
	decider, members, err := p.Play(seed)
	if err != nil {
		t.Fatal(err)
	}
	catalog := programs{deciders: map[string]polity.Decider{"org": decider}, effects: map[string]polity.Effect{}}
	for _, m := range members {
		catalog.effects[m] = polity.EffectIdempotent
	}
	w := newWorld(t, seed, false, catalog)
	w.answers = func(e *simEffect) json.RawMessage {
		h := fnv.New64a()
		_, _ = h.Write([]byte(polity.EffectKey(e.p.run.id, e.p.cmd.Name, e.p.cmd.Attempt))) // a hash does not fail
		return json.RawMessage(p.Sensible(rand.New(rand.NewPCG(h.Sum64(), 3)), e.p.cmd))
	}
	w.opens("org", 2)
	return w
}
