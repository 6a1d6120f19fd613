package rest

import (
	"net/http"
	"strconv"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
)

func (s *Server) pause(w http.ResponseWriter, r *http.Request) {
	var q client.Pausing
	s.do(w, r, &q, func() error { return s.engine.Pause(r.Context(), id(r), q.Reason) })
}

func (s *Server) signal(w http.ResponseWriter, r *http.Request) {
	var q client.Signal
	s.do(w, r, &q, func() error { return s.engine.Signal(r.Context(), id(r), q.Name, q.ID, q.Data) })
}

func (s *Server) publish(w http.ResponseWriter, r *http.Request) {
	var q client.Event
	s.do(w, r, &q, func() error { return s.engine.Publish(r.Context(), q.Topic, q.ID, q.Data) })
}

// published answers with what was published after a position.
func (s *Server) published(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	if err != nil {
		s.refuse(w, fault.Invalid.New("rest: after %.40q: want a position", r.URL.Query().Get("after")))
		return
	}
	list, next, err := s.engine.Published(r.Context(), r.URL.Query().Get("topic"), after)
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	if list == nil {
		list = []polity.Published{}
	}
	s.answer(w, http.StatusOK, client.Topics{Events: list, Next: next})
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
