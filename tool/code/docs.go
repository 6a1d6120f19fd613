package code

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"

	"polity.run"
	"polity.run/tool/files"
)

// What is expected of documents.
const (
	readmeShort   = 15 // lines that are not blank
	summaryMax    = 400
	coverageGood  = 80 // percent of exported names with a comment
	coveragePoor  = 40
	coverageEnter = 5 // exported names below which a share says nothing
)

// docs is the tool code.docs.
func docs(ctx context.Context, t *tree, r *report) error {
	c, err := t.readComments(ctx)
	if err != nil {
		return err
	}
	t.judgeReadme(r)
	t.judgeCompanions(r)
	if err := t.judgeLinks(ctx, r); err != nil {
		return err
	}
	c.judge(r)
	return nil
}

var (
	readmeFile = regexp.MustCompile(`^(?i:readme)(?:\.(?i:md|markdown|rst|adoc|txt|org))?$`)
	heading    = regexp.MustCompile(`^\s{0,3}(?:#{1,6}|={1,6})\s+(.+?)\s*[#=]*\s*$`)
	underline  = regexp.MustCompile(`^(?:={3,}|-{3,}|~{3,})\s*$`)
	codeBlock  = regexp.MustCompile("^\\s*(?:```|~~~|\\.\\. code-block::|\\[source|----$)|^(?:    |\\t)\\$ \\S")
)

// sections are what a README is expected to say, with the words by which a heading says it.
var sections = []struct {
	what string
	re   *regexp.Regexp
}{
	{"how to install it", regexp.MustCompile(`(?i)install|set ?up|getting[ -]started|quick ?start|download|building|build from|requirements|prerequisites`)},
	{"how to use it", regexp.MustCompile(`(?i)usage|use|using|example|getting[ -]started|quick ?start|tutorial|how to|guide|demo|configuration|features|documentation|api`)},
	{"its licence", regexp.MustCompile(`(?i)licen[sc]e|copyright`)},
}

// document is a text in sections.
type document struct {
	name     string
	lines    lines
	headings []place
	filled   int // lines that are not blank
	code     polity.Evidence
	first    string // the first paragraph
}

func readDocument(name string, data []byte) document {
	d := document{name: name, lines: linesOf(data)}
	fenced := false
	for i, line := range d.lines {
		line = line[:min(len(line), lineMax)]
		trimmed := strings.TrimSpace(line)
		if trimmed != "" {
			d.filled++
		}
		if d.code.File == "" && codeBlock.MatchString(line) {
			d.code = at(name, i+1, line)
		}
		if strings.HasPrefix(trimmed, "```") || strings.HasPrefix(trimmed, "~~~") {
			fenced = !fenced
		}
		if fenced {
			continue
		}
		if m := heading.FindStringSubmatch(line); m != nil {
			d.headings = append(d.headings, place{name, i + 1, d.lines[i]})
		} else if trimmed != "" && i+1 < len(d.lines) && underline.MatchString(d.lines[i+1]) {
			d.headings = append(d.headings, place{name, i + 1, d.lines[i]})
		}
	}
	d.first = firstParagraph(d.lines)
	return d
}

var (
	htmlTag    = regexp.MustCompile(`<[^<>]+>`)
	image1     = regexp.MustCompile(`!\[[^\]]*\]\([^)]*\)|!\[[^\]]*\]\[[^\]]*\]`)
	linkText   = regexp.MustCompile(`\[([^\[\]]*)\](?:\([^)]*\)|\[[^\]]*\])?`)
	directive  = regexp.MustCompile(`^\s*(?:\.\. |:\w+:|\[!\w+\]|<!--)`)
	noSentence = regexp.MustCompile(`^[\W_]*$`)
)

// firstParagraph returns the first paragraph of prose: no heading, badge, image, table or code.
func firstParagraph(lines lines) string {
	var words []string
	fenced := false
	for i, line := range lines {
		line = line[:min(len(line), lineMax)]
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "```") || strings.HasPrefix(trimmed, "~~~") {
			fenced = !fenced
		}
		prose := strings.TrimSpace(linkText.ReplaceAllString(htmlTag.ReplaceAllString(image1.ReplaceAllString(line, ""), ""), "$1"))
		structural := fenced || heading.MatchString(line) || directive.MatchString(line) || noSentence.MatchString(prose) ||
			strings.HasPrefix(trimmed, "|") || strings.HasPrefix(trimmed, "[!") || i+1 < len(lines) && underline.MatchString(lines[i+1])
		if structural {
			if len(words) > 0 {
				break
			}
			continue
		}
		words = append(words, strings.TrimSpace(strings.TrimLeft(beforeSecret(prose), ">")))
	}
	return files.Cut(strings.ToValidUTF8(strings.Join(words, " "), "\uFFFD"), summaryMax)
}

// judgeReadme looks at the document that a newcomer reads first.
func (t *tree) judgeReadme(r *report) {
	name := ""
	for _, f := range t.files {
		if readmeFile.MatchString(f.Path) {
			name = f.Path
			break
		}
	}
	if name == "" {
		r.against(polity.Medium, missing("README*", "readme*", "Readme*"), "The folder has no README, so a newcomer is told neither what it is nor how to run it.")
		return
	}
	data, ok := t.text(name)
	if !ok {
		r.against(polity.High, whole(name), "%s holds no text.", name)
		return
	}
	d := readDocument(name, data)
	r.summary = d.first
	d.judge(r)
}

