package code

import (
	"context"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"polity.run"
	"polity.run/tool/files"
)

// The limits of what is searched and kept.
const (
	leaksMax  = 30      // secrets that get a claim each
	binaryBig = 1 << 20 // bytes from which a binary file is called large
)

// risks is the tool code.risks.
func risks(ctx context.Context, t *tree, r *report) error {
	s := &search{minor: map[string]*hit{}, hits: make([]hit, len(rules)), aside: make([]hit, len(rules))}
	for _, f := range t.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.take(f, r)
	}
	s.judgeSecrets(r)
	t.judgeEnv(s, r)
	s.judgeRules(r)
	s.judgeBinaries(r)
	r.summary = fmt.Sprintf("%s searched for %d forms of secrets and %d dangerous patterns: %s and %s.",
		count(s.read, "text file was", "text files were"), len(secretPatterns)+2+len(secretFiles), len(rules),
		count(s.secrets, "possible secret", "possible secrets"), count(s.count(), "dangerous line", "dangerous lines"))
	return nil
}

// search is what was found.
type search struct {
	read     int
	secrets  int
	leaks    []finding       // the first ones in code and settings
	further  hit             // the others there
	minor    map[string]*hit // in tests, examples and documents, by what they are
	envs     []string
	hits     []hit // for each rule
	aside    []hit // for each rule, in tests and examples
	programs []string
	big      []string
}

// finding is a secret with where it is.
type finding struct {
	leak
	evidence polity.Evidence
}

func (s *search) count() int {
	n := 0
	for i := range s.hits {
		n += s.hits[i].count + s.aside[i].count
	}
	return n
}

func (s *search) found(name string, l leak, ev polity.Evidence) {
	s.secrets++
	switch {
	case supporting(name) || isDocument(name):
		if s.minor[l.what] == nil {
			s.minor[l.what] = &hit{}
		}
		s.minor[l.what].add(name, ev)
	case len(s.leaks) < leaksMax:
		s.leaks = append(s.leaks, finding{l, ev})
	default:
		s.further.add(name, ev)
	}
}

// take searches one file.
func (s *search) take(f *files.File, r *report) {
	for _, k := range secretFiles {
		if f.Size > 0 && k.re.MatchString(f.Path) {
			s.found(f.Path, leak{k.what, polity.High}, polity.Evidence{File: f.Path})
		}
	}
	data, kind := f.Read()
	switch kind {
	case files.Binary:
		s.binary(f)
		return
	case files.Text, files.Generated, files.Minified:
	default:
		return
	}
	s.read++
	lines := linesOf(data)
	if isEnv(f.Path) {
		s.envs = append(s.envs, f.Path)
	}
	s.takeSecrets(f.Path, lines, kind)
	if kind == files.Text {
		s.takeRules(f.Path, lines)
		if isDockerfile(f.Path) {
			judgeDockerfile(f.Path, lines, r)
		}
	}
}

// binary notes a binary file that nobody can review.
func (s *search) binary(f *files.File) {
	ext := strings.ToLower(path.Ext(f.Path))
	switch {
	case supporting(f.Path):
	case compiledExt[ext] || f.Mode&0o111 != 0 && ext == "":
		s.programs = append(s.programs, f.Path)
	case f.Size >= binaryBig:
		s.big = append(s.big, fmt.Sprintf("%s (%.1f MiB)", f.Path, float64(f.Size)/(1<<20)))
	}
}

var compiledExt = map[string]bool{".exe": true, ".dll": true, ".so": true, ".dylib": true, ".jar": true, ".war": true, ".class": true, ".a": true, ".o": true, ".lib": true, ".wasm": true, ".pyc": true}

// takeSecrets searches for secrets. In minified and generated files only the exact forms count.
func (s *search) takeSecrets(name string, lines lines, kind files.Kind) {
	settings := isSettings(name)
	for i, line := range lines {
		if shown, encrypted, ok := lines.holdsKey(i); ok {
			l := leak{"a private key", polity.Critical}
			if encrypted {
				l = leak{"an encrypted private key", polity.Medium}
			}
			s.found(name, l, polity.Evidence{File: name, Line: i + 1, Text: files.Quote(shown)})
			continue
		}
		if found, shown := leaks(line, settings); len(found) > 0 {
			if kind != files.Text && (found[0].what == unquoted.what || strings.Contains(found[0].what, "looks like")) {
				continue
			}
			s.found(name, found[0], polity.Evidence{File: name, Line: i + 1, Text: files.Quote(shown)})
		}
	}
}

// takeRules searches for dangerous lines. A line that is only a comment is none.
func (s *search) takeRules(name string, lines lines) {
	var active []int
	for i := range rules {
		if rules[i].applies(name) {
			active = append(active, i)
		}
	}
	if len(active) == 0 {
		return
	}
	lang, to := languageOf(name), s.hits
	if supporting(name) {
		to = s.aside
	}
	for n, line := range lines {
		if lang != nil && lang.isComment(line) || lang == nil && strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		head := line[:min(len(line), lineMax)]
		low := strings.ToLower(head)
		for _, i := range active {
			if rules[i].holds(head, low) {
				to[i].add(name, at(name, n+1, line))
			}
		}
	}
}

