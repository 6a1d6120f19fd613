package polity_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"polity.run/engine"
	"polity.run/internal/cli"
	"polity.run/manifest"
	"polity.run/tool"
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

// block is a fenced block of a page.
type block struct {
	language string
	file     string // named by a line of its own before the block, as in `judge.py`:
	text     string
}

var fenced = regexp.MustCompile("(?ms)(?:^`([^`\n]+)`:\n\n)?^```([a-z]*)\n(.*?)^```$")

// blocks are the fenced blocks of a page.
func blocks(page string) []block {
	var all []block
	for _, m := range fenced.FindAllStringSubmatch(page, -1) {
		all = append(all, block{language: m[2], file: m[1], text: m[3]})
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

// TestGoBlocks wants the lines of each Go block, in their order, to stand in one of the programs that are compiled and run.
func TestGoBlocks(t *testing.T) {
	var programs [][]string
	for _, name := range []string{"examples/embed/main.go", "guide_test.go", "script/saga_test.go", "script/example_test.go", "examples/outside/pricer/main.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, trimmed(string(text)))
	}
	found := 0
	for name, text := range pages(t) {
		for _, b := range blocks(text) {
			if b.language != "go" {
				continue
			}
			found++
			lines := trimmed(b.text)
			if !slices.ContainsFunc(programs, func(program []string) bool { return holds(program, lines) }) {
				t.Errorf("%s shows Go lines that no tested program holds in this order:\n%s", name, b.text)
			}
		}
	}
	if found < 2 {
		t.Errorf("only %d Go blocks were found", found)
	}
}

// trimmed are the lines of a text that are not blank, without white space around them.
func trimmed(text string) []string {
	var lines []string
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l != "" {
			lines = append(lines, l)
		}
	}
	return lines
}

// holds says whether the lines stand in the program in their order, perhaps with others between them.
func holds(program, lines []string) bool {
	for _, l := range lines {
		i := slices.Index(program, l)
		if i < 0 {
			return false
		}
		program = program[i+1:]
	}
	return true
}

// TestManifestBlocks loads every manifest that a page shows, with the files that the page shows beside it.
func TestManifestBlocks(t *testing.T) {
	env := builtin(t)
	found := 0
	for name, text := range pages(t) {
		all := blocks(text)
		for i, b := range all {
			if b.language != "yaml" || !strings.HasPrefix(b.text, "polity: v1\n") {
				continue
			}
			found++
			t.Run(fmt.Sprintf("%s/%d", name, i), func(t *testing.T) {
				dir := t.TempDir()
				write(t, dir, "polity.yaml", b.text)
				for _, beside := range all {
					if beside.file != "" && beside.file != "polity.yaml" {
						write(t, dir, beside.file, beside.text)
					}
				}
				m, err := manifest.Load(dir, env)
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range m.Warnings {
					t.Errorf("warning: %s", w)
				}
			})
		}
	}
	if found < 3 {
		t.Errorf("only %d manifests were found", found)
	}
}

// builtin is what the program polity has built in.
func builtin(t *testing.T) manifest.Env {
	t.Helper()
	tools, err := engine.Tools()
	if err != nil {
		t.Fatal(err)
	}
	env := manifest.Env{Specs: engine.Specs, Tools: map[string]tool.Spec{}}
	for _, x := range tools {
		env.Tools[x.Spec().Name] = x.Spec()
	}
	for _, m := range engine.Models() {
		env.Models = append(env.Models, m.Name())
	}
	return env
}

// write puts a file into a folder. One that names its interpreter can be executed.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	mode := os.FileMode(0o600)
	if strings.HasPrefix(text, "#!") {
		mode = 0o700
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), mode)); err != nil {
		t.Fatal(err)
	}
}

