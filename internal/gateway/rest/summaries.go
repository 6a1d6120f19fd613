package rest

import (
	"context"
	"net/http"

	"polity.run"
	"polity.run/client"
	"polity.run/internal/access"
)

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	runs, err := s.summaries(r.Context())
	if runs == nil {
		runs = []polity.Summary{}
	}
	s.reply(w, client.Runs{Runs: runs}, err)
}

// summaries returns the root runs that whoever asks may read, in the order of opening. Whose runs are the tables know, and not the kernel.
func (s *Server) summaries(ctx context.Context) (list []polity.Summary, err error) {
	if access.From(ctx).Holds(access.Read, access.Everywhere) {
		return s.engine.List(ctx)
	}
	q := polity.Lookup{Of: polity.LookupRuns, Sort: "started", Limit: polity.LookupLimitMax}
	for {
		found, err := s.lookingUp(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range found.Runs {
			list = append(list, found.Runs[i].Summary)
		}
		if q.After = found.Next; q.After == "" {
			return list, nil
		}
	}
}
