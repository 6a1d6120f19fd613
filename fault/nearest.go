package fault

// The limits of what is near.
const (
	nearestMax = 128 // characters of a name that suggestions are made for
	beginMin   = 3   // characters of a name that is the beginning of another
	stemMin    = 4   // characters that names share which differ in how they end
	endMax     = 3   // characters of such an end
)

// Nearest returns the known name that a mistyped one probably meant, or "" if none is close: within two
// edits or a third of the name's length, whichever is more; within one edit if it has two or three characters. If
// there is none, a name is close that begins with the typed one or with which that begins, as in "desc" for "description",
// or that differs only in how it ends, as in "retry" for "retries". Of equally close names the first wins.
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
	if best == "" {
		return alike(typed, known)
	}
	return best
}

// alike returns the known name that begins like the typed one and has the fewest characters that it shares not.
func alike(typed []rune, known []string) string {
	best, least := "", nearestMax
	for _, k := range known {
		other := []rune(k)
		n := 0
		for n < len(typed) && n < len(other) && typed[n] == other[n] {
			n++
		}
		rest, more := len(typed)-n, len(other)-n
		begins := n >= beginMin && min(rest, more) == 0
		ends := n >= stemMin && 4*n >= 3*len(typed) && max(rest, more) <= endMax
		if d := rest + more; (begins || ends) && d < least {
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
