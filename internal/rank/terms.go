package rank

import (
	"strings"
	"unicode"
)

// wordMax is the longest word that counts, in bytes; longer ones (digests, encoded data) are noise.
const wordMax = 64

// Terms splits text into the words that count, in order and with repetitions: runs of letters and
// digits in lower case, without the commonest English words, folded so that a word meets its
// simple forms: a plural -s, -es or -ies, and -ing and -ed with a doubled consonant or a final e lost, are
// cut off, unless the word is too short. Folding is rough on purpose ("needed" and "need" meet,
// "news" becomes "new"): a term is for comparing, never for showing.
func Terms(text string) []string {
	var out []string
	split := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) }
	for word := range strings.FieldsFuncSeq(text, split) {
		if len(word) > wordMax {
			continue
		}
		word = strings.ToLower(word)
		if !stop[word] {
			out = append(out, fold(word))
		}
	}
	return out
}

// fold cuts off an English ending.
func fold(w string) string {
	switch {
	case len(w) > 4 && strings.HasSuffix(w, "ies"):
		w = w[:len(w)-3] + "y"
	case len(w) > 4 && hasAny(w, "sses", "shes", "ches", "xes", "zes"):
		w = w[:len(w)-2]
	case len(w) > 3 && strings.HasSuffix(w, "s") && !hasAny(w, "ss", "us", "is"):
		w = w[:len(w)-1]
	}
	switch {
	case len(w) > 5 && strings.HasSuffix(w, "ing") && hasVowel(w[:len(w)-3]):
		w = undouble(w[:len(w)-3])
	case len(w) > 4 && strings.HasSuffix(w, "ed") && hasVowel(w[:len(w)-2]):
		w = undouble(w[:len(w)-2])
	}
	// A final e is lost before -ing and -ed, so it is dropped everywhere: "cache", "cached", "caching".
	if len(w) > 3 && w[len(w)-1] == 'e' {
		w = w[:len(w)-1]
	}
	return w
}

func hasAny(w string, endings ...string) bool {
	for _, e := range endings {
		if strings.HasSuffix(w, e) {
			return true
		}
	}
	return false
}

func hasVowel(w string) bool { return strings.ContainsAny(w, "aeiouy") }

// undouble undoes the doubling of a final consonant: "plann" becomes "plan", "fall" stays.
func undouble(w string) string {
	n := len(w)
	if n > 2 && w[n-1] == w[n-2] && strings.IndexByte("bdgmnprt", w[n-1]) >= 0 {
		return w[:n-1]
	}
	return w
}

// stop holds the words that stand in every text.
var stop = map[string]bool{
	"a": true, "about": true, "all": true, "an": true, "and": true, "any": true, "are": true, "as": true,
	"at": true, "be": true, "been": true, "but": true, "by": true, "can": true, "could": true, "did": true,
	"do": true, "does": true, "for": true, "from": true, "had": true, "has": true, "have": true, "he": true,
	"her": true, "his": true, "how": true, "i": true, "if": true, "in": true, "into": true, "is": true,
	"it": true, "its": true, "may": true, "more": true, "most": true, "of": true, "on": true, "or": true,
	"our": true, "she": true, "should": true, "so": true, "such": true, "than": true, "that": true,
	"the": true, "their": true, "them": true, "then": true, "there": true, "these": true, "they": true,
	"this": true, "those": true, "to": true, "was": true, "we": true, "were": true, "what": true,
	"when": true, "where": true, "which": true, "who": true, "why": true, "will": true, "with": true,
	"would": true, "you": true, "your": true,
}
