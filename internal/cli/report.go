package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"polity.run"
	"polity.run/pattern"
)

// report is the end of a run, to be written for people.
type report struct {
	id      polity.RunID
	agent   string
	outcome polity.Outcome
}

// printOutput prints a run's output in the given form; "" is what suits it best.
func (a *app) printOutput(r *report, form string) error {
	result, isHub := hubResult(r.outcome.Output)
	drawn := r.byPattern()
	switch {
	case drawn != "" && form == "":
		if styled(a.stdout) {
			drawn = styleMarkdown(drawn)
		}
		return a.out([]byte(drawn))
	case drawn != "" && form == "markdown":
		return a.out([]byte(drawn))
	case isHub && form == "text":
		return a.out([]byte(r.text(result)))
	case isHub:
		text := r.markdown(result)
		if styled(a.stdout) {
			text = styleMarkdown(text)
		}
		return a.out([]byte(text))
	case form == "markdown":
		return a.out([]byte(r.plainMarkdown()))
	case form == "text":
		var text string
		if json.Unmarshal(r.outcome.Output, &text) == nil {
			return a.outf("%s\n", cleanBlock(text))
		}
	}
	return a.writeJSON(r.outcome.Output)
}

// byPattern writes the result of a pattern as Markdown; "" if the output is none, or of the hub, which has forms of its own.
func (r *report) byPattern() string {
	var of struct {
		Pattern string `json:"pattern"`
	}
	if json.Unmarshal(r.outcome.Output, &of) != nil {
		return ""
	}
	w := &writer{}
	var err error
	switch of.Pattern {
	case "hub":
		err = w.hubUndone(r)
	case "sequence":
		err = w.sequence(r)
	case "parallel":
		err = w.parallel(r)
	case "loop":
		err = w.loop(r)
	case "magentic":
		err = w.magentic(r)
	case "router":
		err = w.router(r)
	case "handoff":
		err = w.handoff(r)
	case "peers":
		err = w.peers(r)
	case "hierarchy":
		err = w.hierarchy(r)
	case "debate":
		err = w.debate(r)
	default:
		return ""
	}
	if err != nil { // it only looks like one
		return ""
	}
	w.f("## Run\n\n%s", r.footer())
	if r.outcome.Fault != nil {
		w.f("\nIt ended early: %s\n", mdText(faultText(r.outcome.Fault)))
	}
	w.f("\nUsed: %s.\n", usage(r.outcome.Usage))
	return w.b.String()
}

// read reads the result of a pattern.
func read[T any](r *report) (*T, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(r.outcome.Output))
	d.DisallowUnknownFields()
	return &v, d.Decode(&v)
}

// hubResult reads an output as the result of a hub, if it is one.
func hubResult(output json.RawMessage) (*pattern.HubResult, bool) {
	var has map[string]json.RawMessage
	if json.Unmarshal(output, &has) != nil || len(has) != 2 || has["response"] == nil || has["details"] == nil {
		return nil, false
	}
	var r pattern.HubResult
	d := json.NewDecoder(bytes.NewReader(output))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, false
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, false
	}
	return &r, r.Response.Answers != nil && r.Response.For != nil
}

// plainMarkdown writes an output that is not a hub's.
func (r *report) plainMarkdown() string {
	data, err := marshal(r.outcome.Output)
	if err != nil {
		data = r.outcome.Output
	}
	return fmt.Sprintf("# %s\n\n%s\n%s", mdText(r.agent), mdBlock("json", string(data)), r.footer())
}

// footer says how to see more.
func (r *report) footer() string {
	return fmt.Sprintf("Run %s. Its steps: %s\n", mdCode(string(r.id)), mdCode("polity runs show "+string(r.id)))
}

