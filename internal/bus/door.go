package bus

import (
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"polity.run"
	"polity.run/fault"
)

// The limits of the door.
const (
	LetterMax    = 1 << 20 // bytes of one message of an agent outside, with its headers
	guestsMax    = 4096    // connections at once
	guestSubsMax = 64      // subscriptions of one connection
	controlMax   = 4 << 10 // bytes of a line of the protocol
	pendingMax   = 16 << 20
	proveMax     = 2 * time.Second // for a connection to say who it is
	pingEvery    = 10 * time.Second
	pingsMax     = 2
	slowMax      = 5 * time.Second  // a guest that takes nothing for as long is cut
	lookEvery    = time.Second      // how often rights are looked at that time ends
	refusalsMax  = 1024             // that wait to be told
	subjectShown = 256              // bytes of a subject in a refusal
	deskWait     = 10 * time.Second // for the server to listen, and to let a desk in
)

// Guest is what somebody may do who has proved to hold a key.
type Guest struct {
	Account string    // whose subjects it shares
	Name    string    // of the agent, for refusals
	Until   time.Time // when it ends
	// Publish and Subscribe are the subjects that it may use, with wildcards; all others are refused.
	Publish, Subscribe []string
}

func (g *Guest) same(other *Guest) bool {
	return g.Account == other.Account && g.Name == other.Name && slices.Equal(g.Publish, other.Publish) && slices.Equal(g.Subscribe, other.Subscribe)
}

// DoorConfig says where a door is and whom it lets in.
type DoorConfig struct {
	Listen string // HOST:PORT; port 0 takes a free one
	// TLS is required unless Listen is an address of this machine alone.
	TLS *tls.Config
	// Hub is what agents of one account reach the door through as well; nil for nothing.
	Hub *Hub
	// Admit says what a key's holder may do, or why it may do nothing. It is asked when somebody connects, and again for those that are
	// connected when Look is called and each second. It must be quick.
	Admit func(key string) (Guest, error)
	// Refused is told of what was refused, from one goroutine. What comes faster than it takes is counted: Missed is how many were not told
	// before this one.
	Refused func(r polity.Refusal)
}

// Door is a NATS server of its own, in this process, for those who are not trusted: it has no JetStream, no system account and
// nothing on its disk, so that no credentials and no fault of the protocol lead from it to a log. Who is inside meets them at a Desk. Its methods are
// safe for concurrent use.
type Door struct {
	cfg      DoorConfig
	srv      *server.Server
	password string
	refusals chan polity.Refusal
	stop     chan struct{}
	ended    sync.WaitGroup

	mu     sync.Mutex
	guests map[uint64]*guest // by connection
	missed uint64
}

type guest struct {
	Guest
	key, from string
}

// OpenDoor listens. It returns fault.Invalid for an address that others reach without TLS, and fault.Unavailable if it cannot listen.
// Close it.
func OpenDoor(cfg DoorConfig) (*Door, error) {
	host, text, err := net.SplitHostPort(cfg.Listen)
	port, bad := strconv.ParseUint(text, 10, 16)
	if err = errors.Join(err, bad); err != nil {
		return nil, fault.Invalid.New("bus: listen on %q: want HOST:PORT, as in 127.0.0.1:4222: %w", cfg.Listen, err)
	}
	if ip := net.ParseIP(host); cfg.TLS == nil && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fault.Invalid.New("bus: listen on %s: other machines reach it, so it needs TLS", cfg.Listen)
	}
	secret := make([]byte, 24)
	if _, err := rand.Read(secret); err != nil {
		return nil, fault.Internal.New("bus: password: %w", err)
	}
	d := &Door{
		cfg: cfg, password: hex.EncodeToString(secret), refusals: make(chan polity.Refusal, refusalsMax), stop: make(chan struct{}), guests: map[uint64]*guest{},
	}
	opts := &server.Options{
		ServerName: "polity-door", Host: host, Port: int(port), NoSigs: true, NoSystemAccount: true,
		CustomClientAuthentication: d, AlwaysEnableNonce: true, AuthTimeout: proveMax.Seconds(),
		MaxPayload: LetterMax, MaxControlLine: controlMax, MaxConn: guestsMax, MaxSubs: guestSubsMax, MaxPending: pendingMax,
		PingInterval: pingEvery, MaxPingsOut: pingsMax, WriteDeadline: slowMax,
	}
	if port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	if cfg.TLS != nil {
		opts.TLSConfig, opts.TLS, opts.TLSTimeout = cfg.TLS, true, proveMax.Seconds()
	}
	if cfg.Hub != nil {
		if err := cfg.Hub.leaf(opts); err != nil {
			return nil, err
		}
	}
	if d.srv, err = server.NewServer(opts); err != nil {
		return nil, fault.Unavailable.New("bus: open the door: %w", err)
	}
	d.srv.SetLoggerV2(doorLog{d}, false, false, false)
	d.ended.Go(d.tell)
	d.ended.Go(d.look)
	d.srv.Start()
	if !d.srv.ReadyForConnections(deskWait) {
		d.Close()
		return nil, fault.Unavailable.New("bus: cannot listen on %s: is the address in use?", cfg.Listen)
	}
	return d, nil
}

