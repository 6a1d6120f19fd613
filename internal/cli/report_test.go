package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/pattern"
)

// sample is a result with everything in it, some of it meant to break the report.
func sample() *pattern.HubResult {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	finding := func(id, text string, stance polity.Stance, severity polity.Severity, evidence ...polity.Evidence) pattern.Finding {
		return pattern.Finding{
			ID: id, Claim: polity.Claim{Text: text, Stance: stance, Severity: severity, Evidence: evidence}, Status: "verified",
			Provenance: []pattern.Provenance{{Step: "deps", Agent: "dependencies", Calls: []string{"0-a/deps#call.code.dependencies"}}},
		}
	}
	unverified := finding("f5", "no tests at all", polity.Against, polity.Critical, polity.Evidence{File: "a_test.go", Line: 3, Text: "not there"})
	unverified.Status, unverified.Reason = "unverified", "line 3 says something else"
	many := finding("f2", "one more | in a cell", polity.Against, polity.High,
		polity.Evidence{File: "b.go"}, polity.Evidence{File: "LICENSE", Missing: true}, polity.Evidence{Text: "all in all"})
	many.MoreEvidence = 2
	many.Provenance = append(many.Provenance, pattern.Provenance{Step: "risks", Agent: "risks"})
	return &pattern.HubResult{
		Response: pattern.HubResponse{
			Question: "Is <this> *ready*?", Verdict: "not ready", Reason: `rule 1 of 2, "not ready"`, Decided: []string{"f1", "f2"},
			Answers: []pattern.Answer{
				{Step: "deps", Agent: "dependencies", Summary: "# not a heading\n1. not a list\n<script>alert(1)</script>", Sources: []string{"go.mod", "a`b.go"}},
				{Step: "risks", Agent: "risks", Output: json.RawMessage("{\"fence\": \"```\"}")},
				{Step: "quiet", Agent: "quiet"},
			},
			Against: []pattern.Finding{
				finding("f1", "a password in the source", polity.Against, polity.Critical,
					polity.Evidence{File: "main.py", Line: 2, Text: "password = \"`x`\" | <b>\x1b[31m\u202e"}),
				many,
			},
			For:        []pattern.Finding{finding("f3", "snake_case _names_ [are](http://evil) fine &amp; good", polity.For, polity.Low)},
			Neutral:    []pattern.Finding{finding("f4", "so it is", polity.Neutral, "")},
			Unverified: []pattern.Finding{unverified},
			Notes:      []string{"vendor was not looked at", "- 3 files\nwere too large"},
			Extractive: "every sentence is quoted",
		},
		Details: pattern.HubDetails{
			Steps: []pattern.StepResult{
				{ID: "deps", Agent: "dependencies", Status: "ok", Attempts: 1, Started: at, Ended: at.Add(1500 * time.Millisecond), Usage: polity.Usage{Turns: 2}},
				{
					ID: "risks", Agent: "risks", Status: "failed", Attempts: 2, Fault: fault.Of(fault.Timeout.New("no | answer")),
					Usage: polity.Usage{Turns: 1, InputTokens: 10, OutputTokens: 5, MicroUSD: 1200},
				},
			},
			Replans:      []pattern.Replan{{Step: "risks", From: "risks", To: "dependencies", Fault: fault.Of(fault.Timeout.New("no answer"))}},
			Verification: pattern.Verification{Checked: 5, Verified: 4, Refused: 1, Opinions: 1, LeftOut: 2},
		},
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		check(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	check(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestReport(t *testing.T) {
	r := report{id: "0-mfrggzdf", agent: "review-board", outcome: polity.Outcome{
		Status: polity.StatusExhausted, Fault: fault.Exceeded("turns", "500 turns"), Usage: polity.Usage{Turns: 3, InputTokens: 10, OutputTokens: 5, MicroUSD: 1200},
	}}
	golden(t, "report.md", r.markdown(sample()))
	golden(t, "report.txt", r.text(sample()))
	empty := &pattern.HubResult{}
	golden(t, "report_empty.md", (&report{id: "0-a", agent: "board"}).markdown(empty))
}

// long is a result with more than a person wants to read: many places, and many light findings on both sides.
func long() *pattern.HubResult {
	n := 0
	finding := func(stance polity.Stance, severity polity.Severity, places int) pattern.Finding {
		n++
		f := pattern.Finding{ID: fmt.Sprintf("f%d", n), Claim: polity.Claim{Text: fmt.Sprintf("claim %d", n), Stance: stance, Severity: severity}, Status: "verified"}
		for i := range places {
			f.Evidence = append(f.Evidence, polity.Evidence{File: "a.go", Line: i + 1, Text: "x"})
		}
		return f
	}
	h := &pattern.HubResult{Response: pattern.HubResponse{Verdict: "ready"}, Details: pattern.HubDetails{
		Verification: pattern.Verification{Checked: 31, Verified: 30, Refused: 1},
	}}
	r := &h.Response
	for _, places := range []int{5, 6, 7, 64} {
		r.Against = append(r.Against, finding(polity.Against, polity.Medium, places))
	}
	r.Against[3].MoreEvidence = 36
	for range 9 {
		r.Against = append(r.Against, finding(polity.Against, polity.Low, 1))
	}
	for range 3 {
		r.Against = append(r.Against, finding(polity.Against, polity.Info, 2))
	}
	for range lowMax {
		r.For = append(r.For, finding(polity.For, polity.Low, 1))
	}
	absent := finding(polity.For, polity.Low, 1)
	absent.Evidence = []polity.Evidence{{File: "*_todo.go", Missing: true}}
	called := finding(polity.For, polity.Low, 0)
	called.Evidence = []polity.Evidence{{Call: "0-a/b#call.x"}}
	r.For = append(r.For, absent, called)
	refused := finding(polity.Against, polity.High, 9)
	refused.Status, refused.Reason = "unverified", "line 9 says something else"
	r.Unverified = append(r.Unverified, refused)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, name := range []polity.AgentName{"a", "b", "a", "skipped"} {
		s := pattern.StepResult{ID: string(name) + strconv.Itoa(i), Agent: name, Status: "ok", Attempts: 1}
		s.Started, s.Ended = at.Add(time.Duration(i)*time.Second), at.Add(time.Duration(2*i+1)*time.Second)
		if name == "skipped" {
			s = pattern.StepResult{ID: "late", Agent: name, Status: "skipped"}
		}
		h.Details.Steps = append(h.Details.Steps, s)
	}
	return h
}

func TestReportIsCut(t *testing.T) {
	golden(t, "report_long.md", (&report{id: "0-a", agent: "board"}).markdown(long()))
}

// A report is spaced as it is meant to be, whatever is missing in it.
func TestReportSpacing(t *testing.T) {
	tests := map[string]func(h *pattern.HubResult){
		"everything":    func(*pattern.HubResult) {},
		"no verdict":    func(h *pattern.HubResult) { h.Response.Verdict = "" },
		"no rules":      func(h *pattern.HubResult) { h.Response.Verdict, h.Response.Reason, h.Response.Decided = "", "", nil },
		"no question":   func(h *pattern.HubResult) { h.Response.Question = "" },
		"nothing found": func(h *pattern.HubResult) { *h = pattern.HubResult{} },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			h := sample()
			change(h)
			text := (&report{id: "0-a", agent: "board"}).markdown(h)
			if i := strings.Index(text, "\n\n\n"); i >= 0 {
				t.Errorf("two blank lines after %q", text[:i])
			}
		})
	}
}

func TestTally(t *testing.T) {
	finding := func(severities ...polity.Severity) (list []pattern.Finding) {
		for _, s := range severities {
			list = append(list, pattern.Finding{Claim: polity.Claim{Severity: s}})
		}
		return list
	}
	tests := map[string]struct {
		response     pattern.HubResponse
		verification pattern.Verification
		want         string
	}{
		"nothing":      {want: "no claims; 0 specialists"},
		"one against":  {pattern.HubResponse{Against: finding(polity.High)}, pattern.Verification{Checked: 1, Verified: 1}, "1 claim against (1 high), 0 for; 1 of 1 verified; 0 specialists"},
		"only for":     {pattern.HubResponse{For: finding(polity.Low, polity.Low)}, pattern.Verification{Checked: 3, Verified: 2}, "0 claims against, 2 for; 2 of 3 verified; 0 specialists"},
		"severities":   {pattern.HubResponse{Against: finding(polity.High, polity.Low, polity.Low, "")}, pattern.Verification{Checked: 4, Verified: 4}, "4 claims against (1 high, 2 low, 1 of no severity), 0 for; 4 of 4 verified; 0 specialists"},
		"opinions":     {pattern.HubResponse{}, pattern.Verification{Opinions: 2}, "no verified claims; 2 opinions; 0 specialists"},
		"not verified": {pattern.HubResponse{Unverified: finding(polity.High)}, pattern.Verification{Checked: 1, Refused: 1, LeftOut: 3}, "no verified claims; 0 of 1 verified; 3 not looked at; 0 specialists"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := tally(&pattern.HubResult{Response: tt.response, Details: pattern.HubDetails{Verification: tt.verification}})
			if got != tt.want {
				t.Errorf("want %q\ngot  %q", tt.want, got)
			}
		})
	}
}

func TestHubResult(t *testing.T) {
	good, err := json.Marshal(pattern.HubResult{Response: pattern.HubResponse{Answers: []pattern.Answer{}, For: []pattern.Finding{}}})
	check(t, err)
	tests := map[string]struct {
		output string
		want   bool
	}{
		"a hub's":        {string(good), true},
		"a text":         {`"response"`, false},
		"nothing":        {``, false},
		"other fields":   {`{"response":{"answers":[],"for":[]},"details":{},"more":1}`, false},
		"looks like one": {`{"response":{"status":200},"details":{}}`, false},
		"half of one":    {`{"response":{},"details":{}}`, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, got := hubResult(json.RawMessage(tt.output)); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// Whatever a text is, as Markdown it stays on its line and takes no control of the reader's terminal.
func FuzzMarkdown(f *testing.F) {
	for _, seed := range []string{"", "`", "a`b``c", "|", "\\|", "<b>", "&lt;", "[x](y)", "*a*", "_a_", "a_b", "\x1b[2J", "\u202e", "\xff", "a\nb", "`` ` ``"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, got := range map[string]string{"text": mdText(text), "code": mdCode(text), "cell": mdCell(text), "clean": clean(text)} {
			if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }) {
				t.Errorf("%s of %q has control characters: %q", name, text, got)
			}
		}
		if s := mdText(text); strings.Contains(s, "<") {
			t.Errorf("text of %q begins HTML: %q", text, s)
		}
		code := mdCode(text)
		fence := code[:len(code)-len(strings.TrimLeft(code, "`"))]
		inner := strings.TrimSuffix(strings.TrimPrefix(code, fence), fence)
		if len(code) < 2*len(fence)+1 || !strings.HasSuffix(code, fence) || hasRun(inner, len(fence)) {
			t.Errorf("code of %q is %q, which ends before its end", text, code)
		}
		if block := mdBlock("", text); strings.Count(block, "\n"+block[:strings.Index(block, "\n")]+"\n") != 1 {
			t.Errorf("block of %q is %q, which ends before its end", text, block)
		}
	})
}

// hasRun says whether the text holds a run of exactly n backticks, which would end a code span.
func hasRun(text string, n int) bool {
	for _, run := range strings.FieldsFunc(text, func(r rune) bool { return r != '`' }) {
		if len(run) == n {
			return true
		}
	}
	return false
}

func TestStyleMarkdown(t *testing.T) {
	got := styleMarkdown("# Title\n\nVerdict: **ready**\n\n- **f1** text\n  - from\n")
	want := "\x1b[1m# Title\x1b[0m\n\nVerdict: \x1b[1mready\x1b[0m\n\n- \x1b[1mf1\x1b[0m text\n  - \x1b[2mfrom\x1b[0m\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("styled (-want +got):\n%s", diff)
	}
}