// text writes the short form: the verdict, and a line for each finding.
func (r *report) text(h *pattern.HubResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", cmp.Or(clean(h.Response.Verdict), "no verdict"), tally(h))
	if h.Response.Reason != "" {
		fmt.Fprintf(&b, "%s\n", clean(h.Response.Reason))
	}
	rows := [][]string{}
	for _, list := range [][]pattern.Finding{h.Response.Against, h.Response.For, h.Response.Neutral, h.Response.Unverified} {
		for _, f := range list {
			where := "-"
			if len(f.Evidence) > 0 {
				where = place(f.Evidence[0])
			}
			rows = append(rows, []string{clean(f.ID), f.Status, clean(string(f.Stance)), clean(string(f.Severity)), clean(where), clean(f.Text)})
		}
	}
	b.WriteString(table(rows))
	for _, n := range h.Response.Notes {
		fmt.Fprintf(&b, "note: %s\n", clean(n))
	}
	if h.Response.Extractive != "" {
		fmt.Fprintf(&b, "note: %s\n", clean(h.Response.Extractive))
	}
	return b.String()
}

// place is where evidence is.
func place(e polity.Evidence) string {
	switch {
	case e.Missing:
		return "no " + e.File
	case e.File == "":
		return "-"
	case e.Line > 0:
		return fmt.Sprintf("%s:%d", e.File, e.Line)
	default:
		return e.File
	}
}

// markdown writes the whole report.
func (r *report) markdown(h *pattern.HubResult) string {
	w := &writer{}
	w.title(r, h)
	w.synthesis(h.Response.Synthesis)
	w.findings("Evidence against", h.Response.Against)
	w.findings("Evidence for", h.Response.For)
	w.findings("Neutral", h.Response.Neutral)
	w.answers(h.Response.Answers)
	w.unverified(h.Response.Unverified)
	w.notes(h)
	w.details(h)
	w.extractive(h.Response.Extractive)
	w.f("## Run\n\n%s", r.footer())
	if r.outcome.Fault != nil {
		w.f("\nIt ended early: %s\n", mdText(faultText(r.outcome.Fault)))
	}
	w.f("\nUsed: %s.\n", usage(r.outcome.Usage))
	return w.b.String()
}

// writer writes the parts of a report.
type writer struct{ b strings.Builder }

func (w *writer) f(format string, args ...any) { fmt.Fprintf(&w.b, format, args...) }

func (w *writer) title(r *report, h *pattern.HubResult) {
	w.f("# %s\n\n", cmp.Or(mdText(h.Response.Question), mdText(r.agent)))
	verdict := mdText(h.Response.Verdict)
	switch {
	case verdict != "":
		w.f("Verdict: **%s**\n\n", verdict)
	case h.Response.Reason != "":
		w.f("Verdict: **none**\n\n")
	}
	w.f("%s\n", mdText(tally(h)))
	if h.Response.Reason != "" {
		w.f("\nWhy: %s\n", mdText(h.Response.Reason))
	}
	if len(h.Response.Decided) > 0 {
		w.f("\nDecided by: %s\n", mdText(strings.Join(h.Response.Decided, ", ")))
	}
	w.f("\n")
}

// synthesis writes the answer in the synthesizer's words.
func (w *writer) synthesis(s *pattern.Synthesis) {
	if s == nil {
		return
	}
	for line := range strings.Lines(s.Text) {
		if line = mdText(line); line != "" {
			w.f("> %s\n", quoted(line))
		}
	}
	w.f("\nWorded by %s", mdText(string(s.Agent)))
	if len(s.Used) > 0 {
		w.f(" from %s", mdText(strings.Join(s.Used, ", ")))
	}
	w.f("; findings and verdict are not its own.")
	if s.Missing != "" {
		w.f(" It misses: %s", mdText(s.Missing))
	}
	w.f("\n\n")
}

