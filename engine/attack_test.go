package engine_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"polity.run"
	"polity.run/engine"
	"polity.run/internal/bus/bustest"
	"polity.run/message"
	"polity.run/remote"
)

// intruder is a process with an agent's credentials, whose code does what it likes.
type intruder struct {
	*nats.Conn
	creds remote.Credentials
	pair  nkeys.KeyPair
	key   string
	errs  chan error
}

func intrude(t *testing.T, path string) *intruder {
	t.Helper()
	i := keyOf(t, path)
	var err error
	i.Conn, err = nats.Connect(i.creds.URL, nats.Nkey(i.key, i.pair.Sign), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { i.errs <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

func keyOf(t *testing.T, path string) *intruder {
	t.Helper()
	creds, err := remote.ReadCredentials(path)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := nkeys.FromSeed([]byte(creds.Seed))
	if err != nil {
		t.Fatal(err)
	}
	key, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return &intruder{creds: creds, pair: pair, key: key, errs: make(chan error, 1024)}
}

// audited waits until a refusal was kept, and returns it.
func (o *outdoors) audited(t *testing.T, verb, subject, reason string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		list, err := o.Refused(t.Context(), 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			if r.Verb == verb && r.Subject == subject && strings.Contains(r.Reason, reason) && !r.At.IsZero() && (verb == "connect" || r.Agent == "front" && r.Org == "shop") {
				return
			}
		}
	}
	list, err := o.Refused(t.Context(), 0, 1000)
	t.Fatalf("%s of %s (%s) is not among the %d refusals that were kept: %v", verb, subject, reason, len(list), err)
}

// refused waits for the server's refusal of what was tried last, and for its record.
func (i *intruder) refused(t *testing.T, o *outdoors, verb, subject string) {
	t.Helper()
	select {
	case err := <-i.errs:
		if !strings.Contains(strings.ToLower(err.Error()), "permissions violation") {
			t.Errorf("%s %s: %v", verb, subject, err)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%s %s was not refused", verb, subject)
	}
	o.audited(t, verb, subject, "")
}

// TestAttack has a process with front's credentials try everything that front has no link to. The server refuses all of it, all of it
// is kept, and nobody else hears anything. The node's log is on a NATS server of its own, on which the credentials are worth nothing.
func TestAttack(t *testing.T) {
	far := bustest.Start(t, "", "")
	o := openOutdoorsOn(t, onNATS(far), t.TempDir(), outpost)
	o.link(t, strings.NewReplacer("shop", "bank", "pricer", "teller", "front", "window", "cellar", "vault", "desk", "office").Replace(outpost)) // another tenant
	front := intrude(t, o.credsOf(t, "shop", "front", 0))

	var mu sync.Mutex
	var heard []string
	for _, v := range []struct{ org, agent string }{{"shop", "pricer"}, {"shop", "cellar"}, {"bank", "teller"}, {"bank", "window"}} {
		victim := intrude(t, o.credsOf(t, v.org, polity.AgentName(v.agent), 0))
		for _, s := range []string{"box." + v.agent + ".>", "_INBOX_" + v.agent + ".>", "$SRV.PING"} {
			if _, err := victim.Subscribe(s, func(m *nats.Msg) {
				mu.Lock()
				defer mu.Unlock()
				heard = append(heard, v.org+" "+v.agent+" "+m.Subject)
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := victim.Flush(); err != nil {
			t.Fatal(err)
		}
	}

	refused := func(verb, subject string) { t.Helper(); front.refused(t, o, verb, subject) }
	var publish []string
	for _, p := range message.Performatives() { // no link leads to these
		publish = append(publish, "msg.front.pricer."+string(p), "msg.front.shop.x."+string(p))
	}
	publish = append(publish,
		"msg.front.cellar.request", "msg.front.teller.request", "msg.front.office.request", "box.teller.request", "msg.front.front.request", "msg.front.>", "msg.front.*.request", "msg.>", ">", "msg.front.desk", "msg.front.desk.request.x",
		"msg.pricer.desk.request", "msg.pricer.shop.inform", "msg.desk.pricer.request", "msg.*.desk.request", // speaking for another
		"box.pricer.request", "box.front.request", "box.*.request", // as if it were the engine
		"_INBOX_pricer.x", "_INBOX_front.x", "_INBOX.x", "_DESK.x.y", // where others are answered
		"grp.front.all.notify", "all.pricer.notify", "evt.front.news", "evt.pricer.news", "rol.front.x.notify",
		"ctl.pricer.here", "ctl.pricer.renew", "ctl.front.other", "ctl.front",
		"$SRV.PING", "$SRV.PING.pricer", "$SRV.STATS",
		"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.polity.API.STREAM.LIST", "$JS.API.STREAM.MSG.GET.LOG_p0", "$JS.API.STREAM.DELETE.LOG_p0", "$JS.ACK.x", "$KV.x.y", "$O.x.y",
		"log.p0", "bucket.memory.x", "bucket.outside.key.x", "journal.refused", "topic.x",
		"$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.USER.INFO", "$SYS.ACCOUNT.ENGINE.x", "$G.x", "$NRG.x", "_GR_.x", "$GR.x",
	)
	for _, s := range publish {
		if err := front.Publish(s, []byte("x")); err != nil {
			t.Fatalf("publish %s: %v", s, err)
		}
		refused("publish", s)
	}
	for _, s := range []string{
		">", "*", "*.>", "*.*.*", "box.>", "box.*.request", "box.*.>", "box.pricer.request", "box.pricer.>", "msg.>", "msg.*.front.*", "msg.front.desk.request",
		"_INBOX.>", "_INBOX_pricer.>", "_INBOX_*.>", "_DESK.>", "_OPS.>", "ctl.>", "$SRV.>", "$SRV.PING.pricer", "$SRV.PING.*", "$SRV.STATS.pricer.x",
		"$JS.>", "$JS.EVENT.>", "$SYS.>", "log.p0", "log.>", "bucket.>", "journal.>", "topic.>",
	} {
		if _, err := front.SubscribeSync(s); err != nil {
			t.Fatalf("subscribe %s: %v", s, err)
		}
		refused("subscribe", s)
		if s == "box.pricer.request" || s == ">" { // as one of the pricer's processes, or by a group of its own
			for _, group := range []string{"agents", "front", "v1"} {
				if _, err := front.QueueSubscribeSync(s, group); err != nil {
					t.Fatal(err)
				}
				refused("subscribe", s)
			}
		}
	}
	if err := front.PublishRequest("msg.front.desk.request", "_R_.x", nil); err != nil {
		t.Fatal(err)
	}
	refused("reply", "_R_.x")
	front.attackServer(t, far)
	mu.Lock()
	defer mu.Unlock()
	if len(heard) > 0 {
		t.Errorf("others heard %v", heard)
	}
	if runs, err := o.List(t.Context()); err != nil || len(runs) != 0 {
		t.Errorf("runs: %+v %v", runs, err)
	}
}

// attackServer tries the NATS server that the log is on: with the agent's key, without any, and as a user of another account of it, who reads and writes what he likes
// there.
func (i *intruder) attackServer(t *testing.T, s *bustest.Server) {
	t.Helper()
	for name, o := range map[string]nats.Option{
		"its key": nats.Nkey(i.key, i.pair.Sign), "nothing": nats.Name("x"), "the node's name": nats.UserInfo(bustest.User, ""), "its key as a password": nats.UserInfo(bustest.User, i.creds.Seed),
	} {
		if nc, err := nats.Connect(s.URL(), o); err == nil {
			nc.Close()
			t.Errorf("the server lets %s in", name)
		}
	}
	node, stranger := s.Conn(bustest.User), s.Conn(bustest.Stranger, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	before := tip(t, node)
	all, err := stranger.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{
		"log.p0", "bucket.orgs.shop", "bucket.outside.key.x", "journal.refused", "topic.x", "box.pricer.request", "msg.front.pricer.request",
		"$JS.API.INFO", "$JS.API.STREAM.INFO.LOG_p0", "$JS.API.STREAM.PURGE.LOG_p0", "$JS.API.STREAM.DELETE.LOG_p0", "$JS.API.STREAM.MSG.GET.LOG_p0", "$JS.API.DIRECT.GET.LOG_p0",
		"$SYS.REQ.SERVER.PING", "$SYS.ACCOUNT.POLITY.x",
	} {
		m, err := stranger.Request(subject, []byte(`{"seq":1}`), 50*time.Millisecond)
		if err == nil && !strings.Contains(string(m.Data), `"error"`) && !strings.HasPrefix(string(m.Data), "{\"seq\":1}") {
			t.Errorf("%s answers a stranger: %s", subject, m.Data)
		}
	}
	if after := tip(t, node); after != before {
		t.Errorf("the log ends with %d, and did with %d", after, before)
	}
	for {
		m, err := all.NextMsg(50 * time.Millisecond)
		if err != nil {
			break
		}
		own := string(m.Data) == `{"seq":1}` || len(m.Data) == 0 || strings.HasPrefix(m.Subject, "_INBOX.") || m.Subject == "$JS.EVENT.ADVISORY.API" && strings.Contains(string(m.Data), `"acc":"AGENTS"`)
		if !own {
			t.Errorf("a stranger hears %s: %s", m.Subject, m.Data)
		}
	}
}

// tip is the position of the log's end.
func tip(t *testing.T, nc *nats.Conn) uint64 {
	t.Helper()
	m, err := nc.Request("$JS.API.STREAM.INFO.LOG_p0", nil, 10*time.Second)
	var info struct {
		State struct {
			Last uint64 `json:"last_seq"`
		}
	}
	if err == nil {
		err = json.Unmarshal(m.Data, &info)
	}
	if err != nil || info.State.Last == 0 {
		t.Fatalf("the log's end: %+v %v", info, err)
	}
	return info.State.Last
}

// credsOf writes a file of credentials for an agent of one of several organizations.
func (o *outdoors) credsOf(t *testing.T, org string, agent polity.AgentName, life time.Duration) string {
	t.Helper()
	o.org = org
	return o.creds(t, agent, life)
}

// TestForgery sends, along a link that there is, messages that say what is not so, or that want to be answered where the sender may not
// publish.
func TestForgery(t *testing.T) {
	o := openOutdoors(t, t.TempDir(), strings.Replace(outpost, "to: [desk]", `to: [desk, "topic:news.*"]`, 1))
	front := intrude(t, o.creds(t, "front", 0))
	pricer := intrude(t, o.creds(t, "pricer", 0))
	boxes, err := pricer.SubscribeSync("box.pricer.>")
	if err != nil {
		t.Fatal(err)
	}
	inboxes, err := pricer.SubscribeSync("_INBOX_pricer.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := pricer.Flush(); err != nil {
		t.Fatal(err)
	}
	good := message.Envelope{ID: "m1", From: message.To("front"), To: []message.Address{message.To("desk")}, Performative: polity.Request, Data: []byte(`{"n":1}`)}
	send := func(subject, reply string, change func(*message.Envelope), more ...string) {
		t.Helper()
		e := good
		if change != nil {
			change(&e)
		}
		h, err := e.Header()
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(more); i += 2 {
			h[more[i]] = []string{more[i+1]}
		}
		if err := front.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Header: h, Data: e.Data}); err != nil {
			t.Fatal(err)
		}
	}
	const to = "msg.front.desk.request"
	for _, reply := range []string{"box.pricer.request", "_INBOX_pricer.x", "msg.pricer.desk.inform", "_INBOX.x", "_INBOX_front", "_INBOX_frontier.x", "_DESK.x", "log.p0", "$SRV.PING"} {
		send(to, reply, nil)
		o.audited(t, "misuse", to, fmt.Sprintf("reply subject %q", reply))
	}
	send(to, "", func(e *message.Envelope) { e.From = message.To("pricer") })
	o.audited(t, "misuse", to, "says that it is from agent:pricer")
	send(to, "", func(e *message.Envelope) { e.From = message.Address{Kind: message.Outside, Name: "front"} })
	o.audited(t, "misuse", to, "says that it is from outside:front")
	send(to, "", func(e *message.Envelope) { e.To = []message.Address{message.To("pricer")} })
	o.audited(t, "misuse", to, "its subject says otherwise")
	send(to, "", func(e *message.Envelope) { e.To = append(e.To, message.To("pricer")) })
	send(to, "", func(e *message.Envelope) { e.To = []message.Address{{Kind: message.All}} })
	send("all.front.request", "", func(e *message.Envelope) { e.To = []message.Address{message.To("pricer")} })
	o.audited(t, "misuse", "all.front.request", "its subject says otherwise")
	send("msg.front.desk.query", "", nil)
	o.audited(t, "misuse", "msg.front.desk.query", "its subject says otherwise")
	send("msg.front.desk.*", "", nil)
	o.audited(t, "misuse", "msg.front.desk.*", "its subject says otherwise")
	send(to, "", nil, "ce-source", "agent:")
	o.audited(t, "misuse", to, "source")
	if err := front.Publish(to, []byte("no envelope")); err != nil {
		t.Fatal(err)
	}
	o.audited(t, "misuse", to, "specversion: missing")
	if err := front.Publish("ctl.front.here", []byte("{")); err != nil {
		t.Fatal(err)
	}
	o.audited(t, "misuse", "ctl.front.here", "here: want an object")

	front.forgeHeaders(t, o, to, good)
	front.forgeEvents(t, o)
	front.forgePresence(t, o, pricer)

	// What the server itself would send elsewhere, were it not that the sender may not.
	send("msg.front.desk.inform", "", func(e *message.Envelope) { e.Performative, e.Correlation = polity.Inform, "nothing" }, "Nats-Trace-Dest", "box.pricer.request")
	// A question that is another's to answer.
	if _, err := o.Start(t.Context(), engine.Request{Release: o.release, Agent: "pricer", Input: json.RawMessage(`{"n":1}`)}); err != nil {
		t.Fatal(err)
	}
	asked, err := boxes.NextMsg(20 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	q, err := message.Decode(asked.Header, asked.Data)
	if err != nil || q.From != message.To("shop") {
		t.Fatal(q, err)
	}
	send("msg.front.desk.inform", "", func(e *message.Envelope) { e.Performative, e.Correlation = polity.Inform, q.ID })
	o.audited(t, "misuse", "msg.front.desk.inform", "asks pricer")
	if m, err := inboxes.NextMsg(50 * time.Millisecond); err == nil {
		t.Errorf("the pricer's inbox: %s", m.Subject)
	}
	for {
		m, err := boxes.NextMsg(50 * time.Millisecond)
		if err != nil {
			break
		}
		if e, err := message.Decode(m.Header, m.Data); err != nil || e.ID != q.ID {
			t.Errorf("the pricer's box: %s %v %v", m.Subject, e, err)
		}
	}
	if runs, err := o.List(t.Context()); err != nil || len(runs) != 1 || runs[0].Status.Final() {
		t.Errorf("runs: %+v %v", runs, err)
	}
}

// forgeHeaders has headers say twice, in another case or hidden by an escape, what may stand there once.
func (i *intruder) forgeHeaders(t *testing.T, o *outdoors, subject string, good message.Envelope) {
	t.Helper()
	for _, c := range []struct {
		change func(h nats.Header)
		reason string
	}{
		{func(h nats.Header) { h["ce-source"] = []string{"agent:front", "agent:pricer"} }, "source: it stands there twice"},
		{func(h nats.Header) { h["Ce-Source"] = []string{"agent:pricer"} }, "source: it stands there twice"},
		{func(h nats.Header) { delete(h, "ce-source"); h["CE-SOURCE"] = []string{"agent:pricer"} }, "says that it is from agent:pricer"},
		{func(h nats.Header) { h["ce-source"] = []string{"agent%3Apricer"} }, "says that it is from agent:pricer"},
		{func(h nats.Header) { h["CE-recipients"] = []string{"agent:pricer"} }, "recipients: it stands there twice"},
		{func(h nats.Header) { h["ce-recipients"] = []string{"agent:desk,agent:pricer"} }, "its subject says otherwise"},
		{func(h nats.Header) { h["ce-recipients"] = []string{"agent:desk%00"} }, "recipients"},
		{func(h nats.Header) { h["ce-x"] = []string{strings.Repeat("x", 9<<10)} }, "more than 8192 bytes"},
		{func(h nats.Header) { h["ce-data"] = []string{"1"} }, "data"},
	} {
		h, err := good.Header()
		if err != nil {
			t.Fatal(err)
		}
		c.change(h)
		if err := i.PublishMsg(&nats.Msg{Subject: subject, Header: h, Data: good.Data}); err != nil {
			t.Fatal(err)
		}
		o.audited(t, "misuse", subject, c.reason)
	}
	for n := range 3 { // headers of megabytes that are no attributes
		h := nats.Header{fmt.Sprint("x-", n): []string{strings.Repeat("x", 60<<10)}}
		if err := i.PublishMsg(&nats.Msg{Subject: subject, Header: h}); err != nil {
			t.Fatal(err)
		}
	}
}

// forgeEvents publishes on topics that a link leads to, and on others; and wants to read what is published, which no agent outside may.
func (i *intruder) forgeEvents(t *testing.T, o *outdoors) {
	t.Helper()
	event := func(topic, subject string) {
		t.Helper()
		e := message.Envelope{ID: "e", From: message.To("front"), To: []message.Address{{Kind: message.Topic, Name: "news.world"}}, Performative: polity.Notify, Data: []byte(`1`)}
		h, err := e.Header()
		if err != nil {
			t.Fatal(err)
		}
		h["ce-recipients"] = []string{"topic:" + topic}
		if err := i.PublishMsg(&nats.Msg{Subject: subject, Reply: "_INBOX_front.e", Header: h, Data: e.Data}); err != nil {
			t.Fatal(err)
		}
	}
	taken, err := i.SubscribeSync("_INBOX_front.e")
	if err != nil {
		t.Fatal(err)
	}
	event("news.world", "evt.front.news.world")
	m, err := taken.NextMsg(20 * time.Second)
	if err != nil || !strings.Contains(string(m.Data), `"agree"`) {
		t.Errorf("along a link: %v %v", m, err)
	}
	for topic, subject := range map[string]string{"news.*": "evt.front.news.*", "news.>": "evt.front.news.>", "sport.world": "evt.front.news.sport", "news.world": "evt.front.news.local"} {
		event(topic, subject)
		o.audited(t, "misuse", subject, "")
	}
	for _, s := range []string{"evt.front.sport", "evt.front.news", "evt.front.news.a.b", "evt.pricer.news.world", "evt.front.*", "evt.>", "ans.pricer.x", "$SRV.INFO.pricer", "$KV.topics.x", "$O.blobs.x"} {
		if err := i.Publish(s, nil); err != nil {
			t.Fatal(err)
		}
		i.refused(t, o, "publish", s)
	}
	for _, s := range []string{"evt.>", "evt.front.news.*", "evt.front.news.world", "topic.news.world", "ans.>", "ans.front.*", "_INBOX_pricer.x", "$SRV.PING.pricer.>", "$KV.>", "$O.>", "_R_.>"} {
		if _, err := i.SubscribeSync(s); err != nil {
			t.Fatal(err)
		}
		i.refused(t, o, "subscribe", s)
	}
}

// forgePresence says that there are more processes than there may be, and takes another's key for its own.
func (i *intruder) forgePresence(t *testing.T, o *outdoors, other *intruder) {
	t.Helper()
	for n := range 257 {
		if err := i.Publish("ctl.front.here", fmt.Appendf(nil, `{"instance":"i%d","state":"serving"}`, n)); err != nil {
			t.Fatal(err)
		}
	}
	o.audited(t, "misuse", "ctl.front.here", "256 processes serve the agent")
	for key, reason := range map[string]string{other.key: "another agent's", "UX": "key"} {
		if err := i.Publish("ctl.front.renew", fmt.Appendf(nil, `{"key":%q}`, key)); err != nil {
			t.Fatal(err)
		}
		o.audited(t, "misuse", "ctl.front.renew", reason)
	}
}

// rawConn speaks the protocol by hand.
type rawConn struct {
	net.Conn
	in    *bufio.Reader
	nonce string
}

func (i *intruder) raw(t *testing.T) *rawConn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(i.creds.URL, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	r := &rawConn{Conn: c, in: bufio.NewReader(c)}
	var info struct{ Nonce string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(r.line(t), "INFO ")), &info); err != nil || info.Nonce == "" {
		t.Fatalf("no nonce: %v", err)
	}
	r.nonce = info.Nonce
	return r
}

func (r *rawConn) line(t *testing.T) string {
	t.Helper()
	if err := r.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	line, err := r.in.ReadString('\n')
	if err != nil {
		return "closed"
	}
	return strings.TrimSpace(line)
}

func (r *rawConn) say(t *testing.T, text string) {
	t.Helper()
	if _, err := r.Write([]byte(text)); err != nil {
		t.Logf("write: %v", err) // the server may have closed already
	}
}

// hello is the line by which a client says who it is.
func (i *intruder) hello(t *testing.T, nonce, key string, more string) string {
	t.Helper()
	sig, err := i.pair.Sign([]byte(nonce))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1,"nkey":%q,"sig":%q%s}`+"\r\nPING\r\n", key, base64.RawURLEncoding.EncodeToString(sig), more)
}

// until reads up to a line that begins so, or the end.
func (r *rawConn) until(t *testing.T, want string) string {
	t.Helper()
	for {
		line := r.line(t)
		if strings.HasPrefix(line, want) || line == "closed" {
			return line
		}
	}
}

// flood publishes where nothing leads, on more subjects than the server remembers its decisions of, and wants each to be refused, also what was refused before.
func (r *rawConn) flood(t *testing.T) {
	t.Helper()
	const subjects = 2000
	var text strings.Builder
	for range 2 {
		for n := range subjects {
			fmt.Fprintf(&text, "PUB msg.front.pricer.x%d 0\r\n\r\n", n)
		}
	}
	text.WriteString("UNSUB 1\r\nPING\r\n") // and lets go of what it does not have
	r.say(t, text.String())
	refused := 0
	for {
		line := r.line(t)
		if strings.HasPrefix(line, "-ERR 'Permissions Violation") {
			refused++
		}
		if line == "PONG" || line == "closed" {
			break
		}
	}
	if refused != 2*subjects {
		t.Errorf("%d of %d are refused", refused, 2*subjects)
	}
}

// TestConnectAttacks tries to be let in without right, or to become another.
func TestConnectAttacks(t *testing.T) {
	o := openOutdoors(t, t.TempDir(), outpost)
	front := keyOf(t, o.creds(t, "front", 0))
	pricer := keyOf(t, o.creds(t, "pricer", 0))

	in := front.raw(t)
	hello := front.hello(t, in.nonce, front.key, "")
	in.say(t, hello)
	if line := in.until(t, "PONG"); line != "PONG" {
		t.Fatalf("front was not let in: %s", line)
	}
	denied := func(name string, r *rawConn, text string) {
		t.Helper()
		r.say(t, text)
		if line := r.until(t, "-ERR"); !strings.HasPrefix(line, "-ERR") {
			t.Errorf("%s: %s", name, line)
		}
		if line := r.until(t, "closed"); line != "closed" {
			t.Errorf("%s: %s", name, line)
		}
	}
	r := front.raw(t)
	denied("a connect line that was good on another connection", r, hello)
	o.audited(t, "connect", "", "not for this connection")
	r = front.raw(t)
	denied("another's key with a signature of its own", r, front.hello(t, r.nonce, pricer.key, ""))
	r = front.raw(t)
	denied("a key that is none", r, front.hello(t, r.nonce, "UX", ""))
	o.audited(t, "connect", "", "the key or its signature is none")
	r = front.raw(t)
	denied("nothing", r, "CONNECT {}\r\nPING\r\n")
	o.audited(t, "connect", "", "no key")
	r = front.raw(t)
	denied("speaking before it says who it is", r, "PUB msg.pricer.shop.inform 1\r\nx\r\n")
	r = front.raw(t)
	denied("an account of its choice", r, front.hello(t, r.nonce, front.key, `,"account":"bank","new_account":true`))
	r = front.raw(t)
	denied("the desk", r, `CONNECT {"user":"\u0000desk shop","pass":""}`+"\r\nPING\r\n")
	r = front.raw(t)
	denied("another process's connection", r, front.hello(t, r.nonce, front.key, "")+front.hello(t, r.nonce, pricer.key, ""))

	r = front.raw(t)
	r.say(t, front.hello(t, r.nonce, front.key, ""))
	if line := r.until(t, "PONG"); line != "PONG" {
		t.Fatal(line)
	}
	denied("a message that is too large", r, fmt.Sprintf("PUB msg.front.desk.request %d\r\n%s\r\n", 2<<20, strings.Repeat("x", 2<<20)))
	o.audited(t, "publish", "", "too large")
	r = front.raw(t)
	r.say(t, front.hello(t, r.nonce, front.key, ""))
	denied("a line that is too long", r, "PUB "+strings.Repeat("x", 64<<10)+" 1\r\n")
	r = front.raw(t)
	r.say(t, front.hello(t, r.nonce, front.key, ""))
	denied("what is not the protocol", r, "GET / HTTP/1.1\r\n\r\n")

	in.flood(t)
	list, err := o.Refused(t.Context(), 0, 1000)
	if kept := len(list); err != nil || kept > 200 {
		t.Errorf("%d refusals are kept of a flood: %v", kept, err)
	}

	again := keyOf(t, o.creds(t, "front", 0)) // as whoever renews keeps the old key
	if n, err := o.Revoke(t.Context(), "", "front"); err != nil || n != 2 {
		t.Fatalf("revoke: %d %v", n, err)
	}
	if line := in.until(t, "closed"); line != "closed" {
		t.Errorf("whose credentials were revoked is connected: %s", line)
	}
	for _, old := range []*intruder{front, again} {
		r = old.raw(t)
		denied("revoked credentials", r, old.hello(t, r.nonce, old.key, ""))
	}
	o.audited(t, "connect", "", "nobody has this key")
	if list, err = o.Refused(t.Context(), 0, 1000); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(list, func(r polity.Refusal) bool { return r.From == "" }) {
		t.Error("a refusal without an address")
	}
}
