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
	for _, r := range text {
		switch {
		case r >= '\u0300' && r <= '\u0331': // a mark belongs to the letter before it
		case unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.Is(unicode.Co, r):
			if r = unicode.ToLower(bare(r)); b.Len()+utf8.RuneLen(r) <= wordMax {
				b.WriteRune(r)
			}
		default:
			end()
		}
	}
	end()
	return list
}

// bare is a Latin letter without its marks, and any other as it is.
func bare(r rune) rune {
	switch {
	case r < utf8.RuneSelf:
		return r
	case r == 'ς': // the same letter at the end of a word
		return 'σ'
	}
	letter, _ := utf8.DecodeRuneInString(norm.NFD.String(string(r)))
	if unicode.Is(unicode.Latin, letter) {
		return letter
	}
	return r
}
