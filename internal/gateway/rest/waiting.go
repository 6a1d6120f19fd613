package rest

import (
	"net/http"

	"polity.run"
	"polity.run/client"
)

func (s *Server) publish(r *http.Request, q client.Event) (nothing, error) {
	return nothing{}, s.engine.Publish(r.Context(), q.Topic, q.ID, q.Version, q.Data)
}

func (s *Server) topics(r *http.Request, q polity.TopicsRequest) (polity.TopicsAnswer, error) {
	ctx, leave := s.untilClosing(r.Context())
	defer leave()
	return s.engine.Topics(ctx, q)
}
