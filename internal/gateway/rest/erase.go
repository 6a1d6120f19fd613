package rest

import (
	"net/http"

	"polity.run"
	"polity.run/client"
)

func (s *Server) erase(r *http.Request, q client.Erase) (polity.Erasure, error) {
	return s.engine.Erase(r.Context(), q.Subject, q.Reason, q.Cancel)
}

func (s *Server) deleteRun(r *http.Request, q client.Cancellation) (client.Deleted, error) {
	n, err := s.engine.Delete(r.Context(), id(r), q.Reason)
	return client.Deleted{Records: n}, err
}

func (s *Server) hold(r *http.Request, q client.Cancellation) (nothing, error) {
	return nothing{}, s.engine.Hold(r.Context(), id(r), q.Reason)
}

func (s *Server) release(r *http.Request, q client.Cancellation) (nothing, error) {
	return nothing{}, s.engine.Release(r.Context(), id(r), q.Reason)
}
