package code

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"polity.run"
	"polity.run/tool/files"
)

// What is called complex, long and large.
const (
	complexFrom = 15 // branches of a function
	complexVery = 30
	complexTop  = 60
	simpleTo    = 10
	simpleMany  = 30   // functions from which a share says something
	longFrom    = 150  // lines of a function
	largeFrom   = 1000 // lines of a file that are neither blank nor only a comment
	largeVery   = 4000
	churnOften  = 10 // commits of a file
	hotMax      = 10 // functions that get a claim each
)

// functionsMax is how many functions of a folder are judged.
const functionsMax = 200_000

// hotspots is the tool code.hotspots.
func hotspots(ctx context.Context, t *tree, r *report) error {
	past, err := t.history(ctx, r)
	if err != nil {
		return err
	}
	s := &shape{markers: map[string]*hit{"TODO": {}, "FIXME": {}, "HACK": {}, "XXX": {}}}
	if err := t.sources(ctx, s.take); err != nil {
		return err
	}
	slices.SortStableFunc(s.functions, func(a, b function) int {
		return cmp.Compare(heat(b, past), heat(a, past))
	})
	s.judgeComplex(r, past)
	s.judgeSimple(r)
	s.judgeLong(r)
	s.judgeLarge(r)
	s.judgeMarkers(r)
	s.judgeChurn(r, past)
	if len(s.broken) > 0 {
		r.note("%s not parsed as Go: %s.", count(len(s.broken), "file was", "files were"), named(s.broken))
	}
	if len(s.sizes) == 0 {
		r.note(noCode)
	}
	if len(s.functions) == functionsMax {
		r.note("Only the first %d functions were judged.", functionsMax)
	}
	r.summary = s.summary(past)
	return nil
}

// heat orders functions: what is complex and changes often comes first.
func heat(f function, past *history) int { return f.branches * (1 + past.of(f.file).commits) }

// shape is what is known of the code's size and complexity. Tests, examples and generated code have no part in it.
type shape struct {
	functions []function
	sizes     []size
	broken    []string // Go files that do not parse
	markers   map[string]*hit
}

type size struct {
	file  string
	lines int
}

func (s *shape) take(f source) error {
	if f.kind == files.Generated || supporting(f.Path) {
		return nil
	}
	s.sizes = append(s.sizes, size{f.Path, f.lang.codeLines(f.data)})
	markers(f, s.markers)
	found, ok := functions(f)
	if !ok {
		s.broken = append(s.broken, f.Path)
	}
	s.functions = append(s.functions, found[:min(len(found), functionsMax-len(s.functions))]...)
	return nil
}

func (f function) evidence() polity.Evidence {
	return polity.Evidence{File: f.file, Line: f.line, Text: f.text}
}

// measure says a function's complexity in the words of how it was found.
func (f function) measure() string {
	if f.parsed {
		return fmt.Sprintf("cyclomatic complexity %d", f.branches)
	}
	return fmt.Sprintf("about %d branches by a count of keywords", f.branches)
}

// judgeComplex claims the hottest of the complex functions one by one, and the rest together.
func (s *shape) judgeComplex(r *report, past *history) {
	var complex []function
	for _, f := range s.functions {
		if f.branches >= complexFrom {
			complex = append(complex, f)
		}
	}
	for _, f := range complex[:min(len(complex), hotMax)] {
		c := past.of(f.file)
		text := fmt.Sprintf("%s in %s is complex: %s in %s", f.name, f.file, f.measure(), count(f.lines, "line", "lines"))
		if past != nil {
			text += fmt.Sprintf(", and its file changed in %d of the last %s", c.commits, count(past.commits, "commit", "commits"))
		}
		r.against(weigh(f, c), []polity.Evidence{f.evidence()}, "%s.", text)
	}
	if rest := complex[min(len(complex), hotMax):]; len(rest) > 0 {
		r.against(polity.Low, evidenceOfFunctions(rest), "%s more than %d branches as well: %s.",
			count(len(rest), "further function has", "further functions have"), complexFrom-1, named(namesOfFunctions(rest)))
	}
}

// weigh says how much a complex function matters: most if it is changed often.
func weigh(f function, c churn) polity.Severity {
	switch {
	case f.branches >= complexTop && c.commits >= churnOften:
		return polity.High
	case f.branches >= complexTop, f.branches >= complexVery && c.commits >= churnOften:
		return polity.Medium
	default:
		return polity.Low
	}
}

// judgeSimple speaks for code whose functions are nearly all simple.
func (s *shape) judgeSimple(r *report) {
	if len(s.functions) == 0 {
		return
	}
	simple, most := 0, s.functions[0]
	for _, f := range s.functions {
		if f.branches <= simpleTo {
			simple++
		}
		if f.branches > most.branches {
			most = f
		}
	}
	share := 100 * simple / len(s.functions)
	if share < 95 || most.branches >= complexVery {
		return
	}
	w := polity.Medium
	if len(s.functions) < simpleMany {
		w = polity.Low
	}
	r.favour(w, []polity.Evidence{most.evidence()}, "The code is simple: %d%% of %s at most %d branches, and the most complex, %s, has %d.",
		share, count(len(s.functions), "function has", "functions have"), simpleTo, most.name, most.branches)
}

