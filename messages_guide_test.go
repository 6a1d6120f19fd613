package polity_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"polity.run/internal/cli"
)

// TestMessagesGuide runs the sessions of the page about messages, one after the other, and wants them to print what the page says: "…" stands for
// anything within a line, alone for any lines.
func TestMessagesGuide(t *testing.T) {
	page, err := os.ReadFile("docs/guide/messages.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	t.Setenv("XDG_STATE_HOME", filepath.Join(t.TempDir(), "state"))
	ran := 0
	for _, b := range blocks(string(page)) {
		switch b.language {
		case "yaml":
			write(t, ".", b.file, b.text)
		case "console":
			for session := range strings.SplitSeq("\n"+b.text, "\n$ polity ") {
				command, want, _ := strings.Cut(session, "\n")
				if command == "" {
					continue
				}
				ran++
				args, ok := polityArgs("$ polity " + command)
				if !ok {
					t.Fatalf("the line cannot be run here: %s", command)
				}
				var out bytes.Buffer
				cli.Main(context.Background(), append([]string{"--sync", "os"}, args...), strings.NewReader(""), &out, &out)
				if !told(out.String(), want) {
					t.Errorf("polity %s prints\n%s\nand the page says\n%s", command, out.String(), want)
				}
			}
		}
	}
	if ran < 15 {
		t.Errorf("only %d commands were run", ran)
	}
}

// told says whether a text is as a page shows it. Notes and what is logged are left out.
func told(got, want string) bool {
	var lines []string
	for line := range strings.Lines(got) {
		if !strings.HasPrefix(line, "note: ") && !strings.HasPrefix(line, "time=") {
			lines = append(lines, strings.TrimRight(line, " \n"))
		}
	}
	pattern := regexp.QuoteMeta(strings.TrimRight(want, "\n"))
	pattern = regexp.MustCompile(`(?m)^…\n`).ReplaceAllString(pattern+"\n", "(?:.*\n)*?")
	pattern = strings.ReplaceAll(pattern, "…", ".*")
	pattern = regexp.MustCompile(` +`).ReplaceAllString(pattern, " +")
	pattern = regexp.MustCompile(`(?: \+)+\n`).ReplaceAllString(pattern, "\n")
	return regexp.MustCompile(`^` + strings.TrimSuffix(pattern, "\n") + `\n?$`).MatchString(strings.Join(lines, "\n") + "\n")
}
