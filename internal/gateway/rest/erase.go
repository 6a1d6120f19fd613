package rest

import (
	"net/http"

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
