package cli

import (
	"encoding/json"
	"strings"
	"time"

	"polity.run"
	"polity.run/pattern"
	"polity.run/saga"
)

// sequence writes the result of a sequence.
func (w *writer) sequence(r *report) error {
	s, err := read[pattern.SequenceResult](r)
	if err != nil {
		return err
	}
	w.f("# %s\n\n", mdText(r.agent))
	if s.Saga == nil {
		w.value(s.Output)
	} else {
		w.saga(r, s.Saga)
	}
	w.done("Stages", s.Stages)
	return nil
}

// saga writes what became of what had been done.
func (w *writer) saga(r *report, s *saga.Report) {
	how := "It failed"
	switch r.outcome.Status {
	case polity.StatusCancelled:
		how = "It was cancelled"
	case polity.StatusExhausted:
		how = "It reached a bound"
	}
	w.f("%s, and what was done is **%s**: %s\n\n", how, s.Status, mdText(s.Why))
	for _, l := range s.Left {
		w.f("- left: %s (%s): %s\n", mdText(l.Stage), mdText(string(l.Agent)), mdText(l.Why))
		if len(l.Mended) > 0 {
			w.f("  - put in order: %s\n", mdText(string(l.Mended)))
		}
	}
	if len(s.Left) > 0 {
		w.f("\n")
	}
	var undone []pattern.Done
	for _, u := range s.Undone {
		if u.Unknown {
			u.Name += " (if there was anything)"
		}
		undone = append(undone, pattern.Done{Name: u.Name, Agent: u.Agent, Run: u.Run, Attempts: u.Attempts, Took: u.Took, Usage: u.Usage, Fault: u.Fault})
	}
	w.done("Undone", undone)
}

// hubUndone writes what a hub ended with that undid what its steps had done.
func (w *writer) hubUndone(r *report) error {
	h, err := read[pattern.HubUndone](r)
	if err != nil || h.Saga == nil {
		return err
	}
	w.f("# %s\n\n", mdText(r.agent))
	w.saga(r, h.Saga)
	var steps []pattern.Done
	for _, s := range append(h.Past, h.Steps...) {
		if s.Attempts > 0 || s.Fault != nil {
			steps = append(steps, pattern.Done{Name: s.ID, Agent: s.Agent, Run: s.Run, Attempts: s.Attempts, Took: polity.Duration(took(s.Started, s.Ended)), Fault: s.Fault})
		}
	}
	w.done("Steps", steps)
	return nil
}

// took is the time between two that are known.
func took(from, to time.Time) time.Duration {
	if from.IsZero() || to.Before(from) {
		return 0
	}
	return to.Sub(from)
}

// value writes what somebody answered: a text, or an object that is nothing else, as text, and other JSON as a block.
func (w *writer) value(raw json.RawMessage) {
	var text string
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) == nil && len(fields) == 1 && fields["text"] != nil {
		raw = fields["text"]
	}
	if json.Unmarshal(raw, &text) == nil {
		if strings.Contains(strings.TrimSpace(text), "\n") {
			w.f("%s\n", mdBlock("", text))
			return
		}
		w.f("%s\n\n", mdText(text))
		return
	}
	data, err := marshal(raw)
	if err != nil {
		data = raw
	}
	w.f("%s\n", mdBlock("json", string(data)))
}

// done writes a table of what was asked.
func (w *writer) done(title string, all []pattern.Done) {
	if len(all) == 0 {
		return
	}
	w.f("## %s\n\n| asked | agent | attempts | time | ended |\n|---|---|---|---|---|\n", title)
	for _, d := range all {
		ended := "ok"
		if d.Fault != nil {
			ended = faultText(d.Fault)
		}
		w.f("| %s | %s | %d | %s | %s |\n", mdText(d.Name), mdText(string(d.Agent)), d.Attempts, seconds(time.Duration(d.Took)), mdText(ended))
	}
	w.f("\n")
}
