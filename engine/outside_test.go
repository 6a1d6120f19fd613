package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"polity.run"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/manifest"
	"polity.run/message"
	"polity.run/remote"
)

// outpost is an organization with agents in other processes: the front asks the desk, which is asked by the pricer as well; nobody asks the cellar.
const outpost = `polity: v1
name: shop
agents:
  pricer:
    remote: {}
    skills:
      - name: price
        input: {type: object, properties: {n: {type: integer}}, required: [n]}
        output: {type: object, properties: {n: {type: integer}}, required: [n]}
  front: {remote: {}}
  cellar: {remote: {timeout: 2s}}
  desk: {pattern: sequence, stages: [{agent: pricer}]}
org:
  pattern: sequence
  stages: [{agent: pricer}]
messages:
  links: [{from: front, to: [desk]}]
`

// outdoors is a node with a door.
type outdoors struct {
	*engine.Engine
	release engine.Digest
	dir     string
	org     string // whose agents get credentials; "" for the only one
}

func openOutdoors(t *testing.T, state, text string) *outdoors {
	t.Helper()
	return openOutdoorsOn(t, nil, state, text)
}

// openOutdoorsOn is openOutdoors with the log on a NATS server, if there is one.
func openOutdoorsOn(t *testing.T, at *engine.NATS, state, text string) *outdoors {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Config{State: state, Sync: engine.SyncOS, Door: &engine.Door{}, NATS: at})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	o := &outdoors{Engine: e, dir: t.TempDir()}
	o.link(t, text)
	return o
}

