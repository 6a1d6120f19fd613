package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/message"
)

// network is a node whose agents write to each other as links say: scout to critic, and to the group desk of critic and editor; critic to nobody.
type network struct {
	t    *testing.T
	dir  string
	clk  clock
	e    *engine.Engine
	gate chan struct{} // closed: critic may answer

	mu   sync.Mutex
	seen []string // what critic was asked, in order
	fail int      // how often broken fails yet
}

type clock struct {
	mu  sync.Mutex
	off time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off)
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

func newNetwork(t *testing.T) *network {
	n := &network{t: t, dir: t.TempDir(), gate: make(chan struct{})}
	n.open(false)
	t.Cleanup(func() { stop(t, n.e) })
	return n
}

func (n *network) open(park bool) {
	n.t.Helper()
	made := func(name string, handle func(context.Context, polity.Message) (json.RawMessage, error)) *agent.Agent {
		return &agent.Agent{Name: polity.AgentName(name), Version: "1", Skills: []polity.Skill{{Name: "do"}}, Effect: polity.EffectIdempotent, Handle: handle}
	}
	say := func(text string) func(context.Context, polity.Message) (json.RawMessage, error) {
		return func(context.Context, polity.Message) (json.RawMessage, error) { return json.Marshal(text) }
	}
	agents := []*agent.Agent{
		made("scout", say("I look.")), made("editor", say("Go.")),
		made("critic", func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
			select {
			case <-n.gate:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			n.seen = append(n.seen, string(m.Body))
			return json.RawMessage(`"Not yet."`), nil
		}),
		made("broken", func(context.Context, polity.Message) (json.RawMessage, error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.fail--; n.fail >= 0 {
				return nil, fault.Unavailable.New("not now")
			}
			return json.RawMessage(`"At last."`), nil
		}),
	}
	var err error
	n.e, err = engine.Open(n.t.Context(), engine.Config{State: n.dir, Sync: engine.SyncOS, Agents: agents, Park: park, Now: n.clk.now})
	if err != nil {
		n.t.Fatal(err)
	}
	r := agent.Release{Name: "newsroom", Main: "scout", Messages: &agent.Messages{
		Groups: map[string][]polity.AgentName{"desk": {"critic", "editor"}},
		Links: []agent.Link{
			{From: message.To("scout"), To: []message.Address{message.To("critic"), message.To("broken"), {Kind: message.Group, Name: "desk"}, {Kind: message.Topic, Name: "news.*"}}},
			{From: message.Address{Kind: message.Outside, Name: "ada"}, To: []message.Address{message.To("editor")}},
		},
	}}
	for _, a := range agents {
		r.Agents = append(r.Agents, a.Definition())
	}
	slices.SortFunc(r.Agents, func(a, b agent.Definition) int { return strings.Compare(string(a.Name), string(b.Name)) })
	d, err := n.e.Install(&r, nil)
	if err == nil {
		err = n.e.Enlist(n.t.Context(), d)
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *network) letter(id, to string) message.Envelope {
	n.t.Helper()
	a, err := message.ParseAddress(to)
	if err != nil {
		n.t.Fatal(err)
	}
	return message.Envelope{ID: id, From: message.To("scout"), To: []message.Address{a}, Type: message.Task, Data: json.RawMessage(`"` + id + `"`)}
}

func (n *network) send(e message.Envelope) []message.Receipt {
	n.t.Helper()
	receipts, err := n.e.Send(n.t.Context(), e)
	if err != nil {
		n.t.Fatalf("%s: %v", e.ID, err)
	}
	return receipts
}

func (n *network) wait(r message.Receipt) polity.Outcome {
	n.t.Helper()
	o, err := n.e.Wait(n.t.Context(), r.Run)
	if err != nil {
		n.t.Fatal(err)
	}
	return o
}

func TestMessageIsAnsweredAndSentOnce(t *testing.T) {
	n := newNetwork(t)
	close(n.gate)
	e := n.letter("m1", "critic")
	_, answers, err := n.e.Ask(t.Context(), e, message.Join{})
	if err != nil || len(answers) != 1 {
		t.Fatalf("%v, %v", answers, err)
	}
	if a := answers[0]; a.Performative != polity.Inform || string(a.Data) != `"Not yet."` || a.Correlation != "m1" || a.From != message.To("critic") {
		t.Errorf("got %+v", a)
	}
	again := n.letter("m1-again", "critic")
	again.Key, again.Data = "m1", e.Data
	if r := n.send(again); n.wait(r[0]).Status != polity.StatusCompleted || len(n.seen) != 1 {
		t.Errorf("the same key was %v", n.seen)
	}
	again.Data = json.RawMessage(`"something else"`)
	if _, err := n.e.Send(t.Context(), again); !errors.Is(err, fault.Conflict) {
		t.Errorf("the same key with something else: %v", err)
	}
}

func TestLinksArePermissions(t *testing.T) {
	n := newNetwork(t)
	close(n.gate)
	ada, eve := message.Address{Kind: message.Outside, Name: "ada"}, message.Address{Kind: message.Outside, Name: "eve"}
	for _, c := range []struct {
		from message.Address
		to   string
		want error // nil: it may
	}{
		{message.To("scout"), "critic", nil},
		{message.To("scout"), "group:desk", nil},
		{message.To("scout"), "topic:news.world", nil},
		{message.To("scout"), "topic:other", fault.Denied},
		{message.To("scout"), "editor", fault.Denied}, // only with its group
		{message.To("critic"), "scout", fault.Denied},
		{message.To("critic"), "all", fault.NotFound},
		{message.To("nobody"), "critic", fault.Denied},
		{ada, "scout", nil}, // the main agent
		{ada, "editor", nil},
		{ada, "critic", fault.Denied},
		{eve, "editor", fault.Denied},
		{eve, "nobody", fault.NotFound},
	} {
		e := n.letter(c.from.Name+" to "+c.to, c.to)
		e.From = c.from
		_, err := n.e.Send(t.Context(), e)
		if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s to %s: %v; want %v", c.from, c.to, err, c.want)
		}
	}
	refused, err := n.e.Refused(t.Context(), 0, 100)
	if err != nil || len(refused) != 6 {
		t.Errorf("%d refusals are recorded, of 6: %v", len(refused), err)
	}
	for _, r := range refused {
		if r.Verb != polity.RefusedPublish || r.Subject == "" || (r.Org == "newsroom") != (r.Agent == "scout" || r.Agent == "critic") || (r.Agent == "") != strings.HasPrefix(r.From, "outside:") {
			t.Errorf("%+v", r)
		}
	}
}

