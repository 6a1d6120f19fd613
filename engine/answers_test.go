package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/message"
)

// bureau has a scout who asks a critic, and takes answers only while its gate is open.
type bureau struct {
	*engine.Engine
	dir  string
	gate chan struct{} // closed: the scout takes answers
	hold chan struct{} // closed: the critic answers

	mu  sync.Mutex
	got map[string]int // what the scout was told, and how often
}

func (o *bureau) open(t *testing.T) {
	t.Helper()
	wait := func(ctx context.Context, c chan struct{}) error {
		select {
		case <-c:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	agents := []*agent.Agent{
		{Name: "critic", Version: "1", Skills: []polity.Skill{{Name: "do"}}, Effect: polity.EffectIdempotent, Handle: func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
			return m.Body, wait(ctx, o.hold)
		}},
		{Name: "scout", Version: "1", Skills: []polity.Skill{{Name: "do"}}, Effect: polity.EffectIdempotent, Handle: func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
			if err := wait(ctx, o.gate); err != nil {
				return nil, err
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			o.got[string(m.Body)]++
			return json.RawMessage(`"thanks"`), nil
		}},
	}
	var err error
	if o.Engine, err = engine.Open(t.Context(), engine.Config{State: o.dir, Sync: engine.SyncOS, Agents: agents, CheckpointEvery: 1}); err != nil {
		t.Fatal(err)
	}
	d, err := o.Install(&agent.Release{
		Name: "office", Main: "scout", Agents: []agent.Definition{agents[0].Definition(), agents[1].Definition()},
		Messages: &agent.Messages{Links: []agent.Link{{From: message.To("scout"), To: []message.Address{message.To("critic")}}}},
	}, nil)
	if err == nil {
		err = o.Enlist(t.Context(), d)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// answers waits until the scout was sent so many, and has done them.
func (o *bureau) answers(t *testing.T, n int) []message.Entry {
	t.Helper()
	for {
		done, err := o.Messages(t.Context(), message.Do{List: &message.Filter{To: "scout", Limit: message.ListMax}})
		if err != nil {
			t.Fatal(err)
		}
		ended := 0
		for _, m := range done.Entries {
			if m.Status.Final() {
				ended++
			}
		}
		if ended >= n {
			return done.Entries
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestAgentsAreAnsweredByMessages has an agent ask for more than its conversation takes answers, and the node start anew in between.
func TestAgentsAreAnsweredByMessages(t *testing.T) {
	const asked = 104 // of one conversation 1 is at work and 100 wait: the rest is owed
	o := &bureau{dir: t.TempDir(), gate: make(chan struct{}), hold: make(chan struct{}), got: map[string]int{}}
	close(o.hold)
	o.open(t)
	for i := range asked {
		m := message.Envelope{
			ID: fmt.Sprint("m", i), From: message.To("scout"), To: []message.Address{message.To("critic")}, Type: message.Task, Reply: true,
			Conversation: "c", Data: fmt.Appendf(nil, "%d", i),
		}
		r, err := o.Send(t.Context(), m)
		if err == nil && i == asked-1 {
			_, err = o.Wait(t.Context(), r[0].Run)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	stop(t, o.Engine)
	close(o.gate)
	o.hold = make(chan struct{})
	o.open(t)
	late := message.Envelope{
		ID: "late", From: message.To("scout"), To: []message.Address{message.To("critic")}, Type: message.Task, Reply: true,
		Deadline: time.Now().Add(50 * time.Millisecond), Data: []byte(`"late"`),
	}
	if _, err := o.Send(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	said := map[string]polity.Performative{}
	for _, m := range o.answers(t, asked+1) {
		if _, twice := said[m.Envelope.Correlation]; twice || m.Envelope.From != message.To("critic") {
			t.Errorf("one answer too many: %+v", m.Envelope)
		}
		said[m.Envelope.Correlation] = m.Envelope.Performative
	}
	for i := range asked {
		if id := fmt.Sprint("m", i); said[id] != polity.Inform || o.got[fmt.Sprint(i)] != 1 {
			t.Errorf("%s is answered %q; the scout was told %d times", id, said[id], o.got[fmt.Sprint(i)])
		}
	}
	if said["late"] != polity.Failure {
		t.Errorf("after its deadline the answer is %q", said["late"])
	}
	stop(t, o.Engine)
	o.open(t)
	if n := len(o.answers(t, asked+1)); n != asked+1 {
		t.Errorf("%d answers after another start", n)
	}
	stop(t, o.Engine)
}
