package files_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/tool"
	"polity.run/tool/files"
	"polity.run/tool/tooltest"
)

// tools returns the package's tools by name.
func tools(t testing.TB) map[string]tool.Tool {
	t.Helper()
	all, err := files.Tools()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]tool.Tool{}
	for _, x := range all {
		byName[x.Spec().Name] = x
	}
	return byName
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

// ask calls a tool and reads its output.
func ask[Out any](t testing.TB, x tool.Tool, dir string, in any) (Out, error) {
	t.Helper()
	var out Out
	input, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	data, err := x.Call(t.Context(), tool.Call{Folder: dir, Input: input})
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out, nil
}

// callIn is a call with an input as it is written.
func callIn(dir, input string) tool.Call {
	return tool.Call{Folder: dir, Input: json.RawMessage(input)}
}

func Example() {
	dir, err := os.MkdirTemp("", "files")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() {\n\tpanic(\"no\")\n}\n"), 0o644); err != nil {
		fmt.Println(err)
		return
	}
	all, err := files.Tools()
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, input := range []string{
		`{"glob":"**/*.go"}`,
		`{"path":"main.go","from":3,"lines":2}`,
		`{"citations":[{"file":"main.go","line":4,"text":"panic("},{"file":"main.go","line":3,"text":"panic("},{"file":"LICENSE","missing":true}]}`,
	} {
		out, err := all[i].Call(context.Background(), tool.Call{Folder: dir, Input: json.RawMessage(input)})
		fmt.Println(string(out), err)
	}
	// Output:
	// {"files":[{"path":"main.go","size":43}]} <nil>
	// {"path":"main.go","size":43,"total":5,"lines":[{"line":3,"text":"func main() {"},{"line":4,"text":"\tpanic(\"no\")"}]} <nil>
	// {"results":[{"ok":true},{"ok":false,"reason":"main.go:3 reads \"func main() {\""},{"ok":true}]} <nil>
}

func TestToolsConform(t *testing.T) {
	good := map[string]string{
		"files.list": `{"ext":[".go"]}`,
		"files.read": `{"path":"main.go"}`,
		"files.cite": `{"citations":[{"file":"README.md","line":1,"text":"# Exam"},{"file":"*.rs","missing":true}]}`,
	}
	for name, x := range tools(t) {
		t.Run(name, func(t *testing.T) { tooltest.Run(t, x, json.RawMessage(good[name])) })
	}
}

func TestOpenNamesWhatIsWrongWithAFolder(t *testing.T) {
	dir := folder(t, map[string]string{"file": "x"})
	for name, test := range map[string]struct {
		folder string
		want   error
	}{
		"none":     {"", fault.Invalid},
		"relative": {"here", fault.Invalid},
		"missing":  {filepath.Join(dir, "gone"), fault.NotFound},
		"a file":   {filepath.Join(dir, "file"), fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			for tool, input := range map[string]any{
				"files.list": files.List{}, "files.read": files.Read{Path: "file"}, "files.cite": files.Cite{Citations: []polity.Evidence{}},
			} {
				if _, err := ask[json.RawMessage](t, tools(t)[tool], test.folder, input); !errors.Is(err, test.want) {
					t.Errorf("%s: got %v; want %v", tool, err, test.want)
				}
			}
		})
	}
}

