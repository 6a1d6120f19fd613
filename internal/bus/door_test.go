package bus_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// house is a door with its book of keys, and what it refused.
type house struct {
	*bus.Door
	mu      sync.Mutex
	book    map[string]bus.Guest
	refused chan polity.Refusal
}

func openHouse(t *testing.T) *house {
	t.Helper()
	h := &house{book: map[string]bus.Guest{}, refused: make(chan polity.Refusal, 256)}
	d, err := bus.OpenDoor(bus.DoorConfig{
		Listen: "127.0.0.1:0",
		Admit: func(key string) (bus.Guest, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			g, ok := h.book[key]
			if !ok {
				return bus.Guest{}, fault.Unauthenticated.New("nobody knows this key")
			}
			return g, nil
		},
		Refused: func(r polity.Refusal) { h.refused <- r },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	h.Door = d
	return h
}

// let lets an agent in, which may write to the others and read its own box, and returns the option to connect with.
func (h *house) let(t *testing.T, account, name string, to ...string) (key string, with nats.Option) {
	t.Helper()
	seed, key, err := bus.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	g := bus.Guest{Account: account, Name: name, Until: time.Now().Add(time.Hour), Subscribe: []string{"box." + name + ".>", "_INBOX_" + name + ".>"}}
	for _, other := range to {
		g.Publish = append(g.Publish, "msg."+name+"."+other+".*")
	}
	h.set(key, g)
	return key, signs(t, seed)
}

func (h *house) set(key string, g bus.Guest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.book[key] = g
}

func signs(t *testing.T, seed string) nats.Option {
	t.Helper()
	pair, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return nats.Nkey(public, pair.Sign)
}

func (h *house) connect(t *testing.T, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("nats://"+h.Addr(), append(options, nats.ReconnectWait(10*time.Millisecond), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func (h *house) next(t *testing.T) polity.Refusal {
	t.Helper()
	select {
	case r := <-h.refused:
		return r
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was refused")
		return polity.Refusal{}
	}
}

// TestDoorTellsWhatItRefuses holds the server's words against what is read from them, with names that try to be such words.
func TestDoorTellsWhatItRefuses(t *testing.T) {
	h := openHouse(t)
	key, with := h.let(t, "shop", "clerk", "boss")
	nc := h.connect(t, with, nats.Name(`x" - cid:1 - Subscription Violation - Subject "box.innocent" %s %d`))
	for _, c := range []struct {
		do      func() error
		verb    string
		subject string
	}{
		{func() error { return nc.Publish("msg.boss.clerk.inform", nil) }, polity.RefusedPublish, "msg.boss.clerk.inform"},
		{func() error { return nc.Publish("msg.clerk.%s%d.inform", nil) }, polity.RefusedPublish, "msg.clerk.%s%d.inform"},
		{func() error { return nc.PublishRequest("msg.clerk.boss.inform", "_R_.x", nil) }, polity.RefusedReply, "_R_.x"},
		{func() error { _, err := nc.SubscribeSync("box.boss.>"); return err }, polity.RefusedSubscribe, "box.boss.>"},
		{func() error { _, err := nc.SubscribeSync("box.%s"); return err }, polity.RefusedSubscribe, "box.%s"},
		{func() error { _, err := nc.QueueSubscribeSync("box.boss.*", "q-Subject"); return err }, polity.RefusedSubscribe, "box.boss.*"},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		r := h.next(t)
		if r.Verb != c.verb || r.Subject != c.subject || r.Agent != "clerk" || r.Org != "shop" || r.Key != key || r.At.IsZero() || !strings.HasPrefix(r.From, "127.0.0.1:") {
			t.Errorf("%s %s: told as %+v", c.verb, c.subject, r)
		}
	}
	if err := nc.Publish("msg.clerk.boss.inform", []byte("fine")); err != nil {
		t.Error(err)
	}
	if err := nc.Flush(); err != nil || len(h.refused) > 0 {
		t.Errorf("what is allowed: %v, %d refusals", err, len(h.refused))
	}
}

func TestDoorCutsWhoLostItsRights(t *testing.T) {
	h := openHouse(t)
	lost, with := h.let(t, "shop", "clerk", "boss")
	_, with2 := h.let(t, "shop", "porter", "boss")
	got := make(chan string, 16)
	desk, err := h.Desk("shop", bus.Hearing{Subjects: []string{"msg.>"}, Take: func(p bus.Parcel) { got <- p.Subject }})
	if err != nil {
		t.Fatal(err)
	}
	defer desk.Close()
	again := make(chan struct{}, 1)
	clerk, porter := h.connect(t, with, nats.ReconnectHandler(func(*nats.Conn) { again <- struct{}{} })), h.connect(t, with2)
	cut := make(chan struct{}, 1)
	porter.SetDisconnectErrHandler(func(*nats.Conn, error) { cut <- struct{}{} })
	say := func(nc *nats.Conn, subject string) {
		t.Helper()
		if err := errors.Join(nc.Publish(subject, nil), nc.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	say(clerk, "msg.clerk.boss.inform")
	if s := <-got; s != "msg.clerk.boss.inform" {
		t.Fatal(s)
	}
	h.set(lost, bus.Guest{Account: "shop", Name: "clerk", Until: time.Now().Add(time.Hour), Publish: []string{"msg.clerk.porter.*"}})
	h.Look()
	<-again
	say(clerk, "msg.clerk.boss.inform")
	if r := h.next(t); r.Subject != "msg.clerk.boss.inform" {
		t.Errorf("refused %+v", r)
	}
	say(clerk, "msg.clerk.porter.inform")
	if s := <-got; s != "msg.clerk.porter.inform" {
		t.Error(s)
	}
	say(porter, "msg.porter.boss.inform")
	if s := <-got; s != "msg.porter.boss.inform" {
		t.Error(s)
	}
	select {
	case <-cut:
		t.Error("the porter, whose rights are as they were, was cut")
	default:
	}
}

// TestDoorProves tries to come in without the key.
func TestDoorProves(t *testing.T) {
	h := openHouse(t)
	var old []byte // a signature that was good once
	own, key, err := bus.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := nkeys.FromSeed([]byte(own))
	if err != nil {
		t.Fatal(err)
	}
	h.set(key, bus.Guest{Account: "shop", Name: "clerk", Until: time.Now().Add(time.Hour)})
	h.connect(t, nats.Nkey(key, func(nonce []byte) (sig []byte, err error) {
		old, err = pair.Sign(nonce)
		return old, err
	}))
	seed, _, err := bus.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		t.Fatal(err)
	}
	_, late := h.let(t, "shop", "late")
	h.mu.Lock()
	for k, g := range h.book {
		if g.Name == "late" {
			g.Until = time.Now().Add(-time.Second)
			h.book[k] = g
		}
	}
	h.mu.Unlock()
	for name, with := range map[string][]nats.Option{
		"nobody":              nil,
		"a password":          {nats.UserInfo("clerk", "clerk")},
		"the desk's name":     {nats.UserInfo("\x00desk shop", "")},
		"a token":             {nats.Token(key)},
		"an unknown key":      {signs(t, seed)},
		"another's signature": {nats.Nkey(key, other.Sign)},
		"an old signature":    {nats.Nkey(key, func([]byte) ([]byte, error) { return old, nil })},
		"no signature":        {nats.Nkey(key, func([]byte) ([]byte, error) { return nil, nil })},
		"ended credentials":   {late},
		"a jwt":               {nats.UserJWT(func() (string, error) { return "x.y.z", nil }, other.Sign)},
	} {
		if _, err := nats.Connect("nats://"+h.Addr(), with...); err == nil {
			t.Errorf("%s came in", name)
		}
		if r := h.next(t); r.Verb != polity.RefusedConnect || r.Reason == "" {
			t.Errorf("%s: told as %+v", name, r)
		}
	}
}

func TestDoorIsNotOpenToOthers(t *testing.T) {
	for _, at := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "here", "127.0.0.1:http", "[::]:0"} {
		d, err := bus.OpenDoor(bus.DoorConfig{Listen: at})
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", at, err)
		}
		if d != nil {
			d.Close()
		}
	}
}

func TestDeskLearnsWhoIsAway(t *testing.T) {
	h := openHouse(t)
	away := make(chan string, 4)
	desk, err := h.Desk("shop", bus.Hearing{Away: func(token string) { away <- token }})
	if err != nil {
		t.Fatal(err)
	}
	defer desk.Close()
	put := func(i int) {
		if err := desk.Put(bus.Parcel{Subject: "box.clerk.request", Data: []byte("hello")}, fmt.Sprint("q", i)); err != nil {
			t.Fatal(err)
		}
	}
	put(1)
	if token := <-away; token != "q1" {
		t.Error(token)
	}
	_, with := h.let(t, "shop", "clerk")
	nc := h.connect(t, with)
	sub, err := nc.QueueSubscribeSync("box.clerk.>", "workers")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil || !h.Connected("shop", "clerk") || h.Connected("other", "clerk") {
		t.Fatal("not connected", err)
	}
	put(2)
	if m, err := sub.NextMsg(20 * time.Second); err != nil || string(m.Data) != "hello" {
		t.Error(m, err)
	}
	nc.Close()
	for i := 3; ; i++ { // until the server has seen it
		put(i)
		select {
		case <-away:
			if h.Connected("shop", "clerk") {
				t.Error("still connected")
			}
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}
