package rest

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"polity.run"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
)

const (
	refusedDefault = 100
	refusedMax     = 1000
)

func (s *Server) bus(r *http.Request, q client.Bus) (client.OnBus, error) {
	return Bus(r.Context(), s.engine, q)
}

// Bus does what a client wants of the door for agents in other processes.
func Bus(ctx context.Context, e *engine.Engine, q client.Bus) (client.OnBus, error) {
	out := client.OnBus{URL: e.DoorURL()}
	var err error
	switch q.Do {
	case client.BusAdmit:
		var admitted polity.Admission
		admitted, err = e.Admit(ctx, q.Org, q.Agent, q.Key, time.Duration(q.Life))
		out.Admitted = &admitted
	case client.BusRevoke:
		out.Revoked, err = e.Revoke(ctx, q.Org, q.Agent)
	case client.BusAgents:
		out.Agents, err = e.Outside(ctx)
	case client.BusRights:
		out.Rights, err = e.Rights(ctx, q.Org, q.Agent)
	case client.BusRefused:
		most := cmp.Or(q.Most, refusedDefault)
		if most < 0 || most > refusedMax {
			return out, fault.Invalid.New("rest: bus: most: want 1 to %d", refusedMax)
		}
		out.Refused, err = e.Refused(ctx, q.After, most)
	default:
		err = fault.Invalid.New("rest: bus: do %.40q: want admit, revoke, agents, rights or refused", q.Do)
	}
	return out, err
}
