package engine_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"polity.run"
	"polity.run/engine"
	"polity.run/internal/bus/bustest"
	"polity.run/message"
	"polity.run/remote"
)

// TestHub has agents reach the door through a NATS server whose leaf node it is. The server gives each of them the rights that the node prints; one who may do everything there
// is held to the links of who he says he is, and that is written down.
func TestHub(t *testing.T) {
	leaf := bustest.Free(t)
	e, err := engine.Open(t.Context(), engine.Config{State: t.TempDir(), Sync: engine.SyncOS, Door: &engine.Door{
		Hub: &engine.NATS{URL: "nats://" + leaf, User: "door", Password: bustest.Password}, HubOrg: "shop",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, e) })
	o := &outdoors{Engine: e, dir: t.TempDir()}
	o.link(t, outpost)
	users := `{user: door, password: secret}, {user: mallory, password: secret}`
	for _, name := range []string{"pricer", "front"} {
		rights, err := e.Rights(t.Context(), "", polity.AgentName(name))
		if err != nil {
			t.Fatal(err)
		}
		users += fmt.Sprintf(", {user: %s, password: secret, %s}", name, rights)
	}
	hub := bustest.Start(t, users, "leafnodes { listen: "+leaf+" }\n")
	for end := time.Now().Add(30 * time.Second); !e.Joined(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the door does not connect to the hub")
		}
	}
	errs := make(chan error, 16)
	conn := func(user string) *nats.Conn {
		return hub.Conn(user, nats.CustomInboxPrefix("_INBOX_"+user), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err }))
	}

	pricer := conn("pricer")
	if _, err := pricer.Subscribe("box.pricer.request", func(m *nats.Msg) {
		q, err := message.Decode(m.Header, m.Data)
		if err != nil {
			t.Error(err)
			return
		}
		a := message.Envelope{ID: q.ID + " inform", From: message.To("pricer"), To: []message.Address{q.From}, Performative: polity.Inform, Correlation: q.ID, Data: []byte(`{"n":8}`)}
		h, err := a.Header()
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := pricer.RequestMsg(&nats.Msg{Subject: q.From.Subject("pricer", polity.Inform), Header: h, Data: a.Data}, 20*time.Second); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	out, err := e.Run(t.Context(), engine.Request{Release: o.release, Input: json.RawMessage(`{"n":4}`)})
	if err != nil || !strings.Contains(string(out.Output), `"output":{"n":8}`) {
		t.Fatalf("%s %s %v", out.Status, out.Output, err)
	}

	front := conn("front")
	for _, subject := range []string{"msg.front.pricer.request", "box.pricer.request", "msg.pricer.shop.inform"} {
		if err := front.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		if err := <-errs; !strings.Contains(strings.ToLower(err.Error()), "permissions violation") {
			t.Errorf("%s: %v", subject, err)
		}
	}
	mallory := conn("mallory")
	overheard, err := mallory.SubscribeSync("msg.>")
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"msg.front.cellar.request", "msg.desk.pricer.request", "msg.nobody.desk.request"} {
		if err := mallory.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			list, err := e.Refused(t.Context(), 0, 100)
			if err != nil || time.Now().After(end) {
				t.Fatalf("%s was not refused: %+v %v", subject, list, err)
			}
			if len(list) > 0 && list[len(list)-1].Subject == subject && list[len(list)-1].Reason == "no link leads there" {
				break
			}
		}
	}
	for { // his own words alone
		m, err := overheard.NextMsg(20 * time.Millisecond)
		if err != nil {
			break
		}
		if len(m.Data) > 0 {
			t.Errorf("the hub hears %s", m.Subject)
		}
	}
}

// TestHubSigned has agents reach a door that takes what is signed alone, through a hub that lets everybody say everything: who does not hold an agent's key cannot
// speak as this agent, nor say again what it said.
func TestHubSigned(t *testing.T) {
	leaf := bustest.Free(t)
	e, err := engine.Open(t.Context(), engine.Config{State: t.TempDir(), Sync: engine.SyncOS, Door: &engine.Door{
		Hub: &engine.NATS{URL: "nats://" + leaf, User: "door", Password: bustest.Password}, HubOrg: "shop", Signed: true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, e) })
	o := &outdoors{Engine: e, dir: t.TempDir()}
	o.link(t, outpost)
	hub := bustest.Start(t, `{user: door, password: secret}, {user: anybody, password: secret}`, "leafnodes { listen: "+leaf+" }\n")
	for end := time.Now().Add(30 * time.Second); !e.Joined(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the door does not connect to the hub")
		}
	}
	serve(t, o.creds(t, "pricer", 0), remote.Func(doubles)) // at the door itself
	credentials := func(agent polity.AgentName) remote.Credentials {
		c, err := remote.ReadCredentials(o.creds(t, agent, 0))
		if err != nil || !c.Signed {
			t.Fatalf("%+v %v", c, err)
		}
		return c
	}
	front, pricer := credentials("front"), credentials("pricer")
	nc := hub.Conn("anybody", nats.CustomInboxPrefix("_INBOX_front"))
	ask := message.Envelope{ID: "q1", From: message.To("front"), To: []message.Address{message.To("desk")}, Performative: polity.Request, Data: []byte(`{"n":4}`)}
	header, err := ask.Header()
	if err != nil {
		t.Fatal(err)
	}
	const subject = "msg.front.desk.request"
	said := func(header map[string][]string) string {
		t.Helper()
		m, err := nc.RequestMsg(&nats.Msg{Subject: subject, Header: header, Data: ask.Data}, 20*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var taken remote.Taken
		if err := json.Unmarshal(m.Data, &taken); err != nil {
			t.Fatal(err)
		}
		if taken.Error != nil {
			return taken.Error.Text
		}
		return ""
	}
	sign := func(c remote.Credentials, subject string, at time.Time) map[string][]string {
		h, err := c.Sign(subject, header, ask.Data, at)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	good := sign(front, subject, time.Now())
	for _, c := range []struct {
		header map[string][]string
		want   string
	}{
		{header, "not signed"},
		{sign(pricer, subject, time.Now()), "not front's"},
		{sign(front, "msg.front.pricer.request", time.Now()), "not of this message"},
		{sign(front, subject, time.Now().Add(-time.Hour)), "further from now"},
		{good, ""},
		{good, "came before"},
		{sign(front, subject, time.Now().Add(time.Second)), ""}, // the same message, said again by the one who says it
	} {
		if got := said(c.header); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("answered %q, want %q", got, c.want)
		}
	}
	out, err := e.Run(t.Context(), engine.Request{Release: o.release, Input: json.RawMessage(`{"n":4}`)})
	if err != nil || !strings.Contains(string(out.Output), `"output":{"n":8}`) {
		t.Fatalf("%s %s %v", out.Status, out.Output, err)
	}
	if list, err := e.Refused(t.Context(), 0, 100); err != nil || len(list) < 5 {
		t.Errorf("kept: %+v %v", list, err)
	}
	if _, err := e.Revoke(t.Context(), "", "front"); err != nil {
		t.Fatal(err)
	}
	if got := said(sign(front, subject, time.Now())); !strings.Contains(got, "not front's") {
		t.Errorf("with a key that is revoked: %q", got)
	}
}
