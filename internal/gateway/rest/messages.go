package rest

import (
	"net/http"

	"polity.run/message"
)

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
