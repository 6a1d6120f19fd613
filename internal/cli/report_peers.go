package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"polity.run/pattern"
)

// peerBodyMax is the most bytes of a body in a line of the transcript.
const peerBodyMax = 160

// peers writes the result of peers.
func (w *writer) peers(r *report) error {
	s, err := read[pattern.PeersResult](r)
	if err != nil {
		return err
	}
	w.f("# %s\n\nEnded: **%s**: %s\n\n", mdText(r.agent), mdText(s.Ended), mdText(s.Why))
	if s.Waiting > 0 {
		w.f("%s waited and nobody took any more.\n\n", count(s.Waiting, "message"))
	}
	w.f("## Answers\n\n")
	if len(s.Answers) == 0 {
		w.f("Nobody answered the request.\n\n")
	}
	for _, a := range s.Answers {
		w.f("### %s (%s)\n\n", mdText(string(a.From)), mdText(a.Kind))
		w.value(a.Body)
	}
	w.members(s.Members)
	w.messages(s)
	w.done("Turns", s.Done)
	if s.MoreDone > 0 {
		w.f("And %s.\n\n", count(s.MoreDone, "more turn"))
	}
	return nil
}

func (w *writer) members(all []pattern.PeerEnd) {
	w.f("## Members\n\n| member | turns | ended | state |\n|---|---|---|---|\n")
	for _, m := range all {
		ended := "there"
		switch {
		case m.Left != "":
			ended = m.Left
		case m.Absent:
			ended = "never joined"
		case m.Done:
			ended = "done"
		}
		w.f("| %s | %d | %s | %s |\n", mdText(string(m.Name)), m.Turns, mdText(ended), mdCell(shortJSON(m.State)))
	}
	w.f("\n")
}

func (w *writer) messages(s *pattern.PeersResult) {
	w.f("## Messages\n\n| id | from | to | kind | body | |\n|---|---|---|---|---|---|\n")
	for _, m := range s.Messages {
		what := ""
		if m.Status != "delivered" {
			what = m.Status
		}
		if m.Why != "" {
			what = strings.TrimPrefix(what+": "+m.Why, ": ")
		}
		about := ""
		if m.InReplyTo != "" {
			about = " to " + m.InReplyTo
		}
		w.f("| %s | %s | %s | %s | %s | %s |\n", mdText(m.ID), mdText(string(m.From)), mdText(cmp.Or(m.To, "-")), mdText(m.Kind+about),
			mdCell(shortJSON(m.Body)), mdText(what))
	}
	w.f("\n")
	if s.More > 0 {
		w.f("And %s.\n\n", count(s.More, "more message"))
	}
}

// shortJSON is JSON on a line that is not too long.
func shortJSON(raw json.RawMessage) string {
	if len(raw) <= peerBodyMax {
		return string(raw)
	}
	return fmt.Sprintf("%s…", strings.ToValidUTF8(string(raw[:peerBodyMax]), ""))
}
