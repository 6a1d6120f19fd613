package rest

import (
	"context"
	"net/http"

	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/message"
)

// Enlist stores a release and gives its agents addresses.
func Enlist(ctx context.Context, e *engine.Engine, q client.Install) error {
	if q.Release == nil {
		return fault.Invalid.New("rest: release: missing")
	}
	d, err := install(e, q.Release, q.Files)
	if err != nil {
		return err
	}
	return e.Enlist(ctx, d)
}

func (s *Server) enlist(w http.ResponseWriter, r *http.Request) {
	var q client.Install
	s.do(w, r, &q, func() error {
		if err := permitRelease(r.Context(), q.Release, q.Files); err != nil {
			return err
		}
		return Enlist(r.Context(), s.engine, q)
	})
}

func (s *Server) messages(w http.ResponseWriter, r *http.Request) {
	var q message.Do
	if err := read(r.Body, &q); err != nil {
		s.refuse(w, err)
		return
	}
	ctx, leave := s.whileOpen(r)
	defer leave()
	done, err := s.engine.Messages(ctx, q)
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.answer(w, http.StatusOK, done)
}
