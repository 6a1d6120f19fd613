package rest

import (
	"context"
	"net/http"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
)

// lookup answers from the node's view. Whoever would wait longer than a question may take asks again.
func (s *Server) lookup(r *http.Request, q polity.Lookup) (polity.Found, error) {
	if q.Wait > polity.Duration(pollWait) {
		return polity.Found{}, fault.Invalid.New("rest: lookup: wait: the most is %s here; ask again", pollWait)
	}
	return s.lookingUp(r.Context(), q)
}

// verifyView compares the view with the log.
func (s *Server) verifyView(ctx context.Context, _ nothing, tell func(polity.Progress)) (client.Line, error) {
	found, err := s.engine.VerifyView(ctx, tell)
	return client.Line{View: &found}, err
}

func (s *Server) rebuildView(r *http.Request, q client.Rebuild) (nothing, error) {
	return nothing{}, s.engine.RebuildView(r.Context(), q.WithoutDropped)
}
