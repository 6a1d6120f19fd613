// Package work does the commands that reach outside the kernel: it calls tools, asks models and agents, and starts
// programs.
//
// It exists so that whatever happens out there comes back as a checked result or a fault: input and output
// against their schemas, within their sizes. Time limits are the kernel's.
package work

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/jsontext"
	"polity.run/model"
	"polity.run/tool"
)

// Check checks JSON, as *schema.Schema does.
type Check func(data json.RawMessage) error

// Handle answers one request to an agent.
type Handle func(ctx context.Context, m polity.Message) (json.RawMessage, error)

// Ask asks an agent. Output of another schema is fault.Invalid.
func Ask(ctx context.Context, handle Handle, m *polity.Message, input, output Check) (json.RawMessage, error) {
	name := string(m.To)
	if err := refused(input, "input", name, m.Body); err != nil {
		return nil, err
	}
	out, err := guarded(ctx, handle, m)
	if err != nil {
		return nil, err
	}
	return accepted(out, output, name, tool.OutputMaxDefault)
}

// Accepted checks what an agent answered, as Ask does.
func Accepted(out json.RawMessage, output Check, name string) (json.RawMessage, error) {
	return accepted(out, output, name, tool.OutputMaxDefault)
}

// guarded calls an agent. One that panics has failed, and took nobody with it.
func guarded(ctx context.Context, handle Handle, m *polity.Message) (out json.RawMessage, err error) {
	defer func() {
		if x := recover(); x != nil {
			out, err = nil, panicked(string(m.To), x)
		}
	}()
	return handle(ctx, *m)
}

// Begin asks an agent that answers later, through done: checked as Ask does.
func Begin(ctx context.Context, begin func(context.Context, polity.Message, func(json.RawMessage, error)), m *polity.Message,
	input, output Check, done func(json.RawMessage, error)) {
	name := string(m.To)
	if err := refused(input, "input", name, m.Body); err != nil {
		done(nil, err)
		return
	}
	defer func() {
		if x := recover(); x != nil {
			done(nil, panicked(name, x))
		}
	}()
	begin(ctx, *m, func(out json.RawMessage, err error) {
		if err == nil {
			out, err = accepted(out, output, name, tool.OutputMaxDefault)
		}
		done(out, err)
	})
}

// Call calls a tool.
func Call(ctx context.Context, t tool.Tool, c tool.Call, input, output Check) (json.RawMessage, error) {
	s := t.Spec()
	return checked(c.Input, input, output, s.Name, cmp.Or(s.OutputMax, tool.OutputMaxDefault), func() (json.RawMessage, error) { return t.Call(ctx, c) })
}

// Find asks what became of a call. A tool that panics knows nothing of it.
func Find(name string, ask func() (polity.Finding, error)) (f polity.Finding, err error) {
	defer func() {
		if x := recover(); x != nil {
			f, err = polity.Finding{}, panicked(name, x)
		}
	}()
	return ask()
}

// Found checks what a call is said to have answered, as Call checks an answer.
func Found(s tool.Spec, out json.RawMessage, output Check) error {
	_, err := accepted(out, output, s.Name, cmp.Or(s.OutputMax, tool.OutputMaxDefault))
	return err
}

// checked does a piece of work between its two checks. Work that panics has failed, and took nobody with it.
func checked(in json.RawMessage, input, output Check, name string, most int, do func() (json.RawMessage, error)) (out json.RawMessage, err error) {
	if err := refused(input, "input", name, in); err != nil {
		return nil, err
	}
	defer func() {
		if x := recover(); x != nil {
			out, err = nil, panicked(name, x)
		}
	}()
	if out, err = do(); err != nil {
		return nil, err
	}
	return accepted(out, output, name, most)
}

// refused is why data is not taken; a nil check takes everything.
func refused(check Check, what, name string, data json.RawMessage) error {
	if check == nil {
		return nil
	}
	if err := check(data); err != nil {
		return fault.Invalid.New("%s of %s: %w", what, name, err)
	}
	return nil
}

// accepted is an output that is not too long and not refused; a nil check takes all JSON.
func accepted(out json.RawMessage, output Check, name string, most int) (json.RawMessage, error) {
	if len(out) > most {
		return nil, fault.Exceeded("output", "%s: output of %d bytes; the most is %d", name, len(out), most)
	}
	if output == nil {
		output = isJSON
	}
	if err := refused(output, "output", name, out); err != nil {
		return nil, err
	}
	return out, nil
}

func panicked(name string, x any) error {
	return fault.Internal.New("%s: panic: %v at %s", name, x, firstLines(debug.Stack()))
}

func isJSON(data json.RawMessage) error {
	if !jsontext.Valid(data) {
		return fault.Invalid.New("not JSON: %.80q", data)
	}
	return nil
}

const stackMax = 1 << 10 // bytes of a stack that go into a fault

func firstLines(stack []byte) string {
	return fmt.Sprintf("%.*s", stackMax, stack)
}

// Think asks a model. An answer that is not what was asked for comes back with its Problem, for whoever asked to have it
// corrected. The answer's usage is returned with a fault too, where the model knows it.
func Think(ctx context.Context, m model.Model, key string, input json.RawMessage, live func(string), output func(schema json.RawMessage) (Check, error)) (json.RawMessage, polity.Usage, error) {
	var q model.Request
	if err := json.Unmarshal(input, &q); err != nil {
		return nil, polity.Usage{}, fault.Invalid.New("model %s: request: %w", m.Name(), err)
	}
	q.Key, q.Live = key, live
	check, err := output(q.Schema)
	if err != nil {
		return nil, polity.Usage{}, err
	}
	var usage polity.Usage
	data, err := checked(input, nil, nil, m.Name(), tool.OutputMaxDefault, func() (json.RawMessage, error) {
		a, err := m.Answer(ctx, q)
		usage = a.Usage
		if err != nil {
			return nil, err
		}
		if len(a.Calls) == 0 {
			if err := check(a.Output); err != nil {
				a.Problem = fmt.Sprintf("answer of model %s: %v", m.Name(), err)
				if !json.Valid(a.Output) {
					a.Output = nil
				}
			}
		}
		return json.Marshal(a)
	})
	return data, usage, err
}
