package polity_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"polity.run/internal/cli"
)

// TestUpgradingSchemasGuide does what the page does, from its first line to its last, and wants what it shows.
func TestUpgradingSchemasGuide(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "guide", "upgrading-schemas.md"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	ran := 0
	for _, b := range blocks(string(page)) {
		switch {
		case b.file != "":
			write(t, ".", b.file, b.text)
		case b.language == "console":
			for _, session := range regexp.MustCompile(`(?m)^\$ `).Split(b.text, -1)[1:] {
				line, want, _ := strings.Cut(session, "\n")
				args, ok := polityArgs("$ " + line)
				if !ok {
					t.Fatalf("%q is no command", line)
				}
				var said bytes.Buffer
				code := cli.Main(t.Context(), args, strings.NewReader(""), &said, &said)
				if said.String() != want || (code == 0) == strings.Contains(want, "breaks") {
					t.Errorf("%s\nexit code %d, and it says\n%s\nthe page says\n%s", line, code, &said, want)
				}
				ran++
			}
		}
	}
	if ran < 5 {
		t.Errorf("only %d commands were run", ran)
	}
}
