package rest

import (
	"net/http"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
)

// lookup answers from the node's view. Whoever would wait longer than a question may take asks again.
func (s *Server) lookup(w http.ResponseWriter, r *http.Request) {
	var q polity.Lookup
	if err := read(r.Body, &q); err != nil {
		s.refuse(w, err)
		return
	}
	if q.Wait > polity.Duration(pollWait) {
		s.refuse(w, fault.Invalid.New("rest: lookup: wait: the most is %s here; ask again", pollWait))
		return
	}
	found, err := s.lookingUp(r.Context(), q)
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.answer(w, http.StatusOK, found)
}

// verifyView compares the view with the log, and says meanwhile how far it is.
func (s *Server) verifyView(w http.ResponseWriter, r *http.Request) {
	if err := read(r.Body, &struct{}{}); err != nil {
		s.refuse(w, err)
		return
	}
	s.long(w, func(tell func(polity.Progress)) (client.Line, error) {
		found, err := s.engine.VerifyView(r.Context(), tell)
		return client.Line{View: &found}, err
	})
}

func (s *Server) rebuildView(w http.ResponseWriter, r *http.Request) {
	var q client.Rebuild
	if err := read(r.Body, &q); err != nil {
		s.refuse(w, err)
		return
	}
	if err := s.engine.RebuildView(r.Context(), q.WithoutDropped); err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.answer(w, http.StatusOK, struct{}{})
}
