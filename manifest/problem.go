package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"polity.run/fault"
)

// sourceMax is the most characters of a source line that a problem shows.
const sourceMax = 120

// Problem is one thing that is wrong in a manifest.
type Problem struct {
	File   string // as it was named to Load
	Line   int    // from 1; 0 for the file as a whole
	Column int    // in characters, from 1
	Path   string // the place in the document, as in agents.deps.tools[1]; "" for the whole
	Text   string // what is wrong
	Fix    string // what to do about it, if that is known
	Source string // the line
}

// String returns the problem as three lines: what and where, the source, and a mark below it.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	if p.Fix != "" {
		b.WriteString("; " + p.Fix)
	}
	if p.Line > 0 && strings.TrimSpace(p.Source) != "" {
		p.quote(&b)
	}
	return b.String()
}

// quote shows the part of the source line around the column, with a mark below it. The mark's line
// repeats tabs, so that it stands right however wide they are shown.
func (p Problem) quote(b *strings.Builder) {
	line := []rune(printed(p.Source))
	column := min(max(p.Column-1, 0), len(line))
	from := 0
	if len(line) > sourceMax {
		from = max(0, min(column-sourceMax/2, len(line)-sourceMax))
		line = line[:from+sourceMax]
	}
	pad := slices.Clone(line[from:column])
	for i, r := range pad {
		if r != '\t' {
			pad[i] = ' '
		}
	}
	fmt.Fprintf(b, "\n%5d | %s\n      | %s^", p.Line, strings.TrimRight(string(line[from:]), " \t"), string(pad))
}

// printed replaces what would do something to a terminal, character by character.
func printed(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// Problems are all the things that are wrong in a manifest, in the order of the file. As an error
// they are fault.Invalid.
type Problems []Problem

// Error returns every problem as Problem.String does, one below the other.
func (p Problems) Error() string {
	texts := make([]string, len(p))
	for i := range p {
		texts[i] = p[i].String()
	}
	return strings.Join(texts, "\n")
}

// Unwrap returns fault.Invalid, which makes errors.Is and fault.Of see the kind.
func (p Problems) Unwrap() error { return fault.Invalid }

// place is a position in the file.
type place struct{ line, column int }

// log collects problems and warnings.
type log struct {
	file    string
	lines   []string
	found   []Problem
	odd     []Problem
	dropped int
	doubt   map[string]bool // the paths of what is not as it was meant
	around  map[string]bool // the paths of all that holds something of that
}

func newLog(file string, data []byte) *log {
	return &log{file: file, lines: strings.Split(string(data), "\n"), doubt: map[string]bool{}, around: map[string]bool{}}
}

// full says whether a further problem would not be listed, and counts it if so. Ask before working out
// a text that costs something.
func (l *log) full() bool {
	if len(l.found) < ProblemsMax {
		return false
	}
	l.dropped++
	return true
}

// doubts says whether something at the path, in it or around it is not as it was meant, so that what
// rests on it may be no problem.
func (l *log) doubts(path string) bool {
	if l.around[path] {
		return true
	}
	for ; path != ""; path = outer(path) {
		if l.doubt[path] {
			return true
		}
	}
	return false
}

// unsure puts in doubt what is at the path.
func (l *log) unsure(path string) {
	for l.doubt[path] = true; path != ""; l.around[path] = true {
		path = outer(path)
	}
}

// outer is the path of what holds what is at the path.
func outer(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

func (l *log) add(at place, path, text, fix string) {
	l.unsure(path)
	if l.full() {
		return
	}
	l.found = append(l.found, l.problem(at, path, text, fix))
}

func (l *log) warn(at place, path, text, fix string) {
	if len(l.odd) < ProblemsMax {
		l.odd = append(l.odd, l.problem(at, path, text, fix))
	}
}

func (l *log) problem(at place, path, text, fix string) Problem {
	p := Problem{File: l.file, Line: at.line, Column: at.column, Path: path, Text: printed(text), Fix: printed(fix)}
	if at.line >= 1 && at.line <= len(l.lines) {
		p.Source = l.lines[at.line-1]
	}
	return p
}

// problems returns what was found in the order of the file, or nil.
func (l *log) problems() error {
	if len(l.found) == 0 {
		return nil
	}
	inOrder(l.found)
	if l.dropped > 0 {
		text := fmt.Sprintf("there are more problems; the first %d that were found are listed", len(l.found))
		l.found = append(l.found, Problem{File: l.file, Text: text, Fix: "correct these and try again"})
		l.dropped = 0
	}
	return Problems(l.found)
}

func (l *log) warnings() []Problem {
	inOrder(l.odd)
	return l.odd
}

func inOrder(p []Problem) {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			strings.Compare(a.Path, b.Path), strings.Compare(a.Text, b.Text))
	})
}
