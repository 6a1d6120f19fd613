package memory

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"polity.run/fault"
)

// Sizes of passages, in bytes.
const (
	passageAim = 1_200 // a passage ends with the paragraph that comes beyond
	passageMax = 2_400 // a longer paragraph is cut, at a line's or a sentence's end where there is one
)

// Passages cuts a document into passages: whole paragraphs, each under the headings that it stands below (those of Markdown), which are
// its title. It returns fault.Invalid for what is no text, is empty or is too long.
func Passages(name string, data []byte, at time.Time) ([]Record, error) {
	switch {
	case name == "" || len(name) > NameMax:
		return nil, fault.Invalid.New("memory: a document's name of %d bytes; want 1 to %d", len(name), NameMax)
	case len(data) > DocumentMax:
		return nil, fault.Invalid.New("memory: document %s: %d bytes; the most is %d", name, len(data), DocumentMax)
	case !utf8.Valid(data) || strings.ContainsRune(string(data), 0):
		return nil, fault.Invalid.New("memory: document %s is no UTF-8 text; convert it first", name)
	}
	sum := sha256.Sum256(data)
	c := chunker{name: name, digest: hex.EncodeToString(sum[:]), at: at}
	for i, line := range strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n") {
		c.line(i+1, line)
	}
	c.flush()
	if len(c.out) == 0 {
		return nil, fault.Invalid.New("memory: document %s holds no text", name)
	}
	return c.out, nil
}

// chunker cuts one document.
type chunker struct {
	name, digest string
	at           time.Time
	headings     []string // by level, from 1
	text         strings.Builder
	first        int // line of the passage; 0 while it is empty
	fence        bool
	out          []Record
}

func (c *chunker) line(n int, line string) {
	if strings.HasPrefix(strings.TrimSpace(line), "```") {
		c.fence = !c.fence
	}
	if level := heading(line); level > 0 && !c.fence {
		c.flush()
		c.headings = append(c.headings[:min(level-1, len(c.headings))], strings.TrimSpace(strings.TrimLeft(line, "#")))
		return
	}
	blank := strings.TrimSpace(line) == ""
	if blank && c.text.Len() >= passageAim {
		c.flush()
		return
	}
	if blank && c.first == 0 {
		return
	}
	for len(line) > passageMax {
		end := cutAt(line, passageMax)
		c.put(n, line[:end])
		line = line[end:]
	}
	c.put(n, line)
}

// put adds a line that fits a passage.
func (c *chunker) put(n int, line string) {
	if c.text.Len()+len(line) > passageMax {
		c.flush()
	}
	if c.first == 0 {
		c.first = n
	}
	c.text.WriteString(line)
	c.text.WriteByte('\n')
}

func (c *chunker) flush() {
	text := strings.TrimSpace(c.text.String())
	line := c.first
	c.text.Reset()
	c.first = 0
	if text == "" {
		return
	}
	title := c.name
	if len(c.headings) > 0 {
		title += ": " + strings.Join(c.headings, " > ")
	}
	if len(title) > TitleMax {
		title = strings.ToValidUTF8(title[:TitleMax], "")
	}
	c.out = append(c.out, Record{
		ID: fmt.Sprintf("%s#%s-%d", shortName(c.name), c.digest[:12], len(c.out)+1), Kind: Passage, Title: title, Text: text, At: c.at,
		Origin: Origin{Document: c.name, Digest: c.digest, Line: line},
	})
}

// shortName leaves room in an ID for the rest.
func shortName(name string) string {
	const most = NameMax - 24
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[len(name)-most:], "")
}

// heading returns the level of a Markdown heading; 0 for any other line.
func heading(line string) int {
	level := len(line) - len(strings.TrimLeft(line, "#"))
	if level < 1 || level > 6 || level == len(line) || line[level] != ' ' {
		return 0
	}
	return level
}

// cutAt returns where to cut a line of more than most bytes: behind a sentence if that is not too early, else behind a word, else anywhere.
func cutAt(line string, most int) int {
	for _, end := range []string{". ", " "} {
		if i := strings.LastIndex(line[:most], end); i > most/2 {
			return i + len(end)
		}
	}
	for !utf8.RuneStart(line[most]) {
		most--
	}
	return most
}
