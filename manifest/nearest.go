package manifest

import (
	"fmt"
	"strings"
)

const (
	nearestMax = 64 // characters of a name that suggestions are made for
	listedMax  = 8  // names that are listed where none is near
	shownMax   = 60 // characters of a manifest's text that a problem repeats
)

// nearest returns the known name that a mistyped one is closest to, or "" if none is close: within
// two edits or a third of the name's length, whichever is more, and never all of it. Of equally
// close names the first wins.
func nearest(name string, known []string) string {
	typed := []rune(name)
	if len(typed) > nearestMax {
		return ""
	}
	best, least := "", min(max(2, len(typed)/3), len(typed)-1)+1
	for _, k := range known {
		if d := distance(typed, []rune(k), least); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the edits (insert, delete, replace, swap neighbours) that turn a into b: the
// restricted Damerau-Levenshtein distance. It returns at least limit if the lengths alone differ by that much.
func distance(a, b []rune, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, last, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			next[j] = min(last[j]+1, next[j-1]+1, last[j-1]+differ(a[i-1], b[j-1]))
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, last, next = last, next, before
	}
	return last[len(b)]
}

func differ(a, b rune) int {
	if a == b {
		return 0
	}
	return 1
}

// suggest words what could have been meant instead of a name that is not known.
func suggest(name string, known []string) string {
	if near := nearest(name, known); near != "" {
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
