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
		if _, ok := all[name]; !ok && name != "hub" { // which has a simulation of its own
			t.Errorf("pattern %s is not played", name)
		}
	}
}
