package client

import (
	"context"
	"net/http"

	"polity.run"
)

// Erase asks for the data of a person to be erased.
type Erase struct {
	Subject string `json:"subject"`
	Reason  string `json:"reason,omitempty"`
	Cancel  bool   `json:"cancel,omitempty"` // runs that have not ended
}

// Hold keeps a run from being erased: see engine.Engine.Hold.
func (c *Client) Hold(ctx context.Context, id polity.RunID, reason string) error {
	return c.call(ctx, http.MethodPost, runPath(id, "/hold"), Cancellation{Reason: reason}, nil)
}

// Release ends a hold: see engine.Engine.Release.
func (c *Client) Release(ctx context.Context, id polity.RunID, reason string) error {
	return c.call(ctx, http.MethodPost, runPath(id, "/release"), Cancellation{Reason: reason}, nil)
}

// Erase erases the data of a person: see engine.Engine.Erase.
func (c *Client) Erase(ctx context.Context, q Erase) (polity.Erasure, error) {
	var answer polity.Erasure
	err := c.call(ctx, http.MethodPost, "/v1/erase", q, &answer)
	return answer, err
}