// link makes a manifest the one by whose links agents are let in.
func (o *outdoors) link(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(o.dir, "polity.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Load(path, manifest.Env{Models: []string{"quote"}})
	if err != nil {
		t.Fatal(err)
	}
	if o.release, err = o.Install(&m.Release, m.Blobs); err != nil {
		t.Fatal(err)
	}
	if err := o.Enlist(t.Context(), o.release); err != nil {
		t.Fatal(err)
	}
}

// creds writes a file of credentials for an agent.
func (o *outdoors) creds(t *testing.T, agent polity.AgentName, life time.Duration) string {
	t.Helper()
	seed, public, err := bus.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	admitted, err := o.Admit(t.Context(), o.org, agent, public, life)
	if err != nil {
		t.Fatal(err)
	}
	c := remote.Credentials{Admission: admitted, Seed: seed}
	path := filepath.Join(t.TempDir(), string(agent)+".creds")
	if err := c.Write(path); err != nil {
		t.Fatal(err)
	}
	return path
}

type number struct {
	N int `json:"n"`
}

// serve serves an agent until the test ends, or the returned function is called.
func serve(t *testing.T, path string, h remote.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- remote.Serve(ctx, path, h) }()
	stop = func() {
		if ctx.Err() == nil {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("serve: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

func doubles(_ context.Context, in number) (number, error) { return number{2 * in.N}, nil }

func TestAgentOutsideAnswers(t *testing.T) {
	o := openOutdoors(t, t.TempDir(), outpost)
	serve(t, o.creds(t, "pricer", 0), remote.Func(doubles))
	out, err := o.Run(t.Context(), engine.Request{Release: o.release, Input: json.RawMessage(`{"n":21}`)})
	if err != nil || out.Status != polity.StatusCompleted || !strings.Contains(string(out.Output), `"output":{"n":42}`) {
		t.Fatalf("%s %s %v", out.Status, out.Output, err)
	}
}

// TestAgentOutsideSpeaks has an agent ask on its own: one that a link leads to, and one that none leads to.
func TestAgentOutsideSpeaks(t *testing.T) {
	o := openOutdoors(t, t.TempDir(), outpost)
	serve(t, o.creds(t, "pricer", 0), remote.Func(doubles))
	front, err := remote.Connect(t.Context(), o.creds(t, "front", 0), remote.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	ask := message.Envelope{ID: "q1", To: []message.Address{message.To("desk")}, Performative: polity.Request, Data: []byte(`{"n":4}`)}
	for range 2 { // the second time it is the same run
		out, err := front.Ask(t.Context(), ask)
		if err != nil || !strings.Contains(string(out), `"output":{"n":8}`) {
			t.Fatalf("%s %v", out, err)
		}
	}
	runs, err := o.List(t.Context())
	if err != nil || len(runs) != 1 || runs[0].Agent != "desk" {
		t.Errorf("%+v %v", runs, err)
	}
	ask.To = []message.Address{message.To("pricer")}
	if _, err := front.Ask(t.Context(), ask); !errors.Is(err, fault.Denied) {
		t.Errorf("an agent without a link: %v", err)
	}
	var refused []string
	for len(refused) == 0 {
		list, err := o.Refused(t.Context(), 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			refused = append(refused, string(r.Agent)+" "+r.Verb+" "+r.Subject)
		}
	}
	if refused[0] != "front publish msg.front.pricer.request" {
		t.Errorf("audited: %v", refused)
	}
}

// abroad is another organization, two of whose agents the shop's front may ask, if both say so.
const abroad = `polity: v1
name: bank
agents:
  teller: {remote: {}, skills: [{name: pay, input: {type: object}, output: {type: object}}]}
  vault: {remote: {}, skills: [{name: open, input: {type: object}, output: {type: object}}]}
org: {pattern: sequence, stages: [{agent: teller}]}
messages: {links: [{from: shop/front, to: [teller]}]}
`

// TestCrossing has an agent ask one of another organization: while both have the link the one hears who asks and answers that one, and when the other organization has
// it no longer the broker refuses it, as the engine does.
func TestCrossing(t *testing.T) {
	t.Parallel() // it mostly waits
	o := openOutdoors(t, t.TempDir(), strings.Replace(outpost, "to: [desk]", "to: [desk, bank/teller, bank/vault]", 1))
	o.link(t, abroad)
	heard := make(chan message.Address, 2)
	serve(t, o.credsOf(t, "bank", "teller", 0), func(_ context.Context, q message.Envelope) (json.RawMessage, error) {
		heard <- q.From
		return json.RawMessage(`{"paid":true}`), nil
	})
	front, err := remote.Connect(t.Context(), o.credsOf(t, "shop", "front", 0), remote.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	ask := message.Envelope{ID: "c1", To: []message.Address{message.To("teller")}, Performative: polity.Request, Data: []byte(`{"n":4}`)}
	out, err := front.Ask(t.Context(), ask)
	if err != nil || string(out) != `{"paid":true}` {
		t.Fatalf("%s %v", out, err)
	}
	if from := <-heard; from != message.To("front") {
		t.Errorf("the teller was asked by %s", from)
	}
	vault := ask
	vault.ID, vault.To = "c2", []message.Address{message.To("vault")}
	if _, err := front.Ask(t.Context(), vault); !errors.Is(err, fault.Denied) {
		t.Errorf("a link that only the shop has: %v", err)
	}
	o.link(t, strings.Replace(abroad, "shop/front", "shop/pricer", 1))
	for end := time.Now().Add(20 * time.Second); ; { // until it has come back with the rights of now
		ask.ID = fmt.Sprint("c", time.Now().UnixNano())
		if _, err = front.Send(t.Context(), ask); errors.Is(err, fault.Denied) || time.Now().After(end) {
			break
		}
	}
	if !errors.Is(err, fault.Denied) {
		t.Errorf("a link that the bank has no longer: %v", err)
	}
	ask.From = message.To("front")
	if _, err := o.Send(t.Context(), ask); !errors.Is(err, fault.Denied) {
		t.Errorf("past the door: %v", err)
	}
	// Until its connection has the rights of now it is the engine that refuses it, and then the broker.
	by := map[string]int{}
	for end := time.Now().Add(20 * time.Second); by["msg.front.teller.request "] == 0 && time.Now().Before(end); {
		ask.ID = fmt.Sprint("c", time.Now().UnixNano())
		if _, err := front.Send(t.Context(), ask); !errors.Is(err, fault.Denied) && !errors.Is(err, fault.Unavailable) {
			t.Fatalf("a link that the bank has no longer: %v", err)
		}
		list, err := o.Refused(t.Context(), 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		clear(by)
		for _, r := range list {
			if r.Org == "shop" && r.Agent == "front" && r.Verb == polity.RefusedPublish {
				by[r.Subject+" "+r.Reason]++
			}
		}
	}
	if by["msg.front.vault.request "] == 0 || by["msg.front.teller.request "] == 0 || by["msg.front.teller.request no link leads there"] == 0 {
		t.Errorf("recorded: %v", by)
	}
}

// TestAgentAwayIsWaitedFor asks an agent that is not there, ends the node, and starts both again: the question is answered once.
func TestAgentAwayIsWaitedFor(t *testing.T) {
	state := t.TempDir()
	e, err := engine.Open(t.Context(), engine.Config{State: state, Sync: engine.SyncOS, Door: &engine.Door{}})
	if err != nil {
		t.Fatal(err)
	}
	o := &outdoors{Engine: e, dir: t.TempDir()}
	o.link(t, outpost)
	path, url := o.creds(t, "pricer", 0), o.DoorURL()
	id, err := o.Start(t.Context(), engine.Request{Release: o.release, Input: json.RawMessage(`{"n":21}`)})
	if err != nil {
		t.Fatal(err)
	}
	o.until(t, "pricer", func(p polity.Presence) bool { return p.Waiting == 1 && p.State == "away" && p.Keys == 1 })
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	e, err = engine.Open(t.Context(), engine.Config{State: state, Sync: engine.SyncOS, Door: &engine.Door{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	o.Engine = e
	if o.DoorURL() != url {
		t.Errorf("the door was at %s and is at %s", url, o.DoorURL())
	}
	o.until(t, "pricer", func(p polity.Presence) bool { return p.Waiting == 1 })
	var calls atomic.Int32
	serve(t, path, func(ctx context.Context, q message.Envelope) (json.RawMessage, error) {
		calls.Add(1)
		return remote.Func(doubles)(ctx, q)
	})
	out, err := o.Wait(t.Context(), id)
	if err != nil || out.Status != polity.StatusCompleted || calls.Load() != 1 {
		t.Errorf("%s %v after %d calls", out.Status, err, calls.Load())
	}
	o.until(t, "pricer", func(p polity.Presence) bool { return p.Waiting == 0 && p.State == "serving" && p.Processes == 1 })
}

// until waits until an agent's presence is as wanted.
func (o *outdoors) until(t *testing.T, agent polity.AgentName, want func(polity.Presence) bool) {
	t.Helper()
	var last polity.Presence
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		all, err := o.Outside(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			if p.Agent == agent {
				if last = p; want(p) {
					return
				}
			}
		}
	}
	t.Fatalf("%s is not as it should be: %+v", agent, last)
}

// TestLinksChange takes a link away: who lost it is cut and refused, who kept its own is not cut.
func TestLinksChange(t *testing.T) {
	t.Parallel() // it mostly waits
	o := openOutdoors(t, t.TempDir(), strings.Replace(outpost, "to: [desk]", "to: [desk, cellar]", 1))
	front := intrude(t, o.creds(t, "front", 0))
	pricer := intrude(t, o.creds(t, "pricer", 0))
	again, cut := make(chan struct{}, 1), make(chan struct{}, 1)
	front.SetReconnectHandler(func(*nats.Conn) { again <- struct{}{} })
	pricer.SetDisconnectErrHandler(func(*nats.Conn, error) { cut <- struct{}{} })
	if err := errors.Join(front.Publish("msg.front.cellar.notify", nil), front.Flush()); err != nil {
		t.Fatal(err)
	}
	o.audited(t, "misuse", "msg.front.cellar.notify", "missing") // it came through the door, and was no envelope
	o.link(t, outpost)
	<-again
	if err := front.Publish("msg.front.cellar.notify", nil); err != nil {
		t.Fatal(err)
	}
	o.audited(t, "publish", "msg.front.cellar.notify", "")
	if err := errors.Join(front.Publish("msg.front.desk.notify", nil), front.Flush(), pricer.Flush()); err != nil {
		t.Fatal(err)
	}
	o.audited(t, "misuse", "msg.front.desk.notify", "missing")
	select {
	case <-cut:
		t.Error("the pricer, whose links are as they were, was cut")
	default:
	}
	o.link(t, strings.NewReplacer("  front: {remote: {}}\n", "", "from: front", "from: pricer").Replace(outpost))
	for end := time.Now().Add(20 * time.Second); !front.IsClosed(); time.Sleep(5 * time.Millisecond) { // it is told twice that it is nobody
		if time.Now().After(end) {
			t.Fatal("an agent that is gone from the manifest is still connected")
		}
	}
	o.audited(t, "connect", "", "no agent front")
}

// TestRenewal has credentials renewed while questions come: there is another key on the disk, and nothing is lost or done twice.
func TestRenewal(t *testing.T) {
	o := openOutdoors(t, t.TempDir(), outpost)
	path := o.creds(t, "pricer", 0)
	old, err := remote.ReadCredentials(path)
	if err != nil {
		t.Fatal(err)
	}
	old.Since = old.Since.Add(-2 * time.Hour) // more than half of their time is over
	if err := old.Write(path); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int32
	const questions = 100
	ended := make(chan error, questions)
	ask := func(i int) {
		out, err := o.Run(t.Context(), engine.Request{Release: o.release, Input: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))})
		if err == nil && !strings.Contains(string(out.Output), fmt.Sprintf(`"output":{"n":%d}`, 2*i)) {
			err = fmt.Errorf("%s: %s", out.Status, out.Output)
		}
		ended <- err
	}
	for i := range questions / 2 {
		go ask(i)
	}
	a, err := remote.Connect(t.Context(), path, remote.Config{Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- a.Serve(ctx, func(ctx context.Context, q message.Envelope) (json.RawMessage, error) {
			calls.Add(1)
			return remote.Func(doubles)(ctx, q)
		})
	}()
	for i := range questions / 2 {
		go ask(questions/2 + i)
	}
	for range questions {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if calls.Load() != questions {
		t.Errorf("%d calls for %d questions", calls.Load(), questions)
	}
	o.until(t, "pricer", func(p polity.Presence) bool { return p.Keys == 2 && slices.Contains(p.Versions, "1.2.3") })
	next, err := remote.ReadCredentials(path)
	if err != nil || next.Seed == old.Seed || !next.Until.After(time.Now().Add(50*time.Minute)) {
		t.Errorf("renewed: until %s, %v", next.Until, err)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	o.until(t, "pricer", func(p polity.Presence) bool { return p.State == "away" || p.Processes == 0 })
	a.Close()
	if n, err := o.Revoke(t.Context(), "shop", "pricer"); err != nil || n != 2 {
		t.Errorf("revoked %d: %v", n, err)
	}
	if _, err := remote.Connect(t.Context(), path, remote.Config{}); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("with revoked credentials: %v", err)
	}
}

// TestDraining ends an agent in the middle of a question: it ends that one, takes no other, and what came meanwhile goes to the next process.
func TestDraining(t *testing.T) {
	o := openOutdoors(t, t.TempDir(), outpost)
	path := o.creds(t, "pricer", 0)
	begun, goOn := make(chan struct{}), make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- remote.Serve(ctx, path, func(ctx context.Context, q message.Envelope) (json.RawMessage, error) {
			close(begun) // a second question would panic
			<-goOn
			return remote.Func(doubles)(ctx, q)
		})
	}()
	ask := func(n int) chan polity.Outcome {
		done := make(chan polity.Outcome, 1)
		id, err := o.Start(t.Context(), engine.Request{Release: o.release, Input: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			out, err := o.Wait(t.Context(), id)
			if err != nil {
				t.Error(err)
			}
			done <- out
		}()
		return done
	}
	first := ask(1)
	<-begun
	stop()
	o.until(t, "pricer", func(p polity.Presence) bool { return p.State == "draining" })
	second := ask(2)
	o.until(t, "pricer", func(p polity.Presence) bool { return p.Waiting == 2 })
	close(goOn)
	if out := <-first; !strings.Contains(string(out.Output), `{"n":2}`) {
		t.Errorf("%s %s", out.Status, out.Output)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	serve(t, path, remote.Func(doubles))
	if out := <-second; !strings.Contains(string(out.Output), `{"n":4}`) {
		t.Errorf("%s %s", out.Status, out.Output)
	}
}

func TestFailuresOutside(t *testing.T) {
	o := openOutdoors(t, t.TempDir(), outpost)
	serve(t, o.creds(t, "pricer", 0), func(_ context.Context, q message.Envelope) (json.RawMessage, error) {
		var in number
		if err := json.Unmarshal(q.Data, &in); err != nil {
			return nil, err
		}
		switch in.N {
		case 1:
			return nil, fault.NotFound.New("no such thing")
		case 2:
			panic("lost")
		case 3:
			return json.RawMessage(`{"n":"many"}`), nil
		default:
			return json.RawMessage(`{`), nil
		}
	})
	for n, want := range map[int]string{1: "not-found: agent pricer failed: no such thing", 2: "internal: agent pricer failed: panic: lost", 3: "invalid: output of pricer", 4: "agent pricer failed: message: data is not JSON"} {
		out, err := o.Run(t.Context(), engine.Request{Release: o.release, Agent: "pricer", Input: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))})
		if err != nil || out.Fault == nil || !strings.Contains(string(out.Fault.Kind)+": "+out.Fault.Text, want) {
			t.Errorf("%d: %+v %v", n, out.Fault, err)
		}
	}
}

// TestMicro asks as nats micro does.
func TestMicro(t *testing.T) {
	o := openBooths(t)
	serve(t, o.creds(t, "back", 0), func(_ context.Context, q message.Envelope) (json.RawMessage, error) {
		if string(q.Data) == "13" {
			return nil, fault.NotFound.New("no such thing")
		}
		return q.Data, nil
	})
	for _, n := range []string{"1", "13"} {
		o.askLive(t, "back", n, time.Time{})
	}
	kept := liveLetter("kept", "back")
	kept.Live = false
	if _, answers, err := o.Ask(t.Context(), kept, message.Join{}); err != nil || answers[0].Performative != polity.Inform {
		t.Fatalf("%+v %v", answers, err)
	}
	o.until(t, "back", func(p polity.Presence) bool {
		return p.Asked >= 3 && p.Live == p.Asked-1 && p.Failed == p.Asked-2 && p.MeanTime > 0 // it may have been asked before it was there
	})
	seed, public, err := bus.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	admitted, err := o.Admit(t.Context(), "shop", "", public, 0)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		t.Fatal(err)
	}
	denied := make(chan error, 16)
	nc, err := nats.Connect(admitted.URL, nats.Nkey(public, pair.Sign), nats.CustomInboxPrefix("_OPS"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for subject, want := range map[string]string{
		"$SRV.PING": "io.nats.micro.v1.ping_response", "$SRV.PING.back": `"name":"back"`, "$SRV.INFO.back": `"subject":"box.back.live"`,
		"$SRV.STATS":      `"subject":"box.back.request","queue_group":"agents","num_requests":1,"num_errors":0,`,
		"$SRV.STATS.back": `"subject":"box.back.live","queue_group":"agents","num_requests":2,"num_errors":1,"last_error":"no such thing","processing_time":`,
	} {
		m, err := nc.Request(subject, nil, 20*time.Second)
		if err != nil || !strings.Contains(string(m.Data), want) {
			t.Errorf("%s: %v %v", subject, m, err)
		}
	}
	for _, try := range []func() error{
		func() error { return nc.Publish("box.back.request", nil) },
		func() error { return nc.Publish("msg.front.desk.request", nil) },
		func() error { _, err := nc.SubscribeSync(">"); return err },
	} {
		if err := try(); err != nil {
			t.Fatal(err)
		}
		if err := <-denied; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Error(err)
		}
	}
}

// TestDoorForOtherMachines has a door with a certificate of its own: agents that got it with their credentials come in, others find that they do not
// know it; and it is as it was when the node comes again.
func TestDoorForOtherMachines(t *testing.T) {
	state := t.TempDir()
	open := func(door engine.Door) *outdoors {
		e, err := engine.Open(t.Context(), engine.Config{State: state, Sync: engine.SyncOS, Door: &door})
		if err != nil {
			t.Fatal(err)
		}
		o := &outdoors{Engine: e, dir: t.TempDir()}
		o.link(t, outpost)
		return o
	}
	o := open(engine.Door{Listen: "0.0.0.0:0"})
	path, url := o.creds(t, "pricer", 0), o.DoorURL()
	if !strings.HasPrefix(url, "tls://") || strings.Contains(url, "0.0.0.0") || strings.Contains(url, "[::]") {
		t.Errorf("agents are told to connect to %s", url)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = open(engine.Door{})
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	if o.DoorURL() != url {
		t.Errorf("the door was %s and is %s", url, o.DoorURL())
	}
	serve(t, path, remote.Func(doubles))
	if out, err := o.Run(t.Context(), engine.Request{Release: o.release, Input: json.RawMessage(`{"n":21}`)}); err != nil || out.Status != polity.StatusCompleted {
		t.Errorf("%s %v", out.Status, err)
	}
	c, err := remote.ReadCredentials(path)
	if err != nil {
		t.Fatal(err)
	}
	c.CA = ""
	for _, bad := range []string{url, strings.Replace(url, "tls://", "nats://", 1)} {
		c.URL = bad
		if err := c.Write(path); err != nil {
			t.Fatal(err)
		}
		if _, err := remote.Connect(t.Context(), path, remote.Config{}); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s without the certificate: %v", bad, err)
		}
	}
	if _, err := engine.Open(t.Context(), engine.Config{State: t.TempDir(), Door: &engine.Door{Listen: "127.0.0.1:0", Cert: "x.pem"}}); !errors.Is(err, fault.Invalid) {
		t.Errorf("a certificate without a key: %v", err)
	}
}
