package cli

import (
	"cmp"
	"fmt"
	"strings"

	"polity.run"
	"polity.run/pattern"
)

// statementsMax is how many statements of a round are written; polity runs show has them all.
const statementsMax = 20

// debate writes the result of a debate: the verdict and who made it, what speaks for and against each side, what was said, and how it was
// judged.
func (w *writer) debate(r *report) error {
	d, err := read[pattern.DebateResult](r)
	if err != nil {
		return err
	}
	w.f("# %s\n\n", cmp.Or(mdText(d.Topic), mdText(r.agent)))
	w.debateVerdict(d)
	w.sides(d.Verdict.Sides)
	w.dissent(d.Verdict.Dissent)
	w.vote("The vote of the openings", d.Openings)
	if len(d.History) > 1 {
		w.vote("The vote after the rounds", d.Final)
	}
	for _, round := range d.History {
		w.round(round)
	}
	w.ballots(d.Ballots)
	w.remarks(d.Notes)
	return nil
}

func (w *writer) debateVerdict(d *pattern.DebateResult) {
	v := d.Verdict
	switch {
	case v.Answer != "":
		w.f("Verdict: **%s**\n\n", mdText(v.Answer))
	case len(v.Tied) > 0:
		w.f("Verdict: **a tie** between %s\n\n", mdList(v.Tied))
	default:
		w.f("Verdict: **%s**\n\n", mdText(v.Outcome))
	}
	w.f("Decided by: %s, since %s.\n\n", mdText(v.By), mdText(v.Reason))
	if v.Conclusion != "" {
		w.f("The judge concludes:\n\n")
		w.said(v.Conclusion)
	}
	for _, s := range v.Scores {
		w.f("- %s: %g points, first in %s\n", mdText(s.Candidate), s.Points, count(s.First, "order"))
	}
	if len(v.Scores) > 0 {
		w.f("\n")
	}
	if q := d.Quotes; q.Verified+q.Refused+q.Unchecked > 0 {
		w.f("Quotes: %d verified, %d refused, %d unchecked. That a quote stands there does not make true what leans on it.\n\n", q.Verified, q.Refused, q.Unchecked)
	}
	w.quotes("The winner's verified quotes", v.Evidence)
}

// mdList writes texts in quotes, one after the other.
func mdList(texts []string) string {
	var out []string
	for _, t := range texts {
		out = append(out, `"`+mdText(t)+`"`)
	}
	return strings.Join(out, ", ")
}

// quotes writes passages and what became of them.
func (w *writer) quotes(title string, all []pattern.Quote) {
	if len(all) == 0 {
		return
	}
	w.f("%s:\n\n", title)
	for _, q := range all {
		w.f("- %s\n", quoteText(q))
	}
	w.f("\n")
}

func quoteText(q pattern.Quote) string {
	text := fmt.Sprintf("%s: %s (%s", mdCode(place(q.Evidence)), mdText(q.Text), mdText(q.Status))
	if q.Reason != "" {
		text += ": " + mdText(q.Reason)
	}
	return text + ")"
}

// sides writes what the judge says of each candidate.
func (w *writer) sides(all []pattern.DebateSide) {
	if len(all) == 0 {
		return
	}
	w.f("## What the judge says of each\n\n")
	for _, s := range all {
		w.f("### %s\n\n", mdText(s.Candidate))
		for _, t := range s.Strongest {
			w.f("- strong: %s\n", mdText(t))
		}
		for _, t := range s.Weaknesses {
			w.f("- weak: %s\n", mdText(t))
		}
		w.f("\n")
	}
}

func (w *writer) dissent(all []pattern.DebateDissent) {
	if len(all) == 0 {
		return
	}
	w.f("## Dissent\n\n")
	for _, d := range all {
		w.f("- %s (%s)\n", mdText(d.Answer), mdText(agents(d.Agents)))
		for _, t := range d.Arguments {
			w.f("  - %s\n", mdText(t))
		}
	}
	w.f("\n")
}

