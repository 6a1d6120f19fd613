package rest

import (
	"context"
	"errors"
	"net/http"

	"polity.run"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/access"
)

// Apply does what a client asks for on an engine.
func Apply(ctx context.Context, e *engine.Engine, q client.Apply) (client.Applied, error) {
	var out client.Applied
	if q.Release == nil {
		return out, fault.Invalid.New("apply: there is no release")
	}
	before, err := e.Org(ctx, q.Release.Name)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return out, err
	}
	d, err := install(e, q.Release, q.Files)
	if err != nil {
		return out, err
	}
	out.Org, err = e.Apply(ctx, d, q.Revision, access.From(ctx).Name)
	out.Changed = out.Org.Revision != before.Revision || out.Org.Release != before.Release
	return out, err
}

// Orgs does what a client asks for on an engine.
func Orgs(ctx context.Context, e *engine.Engine, q client.OrgQuery) (client.Orgs, error) {
	var out client.Orgs
	if q.Name == "" {
		if q.Release {
			return out, fault.Invalid.New("orgs: of which one is the release wanted?")
		}
		var err error
		out.Orgs, err = e.Orgs(ctx)
		return out, err
	}
	org, err := e.Org(ctx, q.Name)
	if err != nil {
		return out, err
	}
	out.Orgs = []polity.Org{org}
	if q.Release {
		out.Release, err = e.OrgRelease(ctx, q.Name)
	}
	return out, err
}

// orgs leaves out those that the one who asks may not read.
func (s *Server) orgs(r *http.Request, q client.OrgQuery) (client.Orgs, error) {
	who := access.From(r.Context())
	if q.Name != "" && !who.Holds(access.Read, q.Name) {
		return client.Orgs{}, fault.NotFound.New("organization %.100q is not installed", q.Name)
	}
	answer, err := Orgs(r.Context(), s.engine, q)
	visible := []polity.Org{}
	for _, o := range answer.Orgs {
		if who.Holds(access.Read, o.Name) {
			visible = append(visible, o)
		}
	}
	answer.Orgs = visible
	return answer, err
}

func (s *Server) apply(r *http.Request, q client.Apply) (client.Applied, error) {
	if err := permitRelease(r.Context(), q.Release, q.Files); err != nil {
		return client.Applied{}, err
	}
	return Apply(r.Context(), s.engine, q)
}

func (s *Server) remove(r *http.Request, q client.Remove) (nothing, error) {
	if err := access.Permit(r.Context(), access.Manage, access.Object{Org: q.Name}); err != nil {
		return nothing{}, err
	}
	return nothing{}, s.engine.Remove(r.Context(), q.Name, q.Revision, access.From(r.Context()).Name)
}
