package client

import (
	"context"
	"net/http"

	"polity.run/message"
)

// Messages does one thing with messages: see message.Do. What comes back is as of engine.Engine.Messages.
func (c *Client) Messages(ctx context.Context, q message.Do) (d message.Done, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/messages", q, &d)
	return d, err
}
