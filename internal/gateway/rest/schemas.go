package rest

import (
	"context"
	"net/http"

	"polity.run/client"
	"polity.run/contract"
	"polity.run/engine"
)

func (s *Server) schemas(w http.ResponseWriter, r *http.Request) {
	var q client.SchemaQuery
	if err := read(r.Body, &q); err != nil {
		s.refuse(w, err)
		return
	}
	answer, err := Schemas(r.Context(), s.engine, q)
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.answer(w, http.StatusOK, answer)
}

// Schemas does what a client wants of the registry of schemas on an engine.
func Schemas(ctx context.Context, e *engine.Engine, q client.SchemaQuery) (client.Subjects, error) {
	if q.Register == nil {
		list, err := e.Schemas(ctx, q.Names...)
		return client.Subjects{Subjects: list}, err
	}
	made, err := e.Register(ctx, *q.Register)
	if err != nil {
		return client.Subjects{}, err
	}
	return client.Subjects{Subjects: []contract.Subject{*made}}, nil
}
