package program

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/tool"
	"polity.run/tool/tooltest"
)

// one returns a tool that is declared alone.
func one(t *testing.T, e tool.Exec, d tool.ExecTool) tool.Tool {
	t.Helper()
	d.Name = "it"
	if e.Allow == nil {
		e.Allow = []string{"sh", "cat", "echo", "head"}
	}
	e.Tools = []tool.ExecTool{d}
	tools, err := Tools(tool.Source{Name: "s", Exec: &e})
	if err != nil {
		t.Fatal(err)
	}
	return tools[0]
}

func TestConforms(t *testing.T) {
	text := json.RawMessage(`{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}`)
	tooltest.Run(t, one(t, tool.Exec{}, tool.ExecTool{
		Description: "Shows the first lines of a file.", Command: []string{"head", "-n", "{count}", "--", "{file}"}, Effect: polity.EffectNone, Output: text,
		Input: json.RawMessage(`{"type":"object","properties":{"count":{"type":"integer"},"file":{"type":"string"}},"required":["count","file"],"additionalProperties":false}`),
	}), json.RawMessage(`{"count":1,"file":"README.md"}`))
}

func TestCalls(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("in the folder"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PASSED", "on")
	t.Setenv("SECRET", "x")
	script := func(text string) []string { return []string{"sh", "-c", text} }
	for name, test := range map[string]struct {
		e     tool.Exec
		d     tool.ExecTool
		input string
		want  string
		kind  fault.Kind
		text  string
	}{
		"reads the folder":       {d: tool.ExecTool{Command: []string{"cat", "{file}"}}, input: `{"file":"a.txt"}`, want: `{"text":"in the folder"}`},
		"input to stdin":         {d: tool.ExecTool{Command: []string{"cat"}}, input: `{"a":[1,"b"]}`, want: `{"a":[1,"b"]}`},
		"nothing printed":        {d: tool.ExecTool{Command: script("true")}, want: `{"text":""}`},
		"no UTF-8":               {d: tool.ExecTool{Command: script(`printf 'a\377'`)}, want: `{"text":"a�"}`},
		"no shell reads a value": {d: tool.ExecTool{Command: []string{"echo", "{x}"}}, input: `{"x":"$(id); rm -rf / #"}`, want: `{"text":"$(id); rm -rf / #"}`},
		"environment": {e: tool.Exec{Env: []string{"A=b", "PASSED"}}, d: tool.ExecTool{Command: script(`echo $A $PASSED $SECRET $POLITY_KEY`)},
			want: `{"text":"b on 0-a#b"}`},
		"its own folder":   {d: tool.ExecTool{Command: script(`echo x > $HOME/y && cat $TMPDIR/y`)}, want: `{"text":"x"}`},
		"folder: write":    {e: tool.Exec{Sandbox: &tool.Sandbox{Folder: tool.AccessWrite}}, d: tool.ExecTool{Command: script(`echo x > new && cat new`)}, want: `{"text":"x"}`},
		"fails":            {d: tool.ExecTool{Command: script(`echo because >&2; exit 3`)}, kind: fault.Failed, text: "exit status 3: because"},
		"writes":           {d: tool.ExecTool{Command: script(`echo x > a.txt`)}, kind: fault.Failed, text: "sandbox"},
		"kills itself":     {d: tool.ExecTool{Command: script(`sh -c 'kill -9 $$'; exit 0`)}, want: `{"text":""}`},
		"too much output":  {d: tool.ExecTool{Command: script(`cat /dev/zero`), Effect: polity.EffectNone}, kind: fault.Exhausted, text: "bytes of output"},
		"and external":     {d: tool.ExecTool{Command: script(`cat /dev/zero`)}, kind: fault.Unknown, text: "nobody knows"},
		"not there":        {e: tool.Exec{Allow: []string{"no-such-program"}}, d: tool.ExecTool{Command: []string{"no-such-program"}}, kind: fault.NotFound, text: "no-such-program"},
		"variable not set": {e: tool.Exec{Env: []string{"NOT_SET_ANYWHERE"}}, d: tool.ExecTool{Command: []string{"cat"}}, kind: fault.Denied, text: "NOT_SET_ANYWHERE"},
		"an option":        {d: tool.ExecTool{Command: []string{"cat", "{file}"}}, input: `{"file":"--version"}`, kind: fault.Invalid, text: "would be an option"},
		"not declared":     {d: tool.ExecTool{Command: []string{"cat", "{file}"}}, input: `{"file":"a","more":1}`, kind: fault.Invalid, text: "more"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := one(t, test.e, test.d).Call(t.Context(), tool.Call{Key: "0-a#b", Folder: dir, Input: json.RawMessage(test.input)})
			if test.kind == "" && (err != nil || string(got) != test.want) {
				t.Errorf("got %s %v, want %s", got, err, test.want)
			}
			if test.kind != "" && (!errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("got %s %v, want %s with %q", got, err, test.kind, test.text)
			}
		})
	}
	if got, err := os.ReadFile(filepath.Join(dir, "a.txt")); err != nil || string(got) != "in the folder" {
		t.Errorf("the folder was written: %q %v", got, err)
	}
}

