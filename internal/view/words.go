package view

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// words are the words of a text in their order, as SQLite's tokenizer unicode61 takes them: letters and digits, in lower case and without marks.
// PostgreSQL's own parser would make hosts, numbers with signs and the like of them, and both shall find the same.
func words(text string) []string {
	var list []string
	var b strings.Builder
	end := func() {
		if b.Len() > 0 {
			list = append(list, b.String())
			b.Reset()
		}
	}
	for _, r := range decomposed(text) {
		switch {
		case unicode.Is(unicode.Mn, r): // a mark belongs to the letter before it
		case unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.Is(unicode.Co, r):
			if r = unicode.ToLower(r); b.Len()+utf8.RuneLen(r) <= wordMax {
				b.WriteRune(r)
			}
		default:
			end()
		}
	}
	end()
	return list
}

// decomposed has marks as characters of their own.
func decomposed(text string) string {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return norm.NFD.String(text)
		}
	}
	return text
}
