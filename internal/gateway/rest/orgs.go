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

func (s *Server) orgs(w http.ResponseWriter, r *http.Request) {
	var q client.OrgQuery
	if err := read(r.Body, &q); err != nil {
		s.refuse(w, err)
		return
	}
	who := access.From(r.Context())
	if q.Name != "" && !who.Holds(access.Read, q.Name) {
		s.refuse(w, fault.NotFound.New("organization %.100q is not installed", q.Name))
		return
	}
	answer, err := Orgs(r.Context(), s.engine, q)
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	visible := []polity.Org{}
	for _, o := range answer.Orgs {
		if who.Holds(access.Read, o.Name) {
			visible = append(visible, o)
		}
	}
	answer.Orgs = visible
	s.answer(w, http.StatusOK, answer)
}

func (s *Server) apply(w http.ResponseWriter, r *http.Request) {
	var q client.Apply
	if err := read(r.Body, &q); err != nil {
		s.refuse(w, err)
		return
	}
	if err := permitRelease(r.Context(), q.Release, q.Files); err != nil {
		s.refuse(w, err)
		return
	}
	answer, err := Apply(r.Context(), s.engine, q)
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.answer(w, http.StatusOK, answer)
}

func (s *Server) remove(w http.ResponseWriter, r *http.Request) {
	var q client.Remove
	s.do(w, r, &q, func() error {
		if err := access.Permit(r.Context(), access.Manage, access.Object{Org: q.Name}); err != nil {
			return err
		}
		return s.engine.Remove(r.Context(), q.Name, q.Revision, access.From(r.Context()).Name)
	})
}
