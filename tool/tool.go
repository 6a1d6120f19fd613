// Package tool is the port for tools: what an agent can do beside asking and thinking.
//
// It exists so that a Go function, a built-in toolset and (later) a remote server are called in one
// way, with the same checks: input and output against their schemas, a time limit, a size limit and a declared effect.
package tool

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/schema"
)

// Limits that hold where a Spec names none.
const (
	TimeoutDefault   = 60 * time.Second
	OutputMaxDefault = 4 << 20 // bytes
)

// NameMax is the longest name of a tool, in bytes.
const NameMax = 63

// Tool does one thing. Implementations are safe for concurrent use.
type Tool interface {
	Spec() Spec
	// Call does the thing. It returns when ctx ends. Its output is checked by the caller against Spec.Output.
	// It keeps nothing of c after it returned.
	Call(ctx context.Context, c Call) (json.RawMessage, error)
}

// Spec declares a tool.
type Spec struct {
	Name        string          `json:"name"` // letters, digits, '-' and '_' with dots between, as in code.dependencies
	Version     string          `json:"version"`
	Description string          `json:"description"`
	Input       json.RawMessage `json:"input,omitempty"`  // JSON Schema; empty accepts any
	Output      json.RawMessage `json:"output,omitempty"` // JSON Schema; empty accepts any
	Effect      polity.Effect   `json:"effect"`
	Timeout     time.Duration   `json:"timeout,omitempty"`    // 0 is TimeoutDefault
	OutputMax   int             `json:"output_max,omitempty"` // bytes; 0 is OutputMaxDefault
	// Remote is the tool's name at its server, where that is another one.
	Remote string `json:"remote,omitempty"`
	// Offer is the JSON Schema of what a model may say of the input, where the rest is filled in by its agent; empty: all of Input.
	Offer json.RawMessage `json:"offer,omitempty"`
	// Receipt is where a call's receipt stands: a path into its output, as $.id, or what the tool calls it: a header of an HTTP answer, a key of an MCP
	// result's _meta.
	Receipt string `json:"receipt,omitempty"`
}

// Digest is what a release pins of a tool: the hex SHA-256 of its specification as JSON. A specification whose schemas are
// not JSON has none.
func (s Spec) Digest() string {
	data, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Call is one call of a tool.
type Call struct {
	Key    string          // the effect's key: the same after every crash; pass it to a destination that honours keys
	Run    polity.RunID    // the run that wants it
	Agent  string          // the agent that wants it
	Org    string          // the name of the agent's release
	Folder string          // absolute path of the only folder that the tool may read; "" for none
	Input  json.RawMessage // accepted by Spec.Input
	// Used, if set, is told what the call consumed; several times add up.
	Used func(polity.Usage)
	// Receipt, if set, is told what the destination gave as proof, as JSON; the last time counts. See Spec.Proof for what is kept.
	Receipt func(json.RawMessage)
}

// Func makes a tool of a function. Schemas that spec leaves empty derive from In and Out. It returns fault.Invalid
// if the spec is incomplete, a limit is negative, a type has no schema or a schema does not compile.
//
// The tool's Call checks the input against the schema before fn sees it (no input stands for {}), and
// gives an error of fn that is its context's end the kind Cancelled or Timeout. Other errors pass as they are.
func Func[In, Out any](spec Spec, fn func(ctx context.Context, c Call, in In) (Out, error)) (Tool, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	if err := spec.CheckPathReceipt(); err != nil {
		return nil, fault.Invalid.New("tool %s: %w", spec.Name, err)
	}
	if fn == nil {
		return nil, fault.Invalid.New("tool %s: the function is nil", spec.Name)
	}
	var err error
	if spec.Input == nil {
		if spec.Input, err = schema.For[In](); err != nil {
			return nil, fault.Invalid.New("tool %s: input: %w", spec.Name, err)
		}
	}
	if spec.Output == nil {
		if spec.Output, err = schema.For[Out](); err != nil {
			return nil, fault.Invalid.New("tool %s: output: %w", spec.Name, err)
		}
	}
	accepts, err := schema.Compile(spec.Input)
	if err != nil {
		return nil, fault.Invalid.New("tool %s: input: %w", spec.Name, err)
	}
	if _, err := schema.Compile(spec.Output); err != nil {
		return nil, fault.Invalid.New("tool %s: output: %w", spec.Name, err)
	}
	return &function[In, Out]{spec, accepts, fn}, nil
}

// Check returns nil, or an Invalid fault for a spec that is incomplete or contradicts itself.
func (s Spec) Check() error {
	if err := checkName(s.Name); err != nil {
		return err
	}
	if s.Version == "" {
		return fault.Invalid.New("tool %s: a version is needed", s.Name)
	}
	if err := s.Effect.Check(); err != nil {
		return fault.Invalid.New("tool %s: %w", s.Name, err)
	}
	if s.Timeout < 0 || s.OutputMax < 0 {
		return fault.Invalid.New("tool %s: a limit is negative; leave it out for the default", s.Name)
	}
	if err := checkReceipt(s.Receipt); err != nil {
		return fault.Invalid.New("tool %s: %w", s.Name, err)
	}
	return nil
}

// checkName returns nil, or an Invalid fault that says what a tool's name is made of.
func checkName(name string) error {
	if name == "" || len(name) > NameMax {
		return fault.Invalid.New("tool %.20q: a name of 1 to %d bytes is needed", name, NameMax)
	}
	for _, word := range strings.Split(name, ".") {
		if word == "" {
			return fault.Invalid.New("tool %q: name has an empty part; want words with dots between, as in code.tests", name)
		}
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		default:
			return fault.Invalid.New("tool %q: %q is not allowed in a name; use letters, digits, '.', '-' and '_'", name, string(rune(c)))
		}
	}
	return nil
}

