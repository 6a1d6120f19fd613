package run

import (
	"encoding/json"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"polity.run"
	"polity.run/pattern/patterntest"
	"polity.run/script"
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

// TestSimulatedScripts does the same with scripts, whose coroutines are dropped after some decisions or after all.
func TestSimulatedScripts(t *testing.T) {
	seeds := max(*simSeeds/5, 1)
	for name, live := range map[string]int{"kept": script.LiveMax, "some dropped": 2, "all dropped": -1} {
		t.Run(name, func(t *testing.T) {
			var sum simStats
			ended := map[polity.Status]int{}
			for seed := range uint64(seeds) {
				w := newWorld(t, seed+1, false, programs{
					deciders: map[string]polity.Decider{"org": script.Decider(errand, script.Config{Pool: script.NewPool(live)})},
					effects:  map[string]polity.Effect{"ada": polity.EffectIdempotent, "bob": polity.EffectNone, "cyd": polity.EffectExternal},
				})
				w.answers = func(e *simEffect) json.RawMessage { return json.RawMessage(`"` + e.p.key + `"`) }
				w.opens("org", 3)
				w.live()
				sum.crashes += w.stats.crashes
				for _, c := range w.clients {
					ended[c.outcome.Status]++
				}
			}
			t.Logf("%d seeds, %d crashes: runs %v", seeds, sum.crashes, ended)
			if sum.crashes == 0 || ended[polity.StatusCompleted] == 0 {
				t.Error("nothing happened, or nothing was completed")
			}
		})
	}
}

// errand is a script that waits in every way.
func errand(c *script.Context, _ json.RawMessage) (string, error) {
	patient := c.Retry(script.Retry{Attempts: 9, Delay: time.Millisecond})
	err := c.Parallel(
		func() error { return patient.Ask("left", "bob", c.Run(), nil) },
		func() error {
			if err := c.Sleep("rest", time.Duration(1+c.Random().IntN(9))*time.Millisecond); err != nil {
				return err
			}
			return patient.Ask("right", "ada", c.Now(), nil)
		})
	if err != nil {
		return "", err
	}
	a, b := c.Start(polity.Ask("a", "ada", "", nil)), c.Start(polity.Ask("b", "ada", "", nil))
	first, err := c.First(a, b)
	if err != nil {
		return "", err
	}
	if first == a {
		b.Cancel()
	}
	c.Start(polity.Sleep("left.behind", time.Hour)) // cancelled by the end
	return "done", c.Ask("last", "cyd", first == a, nil)
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
