package manifest

import (
	"fmt"
	"strings"

	"polity.run/fault"
)

const (
	listedMax = 8  // names that are listed where none is near
	shownMax  = 60 // characters of a manifest's text that a problem repeats
)

// suggest words what could have been meant instead of a name that is not known.
func suggest(name string, known []string) string {
	if near := fault.Nearest(name, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	switch {
	case len(known) == 0:
		return ""
	case len(known) > listedMax:
		return fmt.Sprintf("known are %s and %d more", strings.Join(known[:listedMax], ", "), len(known)-listedMax)
	default:
		return "known: " + strings.Join(known, ", ")
	}
}

// shown quotes text from the manifest, cut to a length that fits a line.
func shown(text string) string {
	if r := []rune(text[:min(len(text), 4*shownMax+4)]); len(r) > shownMax {
		text = string(r[:shownMax]) + "…"
	}
	return fmt.Sprintf("%q", text)
}
