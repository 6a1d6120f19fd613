package code

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"

	"polity.run"
	"polity.run/tool/files"
)

// linksMax is how many links of a folder are followed.
const linksMax = 20_000

var (
	inlineLink    = regexp.MustCompile(`\[[^\[\]]*\]\(\s*<?([^()\s<>]+(?:\([^()\s]*\))?)>?(?:\s+["'(][^)]*)?\s*\)`)
	referenceLink = regexp.MustCompile(`^\s{0,3}\[[^\]^][^\]]*\]:\s+<?([^\s<>]+)>?`)
	schemed       = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:|^//`)
	codeSpan      = regexp.MustCompile("`[^`]*`")
)

// judgeLinks follows the relative links of Markdown files.
func (t *tree) judgeLinks(ctx context.Context, r *report) error {
	f := &followed{}
	for _, file := range t.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		ext := strings.ToLower(path.Ext(file.Path))
		if ext != ".md" && ext != ".markdown" || inSupport(file.Path) {
			continue
		}
		if data, kind := file.Read(); kind == files.Text {
			t.follow(file.Path, linksOf(data), f)
		}
	}
	if f.total > linksMax {
		r.note("Only the first %d relative links were followed.", linksMax)
	}
	f.judge(r)
	return nil
}

// followed is what became of the links.
type followed struct {
	total  int
	broken hit
	names  []string // of the broken ones, and where they were to lead
	good   []polity.Evidence
}

// follow follows the links of one file, up to linksMax of the folder.
func (t *tree) follow(name string, links []link, f *followed) {
	for _, l := range links {
		if f.total++; f.total > linksMax {
			return
		}
		ev := at(name, l.line, l.text)
		switch {
		case !t.reaches(name, l.target):
			f.broken.add(name, ev)
			f.names = append(f.names, fmt.Sprintf("%s:%d to %s", name, l.line, l.target))
		case len(f.good) < 3:
			f.good = append(f.good, ev)
		}
	}
}

func (f *followed) judge(r *report) {
	total := min(f.total, linksMax)
	switch {
	case f.broken.count > 0:
		w := polity.Low
		if f.broken.count >= 10 {
			w = polity.Medium
		}
		r.against(w, f.broken.ev, "%d of %s in Markdown files %s to nothing: %s.", f.broken.count,
			count(total, "relative link", "relative links"), verb(f.broken.count, "leads", "lead"), named(f.names))
	case total > 0:
		r.favour(polity.Low, f.good, "%s in Markdown files %s to something that exists.",
			countAll(total, "relative link", "relative links"), verb(total, "leads", "lead"))
	}
}

// countAll says all of a number of things.
func countAll(n int, one, many string) string {
	if n == 1 {
		return "The only " + one
	}
	return fmt.Sprintf("All %d %s", n, many)
}

// link is a relative link of a document.
type link struct {
	target string
	line   int
	text   string
}

// linksOf returns the relative links of a Markdown text, without their queries and fragments. Links
// in code are none.
func linksOf(data []byte) []link {
	var out []link
	fence := ""
	for n, line := range files.Lines(data) {
		trimmed := strings.TrimSpace(line)
		if mark := fenceOf(trimmed); mark != "" && (fence == "" || strings.HasPrefix(mark, fence)) {
			if fence == "" {
				fence = mark
			} else {
				fence = ""
			}
			continue
		}
		if fence != "" {
			continue
		}
		bare := codeSpan.ReplaceAllString(line[:min(len(line), lineMax)], "")
		for _, m := range inlineLink.FindAllStringSubmatch(bare, -1) {
			out = appendLink(out, m[1], n, line)
		}
		if m := referenceLink.FindStringSubmatch(bare); m != nil {
			out = appendLink(out, m[1], n, line)
		}
	}
	return out
}

// fenceOf returns the marks that begin or end a block of code, or "".
func fenceOf(line string) string {
	for _, c := range []string{"`", "~"} {
		if rest := strings.TrimLeft(line, c); len(line)-len(rest) >= 3 {
			return line[:len(line)-len(rest)]
		}
	}
	return ""
}

func appendLink(out []link, raw string, line int, text string) []link {
	if schemed.MatchString(raw) || strings.HasPrefix(raw, "#") || strings.ContainsAny(raw, "{}$") {
		return out
	}
	target, _, _ := strings.Cut(raw, "#")
	target, _, _ = strings.Cut(target, "?")
	if decoded, err := url.PathUnescape(target); err == nil {
		target = decoded
	}
	if target == "" {
		return out
	}
	return append(out, link{target, line, text})
}

// reaches says whether a link leads to a file or folder. One that leaves the folder, or starts at a site's
// root and is not there, cannot be judged and counts as reaching; so does one whose page is
// generated from a source beside it.
func (t *tree) reaches(from, target string) bool {
	p := path.Join(path.Dir(from), target)
	if rest, ok := strings.CutPrefix(target, "/"); ok {
		p = path.Clean(rest)
		if p == "." || !t.exists(p) {
			return true
		}
	}
	if p == ".." || strings.HasPrefix(p, "../") || p == "." || strings.IndexByte(p, 0) >= 0 {
		return true
	}
	if t.exists(p) {
		return true
	}
	if strings.HasSuffix(p, ".html") || path.Ext(p) == "" {
		stem := strings.TrimSuffix(p, ".html")
		return t.exists(stem+".md") || t.exists(stem+".rst") || t.exists(stem+".adoc")
	}
	return false
}

// exists says whether the folder has a file or folder of that path, entered by the walk or not.
func (t *tree) exists(p string) bool {
	if t.has(p) {
		return true
	}
	_, err := t.root.Lstat(p)
	return err == nil
}
