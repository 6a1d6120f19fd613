package client

import (
	"context"
	"net/http"

	"polity.run"
)

// PositionHeader is in every answer of a node: the commit that was acknowledged last when it was given. A lookup that names it, on whatever
// connection, tells of everything that was answered before.
const PositionHeader = "Polity-Position"

// Lookup asks the node's view. See polity.Lookup.
func (c *Client) Lookup(ctx context.Context, q polity.Lookup) (polity.Found, error) {
	var found polity.Found
	err := c.call(ctx, http.MethodPost, "/v1/lookup", q, &found)
	return found, err
}

// RebuildView throws the node's view away, which begins at once to make it again.
func (c *Client) RebuildView(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/view/rebuild", struct{}{}, nil)
}
