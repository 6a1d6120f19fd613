// Package tooltest is the conformance suite of the tool port: what every tool does, whatever it is for.
//
// It exists so that a toolset is tested in one line, and the same way as all the others:
//
//	tooltest.Run(t, myTool, json.RawMessage(`{"path":"README.md"}`))
package tooltest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"polity.run/fault"
	"polity.run/schema"
	"polity.run/tool"
)

// cancelledMax is how long a call may take to return after its context ended. It is generous: a
// tool that ignores its context takes its whole time.
const cancelledMax = 10 * time.Second

// folder is what the tool finds where the caller of Run names no folder.
var folder = map[string]string{
	"README.md":   "# Example\n\nA folder to try tools on.\n",
	"LICENSE":     "Permission is hereby granted.\n",
	"go.mod":      "module example.com/m\n\ngo 1.26\n",
	"main.go":     "package main\n\nfunc main() { println(greet(\"you\")) }\n",
	"greet/it.go": "package greet\n\n// It greets.\nfunc It(who string) string { return \"hello \" + who }\n",
}

// Run checks a tool in a small folder that it makes: README.md, LICENSE, go.mod, main.go and
// greet/it.go. The good input is one that the tool answers without a fault.
func Run(t *testing.T, x tool.Tool, good json.RawMessage) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range folder {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	RunIn(t, x, dir, good)
}

// RunIn is Run in a folder of the caller's.
func RunIn(t *testing.T, x tool.Tool, dir string, good json.RawMessage) {
	t.Helper()
	s := suite{tool: x, spec: x.Spec(), dir: dir, good: good}
	t.Run("spec", s.complete)
	t.Run("output", s.output)
	t.Run("again", s.again)
	t.Run("refusal", s.refusal)
	t.Run("cancelled", s.cancelled)
}

type suite struct {
	tool tool.Tool
	spec tool.Spec
	dir  string
	good json.RawMessage
}

func (s suite) call(ctx context.Context, input json.RawMessage) (json.RawMessage, error) {
	return s.tool.Call(ctx, tool.Call{Key: "0-tooltest#call", Folder: s.dir, Input: bytes.Clone(input)})
}

// complete: a spec says what the tool is called, is for and does, and stays the same.
func (s suite) complete(t *testing.T) {
	for what, missing := range map[string]bool{
		"name":        s.spec.Name == "",
		"version":     s.spec.Version == "",
		"description": s.spec.Description == "",
		"input":       len(s.spec.Input) == 0,
		"output":      len(s.spec.Output) == 0,
	} {
		if missing {
			t.Errorf("spec: %s is empty", what)
		}
	}
	if err := s.spec.Effect.Check(); err != nil {
		t.Errorf("spec: %v", err)
	}
	if s.spec.Timeout < 0 || s.spec.OutputMax < 0 {
		t.Error("spec: a limit is negative")
	}
	first, err := json.Marshal(s.spec)
	if err != nil {
		t.Fatal(err)
	}
	second, err := json.Marshal(s.tool.Spec())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("spec: two calls of Spec differ, so no release can pin the tool")
	}
}

// compile returns the spec's schemas.
func (s suite) compile(t *testing.T) (in, out *schema.Schema) {
	t.Helper()
	in, err := schema.Compile(s.spec.Input)
	if err != nil {
		t.Fatalf("input schema: %v", err)
	}
	out, err = schema.Compile(s.spec.Output)
	if err != nil {
		t.Fatalf("output schema: %v", err)
	}
	return in, out
}

// output: good input is accepted by the schema, answered, and the answer is what the spec declares.
func (s suite) output(t *testing.T) {
	in, out := s.compile(t)
	if err := in.Check(s.good); err != nil {
		t.Fatalf("the good input is not accepted: %v", err)
	}
	answer, err := s.call(t.Context(), s.good)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Check(answer); err != nil {
		t.Errorf("output: %v\n%s", err, answer)
	}
	if limit := cmp.Or(s.spec.OutputMax, tool.OutputMaxDefault); len(answer) > limit {
		t.Errorf("output: %d bytes; the spec allows %d", len(answer), limit)
	}
}

// again: the same input gives the same bytes, which a cache and a replay rely on.
func (s suite) again(t *testing.T) {
	first, err := s.call(t.Context(), s.good)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.call(t.Context(), s.good)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Errorf("the same input was answered otherwise:\n%s\n%s", first, second)
	}
}

// refusal: input that the schema does not accept is fault.Invalid, and nothing else happens.
func (s suite) refusal(t *testing.T) {
	in, _ := s.compile(t)
	bad := []string{`{`, `{"no such field":1}`, `[[]]`, `"text"`, `7`, `{} {}`}
	refused := 0
	for _, input := range bad {
		if in.Check(json.RawMessage(input)) == nil {
			continue
		}
		refused++
		if answer, err := s.call(t.Context(), json.RawMessage(input)); !errors.Is(err, fault.Invalid) {
			t.Errorf("input %s: got %s, %v; want fault.Invalid", input, answer, err)
		}
	}
	if refused <= 2 {
		t.Error("the input schema accepts every JSON value, so it declares nothing")
	}
}

// cancelled: a call whose context has ended returns, with the kind that says so.
func (s suite) cancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan error, 1)
	go func() {
		_, err := s.call(ctx, s.good)
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, fault.Cancelled) {
			t.Errorf("a cancelled call returned %v; want fault.Cancelled", err)
		}
	case <-time.After(cancelledMax):
		t.Fatalf("a cancelled call did not return within %s", cancelledMax)
	}
}