type function[In, Out any] struct {
	spec    Spec
	accepts *schema.Schema
	fn      func(context.Context, Call, In) (Out, error)
}

func (f *function[In, Out]) Spec() Spec { return f.spec }

func (f *function[In, Out]) Call(ctx context.Context, c Call) (json.RawMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, ended(f.spec.Name, err)
	}
	if len(c.Input) == 0 {
		c.Input = json.RawMessage("{}")
	}
	if err := f.accepts.Check(c.Input); err != nil {
		return nil, fault.Invalid.New("tool %s: input: %w", f.spec.Name, err)
	}
	var in In
	if err := json.Unmarshal(c.Input, &in); err != nil {
		return nil, fault.Invalid.New("tool %s: input: %w", f.spec.Name, err)
	}
	out, err := f.fn(ctx, c, in)
	if err != nil {
		return nil, ended(f.spec.Name, err)
	}
	data, err := json.Marshal(out)
	if err != nil {
		return nil, fault.Internal.New("tool %s: output: %w", f.spec.Name, err)
	}
	return data, nil
}

// ended gives a context's bare error its kind, and returns every other error as it is.
func ended(name string, err error) error {
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Timeout.New("tool %s: %w", name, err)
	case errors.Is(err, context.Canceled):
		return fault.Cancelled.New("tool %s: %w", name, err)
	default:
		return err
	}
}

// JSON is what a program or a service printed, as JSON: itself if it is that, and else {"text": ...}.
func JSON(printed []byte) json.RawMessage {
	if json.Valid(printed) {
		return printed
	}
	return encode(map[string]string{"text": strings.ToValidUTF8(string(printed), "\uFFFD")})
}

// Texts is the JSON Schema of an object with these fields, all of them texts that are needed, and no others.
func Texts(names []string) json.RawMessage {
	properties := map[string]any{}
	for _, name := range names {
		properties[name] = map[string]string{"type": "string"}
	}
	return encode(map[string]any{
		"type": "object", "properties": properties, "required": append([]string{}, names...), "additionalProperties": false,
	})
}

func encode(v any) json.RawMessage {
	out, err := json.Marshal(v)
	if err != nil {
		panic("tool: texts that are no JSON: " + err.Error()) // cannot be: every text is
	}
	return out
}