// TestLate is a program that is too slow: what it was to do may be done or not.
func TestLate(t *testing.T) {
	for effect, want := range map[polity.Effect]fault.Kind{polity.EffectNone: fault.Timeout, polity.EffectKeyed: fault.Timeout, polity.EffectExternal: fault.Unknown} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := one(t, tool.Exec{}, tool.ExecTool{Command: []string{"sh", "-c", "sleep 60"}, Effect: effect}).Call(ctx, tool.Call{Folder: t.TempDir()})
		cancel()
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %s", effect, err, want)
		}
	}
}

// TestGit is the example of the guide, on a real repository.
func TestGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Log("there is no git here: the guide's example was not run, and the tests above use sh, cat, echo and head")
		return
	}
	dir := t.TempDir()
	for _, args := range [][]string{
		{"init", "-q"}, {"-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-q", "--allow-empty", "-m", "First step"},
	} {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	}
	log := one(t, tool.Exec{Allow: []string{"git"}}, tool.ExecTool{
		Command: []string{"git", "log", "--format=%s", "-n", "{count}"}, Effect: polity.EffectNone,
		Input: json.RawMessage(`{"type":"object","properties":{"count":{"type":"integer","minimum":1}},"required":["count"]}`),
	})
	got, err := log.Call(t.Context(), tool.Call{Folder: dir, Input: json.RawMessage(`{"count":3}`)})
	if err != nil || string(got) != `{"text":"First step"}` {
		t.Errorf("got %s %v", got, err)
	}
}

func TestDeclarations(t *testing.T) {
	cat := []string{"cat", "{x}"}
	for want, e := range map[string]tool.Exec{
		"want 1 to":                    {Allow: []string{"cat"}},
		"name 1 to":                    {Tools: []tool.ExecTool{{Name: "a", Command: cat}}},
		"an absolute path":             {Allow: []string{"./cat"}, Tools: []tool.ExecTool{{Name: "a", Command: cat}}},
		"allow does not name":          {Allow: []string{"cat"}, Tools: []tool.ExecTool{{Name: "a", Command: []string{"/bin/cat"}}}},
		"stand for the program":        {Allow: []string{"{x}"}, Tools: []tool.ExecTool{{Name: "a", Command: []string{"{x}"}}}},
		"zero byte":                    {Allow: []string{"cat"}, Tools: []tool.ExecTool{{Name: "a", Command: []string{"cat", "\x00"}}}},
		"no such property":             {Allow: []string{"cat"}, Tools: []tool.ExecTool{{Name: "a", Command: cat, Input: json.RawMessage(`{"properties":{"y":{}}}`)}}},
		"effect":                       {Allow: []string{"cat"}, Tools: []tool.ExecTool{{Name: "a", Command: cat, Effect: "some"}}},
		"declared twice":               {Allow: []string{"cat"}, Tools: []tool.ExecTool{{Name: "a", Command: cat}, {Name: "a", Command: cat}}},
		"not HOME":                     {Allow: []string{"cat"}, Env: []string{"HOME=/"}, Tools: []tool.ExecTool{{Name: "a", Command: cat}}},
		"want read or write":           {Allow: []string{"cat"}, Sandbox: &tool.Sandbox{Folder: "all"}, Tools: []tool.ExecTool{{Name: "a", Command: cat}}},
		"is not allowed in a name":     {Allow: []string{"cat"}, Tools: []tool.ExecTool{{Name: "a b", Command: cat}}},
		"input: ":                      {Allow: []string{"cat"}, Tools: []tool.ExecTool{{Name: "a", Command: cat, Input: json.RawMessage(`{"type":7}`)}}},
		"output: ":                     {Allow: []string{"cat"}, Tools: []tool.ExecTool{{Name: "a", Command: cat, Output: json.RawMessage(`{"type":7}`)}}},
		"receipt: path":                {Allow: []string{"cat"}, Tools: []tool.ExecTool{{Name: "a", Command: cat, Receipt: "X-Request-Id"}}},
		"a limit is negative":          {Allow: []string{"cat"}, Tools: []tool.ExecTool{{Name: "a", Command: cat, Timeout: -1}}},
		"files, network, limits or pr": {Allow: []string{"cat"}, Sandbox: &tool.Sandbox{Require: []tool.Protection{"all"}}, Tools: []tool.ExecTool{{Name: "a", Command: cat}}},
	} {
		if _, err := Tools(tool.Source{Name: "s", Exec: &e}); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", e, err, want)
		}
	}
	tools, err := Tools(tool.Source{Name: "s", Exec: &tool.Exec{Allow: []string{"cat"}, Tools: []tool.ExecTool{{Name: "a", Command: []string{"cat", "{x}", "{y}{x}"}}}}})
	want := tool.Spec{
		Name: "s.a", Version: "1", Description: "Runs cat {x} {y}{x}", Effect: polity.EffectExternal,
		Input: json.RawMessage(`{"additionalProperties":false,"properties":{"x":{"type":"string"},"y":{"type":"string"}},"required":["x","y"],"type":"object"}`),
	}
	if err != nil || len(tools) != 1 {
		t.Fatal(tools, err)
	}
	if diff := cmp.Diff(want, tools[0].Spec()); diff != "" {
		t.Error(diff)
	}
}

