package cli

import (
	"fmt"
	"strings"

	"polity.run/pattern"
)

// router writes the result of a router.
func (w *writer) router(r *report) error {
	s, err := read[pattern.RouterResult](r)
	if err != nil {
		return err
	}
	w.f("# %s\n\n", mdText(r.agent))
	switch {
	case s.Abstained:
		w.f("Route: **none**. Nobody was asked.\n\n")
	default:
		w.f("Route: **%s** (%s), by %s\n\n", mdText(s.Route), mdText(string(s.Agent)), mdText(s.By))
	}
	if s.Rule != nil {
		w.f("Rule: %s\n\n", mdCode(s.Rule.String()))
	}
	if s.Confidence != nil && s.Said != nil {
		w.f("The classifier chose %s and said that it is %s sure; calibrated %s.\n\n", mdText(s.Choice), percent(*s.Said), percent(*s.Confidence))
	}
	if s.Reason != "" {
		w.f("Why: %s\n\n", mdText(s.Reason))
	}
	if len(s.Candidates) > 0 {
		w.f("Routes that there were: %s\n\n", mdText(strings.Join(s.Candidates, ", ")))
	}
	if len(s.Output) > 0 {
		w.f("## Answer\n\n")
		w.value(s.Output)
	}
	w.done("Who was asked", s.Done)
	return nil
}

func percent(share float64) string { return fmt.Sprintf("%.4g %%", share*100) }
