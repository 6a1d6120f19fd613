package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// parse reads the one document of a manifest. It returns nil if there is none that can be looked
// at further; the log says why. What it returns is a tree: no aliases are followed and none is left.
func parse(data []byte, l *log) *yaml.Node {
	if at, text := notText(data); text != "" {
		l.add(at, "", text, "save the file as plain UTF-8 text")
		return nil
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	doc, err := next(d)
	switch {
	case errors.Is(err, io.EOF) || err == nil && isEmpty(doc):
		l.add(place{}, "", "the file is empty", `begin it with "polity: v1"`)
		return nil
	case err != nil:
		l.addSyntax(err)
		return nil
	}
	second, err := next(d)
	switch {
	case err == nil:
		l.add(place{second.Line, second.Column}, "", "a second document begins here", "write one manifest per file and delete the line ---")
		return nil
	case !errors.Is(err, io.EOF):
		l.addSyntax(err)
		return nil
	}
	root := doc.Content[0]
	s := &survey{log: l}
	if s.visit(root); s.beyond {
		return nil
	}
	return root
}

// plainLines takes the byte order mark off a text and ends its lines with a line feed, as YAML does
// with every text, so that lines are counted alike by everybody.
func plainLines(data []byte) []byte {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(data, []byte("\r"), []byte("\n"))
}

func isEmpty(doc *yaml.Node) bool {
	return len(doc.Content) == 0 || doc.Content[0].Kind == yaml.ScalarNode && doc.Content[0].ShortTag() == "!!null"
}

// next returns the next document. A panic of the parser is a defect of it that this text uncovers:
// the text is refused, and nothing of the parser's state is used afterwards.
func next(d *yaml.Decoder) (doc *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			doc, err = nil, fmt.Errorf("yaml: the parser broke on this text: %v", p)
		}
	}()
	doc = new(yaml.Node)
	if err := d.Decode(doc); err != nil {
		return nil, err
	}
	return doc, nil
}

// otherBreaks end a line for the parser and for few others.
const otherBreaks = "\u0085\u2028\u2029"

// notText finds the first character that does not belong into a text file.
func notText(data []byte) (place, string) {
	at := place{1, 1}
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && size == 1:
			return at, fmt.Sprintf("byte 0x%02x is not UTF-8", data[0])
		case r < ' ' && r != '\t' && r != '\n' || r == 0x7f:
			return at, fmt.Sprintf("control character %U is not allowed", r)
		case strings.ContainsRune(otherBreaks, r):
			return at, fmt.Sprintf("line separator %U is not allowed", r)
		}
		at.column++
		if r == '\n' {
			at = place{at.line + 1, 1}
		}
		data = data[size:]
	}
	return place{}, ""
}

var syntaxText = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`)

// addSyntax reports that the text is not YAML.
func (l *log) addSyntax(err error) {
	line, text := 1, err.Error()
	if m := syntaxText.FindStringSubmatch(text); m != nil {
		text = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
		if m[1] != "" && strings.HasPrefix(text, "did not find expected") {
			line++ // the parser proper counts these from 0, unlike the scanner
		}
	}
	if wrongIndent(err) {
		line = l.firstLine(wrongIndent)
	}
	if m := unknownAnchor.FindStringSubmatch(text); m != nil {
		line = l.lineOf("*" + m[1])
	}
	line = min(max(line, 1), len(l.lines))
	if at, ok := l.tab(line); ok {
		l.add(at, "", "a tab indents this line ("+text+")", "indent with spaces")
		return
	}
	source := l.lines[line-1]
	column := utf8.RuneCountInString(source[:len(source)-len(strings.TrimLeft(source, " \t"))]) + 1
	l.add(place{line, column}, "", "this is not YAML: "+text, syntaxFix(text))
}

// wrongIndent says whether the parser met a line that fits into no block. It then names the line where
// the block began.
func wrongIndent(err error) bool {
	text := err.Error()
	return strings.Contains(text, "did not find expected key") || strings.Contains(text, "did not find expected '-'")
}

// firstLine returns the line that causes an error: the last one of the shortest beginning of the
// text that has it.
func (l *log) firstLine(causes func(error) bool) int {
	return 1 + sort.Search(len(l.lines)-1, func(i int) bool {
		d := yaml.NewDecoder(strings.NewReader(strings.Join(l.lines[:i+1], "\n") + "\n"))
		for {
			if _, err := next(d); err != nil {
				return causes(err)
			}
		}
	})
}

var unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)

// lineOf returns the first line that holds the text, or 1.
func (l *log) lineOf(text string) int {
	for i, line := range l.lines {
		if strings.Contains(line, text) {
			return i + 1
		}
	}
	return 1
}

// tab finds a tab in the indentation of the line that the parser stopped at or a neighbour: it
// notices some only in the line after.
func (l *log) tab(line int) (place, bool) {
	for _, n := range []int{line, line - 1, line + 1} {
		if n < 1 || n > len(l.lines) {
			continue
		}
		source := l.lines[n-1]
		indent := source[:len(source)-len(strings.TrimLeft(source, " \t"))]
		if i := strings.IndexByte(indent, '\t'); i >= 0 && len(indent) < len(source) {
			return place{n, i + 1}, true
		}
	}
	return place{}, false
}

// syntaxFix says what most often helps against a message of the parser.
func syntaxFix(text string) string {
	switch {
	case strings.HasPrefix(text, "unknown anchor"):
		return noAliases
	case strings.HasPrefix(text, "mapping values are not allowed"):
		return `a text that holds ": " needs quotes`
	case strings.HasPrefix(text, "could not find expected ':'"):
		return `write "name: value"`
	case strings.HasPrefix(text, "did not find expected key"), strings.HasPrefix(text, "did not find expected '-'"):
		return "indent this line like its neighbours"
	case strings.HasPrefix(text, "did not find expected ','"):
		return "close the bracket that opens here"
	case strings.HasPrefix(text, "found unexpected end of stream"):
		return "close the quote that opens here"
	case strings.HasPrefix(text, "found character that cannot start any token"):
		return "a text that begins with @, ` or % needs quotes"
	default:
		return ""
	}
}