func TestFill(t *testing.T) {
	for name, test := range map[string]struct {
		command []string
		input   string
		want    []string
		text    string
	}{
		"all kinds":           {[]string{"x", "{a}", "{b}", "{c}"}, `{"a":"t","b":1.50,"c":true}`, []string{"x", "t", "1.50", "true"}, ""},
		"several in one":      {[]string{"x", "{a}:{b}"}, `{"a":"y z","b":2}`, []string{"x", "y z:2"}, ""},
		"other braces":        {[]string{"awk", "{print $1}", "{}", "{a}"}, `{"a":"f"}`, []string{"awk", "{print $1}", "{}", "f"}, ""},
		"placeholder in text": {[]string{"x", "{a}", "{b}"}, `{"a":"{b}","b":"c"}`, []string{"x", "{b}", "c"}, ""},
		"option":              {[]string{"x", "{a}"}, `{"a":"-rf"}`, nil, "would be an option"},
		"negative number":     {[]string{"x", "{a}"}, `{"a":-1}`, nil, "would be an option"},
		"within a word":       {[]string{"x", "--n={a}", "-{a}"}, `{"a":"-1"}`, []string{"x", "--n=-1", "--1"}, ""},
		"after --":            {[]string{"x", "--", "{a}"}, `{"a":"-rf"}`, []string{"x", "--", "-rf"}, ""},
		"before --":           {[]string{"x", "{a}", "--"}, `{"a":"--"}`, nil, "would be an option"},
		"missing":             {[]string{"x", "{a}"}, `{}`, nil, "missing"},
		"null":                {[]string{"x", "{a}"}, `{"a":null}`, nil, "missing"},
		"empty":               {[]string{"x", "{a}/"}, `{"a":""}`, nil, "empty"},
		"a list":              {[]string{"x", "{a}"}, `{"a":["b"]}`, nil, "want a text"},
		"zero byte":           {[]string{"x", "{a}"}, `{"a":"b\u0000c"}`, nil, "zero byte"},
		"long":                {[]string{"x", "{a}"}, `{"a":"` + strings.Repeat("y", valueMax+1) + `"}`, nil, "the most is"},
		"long together":       {[]string{"x", "{a}{a}{a}{a}{a}{a}{a}"}, `{"a":"` + strings.Repeat("y", valueMax) + `"}`, nil, "the most is"},
		"no object":           {[]string{"x", "{a}"}, `[]`, nil, "want an object"},
		"nothing to fill":     {[]string{"x"}, `[]`, []string{"x"}, ""},
	} {
		got, err := fill(test.command, json.RawMessage(test.input))
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if test.text == "" && err != nil || test.text != "" && (!errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), test.text)) {
			t.Errorf("%s: got %v, want %q", name, err, test.text)
		}
	}
}

// FuzzFill: whatever the input, a value stays in its argument, and makes no option before "--".
func FuzzFill(f *testing.F) {
	f.Add("{a}", `{"a":"b"}`)
	f.Add("x{a}{b}", `{"a":"-","b":-1}`)
	f.Add("--", `{"a":"\u0000"}`)
	f.Add("{a}{a}", `{"a":"--"}`)
	f.Fuzz(func(t *testing.T, word, input string) {
		command := []string{"p", word, "{a}", "--", "{a}"}
		out, err := fill(command, json.RawMessage(input))
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("got %v", err)
			}
			return
		}
		if len(out) != len(command) || out[0] != "p" || out[3] != "--" {
			t.Fatalf("the command became %q", out)
		}
		size := 0
		for i, arg := range out {
			size += len(arg) + 1
			if word != arg && strings.ContainsRune(arg, 0) {
				t.Errorf("a zero byte in %q", arg)
			}
			if i < 3 && strings.HasPrefix(arg, "-") && !strings.HasPrefix(command[i], "-") {
				t.Errorf("%q became the option %q", command[i], arg)
			}
		}
		if size > commandMax {
			t.Errorf("%d bytes", size)
		}
	})
}
