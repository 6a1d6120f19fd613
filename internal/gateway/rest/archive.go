package rest

import (
	"context"
	"net/http"

	"polity.run"
	"polity.run/client"
)

// retain archives and deletes old runs.
func (s *Server) retain(ctx context.Context, q polity.Retain, tell func(polity.Progress)) (client.Line, error) {
	done, err := s.engine.Retain(ctx, q, tell)
	return client.Line{Retained: &done}, err
}

// trim drops the beginning of the log.
func (s *Server) trim(ctx context.Context, q polity.Trim, tell func(polity.Progress)) (client.Line, error) {
	done, err := s.engine.Trim(ctx, q, tell)
	return client.Line{Trimmed: &done}, err
}

func (s *Server) restoreArchived(r *http.Request, q client.Archived) (polity.Restored, error) {
	if err := absolute(q.Path); err != nil {
		return polity.Restored{}, err
	}
	return s.engine.RestoreArchived(r.Context(), q.Run, q.Path)
}
