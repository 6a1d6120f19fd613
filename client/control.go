package client

import (
	"context"
	"net/http"

	"polity.run"
	"polity.run/agent"
)

// Replay asks for a run to be folded again.
type Replay struct {
	// Release is whose code is asked; nil for the run's own.
	Release *agent.Release `json:"release,omitempty"`
	// Files are the contents of the files that the release pins, by hex SHA-256.
	Files map[string][]byte `json:"files,omitempty"`
}

// Replay has the node fold a run again from its log, and say where the code first decides otherwise. Nothing of the run is
// touched. It returns fault.NotFound if there is no such run.
func (c *Client) Replay(ctx context.Context, id polity.RunID, q Replay) (polity.Replay, error) {
	var answer polity.Replay
	err := c.call(ctx, http.MethodPost, runPath(id, "/replay"), q, &answer)
	return answer, err
}
