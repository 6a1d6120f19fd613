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
	"slices"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/schema"
)

// Config says how a script is kept. The zero value is good for most.
type Config struct {
	// Older are the earlier versions, the oldest first, whose runs this function still goes on with, as Context.Since tells it to. Runs of any other version are
	// stopped. It is for New; where an older function was kept whole, put its decider into the agent's Older.
	Older []string

	// LiveMax is how many coroutines are kept between decisions. 0 is the constant LiveMax, and below that none.
	LiveMax int
	// Pool is what the coroutines are kept in where scripts share one, as all of a node. LiveMax is then the pool's.
	Pool *Pool
}

func (cfg Config) pool() *Pool {
	if cfg.Pool != nil {
		return cfg.Pool
	}
	return NewPool(cfg.LiveMax)
}

// New makes an agent of a script; its skill's schemas derive from In and Out. The version stands for the code: raise it when the function
// begins to behave otherwise, and name the one before in Config.Older if its runs are to go on. It returns fault.Invalid if a name is bad or a type has no schema.
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
	d := newDecider(fn, cfg)
	d.versions = append(slices.Clone(cfg.Older), version)
	a := &agent.Agent{
		Name: name, Version: version, Skills: []polity.Skill{{Name: string(name), Input: in, Output: out}},
		Older: map[string]polity.Decider{},
	}
	for i, v := range cfg.Older {
		if a.Older[v] != nil {
			return nil, fault.Invalid.New("script %s: the older version %q is named twice", name, v)
		}
		a.Older[v] = d.under(i)
	}
	a.Decider = d.under(len(cfg.Older))
	return a, a.Check()
}

// Decider makes only the decider, for an agent whose skills are declared by hand. It is a polity.Forgetter and a polity.Stopper, and may be asked from many
// goroutines as long as each state is asked from one at a time.
func Decider[In, Out any](fn func(c *Context, in In) (Out, error), cfg Config) polity.Forgetter {
	return newDecider(fn, cfg)
}

func newDecider[In, Out any](fn func(c *Context, in In) (Out, error), cfg Config) *decider {
	return &decider{pool: cfg.pool(), seed: maphash.MakeSeed(), fn: func(c *Context, input json.RawMessage) (json.RawMessage, error) {
		var in In
		if err := unmarshal(input, &in); err != nil {
			return nil, fault.Invalid.New("script: input: %w", err)
		}
		out, err := fn(c, in)
		if err != nil {
			return nil, err
		}
		data, err := marshal(out)
		if err != nil {
			return nil, fault.Internal.New("script: output: %w", err)
		}
		return data, nil
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

func marshal(v any) (json.RawMessage, error) {
	if raw, ok := v.(json.RawMessage); ok {
		return raw, nil
	}
	return json.Marshal(v)
}
