// Package tool is the port for tools: what an agent can do beside asking and thinking.
//
// It exists so that a Go function, a built-in toolset and (later) a remote server are called in one
// way, with the same checks: input and output against their schemas, a time limit, a size limit and a declared effect.
package tool

import (
	"context"
	"encoding/json"
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

// Tool does one thing. Implementations are safe for concurrent use.
type Tool interface {
	Spec() Spec
	// Call does the thing. It returns when ctx ends. Its output is checked by the caller against Spec.Output.
	// It keeps nothing of c after it returned.
	Call(ctx context.Context, c Call) (json.RawMessage, error)
}

// Spec declares a tool.
type Spec struct {
	Name        string          `json:"name"` // dotted, as in code.dependencies
	Version     string          `json:"version"`
	Description string          `json:"description"`
	Input       json.RawMessage `json:"input,omitempty"`  // JSON Schema; empty accepts any
	Output      json.RawMessage `json:"output,omitempty"` // JSON Schema; empty accepts any
	Effect      polity.Effect   `json:"effect"`
	Timeout     time.Duration   `json:"timeout,omitempty"`    // 0 is TimeoutDefault
	OutputMax   int             `json:"output_max,omitempty"` // bytes; 0 is OutputMaxDefault
}

// Call is one call of a tool.
type Call struct {
	Key    string          // the effect's key: the same after every crash; pass it to a destination that honours keys
	Folder string          // absolute path of the only folder that the tool may read; "" for none
	Input  json.RawMessage // accepted by Spec.Input
}

// Func makes a tool of a function. Schemas that spec leaves empty derive from In and Out. It returns fault.Invalid
// if the spec is incomplete or a type has no schema.
func Func[In, Out any](spec Spec, fn func(ctx context.Context, c Call, in In) (Out, error)) (Tool, error) {
	if spec.Name == "" || spec.Version == "" {
		return nil, fault.Invalid.New("tool %q: name and version are needed", spec.Name)
	}
	if err := spec.Effect.Check(); err != nil {
		return nil, fault.Invalid.New("tool %q: %w", spec.Name, err)
	}
	var err error
	if spec.Input == nil {
		if spec.Input, err = schema.For[In](); err != nil {
			return nil, fault.Invalid.New("tool %q: input: %w", spec.Name, err)
		}
	}
	if spec.Output == nil {
		if spec.Output, err = schema.For[Out](); err != nil {
			return nil, fault.Invalid.New("tool %q: output: %w", spec.Name, err)
		}
	}
	return &function[In, Out]{spec, fn}, nil
}

type function[In, Out any] struct {
	spec Spec
	fn   func(context.Context, Call, In) (Out, error)
}

func (f *function[In, Out]) Spec() Spec { return f.spec }

func (f *function[In, Out]) Call(ctx context.Context, c Call) (json.RawMessage, error) {
	var in In
	if len(c.Input) > 0 {
		if err := json.Unmarshal(c.Input, &in); err != nil {
			return nil, fault.Invalid.New("tool %s: input: %w", f.spec.Name, err)
		}
	}
	out, err := f.fn(ctx, c, in)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(out)
	if err != nil {
		return nil, fault.Internal.New("tool %s: output: %w", f.spec.Name, err)
	}
	return data, nil
}
