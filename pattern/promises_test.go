package pattern_test

import (
	"maps"
	"slices"
	"testing"

	"polity.run/pattern"
	"polity.run/pattern/patterntest"
)

// TestPatternsKeepTheirPromises plays every pattern with many seeds. What a pattern owes is told in package patterntest.
func TestPatternsKeepTheirPromises(t *testing.T) {
	all := patterntest.Fixtures()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) { patterntest.Run(t, all[name]) })
	}
	for _, name := range pattern.Names() {
		if _, ok := all[name]; !ok && name != "hub" { // which has a simulation of its own
			t.Errorf("pattern %s is not played", name)
		}
	}
}
