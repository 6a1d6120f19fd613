package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/contract"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/schema"
)

// Versions of what is published on orders.placed. The second has one property more, the third calls one otherwise.
const (
	order1 = `{"type":"object","properties":{"n":{"type":"string"},"qty":{"type":"integer"}},"required":["n","qty"]}`
	order2 = `{"type":"object","properties":{"n":{"type":"string"},"qty":{"type":"integer"},"note":{"type":"string"}},"required":["n","qty"]}`
	order3 = `{"type":"object","properties":{"n":{"type":"string"},"quantity":{"type":"integer"},"note":{"type":"string"}},"required":["n","quantity"]}`
)

// shop publishes what it is asked, and ship awaits an order with the number that it is asked about, and ends with it.
type (
	shop struct{}
	ship struct{}
)

func (shop) Decide(s any, e polity.Event) (any, []polity.Command) {
	switch {
	case e.Fault != nil:
		return s, []polity.Command{polity.Fail(e.Fault)}
	case e.Kind == polity.Opened:
		input := fmt.Appendf(nil, `{"topic":"orders.placed","data":%s}`, e.Data)
		return s, []polity.Command{polity.Call("publish", "topics.publish", input)}
	default:
		return s, []polity.Command{polity.Finish(json.RawMessage(`{}`))}
	}
}

func (ship) Decide(s any, e polity.Event) (any, []polity.Command) {
	switch {
	case e.Fault != nil:
		return s, []polity.Command{polity.Fail(e.Fault)}
	case e.Kind == polity.Opened:
		return s, []polity.Command{polity.Await("order", polity.Awaited{Topic: "orders.placed", Match: e.Data}, 0)}
	default:
		return s, []polity.Command{polity.Finish(e.Data)}
	}
}