func TestList(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.go": "a", "b/c.go": "bc", "b/d.txt": "", "b-c.go": "x", "node_modules/x/index.js": "x", ".github/w.yml": "y",
	})
	for name, test := range map[string]struct {
		in   files.List
		want []string
		more int
	}{
		"all":              {files.List{}, []string{".github/w.yml", "a.go", "b/c.go", "b/d.txt", "b-c.go"}, 0},
		"glob at the top":  {files.List{Glob: "*.go"}, []string{"a.go", "b-c.go"}, 0},
		"glob anywhere":    {files.List{Glob: "**/*.go"}, []string{"a.go", "b/c.go", "b-c.go"}, 0},
		"folder":           {files.List{Glob: "b/**"}, []string{"b/c.go", "b/d.txt"}, 0},
		"extension":        {files.List{Ext: []string{".txt", ".yml"}}, []string{".github/w.yml", "b/d.txt"}, 0},
		"most":             {files.List{Max: 2}, []string{".github/w.yml", "a.go"}, 3},
		"goes on":          {files.List{Max: 2, After: "a.go"}, []string{"b/c.go", "b/d.txt"}, 1},
		"ends":             {files.List{Max: 2, After: "b/d.txt"}, []string{"b-c.go"}, 0},
		"nothing":          {files.List{Glob: "*.rs"}, []string{}, 0},
		"not foreign code": {files.List{Glob: "**/index.js"}, []string{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := ask[files.Listing](t, tools(t)["files.list"], dir, test.in)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, f := range out.Files {
				got = append(got, f.Path)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if out.More != test.more {
				t.Errorf("%d more; want %d", out.More, test.more)
			}
			if text := strings.Join(out.Notes, " "); !strings.Contains(text, "node_modules") {
				t.Errorf("the notes do not name what was not entered: %s", text)
			}
		})
	}
	for name, in := range map[string]files.List{
		"malformed glob":  {Glob: "a[/x"},
		"too many":        {Max: 5001},
		"negative":        {Max: -1},
		"ext without dot": {Ext: []string{"go"}},
	} {
		if _, err := ask[files.Listing](t, tools(t)["files.list"], dir, in); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v; want fault.Invalid", name, err)
		}
	}
}

func TestRead(t *testing.T) {
	dir := folder(t, map[string]string{
		"text": "one\r\n\ttwo\nthree", "empty": "", "binary": "a\x00b", "long": strings.Repeat("é", 1500) + "\nend\n",
		"huge": strings.Repeat("line\n", 300_000), "sub/x": "x", "bad": "a\xffb\n",
	})
	row := func(n int, s string) files.Row { return files.Row{Line: n, Text: s} }
	for name, test := range map[string]struct {
		in    files.Read
		want  []files.Row
		total int
		note  string
	}{
		"whole":       {files.Read{Path: "text"}, []files.Row{row(1, "one"), row(2, "\ttwo"), row(3, "three")}, 3, ""},
		"part":        {files.Read{Path: "text", From: 2, Lines: 1}, []files.Row{row(2, "\ttwo")}, 3, ""},
		"behind":      {files.Read{Path: "text", From: 9}, []files.Row{}, 3, "has 3 lines"},
		"empty":       {files.Read{Path: "empty"}, []files.Row{}, 0, "has 0 lines"},
		"binary":      {files.Read{Path: "binary"}, []files.Row{}, 0, "binary"},
		"long line":   {files.Read{Path: "long"}, []files.Row{row(1, strings.Repeat("é", 1000)), row(2, "end")}, 2, "cut at 2000 bytes"},
		"huge":        {files.Read{Path: "huge", From: 5, Lines: 1}, []files.Row{row(5, "line")}, 209716, "first 1048576 bytes"},
		"clean path":  {files.Read{Path: "./sub/../sub/x"}, []files.Row{row(1, "x")}, 1, ""},
		"not UTF-8":   {files.Read{Path: "bad"}, []files.Row{row(1, "a\uFFFDb")}, 1, ""},
		"last line 2": {files.Read{Path: "text", From: 3, Lines: 2000}, []files.Row{row(3, "three")}, 3, ""},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := ask[files.Page](t, tools(t)["files.read"], dir, test.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, out.Lines); diff != "" {
				t.Error(diff)
			}
			if notes := strings.Join(out.Notes, " "); out.Total != test.total || !strings.Contains(notes, test.note) || test.note == "" && notes != "" {
				t.Errorf("total %d, notes %q; want %d, %q", out.Total, notes, test.total, test.note)
			}
		})
	}
	for name, test := range map[string]struct {
		in   files.Read
		want error
	}{
		"missing":        {files.Read{Path: "gone"}, fault.NotFound},
		"below a file":   {files.Read{Path: "text/x"}, fault.NotFound},
		"a folder":       {files.Read{Path: "sub"}, fault.Invalid},
		"no path":        {files.Read{}, fault.Invalid},
		"out":            {files.Read{Path: "../x"}, fault.Invalid},
		"absolute":       {files.Read{Path: "/etc/passwd"}, fault.Invalid},
		"zero byte":      {files.Read{Path: "a\x00"}, fault.Invalid},
		"too many lines": {files.Read{Path: "text", Lines: 2001}, fault.Invalid},
		"negative":       {files.Read{Path: "text", From: -1}, fault.Invalid},
	} {
		if _, err := ask[files.Page](t, tools(t)["files.read"], dir, test.in); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v; want %v", name, err, test.want)
		}
	}
}

