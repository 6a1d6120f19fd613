package code_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const readme = `<p align="center"><img src="x.png"></p>

# Widget

[![build](https://ci/badge.svg)](https://ci)

Widget turns [things](https://x.y) into
other things.

It is fast.

## Getting started

` + "```sh\nmake install # [not](a-link)\n```" + `

## Usage

Run it, see [the guide](docs/guide.md#run), [gone](docs/gone.md) and ` + "`[code](nowhere)`" + `.

[ref]: ./missing%20file.txt

## License

MIT, see [LICENSE](LICENSE "terms") and [home](https://example.com/x), [top](#widget), [mail](mailto:a@b.c).
`

func TestDocumentsOfAProject(t *testing.T) {
	dir := folder(t, map[string]string{
		"README.md": readme, "LICENSE": mit, "CHANGELOG.md": "# Changes\n", "docs/guide.md": "# Guide\n\n[back](../README.md)\n\n[site](/absolute/page)\n\n[out](../../other/x.md)\n",
		".github/CONTRIBUTING.md": "Be kind.\n", "examples/README.md": "[broken](but-not-ours)\n",
	})
	r := report(t, "code.docs", dir)
	want := []string{
		"against medium: No SECURITY document says how to report a vulnerability.",
		"against low: 2 of 7 relative links in Markdown files lead to nothing: README.md:20 to docs/gone.md, README.md:22 to ./missing file.txt.",
		"for low: README.md introduces the folder in 15 lines of text and 4 sections.",
		"for low: README.md has sections for 3 of the 3 things a newcomer looks for (installation, use, licence).",
		"for low: README.md shows code or commands to copy.",
		"for low: CHANGELOG.md says what changed between versions.",
		"for low: .github/CONTRIBUTING.md says how to contribute.",
		"for low: A folder of documents holds 1 page.",
	}
	if diff := cmp.Diff(want, said(r)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("Widget turns things into other things.", r.Summary); diff != "" {
		t.Error(diff)
	}
}

func TestPoorDocuments(t *testing.T) {
	wantSaid(t, report(t, "code.docs", folder(t, map[string]string{"a.go": "package a\n"})), []string{
		"against medium: The folder has no README, so a newcomer is told neither what it is nor how to run it.",
		"against low: No CHANGELOG says what changed between versions.",
		"against low: No CONTRIBUTING says how changes are made and accepted.",
	})
	wantSaid(t, report(t, "code.docs", folder(t, map[string]string{"readme.rst": "Widget\n======\n\nText.\n"})), []string{
		"against medium: readme.rst is short: 3 lines of text.",
		"against low: No heading of readme.rst says how to install it, or how to use it, or its licence.",
		"against low: readme.rst shows no code or command to copy.",
	}, "has no README")
	wantSaid(t, report(t, "code.docs", folder(t, map[string]string{"README": "\x00"})), []string{"against high: README holds no text."})
}

func TestCommentsOnGoNames(t *testing.T) {
	src := `// Package a is a.
package a

// A is documented.
type A struct{}

// B is documented.
func (A) B() {}

func (A) C() {}

func D() {}

// Group.
const (
	E = 1
	F = 2
)

var G = 1 // is documented

type hidden struct{}

func (hidden) Exported() {}

func helper() {}
`
	for name, test := range map[string]struct {
		content map[string]string
		want    string
		never   string
	}{
		"some": {map[string]string{"a.go": src}, "against low: 71% of 7 exported Go names have a doc comment; the others are not explained.", ""},
		"all": {map[string]string{"a.go": strings.NewReplacer("func (A) C() {}", "", "func D() {}", "").Replace(src)},
			"for medium: Each of the 5 exported Go names is explained by a comment.", ""},
		"few": {map[string]string{"a.go": "package a\n\nfunc A() {}\nfunc B() {}\nfunc C() {}\nfunc D() {}\nfunc E() {}\n"}, "against medium: Only 0% of 5 exported Go names have a doc comment.", ""},
		"not for others": {map[string]string{"internal/a.go": src, "cmd/main.go": "package main\n\nfunc A() {}\nfunc B() {}\nfunc C() {}\nfunc D() {}\nfunc E() {}\n", "a_test.go": src},
			"", "exported Go names"},
		"python": {map[string]string{"a.py": "class A:\n    \"\"\"Doc.\"\"\"\n    def b(self,\n          x=1):  # why\n        '''Doc.'''\n    def c(self):\n        return 1\n    def _d(self):\n        pass\n\ndef e() -> None:\n\n    r\"\"\"Doc.\"\"\"\n    def nested():\n        pass\n\ndef f(): return 1\n"},
			"against low: 60% of 5 public Python functions and classes have a docstring, as far as lines show; the others are not explained.", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := report(t, "code.docs", folder(t, test.content))
			if test.want != "" {
				wantSaid(t, r, []string{test.want})
			}
			if test.never != "" {
				wantSaid(t, r, nil, test.never)
			}
		})
	}
	wantNote(t, report(t, "code.docs", folder(t, map[string]string{"a.go": "pack age"})), "1 file was not parsed as Go: a.go.")
}
