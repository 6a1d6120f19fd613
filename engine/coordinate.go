package engine

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"polity.run/coordinate"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/tool"
	"polity.run/tool/coordination"
)

const factsBucket = "coordinate"

// facts are what the agents of a node coordinate by, opened when they are first needed.
type facts struct {
	bus *bus.Bus

	mu    sync.Mutex
	store *coordinate.Store
}

func (f *facts) open(ctx context.Context) (*coordinate.Store, error) {
	if f == nil {
		return nil, fault.Unavailable.New("coordinate: there is no store outside of a node")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.store != nil {
		return f.store, nil
	}
	bucket, err := f.bus.Bucket(ctx, factsBucket)
	if err != nil {
		return nil, err
	}
	f.store = coordinate.Open(bucket)
	return f.store, nil
}

// Facts returns what the agents of this node coordinate by: locks, leaders, counters and agreed values, of all organizations.
func (e *Engine) Facts(ctx context.Context) (*coordinate.Store, error) {
	return e.catalog.facts.open(ctx)
}

// Coordinate calls a tool of package coordination outside of any run, with the checks of a run. It returns fault.NotFound for another tool.
func (e *Engine) Coordinate(ctx context.Context, name string, c tool.Call) (json.RawMessage, error) {
	if !slices.Contains(coordination.Names(), name) {
		return nil, fault.NotFound.New("no tool %q by which agents coordinate", name)
	}
	return callTool(ctx, e.catalog.tools[name], c)
}
