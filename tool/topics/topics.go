// Package topics is the tool by which agents publish events: topics.publish.
//
// It exists so that organizations which know nothing of each other work together: one says what happened, and whoever awaits it, or opens a
// run for it, goes on. The event's ID is the call's key, so that a call which is repeated after a crash publishes once.
package topics

import (
	"context"
	"encoding/json"

	"polity.run"
	"polity.run/fault"
	"polity.run/tool"
)

const version = "1"

// Publish publishes an event, for a call, on the node that it is made on. The event's ID is the call's key.
type Publish func(ctx context.Context, c tool.Call, e Event) error

// Event is the input of topics.publish.
type Event struct {
	Topic string          `json:"topic" jsonschema:"What it is about, as in orders.placed: words of a-z, 0-9, - and _, joined by dots."`
	Data  json.RawMessage `json:"data" jsonschema:"What happened: any JSON of up to 32 KiB."`
}

// Published is the output of topics.publish.
type Published struct {
	ID string `json:"id" jsonschema:"Of the event."`
}

// Tools returns the toolset. With a nil publish its tools can be looked at, and not called.
func Tools(publish Publish) ([]tool.Tool, error) {
	t, err := tool.Func(tool.Spec{
		Name: "topics.publish", Version: version, Effect: polity.EffectKeyed,
		Description: "Publishes an event on a topic, for every run that awaits it and every organization that is asked about such events.",
	}, func(ctx context.Context, c tool.Call, in Event) (Published, error) {
		if publish == nil {
			return Published{}, fault.Unavailable.New("tool topics.publish: nobody can be told outside of a node")
		}
		return Published{c.Key}, publish(ctx, c, in)
	})
	return []tool.Tool{t}, err
}
