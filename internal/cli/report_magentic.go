package cli

import (
	"slices"
	"strings"

	"polity.run/pattern"
)

// magentic writes the result of a hub with ledgers.
func (w *writer) magentic(r *report) error {
	m, err := read[pattern.MagenticResult](r)
	if err != nil {
		return err
	}
	w.f("# %s\n\n", mdText(r.agent))
	for line := range strings.Lines(m.Answer) {
		if line = mdText(line); line != "" {
			w.f("> %s\n", quoted(line))
		}
	}
	w.f("\nStopped: %s, after %s and %s. Verified: %s.\n\n", mdText(m.Stopped), count(len(m.Rounds), "round"), count(m.Resets, "reset"), count(len(m.Facts), "fact"))
	w.facts(m)
	w.f("## Rounds\n\n| round | speaker | instruction | verified | refused | stall | why bad, or how it ended |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, one := range m.Rounds {
		why := strings.Join(one.Bad, "; ")
		if one.Worked != nil && one.Worked.Fault != nil {
			why = strings.Trim(why+"; "+faultText(one.Worked.Fault), "; ")
		}
		w.f("| %d | %s | %s | %d | %d | %d | %s |\n", one.Round, mdText(string(one.Speaker)), mdText(one.Instruction), one.Verified, one.Refused, one.Stall, mdText(why))
	}
	w.f("\n")
	w.task(&m.Task)
	w.done("What the lead was asked beside", m.Lead)
	w.lines(m.Notes)
	return nil
}

// facts writes what was verified, with where it stands.
func (w *writer) facts(m *pattern.MagenticResult) {
	for i, f := range m.Facts {
		if i == 0 {
			w.f("## Verified\n\n")
		}
		rests := ""
		if slices.Contains(m.RestsOn, f.ID) {
			rests = " (the answer rests on it)"
		}
		w.f("- **%s** %s%s\n", mdText(f.ID), mdText(f.Text), rests)
		for _, e := range f.Evidence {
			w.f("  - %s", mdCode(place(e)))
			if e.Text != "" {
				w.f(" %s", mdCode(e.Text))
			}
			w.f("\n")
		}
		w.f("  - from %s in round %d, run %s\n", mdText(string(f.Agent)), f.Round, mdCode(string(f.Run)))
	}
	if len(m.Facts) > 0 {
		w.f("\n")
	}
}

// task writes the ledger of the task.
func (w *writer) task(t *pattern.TaskLedger) {
	w.f("## The lead's ledger, not verified\n\n")
	for _, part := range []struct {
		name  string
		lines []string
	}{{"given", t.Given}, {"to look up", t.LookUp}, {"to derive", t.Derive}, {"guesses", t.Guesses}, {"plan", t.Plan}} {
		if len(part.lines) > 0 {
			w.f("- %s: %s\n", part.name, mdText(strings.Join(part.lines, "; ")))
		}
	}
	w.f("\n")
}