const noAliases = "write the value out where it is needed"

// survey checks what the format asks of any YAML, whatever the names in it mean, and takes keys
// that cannot be used out of the tree.
type survey struct {
	log    *log
	nodes  int
	path   []string
	beyond bool // a limit was exceeded: nothing more is looked at
}

// add reports a problem at a node.
func (s *survey) add(n *yaml.Node, text, fix string) {
	s.log.add(place{n.Line, n.Column}, strings.TrimPrefix(strings.Join(s.path, ""), "."), text, fix)
}

// visit checks a value and those in it.
func (s *survey) visit(n *yaml.Node) {
	s.nodes++
	switch {
	case s.beyond:
		return
	case s.nodes > NodesMax:
		s.beyond = true
		s.add(n, fmt.Sprintf("the manifest has more than %d values", NodesMax), "move schemas to files of their own")
		return
	case len(s.path) > DepthMax:
		s.beyond = true
		s.add(n, fmt.Sprintf("lists and mappings are more than %d deep", DepthMax), "")
		return
	case n.Kind == yaml.AliasNode:
		s.add(n, "aliases are not allowed: *"+clip(n.Value), noAliases)
	case n.Anchor != "":
		s.add(n, "anchors are not allowed: &"+clip(n.Anchor), noAliases)
	case n.Style&yaml.TaggedStyle != 0:
		s.add(n, "tags are not allowed: "+clip(n.Tag), "write the value without it")
	}
	switch n.Kind {
	case yaml.SequenceNode:
		s.items(n)
	case yaml.MappingNode:
		s.fields(n)
	}
}

func (s *survey) items(n *yaml.Node) {
	for i, item := range n.Content {
		s.path = append(s.path, "["+strconv.Itoa(i)+"]")
		s.visit(item)
		s.path = s.path[:len(s.path)-1]
	}
}

func (s *survey) fields(n *yaml.Node) {
	seen := make(map[string]int, len(n.Content)/2)
	kept := n.Content[:0]
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if s.nodes++; !s.key(key) {
			continue
		}
		s.path = append(s.path, keyPath(key.Value))
		if first, ok := seen[key.Value]; ok {
			s.add(key, fmt.Sprintf("this key is already set in line %d", first), "delete one of them")
		} else {
			seen[key.Value] = key.Line
			kept = append(kept, key, val)
		}
		s.visit(val)
		s.path = s.path[:len(s.path)-1]
	}
	n.Content = kept
}

// key checks a key and says whether it is a usable text.
func (s *survey) key(key *yaml.Node) bool {
	switch {
	case key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge":
		s.add(key, "merge keys (<<) are not allowed", noAliases)
	case key.Kind != yaml.ScalarNode || key.Style&yaml.TaggedStyle != 0 || key.Anchor != "":
		s.add(key, "this key is not a plain text", "write a name before the colon")
	case !isText(key):
		s.add(key, "this key is "+describe(key)+", not a text", fmt.Sprintf("write it in quotes: %q", clip(key.Value)))
	case len(key.Value) > KeyMax:
		s.add(key, fmt.Sprintf("this key is longer than %d bytes", KeyMax), "shorten it")
	default:
		return true
	}
	return false
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_$-]+$`)

// keyPath is a key as a part of a path.
func keyPath(key string) string {
	if plainKey.MatchString(key) {
		return "." + key
	}
	return "[" + strconv.Quote(key) + "]"
}