func openShop(t *testing.T, dir string) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Config{State: dir, Sync: engine.SyncOS, Agents: []*agent.Agent{
		{Name: "shop", Version: "1", Skills: []polity.Skill{{Name: "do"}}, Decider: shop{}},
		{Name: "ship", Version: "1", Skills: []polity.Skill{{Name: "do"}}, Decider: ship{}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// trader is a release of one agent that does something with orders.placed.
func trader(name string, topic agent.Topic) *agent.Release {
	topic.Name = "orders.placed"
	return &agent.Release{
		Name: name, Main: name, Topics: []agent.Topic{topic},
		Agents: []agent.Definition{{
			Name: polity.AgentName(name), Kind: agent.KindGo, Go: &agent.Go{Use: name, Version: "1"}, Skills: []polity.Skill{{Name: "do"}},
		}},
	}
}

func seller(order string) *agent.Release {
	return trader("shop", agent.Topic{Schema: json.RawMessage(order), Publish: []polity.AgentName{"shop"}})
}

func carrier(reads string) *agent.Release {
	return trader("ship", agent.Topic{Reads: reads, Subscribe: []polity.AgentName{"ship"}})
}

// market is a shop and a ship under load, in whatever releases they are at the moment.
type market struct {
	t          *testing.T
	e          *engine.Engine
	shop, ship atomic.Pointer[engine.Digest]
	sells      atomic.Pointer[string] // field that the shop's release counts in
	gets       atomic.Pointer[string]
	older      engine.Digest // the ship's release before
	change     sync.RWMutex  // held by a trade, so that it is of one release of each
	done       atomic.Int64
}

func (m *market) install(r *agent.Release, field string) {
	m.t.Helper()
	d, err := m.e.Install(r, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	m.change.Lock()
	defer m.change.Unlock()
	if r.Name == "shop" {
		m.shop.Store(&d)
		m.sells.Store(&field)
	} else {
		if before := m.ship.Load(); before != nil {
			m.older = *before
		}
		m.ship.Store(&d)
		m.gets.Store(&field)
	}
}

// installWhenRead installs a release once no run waits that would not understand what it writes, and until then is refused.
func (m *market) installWhenRead(r *agent.Release, field string) {
	m.t.Helper()
	id, err := m.e.Start(m.t.Context(), engine.Request{Release: m.older, Input: json.RawMessage(`{"n":"waits long"}`)})
	if err != nil {
		m.t.Fatal(err)
	}
	m.refused(r, "runs of release ship wait that read 1-2")
	if err := m.e.Cancel(m.t.Context(), id, "an older release"); err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.e.Wait(m.t.Context(), id); err != nil {
		m.t.Fatal(err)
	}
	for tries := 0; ; tries++ { // others of its release end by themselves
		_, err := m.e.Install(r, nil)
		if err == nil || tries == 1000 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	m.install(r, field)
}

// trade has a ship wait for an order and a shop publish it. The ship's run keeps its release, and the shop may be of a later one when it publishes.
func (m *market) trade(n string) error {
	ctx := context.Background()
	m.change.RLock()
	gets, release := *m.gets.Load(), *m.ship.Load()
	m.change.RUnlock()
	id, err := m.e.Start(ctx, engine.Request{Release: release, Input: fmt.Appendf(nil, `{"n":%q}`, n), Seed: n})
	if err != nil {
		return err
	}
	for waits := false; !waits; time.Sleep(time.Millisecond) {
		s, err := m.e.Find(ctx, id)
		if err != nil || s.Status.Final() {
			return fmt.Errorf("the ship does not wait: %s %w", s.Status, err)
		}
		waits = len(s.Waiting) > 0
	}
	m.change.RLock()
	out, err := m.e.Run(ctx, engine.Request{Release: *m.shop.Load(), Input: fmt.Appendf(nil, `{"n":%q,%q:2}`, n, *m.sells.Load()), Seed: n})
	m.change.RUnlock()
	if err != nil || out.Status != polity.StatusCompleted {
		return fmt.Errorf("the shop: %s %v %w", out.Status, out.Fault, err)
	}
	o, err := m.e.Wait(ctx, id)
	var got map[string]any
	if err == nil && o.Status == polity.StatusCompleted {
		err = json.Unmarshal(o.Output, &got)
	}
	if err != nil || got[gets] != 2.0 {
		return fmt.Errorf("the ship wants %s: %s %s %v %w", gets, o.Status, o.Output, o.Fault, err)
	}
	m.done.Add(1)
	return nil
}

func (m *market) load() (end func()) {
	ctx, cancel := context.WithCancel(m.t.Context())
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if err := m.trade(fmt.Sprintf("%d-%d", worker, n)); err != nil {
					m.t.Errorf("trade %d of %d: %v", n, worker, err)
					return
				}
			}
		})
	}
	return func() { cancel(); group.Wait() }
}

func (m *market) more(n int64) {
	for until := m.done.Load() + n; m.done.Load() < until && !m.t.Failed(); time.Sleep(time.Millisecond) {
	}
}

func (m *market) refused(r *agent.Release, wants ...string) {
	m.t.Helper()
	_, err := m.e.Install(r, nil)
	for _, want := range wants {
		if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), want) {
			m.t.Errorf("release %s: got %v\nwant %q", r.Name, err, want)
		}
	}
}

