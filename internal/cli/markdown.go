package cli

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

var entity = regexp.MustCompile(`^&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});`)

// mdText is any text as Markdown that shows just that text, on one line: nothing in it begins a
// link, an emphasis, a table's cell or HTML. It is not for the beginning of a line.
func mdText(text string) string {
	text = strings.TrimSpace(clean(text))
	var b strings.Builder
	for i, r := range text {
		switch r {
		case '\\', '`', '*', '[', ']', '|', '~':
			b.WriteByte('\\')
		case '_':
			if !inWord(text, i) { // only there it means emphasis
				b.WriteByte('\\')
			}
		case '<':
			b.WriteString("&lt;")
			continue
		case '&':
			if entity.MatchString(text[i:]) {
				b.WriteString("&amp;")
				continue
			}
		}
		b.WriteRune(r)
	}
	return b.String()
}

// inWord says whether the byte at i stands between letters or digits.
func inWord(text string, i int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:i])
	after, _ := utf8.DecodeRuneInString(text[i+1:])
	word := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	return word(before) && word(after)
}

// mdCode is any text as a code span on one line. Its fence is longer than any in the text. Within a
// table a pipe would end the cell, whatever it stands in: see mdCell.
func mdCode(text string) string {
	text = strings.TrimSpace(clean(text))
	if text == "" {
		return "` `"
	}
	longest, run := 0, 0
	for _, r := range text {
		if r == '`' {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
	}
	fence := strings.Repeat("`", longest+1)
	if strings.HasPrefix(text, "`") || strings.HasSuffix(text, "`") {
		text = " " + text + " "
	}
	return fence + text + fence
}

// mdCell is mdCode for a table.
func mdCell(text string) string {
	if text == "" {
		return ""
	}
	return strings.ReplaceAll(mdCode(text), "|", `\|`)
}

// mdBlock is text of more lines as a fenced block.
func mdBlock(language, text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + language + "\n" + strings.TrimRight(cleanBlock(text), "\n") + "\n" + fence + "\n"
}

// cleanBlock is cleanLines, but keeps what lines begin with.
func cleanBlock(text string) string {
	lines := strings.Split(strings.ToValidUTF8(text, "\ufffd"), "\n")
	for i, line := range lines {
		lines[i] = clean(strings.ReplaceAll(line, "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

var (
	heading = regexp.MustCompile(`(?m)^#+ .*$`)
	strong  = regexp.MustCompile(`\*\*([^*\n]+)\*\*`)
	under   = regexp.MustCompile(`(?m)^( +- )(.*)$`)
)

// styleMarkdown makes headings and what is strong bold on a terminal, and what stands below a finding dim.
func styleMarkdown(text string) string {
	text = heading.ReplaceAllString(text, "\x1b[1m$0\x1b[0m")
	text = under.ReplaceAllString(text, "$1\x1b[2m$2\x1b[0m")
	return strong.ReplaceAllString(text, "\x1b[1m$1\x1b[0m")
}
