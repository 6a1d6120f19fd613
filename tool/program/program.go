// Package program makes tools of programs.
//
// It exists so that a program that is there already is a tool by declaration: which programs may be started, with which arguments, what a
// repetition does. No shell reads anything, and each runs in a sandbox. The life of a call:
//
//	input, checked -> arguments or standard input -> package sandbox -> JSON, or a fault
package program

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/sandbox"
	"polity.run/schema"
	"polity.run/tool"
	"polity.run/trace"
)

// Limits.
const (
	ToolsMax  = 200
	wordsMax  = 256       // words of a command, names in allow, variables
	wordMax   = 4 << 10   // bytes of one of them
	outputMax = 512 << 10 // bytes that a program may print: as a JSON text it is still less than a tool may answer
	version   = "1"
)

// Tools returns the tools of a source. It returns fault.Invalid saying what is wrong with the declaration, all at once. Nothing is started yet.
func Tools(src tool.Source) ([]tool.Tool, error) {
	made, err := build(src)
	tools := make([]tool.Tool, len(made))
	for i, m := range made {
		tools[i] = m
	}
	return tools, err
}

// command is one tool.
type command struct {
	spec    tool.Spec
	args    []string
	env     []string
	sandbox tool.Sandbox
	accepts *schema.Schema
}

var _ tool.Tool = (*command)(nil)

