package pattern

import (
	"cmp"
	"fmt"

	"polity.run"
)

// quotation is what is known of the quotes of a debate: each place is looked up once, however often it is quoted.
type quotation struct {
	known map[polity.Evidence]Quote
	calls [][]polity.Evidence // by the number in the call's name
	total int
}

// DebateQuotes counts the quotes of a debate, each time that they are given.
type DebateQuotes struct {
	Verified  int `json:"verified"`
	Refused   int `json:"refused"`
	Unchecked int `json:"unchecked"`
}

// look has the quotes of a round looked up.
func (r *debateRun) look() {
	var fresh []polity.Evidence
	for _, q := range r.quotes(r.round) {
		if _, known := r.cited.known[q.Evidence]; known {
			continue
		}
		judged := r.glance(q)
		if judged.Status == "" {
			fresh = append(fresh, q.Evidence)
			judged.Status, judged.Reason = quoteUnchecked, "a bound was reached before it was looked up"
		}
		r.cited.known[q.Evidence] = judged
	}
	for len(fresh) > 0 {
		n := min(len(fresh), citationsInCall)
		input, err := citing(fresh[:n])
		if err != nil {
			r.unchecked(fresh[:n], err.Error())
		} else {
			r.cited.calls = append(r.cited.calls, fresh[:n])
			name := fmt.Sprintf("%s.%d", verifyName, len(r.cited.calls))
			r.expect[name] = len(r.cited.calls) - 1
			r.ask(question{name: name, tool: VerifyTool, input: input})
		}
		fresh = fresh[n:]
	}
}

// glance says of a quote what can be said without a look at its file; a status of "" asks for that look.
func (r *debateRun) glance(q *Quote) Quote {
	out := Quote{Evidence: q.Evidence, Status: quoteRefused}
	switch {
	case !r.cfg.Source:
		out.Status, out.Reason = quoteUnchecked, "the debate declares no source"
	case q.File == "":
		out.Reason = "it names no file"
	case q.Text == "" && !q.Missing:
		out.Reason = "it quotes nothing"
	case len(q.Text) > evidenceTextMax || len(q.File) > fileMax:
		out.Reason = "its text or file name is too long to be looked up"
	case r.folder == "":
		out.Status, out.Reason = quoteUnchecked, "the run has no folder in which it could be looked up"
	case r.cited.total == citationsMax:
		out.Status, out.Reason = quoteUnchecked, fmt.Sprintf("there are more than %d", citationsMax)
	default:
		r.cited.total++
		out.Status = ""
	}
	return out
}

// looked takes what files.cite says.
func (r *debateRun) looked(a *answer) {
	places := r.cited.calls[r.expect[a.name]]
	results, wrong := readCitations(a.output, len(places))
	if a.fault != nil {
		wrong = fmt.Sprintf("%s ended %s: %s", VerifyTool, a.fault.Kind, a.fault.Text)
	}
	if wrong != "" {
		r.unchecked(places, wrong)
		return
	}
	for i, e := range places {
		q := Quote{Evidence: e, Status: quoteVerified}
		if !results[i].OK {
			q.Status, q.Reason = quoteRefused, clip(cmp.Or(results[i].Reason, "it does not hold"), noteMax)
		}
		r.cited.known[e] = q
	}
}

func (r *debateRun) unchecked(places []polity.Evidence, why string) {
	why = clip(why, noteMax)
	for _, e := range places {
		r.cited.known[e] = Quote{Evidence: e, Status: quoteUnchecked, Reason: why}
	}
	r.note("%s not looked up: %s", plural(len(places), "quote"), why)
}

// settle writes into a round's statements what is known of their quotes.
func (r *debateRun) settle() {
	for _, q := range r.quotes(r.round) {
		*q = r.cited.known[q.Evidence]
		switch q.Status {
		case quoteVerified:
			r.counts.Verified++
		case quoteRefused:
			r.counts.Refused++
		default:
			r.counts.Unchecked++
		}
	}
}

// quotes are those of a round, in the order of the debaters.
func (r *debateRun) quotes(round int) []*Quote {
	var all []*Quote
	for i := range r.history[round].Statements {
		s := r.history[round].Statements[i].Said
		if s == nil {
			continue
		}
		for j := range s.Arguments {
			for k := range s.Arguments[j].Quotes {
				all = append(all, &s.Arguments[j].Quotes[k])
			}
		}
	}
	return all
}
