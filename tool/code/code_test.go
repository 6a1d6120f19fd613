package code_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/schema"
	"polity.run/tool"
	"polity.run/tool/code"
	"polity.run/tool/files"
	"polity.run/tool/tooltest"
)

func Example() {
	dir, err := os.MkdirTemp("", "code")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/m\n\ngo 1.26\n\nrequire example.com/x v0.1.0\n"), 0o644); err != nil {
		fmt.Println(err)
		return
	}
	tools, err := code.Tools()
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := tools[0].Call(context.Background(), tool.Call{Folder: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	var report polity.Report
	if err := json.Unmarshal(out, &report); err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range report.Claims[:2] {
		fmt.Println(c.Stance, c.Severity, c.Text)
	}
	fmt.Printf("%+v\n", report.Claims[0].Evidence[0])
	// Output:
	// against high go.mod requires 1 module but there is no go.sum, so nothing proves that a build uses the same code.
	// against high The folder has no licence file, so nobody but its owner has a right to use the code.
	// {File:go.mod Line:5 Text:require example.com/x v0.1.0 Missing:false Call:}
}

var names = []string{"code.dependencies", "code.tests", "code.hotspots", "code.risks", "code.docs"}

// find returns the tool of that name.
func find(t testing.TB, all []tool.Tool, err error, name string) tool.Tool {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		if x.Spec().Name == name {
			return x
		}
	}
	t.Fatalf("no tool %s", name)
	return nil
}

// report calls a tool and checks what holds for every report: its schema accepts it, every piece of
// its evidence is confirmed by files.cite, and a second call gives the same bytes.
func report(t testing.TB, name, dir string) polity.Report {
	t.Helper()
	all, err := code.Tools()
	x := find(t, all, err, name)
	out, err := x.Call(t.Context(), tool.Call{Folder: dir})
	if err != nil {
		t.Fatal(err)
	}
	again, err := x.Call(t.Context(), tool.Call{Folder: dir})
	if err != nil || string(out) != string(again) {
		t.Errorf("%s: the second call differs: %v\n%s\n%s", name, err, out, again)
	}
	s, err := schema.Compile(x.Spec().Output)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(out); err != nil {
		t.Errorf("%s: output: %v", name, err)
	}
	var r polity.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	confirm(t, dir, r)
	return r
}

// confirm checks the evidence of every claim, and that every claim has some.
func confirm(t testing.TB, dir string, r polity.Report) {
	t.Helper()
	in := files.Cite{Citations: []polity.Evidence{}}
	for _, c := range r.Claims {
		if len(c.Evidence) == 0 || c.Text == "" || c.Stance == "" || c.Severity == "" {
			t.Errorf("an incomplete claim: %+v", c)
		}
		in.Citations = append(in.Citations, c.Evidence...)
	}
	input, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	all, err := files.Tools()
	out, err := find(t, all, err, "files.cite").Call(t.Context(), tool.Call{Folder: dir, Input: input})
	if err != nil {
		t.Fatal(err)
	}
	var cited files.Cited
	if err := json.Unmarshal(out, &cited); err != nil {
		t.Fatal(err)
	}
	for i, v := range cited.Results {
		if !v.OK {
			t.Errorf("the evidence %+v is refused: %s", in.Citations[i], v.Reason)
		}
	}
}

// said returns the claims as lines of text.
func said(r polity.Report) []string {
	lines := []string{}
	for _, c := range r.Claims {
		lines = append(lines, fmt.Sprintf("%s %s: %s", c.Stance, c.Severity, c.Text))
	}
	return lines
}

// wantSaid checks that the report says each of the lines, and nothing that holds one of the words in never.
func wantSaid(t testing.TB, r polity.Report, want []string, never ...string) {
	t.Helper()
	got := said(r)
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("not said: %s\nsaid:\n%s", w, strings.Join(got, "\n"))
		}
	}
	for _, n := range never {
		for _, g := range got {
			if strings.Contains(g, n) {
				t.Errorf("said, and should not be: %s", g)
			}
		}
	}
}

// wantNote checks that one of the notes holds the text.
func wantNote(t testing.TB, r polity.Report, text string) {
	t.Helper()
	if !strings.Contains(strings.Join(r.Notes, "\n"), text) {
		t.Errorf("no note holds %q: %q", text, r.Notes)
	}
}

// folder makes a folder of the given files.
func folder(t testing.TB, content map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range content {
		put(t, dir, name, text)
	}
	return dir
}

