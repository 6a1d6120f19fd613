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

// long does long work and tells of its progress, and at last of its end.
func (s *Server) long(w http.ResponseWriter, do func(tell func(polity.Progress)) (client.Line, error)) {
	out := newStream(w)
	defer out.close()
	write := func(l client.Line) {
		if err := out.write(l); err != nil {
			s.log.Debug("rest: the one who asked has gone away", "error", err)
		}
	}
	end, err := do(func(p polity.Progress) { write(client.Line{Progress: &p}) })
	if err != nil {
		end = client.Line{Error: fault.Of(s.cause(err))}
	}
	end.End = true
	write(end)
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
