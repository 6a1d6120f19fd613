package rest

import (
	"context"
	"net/http"

	"polity.run/client"
	"polity.run/contract"
	"polity.run/engine"
)

func (s *Server) schemas(r *http.Request, q client.SchemaQuery) (client.Subjects, error) {
	return Schemas(r.Context(), s.engine, q)
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
