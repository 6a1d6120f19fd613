package cli

import (
	"cmp"

	"polity.run/pattern"
)

// handoffEnds says for people how a conversation ended.
func handoffEnds(ended string) string {
	switch ended {
	case "answered":
		return "it answered by itself"
	case "cap":
		return "it had to answer at the cap of hops"
	case "stall":
		return "it had to answer, since nothing new was said any more"
	case "fallback":
		return "it took over from one that could not go on"
	case "bound":
		return "a bound was reached before it answered"
	default:
		return ended
	}
}

// handoff writes the result of a handoff.
func (w *writer) handoff(r *report) error {
	s, err := read[pattern.HandoffResult](r)
	if err != nil {
		return err
	}
	w.f("# %s\n\nOwner of the conversation at the end: **%s**; %s, after %s.\n\n", mdText(r.agent), mdText(string(s.Owner)),
		mdText(handoffEnds(s.Ended)), count(len(s.Hops), "hop"))
	if len(s.Answer) > 0 {
		w.value(s.Answer)
	}
	if len(s.Hops) > 0 {
		w.f("## Handovers\n\n")
	}
	for i, h := range s.Hops {
		forced := ""
		if h.Forced {
			forced = " (by the organization)"
		}
		w.f("%d. %s → %s%s: %s\n", i+1, mdText(string(h.From)), mdText(string(h.To)), forced, mdText(h.Reason))
		if h.Summary != "" {
			w.f("   - %s\n", quoted(cmp.Or(mdText(h.Summary), " ")))
		}
		if len(h.Work) > 0 {
			w.f("   - work: %s\n", mdCode(string(h.Work)))
		}
	}
	if len(s.Hops) > 0 {
		w.f("\n")
	}
	w.done("Who was in control", s.Done)
	return nil
}
