package files

import (
	"bytes"
	"iter"
	"strings"
	"unicode/utf8"
)

// QuoteMax is the longest quotation, in bytes.
const QuoteMax = 240

// Quote returns a line in the form that evidence has: what is not UTF-8 replaced, without surrounding
// white space, cut at a rune's border so that it is at most QuoteMax bytes.
func Quote(line string) string { return Cut(plain(line), QuoteMax) }

// plain is a whole line in the form of evidence.
func plain(line string) string {
	return strings.TrimSpace(strings.ToValidUTF8(line, "\uFFFD"))
}

// Cut returns the longest prefix of s of at most limit bytes that ends at a rune's border, without
// white space at its end.
func Cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return strings.TrimSpace(s[:limit])
}

// Lines gives each line of data with its number, from 1, without its line end. A file's last line end begins
// no further line. It is the one way of counting lines, so that every tool and every citation
// means the same line.
func Lines(data []byte) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for n := 1; len(data) > 0; n++ {
			line, rest, _ := bytes.Cut(data, []byte{'\n'})
			if !yield(n, strings.TrimSuffix(string(line), "\r")) {
				return
			}
			data = rest
		}
	}
}
