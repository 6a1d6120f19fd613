package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"polity.run"
)

// Pausing asks for a pause.
type Pausing struct {
	Reason string `json:"reason,omitempty"`
}

// Signal is what a run is told.
type Signal struct {
	Name string          `json:"name"`
	ID   string          `json:"id"` // the same again is the same signal
	Data json.RawMessage `json:"data,omitempty"`
}

// Event is what is published on a topic.
type Event struct {
	Topic string          `json:"topic"`
	ID    string          `json:"id"` // the same again on the same topic is the same event
	Data  json.RawMessage `json:"data,omitempty"`
}

// Topics is the answer to a question for what was published.
type Topics struct {
	Events []polity.Published `json:"events"`
	Next   uint64             `json:"next"` // the position after them
}

// Published returns what was published on the topics of a pattern after a position, in order, and the position up to which the node looked: ask
// again with that, until it stays the same. A position that is larger than any gives the last one.
func (c *Client) Published(ctx context.Context, pattern string, after uint64) (list []polity.Published, next uint64, err error) {
	var answer Topics
	path := "/v1/topics?topic=" + url.QueryEscape(pattern) + "&after=" + strconv.FormatUint(after, 10)
	err = c.call(ctx, http.MethodGet, path, nil, &answer)
	return answer.Events, answer.Next, err
}

// Pause lets nothing new begin in a run until it is resumed. It returns fault.NotFound if there is no such run, and fault.Conflict if it has
// ended or has not begun.
func (c *Client) Pause(ctx context.Context, id polity.RunID, reason string) error {
	return c.call(ctx, http.MethodPost, runPath(id, "/pause"), Pausing{reason}, nil)
}

// Signal tells a run, or one below it, something. It returns fault.NotFound if there is no such run under way, fault.Invalid for a signal that is
// not declared or data that is not accepted, fault.Conflict if the run has ended, and fault.Full if it has too many that it has not awaited.
func (c *Client) Signal(ctx context.Context, id polity.RunID, name, signalID string, data json.RawMessage) error {
	return c.call(ctx, http.MethodPost, runPath(id, "/signal"), Signal{name, signalID, data}, nil)
}

// Publish gives an event to every run that awaits it now. It returns fault.Invalid for what is no topic.
func (c *Client) Publish(ctx context.Context, topic, id string, data json.RawMessage) error {
	return c.call(ctx, http.MethodPost, "/v1/topics", Event{topic, id, data}, nil)
}