// TestTraderUpgradedOneAfterTheOther upgrades who publishes and who awaits under load, in either order: what fits is let in, what would break is refused before
// it does, and what is upcast goes on once its reader is there.
func TestTraderUpgradedOneAfterTheOther(t *testing.T) {
	const each = 15
	for name, shopFirst := range map[string]bool{"the shop first": true, "the ship first": false} {
		t.Run(name, func(t *testing.T) {
			m := &market{t: t, e: openShop(t, t.TempDir())}
			defer stop(t, m.e)
			rule := &schema.Policy{Mode: schema.Backward, Declared: true}
			register := func(order string, upcast schema.Mapping, golden ...string) {
				v := contract.Version{Schema: json.RawMessage(order), Upcast: upcast}
				for _, g := range golden {
					v.Golden = append(v.Golden, json.RawMessage(g))
				}
				if _, err := m.e.Register(t.Context(), contract.Registration{Subject: "orders.placed", Policy: rule, Version: v}); err != nil {
					t.Fatal(err)
				}
			}
			register(order1, nil, `{"n":"1","qty":2}`)
			m.install(seller(order1), "qty")
			m.install(carrier("1"), "qty")
			end := m.load()
			defer func() { end() }()
			m.more(each)

			m.refused(seller(order3), "release shop breaks who relies on orders.placed (mode backward)", "at /quantity: the new schema requires it")
			m.more(each)

			register(order2, nil, `{"n":"1","qty":2,"note":"now"}`)
			upgrades := []func(){func() { m.install(seller(order2), "qty") }, func() { m.install(carrier("1-2"), "qty") }}
			if !shopFirst {
				upgrades[0], upgrades[1] = upgrades[1], upgrades[0]
			}
			for _, upgrade := range upgrades {
				upgrade()
				m.more(each)
			}

			register(order3, schema.Mapping{{Rename: "/qty", To: "quantity"}})
			m.more(each) // nobody writes it
			m.refused(seller(order3), "release shop writes version 3, and release ship reads 1-2", "polity topics forget NAME --release")
			m.refused(carrier("3"), "release shop writes version 2, and release ship reads 3: orders.placed.v2 is older than what is read, which is 3")
			m.install(carrier("1-3"), "quantity")
			m.more(each)
			m.installWhenRead(seller(order3), "quantity")
			m.more(each)
			m.refused(carrier("1-2"), "release shop writes version 3, and release ship reads 1-2")
			t.Logf("%d trades", m.done.Load())
		})
	}
}

// TestWithoutTopicsItBreaks shows that the test above can fail: releases that declare no topics are let in, and runs get what they do not understand.
func TestWithoutTopicsItBreaks(t *testing.T) {
	m := &market{t: t, e: openShop(t, t.TempDir())}
	defer stop(t, m.e)
	open := func(r *agent.Release) *agent.Release { r.Topics = nil; return r }
	m.install(open(seller(order3)), "quantity")
	m.install(open(carrier("1")), "qty")
	if err := m.trade("1"); err == nil || !strings.Contains(err.Error(), `the ship wants qty: completed {"n":"1","quantity":2}`) {
		t.Errorf("got %v", err)
	}
}