// agents lists names.
func agents(names []polity.AgentName) string {
	var out []string
	for _, n := range names {
		out = append(out, string(n))
	}
	return strings.Join(out, ", ")
}

// vote writes a count of answers, by head and by what the votes are worth.
func (w *writer) vote(title string, v *pattern.DebateVote) {
	if v == nil {
		return
	}
	w.f("## %s\n\n| answer | votes | effective votes | agents |\n|---|---|---|---|\n", title)
	for _, a := range v.Answers {
		w.f("| %s | %d | %.2f | %s |\n", mdCell(a.Answer), a.Votes, a.Effective, mdCell(agents(a.Agents)))
	}
	w.f("\nOf %d %d voted, %d abstained and %d were absent. The votes are worth about %.2f independent ones, as far as one can say without having measured it.\n\n",
		v.Eligible, v.Cast, v.Abstained, v.Absent, v.Effective)
}

// round writes what was said at once.
func (w *writer) round(round pattern.DebateRound) {
	title := fmt.Sprintf("Round %d", round.Round)
	if round.Round == 0 {
		title = "Openings"
	}
	w.f("## %s\n\n", title)
	for i, s := range round.Statements {
		if i == statementsMax {
			w.f("And %d more.\n\n", len(round.Statements)-i)
			return
		}
		who := mdText(string(s.Agent))
		if s.Position != "" {
			who += " for " + mdList([]string{s.Position})
		}
		switch {
		case s.Said == nil && s.Done != nil && s.Done.Fault != nil:
			w.f("%s was absent: %s\n\n", who, mdText(faultText(s.Done.Fault)))
		case s.Said == nil:
			w.f("%s was absent.\n\n", who)
		case s.Said.Abstained:
			w.f("%s abstained.\n\n", who)
		default:
			w.f("%s:\n\n", who)
			w.said(strings.TrimSpace(s.Said.Answer + "\n" + s.Said.Statement))
			w.arguments(s.Said)
		}
	}
}

// said writes what somebody said as a quotation.
func (w *writer) said(text string) {
	for line := range strings.Lines(text) {
		if line = mdText(line); line != "" {
			w.f("> %s\n", quoted(line))
		}
	}
	w.f("\n")
}

func (w *writer) arguments(s *pattern.Said) {
	for _, a := range s.Arguments {
		if len(a.Quotes) == 1 && a.Quotes[0].Text == a.Text {
			w.f("- %s\n", quoteText(a.Quotes[0]))
			continue
		}
		w.f("- %s\n", mdText(a.Text))
		for _, q := range a.Quotes {
			w.f("  - %s\n", quoteText(q))
		}
	}
	if len(s.Arguments) > 0 {
		w.f("\n")
	}
}

// ballots writes what the judge said of each order.
func (w *writer) ballots(all []pattern.DebateBallot) {
	if len(all) == 0 {
		return
	}
	w.f("## How it was judged\n\n| order | verdict | reasons |\n|---|---|---|\n")
	for _, b := range all {
		verdict := b.Verdict
		if b.Done != nil && b.Done.Fault != nil {
			verdict = strings.TrimSpace(verdict + " " + faultText(b.Done.Fault))
		}
		var order []string
		for i, name := range b.Order {
			order = append(order, fmt.Sprintf("%c: %s", 'A'+i, name))
		}
		w.f("| %s | %s | %s |\n", mdCell(strings.Join(order, "; ")), mdCell(verdict), mdCell(b.Reasons))
	}
	w.f("\n")
}

// remarks writes what else there is to know.
func (w *writer) remarks(notes []string) {
	if len(notes) == 0 {
		return
	}
	w.f("## Notes\n\n")
	for _, n := range notes {
		w.f("- %s\n", quoted(cmp.Or(mdText(n), " ")))
	}
	w.f("\n")
}