// answers writes what the specialists said.
func (w *writer) answers(list []pattern.Answer) {
	var shown []pattern.Answer
	for _, a := range list {
		if a.Summary != "" || len(a.Output) > 0 {
			shown = append(shown, a)
		}
	}
	if len(shown) == 0 {
		return
	}
	w.f("## What the specialists said\n\n")
	for _, a := range shown {
		w.f("### %s (%s)\n\n", mdText(a.Step), mdText(cmp.Or(string(a.Agent), "awaited")))
		for line := range strings.Lines(a.Summary) {
			if line = mdText(line); line != "" {
				w.f("> %s\n", quoted(line))
			}
		}
		if a.Summary != "" {
			w.f("\n")
		}
		if len(a.Output) > 0 {
			w.f("%s\n", mdBlock("json", string(a.Output)))
		}
		if len(a.Sources) > 0 {
			codes := make([]string, len(a.Sources))
			for i, s := range a.Sources {
				codes[i] = mdCode(s)
			}
			w.f("Sources: %s\n\n", strings.Join(codes, ", "))
		}
	}
}

// quoted is text for the beginning of a line: nothing there makes a heading, a list or a quotation of it.
func quoted(text string) string {
	if strings.ContainsRune("#>+-=", rune(text[0])) {
		return `\` + text
	}
	digits := strings.TrimLeft(text, "0123456789")
	if digits != text && digits != "" && (digits[0] == '.' || digits[0] == ')') {
		return text[:len(text)-len(digits)] + `\` + digits
	}
	return text
}

// notes writes what was not looked at.
func (w *writer) notes(h *pattern.HubResult) {
	if len(h.Response.Notes) == 0 {
		return
	}
	w.f("## Notes: what was not looked at\n\n")
	for _, n := range h.Response.Notes {
		w.f("- %s\n", quoted(cmp.Or(mdText(n), " ")))
	}
	w.f("\n")
}

// details writes how the run went.
func (w *writer) details(h *pattern.HubResult) {
	w.f("## How it went\n\n| step | agent | status | attempts | time | used |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, s := range h.Details.Steps {
		took := ""
		if !s.Started.IsZero() && !s.Ended.IsZero() {
			took = seconds(s.Ended.Sub(s.Started))
		}
		status := mdText(s.Status)
		if s.Fault != nil {
			status += ": " + mdText(faultText(s.Fault))
		}
		w.f("| %s | %s | %s | %d | %s | %s |\n", mdCell(s.ID), mdCell(cmp.Or(string(s.Agent), "waits")), status, s.Attempts, took, usage(s.Usage))
	}
	w.f("\n")
	for _, p := range h.Details.Replans {
		if len(p.Steps) > 0 {
			w.f("- %s was planned anew as %s: %s\n", mdCode(cmp.Or(p.Step, "what was missing")), mdCode(strings.Join(p.Steps, ", ")), mdText(faultText(p.Fault)))
			continue
		}
		w.f("- step %s went from %s to %s: %s\n", mdCode(p.Step), mdCode(string(p.From)), mdCode(string(p.To)), mdText(faultText(p.Fault)))
	}
	if len(h.Details.Replans) > 0 {
		w.f("\n")
	}
	w.done("Who planned, reviewed and worded", h.Details.Staff)
	v := h.Details.Verification
	w.f("Of %s with evidence %d verified and %d refused; %s without evidence.", count(v.Checked, "claim"), v.Verified, v.Refused, count(v.Opinions, "opinion"))
	if v.LeftOut > 0 {
		w.f(" %s not looked at.", count(v.LeftOut, "claim"))
	}
	w.f("\n\n")
}

// extractive writes that summaries only quote, and what it takes to get others.
func (w *writer) extractive(text string) {
	if text == "" {
		return
	}
	w.f("## About the wording\n\n%s\n\nThis version has one model, %s, which works offline. A Go program can register others (%s), "+
		"which agents then name as their %s.\n\n", quoted(mdText(text)), mdCode("quote"), mdCode("engine.Config.Models"), mdCode("model:"))
}

// usage writes what work consumed.
func usage(u polity.Usage) string {
	parts := []string{count(u.Turns, "turn")}
	if u.Tokens() > 0 {
		parts = append(parts, fmt.Sprintf("%d + %d tokens", u.InputTokens, u.OutputTokens))
	}
	if u.MicroUSD > 0 {
		parts = append(parts, fmt.Sprintf("$%.4f", float64(u.MicroUSD)/1e6))
	}
	return strings.Join(parts, ", ")
}
