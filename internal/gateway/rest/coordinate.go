package rest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"polity.run/client"
	"polity.run/coordinate"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/tool"
)

const (
	byHand   = "0-by-hand"      // the run that calls outside of any run are made for
	handWait = 30 * time.Second // of such a call, also if it waits for a lock: whoever asks takes a silent node for gone
)

func (s *Server) coordinate(r *http.Request, q client.Coordination) (client.Coordinated, error) {
	return s.coordinated(r.Context(), q)
}

// coordinated does what a client wants of the facts of organizations that it manages.
func (s *Server) coordinated(ctx context.Context, q client.Coordination) (client.Coordinated, error) {
	orgs, all := access.From(ctx).Orgs(access.Manage)
	if q.Do != client.CoordinateList || q.Org != "" || all {
		if err := access.Permit(ctx, access.Manage, access.Object{Org: q.Org}); err != nil {
			return client.Coordinated{}, err
		}
		return Coordinate(ctx, s.engine, q)
	}
	var out client.Coordinated
	for _, q.Org = range orgs {
		one, err := Coordinate(ctx, s.engine, q)
		if err != nil {
			return out, err
		}
		out.Locks = append(out.Locks, one.Locks...)
	}
	return out, nil
}

// Coordinate does what a client wants of the facts by which agents coordinate on an engine.
func Coordinate(ctx context.Context, e *engine.Engine, q client.Coordination) (client.Coordinated, error) {
	var out client.Coordinated
	facts, err := e.Facts(ctx)
	if err != nil {
		return out, err
	}
	switch q.Do {
	case client.CoordinateCall:
		if q.Key == "" {
			return out, fault.Invalid.New("rest: coordinate: a key is needed; the same key is the same call")
		}
		short, cancel := context.WithTimeout(ctx, handWait)
		defer cancel()
		out.Output, err = e.Coordinate(short, q.Tool, tool.Call{
			Key: byHand + "#" + q.Key, Run: byHand, Agent: q.Agent, Org: q.Org, Input: q.Input,
		})
		if errors.Is(err, fault.Timeout) {
			err = fault.Timeout.New("by hand a call has %s, with its wait: %w", handWait, err)
		}
	case client.CoordinateList:
		out.Locks, err = facts.Locks(ctx, q.Org)
	case client.CoordinateRelease:
		var l coordinate.Lock
		l, err = facts.Break(ctx, q.Org, q.Kind, q.Name)
		out.Locks = []coordinate.Lock{l}
	default:
		err = fault.Invalid.New("rest: coordinate: do %.40q: want call, list or release", q.Do)
	}
	return out, err
}
