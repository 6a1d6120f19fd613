package door

import (
	"slices"
	"testing"

	"polity.run/fault"
)

func TestStatusesAreComplete(t *testing.T) {
	for _, k := range fault.Kinds() {
		if s := statuses[k]; s < 400 || s > 599 {
			t.Errorf("fault %s has status %d", k, s)
		}
	}
	for k := range statuses {
		if !slices.Contains(fault.Kinds(), k) {
			t.Errorf("status of %q, which is no kind", k)
		}
	}
}
