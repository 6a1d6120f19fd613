package engine

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/work"
)

// Pause lets nothing new begin in a run and below it until it is resumed; what is in flight ends. See run.Partition.Pause.
func (e *Engine) Pause(ctx context.Context, id polity.RunID, reason string) error {
	return e.part.Pause(ctx, id, reason)
}

// Signal tells a run something that its agent declares: see run.Partition.Signal. The same signalID again is the same signal. version is that
// of the signal's registered schema which data was written for, and is read as the version that the run's release has; 0: it is what the run wants.
func (e *Engine) Signal(ctx context.Context, id polity.RunID, name, signalID string, version int, data json.RawMessage) error {
	return e.part.Signal(ctx, id, name, signalID, version, data)
}

// Wake has the node look at Config.Now again, after it jumped.
func (e *Engine) Wake() { e.part.Wake() }

// signals makes the check of the signals that an agent declares; nil if it declares none.
func signals(agent polity.AgentName, declared map[string]json.RawMessage) (func(name string, data json.RawMessage) error, error) {
	if len(declared) == 0 {
		return nil, nil
	}
	checks := map[string]work.Check{}
	for name, raw := range declared {
		c, err := check(raw)
		if err != nil {
			return nil, fault.Invalid.New("agent %s: signal %s: %w", agent, name, err)
		}
		checks[name] = orJSON(c)
	}
	names := strings.Join(slices.Sorted(maps.Keys(checks)), ", ")
	return func(name string, data json.RawMessage) error {
		c, ok := checks[name]
		switch {
		case !ok:
			return fault.Invalid.New("agent %s declares no signal %q; it takes %s", agent, name, names)
		case data == nil:
			return nil
		}
		if err := c(data); err != nil {
			return fault.Invalid.New("data of signal %s: %w", name, err)
		}
		return nil
	}, nil
}

// arrival is what becomes of a message to a skill in mid-run.
func arrival(def *agent.Definition, skill string) polity.Arrival {
	for _, s := range def.Skills {
		if (s.Name == skill || skill == "" && len(def.Skills) == 1) && s.Arrival != "" {
			return s.Arrival
		}
	}
	return polity.ArrivalReject
}
