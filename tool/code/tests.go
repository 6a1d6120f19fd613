package code

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"polity.run"
	"polity.run/tool/files"
)

// What the ratio of test lines to code lines is called.
const (
	ratioGood = 0.5
	ratioPoor = 0.15
	codeSmall = 100 // lines of code below which a ratio says nothing
)

// tests is the tool code.tests.
func tests(ctx context.Context, t *tree, r *report) error {
	s := &census{packages: map[string]*goPackage{}}
	if err := t.sources(ctx, s.take); err != nil {
		return err
	}
	s.judgeRatio(r)
	s.judgePackages(r)
	s.judgeSkips(r)
	s.judgeKinds(r)
	t.judgeCI(r, s)
	t.judgeBuild(r, s)
	if len(s.langs) == 0 {
		r.note(noCode)
	}
	r.summary = s.summary()
	return nil
}

// census is what is known of the tests.
type census struct {
	langs    []*tested // in the order of first sight
	packages map[string]*goPackage
	dirs     []string // of the Go packages, in the order of first sight
	always   hit      // tests that never run
	maybe    hit      // tests that run under a condition
	kinds    [3]hit   // fuzz tests, examples, benchmarks
}

// tested is how one language is tested. Lines are neither blank nor only a comment.
type tested struct {
	lang        *language
	codeLines   int
	testLines   int
	codeFiles   int
	testFiles   []string
	inline      []polity.Evidence // tests that stand beside the code in its own files, as in Rust
	largestCode string
	largest     int
}

func (s *census) language(l *language) *tested {
	for _, t := range s.langs {
		if t.lang == l {
			return t
		}
	}
	t := &tested{lang: l}
	s.langs = append(s.langs, t)
	return t
}

// take counts one file. Examples and fixtures are neither code nor tests.
func (s *census) take(f source) error {
	isTest := f.lang.isTest(f.Path)
	if f.kind == files.Generated || !isTest && inSupport(f.Path) {
		return nil
	}
	if isTest && strings.Contains("/"+f.Path, "/testdata/") {
		return nil
	}
	l, lines := s.language(f.lang), f.lang.codeLines(f.data)
	if isTest {
		l.testLines += lines
		l.testFiles = append(l.testFiles, f.Path)
		s.skips(f)
	} else {
		l.codeLines += lines
		l.codeFiles++
		if lines > l.largest {
			l.largest, l.largestCode = lines, f.Path
		}
		l.rustTests(f)
	}
	if f.lang.name == "Go" {
		s.goFile(f, isTest)
	}
	return nil
}

// rustTests notes unit tests inside the code, as Rust has them.
func (l *tested) rustTests(f source) {
	if f.lang.name != "Rust" {
		return
	}
	for n, line := range files.Lines(f.data) {
		if strings.Contains(line, "#[cfg(test)]") {
			l.inline = append(l.inline, at(f.Path, n, line))
			return
		}
	}
}

// skips finds the skipped tests of a file. Go's are found in its syntax, where a condition shows.
func (s *census) skips(f source) {
	if f.lang.name == "Go" || f.lang.skips == nil {
		return
	}
	for n, line := range files.Lines(f.data) {
		if f.lang.skips.MatchString(line) && !f.lang.isComment(line) {
			s.always.add(f.Path, at(f.Path, n, line))
		}
	}
}

// judgeRatio compares the amount of tests with the amount of code, for each language.
func (s *census) judgeRatio(r *report) {
	for _, l := range s.langs {
		switch {
		case l.codeLines == 0 || l.lang.name == "Shell" && len(s.langs) > 1:
		case len(l.testFiles) == 0 && len(l.inline) == 0:
			l.judgeNone(r)
		case len(l.inline) > 0:
			r.favour(polity.Low, l.inline, "%s of the %s code %s unit tests inside, beside %s of tests.", count(len(l.inline), "file", "files"),
				l.lang.name, verb(len(l.inline), "has", "have"), count(len(l.testFiles), "file", "files"))
		default:
			l.judgeAmount(r)
		}
	}
}

func (l *tested) judgeNone(r *report) {
	w := polity.High
	if l.codeLines < codeSmall || l.lang.name == "Shell" {
		w = polity.Low
	}
	ev := whole(l.largestCode)
	if l.lang.name == "Go" {
		ev = append(ev, missing("**/*_test.go")...)
	}
	r.against(w, ev, "There are no tests of the %s code: %s in %s.", l.lang.name,
		count(l.codeLines, "line", "lines"), count(l.codeFiles, "file", "files"))
}

