package code

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"polity.run"
	"polity.run/tool/files"
)

// The limits of one report.
const (
	claimsMax   = 50
	evidenceMax = 10   // of one claim
	namesMax    = 6    // in a sentence
	lineMax     = 2000 // bytes of a line that are looked at
)

// report collects claims and notes.
type report struct {
	summary string
	claims  []polity.Claim
	notes   []string
}

// add claims something. Evidence that is there twice counts once.
func (r *report) add(s polity.Stance, w polity.Severity, ev []polity.Evidence, format string, args ...any) {
	ev = slices.Compact(slices.Clone(ev))
	r.claims = append(r.claims, polity.Claim{
		Text: fmt.Sprintf(format, args...), Stance: s, Severity: w, Evidence: ev[:min(len(ev), evidenceMax)],
	})
}

// against claims something that speaks against the code.
func (r *report) against(w polity.Severity, ev []polity.Evidence, format string, args ...any) {
	r.add(polity.Against, w, ev, format, args...)
}

// favour claims something that speaks for it.
func (r *report) favour(w polity.Severity, ev []polity.Evidence, format string, args ...any) {
	r.add(polity.For, w, ev, format, args...)
}

// remark claims something that speaks for neither side.
func (r *report) remark(w polity.Severity, ev []polity.Evidence, format string, args ...any) {
	r.add(polity.Neutral, w, ev, format, args...)
}

func (r *report) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// finish puts the heaviest claims first, those against before the others, and cuts what is too much.
func (r *report) finish(t *tree) polity.Report {
	side := map[polity.Stance]int{polity.Against: 0, polity.For: 1, polity.Neutral: 2}
	slices.SortStableFunc(r.claims, func(a, b polity.Claim) int {
		return cmp.Or(cmp.Compare(b.Severity.Weight(), a.Severity.Weight()), cmp.Compare(side[a.Stance], side[b.Stance]))
	})
	out := polity.Report{Summary: r.summary, Claims: r.claims, Notes: r.notes}
	if more := len(out.Claims) - claimsMax; more > 0 {
		out.Claims = out.Claims[:claimsMax]
		out.Notes = append(out.Notes, fmt.Sprintf("Only the %d heaviest claims are shown, and %d more were found.", claimsMax, more))
	}
	if out.Claims == nil {
		out.Claims = []polity.Claim{}
	}
	out.Notes = append(out.Notes, t.tally.Notes()...)
	return out
}

// at is a line as evidence. It ends before a secret, so that no report repeats one.
func at(file string, line int, text string) polity.Evidence {
	return polity.Evidence{File: file, Line: line, Text: files.Quote(beforeSecret(strings.TrimSpace(text)))}
}

// whole is files as evidence.
func whole(names ...string) []polity.Evidence {
	var ev []polity.Evidence
	for _, n := range names {
		ev = append(ev, polity.Evidence{File: n})
	}
	return ev
}

// missing is the absence of files as evidence. A name may be a glob.
func missing(names ...string) []polity.Evidence {
	var ev []polity.Evidence
	for _, n := range names {
		ev = append(ev, polity.Evidence{File: n, Missing: true})
	}
	return ev
}

// hit counts lines and keeps the first ones as evidence.
type hit struct {
	count int
	files []string
	ev    []polity.Evidence
}

func (h *hit) add(name string, ev polity.Evidence) {
	h.count++
	if len(h.files) == 0 || h.files[len(h.files)-1] != name {
		h.files = append(h.files, name)
	}
	if len(h.ev) < evidenceMax {
		h.ev = append(h.ev, ev)
	}
}

// count says a number of things.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// named lists names in a sentence.
func named(names []string) string {
	if len(names) <= namesMax {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:namesMax], ", "), len(names)-namesMax)
}

// verb is "is" or "are", "has" or "have" ...: what fits the number.
func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
