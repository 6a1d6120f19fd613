package client

import (
	"context"
	"net/http"
	"net/url"
)

// Webhooks lists who is told of what happens, as far as the caller looks after it.
func (c *Client) Webhooks(ctx context.Context) ([]Webhook, error) {
	var page Page[Webhook]
	err := c.call(ctx, http.MethodGet, "/v1/webhooks", nil, &page)
	return page.Items, err
}

// PutWebhook has another service told of what happens, or changes how. The secret is in the answer, and not told again.
func (c *Client) PutWebhook(ctx context.Context, q NewWebhook) (made Webhook, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/webhooks", q, &made)
	return made, err
}

// DropWebhook tells a service no more. It returns fault.NotFound if there is no such webhook.
func (c *Client) DropWebhook(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, webhookPath(name, ""), nil, new(Done))
}

// Deliveries tells what became of a webhook's messages, the newest first: of all, or of those with a status.
func (c *Client) Deliveries(ctx context.Context, name, status string) ([]Delivery, error) {
	path := webhookPath(name, "/deliveries")
	if status != "" {
		path += "?status=" + url.QueryEscape(status)
	}
	var page Page[Delivery]
	err := c.call(ctx, http.MethodGet, path, nil, &page)
	return page.Items, err
}

// Redeliver has messages sent again, all dead ones if none is named, and returns how many are queued by that.
func (c *Client) Redeliver(ctx context.Context, name string, ids ...string) (int, error) {
	var answer Redelivering
	err := c.call(ctx, http.MethodPost, webhookPath(name, "/redeliver"), Redeliver{IDs: ids}, &answer)
	return answer.Queued, err
}

// Hooks lists where other services may ask, as far as the caller looks after it.
func (c *Client) Hooks(ctx context.Context) ([]Hook, error) {
	var page Page[Hook]
	err := c.call(ctx, http.MethodGet, "/v1/hooks", nil, &page)
	return page.Items, err
}

func webhookPath(name, rest string) string { return "/v1/webhooks/" + url.PathEscape(name) + rest }
