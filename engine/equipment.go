package engine

import (
	"context"
	"encoding/json"

	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/work"
	"polity.run/model"
	"polity.run/tool"
	"polity.run/tool/mcp"
)

// Equipment is what a release declares and what is built in, outside of any run: to look at, and to try.
type Equipment struct {
	Tools  []tool.Spec // of the release, in the order of its sources
	Models map[string]model.Model
	c      *catalog
	r      *release
}

// Equip makes a release's equipment. It returns fault.Invalid for a release that is wrong. Close it.
func Equip(r *agent.Release) (*Equipment, error) {
	c, err := newCatalog(Config{}, nil, "")
	if err != nil {
		return nil, err
	}
	made := &release{doc: *r, agents: map[string]*entry{}}
	if err := c.equip(made); err != nil {
		return nil, err
	}
	e := &Equipment{Models: made.models, c: c, r: made}
	for _, s := range r.Sources {
		e.Tools = append(e.Tools, s.Specs...)
	}
	return e, nil
}

// Call calls a tool of the release, or a built-in one, with the checks that a run makes. It returns fault.NotFound if there is none.
func (e *Equipment) Call(ctx context.Context, name string, c tool.Call) (json.RawMessage, error) {
	t := e.c.tool(e.r, name)
	if t == nil {
		return nil, fault.NotFound.New("no tool %q", name)
	}
	return callTool(ctx, t, c)
}

// callTool calls a tool with the checks and the time limit of a run.
func callTool(ctx context.Context, t *toolEntry, c tool.Call) (json.RawMessage, error) {
	limit := t.spec.Timeout
	if limit == 0 {
		limit = tool.TimeoutDefault
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return work.Call(ctx, t.tool, c, t.in, t.out)
}

// Close ends what was connected and started.
func (e *Equipment) Close() error { return e.c.servers.close() }

// Offered connects to an MCP server and returns what its tools are now, each with what somebody should look at twice. It pins nothing.
func Offered(ctx context.Context, s tool.Source) (specs []tool.Spec, signs map[string][]string, err error) {
	server, err := mcp.New(s, nil)
	if err != nil {
		return nil, nil, err
	}
	specs, err = server.Specs(ctx)
	if end := server.Close(); err == nil {
		err = end
	}
	signs = map[string][]string{}
	for _, spec := range specs {
		if found := mcp.Suspicious(spec); len(found) > 0 {
			signs[spec.Name] = found
		}
	}
	return specs, signs, err
}

// Changed words what is other in two specifications of a tool.
func Changed(old, now tool.Spec) string { return mcp.Difference(old, now) }
