package quote

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

var (
	numberText = regexp.MustCompile(`^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?`)
	fieldWords = regexp.MustCompile(`\p{Lu}?[\p{Ll}\p{Lo}\p{N}]+|\p{Lu}+`)
)

// statement finds where text says what a field's value is: the field's name, then ':', '=' or "is",
// as in "coverage: 12", "Coverage = 12" and "\"coverage\":12". A name of several words may be
// joined by '_', '-' or a space, whatever the schema joins it by.
type statement struct {
	name  *regexp.Regexp
	first string // the name's first word in lower case
	words string // all its words in lower case, without what joins them
}

func newStatement(field string) statement {
	words := fieldWords.FindAllString(field, -1)
	if len(words) == 0 || len(field) > fieldMax {
		return statement{}
	}
	for i, w := range words {
		words[i] = strings.ToLower(w)
	}
	name := regexp.MustCompile("(?i)(?:^|[^\\pL\\pN_.-])" + strings.Join(words, "[ _-]?") +
		"[\"'`*]*\\s*(?:[:=]|\\sis\\s)\\s*[\"'`*]*")
	return statement{name: name, first: words[0], words: strings.Join(words, "")}
}

// values returns what follows the field's name in p, where p has it.
func (s statement) values(p passage) []string {
	if s.name == nil {
		return nil
	}
	var out []string
	if p.key != "" && strings.ToLower(strings.Join(fieldWords.FindAllString(p.key, -1), "")) == s.words {
		out = append(out, p.text)
	}
	if !strings.Contains(p.lower, s.first) { // cheaper than the expression, which few passages need
		return out
	}
	for _, at := range s.name.FindAllStringIndex(p.text, -1) {
		out = append(out, p.text[at[1]:])
	}
	return out
}

// number reads the number that text begins with and that ends there: "12 files" but not "1.2.3".
func number(text string, whole bool) (json.Number, bool) {
	found := numberText.FindString(text)
	if found == "" || !ends(text[len(found):]) {
		return "", false
	}
	if whole && strings.ContainsAny(found, ".eE") {
		return "", false
	}
	return json.Number(found), true
}

// word says whether text begins with the word, in any case, and the word ends there.
func word(text, want string) bool {
	if len(text) < len(want) || !strings.EqualFold(text[:len(want)], want) {
		return false
	}
	return ends(text[len(want):])
}

// ends says whether a value may end before rest.
func ends(rest string) bool {
	r, n := utf8.DecodeRuneInString(rest)
	if n == 0 {
		return true
	}
	if isWordRune(r) || r == '_' {
		return false
	}
	if strings.ContainsRune(".,-/:+", r) { // the end of a clause, unless the value goes on
		next, _ := utf8.DecodeRuneInString(rest[n:])
		return !isWordRune(next)
	}
	return true
}

// literal reads a value of the type from text that follows a field's name.
func literal(kind, text string) (any, bool) {
	switch kind {
	case "boolean":
		if word(text, "true") {
			return true, true
		}
		return false, word(text, "false")
	case "integer", "number":
		return number(text, kind == "integer")
	default:
		return nil, false
	}
}

// choice returns the value of an enum that text begins with; of several the longest.
func choice(enum []any, text string) (any, bool) {
	var best any
	longest := 0
	for _, v := range enum {
		if w := written(v); w != "" && len(w) > longest && word(text, w) {
			best, longest = v, len(w)
		}
	}
	return best, longest > 0
}

// written is how a value of an enum stands in a text, "" for one that does not.
func written(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		if v {
			return "true"
		}
		return "false"
	default:
		return ""
	}
}

// byScore orders the passages' indexes: best first, equals in the order of the input.
func byScore(scores []float64) []int {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case scores[a] > scores[b]:
			return -1
		case scores[a] < scores[b]:
			return 1
		default:
			return 0
		}
	})
	return order
}
