package cli

import (
	"encoding/json"
	"strings"
	"time"

	"polity.run/pattern"
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
		w.saga(s.Saga)
	}
	w.done("Stages", s.Stages)
	return nil
}

// saga writes what became of what had been done.
func (w *writer) saga(s *pattern.Saga) {
	w.f("It failed, and what was done is **%s**: %s\n\n", s.Status, mdText(s.Why))
	for _, l := range s.Left {
		w.f("- left: %s (%s): %s\n", mdText(l.Stage), mdText(string(l.Agent)), mdText(l.Why))
		if len(l.Mended) > 0 {
			w.f("  - put in order: %s\n", mdText(string(l.Mended)))
		}
	}
	if len(s.Left) > 0 {
		w.f("\n")
	}
	w.done("Undone", s.Undone)
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