func TestCite(t *testing.T) {
	long := strings.Repeat("ü", 300)
	dir := folder(t, map[string]string{
		"a.go": "package a\n\n\tfunc  A() {} // é\n", "empty": "", "bin": "a\x00b", "long": long, "bad": "x \xff\xfe y\n",
		"huge": strings.Repeat("x", 1<<20+1), "sub/b_test.go": "package b\n", "vendor/v.go": "package v\n", "odd[1].txt": "o",
	})
	for name, test := range map[string]struct {
		e  polity.Evidence
		ok bool
	}{
		"whole line":             {polity.Evidence{File: "a.go", Line: 3, Text: "func  A() {} // é"}, true},
		"beginning":              {polity.Evidence{File: "a.go", Line: 3, Text: "func  A("}, true},
		"white space around":     {polity.Evidence{File: "a.go", Line: 3, Text: "\tfunc  A() "}, true},
		"clean path":             {polity.Evidence{File: "./sub/../a.go", Line: 1, Text: "package"}, true},
		"no text":                {polity.Evidence{File: "a.go", Line: 2}, true},
		"the file":               {polity.Evidence{File: "a.go"}, true},
		"the file contains":      {polity.Evidence{File: "a.go", Text: "A() {}"}, true},
		"a binary file":          {polity.Evidence{File: "bin"}, true},
		"a huge file":            {polity.Evidence{File: "huge"}, true},
		"an empty file":          {polity.Evidence{File: "empty"}, true},
		"cut":                    {polity.Evidence{File: "long", Line: 1, Text: files.Quote(long)}, true},
		"not UTF-8":              {polity.Evidence{File: "bad", Line: 1, Text: files.Quote("x \xff\xfe y")}, true},
		"foreign code by path":   {polity.Evidence{File: "vendor/v.go", Line: 1, Text: "package v"}, true},
		"missing":                {polity.Evidence{File: "LICENSE", Missing: true}, true},
		"missing below a file":   {polity.Evidence{File: "a.go/x", Missing: true}, true},
		"missing by glob":        {polity.Evidence{File: "*_test.go", Missing: true}, true},
		"missing by deep glob":   {polity.Evidence{File: "**/*.rs", Missing: true}, true},
		"middle of the line":     {polity.Evidence{File: "a.go", Line: 3, Text: "A()"}, false},
		"more than the line":     {polity.Evidence{File: "a.go", Line: 1, Text: "package ab"}, false},
		"other case":             {polity.Evidence{File: "a.go", Line: 1, Text: "Package"}, false},
		"behind the last line":   {polity.Evidence{File: "a.go", Line: 4, Text: ""}, false},
		"line of an empty file":  {polity.Evidence{File: "empty", Line: 1}, false},
		"negative line":          {polity.Evidence{File: "a.go", Line: -1}, false},
		"not contained":          {polity.Evidence{File: "a.go", Text: "func B"}, false},
		"line of a binary file":  {polity.Evidence{File: "bin", Line: 1, Text: "a"}, false},
		"line of a huge file":    {polity.Evidence{File: "huge", Line: 1, Text: "x"}, false},
		"no such file":           {polity.Evidence{File: "b.go"}, false},
		"a folder":               {polity.Evidence{File: "sub"}, false},
		"no file":                {polity.Evidence{}, false},
		"out of the folder":      {polity.Evidence{File: "../a.go"}, false},
		"absolute":               {polity.Evidence{File: "/etc/passwd"}, false},
		"missing but there":      {polity.Evidence{File: "a.go", Missing: true}, false},
		"missing but a folder":   {polity.Evidence{File: "sub", Missing: true}, false},
		"missing outside":        {polity.Evidence{File: "../gone", Missing: true}, false},
		"missing but matched":    {polity.Evidence{File: "**/*_test.go", Missing: true}, false},
		"missing, not entered":   {polity.Evidence{File: "vendor/*.go", Missing: true}, false},
		"missing, malformed":     {polity.Evidence{File: "[", Missing: true}, false},
		"missing, literal glob":  {polity.Evidence{File: "odd[1].txt", Missing: true}, false},
		"missing, nothing named": {polity.Evidence{Missing: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := ask[files.Cited](t, tools(t)["files.cite"], dir, files.Cite{Citations: []polity.Evidence{test.e}})
			if err != nil {
				t.Fatal(err)
			}
			if len(out.Results) != 1 || out.Results[0].OK != test.ok || (out.Results[0].Reason == "") != test.ok {
				t.Errorf("got %+v; want ok %v", out.Results, test.ok)
			}
		})
	}
}

