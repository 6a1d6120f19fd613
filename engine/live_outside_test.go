package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/message"
	"polity.run/remote"
)

// booths are an organization with an agent in the node and two outside, which asks it and each other by links: front and back ask inside, front asks back.
func openBooths(t *testing.T) *outdoors {
	t.Helper()
	inside := &agent.Agent{
		Name: "inside", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "do"}},
		Handle: func(_ context.Context, m polity.Message) (json.RawMessage, error) {
			if string(m.Body) == `"fail"` {
				return nil, fault.NotFound.New("no such thing")
			}
			return m.Body, nil
		},
	}
	r := &agent.Release{Name: "shop", Main: "inside", Agents: []agent.Definition{inside.Definition()}, Messages: &agent.Messages{
		Groups: map[string][]polity.AgentName{"both": {"back", "inside"}},
		Links: []agent.Link{
			{From: agent.Outsiders, To: []message.Address{message.To("back"), message.To("front")}},
			{From: message.To("front"), To: []message.Address{message.To("back"), message.To("inside"), {Kind: message.Group, Name: "both"}}},
		},
	}}
	for _, name := range []polity.AgentName{"front", "back", "cellar"} {
		r.Agents = append(r.Agents, agent.Definition{
			Name: name, Kind: agent.KindRemote, Skills: []polity.Skill{{Name: "do"}}, Remote: &agent.Remote{Effect: polity.EffectIdempotent, Timeout: polity.Duration(5 * time.Second)},
		})
	}
	e, err := engine.Open(t.Context(), engine.Config{State: t.TempDir(), Sync: engine.SyncOS, Agents: []*agent.Agent{inside}, Door: &engine.Door{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, e) })
	o := &outdoors{Engine: e, dir: t.TempDir()}
	if o.release, err = e.Install(r, nil); err == nil {
		err = e.Enlist(t.Context(), o.release)
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// askLive asks as somebody outside, until the agent is there.
func (o *outdoors) askLive(t *testing.T, to, data string, deadline time.Time) (polity.Performative, string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		m := liveLetter("x", to)
		m.Data, m.Deadline = []byte(data), deadline
		_, answers, err := o.Ask(t.Context(), m, message.Join{})
		if err != nil {
			t.Fatal(err)
		}
		if a := answers[0]; !strings.Contains(string(a.Data), "is not there") || time.Now().After(end) {
			return a.Performative, string(a.Data)
		}
	}
}