// TestConsoleBlocks wants each command that a page shows to exist, with the flags that it is shown with.
func TestConsoleBlocks(t *testing.T) {
	found := 0
	for name, text := range pages(t) {
		for _, b := range blocks(text) {
			if b.language != "console" {
				continue
			}
			for l := range strings.Lines(b.text) {
				args, ok := polityArgs(l)
				if !ok {
					continue
				}
				found++
				if err := understood(args); err != nil {
					t.Errorf("%s: %s: %v", name, strings.TrimSpace(l), err)
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d commands were found", found)
	}
}

func TestUnderstood(t *testing.T) {
	tests := map[string]struct {
		line string
		want bool
	}{
		"a command":         {`$ polity runs list --status running`, true},
		"with a question":   {`$ go run ./cmd/polity run a --in . "Is it?" > out.md`, true},
		"no such command":   {`$ polity rnu a`, false},
		"no such part":      {`$ polity runs lst`, false},
		"no such flag":      {`$ polity run a --inn .`, false},
		"no value for that": {`$ polity runs list --status odd`, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			args, ok := polityArgs(tt.line)
			if !ok {
				t.Fatal("it is not taken for a command")
			}
			if err := understood(args); (err == nil) != tt.want {
				t.Errorf("understood(%q) = %v, want it to be understood: %t", args, err, tt.want)
			}
		})
	}
}

var polityLine = regexp.MustCompile(`^\$ (?:\w+=\S+ )*(?:bin/polity|polity|go run \./cmd/polity)(?: (.*))?$`)

// polityArgs are the arguments of a console line that runs polity, as far as the shell would pass them.
func polityArgs(line string) ([]string, bool) {
	m := polityLine.FindStringSubmatch(strings.TrimSpace(line))
	if m == nil {
		return nil, false
	}
	var args []string
	for _, word := range shellWord.FindAllString(m[1], -1) {
		if strings.ContainsAny(word[:1], "|>&;#") || strings.HasPrefix(word, "2>") {
			break
		}
		args = append(args, strings.Trim(word, `"'`))
	}
	return args, true
}

var shellWord = regexp.MustCompile(`"[^"]*"|'[^']*'|\S+`)

// understood asks for the help of a command line. A group's help shows that a word after its name is no command of it.
func understood(args []string) error {
	if i := slices.Index(args, "--"); i >= 0 { // what follows is another program's
		args = args[:i]
	}
	var out, complaints bytes.Buffer
	code := cli.Main(context.Background(), append(slices.Clone(args), "--help"), strings.NewReader(""), &out, io.MultiWriter(&out, &complaints))
	if code != 0 {
		return fmt.Errorf("exit code %d: %s", code, complaints.String())
	}
	if !strings.Contains(out.String(), "\nAvailable Commands:\n") {
		return nil
	}
	depth := strings.Count(strings.TrimSuffix(usageLine.FindString(out.String()), " [command]"), " ") - 2
	words := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return strings.HasPrefix(a, "-") })
	if len(words) > depth {
		return fmt.Errorf("%q is no command", words[depth])
	}
	return nil
}

var usageLine = regexp.MustCompile(`(?m)^  polity.* \[command\]$`)

// TestParentsAwk gives the script of the guide what the debug exporter of a collector prints.
func TestParentsAwk(t *testing.T) {
	span := func(id, parent string) string {
		return "Span #0\n    Trace ID       : 27\n    Parent ID      : " + parent + "\n    ID             : " + id + "\n    Name           : invoke_agent the chief\n" +
			"     -> Name: Str(x)\n"
	}
	tests := map[string]struct {
		log, want string
		code      int
	}{
		"whole":        {span("b", "a") + span("a", "") + span("a", ""), "trace 27: 2 spans, 1 roots, 0 missing parents\n", 0},
		"one missing":  {span("b", "c") + span("a", ""), "missing: parent c of invoke_agent the chief (27/b)\ntrace 27: 2 spans, 1 roots, 1 missing parents\n", 1},
		"nothing told": {"Everything is ready.\n", "no spans\n", 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			awk := exec.CommandContext(t.Context(), "awk", "-f", "docs/telemetry/parents.awk")
			awk.Stdin = strings.NewReader(tt.log)
			out, err := awk.CombinedOutput()
			if awk.ProcessState == nil {
				t.Fatal(err)
			}
			if got := awk.ProcessState.ExitCode(); got != tt.code || string(out) != tt.want {
				t.Errorf("exit code %d, want %d:\n%s", got, tt.code, out)
			}
		})
	}
}
