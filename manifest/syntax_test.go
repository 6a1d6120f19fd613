package manifest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run/fault"
	"polity.run/manifest"
)

// load loads a manifest with the given text.
func load(t *testing.T, text string) (*manifest.Manifest, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), manifest.FileName)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return manifest.Load(path, env())
}

// places shortens problems to their places, texts and fixes.
func places(t *testing.T, err error) string {
	t.Helper()
	var problems manifest.Problems
	if !errors.As(err, &problems) || !errors.Is(err, fault.Invalid) {
		t.Fatalf("want problems, got %v", err)
	}
	var lines []string
	for _, p := range problems {
		lines = append(lines, strings.TrimSuffix(fmt.Sprintf("%d:%d %s; %s", p.Line, p.Column, p.Text, p.Fix), "; "))
	}
	return strings.Join(lines, "\n")
}

func TestTextThatIsNoYAML(t *testing.T) {
	const head = "polity: v1\nname: x\n"
	tests := map[string]struct{ text, want string }{
		"empty":          {"", `0:0 the file is empty; begin it with "polity: v1"`},
		"only a comment": {"# x\n", `0:0 the file is empty; begin it with "polity: v1"`},
		"null":           {"---\n~\n", `0:0 the file is empty; begin it with "polity: v1"`},
		"a list":         {"- a\n", "1:1 this is a list; want a mapping"},
		"a text":         {"hello\n", `1:1 this is the text "hello"; want a mapping`},
		"two documents":  {head + "agents: {a: {use: greeter}}\n---\npolity: v1\n", "4:1 a second document begins here; write one manifest per file and delete the line ---"},
		"second document broken": {head + "agents: {a: {use: greeter}}\n---\n[\n",
			"6:1 this is not YAML: did not find expected node content"},
		"tab": {head + "agents:\n\ta: {use: greeter}\n",
			"4:1 a tab indents this line (found character that cannot start any token); indent with spaces"},
		"tab after spaces": {head + "agents:\n  a:\n  \tuse: greeter\n",
			"5:3 a tab indents this line (found character that cannot start any token); indent with spaces"},
		"indentation": {head + "agents:\n  a:\n    use: greeter\n   b:\n    use: greeter\n",
			"6:4 this is not YAML: did not find expected key; indent this line like its neighbours"},
		"open bracket": {head + "agents: {a: {use: greeter}\n",
			"3:1 this is not YAML: did not find expected ',' or '}'; close the bracket that opens here"},
		"open quote": {head + "description: \"x\nagents: {a: {use: greeter}}\n",
			"3:1 this is not YAML: found unexpected end of stream; close the quote that opens here"},
		"colon in a text": {head + "description: note: this\n",
			`3:1 this is not YAML: mapping values are not allowed in this context; a text that holds ": " needs quotes`},
		"no colon": {head + "description\nagents: {}\n",
			`3:1 this is not YAML: could not find expected ':'; write "name: value"`},
		"at sign": {head + "description: @x\n",
			"3:1 this is not YAML: found character that cannot start any token; a text that begins with @, ` or % needs quotes"},
		"unknown alias": {head + "agents: *x\n",
			"3:1 this is not YAML: unknown anchor 'x' referenced; write the value out where it is needed"},
		"not UTF-8":         {head + "description: gr\xfcn\n", "3:16 byte 0xfc is not UTF-8; save the file as plain UTF-8 text"},
		"UTF-16":            {"\xff\xfep\x00", "1:1 byte 0xff is not UTF-8; save the file as plain UTF-8 text"},
		"control character": {head + "description: é\x00\n", "3:15 control character U+0000 is not allowed; save the file as plain UTF-8 text"},
		"line separator":    {head + "description: a\u2028b\n", "3:15 line separator U+2028 is not allowed; save the file as plain UTF-8 text"},
		"number as a key": {head + "agents: {1: {use: greeter}}\n",
			`3:9 there are none here; write at least one
3:10 this key is the number 1, not a text; write it in quotes: "1"`},
		"mapping as a key": {head + "agents: {{a: b}: {use: greeter}}\n",
			"3:9 there are none here; write at least one\n3:10 this key is not a plain text; write a name before the colon"},
		"not a number": {head + "agents: {a: {use: greeter, skills: [{name: s, input: {minimum: .nan, maximum: 0x10}}]}}\n",
			"3:64 .nan is not a number that JSON has; write it in decimal digits, or in quotes\n" +
				"3:79 0x10 is not a number that JSON has; write it in decimal digits, or in quotes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, test.text)
			if diff := cmp.Diff(test.want, places(t, err)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestByteOrderMarkAndWindowsLines(t *testing.T) {
	if _, err := load(t, "\ufeffpolity: v1\r\nname: x\r\nagents:\r\n  a: {use: greeter}\r\n"); err != nil {
		t.Fatal(err)
	}
	_, err := load(t, "polity: v1\rname: x\ragents:\r  a: {use: greter}\r")
	if err == nil || !strings.Contains(err.Error(), ":4:12: ") {
		t.Errorf("lines that end with a carriage return alone: %v", err)
	}
	_, err = load(t, "polity: v1\r\nname: x\r\nagents:\r\n  a: {use: greter}\r\n")
	if want := "    4 |   a: {use: greter}\n      |            ^"; !strings.HasSuffix(err.Error(), want) {
		t.Errorf("want the line without its carriage return, got %q", err)
	}
}

// TestMarkStandsBelow shows what a person sees: the mark is below the value in a line with tabs and
// with letters of several bytes, and in a line that is too long to be shown whole.
func TestMarkStandsBelow(t *testing.T) {
	tests := map[string]struct{ line, value string }{
		"letters": {`description: {"größe": 3}`, `{"größe"`},
		"tabs":    {"description:\t\t[x]", "[x]"},
		"long":    {"bounds: {turns: " + strings.Repeat(" ", 400) + "many, tokens: 3" + strings.Repeat(" ", 400) + "}", "many"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, "polity: v1\nname: x\nagents: {a: {use: greeter}}\n"+test.line+"\n")
			var problems manifest.Problems
			if !errors.As(err, &problems) {
				t.Fatal(err)
			}
			lines := strings.Split(problems[0].String(), "\n")
			if len(lines) != 3 {
				t.Fatalf("want three lines, got %q", lines)
			}
			column := strings.IndexByte(lines[2], '^')
			source := []rune(lines[1])
			if column < 0 || len(source) <= column || !strings.HasPrefix(string(source[column:]), test.value) {
				t.Errorf("the mark is not below %s:\n%s", test.value, strings.Join(lines, "\n"))
			}
			if len(source) > 140 {
				t.Errorf("the shown line has %d characters", len(source))
			}
		})
	}
}
