package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"polity.run"
	"polity.run/fault"
	"polity.run/model"
)

// result is what became of one call.
type result struct {
	command string         // the command's name
	again   polity.Command // to be sent again
	call    string         // the ID of the model's call; "" for what was gathered
	said    []model.Message
	tool    string
	attempt int
	ended   bool
	key     string // the call's effect key
	fault   *fault.Error
	summary string
	text    string // for the model
	claims  []polity.Claim
	notes   []string
}

// take ends a call with its event. It keeps nothing of the event's data.
func (r *result) take(e polity.Event, key string) {
	r.ended, r.key, r.fault = true, key, e.Fault
	if e.Fault != nil {
		r.note(fmt.Sprintf("%s: %s", e.Fault.Kind, e.Fault.Text))
	}
	if len(e.Data) == 0 {
		return
	}
	report, ok := readReport(e.Data)
	if !ok {
		r.setText(string(e.Data))
		return
	}
	r.summary = report.Summary
	for _, c := range report.Claims {
		for i := range c.Evidence {
			c.Evidence[i].Call = key
		}
		r.claims = append(r.claims, c)
	}
	for _, n := range report.Notes {
		r.note(n)
	}
	r.setText(reportText(report))
}

func (r *result) note(text string) { r.notes = append(r.notes, r.tool+": "+text) }

// setText sets what the model sees, cut to its limit.
func (r *result) setText(text string) {
	if len(text) > toolTextMax {
		n := toolTextMax
		for !utf8.RuneStart(text[n]) {
			n--
		}
		r.note(fmt.Sprintf("the model saw only the first %d of %d bytes", n, len(text)))
		text = text[:n]
	}
	r.text = text
}

// readReport reads a report: an object with a list of claims.
func readReport(data json.RawMessage) (polity.Report, bool) {
	var has struct {
		Claims *[]json.RawMessage `json:"claims"`
	}
	var report polity.Report
	if json.Unmarshal(data, &has) != nil || has.Claims == nil || json.Unmarshal(data, &report) != nil {
		return polity.Report{}, false
	}
	return report, true
}

// reportText writes a report for a model: the summary, each claim with its evidence below, the notes.
func reportText(r polity.Report) string {
	var b strings.Builder
	if r.Summary != "" {
		b.WriteString(r.Summary + "\n")
	}
	for _, c := range r.Claims {
		b.WriteString(c.Text + weight(c) + "\n")
		for _, e := range c.Evidence {
			b.WriteString("  " + evidenceText(e) + "\n")
		}
	}
	for _, n := range r.Notes {
		b.WriteString("note: " + n + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

// weight writes a claim's severity and stance, as far as it has them.
func weight(c polity.Claim) string {
	words := strings.Trim(string(c.Severity)+", "+string(c.Stance), ", ")
	if words == "" {
		return ""
	}
	return " [" + words + "]"
}

func evidenceText(e polity.Evidence) string {
	where := e.File
	if e.Line > 0 {
		where += ":" + strconv.Itoa(e.Line)
	}
	if e.Missing {
		where = "missing: " + where
	}
	if e.Text == "" {
		return where
	}
	return strings.TrimPrefix(where+": "+e.Text, ": ")
}

// claims are all tools' claims in the order of the tools. Claims with the same text about the same
// place are one.
func (s *thought) claims() []polity.Claim {
	type same struct {
		text, file string
		line       int
	}
	out, seen := []polity.Claim{}, map[same]bool{}
	for i := range s.results {
		for _, c := range s.results[i].claims {
			k := same{text: c.Text}
			if len(c.Evidence) > 0 {
				k.file, k.line = c.Evidence[0].File, c.Evidence[0].Line
			}
			if !seen[k] {
				seen[k], out = true, append(out, c)
			}
		}
	}
	return out
}

// allFailed returns the first gathered tool's fault if there are such tools and all failed.
func (s *thought) allFailed(gathered int) *fault.Error {
	var first *fault.Error
	for i := range s.results[:gathered] {
		if s.results[i].fault == nil {
			return nil
		}
		if first == nil {
			first = s.results[i].fault
		}
	}
	return first
}

// answer is what the model said.
type answer struct {
	fields     map[string]json.RawMessage
	extractive string
	fault      *fault.Error
}

// readAnswer reads an output. One that is no object is a fault, but for a text: that is a summary.
func readAnswer(said *model.Response, output json.RawMessage) answer {
	a := answer{extractive: said.Extractive}
	if json.Unmarshal(output, &a.fields) == nil && a.fields != nil {
		return a
	}
	a.fields = nil
	var text string
	if json.Unmarshal(output, &text) != nil || bytes.Equal(output, []byte("null")) {
		a.fault = fault.Of(fault.Invalid.New("model: answered with no object: %.100s", output))
		return a
	}
	if raw, err := encode(text); err == nil {
		a.fields = map[string]json.RawMessage{"summary": raw}
	}
	return a
}

// abstained says whether no field of the answer says anything.
func (a answer) abstained() bool {
	for name, raw := range a.fields {
		var v any
		if slices.Contains(own, name) || json.Unmarshal(raw, &v) != nil {
			continue
		}
		if !empty(v) {
			return false
		}
	}
	return true
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return strings.TrimSpace(v) == ""
	case []any:
		return !slices.ContainsFunc(v, func(one any) bool { return !empty(one) })
	case map[string]any:
		for _, one := range v {
			if !empty(one) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// compose puts the model's fields and what is the decider's own together. What the skill's
// output has no room for is left out; that an answer is extractive then stands in the notes.
func (s *thought) compose(a answer) (json.RawMessage, error) {
	out := map[string]any{}
	for name, raw := range a.fields {
		if s.skill.allows(name) {
			out[name] = raw
		}
	}
	notes := s.allNotes(a)
	for _, name := range own {
		delete(out, name)
	}
	if a.extractive != "" && s.skill.allows("extractive") {
		out["extractive"] = a.extractive
	} else if a.extractive != "" {
		notes = append(notes, a.extractive)
	}
	if s.skill.allows("claims") {
		out["claims"] = s.claims()
	}
	if s.skill.allows("notes") && (len(notes) > 0 || slices.Contains(s.skill.needs, "notes")) {
		out["notes"] = notes
	}
	if _, ok := out["summary"]; !ok && a.fault != nil && s.skill.allows("summary") {
		if text := s.summaries(); text != "" {
			out["summary"] = text
		}
	}
	return encode(out)
}

// allNotes are the tools' notes in their order, then the agent's own, then the model's failure.
func (s *thought) allNotes(a answer) []string {
	notes := []string{}
	for i := range s.results {
		notes = append(notes, s.results[i].notes...)
	}
	notes = append(notes, s.notes...)
	if a.fault != nil {
		notes = append(notes, fmt.Sprintf("model: %s: %s", a.fault.Kind, strings.TrimPrefix(a.fault.Text, "model: ")))
	}
	return notes
}

// summaries joins what the tools say in short, for where the model said nothing.
func (s *thought) summaries() string {
	var out []string
	for i := range s.results {
		if s.results[i].summary != "" {
			out = append(out, s.results[i].summary)
		}
	}
	return strings.Join(out, "\n")
}

// encode writes JSON with its text unchanged: <, > and & stay as they are.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fault.Internal.New("agent: write JSON: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
