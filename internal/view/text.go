package view

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"polity.run/fault"
)

// textMax is how much of a text is searched, in bytes.
const textMax = 64 << 10

// textOf is what people would search for in a payload and a fault: strings and numbers, without the names of fields.
func textOf(data json.RawMessage, f *fault.Error) string {
	var b strings.Builder
	if f != nil {
		b.WriteString(f.Text)
		b.WriteByte('\n')
	}
	wordsOf(&b, data)
	return b.String()
}

// wordsOf writes the strings and numbers of a JSON text, a line each, until there are textMax bytes. What is no JSON is written as far as it is
// understood.
func wordsOf(b *strings.Builder, data []byte) {
	for i := 0; i < len(data) && b.Len() < textMax; {
		switch c := data[i]; {
		case c == '"':
			end := stringEnd(data, i)
			if next := skipSpace(data, end); next == len(data) || data[next] != ':' {
				writeString(b, data[i:end])
			}
			i = end
		case c == '-' || c >= '0' && c <= '9':
			end := i + 1
			for end < len(data) && strings.IndexByte("0123456789.eE+-", data[end]) >= 0 {
				end++
			}
			b.Write(data[i:end])
			b.WriteByte('\n')
			i = end
		default:
			i++
		}
	}
}

// stringEnd is behind the closing quote of the string that begins at i, or at the end of data.
func stringEnd(data []byte, i int) int {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && strings.IndexByte(" \t\r\n", data[i]) >= 0 {
		i++
	}
	return i
}

// writeString writes a JSON string as its text, or as it is if it is none.
func writeString(b *strings.Builder, quoted []byte) {
	quoted = quoted[:min(len(quoted), textMax-b.Len())]
	var s string
	if bytes.IndexByte(quoted, '\\') < 0 {
		s = strings.Trim(string(quoted), `"`)
	} else if json.Unmarshal(quoted, &s) != nil {
		s = strings.Trim(string(quoted), `"\`)
	}
	b.WriteString(strings.ToValidUTF8(s, ""))
	b.WriteByte('\n')
}

// excerptAround is how many bytes an excerpt shows on each side of a word.
const excerptAround = 60

// excerpt is a line of text around the first of the words, or its beginning.
func excerpt(text string, words []string) string {
	text = strings.Join(strings.Fields(text), " ")
	at, lower := 0, strings.ToLower(text)
	if len(lower) == len(text) { // else places in one are none in the other
		for _, w := range words {
			if i := strings.Index(lower, strings.ToLower(w)); i >= 0 {
				at = i
				break
			}
		}
	}
	from, to := max(0, at-excerptAround), min(len(text), at+2*excerptAround)
	for from > 0 && !utf8.RuneStart(text[from]) {
		from--
	}
	for to < len(text) && !utf8.RuneStart(text[to]) {
		to++
	}
	out := text[from:to]
	if from > 0 {
		out = "…" + out
	}
	if to < len(text) {
		out += "…"
	}
	return out
}