// TestEventsNobodyUnderstands has an event of a version that a run which waits does not read: it ends with the reason. What is published without a version is of
// the newest one that all read.
func TestEventsNobodyUnderstands(t *testing.T) {
	e := openShop(t, t.TempDir())
	defer stop(t, e)
	for i, order := range []string{order1, order3} {
		v := contract.Version{Schema: json.RawMessage(order)}
		if i == 0 {
			v.Golden = []json.RawMessage{json.RawMessage(`{"n":"1","qty":2}`)}
		} else {
			v.Upcast = schema.Mapping{{Rename: "/qty", To: "quantity"}}
		}
		if _, err := e.Register(t.Context(), contract.Registration{Subject: "orders.placed", Policy: &schema.Policy{Mode: schema.Backward, Declared: true}, Version: v}); err != nil {
			t.Fatal(err)
		}
	}
	d, err := e.Install(carrier("1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var runs []polity.RunID
	for _, n := range []string{"a", "b"} {
		id, err := e.Start(t.Context(), engine.Request{Release: d, Input: fmt.Appendf(nil, `{"n":%q}`, n)})
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, id)
	}
	if err := e.Publish(t.Context(), "orders.placed", "a", 0, json.RawMessage(`{"n":"a","quantity":2}`)); !errors.Is(err, fault.Invalid) ||
		!strings.Contains(err.Error(), "orders.placed.v1: at /: missing property 'qty'") {
		t.Errorf("without a version: %v", err)
	}
	if err := e.Publish(t.Context(), "orders.placed", "a", 0, json.RawMessage(`{"n":"a","qty":2}`)); err != nil {
		t.Fatal(err)
	}
	if err := e.Publish(t.Context(), "orders.placed", "b", 2, json.RawMessage(`{"n":"b","quantity":2}`)); err != nil {
		t.Fatal(err)
	}
	if o, err := e.Wait(t.Context(), runs[0]); err != nil || string(o.Output) != `{"n":"a","qty":2}` {
		t.Errorf("%+v %v", o, err)
	}
	o, err := e.Wait(t.Context(), runs[1])
	if err != nil || o.Fault == nil || o.Fault.Kind != fault.Invalid || !strings.Contains(o.Fault.Text, `event "b" on orders.placed: release ship`) {
		t.Errorf("%+v %v", o, err)
	}
	a := topicsDo(t, e, polity.TopicsRequest{Read: &polity.TopicRead{Topic: "orders.placed", Release: fmt.Sprintf("%x", d[:])}})
	if len(a.Events) != 2 || a.Events[0].Unread != nil || a.Events[0].Version != 1 || a.Events[1].Unread == nil || a.Events[1].Data != nil {
		t.Errorf("%+v", a.Events)
	}
	topicsDo(t, e, polity.TopicsRequest{Unread: &polity.TopicUnread{Reader: "watch-ship", Seq: a.Events[1].Seq, Reason: a.Events[1].Unread.Text}})
	letters := topicsDo(t, e, polity.TopicsRequest{Dead: &polity.TopicDead{Do: "list", Group: "watch-ship"}}).Letters
	if len(letters) != 1 || letters[0].Version != 2 || letters[0].Seq != a.Events[1].Seq {
		t.Errorf("%+v", letters)
	}
	if _, err := e.Topics(t.Context(), polity.TopicsRequest{Dead: &polity.TopicDead{Do: "replay"}}); !errors.Is(err, fault.Conflict) {
		t.Errorf("a letter of no group, given again: %v", err)
	}
}

// TestWhoMayPublishAndAwait asks releases for what their topics do not let them.
func TestWhoMayPublishAndAwait(t *testing.T) {
	e := openShop(t, t.TempDir())
	defer stop(t, e)
	for name, tt := range map[string]struct {
		release *agent.Release
		want    string
	}{
		"nobody publishes":    {trader("shop", agent.Topic{Subscribe: []polity.AgentName{"shop"}}), "agent shop may not publish on topic orders.placed; nobody may"},
		"another publishes":   {trader("shop", agent.Topic{Publish: []polity.AgentName{"ship"}}), "agent shop may not publish on topic orders.placed; ship may"},
		"nobody subscribes":   {trader("ship", agent.Topic{Publish: []polity.AgentName{"ship"}}), "agent ship may not subscribe to topic orders.placed; nobody may"},
		"it is not declared":  {func() *agent.Release { r := seller(order1); r.Topics[0].Name = "orders.paid"; return r }(), "organization shop declares no topic orders.placed"},
		"declared, a pattern": {func() *agent.Release { r := carrier(""); r.Topics[0].Name = "parcels.*"; return r }(), "organization ship declares no topic orders.placed"},
	} {
		d, err := e.Install(tt.release, nil)
		if err != nil {
			t.Fatal(err)
		}
		o, err := e.Run(t.Context(), engine.Request{Release: d, Input: json.RawMessage(`{"n":"1","qty":2}`), Seed: name})
		if err != nil || o.Fault == nil || o.Fault.Kind != fault.Denied || !strings.Contains(o.Fault.Text, tt.want) {
			t.Errorf("%s: %+v %v", name, o, err)
		}
	}
}

// payee awaits a signal and ends with it.
type payee struct{}

func (payee) Decide(s any, e polity.Event) (any, []polity.Command) {
	if e.Kind == polity.Opened {
		return s, []polity.Command{polity.Await("paid", polity.Awaited{Signal: "paid"}, 0)}
	}
	return s, []polity.Command{polity.Finish(e.Data)}
}

// TestSignalsOfVersions upgrades a desk while runs of its older release wait: each run reads a signal as its own release does, from senders of either
// version, and a release whose signal would break who sends it is refused.
func TestSignalsOfVersions(t *testing.T) {
	const (
		paid1 = `{"type":"object","properties":{"amount":{"type":"number"}},"required":["amount"]}`
		paid2 = `{"type":"object","properties":{"amount":{"type":"number"},"by":{"type":"string"}},"required":["amount"]}`
		paid3 = `{"type":"object","properties":{"euros":{"type":"number"}},"required":["euros"]}`
	)
	code := map[string]*agent.Agent{}
	var linked []*agent.Agent
	for i, paid := range []string{paid1, paid2, paid3} {
		code[paid] = &agent.Agent{
			Name: polity.AgentName(fmt.Sprint("payee", i+1)), Version: "1", Skills: []polity.Skill{{Name: "do"}}, Decider: payee{},
			Signals: map[string]json.RawMessage{"paid": json.RawMessage(paid)},
		}
		linked = append(linked, code[paid])
	}
	e, err := engine.Open(t.Context(), engine.Config{State: t.TempDir(), Sync: engine.SyncOS, Agents: linked})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, e)
	release := func(paid string) *agent.Release {
		def := code[paid].Definition()
		def.Name = "front"
		return &agent.Release{Name: "desk", Main: "front", Agents: []agent.Definition{def}}
	}
	register := func(mode schema.Mode, v contract.Version) error {
		_, err := e.Register(t.Context(), contract.Registration{Subject: "signal:front/paid", Policy: &schema.Policy{Mode: mode, Declared: true}, Version: v})
		return err
	}
	var waits []polity.RunID
	begin := func(paid string) {
		t.Helper()
		d, err := e.Install(release(paid), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			id, err := e.Start(t.Context(), engine.Request{Release: d, Input: json.RawMessage(`{}`), Seed: fmt.Sprint(i)})
			if err != nil {
				t.Fatal(err)
			}
			waits = append(waits, id)
		}
	}
	if err := register(schema.Full, contract.Version{Schema: json.RawMessage(paid1), Golden: []json.RawMessage{json.RawMessage(`{"amount":1}`)}}); err != nil {
		t.Fatal(err)
	}
	begin(paid1)
	if _, err := e.Install(release(paid3), nil); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "release desk breaks who relies on signal:front/paid (mode full)") {
		t.Errorf("what breaks: %v", err)
	}
	if err := register(schema.Full, contract.Version{Schema: json.RawMessage(paid2), Golden: []json.RawMessage{json.RawMessage(`{"amount":1,"by":"card"}`)}}); err != nil {
		t.Fatal(err)
	}
	begin(paid2)
	if err := register(schema.Backward, contract.Version{Schema: json.RawMessage(paid3), Upcast: schema.Mapping{{Drop: "/by"}, {Rename: "/amount", To: "euros"}}}); err != nil {
		t.Fatal(err)
	}
	begin(paid3)
	for i, say := range []struct {
		version    int
		data, want string // "" if it is refused
	}{
		{1, `{"amount":1}`, `{"amount":1}`},
		{2, `{"amount":1,"by":"card"}`, `{"amount":1,"by":"card"}`}, // newer, and fits
		{1, `{"amount":2}`, `{"amount":2}`},
		{3, `{"euros":2}`, ""}, // newer, and says it otherwise
		{1, `{"amount":3}`, `{"euros":3}`},
		{2, `{"amount":4,"by":"card"}`, `{"euros":4}`},
	} {
		err := e.Signal(t.Context(), waits[i], "paid", "1", say.version, json.RawMessage(say.data))
		if say.want == "" {
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "version 3 is newer than what is read here, which is 1-2") {
				t.Errorf("signal %d: %v", i, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("signal %d: %v", i, err)
			continue
		}
		if o, err := e.Wait(t.Context(), waits[i]); err != nil || string(o.Output) != say.want {
			t.Errorf("signal %d: %s %v", i, o.Output, err)
		}
	}
}
