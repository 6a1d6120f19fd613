package client

import (
	"context"
	"net/http"

	"polity.run/message"
)

// Messages does one thing with messages: see message.Do. What comes back is as of engine.Engine.Messages.
func (c *Client) Messages(ctx context.Context, q message.Do) (d message.Done, err error) {
	path := "/v1/messages"
	if q.Reads() {
		path += "/ask"
	}
	err = c.call(ctx, http.MethodPost, path, q, &d)
	return d, err
}
