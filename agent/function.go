package agent

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/schema"
)

// Agent is an agent of kind go: code that is linked into the process, under a name and a version. Exactly one of Handle,
// Begin and Decider is set.
type Agent struct {
	Name polity.AgentName
	// Version stands for the code: raise it when the agent begins to behave otherwise. A run that was opened with
	// another version goes on with the decider that Older has of that, or is stopped with a report.
	Version     string
	Description string
	Skills      []polity.Skill // at least one
	// Handle answers one request. It returns soon after ctx ended.
	Handle func(ctx context.Context, m polity.Message) (json.RawMessage, error)
	// Begin answers one request later, for work that waits for something without a goroutine: it returns at once, and calls
	// done once, from anywhere, soon after ctx ended at the latest.
	Begin   func(ctx context.Context, m polity.Message, done func(json.RawMessage, error))
	Decider polity.Decider
	// Signals are those that runs of the decider may be told, with the JSON Schema of their data; empty accepts any JSON.
	Signals map[string]json.RawMessage
	// Older are the deciders of earlier versions, by version: a run that was opened with one of them goes on with its decider. It may be empty, and is only for
	// an agent with a Decider.
	Older   map[string]polity.Decider
	Effect  polity.Effect // of Handle and Begin; "" is EffectExternal, the safe one
	Timeout time.Duration // of Handle and Begin; 0 is one minute
}

// Check returns nil, or fault.Invalid saying what is missing.
func (a *Agent) Check() error {
	if err := a.Name.Check(); err != nil {
		return err
	}
	switch {
	case a.Version == "":
		return fault.Invalid.New("agent %s: a version is needed; it stands for the code in the log", a.Name)
	case len(a.Skills) == 0:
		return fault.Invalid.New("agent %s: at least one skill is needed", a.Name)
	case count(a.Handle != nil, a.Begin != nil, a.Decider != nil) != 1:
		return fault.Invalid.New("agent %s: set one of Handle, Begin and Decider", a.Name)
	}
	for name := range a.Signals {
		if err := polity.CheckSignal(name); err != nil {
			return fault.Invalid.New("agent %s: %w", a.Name, err)
		}
	}
	if len(a.Signals) > 0 && a.Decider == nil {
		return fault.Invalid.New("agent %s: only a decider takes signals", a.Name)
	}
	for _, s := range a.Skills {
		if s.Arrival != "" && !slices.Contains(polity.Arrivals(), s.Arrival) {
			return fault.Invalid.New("agent %s: skill %s: arrival %q: want one of %v", a.Name, s.Name, s.Arrival, polity.Arrivals())
		}
	}
	for version, d := range a.Older {
		if version == "" || version == a.Version || d == nil || a.Decider == nil {
			return fault.Invalid.New("agent %s: older version %q: want a version other than %q, with a decider, of an agent with one", a.Name, version, a.Version)
		}
	}
	if a.Effect != "" {
		if err := a.Effect.Check(); err != nil {
			return fault.Invalid.New("agent %s: %w", a.Name, err)
		}
	}
	return nil
}

func count(set ...bool) (n int) {
	for _, s := range set {
		if s {
			n++
		}
	}
	return n
}

// Definition is the agent as it stands in a release.
func (a *Agent) Definition() Definition {
	return Definition{
		Name: a.Name, Kind: KindGo, Description: a.Description, Skills: a.Skills, Signals: a.Signals, Go: &Go{Use: string(a.Name), Version: a.Version},
	}
}

// Func makes an agent of a function; its skill's schemas derive from In and Out. It returns fault.Invalid if a name is
// bad or a type has no schema. The agent's effect is none: set another one if the function changes anything.
func Func[In, Out any](name polity.AgentName, version string, fn func(ctx context.Context, in In) (Out, error)) (*Agent, error) {
	in, err := schema.For[In]()
	if err != nil {
		return nil, fault.Invalid.New("agent %s: input: %w", name, err)
	}
	out, err := schema.For[Out]()
	if err != nil {
		return nil, fault.Invalid.New("agent %s: output: %w", name, err)
	}
	a := &Agent{
		Name: name, Version: version, Effect: polity.EffectNone,
		Skills: []polity.Skill{{Name: string(name), Input: in, Output: out}},
		Handle: func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
			var in In
			if err := json.Unmarshal(m.Body, &in); err != nil {
				return nil, fault.Invalid.New("agent %s: input: %w", name, err)
			}
			out, err := fn(ctx, in)
			if err != nil {
				return nil, err
			}
			return json.Marshal(out)
		},
	}
	return a, a.Check()
}
