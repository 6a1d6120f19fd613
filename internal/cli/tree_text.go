package cli

import (
	"fmt"
	"strings"
	"time"

	"polity.run"
)

// linesMax is how many lines a tree has at most; what is more is counted.
const linesMax = 2000

// spinner turns while something runs.
var spinner = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// picture is how a tree is drawn.
type picture struct {
	now     time.Time
	columns int // 0 for no limit
	frame   int // which picture of the spinner
	styled  bool
}

// lines draws a tree, one line for each step.
func (t *tree) lines(p picture) []string {
	var out []string
	var draw func(s *step, lead, below string)
	draw = func(s *step, lead, below string) {
		if len(out) >= linesMax {
			return
		}
		out = append(out, p.line(t, s, lead))
		for i, child := range s.steps {
			if i == len(s.steps)-1 {
				draw(child, below+"└─ ", below+"   ")
			} else {
				draw(child, below+"├─ ", below+"│  ")
			}
		}
	}
	draw(t.root, "", "")
	if more := len(t.all) - len(out); more > 0 {
		out = append(out, fmt.Sprintf("… and %s more", count(more, "step")))
	}
	return out
}

// line draws one step: its sign, its name, who does it, how long it took, and what went wrong.
func (p picture) line(t *tree, s *step, lead string) string {
	text := lead + p.sign(t, s) + " " + s.name
	if who := s.who(); who != "" {
		text += " (" + who + ")"
	}
	if took := s.took(p.now); took > 0 && (t.live || !s.end.IsZero()) {
		text += "  " + seconds(took)
	}
	switch {
	case s.fault != nil:
		text += "  " + clean(faultText(s.fault))
	case s.end.IsZero() && !t.live && s != t.root:
		text += "  not done"
	case s.state != stateDone && s.state != stateRunning:
		text += "  " + s.state
	}
	if p.columns > 0 {
		text = clip(text, p.columns)
	}
	if !p.styled {
		return text
	}
	return p.style(s, text)
}

func (p picture) sign(t *tree, s *step) string {
	switch s.state {
	case stateDone:
		return "✓"
	case stateRunning:
		if t.live {
			return spinner[p.frame%len(spinner)]
		}
		return "·"
	case polity.StatusExhausted.String():
		return "!"
	default:
		return "✗"
	}
}

// style colours the sign of a step.
func (p picture) style(s *step, text string) string {
	sign, colour := "✓", "32"
	switch s.state {
	case stateDone:
	case stateRunning:
		return text
	case polity.StatusExhausted.String():
		sign, colour = "!", "33"
	default:
		sign, colour = "✗", "31"
	}
	return strings.Replace(text, sign, "\x1b["+colour+"m"+sign+"\x1b[0m", 1)
}

// event writes what changed as one line, for where no picture can be drawn.
func (t *tree) event(s *step, c change, at time.Time) string {
	word := s.state
	switch {
	case c == changeBegan && !strings.Contains(s.path(), "/"):
		word = "started"
	case c == changeBegan:
		return "" // the small steps are told when they are done
	case c == changeTold && s.cancelled:
		word = "cancelling"
	case c == changeTold:
		word = s.told
	}
	where, what := s.path(), s.who()
	if i := strings.LastIndexByte(where, '/'); i >= 0 {
		where, what = where[:i], where[i+1:]
	}
	if where == "" {
		where, what = "run", s.agent
	}
	if s.fault != nil && c == changeEnded {
		word = clean(faultText(s.fault))
		if !strings.HasPrefix(word, s.state) {
			word = s.state + ": " + word
		}
	}
	if n := s.usage.Tokens(); n > 0 && c == changeEnded {
		word += fmt.Sprintf(", %d tokens, $%.4f", n, float64(s.usage.MicroUSD)/1e6)
	}
	if s.asked && c == changeEnded {
		word += ", its destination was asked"
	}
	if len(s.receipt) > 0 && c == changeEnded {
		word += ", receipt " + string(s.receipt)
	}
	since := at.Sub(t.root.start)
	if t.root.start.IsZero() {
		since = 0
	}
	return strings.TrimRight(fmt.Sprintf("%8s  %-16s  %-24s  %s", seconds(since), where, what, clean(word)), " ")
}
