package scenario

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const shownMax = 800 // bytes of what came that are shown

// look returns what does not hold, for a person to read.
func look(e *Expect, h *happened) []string {
	var wrong []string
	add := func(what, want, got string) {
		wrong = append(wrong, fmt.Sprintf("%s\n  - expected: %s\n  + came:     %s", what, want, shown(got)))
	}
	if got := h.outcome.Status.String(); got != e.Status {
		text := got
		if h.outcome.Fault != nil {
			text += ": " + h.outcome.Fault.Text
		}
		add("status", e.Status, text)
	}
	if e.Fault != "" && (h.outcome.Fault == nil || !strings.Contains(h.outcome.Fault.Text, e.Fault)) {
		got := "none"
		if h.outcome.Fault != nil {
			got = h.outcome.Fault.Text
		}
		add("fault", "one that contains "+strconv.Quote(e.Fault), got)
	}
	for _, c := range e.Output {
		c.look(h.outcome.Output, add)
	}
	if missing := outOfOrder(e.Path, h.steps); missing != "" {
		add("path", strings.Join(e.Path, " -> ")+" (no "+missing+" where it belongs)", strings.Join(h.steps, " -> "))
	}
	for _, name := range e.Agents {
		if h.agents[name] == 0 {
			add("agents", name+" is asked", "asked: "+names(h.agents))
		}
	}
	for _, name := range e.Tools {
		if h.calls[name] == 0 {
			add("tools", name+" is called", "called: "+names(h.calls))
		}
	}
	for _, name := range e.Never {
		if n := h.calls[name] + h.agents[name]; n > 0 {
			add("never", name+" is not reached", fmt.Sprintf("%d times", n))
		}
	}
	for _, name := range e.Forbidden {
		if n := max(h.wanted[name], h.calls[name]); n > 0 {
			add("forbidden", "no model asks for "+name, fmt.Sprintf("asked for %d times, done %d times", h.wanted[name], h.calls[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.AtMost)) {
		if n := h.calls[name]; n > e.AtMost[name] {
			add("at_most", fmt.Sprintf("%s at most %d times", name, e.AtMost[name]), fmt.Sprintf("%d times", n))
		}
	}
	for _, a := range e.Asked {
		if !slices.ContainsFunc(h.asked[a.Agent], func(text string) bool { return strings.Contains(text, a.Contains) }) {
			add("asked", a.Agent+" is asked something with "+strconv.Quote(a.Contains), strings.Join(h.asked[a.Agent], "\n"))
		}
	}
	if c := e.Cost; c != nil {
		u := h.outcome.Usage
		if c.USD > 0 && float64(u.MicroUSD) > c.USD*1e6 {
			add("cost", fmt.Sprintf("at most %g US dollars", c.USD), fmt.Sprintf("%.6f", float64(u.MicroUSD)/1e6))
		}
		if c.Tokens > 0 && u.Tokens() > c.Tokens {
			add("cost", fmt.Sprintf("at most %d tokens", c.Tokens), strconv.FormatInt(u.Tokens(), 10))
		}
		if c.Turns > 0 && u.Turns > c.Turns {
			add("cost", fmt.Sprintf("at most %d turns", c.Turns), strconv.Itoa(u.Turns))
		}
	}
	return wrong
}

func names(m map[string]int) string {
	if len(m) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}

func shown(text string) string {
	if text == "" {
		return "nothing"
	}
	if len(text) > shownMax {
		text = strings.ToValidUTF8(text[:shownMax], "") + "…"
	}
	return strings.ReplaceAll(text, "\n", "\n              ")
}

// outOfOrder returns the first step that does not come in its order, or "".
func outOfOrder(want, steps []string) string {
	at := 0
	for _, w := range want {
		for at < len(steps) && steps[at] != w && !strings.HasSuffix(steps[at], "/"+w) {
			at++
		}
		if at == len(steps) {
			return w
		}
		at++
	}
	return ""
}

func (c *Check) look(output json.RawMessage, add func(what, want, got string)) {
	what := "output"
	if c.At != "" {
		what += " at " + c.At
	}
	var whole any
	if json.Unmarshal(output, &whole) != nil && len(output) > 0 {
		add(what, "JSON", string(output))
		return
	}
	v, found := pointed(whole, c.At)
	found = found && len(output) > 0
	raw, err := json.Marshal(v)
	if err != nil {
		add(what, "JSON", err.Error())
		return
	}
	text, isText := v.(string)
	if !isText {
		text = string(raw)
	}
	switch {
	case c.Absent && found:
		add(what, "nothing", text)
	case c.Absent:
	case !found:
		add(what, "a value", "nothing; the output is "+string(output))
	}
	if c.Absent || !found {
		return
	}
	if c.Equals != nil {
		want, err := json.Marshal(c.Equals)
		var same any
		if err != nil || json.Unmarshal(want, &same) != nil || !reflect.DeepEqual(same, v) {
			add(what, string(want), string(raw))
		}
	}
	if c.Contains != "" && !strings.Contains(text, c.Contains) {
		add(what, "something with "+strconv.Quote(c.Contains), text)
	}
	if c.Matches != "" && !regexp.MustCompile(c.Matches).MatchString(text) { // it was compiled when the file was read
		add(what, "something that matches "+c.Matches, text)
	}
}

// pointed follows a JSON pointer (RFC 6901).
func pointed(v any, pointer string) (any, bool) {
	if pointer == "" {
		return v, true
	}
	for token := range strings.SplitSeq(pointer[1:], "/") {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		switch in := v.(type) {
		case map[string]any:
			next, ok := in[token]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(in) {
				return nil, false
			}
			v = in[i]
		default:
			return nil, false
		}
	}
	return v, true
}
