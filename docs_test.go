package polity_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are the documents that people read.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "examples/*/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = string(text)
		}
	}
	if len(all) < 10 {
		t.Fatalf("only %d pages found", len(all))
	}
	return all
}

var link = regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`)

// TestLinks wants every relative link of a page to lead somewhere.
func TestLinks(t *testing.T) {
	links := 0
	for name, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			}
		}
	}
	if links < 10 {
		t.Errorf("only %d links were checked", links)
	}
}

// TestDecisionsAreListed wants each decision on the page that lists them, and each page to say what it serves and what
// leaving costs.
func TestDecisionsAreListed(t *testing.T) {
	index, err := os.ReadFile("docs/adr/README.md")
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("docs/adr/0*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("no decisions: %v", err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		title, _, _ := strings.Cut(string(text), "\n")
		title = strings.TrimSpace(title[len("# 0000"):])
		if !strings.Contains(string(index), "("+filepath.Base(name)+") | "+title+" |") {
			t.Errorf("docs/adr/README.md does not list %s as %q", name, title)
		}
		for _, want := range []string{"| date | status | serves |", "**Question.**", "**Decision", "**Alternatives", "**Consequences.**", "**Cost of leaving.**"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s has no %q", name, want)
			}
		}
	}
}

// TestGoBlocks wants each Go program that a page shows to be the one that is compiled and run in examples.
func TestGoBlocks(t *testing.T) {
	program, err := os.ReadFile("examples/embed/main.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]bool{}
	for l := range strings.Lines(string(program)) {
		lines[strings.TrimSpace(l)] = true
	}
	found := 0
	for name, text := range pages(t) {
		for _, block := range blocks(text, "go") {
			found++
			for l := range strings.Lines(block) {
				if l = strings.TrimSpace(l); l != "" && !lines[l] {
					t.Errorf("%s shows %q, which examples/embed/main.go does not hold", name, l)
				}
			}
		}
	}
	if found == 0 {
		t.Error("no page shows a Go program")
	}
}

// blocks are the fenced blocks of a language.
func blocks(text, language string) []string {
	var out []string
	for {
		_, rest, ok := strings.Cut(text, "\n```"+language+"\n")
		if !ok {
			return out
		}
		block, after, _ := strings.Cut(rest, "\n```")
		out = append(out, block)
		text = after
	}
}
