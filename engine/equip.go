package engine

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/run"
	"polity.run/internal/work"
	"polity.run/model"
	"polity.run/model/provider"
	"polity.run/tool"
	"polity.run/tool/mcp"
	"polity.run/tool/program"
	"polity.run/tool/web"
)

// equip makes the models and tools that a release declares. Nothing is connected or started before it is used.
func (c *catalog) equip(r *release) error {
	r.models, r.tools = map[string]model.Model{}, map[string]*toolEntry{}
	for _, s := range r.doc.Models {
		if c.models[s.Name] != nil || r.models[s.Name] != nil {
			return fault.Invalid.New("release %s: two models are named %q", r.doc.Name, s.Name)
		}
		m, err := provider.New(s, func(name string) model.Model { return r.models[name] }, c.shared)
		if err != nil {
			return err
		}
		r.models[s.Name] = c.wrap(m)
	}
	for _, s := range r.doc.Sources {
		tools, err := c.source(s)
		if err != nil {
			return err
		}
		for _, t := range tools {
			if err := c.addTool(r.tools, t); err != nil {
				return err
			}
		}
		if err := c.inquire(s, r.tools); err != nil {
			return err
		}
	}
	if err := c.equipTopics(r); err != nil {
		return err
	}
	if err := r.doc.CheckHooks(); err != nil {
		return err
	}
	return c.equipMemory(r)
}

// source makes the tools of a source.
func (c *catalog) source(s tool.Source) ([]tool.Tool, error) {
	switch {
	case s.HTTP != nil:
		return web.Tools(s)
	case s.Exec != nil:
		return program.Tools(s)
	case s.MCP != nil:
		server, err := c.servers.of(s, c.log)
		if err != nil {
			return nil, err
		}
		return server.Tools(), nil
	default:
		return nil, fault.Invalid.New("tools %s: nothing says where they come from", s.Name)
	}
}

// Specs returns the tools of a source that says itself what they are: not of an MCP server, which is asked by "tools accept".
func Specs(s tool.Source) ([]tool.Spec, error) {
	if s.HTTP == nil && s.Exec == nil {
		return nil, fault.Invalid.New("tools %s: what they are is not declared", s.Name)
	}
	tools, err := (&catalog{}).source(s)
	specs := make([]tool.Spec, len(tools))
	for i, t := range tools {
		specs[i] = t.Spec()
	}
	return specs, err
}

// servers are the MCP servers of this node: one for each declaration, however many releases have it.
type servers struct {
	mu  sync.Mutex
	all map[string]*mcp.Server
}

func (v *servers) of(s tool.Source, log *slog.Logger) (*mcp.Server, error) {
	key, err := json.Marshal(s)
	if err != nil {
		return nil, fault.Invalid.New("tools %s: %w", s.Name, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if found := v.all[string(key)]; found != nil {
		return found, nil
	}
	made, err := mcp.New(s, log)
	if err != nil {
		return nil, err
	}
	if v.all == nil {
		v.all = map[string]*mcp.Server{}
	}
	v.all[string(key)] = made
	return made, nil
}

// close ends the connections and programs.
func (v *servers) close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var errs []error
	for _, s := range v.all {
		errs = append(errs, s.Close())
	}
	clear(v.all)
	return errors.Join(errs...)
}

// model finds a model of a release, or a built-in one.
func (c *catalog) model(r *release, name string) model.Model {
	if m := r.models[name]; m != nil {
		return m
	}
	return c.models[name]
}

// tool finds a tool of a release, or a built-in one.
func (c *catalog) tool(r *release, name string) *toolEntry {
	if t := r.tools[name]; t != nil {
		return t
	}
	return c.tools[name]
}

// compileMCP makes an agent of a server's tools: each skill is one.
func (c *catalog) compileMCP(r *release, e *entry) error {
	def := e.def
	if len(def.MCP.Tools) != len(def.Skills) {
		return fault.Invalid.New("agent %s: %d tools for %d skills", def.Name, len(def.MCP.Tools), len(def.Skills))
	}
	tools := map[string]*toolEntry{}
	e.program.Work = run.Work{Class: polity.EffectNone}
	for i, s := range def.Skills {
		pin := def.MCP.Tools[i]
		t := r.tools[pin.Name]
		switch {
		case t == nil:
			return fault.NotFound.New("agent %s: no tool %q", def.Name, pin.Name)
		case t.digest != pin.Digest:
			return fault.Diverged.New("agent %s: tool %q is not the one that its release was made with", def.Name, pin.Name)
		}
		tools[s.Name] = t
		if len(def.Skills) == 1 {
			tools[""] = t
		}
		e.program.Work.Class = careful(e.program.Work.Class, t.spec.Effect)
		e.program.Work.Timeout = max(e.program.Work.Timeout, t.spec.Timeout, tool.TimeoutDefault)
	}
	e.handle = func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
		t := tools[m.Skill]
		if t == nil {
			return nil, fault.NotFound.New("agent %s has no skill %q", def.Name, m.Skill)
		}
		return work.Call(ctx, t.tool, tool.Call{Key: m.ID, Run: polity.RunID(m.Correlation), Agent: string(m.From), Input: m.Body}, t.in, t.out)
	}
	return nil
}

// careful returns the class of two that promises less of a repetition.
func careful(a, b polity.Effect) polity.Effect {
	for _, class := range []polity.Effect{polity.EffectExternal, polity.EffectKeyed, polity.EffectIdempotent} {
		if a == class || b == class {
			return class
		}
	}
	return polity.EffectNone
}
