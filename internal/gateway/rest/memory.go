package rest

import (
	"context"
	"net/http"
	"time"

	"polity.run"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/memory"
)

func (s *Server) memory(r *http.Request, q client.Memory) (client.Remembered, error) {
	if err := permitRelease(r.Context(), q.Release, nil); err != nil {
		return client.Remembered{}, err
	}
	return Memory(r.Context(), s.engine, q)
}

// Memory does what a client wants of a memory on an engine.
func Memory(ctx context.Context, e *engine.Engine, q client.Memory) (client.Remembered, error) {
	var out client.Remembered
	if q.Release == nil || q.Release.Name == "" {
		return out, fault.Invalid.New("rest: memory: a release is needed; it says whose memory it is")
	}
	store, err := e.Memory(ctx, q.Release)
	if err != nil {
		return out, err
	}
	own := memory.Of(q.Release.Name, polity.AgentName(q.Agent))
	switch q.Do {
	case client.MemoryAdd:
		_, err = store.Add(ctx, own, q.Records)
	case client.MemorySearch:
		names := []string{own}
		if q.Agent != "" { // an agent sees its organization's as well
			names = append(names, memory.Of(q.Release.Name, ""))
		}
		out.Hits, _, err = store.Search(ctx, names, q.Query)
	case client.MemoryForget:
		var done memory.Forgotten
		done, err = store.Forget(ctx, own, q.Filter, time.Now().UTC())
		out.Forgotten = []memory.Forgotten{done}
	case client.MemoryList:
		out.Records, out.Forgotten, err = store.List(ctx, own)
	default:
		err = fault.Invalid.New("rest: memory: do %.40q: want add, search, forget or list", q.Do)
	}
	return out, err
}
