package agent

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"polity.run"
	"polity.run/memory"
)

// keepName is the command that remembers a run.
const keepName = "remember"

const (
	keptMax     = 6 << 10 // bytes of an answer that are remembered
	questionMax = 1 << 10 // bytes of a question that are
)

// gather is the command that gathers from tool i. Memory is asked by the question.
func (t *thinker) gather(s *thought, i int) polity.Command {
	in := t.Gather[i].Input
	if len(in) == 0 {
		in = json.RawMessage("{}")
	}
	c := polity.Call(t.calls[i], t.Gather[i].Name, in)
	if t.Memory == nil || i != len(t.Gather)-1 || t.Memory.Recall == 0 {
		return c
	}
	query := struct {
		Query string        `json:"query"`
		Kinds []memory.Kind `json:"kinds,omitempty"`
		Limit int           `json:"limit"`
	}{cut(s.question, memory.QueryMax), t.Memory.Kinds, t.Memory.Recall}
	if input, err := encode(query); err == nil {
		c.Input = input
	}
	t.price(&c)
	return c
}

// price reserves what a call may cost because of embeddings.
func (t *thinker) price(c *polity.Command) {
	if t.Memory != nil && t.Memory.Price != nil {
		n := int64(len(c.Input))
		c.Reserve = polity.Usage{InputTokens: n, MicroUSD: t.Memory.Price.Most(n, 0)}
	}
}

// memoryText words what a search of the memory found; false for what is no such result.
func memoryText(output json.RawMessage) (string, bool) {
	var found struct {
		Records []memory.Hit `json:"records"`
	}
	if json.Unmarshal(output, &found) != nil || found.Records == nil {
		return "", false
	}
	var b strings.Builder
	for _, h := range found.Records {
		fmt.Fprintf(&b, "Remembered (%s of %s, %s", h.Kind, h.Memory, h.At.UTC().Format("2006-01-02"))
		if h.Origin.Document != "" {
			fmt.Fprintf(&b, ", %s:%d", h.Origin.Document, h.Origin.Line)
		}
		b.WriteString(")")
		if h.Title != "" && h.Kind != memory.Episode { // an episode's text begins with its question
			b.WriteString(" " + h.Title)
		}
		fmt.Fprintf(&b, ":\n%s\n\n", h.Text)
	}
	return strings.TrimSpace(b.String()), true
}

// recalled reads which records a search of the memory found.
func recalled(output json.RawMessage) []memory.Ref {
	var found struct {
		Records []memory.Ref `json:"records"`
	}
	if json.Unmarshal(output, &found) != nil {
		return nil
	}
	return found.Records
}

// remembers completes a call of memory that the model made: whose memory it is, and what the model had been told of it before, are not
// the model's to say.
func (t *thinker) remembers(s *thought, c *polity.Command) {
	if c.To != memory.NoteTool && c.To != memory.SearchTool {
		return
	}
	t.price(c)
	if c.To != memory.NoteTool {
		return
	}
	var said map[string]json.RawMessage
	if json.Unmarshal(c.Input, &said) != nil {
		return // the tool says what is wrong
	}
	input, err := encode(struct {
		Text    json.RawMessage `json:"text,omitempty"`
		Title   json.RawMessage `json:"title,omitempty"`
		Share   bool            `json:"share,omitempty"`
		Because []memory.Ref    `json:"because,omitempty"`
	}{said["text"], said["title"], t.Memory != nil && t.Memory.Share, s.because()})
	if err == nil {
		c.Input = input
	}
}

// because is what was recalled so far, each record once.
func (s *thought) because() []memory.Ref {
	var out []memory.Ref
	for _, r := range s.recalled {
		if !slices.Contains(out, r) && len(out) < memory.BecauseMax {
			out = append(out, r)
		}
	}
	return out
}

// keep is the command that remembers the run, if it is to be remembered.
func (t *thinker) keep(s *thought, output json.RawMessage) (polity.Command, bool) {
	if t.Memory == nil || !t.Memory.Episodes {
		return polity.Command{}, false
	}
	input, err := encode(struct {
		Question string       `json:"question"`
		Answer   string       `json:"answer"`
		Share    bool         `json:"share,omitempty"`
		Because  []memory.Ref `json:"because,omitempty"`
	}{strings.ToValidUTF8(cut(s.question, questionMax), "\uFFFD"), strings.ToValidUTF8(cut(string(output), keptMax), "\uFFFD"), t.Memory.Share, s.because()})
	if err != nil {
		return polity.Command{}, false
	}
	c := polity.Call(keepName, memory.KeepTool, input)
	t.price(&c)
	return c, true
}
