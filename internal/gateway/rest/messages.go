package rest

import (
	"net/http"

	"polity.run/message"
)

func (s *Server) messages(r *http.Request, q message.Do) (message.Done, error) {
	ctx, leave := s.untilClosing(r.Context())
	defer leave()
	return s.engine.Messages(ctx, q)
}