func build(src tool.Source) ([]*command, error) {
	e := src.Exec
	if e == nil {
		return nil, fault.Invalid.New("tools %s: not of kind exec", src.Name)
	}
	if len(e.Tools) == 0 || len(e.Tools) > ToolsMax {
		return nil, fault.Invalid.New("tools %s: %d commands; want 1 to %d", src.Name, len(e.Tools), ToolsMax)
	}
	if err := checkSource(e); err != nil {
		return nil, fault.Invalid.New("tools %s: %w", src.Name, err)
	}
	var out []*command
	var problems []error
	seen := map[string]bool{}
	for _, d := range e.Tools {
		c, err := newCommand(src, d)
		if err == nil && seen[d.Name] {
			err = fault.Invalid.New("declared twice")
		}
		if err != nil {
			problems = append(problems, fault.Invalid.New("tool %s.%s: %w", src.Name, d.Name, err))
			continue
		}
		seen[d.Name] = true
		out = append(out, c)
	}
	return out, errors.Join(problems...)
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(=[^\x00]*)?$`)

// checkSource checks what the tools of a source have in common.
func checkSource(e *tool.Exec) error {
	if len(e.Allow) == 0 || len(e.Allow) > wordsMax || len(e.Env) > wordsMax {
		return fault.Invalid.New("allow: name 1 to %d programs that may be started, as in [git]", wordsMax)
	}
	for _, name := range e.Allow {
		if name == "" || len(name) > wordMax || strings.Contains(name, "/") && !filepath.IsAbs(name) {
			return fault.Invalid.New("allow: %.80q: want a name that is looked up in PATH, or an absolute path", name)
		}
	}
	for _, pair := range e.Env {
		name, _, _ := strings.Cut(pair, "=")
		if len(pair) > wordMax || !variable.MatchString(pair) || name == "HOME" || strings.HasPrefix(name, "POLITY_") {
			return fault.Invalid.New("env: %.80q: want NAME=value or NAME, and not HOME or POLITY_*", name)
		}
	}
	if e.Sandbox != nil {
		return e.Sandbox.Check()
	}
	return nil
}

func newCommand(src tool.Source, d tool.ExecTool) (*command, error) {
	if err := checkCommand(src.Exec, d.Command); err != nil {
		return nil, err
	}
	if len(d.Input) == 0 {
		d.Input = inputOf(d.Command)
	}
	accepts, err := schema.Compile(d.Input)
	if err == nil {
		err = declared(d)
	}
	if err != nil {
		return nil, fault.Invalid.New("input: %w", err)
	}
	if _, err := schema.Compile(d.Output); err != nil {
		return nil, fault.Invalid.New("output: %w", err)
	}
	c := &command{args: d.Command, env: src.Exec.Env, accepts: accepts, spec: tool.Spec{
		Name: src.Name + "." + d.Name, Version: version, Description: d.Description, Input: d.Input, Output: d.Output,
		Effect: cmp.Or(d.Effect, src.Effects[d.Name], polity.EffectExternal), Timeout: time.Duration(d.Timeout),
		Receipt: cmp.Or(d.Receipt, src.Receipts[d.Name]),
	}}
	if c.spec.Description == "" {
		c.spec.Description = "Runs " + strings.Join(d.Command, " ")
	}
	if src.Exec.Sandbox != nil {
		c.sandbox = *src.Exec.Sandbox
	}
	return c, errors.Join(c.spec.Check(), c.spec.CheckPathReceipt())
}

// checkCommand checks the words of a command as they are declared.
func checkCommand(e *tool.Exec, words []string) error {
	switch {
	case len(words) == 0 || len(words) > wordsMax:
		return fault.Invalid.New("command: %d words; want 1 to %d", len(words), wordsMax)
	case !slices.Contains(e.Allow, words[0]):
		return fault.Invalid.New("command: allow does not name %.80q; it names %s", words[0], strings.Join(e.Allow, ", "))
	case placeholder.MatchString(words[0]):
		return fault.Invalid.New("command: a placeholder may not stand for the program")
	}
	for _, word := range words {
		if len(word) > wordMax || strings.ContainsRune(word, 0) {
			return fault.Invalid.New("command: %.40q is longer than %d bytes, or holds a zero byte", word, wordMax)
		}
	}
	return nil
}

// declared checks that the input's schema declares the fields that a command names, where it declares any.
func declared(d tool.ExecTool) error {
	var s struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if json.Unmarshal(d.Input, &s) != nil || s.Properties == nil {
		return nil // true, or a schema that says what is allowed in another way: a call finds what is missing
	}
	for _, name := range fields(d.Command) {
		if _, known := s.Properties[name]; !known {
			return fault.Invalid.New("the command has a placeholder {%s}, and the schema no such property", name)
		}
	}
	return nil
}

// inputOf is the schema of an input that only fills a command. Where nothing is to be filled it is any object.
func inputOf(words []string) json.RawMessage {
	names := fields(words)
	if len(names) == 0 {
		return json.RawMessage(`{"type":"object"}`)
	}
	return tool.Texts(names)
}

func (c *command) Spec() tool.Spec { return c.spec }

// Call runs the program. It returns fault.Invalid for input that the schema refuses or that cannot stand in an argument, fault.Failed for an
// exit code that is not 0, and otherwise what sandbox.Run returns. An external program that was begun and did not end by itself is fault.Unknown.
func (c *command) Call(ctx context.Context, call tool.Call) (out json.RawMessage, err error) {
	if ctx.Err() != nil {
		return nil, c.lost(ctx, context.Cause(ctx), false)
	}
	if len(call.Input) == 0 {
		call.Input = json.RawMessage("{}")
	}
	if err := c.accepts.Check(call.Input); err != nil {
		return nil, fault.Invalid.New("tool %s: input: %w", c.spec.Name, err)
	}
	run := sandbox.Command{Name: c.args[0], Folder: call.Folder, Dir: call.Folder, OutputMax: outputMax, Sandbox: c.sandbox}
	if run.Args, err = fill(c.args, call.Input); err != nil {
		return nil, fault.Invalid.New("tool %s: %w", c.spec.Name, err)
	}
	if len(fields(c.args)) == 0 {
		run.Stdin = call.Input
	}
	if run.Env, err = c.environ(ctx, call); err != nil {
		return nil, err
	}
	if run.Home, err = os.MkdirTemp("", "polity-tool-"); err != nil {
		return nil, fault.Unavailable.New("tool %s: a folder of its own: %w", c.spec.Name, err)
	}
	defer func() {
		if gone := os.RemoveAll(run.Home); gone != nil && err == nil {
			err = fault.Failed.New("tool %s: remove its folder: %w", c.spec.Name, gone)
		}
	}()
	text, err := sandbox.Run(ctx, run)
	if err != nil {
		return nil, c.lost(ctx, err, true)
	}
	return tool.JSON(text), nil
}

// environ returns the variables of a program.
func (c *command) environ(ctx context.Context, call tool.Call) ([]string, error) {
	env := append([]string{"POLITY_KEY=" + call.Key, "POLITY_FOLDER=" + call.Folder}, trace.From(ctx).Environ()...)
	for _, pair := range c.env {
		if strings.Contains(pair, "=") {
			env = append(env, pair)
			continue
		}
		value, set := os.LookupEnv(pair)
		if !set {
			return nil, fault.Denied.New("tool %s: the environment variable %s is not set", c.spec.Name, pair)
		}
		env = append(env, pair+"="+value)
	}
	return env, nil
}

// lost is the fault of a program that did not answer.
func (c *command) lost(ctx context.Context, err error, begun bool) error {
	kind := fault.Of(err).Kind
	var exit *exec.ExitError
	ended := kind == fault.Failed && errors.As(err, &exit) && exit.Exited() // and was not killed by somebody
	sure := ended || kind == fault.Invalid || kind == fault.NotFound || kind == fault.Denied
	switch {
	case begun && !sure && c.spec.Effect == polity.EffectExternal:
		return fault.Unknown.New("tool %s: nobody knows whether it was done: %w", c.spec.Name, err)
	case kind != fault.Internal:
		return fmt.Errorf("tool %s: %w", c.spec.Name, err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.Timeout.New("tool %s: %w", c.spec.Name, err)
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.Cancelled.New("tool %s: %w", c.spec.Name, err)
	default:
		return fmt.Errorf("tool %s: %w", c.spec.Name, err)
	}
}
