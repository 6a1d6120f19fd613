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

// VerifyView has the node compare its view with one that is made anew from the log; tell, if not nil, is told of the progress. It returns fault.NotFound
// if there is no view; damage is no error.
func (c *Client) VerifyView(ctx context.Context, tell func(polity.Progress)) (polity.ViewCheck, error) {
	var found polity.ViewCheck
	err := c.lines(ctx, http.MethodPost, "/v1/view/verify", struct{}{}, func(l Line) error {
		switch {
		case l.View != nil:
			found = *l.View
		case l.Progress != nil && tell != nil:
			tell(*l.Progress)
		}
		return nil
	})
	return found, err
}

// RebuildView throws the node's view away, which begins at once to make it again. If the beginning of the log was dropped it returns fault.Conflict, unless the view
// shall be without what it alone has of that.
func (c *Client) RebuildView(ctx context.Context, withoutDropped bool) error {
	return c.call(ctx, http.MethodPost, "/v1/view/rebuild", Rebuild{WithoutDropped: withoutDropped}, nil)
}

// Rebuild asks for the view to be made again.
type Rebuild struct {
	WithoutDropped bool `json:"without_dropped,omitempty"`
}
