package client

import (
	"context"
	"encoding/json"
	"net/http"

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
	// Version is that of the signal's registered schema which Data was written for; 0: it is what the run wants.
	Version int `json:"version,omitempty"`
}

// Event is what is published on a topic.
type Event struct {
	Topic string          `json:"topic"`
	ID    string          `json:"id"` // the same again on the same topic is the same event
	Data  json.RawMessage `json:"data,omitempty"`
	// Version is that of the topic's registered schema which Data was written for; 0 is the newest that every installed release understands.
	Version int `json:"version,omitempty"`
}

// Topics does one thing with the node's topics: see polity.TopicsRequest. It returns fault.Invalid for what cannot be, fault.NotFound for what is not
// there, fault.Conflict for a cursor or a group of another topic, and fault.Full if there are too many of them.
func (c *Client) Topics(ctx context.Context, q polity.TopicsRequest) (a polity.TopicsAnswer, err error) {
	path := "/v1/topics/ask"
	if q.Reads() {
		path = "/v1/topics/read"
	}
	err = c.call(ctx, http.MethodPost, path, q, &a)
	return a, err
}

// Pause lets nothing new begin in a run until it is resumed. It returns fault.NotFound if there is no such run, and fault.Conflict if it has
// ended or has not begun.
func (c *Client) Pause(ctx context.Context, id polity.RunID, reason string) error {
	return c.call(ctx, http.MethodPost, runPath(id, "/pause"), Pausing{reason}, nil)
}

// Signal tells a run, or one below it, something. It returns fault.NotFound if there is no such run under way, fault.Invalid for a signal that is
// not declared or data that is not accepted, fault.Conflict if the run has ended, and fault.Full if it has too many that it has not awaited.
func (c *Client) Signal(ctx context.Context, id polity.RunID, name, signalID string, version int, data json.RawMessage) error {
	return c.call(ctx, http.MethodPost, runPath(id, "/signal"), Signal{name, signalID, data, version}, nil)
}

// Publish gives an event to every run that awaits it now. It returns fault.Invalid for what is no topic and for data that the topic's schema
// refuses, and fault.NotFound for a version that there is not.
func (c *Client) Publish(ctx context.Context, topic, id string, version int, data json.RawMessage) error {
	return c.call(ctx, http.MethodPost, "/v1/topics", Event{topic, id, data, version}, nil)
}
