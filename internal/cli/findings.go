package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"polity.run"
	"polity.run/pattern"
)

// A report for people is cut where the JSON goes on.
const (
	placesMax = 6  // places of a finding that are listed, or one less and how many more there are
	lowMax    = 10 // findings of low severity on one side that are written with all that belongs to them
)

// findings writes verified findings, the heaviest first, as they come. The last of many light ones have a line each.
func (w *writer) findings(title string, list []pattern.Finding) {
	if len(list) == 0 {
		return
	}
	w.f("## %s (%d)\n\n", title, len(list))
	severity, light := polity.Severity(""), 0
	for i := range list {
		if s := list[i].Severity; s != severity || i == 0 {
			severity = s
			if i > 0 {
				w.f("\n")
			}
			w.f("### %s\n\n", cmp.Or(mdText(string(s)), "no severity"))
		}
		if list[i].Severity.Weight() <= polity.Low.Weight() {
			light++
		}
		if light > lowMax {
			w.line(&list[i])
		} else {
			w.finding(&list[i])
		}
	}
	w.f("\n")
}

func (w *writer) finding(f *pattern.Finding) {
	w.f("- **%s** %s\n", mdText(f.ID), mdText(f.Text))
	w.places(f)
	for _, p := range f.Provenance {
		w.f("  - from step %s → agent %s%s\n", mdCode(p.Step), mdCode(string(p.Agent)), calls(p.Calls))
	}
}

// line writes a finding with the first of its places only.
func (w *writer) line(f *pattern.Finding) {
	w.f("- **%s** %s", mdText(f.ID), mdText(f.Text))
	if len(f.Evidence) > 0 {
		switch e := f.Evidence[0]; {
		case e.Missing:
			w.f(" (there is no %s)", mdCode(e.File))
		case e.File != "":
			w.f(" (%s)", mdCode(place(e)))
		}
	}
	w.f("\n")
}

// places writes where a finding's evidence is.
func (w *writer) places(f *pattern.Finding) {
	shown := f.Evidence
	if len(shown) > placesMax {
		shown = shown[:placesMax-1]
	}
	for _, e := range shown {
		w.evidence(e)
	}
	if more := len(f.Evidence) - len(shown) + f.MoreEvidence; more > 0 {
		w.f("  - and %d more\n", more)
	}
}

func calls(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	codes := make([]string, len(keys))
	for i, k := range keys {
		codes[i] = mdCode(k)
	}
	return " → " + strings.Join(codes, ", ")
}

func (w *writer) evidence(e polity.Evidence) {
	switch {
	case e.Missing:
		w.f("  - there is no %s\n", mdCode(e.File))
	case e.File == "" && e.Text == "":
	case e.File == "":
		w.f("  - %s\n", mdCode(e.Text))
	case strings.TrimSpace(e.Text) == "":
		w.f("  - %s\n", mdCode(place(e)))
	default:
		w.f("  - %s %s\n", mdCode(place(e)), mdCode(e.Text))
	}
}

// unverified writes what should not be relied on.
func (w *writer) unverified(list []pattern.Finding) {
	if len(list) == 0 {
		return
	}
	w.f("## Not verified (%d)\n\nThese did not count for the verdict.\n\n", len(list))
	for i := range list {
		f := &list[i]
		w.f("- **%s** %s (%s, %s, %s)%s\n", mdText(f.ID), mdText(f.Text), mdText(f.Status), mdText(string(f.Stance)),
			mdText(string(f.Severity)), reason(f.Reason))
		w.places(f)
		for _, p := range f.Provenance {
			w.f("  - from step %s → agent %s%s\n", mdCode(p.Step), mdCode(string(p.Agent)), calls(p.Calls))
		}
	}
	w.f("\n")
}

func reason(text string) string {
	if text == "" {
		return ""
	}
	return ": " + mdText(text)
}

// tally counts what was found and who looked, on one line.
func tally(h *pattern.HubResult) string {
	r, v := &h.Response, h.Details.Verification
	parts := []string{"no verified claims"}
	switch {
	case len(r.Against)+len(r.For)+len(r.Neutral) > 0:
		parts[0] = side(r.Against, count(len(r.Against), "claim")+" against") + fmt.Sprintf(", %d for", len(r.For))
		if len(r.Neutral) > 0 {
			parts[0] += fmt.Sprintf(", %d neutral", len(r.Neutral))
		}
	case v.Checked+v.Opinions+v.LeftOut == 0:
		parts[0] = "no claims"
	}
	if v.Checked > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d verified", v.Verified, v.Checked))
	}
	if v.Opinions > 0 {
		parts = append(parts, count(v.Opinions, "opinion"))
	}
	if v.LeftOut > 0 {
		parts = append(parts, fmt.Sprintf("%d not looked at", v.LeftOut))
	}
	return strings.Join(append(parts, effort(h.Details.Steps)), "; ")
}

// side words findings of one side with their severities, the heaviest first, as they come.
func side(list []pattern.Finding, text string) string {
	var counts []string
	for i := 0; i < len(list); {
		n := i
		for n < len(list) && list[n].Severity == list[i].Severity {
			n++
		}
		counts = append(counts, fmt.Sprintf("%d %s", n-i, cmp.Or(clean(string(list[i].Severity)), "of no severity")))
		i = n
	}
	if len(counts) == 0 {
		return text
	}
	return text + " (" + strings.Join(counts, ", ") + ")"
}

// effort words how many specialists were asked, and how long that took.
func effort(steps []pattern.StepResult) string {
	asked := map[polity.AgentName]bool{}
	var from, to time.Time
	for _, s := range steps {
		if s.Attempts == 0 {
			continue
		}
		asked[s.Agent] = true
		if from.IsZero() || s.Started.Before(from) {
			from = s.Started
		}
		if s.Ended.After(to) {
			to = s.Ended
		}
	}
	text := count(len(asked), "specialist")
	if !from.IsZero() && to.After(from) {
		text += ", " + seconds(to.Sub(from))
	}
	return text
}
