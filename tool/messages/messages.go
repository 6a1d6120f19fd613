// Package messages is the tool by which agents write to each other: messages.send.
//
// It exists so that an agent that thinks can turn to others on its own, along the links of its organization. The message's key is the call's, so that a call
// which is repeated after a crash sends once.
package messages

import (
	"context"
	"encoding/json"

	"polity.run"
	"polity.run/fault"
	"polity.run/message"
	"polity.run/tool"
)

const version = "2"

// Send sends a message of a run on the node that a call is made on. It waits for the answers of one that is live and wants a reply, and of no other.
type Send func(ctx context.Context, by polity.RunID, e message.Envelope) ([]message.Receipt, []message.Envelope, error)

// Letter is the input of messages.send.
type Letter struct {
	To           string          `json:"to" jsonschema:"Who gets it: an agent's name, group:NAME, role:NAME, topic:NAME or all."`
	Data         json.RawMessage `json:"data" jsonschema:"What it says: any JSON that the recipient understands, as in {\"question\": \"Is it ready?\"}."`
	Type         string          `json:"type,omitempty" jsonschema:"task, query or notification; default task. An answer to a message is a result."`
	Conversation string          `json:"conversation,omitempty" jsonschema:"Messages of one conversation are taken in order."`
	Priority     string          `json:"priority,omitempty" jsonschema:"low, normal, high or urgent; default normal."`
	Answers      string          `json:"answers,omitempty" jsonschema:"ID of the message that it answers."`
	Reply        bool            `json:"reply,omitempty" jsonschema:"An answer is wanted. It comes later, as a message to you with this one's ID as its correlation; that of a live message comes at once."`
	Live         bool            `json:"live,omitempty" jsonschema:"It is worth nothing later, and not kept: done at once or lost. With reply the answers are waited for."`
}

// Sent is the output of messages.send.
type Sent struct {
	ID       string            `json:"id" jsonschema:"Of the message."`
	Receipts []message.Receipt `json:"receipts"`
	Answers  []Answer          `json:"answers,omitempty" jsonschema:"To a live message that wanted a reply."`
}

// Answer is what an agent answers a live message.
type Answer struct {
	From         string              `json:"from"`
	Performative polity.Performative `json:"performative" jsonschema:"inform; failure or refuse, if the data is the reason."`
	Data         json.RawMessage     `json:"data,omitempty"`
}

// Tools returns the toolset. With a nil send its tools can be looked at, and not called.
func Tools(send Send) ([]tool.Tool, error) {
	t, err := tool.Func(tool.Spec{
		Name: "messages.send", Version: version, Effect: polity.EffectKeyed, Output: json.RawMessage(`{"type":"object"}`),
		Description: "Sends a message to other agents, where a link of the organization leads to them. It waits for the answers of a live message with reply, and of no other.",
	}, func(ctx context.Context, c tool.Call, in Letter) (Sent, error) {
		if send == nil {
			return Sent{}, fault.Unavailable.New("tool messages.send: nobody can be told outside of a node")
		}
		e, err := in.envelope(c)
		if err != nil {
			return Sent{}, err
		}
		receipts, answers, err := send(ctx, c.Run, e)
		sent := Sent{ID: e.ID, Receipts: receipts}
		for _, a := range answers {
			sent.Answers = append(sent.Answers, Answer{a.From.String(), a.Performative, a.Data})
		}
		return sent, err
	})
	return []tool.Tool{t}, err
}

// envelope is the message that a call says.
func (l Letter) envelope(c tool.Call) (message.Envelope, error) {
	to, err := message.ParseAddress(l.To)
	if err != nil {
		return message.Envelope{}, err
	}
	from := message.To(polity.AgentName(c.Agent))
	if c.Agent == "" { // it is tried by hand
		from = message.Address{Kind: message.Outside, Name: "operator"}
	}
	e := message.Envelope{
		ID: message.KeyOf(c.Key), From: from, To: []message.Address{to}, Type: message.Type(l.Type), Conversation: l.Conversation,
		Correlation: l.Answers, Causation: message.KeyOf(c.Key), Data: l.Data,
		Reply: l.Reply, Live: l.Live,
	}
	if e.Type == "" {
		e.Type = message.Task
	}
	if l.Priority != "" {
		if e.Priority, err = message.ParsePriority(l.Priority); err != nil {
			return e, err
		}
	}
	return e, e.Check()
}