func TestCiteAnswersInOrderAndIsBounded(t *testing.T) {
	dir := folder(t, map[string]string{"a": "1\n2\n"})
	all := make([]polity.Evidence, files.CitationsMax)
	for i := range all {
		all[i] = polity.Evidence{File: "a", Line: i + 1}
	}
	out, err := ask[files.Cited](t, tools(t)["files.cite"], dir, files.Cite{Citations: all})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range out.Results {
		if v.OK != (i < 2) {
			t.Fatalf("result %d is %+v", i, v)
		}
	}
	_, err = ask[files.Cited](t, tools(t)["files.cite"], dir, files.Cite{Citations: append(all, polity.Evidence{File: "a"})})
	if !errors.Is(err, fault.Invalid) {
		t.Errorf("too many citations: got %v; want fault.Invalid", err)
	}
}

func FuzzCite(f *testing.F) {
	dir := folder(f, map[string]string{"a.go": "package a\n", "sub/b": "\xff\n\x00"})
	for _, seed := range []string{
		`{"citations":[{"file":"a.go","line":1,"text":"pack"}]}`, `{"citations":[{"file":"../x","missing":true}]}`,
		`{"citations":[{"file":"sub/*","missing":true},{"file":"**","missing":true}]}`, `{"citations":null}`, `{"citations":[{}]}`, `{"citations":[{"file":"a.go/\u0000"}]}`,
		`{"citations":[{"file":"[","missing":true},{"file":"a","line":99999999999999999999}]}`, `{"citations":[{"file":"/","text":"\ud800"}]}`,
	} {
		f.Add([]byte(seed))
	}
	x := tools(f)["files.cite"]
	f.Fuzz(func(t *testing.T, input []byte) {
		out, err := x.Call(t.Context(), tool.Call{Folder: dir, Input: input})
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("input %q: %v", input, err)
			}
			return
		}
		var in files.Cite
		var cited files.Cited
		if err := errors.Join(json.Unmarshal(out, &cited), unmarshalOrEmpty(input, &in)); err != nil {
			t.Fatal(err)
		}
		if len(in.Citations) != len(cited.Results) {
			t.Errorf("input %q: %d results for %d citations", input, len(cited.Results), len(in.Citations))
		}
	})
}

func unmarshalOrEmpty(data []byte, v any) error {
	if len(data) == 0 {
		return nil
	}
	return json.Unmarshal(data, v)
}