// Addr is the address that the door listens on, HOST:PORT.
func (d *Door) Addr() string { return d.srv.Addr().String() }

// Joined says whether the door is connected to its hub.
func (d *Door) Joined() bool { return d.srv.NumLeafNodes() > 0 }

// Close cuts everybody, and waits.
func (d *Door) Close() {
	d.srv.Shutdown()
	d.srv.WaitForShutdown()
	close(d.stop)
	d.ended.Wait()
}

// Look has the rights of everybody who is connected looked at now: who has lost theirs, or has others, is cut.
func (d *Door) Look() {
	for id, g := range d.inside() {
		if now, err := d.admit(g.key); err == nil && now.same(&g.Guest) {
			continue
		}
		d.forget(id)
		_ = d.srv.DisconnectClientByID(id) // it fails for one that has gone
	}
}

// Connected says whether somebody of this name is connected to an account.
func (d *Door) Connected(account, name string) bool {
	for _, g := range d.inside() {
		if g.Account == account && g.Name == name {
			return true
		}
	}
	return false
}

// inside are those who are connected, by connection. The server tells nobody when one goes.
func (d *Door) inside() map[uint64]*guest {
	d.mu.Lock()
	all := maps.Clone(d.guests)
	d.mu.Unlock()
	for id := range all {
		if d.srv.GetClient(id) == nil {
			d.forget(id)
			delete(all, id)
		}
	}
	return all
}

func (d *Door) forget(id uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.guests, id)
}

func (d *Door) look() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-d.stop:
			return
		case <-tick.C:
			d.Look()
		}
	}
}

// admit is what a key's holder may do now.
func (d *Door) admit(key string) (Guest, error) {
	g, err := d.cfg.Admit(key)
	if err == nil && !time.Now().Before(g.Until) {
		err = fault.Unauthenticated.New("the credentials ended at %s", g.Until.Format(time.RFC3339))
	}
	return g, err
}

// Check lets a connection in, or not: it is the server's hook.
func (d *Door) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	from := ""
	if a := c.RemoteAddress(); a != nil {
		from = a.String()
	}
	if account, own := strings.CutPrefix(o.Username, deskUser); own && subtle.ConstantTimeCompare([]byte(o.Password), []byte(d.password)) == 1 {
		c.RegisterUser(&server.User{Username: o.Username, Account: d.account(account)})
		return true
	}
	g, err := d.prove(o, c.GetNonce())
	if err == nil && c.Kind() != server.CLIENT {
		err = fault.Denied.New("only agents connect here")
	}
	if err != nil {
		d.Refuse(polity.Refusal{Org: g.Account, Agent: polity.AgentName(g.Name), Key: shown(o.Nkey), From: from, Verb: polity.RefusedConnect, Reason: fault.Of(err).Text})
		return false
	}
	d.mu.Lock()
	d.guests[c.GetID()] = &guest{g, o.Nkey, from}
	d.mu.Unlock()
	c.RegisterUser(&server.User{
		Username: g.Name, Account: d.account(g.Account),
		Permissions: &server.Permissions{ // never with Response: who is asked would answer where the asker says
			Publish:   &server.SubjectPermission{Allow: some(g.Publish)},
			Subscribe: &server.SubjectPermission{Allow: some(g.Subscribe)},
		},
	})
	return true
}

// some is a list of subjects that is never empty: an empty one allows everything.
func some(subjects []string) []string {
	if len(subjects) == 0 {
		return []string{nowhere}
	}
	return subjects
}

const (
	nowhere  = "_NOWHERE"
	deskUser = "\x00desk " // no key and no name of an agent begins so
)

// prove wants the connection's nonce signed by the key's holder.
func (d *Door) prove(o *server.ClientOpts, nonce []byte) (Guest, error) {
	if o.Nkey == "" {
		return Guest{}, fault.Unauthenticated.New("no key: connect with the credentials of an agent")
	}
	sig, err := base64.RawURLEncoding.DecodeString(o.Sig)
	if err != nil {
		sig, err = base64.StdEncoding.DecodeString(o.Sig)
	}
	pub, bad := nkeys.FromPublicKey(o.Nkey)
	if err = errors.Join(err, bad); err != nil {
		return Guest{}, fault.Unauthenticated.New("the key or its signature is none")
	}
	if len(nonce) == 0 || pub.Verify(nonce, sig) != nil {
		return Guest{}, fault.Unauthenticated.New("the signature is not of this key, or not for this connection")
	}
	return d.admit(o.Nkey)
}

