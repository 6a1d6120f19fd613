package messages_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"polity.run"
	"polity.run/fault"
	"polity.run/message"
	"polity.run/tool"
	"polity.run/tool/messages"
	"polity.run/tool/tooltest"
)

func TestSend(t *testing.T) {
	var got message.Envelope
	tools, err := messages.Tools(func(_ context.Context, by polity.RunID, e message.Envelope) ([]message.Receipt, []message.Envelope, error) {
		got = e
		var answers []message.Envelope
		if e.Live && e.Reply {
			answers = []message.Envelope{{From: message.To("desk"), Performative: polity.Inform, Data: e.Data}}
		}
		return []message.Receipt{{To: e.To[0], Performative: polity.Agree, Run: by}}, answers, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	call := tool.Call{Key: "0-a#tell", Run: "0-a", Agent: "scout", Input: json.RawMessage(`{"to":"group:desk","data":{"n":1},"priority":"high","conversation":"c"}`)}
	out, err := tools[0].Call(t.Context(), call)
	if want := `{"id":"0-a#tell","receipts":[{"to":"group:desk","performative":"agree","run":"0-a"}]}`; err != nil || string(out) != want {
		t.Errorf("%s, %v; want %s", out, err, want)
	}
	if got.From != message.To("scout") || got.Priority != message.High || got.Or().Key != call.Key || got.Conversation != "c" || string(got.Data) != `{"n":1}` {
		t.Errorf("sent %+v", got)
	}
	call.Input = json.RawMessage(`{"to":"desk","data":2,"live":true,"reply":true}`)
	out, err = tools[0].Call(t.Context(), call)
	if want := `"answers":[{"from":"agent:desk","performative":"inform","data":2}]}`; err != nil || !strings.HasSuffix(string(out), want) || !got.Live || !got.Reply {
		t.Errorf("%s, %v; want …%s", out, err, want)
	}
	tooltest.Run(t, tools[0], json.RawMessage(`{"to":"critic","data":1}`))
	call.Input = json.RawMessage(`{"to":"Critic","data":1}`)
	if _, err := tools[0].Call(t.Context(), call); !errors.Is(err, fault.Invalid) {
		t.Errorf("a bad address: %v", err)
	}
	call.Key, call.Input = "0-a"+strings.Repeat("/x", 300)+"#tell", json.RawMessage(`{"to":"critic","data":1}`)
	if _, err := tools[0].Call(t.Context(), call); err != nil || len(got.ID) > message.TextMax {
		t.Errorf("a long key: %v", err)
	}
	if tools, err = messages.Tools(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := tools[0].Call(t.Context(), call); !errors.Is(err, fault.Unavailable) {
		t.Errorf("outside of a node: %v", err)
	}
}
