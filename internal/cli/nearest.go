package cli

import (
	"fmt"

	"polity.run/fault"
)

// suggest words what could have been meant instead of a name that is not known, or nothing.
func suggest(name string, known []string) string {
	if near := fault.Nearest(name, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}