// documentExt are the extensions of texts for people.
var documentExt = map[string]bool{".md": true, ".markdown": true, ".rst": true, ".adoc": true, ".txt": true, ".html": true}

// isDocument says whether a file is a text for people. A requirements.txt is none.
func isDocument(name string) bool {
	return documentExt[strings.ToLower(path.Ext(name))] && ecosystemOf(name) == nil
}

// judgeSecrets claims secrets one by one, and those of tests and documents by their kind.
func (s *search) judgeSecrets(r *report) {
	for _, f := range s.leaks {
		r.against(f.severity, []polity.Evidence{f.evidence}, "%s holds %s%s.", f.evidence.File, f.what, onLine(f.evidence.Line))
	}
	if s.further.count > 0 {
		r.against(polity.High, s.further.ev, "%s not listed one by one.", count(s.further.count, "further possible secret is", "further possible secrets are"))
	}
	for _, what := range slices.Sorted(maps.Keys(s.minor)) {
		group := s.minor[what]
		r.against(polity.Low, group.ev, "Tests, examples or documents hold %s in %s; check that it is not in use anywhere.", what, count(group.count, "place", "places"))
	}
}

func onLine(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" on line %d", n)
}

var ignoresEnv = regexp.MustCompile(`^/?(?:\*\*/)?(?:\*?\.env(?:\*|\.\*)?|\.env\.[\w*-]+)\s*$`)

// judgeEnv looks at environment files and at what keeps them out of version control.
func (t *tree) judgeEnv(s *search, r *report) {
	kept, ignored := t.firstMatch(".gitignore", ignoresEnv)
	switch {
	case len(s.envs) > 0 && ignored:
		r.remark(polity.Low, append([]polity.Evidence{kept}, whole(s.envs...)...), "%s in the folder, and .gitignore names such files, so whether they are committed depends on when they were added: %s.",
			count(len(s.envs), "environment file is", "environment files are"), named(s.envs))
	case len(s.envs) > 0:
		r.against(polity.Medium, whole(s.envs...), "%s in the folder and no .gitignore keeps it out of version control: %s.",
			count(len(s.envs), "environment file is", "environment files are"), named(s.envs))
	case ignored:
		r.favour(polity.Low, []polity.Evidence{kept}, "Environment files are kept out of version control.")
	}
}

// judgeRules claims each rule that was broken, apart for tests and examples. Rules with the same words are one claim.
func (s *search) judgeRules(r *report) {
	judgeHits(s.hits, func(i int, all hit, where string) {
		r.against(rules[i].severity, all.ev, "%s, on %s.", rules[i].text, where)
	})
	judgeHits(s.aside, func(i int, all hit, where string) {
		if rules[i].severity.Weight() > polity.Low.Weight() {
			r.remark(polity.Low, all.ev, "%s in tests or examples, on %s.", rules[i].text, where)
		}
	})
}

// judgeHits makes one claim for the rules of the same words, of which i is the first.
func judgeHits(hits []hit, claim func(i int, all hit, where string)) {
	done := map[string]bool{}
	for i := range rules {
		if done[rules[i].text] {
			continue
		}
		done[rules[i].text] = true
		var all hit
		for j := i; j < len(rules); j++ {
			if rules[j].text == rules[i].text {
				all.count += hits[j].count
				all.files = append(all.files, hits[j].files...)
				all.ev = append(all.ev, hits[j].ev...)
			}
		}
		if all.count > 0 {
			claim(i, all, count(all.count, "line", "lines")+": "+named(slices.Compact(all.files)))
		}
	}
}

func (s *search) judgeBinaries(r *report) {
	if len(s.programs) > 0 {
		r.against(polity.Low, whole(s.programs[:min(len(s.programs), evidenceMax)]...), "%s in the folder, which no review of the source can judge: %s.",
			count(len(s.programs), "compiled file is", "compiled files are"), named(s.programs))
	}
	if len(s.big) > 0 {
		var ev []polity.Evidence
		for _, b := range s.big[:min(len(s.big), evidenceMax)] {
			ev = append(ev, polity.Evidence{File: b[:strings.LastIndex(b, " (")]})
		}
		r.against(polity.Low, ev, "%s of 1 MiB or more: %s.", count(len(s.big), "binary file is", "binary files are"), named(s.big))
	}
}

// firstMatch is the first line of a file that matches and is no comment.
func (t *tree) firstMatch(name string, re *regexp.Regexp) (polity.Evidence, bool) {
	data, ok := t.text(name)
	if !ok {
		return polity.Evidence{}, false
	}
	for n, line := range files.Lines(data) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") && re.MatchString(line) {
			return at(name, n, line), true
		}
	}
	return polity.Evidence{}, false
}