func TestScatterGather(t *testing.T) {
	n := newNetwork(t)
	_, answers, err := n.e.Ask(t.Context(), n.letter("g1", "group:desk"), message.Join{Policy: "first"})
	if err != nil || len(answers) != 1 || answers[0].From != message.To("editor") {
		t.Fatalf("first: %v, %v", answers, err)
	}
	close(n.gate)
	receipts, answers, err := n.e.Ask(t.Context(), n.letter("g2", "group:desk"), message.Join{})
	if err != nil || len(answers) != 2 || len(receipts) != 2 {
		t.Fatalf("all: %v, %v", answers, err)
	}
	if _, _, err = n.e.Ask(t.Context(), n.letter("g3", "group:desk"), message.Join{Policy: "quorum", K: 3}); !errors.Is(err, fault.Failed) {
		t.Errorf("a quorum of 3 of 2: %v", err)
	}
}

// TestMailboxSurvives sends what nobody works on; a later node does, in order.
func TestMailboxSurvives(t *testing.T) {
	n := newNetwork(t)
	var last message.Receipt
	for i := range 5 {
		e := n.letter(fmt.Sprint("m", i), "critic")
		e.Conversation = "c"
		done, err := n.e.Messages(t.Context(), message.Do{Send: &e, Hold: i > 0})
		if err != nil {
			t.Fatal(err)
		}
		last = done.Receipts[0]
	}
	stop(t, n.e)
	close(n.gate)
	n.open(true)
	boxes, err := n.e.Messages(t.Context(), message.Do{Mailboxes: true})
	if err != nil || len(boxes.Boxes) != 1 || boxes.Boxes[0].Busy+boxes.Boxes[0].Waiting != 5 {
		t.Fatalf("%+v, %v", boxes.Boxes, err)
	}
	list, err := n.e.Messages(t.Context(), message.Do{List: &message.Filter{Waiting: true}})
	if err != nil || len(list.Entries) != 5 {
		t.Fatalf("%+v, %v", list.Entries, err)
	}
	for _, m := range list.Entries { // the newest first
		if err := n.e.Resume(t.Context(), m.Run); err != nil {
			t.Fatal(err)
		}
	}
	if o := n.wait(last); o.Status != polity.StatusCompleted {
		t.Fatalf("%+v", o)
	}
	if want := []string{`"m0"`, `"m1"`, `"m2"`, `"m3"`, `"m4"`}; !slices.Equal(n.seen, want) {
		t.Errorf("critic was asked %v", n.seen)
	}
}

