// Package script makes deciders of plain Go functions: what blocks in them (an ask, a call, a sleep, a join) is a command, and the
// function goes on where it stood when the command's result is in the log.
//
// It exists because most procedures are easiest to write, read and change as a function with loops, conditions and errors, and a
// hand-written decider takes such a function apart. The life of a script:
//
//	Opened -> the function runs as a coroutine until it waits -> commands -> Result -> it runs on -> ... -> it returns -> finish or fail
//
// No goroutine runs while nobody decides. The coroutine is a cache: it is dropped when there are too many (see [Pool]), and made again from
// the results that the run has seen, by running the function over them. What it asks for is compared each time, so a function that
// reads a clock or the order of a map is stopped as fault.Diverged, with the command that differs, and never silently wrong.
//
// A script keeps the rules of a decider: it reads only its input and what its [Context] gives it. What changes the world is a tool or
// another agent. See docs/guide/scripts.md for what must not be in one.
package script

import (
	"bytes"
	"encoding/json"
	"hash/maphash"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/schema"
)

// Config says how a script is kept. The zero value is good for most.
type Config struct {
	// Pool bounds the coroutines that are kept; scripts of one process may share one. Default: a pool of its own with LiveMax.
	Pool *Pool
}

// New makes an agent of a script; its skill's schemas derive from In and Out. The version stands for the code: raise it when the function
// begins to behave otherwise. It returns fault.Invalid if a name is bad or a type has no schema.
//
// The function's error becomes the run's fault; one of kind fault.Exhausted ends it as exhausted. What it began and did not wait for is
// cancelled when it returns. If it panics, the run fails as fault.Internal with the first lines of the stack.
func New[In, Out any](name polity.AgentName, version string, fn func(c *Context, in In) (Out, error), cfg Config) (*agent.Agent, error) {
	if fn == nil {
		return nil, fault.Invalid.New("script %s: the function is nil", name)
	}
	in, err := schema.For[In]()
	if err != nil {
		return nil, fault.Invalid.New("script %s: input: %w", name, err)
	}
	out, err := schema.For[Out]()
	if err != nil {
		return nil, fault.Invalid.New("script %s: output: %w", name, err)
	}
	a := &agent.Agent{
		Name: name, Version: version, Decider: Decider(fn, cfg),
		Skills: []polity.Skill{{Name: string(name), Input: in, Output: out}},
	}
	return a, a.Check()
}

// Decider makes only the decider, for an agent whose skills are declared by hand. It is a polity.Forgetter and a polity.Stopper, and may be asked from many
// goroutines as long as each state is asked from one at a time.
func Decider[In, Out any](fn func(c *Context, in In) (Out, error), cfg Config) polity.Forgetter {
	if cfg.Pool == nil {
		cfg.Pool = NewPool(0)
	}
	return &decider{pool: cfg.Pool, seed: maphash.MakeSeed(), fn: func(c *Context, input json.RawMessage) (json.RawMessage, error) {
		var in In
		if err := unmarshal(input, &in); err != nil {
			return nil, fault.Invalid.New("script: input: %w", err)
		}
		out, err := fn(c, in)
		if err != nil {
			return nil, err
		}
		return marshal("output", out)
	}}
}

// unmarshal reads JSON; a json.RawMessage is given the bytes as they are.
func unmarshal(data json.RawMessage, out any) error {
	if raw, ok := out.(*json.RawMessage); ok {
		*raw = bytes.Clone(data)
		return nil
	}
	return json.Unmarshal(data, out)
}

func marshal(what string, v any) (json.RawMessage, error) {
	if raw, ok := v.(json.RawMessage); ok {
		return raw, nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fault.Internal.New("script: %s: %w", what, err)
	}
	return data, nil
}
