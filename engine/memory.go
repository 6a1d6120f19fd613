package engine

import (
	"context"
	"log/slog"
	"sync"

	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/memory"
	"polity.run/memory/store"
	"polity.run/model/provider"
	"polity.run/tool"
	"polity.run/tool/remember"
)

// memories is the node's store of memories, opened when it is first needed: most runs remember nothing.
type memories struct {
	bus *bus.Bus
	log *slog.Logger

	mu    sync.Mutex
	store *store.Store
}

func (m *memories) open(ctx context.Context) (*store.Store, error) {
	if m == nil {
		return nil, fault.Unavailable.New("memory: there is none outside of a node")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.store != nil {
		return m.store, nil
	}
	bucket, err := m.bus.Bucket(ctx, memoryBucket)
	if err != nil {
		return nil, err
	}
	m.store, err = store.Open(ctx, bucket, store.Limits{}, nil, m.log)
	return m.store, err
}

// equipMemory gives a release the tools by which its agents remember: within its bounds, and with its embedder.
func (c *catalog) equipMemory(r *release) error {
	embedder, err := c.embedder(&r.doc)
	if err != nil {
		return err
	}
	tools, err := remember.Tools(func(ctx context.Context, _ tool.Call) (memory.Store, error) {
		return c.memory(ctx, &r.doc, embedder)
	})
	if err != nil {
		return err
	}
	made := &catalog{cfg: c.cfg} // the names are built in: they are meant to be replaced
	for _, t := range tools {
		if err := made.addTool(r.tools, t); err != nil {
			return err
		}
	}
	return nil
}

// embedder makes the embedder that a release names; nil for none. While models are recorded or replayed there is none: a recording
// has no vectors in it.
func (c *catalog) embedder(r *agent.Release) (memory.Embedder, error) {
	if r.Memory == nil || r.Memory.Embeddings == "" || c.cfg.Wrap != nil {
		return nil, nil
	}
	for _, s := range r.Models {
		if s.Name == r.Memory.Embeddings {
			return provider.NewEmbedder(s, c.shared)
		}
	}
	return nil, fault.NotFound.New("release %s: memory: no model %q", r.Name, r.Memory.Embeddings)
}

func (c *catalog) memory(ctx context.Context, r *agent.Release, embedder memory.Embedder) (memory.Store, error) {
	s, err := c.memories.open(ctx)
	if err != nil {
		return nil, err
	}
	var limits store.Limits
	if r.Memory != nil {
		limits = store.Limits{Records: r.Memory.Records, Bytes: r.Memory.Bytes}
	}
	return s.With(limits, embedder), nil
}

// Memory returns the memories of this node as a release sees them: within its bounds, and with its embedder. memory.Of names them. It
// returns fault.Invalid for a release whose embedder is declared wrong, fault.Damaged for memories that cannot be read.
func (e *Engine) Memory(ctx context.Context, r *agent.Release) (memory.Store, error) {
	embedder, err := e.catalog.embedder(r)
	if err != nil {
		return nil, err
	}
	return e.catalog.memory(ctx, r, embedder)
}
