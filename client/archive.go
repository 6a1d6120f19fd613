package client

import (
	"context"
	"net/http"

	"polity.run"
)

// Retain has the node archive or delete old runs: see engine.Engine.Retain. tell, if not nil, is told of the progress.
func (c *Client) Retain(ctx context.Context, q polity.Retain, tell func(polity.Progress)) (polity.Retained, error) {
	var done polity.Retained
	err := c.lines(ctx, http.MethodPost, "/v1/archive", q, func(l Line) error {
		switch {
		case l.Retained != nil:
			done = *l.Retained
		case l.Progress != nil && tell != nil:
			tell(*l.Progress)
		}
		return nil
	})
	return done, err
}

// Trim has the node drop the beginning of the log: see engine.Engine.Trim. tell, if not nil, is told of the progress.
func (c *Client) Trim(ctx context.Context, q polity.Trim, tell func(polity.Progress)) (polity.Trimmed, error) {
	var done polity.Trimmed
	err := c.lines(ctx, http.MethodPost, "/v1/trim", q, func(l Line) error {
		switch {
		case l.Trimmed != nil:
			done = *l.Trimmed
		case l.Progress != nil && tell != nil:
			tell(*l.Progress)
		}
		return nil
	})
	return done, err
}

// RestoreArchived has the node take over a run from a file of archived runs: see engine.Engine.RestoreArchived.
func (c *Client) RestoreArchived(ctx context.Context, id polity.RunID, path string) (polity.Restored, error) {
	var answer polity.Restored
	err := c.call(ctx, http.MethodPost, "/v1/archive/restore", Archived{Run: id, Path: path}, &answer)
	return answer, err
}

// Archived names a run in a file of archived runs.
type Archived struct {
	Run  polity.RunID `json:"run"`
	Path string       `json:"path"` // absolute
}
