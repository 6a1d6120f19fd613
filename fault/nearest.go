package fault

// nearestMax is the longest name that suggestions are made for, in characters.
const nearestMax = 128

// Nearest returns the known name that a mistyped one probably meant, or "" if none is close: within two
// edits or a third of the name's length, whichever is more; within one edit if it has two or three characters. Of
// equally close names the first wins.
func Nearest(name string, known []string) string {
	typed := []rune(name)
	if len(typed) > nearestMax {
		return ""
	}
	edits := max(2, len(typed)/3)
	if len(typed) < 4 {
		edits = len(typed) / 2
	}
	best, least := "", edits+1
	for _, k := range known {
		if d := distance(typed, []rune(k), least); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the edits (insert, delete, replace, swap neighbours) that turn a into b: the restricted
// Damerau-Levenshtein distance. It returns limit if the lengths alone differ by that much.
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
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(last[j]+1, next[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, last, next = last, next, before
	}
	return last[len(b)]
}
