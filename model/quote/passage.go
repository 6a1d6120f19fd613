package quote

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"polity.run/model"
	"polity.run/schema"
)

// passage is a piece of a message that can be quoted.
type passage struct {
	source string
	line   int    // of the message's text, from 1
	key    string // the property whose value it is, where the message is JSON
	text   string
	lower  string // text in lower case
}

// appendPassages cuts a message into passages: the leaves of a JSON object or array, else the lines.
func appendPassages(to []passage, m model.Message) []passage {
	trimmed := strings.TrimSpace(m.Text)
	if strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[") {
		if (*schema.Schema)(nil).Check(json.RawMessage(m.Text)) == nil {
			return appendLeaves(to, m)
		}
	}
	return appendLines(to, passage{source: m.Source, line: 1}, m.Text)
}

// appendLines adds the lines of text, which begins where at says.
func appendLines(to []passage, at passage, text string) []passage {
	for line := range strings.Lines(text) {
		for _, piece := range pieces(unmark(line)) {
			p := at
			p.text, p.lower = piece, strings.ToLower(piece)
			to = append(to, p)
		}
		at.line++
	}
	return to
}

// unmark takes white space and the signs of a list or heading off a line.
func unmark(line string) string {
	line = strings.TrimSpace(strings.ToValidUTF8(line, "\uFFFD"))
	for _, mark := range []string{"- ", "* ", "> ", "# ", "## ", "### "} {
		if rest, ok := strings.CutPrefix(line, mark); ok {
			return strings.TrimSpace(rest)
		}
	}
	return line
}

// pieces cuts a line that is too long for a passage, at the end of a sentence if there is one, else
// at white space, else between two characters. A line without a letter or digit has none.
func pieces(line string) []string {
	if strings.IndexFunc(line, isWordRune) < 0 {
		return nil
	}
	var out []string
	for len(line) > passageMax {
		n := cut(line[:passageMax])
		if piece := strings.TrimSpace(line[:n]); piece != "" {
			out = append(out, piece)
		}
		line = strings.TrimSpace(line[n:])
	}
	if line != "" {
		out = append(out, line)
	}
	return out
}

// cut returns where to cut text, at least 1 and at most its length.
func cut(text string) int {
	for _, end := range []string{". ", "! ", "? ", "; ", " "} {
		if i := strings.LastIndex(text, end); i > 0 {
			return i + len(end)
		}
	}
	n := len(text)
	for n > 1 && !utf8.ValidString(text[:n]) {
		n--
	}
	return n
}

func isWordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// level is an array or object that is being read.
type level struct {
	object  bool
	wantKey bool
	key     string
}

// appendLeaves adds the leaves of a message that is JSON: a text's own lines, and other values with
// their name as they are written. The message must be valid JSON.
func appendLeaves(to []passage, m model.Message) []passage {
	raw := []byte(m.Text)
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	stack := []level{{}}
	begin, line, counted := 0, 1, 0 // of the member being read
	for {
		token, err := dec.Token()
		if err != nil {
			return to // the end: the text was checked before
		}
		top, end := &stack[len(stack)-1], int(dec.InputOffset())
		if top.object && top.wantKey {
			if key, ok := token.(string); ok {
				top.key, top.wantKey, begin = key, false, end-len(`""`)-len(key)
				continue
			}
		}
		line += bytes.Count(raw[counted:end], []byte("\n"))
		counted = end
		switch v := token.(type) {
		case json.Delim:
			if v == '}' || v == ']' {
				stack = stack[:len(stack)-1]
				stack[len(stack)-1].wantKey = true
				continue
			}
			stack = append(stack, level{object: v == '{', wantKey: true, key: top.key})
			continue
		case string:
			for _, p := range appendLines(nil, passage{source: m.Source, key: top.key}, v) {
				p.line = line
				to = append(to, p)
			}
		default:
			text := strings.TrimLeft(string(raw[max(begin, 0):end]), " \t\r\n,[{")
			if top.object && len(text) <= passageMax {
				to = append(to, passage{source: m.Source, line: line, key: top.key, text: text, lower: strings.ToLower(text)})
			}
		}
		top.wantKey = true
	}
}
