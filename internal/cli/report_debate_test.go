package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"polity.run"
	"polity.run/fault"
	"polity.run/pattern"
)

// debated is a result with everything in it, some of it meant to break the report.
func debated() *pattern.DebateResult {
	quote := pattern.Quote{Evidence: polity.Evidence{File: "a`b.md", Line: 3, Text: "**bold** <b> it stands"}, Status: "verified"}
	refused := pattern.Quote{Evidence: polity.Evidence{File: "c.md", Text: "made up"}, Status: "refused", Reason: "c.md does not | contain it"}
	done := func(err error) *pattern.Done {
		d := &pattern.Done{Name: "open.ada", Agent: "ada", Run: "0-a/open.ada", Attempts: 1}
		if err != nil {
			d.Fault = fault.Of(err)
		}
		return d
	}
	vote := &pattern.DebateVote{Eligible: 4, Cast: 2, Abstained: 1, Absent: 1, Effective: 1.38, Answers: []pattern.DebateAnswer{
		{Answer: "yes | no", Votes: 2, Effective: 1.38, Agents: []polity.AgentName{"ada", "bob"}},
	}, Winner: "yes | no"}
	return &pattern.DebateResult{
		Pattern: "debate", Mode: "deliberative", Topic: "Is <this> *so*?", Openings: vote, Final: vote, Stopped: "rounds",
		Verdict: pattern.DebateVerdict{
			Outcome: "winner", Answer: "yes | no", By: "judge", Reason: "the judge put it first in 2 of 2 orders", Conclusion: "# no heading\n- no list\nIt is so.",
			Scores:   []pattern.DebateScore{{Candidate: "yes | no", Points: 1.5, First: 1}, {Candidate: "never", Points: 0.5}},
			Sides:    []pattern.DebateSide{{Candidate: "never", Strongest: []string{"short"}, Weaknesses: []string{"[too](http://evil) short"}}},
			Evidence: []pattern.Quote{quote}, Dissent: []pattern.DebateDissent{{Answer: "never", Agents: []polity.AgentName{"cyd"}, Arguments: []string{"because"}}},
		},
		History: []pattern.DebateRound{
			{Statements: []pattern.DebateStatement{
				{Agent: "ada", Said: &pattern.Said{Answer: "yes | no", Arguments: []pattern.Argument{{Text: "it stands", Quotes: []pattern.Quote{quote, refused}}}}, Done: done(nil)},
				{Agent: "bob", Said: &pattern.Said{Abstained: true}, Done: done(nil)},
				{Agent: "cyd", Done: done(fault.Denied.New("no key"))},
				{Agent: "dan"},
			}},
			{Round: 1, Statements: []pattern.DebateStatement{
				{Agent: "ada", Position: "It is \"so\".", Said: &pattern.Said{Statement: "1. not a list\nand on", Arguments: []pattern.Argument{{Text: quote.Text, Quotes: []pattern.Quote{quote}}}}},
			}},
		},
		Ballots: []pattern.DebateBallot{
			{Order: []string{"yes | no", "never"}, Verdict: "yes | no", Reasons: "A is | better", Done: done(nil)},
			{Order: []string{"never", "yes | no"}, Done: done(fault.Timeout.New("too late"))},
		},
		Quotes: pattern.DebateQuotes{Verified: 1, Refused: 1}, Notes: []string{"- one quote\ndoes not stand"},
	}
}

func TestDebateReport(t *testing.T) {
	write := func(d *pattern.DebateResult) string {
		output, err := json.Marshal(d)
		check(t, err)
		return (&report{id: "0-a", agent: "house", outcome: polity.Outcome{Status: polity.StatusCompleted, Output: output, Usage: polity.Usage{Turns: 3}}}).byPattern()
	}
	golden(t, "report_debate.md", write(debated()))
	tie := &pattern.DebateResult{Pattern: "debate", Mode: "adversarial", Verdict: pattern.DebateVerdict{Outcome: "tie", Tied: []string{"a", "b"}, By: "judge", Reason: "so"}}
	tie.History = []pattern.DebateRound{{Statements: make([]pattern.DebateStatement, 24)}}
	if got := write(tie); !strings.Contains(got, `**a tie** between "a", "b"`) || !strings.Contains(got, "And 4 more.") {
		t.Error(got)
	}
	for _, output := range []string{`{"pattern":"debate","verdict":7}`, `{"pattern":"debate","more":1}`} {
		r := &report{outcome: polity.Outcome{Output: json.RawMessage(output)}}
		if got := r.byPattern(); got != "" {
			t.Errorf("%s is taken for a debate: %s", output, got)
		}
	}
}
