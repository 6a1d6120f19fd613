package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/message"
)

// herd is a node with an agent clerk that has instances, each of which waits for its gate.
type herd struct {
	*engine.Engine
	dir  string
	gate chan struct{}
}

func (h *herd) open(t *testing.T) {
	t.Helper()
	clerk := &agent.Agent{
		Name: "clerk", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "do"}},
		Handle: func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
			if string(m.Body) == `"wait"` {
				select {
				case <-h.gate:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			return json.Marshal(m.To)
		},
	}
	h.Engine = open(t, h.dir, clerk)
	far := agent.Definition{Name: "far", Kind: agent.KindRemote, Skills: []polity.Skill{{Name: "do"}}, Remote: &agent.Remote{Effect: polity.EffectNone, Timeout: polity.Duration(1e9)}}
	d, err := h.Install(&agent.Release{
		Name: "office", Main: "clerk", Agents: []agent.Definition{clerk.Definition(), far},
		Messages: &agent.Messages{Links: []agent.Link{{From: message.To("clerk"), To: []message.Address{message.To("clerk"), {Kind: message.Topic, Name: "done"}}}}},
	}, nil)
	if err == nil {
		err = h.Enlist(t.Context(), d)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (h *herd) letter(from, to, text string) message.Envelope {
	a, err := message.ParseAddress(from)
	if err != nil {
		panic(err)
	}
	return message.Envelope{
		ID: fmt.Sprint(from, " ", to, " ", text), From: a, To: []message.Address{message.To(polity.AgentName(to))}, Type: message.Task, Data: json.RawMessage(`"` + text + `"`),
	}
}

func TestInstancesHaveMailboxesOfTheirOwn(t *testing.T) {
	h := &herd{dir: t.TempDir(), gate: make(chan struct{})}
	h.open(t)
	ctx := t.Context()
	if n, err := h.AddInstances(ctx, "clerk", []string{"a", "b", "a"}); n != 2 || err != nil {
		t.Fatalf("%d were added: %v", n, err)
	}
	many := make([]string, 70_000) // more than one sheet
	for i := range many {
		many[i] = fmt.Sprint("c-", i)
	}
	if n, err := h.AddInstances(ctx, "clerk", append(many, "b")); n != len(many) || err != nil {
		t.Fatalf("%d were added: %v", n, err)
	}
	for _, c := range []struct {
		from, to string
		want     fault.Kind // "": it is answered
	}{
		{"outside:ada", "clerk/a", ""}, {"outside:ada", "clerk", ""}, {"outside:ada", "clerk/c-69999", ""}, {"clerk/a", "clerk/b", ""},
		{"outside:ada", "clerk/nobody", fault.NotFound}, {"clerk/nobody", "clerk/a", ""}, {"far", "clerk/a", fault.Denied}, {"outside:ada", "clerk/A", fault.Invalid},
	} {
		for _, live := range []bool{false, true} {
			m := h.letter(c.from, c.to, "now")
			m.Live = live
			_, answers, err := h.Ask(ctx, m, message.Join{})
			switch {
			case c.want != "" && !errors.Is(err, c.want):
				t.Errorf("%s to %s: %v; want %s", c.from, c.to, err, c.want)
			case c.want == "" && (err != nil || string(answers[0].Data) != `"`+c.to+`"` || answers[0].From != message.To(polity.AgentName(c.to))):
				t.Errorf("%s to %s: %v, %v", c.from, c.to, answers, err)
			}
		}
	}
	for i := range 17 { // one more than it works on at once
		m := h.letter("outside:ada", "clerk/a", "wait")
		m.ID += fmt.Sprint(i)
		if _, err := h.Send(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := h.Ask(ctx, h.letter("outside:eve", "clerk/b", "now"), message.Join{}); err != nil {
		t.Errorf("one instance waits for another: %v", err)
	}
	boxes, err := h.Messages(ctx, message.Do{Mailboxes: true})
	if err != nil || len(boxes.Boxes) != 1 || boxes.Boxes[0] != (message.Box{Agent: "clerk/a", Busy: 16, Waiting: 1}) {
		t.Errorf("mailboxes: %+v, %v", boxes.Boxes, err)
	}
	if streams, consumers, connections, err := h.Census(); err != nil || streams+consumers+connections > 16 {
		t.Errorf("%d streams, %d consumers, %d connections: %v", streams, consumers, connections, err)
	}
	for what, try := range map[string]func() (int, error){
		"a bad name":       func() (int, error) { return h.AddInstances(ctx, "clerk", []string{"fine", "Not"}) },
		"an agent outside": func() (int, error) { return h.AddInstances(ctx, "far", []string{"a"}) },
	} {
		if _, err := try(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := h.AddInstances(ctx, "nobody", []string{"a"}); !errors.Is(err, fault.NotFound) {
		t.Errorf("nobody: %v", err)
	}
	h.restart(t)
}

// restart wants everything to be there in another process, also what waits.
func (h *herd) restart(t *testing.T) {
	ctx := t.Context()
	stop(t, h.Engine)
	close(h.gate)
	h.open(t)
	m := h.letter("outside:ada", "clerk/a", "wait")
	m.ID += "16"
	if _, answers, err := h.Ask(ctx, m, message.Join{}); err != nil || string(answers[0].Data) != `"clerk/a"` {
		t.Errorf("what waited: %v, %v", answers, err)
	}
	if n, err := h.RemoveInstances(ctx, "clerk", []string{"a", "c-1", "nobody"}); n != 2 || err != nil {
		t.Errorf("%d were removed: %v", n, err)
	}
	if n, err := h.AddInstances(ctx, "clerk", []string{"c-1", "c-2"}); n != 1 || err != nil {
		t.Errorf("%d were added: %v", n, err)
	}
	stop(t, h.Engine)
	h.open(t)
	all, err := h.Instances(ctx)
	if err != nil || len(all) != 1 || all["clerk"] != 70_001 {
		t.Errorf("instances: %v, %v", all, err)
	}
	if _, err := h.Send(ctx, h.letter("outside:ada", "clerk/a", "now")); !errors.Is(err, fault.NotFound) {
		t.Errorf("one that was removed: %v", err)
	}
	stop(t, h.Engine)
}