func (d *Door) account(name string) *server.Account {
	a, _ := d.srv.LookupOrRegisterAccount(name)
	return a
}

// Refuse has a refusal told as those of the server are, and keeps nobody waiting for it.
func (d *Door) Refuse(r polity.Refusal) {
	r.At = time.Now()
	select {
	case d.refusals <- r:
	default:
		d.mu.Lock()
		d.missed++
		d.mu.Unlock()
	}
}

func (d *Door) tell() {
	for {
		select {
		case <-d.stop:
			return
		case r := <-d.refusals:
			d.mu.Lock()
			r.Missed, d.missed = d.missed, 0
			d.mu.Unlock()
			d.cfg.Refused(r)
		}
	}
}

func shown(text string) string {
	if len(text) > subjectShown {
		text = text[:subjectShown]
	}
	return strings.ToValidUTF8(text, "?")
}

// doorLog is where the server tells of what it refuses: there is no other way to learn of it. Its words are those of
// nats-server's client.go, and a test fails when they change.
type doorLog struct{ d *Door }

var _ server.Logger = doorLog{}

// The server's words for what it refuses, after who did it.
const (
	saysPublish   = "Publish Violation - Subject %q"
	saysReply     = "Publish Violation - Reply %q"
	saysSubscribe = " - Subscription Violation - Subject " // then the quoted subject: here the server has formatted it already
	saysTokens    = " - Subscription Violation Too Many Tokens - Subject "
	saysPayload   = "%s: %d vs %d"
)

// Errorf reads what the server says of a connection: its address, its number, and what it did, of which everything else is the client's own words.
func (l doorLog) Errorf(format string, v ...any) {
	from, rest, ok := strings.Cut(format, " - cid:")
	if !ok {
		return // not of a connection
	}
	digits := rest
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		digits = rest[:i]
	}
	id, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return
	}
	r := polity.Refusal{From: from, Verb: polity.RefusedMisuse}
	switch {
	case strings.HasSuffix(format, saysPublish) && len(v) == 1:
		r.Verb, r.Subject = polity.RefusedPublish, text(v[0])
	case strings.HasSuffix(format, saysReply) && len(v) == 1:
		r.Verb, r.Subject = polity.RefusedReply, text(v[0])
	case strings.HasSuffix(format, saysPayload) && len(v) == 3:
		r.Verb, r.Reason = polity.RefusedPublish, "the message is too large"
	default:
		if subject, ok := quotedAfter(format, saysSubscribe); ok {
			r.Verb, r.Subject = polity.RefusedSubscribe, subject
		} else if subject, ok := quotedAfter(format, saysTokens); ok {
			r.Verb, r.Subject = polity.RefusedSubscribe, subject
		} else {
			r.Reason = shown(strings.TrimSpace(format[strings.LastIndex(format, " - ")+3:]))
		}
	}
	l.d.mu.Lock()
	g := l.d.guests[id]
	l.d.mu.Unlock()
	if g == nil {
		return // it never came in, and Check has told that
	}
	r.Org, r.Agent, r.Key = g.Account, polity.AgentName(g.Name), g.key
	l.d.Refuse(r)
}

// quotedAfter is the quoted text after the last of some words. Subjects and queues hold no spaces, so that nobody but the server can say these
// words last.
func quotedAfter(line, words string) (string, bool) {
	i := strings.LastIndex(line, words)
	if i < 0 {
		return "", false
	}
	quoted, err := strconv.QuotedPrefix(line[i+len(words):])
	if err != nil {
		return "", false
	}
	subject, err := strconv.Unquote(quoted)
	return shown(subject), err == nil
}

func text(v any) string {
	switch v := v.(type) {
	case []byte:
		return shown(string(v))
	case string:
		return shown(v)
	default:
		return ""
	}
}

// The rest of what a server says is of no interest here.
func (doorLog) Noticef(string, ...any) {}
func (doorLog) Warnf(string, ...any)   {}
func (doorLog) Fatalf(string, ...any)  {}
func (doorLog) Debugf(string, ...any)  {}
func (doorLog) Tracef(string, ...any)  {}

// NewKey makes a key: its seed, which its holder keeps, and its public half, which the door knows it by.
func NewKey() (seed, public string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", "", fault.Internal.New("bus: make a key: %w", err)
	}
	raw, err := pair.Seed()
	if err != nil {
		return "", "", fault.Internal.New("bus: make a key: %w", err)
	}
	if public, err = pair.PublicKey(); err != nil {
		return "", "", fault.Internal.New("bus: make a key: %w", err)
	}
	return string(raw), public, nil
}

// CheckKey returns nil or an Invalid fault for what is no public key of a user.
func CheckKey(public string) error {
	if !nkeys.IsValidPublicUserKey(public) {
		return fault.Invalid.New("%.80q is no public key of an agent: it begins with U and has 56 letters and digits", public)
	}
	return nil
}
