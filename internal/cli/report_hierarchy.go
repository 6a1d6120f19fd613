package cli

import (
	"cmp"
	"strings"

	"polity.run/pattern"
)

// hierarchyLevelsShown is how many levels a report shows; the rest is in the output, and by run.
const hierarchyLevelsShown = 4

// hierarchy writes the result of a hierarchy: what is handed up, what is missing, and who did what, level by level.
func (w *writer) hierarchy(r *report) error {
	h, err := read[pattern.HierarchyResult](r)
	if err != nil {
		return err
	}
	w.f("# %s\n\n%s\n\n", mdText(r.agent), mdText(h.Summary))
	w.f("Status: **%s**", mdText(h.Status))
	if h.Unreviewed != "" {
		w.f(": %s", mdText(h.Unreviewed))
	}
	w.f("\n\n")
	if h.Escalate != "" {
		w.f("To be decided: %s\n\n", mdText(h.Escalate))
	}
	if h.Unknown {
		w.f("Something may have been done or not: see what is unknown below, and look before it is done again.\n\n")
	}
	w.bullets("Recommendations", h.Recommendations)
	w.bullets("Results", h.Results)
	w.bullets("What is missing", h.Gaps)
	w.f("## Who did what\n\n| who | assignment | status | attempts | handed up |\n|---|---|---|---|---|\n")
	w.level(&h.Details, 0)
	w.f("\n")
	w.ladder(&h.Details, "")
	return nil
}

func (w *writer) bullets(title string, list []string) {
	if len(list) == 0 {
		return
	}
	w.f("## %s\n\n", title)
	for _, one := range list {
		w.f("- %s\n", quoted(cmp.Or(mdText(one), " ")))
	}
	w.f("\n")
}

// level writes the rows of a unit, each below who assigned it.
func (w *writer) level(l *pattern.HierarchyLevel, deep int) {
	indent := strings.Repeat("· ", deep)
	for _, one := range l.Reports {
		who := mdCell(string(one.Report))
		if one.DoneBy != "" {
			who += " (by " + mdCell(string(one.DoneBy)) + ")"
		}
		said := one.Summary
		if one.Fault != nil {
			said = strings.TrimSpace(said + " " + faultText(one.Fault))
		}
		if one.LeftOut {
			said += " (read it in run " + string(one.Run) + ")"
		}
		w.f("| %s%s | %s | %s | %d | %s |\n", indent, who, mdText(one.Objective), mdText(one.Status), one.Attempts, mdText(said))
		if below := one.Under(); below != nil && deep+1 < hierarchyLevelsShown {
			w.level(below, deep+1)
		}
	}
}

// ladder writes what was escalated on the way, and the notes, level by level.
func (w *writer) ladder(l *pattern.HierarchyLevel, above string) {
	chain := above + string(l.Lead)
	if len(l.Escalations)+len(l.Notes) > 0 {
		w.f("## %s\n\n", mdText(chain))
		for _, e := range l.Escalations {
			by := cmp.Or(string(e.By), "the rule")
			did := strings.ReplaceAll(e.Action, "_", " ")
			if e.To != "" {
				did += " to " + string(e.To)
			}
			w.f("- %s: %s. %s decided: %s.\n", mdText(string(e.Report)), mdText(strings.TrimSuffix(e.Problem, ".")), mdText(by), mdText(did))
		}
		for _, n := range l.Notes {
			w.f("- %s\n", quoted(cmp.Or(mdText(n), " ")))
		}
		w.f("\n")
	}
	for _, one := range l.Reports {
		if below := one.Under(); below != nil {
			w.ladder(below, chain+" → ")
		}
	}
}
