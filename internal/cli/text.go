package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"

	"polity.run/fault"
)

// clean makes one line of any text, with nothing in it that moves a cursor, hides or turns around what is read.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u200b' || r == '\ufeff':
			return -1
		default:
			return r
		}
	}, strings.ToValidUTF8(text, "\ufffd"))
}

// cleanLines is clean for text of more lines.
func cleanLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(clean(lines[i]), " ")
	}
	return strings.Join(lines, "\n")
}

// isTerminal says whether something is shown to a person.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// styled says whether text for w may be styled: by https://no-color.org and CLICOLOR_FORCE.
func styled(w io.Writer) bool {
	switch {
	case os.Getenv("NO_COLOR") != "":
		return false
	case os.Getenv("CLICOLOR_FORCE") != "" && os.Getenv("CLICOLOR_FORCE") != "0":
		return true
	default:
		return isTerminal(w) && os.Getenv("TERM") != "dumb"
	}
}

// writeJSON writes a value as indented JSON.
func (a *app) writeJSON(v any) error {
	data, err := marshal(v)
	if err != nil {
		return err
	}
	return a.out(data)
}

// marshal writes indented JSON with its text unchanged: <, > and & stay as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, fault.Internal.New("write JSON: %w", err)
	}
	return b.Bytes(), nil
}

// seconds writes a duration for people.
func seconds(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 10*time.Second:
		return fmt.Sprintf("%.2fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
}

// moment writes a time for people.
func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// count writes a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// table writes rows with their columns below each other. The last column is not padded.
func table(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			line += cell + strings.Repeat(" ", widths[i]-width(cell)+2)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// wide is the first character that may take two columns of a terminal.
const wide = 0x1100

// width is how many columns a text takes, at most.
func width(text string) int {
	n := 0
	for _, r := range text {
		switch {
		case unicode.Is(unicode.Mn, r):
		case r >= wide && (r < 0x2000 || r > 0x2bff): // but for punctuation, arrows, boxes and signs
			n += 2
		default:
			n++
		}
	}
	return n
}

// clip cuts a text to so many columns.
func clip(text string, columns int) string {
	if width(text) <= columns {
		return text
	}
	n := 0
	for i, r := range text {
		if n += width(string(r)); n > columns-1 {
			return text[:i] + "…"
		}
	}
	return text
}
