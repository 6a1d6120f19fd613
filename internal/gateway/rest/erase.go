package rest

import (
	"context"
	"net/http"

	"polity.run"
	"polity.run/client"
)

func (s *Server) erase(w http.ResponseWriter, r *http.Request) {
	var q client.Erase
	if err := read(r.Body, &q); err != nil {
		s.refuse(w, err)
		return
	}
	done, err := s.engine.Erase(r.Context(), q.Subject, q.Reason, q.Cancel)
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.answer(w, http.StatusOK, done)
}

// holding holds or releases a run.
func (s *Server) holding(do func(context.Context, polity.RunID, string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q client.Cancellation
		if err := read(r.Body, &q); err != nil {
			s.refuse(w, err)
			return
		}
		if err := do(r.Context(), id(r), q.Reason); err != nil {
			s.refuse(w, s.cause(err))
			return
		}
		s.answer(w, http.StatusOK, struct{}{})
	}
}