func TestExpiredAndPoisonousMessagesAreDeadLetters(t *testing.T) {
	n := newNetwork(t)
	first := n.letter("first", "critic")
	first.Conversation = "c"
	n.send(first)
	late := n.letter("late", "critic")
	late.Conversation, late.TTL = "c", time.Minute
	r := n.send(late)
	n.clk.forward(2 * time.Minute)
	n.e.Wake()
	if o := n.wait(r[0]); o.Status != polity.StatusFailed || !errors.Is(o.Fault, fault.Timeout) {
		t.Errorf("expired in the mailbox: %+v", o)
	}
	if _, err := n.e.Send(t.Context(), message.Envelope{
		ID: "old", From: message.To("scout"), To: []message.Address{message.To("critic")}, Type: message.Task, Time: n.clk.now().Add(-2 * time.Hour),
	}); !errors.Is(err, fault.Timeout) {
		t.Errorf("expired at the door: %v", err)
	}
	close(n.gate)
	n.fail = 3
	r = n.send(n.letter("poison", "broken"))
	n.hurry(r[0].Run)
	if o := n.wait(r[0]); o.Status != polity.StatusFailed || !errors.Is(o.Fault, fault.Unavailable) {
		t.Errorf("poison: %+v", o)
	}
	dead := n.dead()
	if len(dead) != 2 || dead[0].Envelope.ID != "poison" || dead[1].Envelope.ID != "late" || dead[0].Fault == nil {
		t.Fatalf("dead letters: %+v", dead)
	}
	replayed, err := n.e.Messages(t.Context(), message.Do{Settle: &message.Settle{Run: dead[0].Run, Do: message.Replayed, By: "ada"}})
	if err != nil || len(replayed.Receipts) != 1 {
		t.Fatalf("replay: %v", err)
	}
	if o := n.wait(replayed.Receipts[0]); string(o.Output) != `"At last."` {
		t.Errorf("replayed: %+v", o)
	}
	if _, err := n.e.Messages(t.Context(), message.Do{Settle: &message.Settle{Run: dead[1].Run, Do: message.Dropped}}); err != nil {
		t.Fatal(err)
	}
	if left := n.dead(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	if _, err := n.e.Messages(t.Context(), message.Do{Settle: &message.Settle{Run: dead[1].Run, Do: message.Replayed}}); !errors.Is(err, fault.Conflict) {
		t.Errorf("a dropped one is replayed: %v", err)
	}
}

// hurry lets the time pass for which a message waits to be tried again, until it has ended.
func (n *network) hurry(id polity.RunID) {
	n.t.Helper()
	for {
		s, err := n.e.Find(n.t.Context(), id)
		switch {
		case err != nil:
			n.t.Fatal(err)
		case s.Status.Final():
			return
		case len(s.Waiting) > 0:
			n.clk.forward(5 * time.Second)
			n.e.Wake()
		}
		time.Sleep(time.Millisecond)
	}
}

func (n *network) dead() []message.Entry {
	n.t.Helper()
	done, err := n.e.Messages(n.t.Context(), message.Do{List: &message.Filter{Dead: true}})
	if err != nil {
		n.t.Fatal(err)
	}
	return done.Entries
}

func TestCancelOvertakes(t *testing.T) {
	n := newNetwork(t)
	r := n.send(n.letter("long", "critic"))
	c := n.letter("stop", "critic")
	c.Type, c.Performative, c.Correlation = "", message.Cancel, "long"
	n.send(c)
	if o := n.wait(r[0]); o.Status != polity.StatusCancelled {
		t.Errorf("got %+v", o)
	}
}

func TestHistoryIsSearched(t *testing.T) {
	n := newNetwork(t)
	close(n.gate)
	tip, err := n.e.Messages(t.Context(), message.Do{Tail: &message.Tail{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"overdue invoice", "rain tomorrow"} {
		e := n.letter("about "+text, "critic")
		e.Data, e.Conversation = json.RawMessage(`"`+text+`"`), text[:4]
		n.wait(n.send(e)[0])
	}
	for _, c := range []struct {
		f    message.Filter
		want int
	}{
		{message.Filter{}, 2},
		{message.Filter{Text: "invoice overdue"}, 1},
		{message.Filter{Conversation: "rain"}, 1},
		{message.Filter{From: "agent:scout", To: "critic", Performative: polity.Request}, 2},
		{message.Filter{To: "editor"}, 0},
		{message.Filter{Since: time.Now().Add(time.Hour)}, 0},
		{message.Filter{Limit: 1}, 1},
	} {
		done, err := n.e.Messages(t.Context(), message.Do{List: &c.f})
		if err != nil || len(done.Entries) != c.want {
			t.Errorf("%+v: %d, want %d: %v", c.f, len(done.Entries), c.want, err)
		}
	}
	all, err := n.e.Messages(t.Context(), message.Do{List: &message.Filter{}})
	if err != nil {
		t.Fatal(err)
	}
	paged := message.Filter{Limit: 1}
	for i := range all.Entries {
		page, err := n.e.Messages(t.Context(), message.Do{List: &paged})
		if err != nil || len(page.Entries) != 1 || page.Entries[0].Run != all.Entries[i].Run || (page.Next == 0) != (i == len(all.Entries)-1) {
			t.Errorf("page %d: %+v, %v", i, page, err)
		}
		paged.After = page.Next
	}
	one, err := n.e.Messages(t.Context(), message.Do{List: &message.Filter{Run: all.Entries[0].Run}})
	if err != nil || string(one.Entries[0].Envelope.Data) != `"rain tomorrow"` || string(one.Entries[0].Answer) != `"Not yet."` {
		t.Errorf("%+v, %v", one.Entries, err)
	}
	tail, err := n.e.Messages(t.Context(), message.Do{Tail: &message.Tail{After: tip.Next, Wait: time.Second, Filter: message.Filter{Conversation: "rain"}}})
	if err != nil || len(tail.Entries) != 1 || tail.Next <= tip.Next {
		t.Errorf("tail: %+v, %v", tail, err)
	}
}

func TestOneAddressForEachAgent(t *testing.T) {
	n := newNetwork(t)
	other := agent.Release{Name: "rival", Main: "scout", Agents: []agent.Definition{{
		Name: "scout", Kind: agent.KindExec, Skills: []polity.Skill{{Name: "scout"}},
		Exec: &agent.Exec{Command: []string{"cat"}, Effect: polity.EffectNone, Timeout: polity.Duration(time.Second), OutputMax: 1000},
	}}}
	d, err := n.e.Install(&other, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.e.Enlist(t.Context(), d); !errors.Is(err, fault.Conflict) {
		t.Errorf("two agents of one name: %v", err)
	}
}

// pen writes to another agent for each message that it gets, and ends with what became of that.
type pen struct{ to string }

func (p pen) Decide(state any, e polity.Event) (any, []polity.Command) {
	switch {
	case e.Kind == polity.Opened:
		return state, []polity.Command{polity.Call("tell", "messages.send", json.RawMessage(`{"to":"`+p.to+`","data":1}`))}
	case e.Fault != nil:
		return state, []polity.Command{polity.Fail(e.Fault)}
	default:
		return state, []polity.Command{polity.Finish(e.Data)}
	}
}

// TestAgentsThatWriteInACircleComeToAnEnd has two agents answer each other for ever, as far as they are concerned.
func TestAgentsThatWriteInACircleComeToAnEnd(t *testing.T) {
	agents := []*agent.Agent{
		{Name: "ping", Version: "1", Skills: []polity.Skill{{Name: "do"}}, Decider: pen{"pong"}},
		{Name: "pong", Version: "1", Skills: []polity.Skill{{Name: "do"}}, Decider: pen{"ping"}},
	}
	e := open(t, t.TempDir(), agents...)
	defer stop(t, e)
	ping, pong := message.To("ping"), message.To("pong")
	d, err := e.Install(&agent.Release{
		Name: "table", Main: "ping", Agents: []agent.Definition{agents[0].Definition(), agents[1].Definition()},
		Messages: &agent.Messages{Links: []agent.Link{{From: ping, To: []message.Address{pong}}, {From: pong, To: []message.Address{ping}}}},
	}, nil)
	if err == nil {
		err = e.Enlist(t.Context(), d)
	}
	if err != nil {
		t.Fatal(err)
	}
	begin := message.Envelope{ID: "serve", From: message.Address{Kind: message.Outside, Name: "ada"}, To: []message.Address{ping}, Type: message.Task}
	if _, err := e.Send(t.Context(), begin); err != nil {
		t.Fatal(err)
	}
	for {
		boxes, err := e.Messages(t.Context(), message.Do{Mailboxes: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(boxes.Boxes) == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	list, err := e.Messages(t.Context(), message.Do{List: &message.Filter{}})
	if err != nil || len(list.Entries) != message.HopsMax+1 {
		t.Fatalf("%d messages, want %d: %v", len(list.Entries), message.HopsMax+1, err)
	}
	last := list.Entries[0]
	if last.Envelope.Hops != message.HopsMax || last.Status != polity.StatusFailed || !errors.Is(last.Fault, fault.Invalid) {
		t.Errorf("the last one: hops %d, %s, %v", last.Envelope.Hops, last.Status, last.Fault)
	}
	if one := list.Entries[1]; one.Envelope.From != ping || one.Envelope.Causation == "" {
		t.Errorf("the one before: %+v", one.Envelope)
	}
}
