package topics_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"polity.run/fault"
	"polity.run/tool"
	"polity.run/tool/tooltest"
	"polity.run/tool/topics"
)

func TestPublish(t *testing.T) {
	var said []string
	tools, err := topics.Tools(func(_ context.Context, c tool.Call, e topics.Event) error {
		said = append(said, fmt.Sprintf("%s %s %s %s", c.Run, e.Topic, c.Key, e.Data))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := tools[0].Call(t.Context(), tool.Call{Key: "0-a#tell", Run: "0-a", Input: json.RawMessage(`{"topic":"orders.placed","data":{"order":17}}`)})
	if err != nil || string(out) != `{"id":"0-a#tell"}` || fmt.Sprint(said) != `[0-a orders.placed 0-a#tell {"order":17}]` {
		t.Errorf("%s %v %v", out, err, said)
	}
	tooltest.Run(t, tools[0], json.RawMessage(`{"topic":"orders.placed","data":1}`))
	if tools, err = topics.Tools(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := tools[0].Call(t.Context(), tool.Call{Key: "k", Input: json.RawMessage(`{"topic":"a","data":1}`)}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("outside of a node: %v", err)
	}
}