func (d *document) judge(r *report) {
	top := whole(d.name)
	if len(d.headings) > 0 {
		top = evidenceOfPlaces(d.headings[:1])
	}
	if d.filled < readmeShort {
		r.against(polity.Medium, top, "%s is short: %s of text.", d.name, count(d.filled, "line", "lines"))
	} else {
		r.favour(polity.Low, top, "%s introduces the folder in %s of text and %s.", d.name, count(d.filled, "line", "lines"), count(len(d.headings), "section", "sections"))
	}
	var lacks []string
	var has []polity.Evidence
	for _, s := range sections {
		if ev, ok := d.section(s.re); ok {
			has = append(has, ev)
		} else {
			lacks = append(lacks, s.what)
		}
	}
	if len(has) > 0 {
		r.favour(polity.Low, has, "%s has sections for %d of the 3 things a newcomer looks for (installation, use, licence).", d.name, len(has))
	}
	if len(lacks) > 0 {
		r.against(polity.Low, whole(d.name), "No heading of %s says %s.", d.name, strings.Join(lacks, ", or "))
	}
	if d.code.File != "" {
		r.favour(polity.Low, []polity.Evidence{d.code}, "%s shows code or commands to copy.", d.name)
	} else {
		r.against(polity.Low, whole(d.name), "%s shows no code or command to copy.", d.name)
	}
}

func (d *document) section(re *regexp.Regexp) (polity.Evidence, bool) {
	for i, h := range d.headings {
		title := i == 0 && !strings.HasPrefix(strings.TrimSpace(h.text), "##")
		if (!title || len(d.headings) == 1) && re.MatchString(h.text) {
			return at(h.file, h.line, h.text), true
		}
	}
	return polity.Evidence{}, false
}

// companions are documents that a project in production has beside its README.
var companions = []struct {
	re       *regexp.Regexp
	globs    []string
	have     string
	lack     string
	severity polity.Severity
}{
	{regexp.MustCompile(`^(?i:(?:docs/|\.github/)?(?:changelog|changes|history|news|release[-_]?notes)(?:\.\w+)?)$`), []string{"CHANGELOG*", "CHANGES*", "HISTORY*", "NEWS*"},
		"%s says what changed between versions.", "No CHANGELOG says what changed between versions.", polity.Low},
	{regexp.MustCompile(`^(?i:(?:docs/|\.github/)?contributing(?:\.\w+)?)$`), []string{"CONTRIBUTING*", ".github/CONTRIBUTING*", "docs/CONTRIBUTING*"},
		"%s says how to contribute.", "No CONTRIBUTING says how changes are made and accepted.", polity.Low},
	{regexp.MustCompile(`^(?i:(?:docs/|\.github/)?security(?:\.\w+)?)$`), []string{"SECURITY*", ".github/SECURITY*", "docs/SECURITY*"},
		"%s says how to report a vulnerability.", "No SECURITY document says how to report a vulnerability.", polity.Medium},
}

func (t *tree) judgeCompanions(r *report) {
	for _, c := range companions {
		if found := t.find(c.re); len(found) > 0 {
			data, _ := t.text(found[0])
			ev := whole(found[0])
			if len(data) > 0 {
				ev = []polity.Evidence{firstLine(found[0], data)}
			}
			r.favour(polity.Low, ev, c.have, found[0])
			continue
		}
		r.against(c.severity, missing(c.globs...), "%s", c.lack)
	}
	var pages []string
	for _, f := range t.files {
		if (strings.HasPrefix(f.Path, "docs/") || strings.HasPrefix(f.Path, "doc/") || strings.HasPrefix(f.Path, "documentation/")) && documentExt[strings.ToLower(path.Ext(f.Path))] {
			pages = append(pages, f.Path)
		}
	}
	if len(pages) > 0 {
		r.favour(polity.Low, whole(pages[:min(len(pages), 3)]...), "A folder of documents holds %s.", count(len(pages), "page", "pages"))
	}
}

// judge claims how much of the code's interface is explained.
func (c *comments) judge(r *report) {
	c.goNames.judge(r, "exported Go names have a doc comment", "exported Go names")
	c.pyNames.judge(r, "public Python functions and classes have a docstring, as far as lines show", "public Python functions and classes")
	if len(c.broken) > 0 {
		r.note("%s not parsed as Go: %s.", count(len(c.broken), "file was", "files were"), named(c.broken))
	}
}

// judge claims the share of names that are explained.
func (c *coverage) judge(r *report, what, plural string) {
	if c.all < coverageEnter {
		return
	}
	share := 100 * (c.all - c.bare) / c.all
	text := fmt.Sprintf("%d%% of %d %s", share, c.all, what)
	switch {
	case share >= coverageGood && c.bare == 0:
		r.favour(polity.Medium, c.good, "Each of the %d %s is explained by a comment.", c.all, plural)
	case share >= coverageGood:
		r.favour(polity.Medium, c.good, "%s.", text)
	case share < coveragePoor:
		r.against(polity.Medium, c.bad, "Only %s.", text)
	default:
		r.against(polity.Low, c.bad, "%s; the others are not explained.", text)
	}
}