func (l *tested) judgeAmount(r *report) {
	ratio := float64(l.testLines) / float64(l.codeLines)
	text := fmt.Sprintf("%s: %s of tests in %s for %s of code in %s (ratio %.2f, blank and comment lines not counted).", l.lang.name,
		count(l.testLines, "line", "lines"), count(len(l.testFiles), "file", "files"),
		count(l.codeLines, "line", "lines"), count(l.codeFiles, "file", "files"), ratio)
	ev := whole(l.testFiles[:min(3, len(l.testFiles))]...)
	switch {
	case l.codeLines < codeSmall:
		r.remark(polity.Info, ev, "%s", text)
	case ratio >= ratioGood:
		r.favour(polity.Medium, ev, "%s", text)
	case ratio < ratioPoor:
		r.against(polity.Medium, append(whole(l.largestCode), ev...), "%s", text)
	default:
		r.remark(polity.Low, ev, "%s", text)
	}
}

// judgePackages names the Go packages without tests.
func (s *census) judgePackages(r *report) {
	var with, without []string
	for _, dir := range s.dirs {
		p := s.packages[dir]
		switch {
		case p.tests > 0:
			with = append(with, dir)
		case p.funcs > 0:
			without = append(without, dir)
		}
	}
	all := len(with) + len(without)
	if len(without) == 0 {
		if all > 1 {
			r.favour(polity.Medium, whole(s.packages[with[0]].firstTest), "Each of the %d Go packages that have functions has tests.", all)
		}
		return
	}
	if len(with) == 0 {
		return // judgeNone has said it
	}
	w := polity.Low
	if len(without)*2 > all {
		w = polity.High
	} else if len(without)*4 > all {
		w = polity.Medium
	}
	slices.SortStableFunc(without, func(a, b string) int { return s.packages[b].lines - s.packages[a].lines })
	var ev []polity.Evidence
	for _, dir := range without[:min(len(without), evidenceMax)] {
		ev = append(ev, missing(path.Join(escapeGlob(dir), "*_test.go"))...)
	}
	order := ""
	if len(without) > 1 {
		order = ", the largest first"
	}
	r.against(w, ev, "%d of %d Go packages %s of %s own%s: %s.", len(without), all,
		verb(len(without), "has no tests", "have no tests"), verb(len(without), "its", "their"), order, named(packageNames(without)))
}

// packageNames says folders as a reader would: the top one has no name of its own.
func packageNames(dirs []string) []string {
	names := slices.Clone(dirs)
	for i := range names {
		if names[i] == "." {
			names[i] = "the top folder"
		}
	}
	return names
}

// escapeGlob returns a path as a glob that matches it.
func escapeGlob(p string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p)
}

func (s *census) judgeSkips(r *report) {
	if n := s.always.count; n > 0 {
		w := polity.Low
		if n >= 10 {
			w = polity.Medium
		}
		r.against(w, s.always.ev, "%s skipped whatever happens.", count(n, "test or group of tests is", "tests or groups of tests are"))
	}
	if n := s.maybe.count; n > 0 {
		r.remark(polity.Info, s.maybe.ev, "%s only under a condition.", count(n, "Go test runs", "Go tests run"))
	}
}

// judgeKinds speaks for the kinds of test that find what examples do not.
func (s *census) judgeKinds(r *report) {
	for i, what := range []string{"fuzz test", "runnable example", "benchmark"} {
		if k := s.kinds[i]; k.count > 0 {
			r.favour(polity.Low, k.ev, "The Go tests have %s.", count(k.count, what, what+"s"))
		}
	}
}

// noCode is a report's note where there is nothing to judge.
const noCode = "The folder has no code of a known language."

func (s *census) summary() string {
	code, test, n := 0, 0, 0
	for _, l := range s.langs {
		code, test, n = code+l.codeLines, test+l.testLines, n+len(l.testFiles)
	}
	if code+test == 0 {
		return noCode
	}
	return fmt.Sprintf("%s of tests in %s for %s of code.", count(test, "line", "lines"), count(n, "file", "files"), count(code, "line", "lines"))
}
