package cli

import (
	"fmt"
	"time"

	"polity.run/pattern"
)

// loop writes the result of a loop.
func (w *writer) loop(r *report) error {
	l, err := read[pattern.LoopResult](r)
	if err != nil {
		return err
	}
	w.f("# %s\n\n", mdText(r.agent))
	passed := "not passed"
	if l.Passed {
		passed = "passed"
	}
	w.f("**%s**: the best of %s is that of round %d, score %s; stopped: %s\n\n", passed, count(len(l.Rounds), "round"), l.Round, score(l.Score), mdText(l.Stopped))
	w.value(l.Best)
	w.f("## Rounds\n\n| round | score | | critique | made | judged |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, one := range l.Rounds {
		what := ""
		switch {
		case one.Repeats > 0:
			what = fmt.Sprintf("the same as in round %d", one.Repeats)
		case one.Passed:
			what = "passed"
		case one.Improved:
			what = "better"
		}
		judged := ""
		if one.Evaluated != nil {
			judged = doneBy(*one.Evaluated)
		}
		w.f("| %d | %s | %s | %s | %s | %s |\n", one.Round, score(one.Score), what, mdText(one.Critique), doneBy(one.Generated), judged)
	}
	w.f("\n")
	for _, one := range l.Rounds {
		if one.Round == l.Round && len(one.Evidence) > 0 {
			w.f("## What the evaluator looked at in round %d\n\n", one.Round)
			for _, e := range one.Evidence {
				w.f("- %s\n", mdCode(e))
			}
			w.f("\n")
		}
	}
	return nil
}

// score writes a score.
func score(s *float64) string {
	if s == nil {
		return "none"
	}
	return fmt.Sprintf("%.2f", *s)
}

// doneBy writes by whom something was done, and what went wrong.
func doneBy(d pattern.Done) string {
	text := mdText(string(d.Agent)) + ", " + seconds(time.Duration(d.Took))
	if d.Fault != nil {
		text += ": " + mdText(faultText(d.Fault))
	}
	return text
}
