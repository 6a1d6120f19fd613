package cli

import (
	"fmt"
	"strings"
	"time"

	"polity.run/pattern"
)

// parallel writes the result of a parallel.
func (w *writer) parallel(r *report) error {
	p, err := read[pattern.ParallelResult](r)
	if err != nil {
		return err
	}
	w.f("# %s\n\n", mdText(r.agent))
	met := "met"
	if !p.Met {
		met = "not met"
	}
	w.f("Join %s: **%s**; %s, %s\n\n", mdText(p.Join), met, count(len(p.Branches), "question"), count(len(p.Answers), "different answer"))
	if len(p.Output) > 0 {
		w.value(p.Output)
	}
	if p.Merge != nil || len(p.Answers) != 1 {
		w.proposals(p.Answers)
	}
	for i, x := range p.Refused {
		if i == 0 {
			w.f("## Answers that do not count\n\n")
		}
		w.f("### Branch %d, %s: %s\n\n", x.Branch, mdText(string(x.Agent)), mdText(x.Reason))
		w.value(x.Output)
	}
	w.f("## How it went\n\n| branch | agent | status | attempts | time | used |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, b := range p.Branches {
		status := mdText(b.Status)
		if b.Fault != nil {
			status += ": " + mdText(faultText(b.Fault))
		}
		w.f("| %d | %s | %s | %d | %s | %s |\n", b.Branch, mdText(string(b.Agent)), status, b.Attempts, seconds(time.Duration(b.Took)), usage(b.Usage))
	}
	w.f("\n")
	if p.Merge != nil {
		p.Checks = append(p.Checks, *p.Merge)
	}
	w.done("Checked and merged", p.Checks)
	w.lines(p.Notes)
	return nil
}

// proposals writes answers, each with who gave it.
func (w *writer) proposals(answers []pattern.ParallelAnswer) {
	w.f("## Answers\n\n")
	for _, a := range answers {
		var from []string
		for _, s := range a.From {
			from = append(from, fmt.Sprintf("%s (%s)", s.Agent, s.Run))
		}
		used := ""
		if a.Used {
			used = ", used"
		}
		w.f("### %s, by %s%s\n\n", mdText(a.ID), mdText(strings.Join(from, ", ")), used)
		w.value(a.Output)
	}
}

// lines writes notes.
func (w *writer) lines(notes []string) {
	for i, n := range notes {
		if i == 0 {
			w.f("## Notes\n\n")
		}
		if n = mdText(n); n != "" {
			w.f("- %s\n", quoted(n))
		}
	}
	if len(notes) > 0 {
		w.f("\n")
	}
}
