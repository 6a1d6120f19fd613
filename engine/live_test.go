package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/message"
)

// atOnce decides at once.
type atOnce struct{}

func (atOnce) Decide(state any, e polity.Event) (any, []polity.Command) {
	return state, []polity.Command{polity.Finish(e.Data)}
}

// booth has agents of all kinds of work that live messages meet.
type booth struct {
	*engine.Engine
	gate chan struct{} // closed: slow goes on
}

func openBooth(t *testing.T) *booth {
	t.Helper()
	b := &booth{gate: make(chan struct{})}
	say := func(_ context.Context, m polity.Message) (json.RawMessage, error) { return m.Body, nil }
	wait := func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
		select {
		case <-b.gate:
			return m.Body, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	skills := []polity.Skill{{Name: "do"}}
	agents := []*agent.Agent{
		{Name: "quick", Version: "1", Skills: skills, Effect: polity.EffectNone, Handle: say},
		{Name: "slow", Version: "1", Skills: skills, Effect: polity.EffectIdempotent, Handle: wait},
		{Name: "payer", Version: "1", Skills: skills, Effect: polity.EffectExternal, Handle: say},
		{Name: "judge", Version: "1", Skills: skills, Decider: atOnce{}},
		{Name: "steps", Version: "1", Skills: skills, Decider: pen{"quick"}},
		{Name: "scribe", Version: "1", Skills: skills, Decider: scribe{}},
	}
	b.Engine = open(t, t.TempDir(), agents...)
	r := agent.Release{Name: "booth", Main: "quick", Messages: &agent.Messages{Groups: map[string][]polity.AgentName{"both": {"judge", "quick"}}}}
	ada := agent.Link{From: message.Address{Kind: message.Outside, Name: "ada"}, To: []message.Address{{Kind: message.Group, Name: "both"}}}
	for _, a := range agents {
		r.Agents = append(r.Agents, a.Definition())
		ada.To = append(ada.To, message.To(a.Name))
	}
	r.Messages.Links = []agent.Link{ada, {From: message.To("scribe"), To: []message.Address{
		message.To("quick"), message.To("judge"), message.To("payer"), {Kind: message.Group, Name: "both"},
	}}}
	d, err := b.Install(&r, nil)
	if err == nil {
		err = b.Enlist(t.Context(), d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func liveLetter(id, to string) message.Envelope {
	a, err := message.ParseAddress(to)
	if err != nil {
		panic(err)
	}
	return message.Envelope{
		ID: id, From: message.Address{Kind: message.Outside, Name: "ada"}, To: []message.Address{a}, Type: message.Task, Live: true, Data: json.RawMessage(`"` + id + `"`),
	}
}

func TestLiveMessages(t *testing.T) {
	b := openBooth(t)
	defer stop(t, b.Engine)
	position := func() uint64 {
		done, err := b.Messages(t.Context(), message.Do{Tail: &message.Tail{}})
		if err != nil {
			t.Fatal(err)
		}
		return done.Next
	}
	before := position()
	for i, to := range []string{"quick", "judge", "group:both", "quick"} {
		m := liveLetter(fmt.Sprint("m", i), to)
		receipts, answers, err := b.Ask(t.Context(), m, message.Join{})
		if err != nil || len(answers) != len(receipts) || receipts[0].Run != "" {
			t.Fatalf("%s: %+v, %+v, %v", to, receipts, answers, err)
		}
		for _, a := range answers {
			if a.Performative != polity.Inform || string(a.Data) != string(m.Data) || a.Correlation != m.ID {
				t.Errorf("%s answers %+v", to, a)
			}
		}
	}
	if _, err := b.Send(t.Context(), liveLetter("told", "quick")); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		change func(m *message.Envelope)
		want   fault.Kind
	}{
		"external":        {func(m *message.Envelope) { m.To = []message.Address{message.To("payer")} }, fault.Invalid},
		"a topic":         {func(m *message.Envelope) { m.To = []message.Address{{Kind: message.Topic, Name: "news"}} }, fault.Invalid},
		"a cancel":        {func(m *message.Envelope) { m.Performative, m.Correlation = message.Cancel, "m1" }, fault.Invalid},
		"no skill":        {func(m *message.Envelope) { m.Skill = "fly" }, fault.NotFound},
		"a reply":         {func(m *message.Envelope) { m.Reply = true }, fault.Invalid},
		"nobody":          {func(m *message.Envelope) { m.To = []message.Address{message.To("nobody")} }, fault.NotFound},
		"expired already": {func(m *message.Envelope) { m.Time = time.Now().Add(-2 * time.Hour) }, fault.Timeout},
	} {
		m := liveLetter("refused", "quick")
		c.change(&m)
		if _, err := b.Send(t.Context(), m); !errors.Is(err, c.want) {
			t.Errorf("%s: %v; want %s", name, err, c.want)
		}
	}
	if _, answers, err := b.Ask(t.Context(), liveLetter("many", "steps"), message.Join{}); err != nil || answers[0].Performative != polity.Failure {
		t.Errorf("what works in steps: %+v, %v", answers, err)
	}
	if after := position(); after != before {
		t.Errorf("the log grew from %d to %d", before, after)
	}
	m := liveLetter("denied", "quick")
	m.From = message.To("judge")
	if _, err := b.Send(t.Context(), m); !errors.Is(err, fault.Denied) {
		t.Errorf("where no link leads: %v", err)
	}
	if list, err := b.Refused(t.Context(), 0, 10); err != nil || len(list) != 1 {
		t.Errorf("refusals: %+v, %v", list, err)
	}
}

// TestLiveMessagesAreDropped fills an agent's box.
func TestLiveMessagesAreDropped(t *testing.T) {
	const room = 16 + 1024
	b := openBooth(t)
	defer stop(t, b.Engine)
	page, err := b.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	m := liveLetter("late", "slow")
	m.Deadline = time.Now().Add(20 * time.Millisecond)
	if _, answers, err := b.Ask(t.Context(), m, message.Join{}); err != nil || answers[0].Performative != polity.Failure || !strings.Contains(string(answers[0].Data), `"timeout"`) {
		t.Errorf("after its deadline: %+v, %v", answers, err)
	}
	for i := range room {
		if _, err := b.Send(t.Context(), liveLetter(fmt.Sprint("m", i), "slow")); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	receipts, err := b.Send(t.Context(), liveLetter("one more", "slow"))
	if !errors.Is(err, fault.Full) || receipts[0].RetryAfter == 0 {
		t.Errorf("one more than there is room for: %+v, %v", receipts, err)
	}
	if _, _, err := b.Ask(t.Context(), liveLetter("elsewhere", "quick"), message.Join{}); err != nil {
		t.Errorf("another agent waits for the slow one: %v", err)
	}
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{"polity_messages_live_dropped_total{", "polity_messages_live_total{"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page of metrics has no %s", want)
		}
	}
	close(b.gate)
	for err = fault.Full; errors.Is(err, fault.Full); { // until it has made some room
		var answers []message.Envelope
		if _, answers, err = b.Ask(t.Context(), liveLetter("again", "slow"), message.Join{}); err == nil && answers[0].Performative != polity.Inform {
			t.Errorf("once there is room: %+v", answers)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

func BenchmarkLiveAsk(b *testing.B) {
	say := func(_ context.Context, m polity.Message) (json.RawMessage, error) { return m.Body, nil }
	quick := &agent.Agent{Name: "quick", Version: "1", Skills: []polity.Skill{{Name: "do"}}, Effect: polity.EffectNone, Handle: say}
	e, err := engine.Open(b.Context(), engine.Config{State: b.TempDir(), Sync: engine.SyncOS, Agents: []*agent.Agent{quick}})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	d, err := e.Install(&agent.Release{Name: "booth", Main: "quick", Agents: []agent.Definition{quick.Definition()}}, nil)
	if err == nil {
		err = e.Enlist(b.Context(), d)
	}
	if err != nil {
		b.Fatal(err)
	}
	m := liveLetter("m", "quick")
	m.Data = json.RawMessage(`"` + strings.Repeat("x", 126) + `"`)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := e.Ask(b.Context(), m, message.Join{}); err != nil {
			b.Fatal(err)
		}
	}
}