func (s *shape) judgeLong(r *report) {
	var long []function
	for _, f := range s.functions {
		if f.lines >= longFrom {
			long = append(long, f)
		}
	}
	slices.SortStableFunc(long, func(a, b function) int { return cmp.Compare(b.lines, a.lines) })
	if len(long) > 0 {
		r.against(polity.Low, evidenceOfFunctions(long), "%s %d lines or more, the longest %d: %s.",
			count(len(long), "function has", "functions have"), longFrom, long[0].lines, named(namesOfFunctions(long)))
	}
}

func (s *shape) judgeLarge(r *report) {
	var large []size
	for _, f := range s.sizes {
		if f.lines >= largeFrom {
			large = append(large, f)
		}
	}
	if len(large) == 0 {
		return
	}
	slices.SortStableFunc(large, func(a, b size) int { return cmp.Compare(b.lines, a.lines) })
	var names []string
	for _, f := range large {
		names = append(names, fmt.Sprintf("%s (%d)", f.file, f.lines))
	}
	w := polity.Low
	if large[0].lines >= largeVery {
		w = polity.Medium
	}
	var ev []polity.Evidence
	for _, f := range large[:min(len(large), evidenceMax)] {
		ev = append(ev, polity.Evidence{File: f.file})
	}
	r.against(w, ev, "%s %d lines of code or more, which makes them hard to review: %s.",
		count(len(large), "file has", "files have"), largeFrom, named(names))
}

// judgeMarkers counts the words by which authors admit unfinished work.
func (s *shape) judgeMarkers(r *report) {
	if todo := s.markers["TODO"]; todo.count > 0 {
		r.remark(polity.Info, todo.ev, "Comments say TODO in %s.", count(todo.count, "place", "places"))
	}
	fixme, hack, xxx := s.markers["FIXME"], s.markers["HACK"], s.markers["XXX"]
	if n := fixme.count + hack.count + xxx.count; n > 0 {
		r.against(polity.Low, slices.Concat(fixme.ev, hack.ev, xxx.ev), "Comments admit defects or makeshifts in %s (%d FIXME, %d HACK, %d XXX).",
			count(n, "place", "places"), fixme.count, hack.count, xxx.count)
	}
}

// judgeChurn names the code files that change most.
func (s *shape) judgeChurn(r *report, past *history) {
	if past == nil || past.commits < churnOften {
		return
	}
	busy := slices.Clone(s.sizes)
	busy = slices.DeleteFunc(busy, func(f size) bool { return past.of(f.file).commits < churnOften/2 })
	slices.SortStableFunc(busy, func(a, b size) int { return cmp.Compare(past.of(b.file).commits, past.of(a.file).commits) })
	var names []string
	var ev []polity.Evidence
	for _, f := range busy[:min(len(busy), 5)] {
		c := past.of(f.file)
		names = append(names, fmt.Sprintf("%s (%d commits, %d lines)", f.file, c.commits, c.lines))
		ev = append(ev, polity.Evidence{File: f.file})
	}
	if len(names) > 0 {
		r.remark(polity.Info, ev, "Of the code these files change most, counted in the last %s: %s.", count(past.commits, "commit", "commits"), named(names))
	}
}

func (s *shape) summary(past *history) string {
	complex := 0
	for _, f := range s.functions {
		if f.branches >= complexFrom {
			complex++
		}
	}
	text := fmt.Sprintf("%s in %s, %d with %d branches or more.", count(len(s.functions), "function", "functions"),
		count(len(s.sizes), "code file", "code files"), complex, complexFrom)
	if past != nil && past.commits > 0 {
		text += fmt.Sprintf(" %s by %s from %s to %s.", count(past.commits, "commit", "commits"),
			count(len(past.authors), "author", "authors"), day(past.first), day(past.last))
	}
	return text
}

func day(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.DateOnly) }

func evidenceOfFunctions(all []function) []polity.Evidence {
	var ev []polity.Evidence
	for _, f := range all[:min(len(all), evidenceMax)] {
		ev = append(ev, f.evidence())
	}
	return ev
}

func namesOfFunctions(all []function) []string {
	var names []string
	for _, f := range all {
		names = append(names, f.name)
	}
	return names
}

func evidenceOfPlaces(all []place) []polity.Evidence {
	var ev []polity.Evidence
	for _, p := range all[:min(len(all), evidenceMax)] {
		ev = append(ev, at(p.file, p.line, p.text))
	}
	return ev
}
