package rest

import (
	"net/http"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
)

func (s *Server) publish(w http.ResponseWriter, r *http.Request) {
	var q client.Event
	s.do(w, r, &q, func() error { return s.engine.Publish(r.Context(), q.Topic, q.ID, q.Version, q.Data) })
}

func (s *Server) topics(w http.ResponseWriter, r *http.Request) { s.askTopics(w, r, false) }

// readTopics answers what changes nothing.
func (s *Server) readTopics(w http.ResponseWriter, r *http.Request) { s.askTopics(w, r, true) }

func (s *Server) askTopics(w http.ResponseWriter, r *http.Request, reads bool) {
	var q polity.TopicsRequest
	err := read(r.Body, &q)
	if err == nil && reads && !q.Reads() {
		err = fault.Invalid.New("rest: topics: this changes something, and is asked by POST /v1/topics/ask")
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	ctx, leave := s.whileOpen(r)
	defer leave()
	answer, err := s.engine.Topics(ctx, q)
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.answer(w, http.StatusOK, answer)
}

// do reads a request and answers that it was done, or why not.
func (s *Server) do(w http.ResponseWriter, r *http.Request, q any, do func() error) {
	if err := read(r.Body, q); err != nil {
		s.refuse(w, err)
		return
	}
	if err := do(); err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.answer(w, http.StatusOK, struct{}{})
}