func put(t testing.TB, dir, name, text string) {
	t.Helper()
	file := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestToolsConform(t *testing.T) {
	all, err := code.Tools()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range all {
		got = append(got, x.Spec().Name)
		t.Run(x.Spec().Name, func(t *testing.T) { tooltest.Run(t, x, json.RawMessage(`{}`)) })
	}
	if diff := cmp.Diff(names, got); diff != "" {
		t.Error(diff)
	}
}

// TestStrangeFoldersAreReported: nothing that a folder can hold makes a tool fail.
func TestStrangeFoldersAreReported(t *testing.T) {
	for name, test := range map[string]struct {
		content map[string]string
		note    string // in every report
	}{
		"empty": {nil, "The folder has no files that can be looked at."},
		"no code": {map[string]string{"notes.txt": "hello\n", "a.csv": "1,2\n"},
			""},
		"empty files": {map[string]string{"a.go": "", "a_test.go": "", "README.md": "", "go.mod": "", "LICENSE": "", "package.json": "", ".env": "", "Dockerfile": "", "a.py": ""},
			""},
		"binary in disguise": {map[string]string{"a.go": "\x00\x01", "README.md": "\x00", "go.mod": "\x00", "LICENSE": "\x00", "a.py": "\x00", ".github/workflows/x.yml": "\x00"},
			""},
		"huge line": {map[string]string{"a.py": "x = '" + strings.Repeat("ab c ", 100_000) + "'\n", "b.go": "package b // " + strings.Repeat("é", 200_000), "README.md": strings.Repeat("[a](b) ", 50_000)},
			""},
		"too large": {map[string]string{"a.go": "package a\n" + strings.Repeat("// long\n", 140_000), "README.md": strings.Repeat("x\n", 600_000)},
			""},
		"broken": {map[string]string{"a.go": "pack age", "go.mod": "modul x\n", "package.json": "{", "Cargo.toml": "[", "pom.xml": "<a>", "pyproject.toml": "=", "composer.json": "[]", "package-lock.json": "{", "a.js": "}}}{{{((", "Dockerfile": "FROM", "a.py": "def f(\n"},
			""},
		"not UTF-8": {map[string]string{"a.py": "# TODO \xff\xfe\ndef f(\xff):\n  eval(\xffx)\n", "README.md": "\xff\xfe\xfa text\n\n[\xff](\xfe)\n", "LICENSE": "\xff", "requirements.txt": "\xff\xfe\nx\xff\n"},
			""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, test.content)
			for _, x := range names {
				r := report(t, x, dir)
				wantNote(t, r, test.note)
			}
		})
	}
}

func TestNothingIsReadOutsideOfTheFolder(t *testing.T) {
	outside := folder(t, map[string]string{"README.md": "# Outside\n\nThe outside world.\n", "a.go": "package a\n\nfunc Outside() { eval() }\n",
		".env": "PASSWORD=Zx81kQ93mv7\n", "go.mod": "module outside\n", "LICENSE": "MIT License outside\n", "x/LICENSE": "outside"})
	dir := t.TempDir()
	for _, name := range []string{"README.md", "a.go", ".env", "go.mod", "LICENSE"} {
		if err := os.Symlink(filepath.Join(outside, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "vendor")); err != nil {
		t.Fatal(err)
	}
	for _, x := range names {
		all, err := code.Tools()
		out, err := find(t, all, err, x).Call(t.Context(), tool.Call{Folder: dir})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(strings.ToLower(string(out)), "outside") || strings.Contains(string(out), "Zx81") {
			t.Errorf("%s: %s", x, out)
		}
	}
}

func TestReportsAreBounded(t *testing.T) {
	content := map[string]string{}
	for i := range 80 {
		content[fmt.Sprintf("m%02d/package.json", i)] = `{"dependencies":{"a":"*","b":"file:../../x"}}`
	}
	r := report(t, "code.dependencies", folder(t, content))
	if len(r.Claims) != 50 {
		t.Errorf("%d claims; want 50", len(r.Claims))
	}
	wantNote(t, r, "and 111 more were found")
	for i, c := range r.Claims {
		if i > 0 && c.Severity.Weight() > r.Claims[i-1].Severity.Weight() {
			t.Errorf("claim %d is heavier than the one before", i)
		}
		if len(c.Evidence) > 10 {
			t.Errorf("claim %d has %d pieces of evidence", i, len(c.Evidence))
		}
	}
}
