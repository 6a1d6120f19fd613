package rest

import (
	"net/http"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
)

func (s *Server) publish(r *http.Request, q client.Event) (nothing, error) {
	return nothing{}, s.engine.Publish(r.Context(), q.Topic, q.ID, q.Version, q.Data)
}

func (s *Server) topics(r *http.Request, q polity.TopicsRequest) (polity.TopicsAnswer, error) {
	ctx, leave := s.untilClosing(r.Context())
	defer leave()
	return s.engine.Topics(ctx, q)
}

// readTopics answers what changes nothing.
func (s *Server) readTopics(r *http.Request, q polity.TopicsRequest) (polity.TopicsAnswer, error) {
	if !q.Reads() {
		return polity.TopicsAnswer{}, fault.Invalid.New("rest: topics: this changes something, and is asked by POST /v1/topics/ask")
	}
	return s.topics(r, q)
}