// TestLiveOutside has live questions asked both ways between agents outside and inside, and wants nothing of them to be written down.
func TestLiveOutside(t *testing.T) {
	o := openBooths(t)
	position := func() uint64 {
		done, err := o.Messages(t.Context(), message.Do{Tail: &message.Tail{}})
		if err != nil {
			t.Fatal(err)
		}
		return done.Next
	}
	before := position()
	if _, answers, err := o.Ask(t.Context(), liveLetter("early", "back"), message.Join{}); err != nil || !strings.Contains(string(answers[0].Data), `"unavailable"`) {
		t.Errorf("nobody is there: %+v %v", answers, err)
	}
	var from sync.Map
	stopBack := serve(t, o.creds(t, "back", 0), func(ctx context.Context, q message.Envelope) (json.RawMessage, error) {
		from.Store(q.From.String(), true)
		if _, ok := ctx.Deadline(); !ok || !q.Live || !q.Reply {
			return nil, fault.Internal.New("the question is %+v", q)
		}
		switch string(q.Data) {
		case `"fail"`:
			return nil, fault.NotFound.New("no such thing")
		case `"slow"`:
			<-ctx.Done()
		case `"no JSON"`:
			return json.RawMessage("{"), nil
		case `"panic"`:
			panic("x")
		}
		return q.Data, nil
	})
	for data, want := range map[string]string{
		`"a"`: `"a"`, `{"text": "` + strings.Repeat("ä", 8<<10) + `"}`: "ä", `"fail"`: `"not-found"`, `"panic"`: `panic: x`, `"no JSON"`: `not JSON`,
	} {
		p, out := o.askLive(t, "back", data, time.Time{})
		if good := data[0] == '{' || data == `"a"`; !strings.Contains(out, want) || (p == polity.Inform) != good {
			t.Errorf("%.20s: %s %.300s", data, p, out)
		}
	}
	if p, out := o.askLive(t, "back", `"slow"`, time.Now().Add(30*time.Millisecond)); p != polity.Failure || !strings.Contains(out, `"timeout"`) {
		t.Errorf("after its deadline: %s %s", p, out)
	}

	front, err := remote.Connect(t.Context(), o.creds(t, "front", 0), remote.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	ask := func(to message.Address, data string) (string, error) {
		out, err := front.Ask(t.Context(), message.Envelope{To: []message.Address{to}, Type: message.Query, Live: true, Data: []byte(data)})
		return string(out), err
	}
	for _, to := range []polity.AgentName{"inside", "back"} {
		if out, err := ask(message.To(to), `"b"`); err != nil || out != `"b"` {
			t.Errorf("%s answers front: %s %v", to, out, err)
		}
		if out, err := ask(message.To(to), `"fail"`); !errors.Is(err, fault.NotFound) {
			t.Errorf("%s fails front: %s %v", to, out, err)
		}
	}
	if _, err := ask(message.To("cellar"), `1`); !errors.Is(err, fault.Denied) {
		t.Errorf("where no link leads: %v", err)
	}
	if _, err := ask(message.Address{Kind: message.Group, Name: "both"}, `1`); err == nil || errors.Is(err, fault.Denied) {
		t.Errorf("several: %v", err)
	}
	for _, who := range []string{"agent:shop", "agent:front"} {
		if _, ok := from.Load(who); !ok {
			t.Errorf("back was not asked by %s", who)
		}
	}
	var all sync.WaitGroup
	for i := range 64 { // each gets its own answer
		all.Go(func() {
			data := fmt.Sprint(i)
			if out, err := ask(message.To("back"), data); err != nil || out != data {
				t.Errorf("%d: %s %v", i, out, err)
			}
		})
	}
	all.Wait()
	stopBack()
	if _, err := ask(message.To("back"), `1`); !errors.Is(err, fault.Unavailable) {
		t.Errorf("who has gone: %v", err)
	}
	if after := position(); after != before {
		t.Errorf("the log grew from %d to %d", before, after)
	}
}

// TestLiveAttacks has front, whom nobody asks, and back, who is asked, say and hear what is not theirs.
func TestLiveAttacks(t *testing.T) {
	o := openBooths(t)
	front, back := intrude(t, o.creds(t, "front", 0)), intrude(t, o.creds(t, "back", 0))
	for _, s := range []string{"box.back.live", "box.*.live", "ans.back.*", "ans.front.*", "ans.>"} {
		if _, err := front.SubscribeSync(s); err != nil {
			t.Fatal(err)
		}
		o.audited(t, "subscribe", s, "")
	}
	for _, s := range []string{"ans.back.x", "ans.front", "ans.front.x.y", "ans.*.x", "box.back.live", "box.front.live"} {
		if err := front.Publish(s, []byte("1")); err != nil {
			t.Fatal(err)
		}
		o.audited(t, "publish", s, "")
	}
	asked := make(chan *nats.Msg, 8)
	if _, err := back.ChanSubscribe("box.back.live", asked); err != nil {
		t.Fatal(err)
	}
	if err := back.Flush(); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		p    polity.Performative
		text string
	}
	answered := make(chan answer)
	var tokens []string
	question := func() string {
		t.Helper()
		go func() {
			p, text := o.askLive(t, "back", `0`, time.Time{})
			answered <- answer{p, text}
		}()
		m := <-asked
		agent, token, ok := remote.Answered(m.Reply)
		if !ok || agent != "back" {
			t.Fatalf("the answer goes to %q", m.Reply)
		}
		tokens = append(tokens, token)
		return token
	}
	say := func(i *intruder, name polity.AgentName, token string, header nats.Header, data string) {
		t.Helper()
		if err := i.PublishMsg(&nats.Msg{Subject: remote.Answers(name, token), Header: header, Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
		if err := i.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, p polity.Performative, text string) {
		t.Helper()
		if a := <-answered; a.p != p || !strings.Contains(a.text, text) {
			t.Errorf("%s: %s %s", what, a.p, a.text)
		}
	}
	token := question()
	say(front, "front", token, nil, `"mine"`) // it was not asked, but has found the token out
	o.audited(t, "misuse", "ans.front."+token, "back's to answer")
	say(back, "back", "guessed", nil, `"x"`)
	say(back, "back", token, nil, `"first"`)
	say(back, "back", token, nil, `"second"`)
	want("answered twice", polity.Inform, `"first"`)
	token = question()
	say(back, "back", tokens[0], nil, `"again"`) // the question before
	say(back, "back", token, nil, `2`)
	want("after another's answer came again", polity.Inform, `2`)
	for text, c := range map[string]struct {
		header nats.Header
		data   string
		p      polity.Performative
	}{
		"not JSON":        {nil, "{", polity.Failure},
		"is not there":    {nats.Header{"Status": {"503"}}, "", polity.Failure},
		`"denied"`:        {nats.Header{"ce-performative": {"refuse"}}, `"no"`, polity.Refuse},
		`"failed"`:        {nats.Header{"ce-performative": {"agree"}}, `1`, polity.Failure},
		"it says no reas": {nats.Header{"ce-performative": {"failure"}}, strings.Repeat("[", 20_000), polity.Failure},
	} {
		token := question()
		if strings.Contains(text, "not there") {
			go func() { // an answer that is away is asked again by askLive
				m := <-asked
				_, token, _ := remote.Answered(m.Reply)
				say(back, "back", token, nil, `"there"`)
			}()
		}
		say(back, "back", token, c.header, c.data)
		if strings.Contains(text, "not there") {
			text, c.p = "there", polity.Inform
		}
		want(text, c.p, text)
	}

	// Questions of front's, by hand.
	inbox, err := front.SubscribeSync("_INBOX_front.x")
	if err != nil {
		t.Fatal(err)
	}
	e := message.Envelope{ID: "q", From: message.To("front"), To: []message.Address{message.To("inside")}, Performative: polity.Query, Live: true, Reply: true, Data: []byte(`1`)}
	send := func(subject, reply string, change func(*message.Envelope)) {
		t.Helper()
		e := e
		change(&e)
		h, err := e.Header()
		if err == nil {
			err = front.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Header: h, Data: e.Data})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	same := func(*message.Envelope) {}
	const to = "msg.front.inside.query"
	for _, reply := range []string{"box.back.live", "ans.back.x", "ans.front.x", "_INBOX_back.x", "_DESK.x"} {
		send(to, reply, same)
		o.audited(t, "misuse", to, fmt.Sprintf("reply subject %q", reply))
	}
	send(to, "", same)
	o.audited(t, "misuse", to, "as a request")
	send(to, "_INBOX_front.x", func(e *message.Envelope) { e.From = message.To("back") })
	o.audited(t, "misuse", to, "says that it is from agent:back")
	if _, err := inbox.NextMsg(10 * time.Second); err != nil { // that it was refused
		t.Fatal(err)
	}
	send(to, "_INBOX_front.x", same)
	m, err := inbox.NextMsg(10 * time.Second)
	if err != nil || string(m.Data) != "1" || len(m.Header) > 0 {
		t.Errorf("the answer: %+v %v", m, err)
	}
	if _, _, ok := remote.Answered("answer.back.x"); ok || !bus.Matches("ans.front.x", "ans.front.*") {
		t.Error("subjects")
	}
}
