package pattern_test

import (
	"flag"
	"maps"
	"slices"
	"testing"

	"polity.run/pattern"
	"polity.run/pattern/patterntest"
)

var patternSeeds = flag.Int("pattern.seeds", 250, "seeds of each pattern")

// TestPatternsKeepTheirPromises plays every pattern with many seeds. What a pattern owes is told in package patterntest.
func TestPatternsKeepTheirPromises(t *testing.T) {
	all := patterntest.Fixtures()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		p := all[name]
		p.Seeds = *patternSeeds
		t.Run(name, func(t *testing.T) { patterntest.Run(t, p) })
	}
	for _, name := range pattern.Names() {
		if _, ok := all[name]; !ok {
			t.Errorf("pattern %s is not played", name)
		}
	}
}

// FuzzPatterns plays patterns with seeds that nobody thought of.
func FuzzPatterns(f *testing.F) {
	all := patterntest.Fixtures()
	names := slices.Sorted(maps.Keys(all))
	for i := range names {
		f.Add(uint8(i), uint64(i))
	}
	f.Fuzz(func(t *testing.T, which uint8, seed uint64) {
		patterntest.Once(t, all[names[int(which)%len(names)]], seed)
	})
}

// TestPatternsKeepTheirPromisesHere plays seeds that once found a mistake.
func TestPatternsKeepTheirPromisesHere(t *testing.T) {
	for _, c := range []struct {
		pattern, found string
		seed           uint64
	}{
		{"hierarchy below", "the wait after a second attempt was named like the wait after a question whose name ends with 2", 789},
	} {
		t.Run(c.found, func(t *testing.T) { patterntest.Once(t, patterntest.Fixtures()[c.pattern], c.seed) })
	}
}
