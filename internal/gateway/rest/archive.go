package rest

import (
	"net/http"
	"path/filepath"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
)

// retain archives and deletes old runs, and says meanwhile how far it is.
func (s *Server) retain(w http.ResponseWriter, r *http.Request) {
	var q polity.Retain
	if err := read(r.Body, &q); err != nil {
		s.refuse(w, err)
		return
	}
	s.long(w, func(tell func(polity.Progress)) (client.Line, error) {
		done, err := s.engine.Retain(r.Context(), q, tell)
		return client.Line{Retained: &done}, err
	})
}

// trim drops the beginning of the log, and says meanwhile how far it is.
func (s *Server) trim(w http.ResponseWriter, r *http.Request) {
	var q polity.Trim
	if err := read(r.Body, &q); err != nil {
		s.refuse(w, err)
		return
	}
	s.long(w, func(tell func(polity.Progress)) (client.Line, error) {
		done, err := s.engine.Trim(r.Context(), q, tell)
		return client.Line{Trimmed: &done}, err
	})
}

func (s *Server) restoreArchived(w http.ResponseWriter, r *http.Request) {
	var q client.Archived
	err := read(r.Body, &q)
	if err == nil && !filepath.IsAbs(q.Path) {
		err = fault.Invalid.New("rest: path %.200q is not absolute", q.Path)
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	answer, err := s.engine.RestoreArchived(r.Context(), q.Run, q.Path)
	if err != nil {
		s.refuse(w, s.cause(err))
		return
	}
	s.answer(w, http.StatusOK, answer)
}
