package files

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"polity.run"
	"polity.run/fault"
	"polity.run/tool"
)

// The limits of one check.
const (
	CitationsMax = 2_000
	citeTotal    = TotalMax // bytes of all files that are read
	globsMax     = 200      // citations that are matched with every file
)

// Cite is the input of files.cite.
type Cite struct {
	Citations []polity.Evidence `json:"citations"`
}

// Cited is the output of files.cite.
type Cited struct {
	Results []Verdict `json:"results"` // one for each citation, in the same order
}

// Verdict says whether a citation is true of the folder.
type Verdict struct {
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"` // why not
}

// cite checks citations. One is true if its file is a regular file of the folder and the line, in the
// form of Quote but not cut, begins with the text; without a line, if the file contains the text. A
// citation of absence is true if nothing has the path, or if no file matches the glob.
func cite(ctx context.Context, c tool.Call, in Cite) (Cited, error) {
	if len(in.Citations) > CitationsMax {
		return Cited{}, fault.Invalid.New("files.cite: %d citations; at most %d are allowed", len(in.Citations), CitationsMax)
	}
	root, err := Open(c.Folder)
	if err != nil {
		return Cited{}, err
	}
	defer root.Close()
	k := &clerk{root: root}
	out := Cited{Results: make([]Verdict, len(in.Citations))}
	for _, i := range byFile(in.Citations) {
		if err := ctx.Err(); err != nil {
			return Cited{}, err
		}
		reason, err := k.check(ctx, in.Citations[i])
		if err != nil {
			return Cited{}, err
		}
		out.Results[i] = Verdict{OK: reason == "", Reason: reason}
	}
	return out, nil
}

// byFile returns the order in which citations are checked: those of one file together, so that it is
// read once and one file at a time is held.
func byFile(all []polity.Evidence) []int {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(all[a].File, all[b].File) })
	return order
}

// clerk checks the citations of one call.
type clerk struct {
	root  *os.Root
	last  *document // the file that was read last, if any
	bytes int64
	globs int
	seen  *Tally // of the walk for globs, once it was made
	paths []string
}

// document is a file that is cited.
type document struct {
	name   string
	reason string   // why it cannot be cited at all
	unread string   // why its lines cannot be cited
	lines  []string // in the form of evidence
}

// check returns why the citation is not true, or "". Its error is ctx's.
func (k *clerk) check(ctx context.Context, e polity.Evidence) (string, error) {
	name, err := local(e.File)
	switch {
	case err != nil:
		return err.Error(), nil
	case e.Line < 0:
		return fmt.Sprintf("line %d: lines count from 1", e.Line), nil
	case e.Missing && isGlob(name):
		return k.noneMatches(ctx, name)
	case e.Missing:
		return k.missing(name), nil
	default:
		return k.says(name, e), nil
	}
}

// says checks that the file says what the citation quotes.
func (k *clerk) says(name string, e polity.Evidence) string {
	d := k.open(name)
	text := plain(e.Text)
	switch {
	case d.reason != "":
		return d.reason
	case e.Line == 0 && text == "":
		return ""
	case d.unread != "":
		return d.unread
	case e.Line == 0:
		for _, line := range d.lines {
			if strings.Contains(line, text) {
				return ""
			}
		}
		return fmt.Sprintf("%s does not contain the text", name)
	case e.Line > len(d.lines):
		return fmt.Sprintf("%s has %d lines; there is no line %d", name, len(d.lines), e.Line)
	case !strings.HasPrefix(d.lines[e.Line-1], text):
		return fmt.Sprintf("%s:%d reads %q", name, e.Line, Cut(d.lines[e.Line-1], 80))
	default:
		return ""
	}
}

// open reads a file, unless it is the one that was read last.
func (k *clerk) open(name string) *document {
	if k.last == nil || k.last.name != name {
		k.last = k.load(name)
		k.last.name = name
	}
	return k.last
}

func (k *clerk) load(name string) *document {
	info, err := stat(k.root, name)
	if err != nil {
		return &document{reason: err.Error()}
	}
	if k.bytes+min(info.Size(), BytesMax) > citeTotal {
		return &document{unread: fmt.Sprintf("%s was not read: the citations name more than %d bytes in all", name, citeTotal)}
	}
	data, more, err := readFile(k.root, name, BytesMax)
	k.bytes += int64(len(data))
	switch {
	case err != nil:
		return &document{reason: wrap("files.cite", err).Error()}
	case isBinary(data):
		return &document{unread: name + " is binary; its lines cannot be cited"}
	case more:
		return &document{unread: fmt.Sprintf("%s is larger than %d bytes; its lines cannot be cited", name, BytesMax)}
	}
	d := &document{}
	for _, line := range Lines(data) {
		d.lines = append(d.lines, plain(line))
	}
	return d
}

// missing checks that nothing has the path: no file, no folder and no link.
func (k *clerk) missing(name string) string {
	_, err := k.root.Lstat(name)
	switch {
	case absent(err):
		return ""
	case err == nil:
		return name + " exists"
	default:
		return wrap("files.cite", err).Error()
	}
}

// noneMatches checks that no file that Walk sees matches the glob, and that nothing has the glob itself
// for a name. What was not seen proves nothing.
func (k *clerk) noneMatches(ctx context.Context, glob string) (string, error) {
	parts, err := compileGlob(glob)
	if err != nil {
		return err.Error(), nil
	}
	if reason := k.missing(glob); reason != "" {
		return reason, nil
	}
	for _, part := range parts {
		if isGlob(part) {
			break
		}
		if versionControl[part] || foreign[part] || built[part] != nil {
			return "cannot be known: " + part + " may not be entered", nil
		}
	}
	if k.globs++; k.globs > globsMax {
		return fmt.Sprintf("not checked: more than %d globs are cited", globsMax), nil
	}
	if err := k.walk(ctx); err != nil {
		return "", err
	}
	for _, p := range k.paths {
		if parts.match(p) {
			return p + " matches " + glob, nil
		}
	}
	if !k.seen.Complete() {
		return "cannot be known: the folder was not seen in full", nil
	}
	return "", nil
}

// walk lists the folder once.
func (k *clerk) walk(ctx context.Context) (err error) {
	if k.seen != nil {
		return nil
	}
	k.seen, err = Walk(ctx, k.root, Limits{}, func(f *File) error {
		k.paths = append(k.paths, f.Path)
		return nil
	})
	return err
}
