// Package remote serves an agent of an organization from another process, in ten lines:
//
//	price := func(ctx context.Context, in Order) (Quote, error) { ... }
//	err := remote.Serve(ctx, "pricer.creds", remote.Func(price))
//
// It exists because an agent need not be where its organization runs, nor be trusted there: it connects with credentials of its own
// (polity bus creds), and the broker lets it say what its organization's links allow and nothing else. The life of an [Agent]:
//
//	Connect -> Serve (questions come, answers go), Send, Ask -> Close
//
// What is said on the wire stands in docs/spec/bus.md; agents in other languages speak it with any NATS client.
package remote

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"polity.run"
	"polity.run/fault"
	"polity.run/message"
)

// The limits of an agent.
const (
	AtOnceDefault = 16
	knownMax      = 10_000 // questions whose answers are kept, for whoever asks again
	sayWait       = 5 * time.Second
	sayAgain      = 200 * time.Millisecond // first wait before something is said again; it doubles up to askAgain
	askAgain      = 10 * time.Second
	drainMax      = 30 * time.Second
	reconnectWait = 100 * time.Millisecond
)

// Handler answers a question: with JSON of the skill's output, or with a fault. It may be called from many goroutines. Its context ends with the
// question's deadline.
type Handler func(ctx context.Context, q message.Envelope) (json.RawMessage, error)

// Func makes a Handler of a function.
func Func[In, Out any](f func(ctx context.Context, in In) (Out, error)) Handler {
	return func(ctx context.Context, q message.Envelope) (json.RawMessage, error) {
		var in In
		if err := json.Unmarshal(q.Data, &in); err != nil {
			return nil, fault.Invalid.New("input: %w", err)
		}
		out, err := f(ctx, in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	}
}

// Config says how an agent is served. The zero value is fine.
type Config struct {
	Version string // of the agent's code, as it is shown; default 0.0.0
	AtOnce  int    // questions that are worked on at once; default AtOnceDefault
	Log     *slog.Logger
}

// Agent is a connection as an agent. Its methods are safe for concurrent use.
type Agent struct {
	path     string
	url      string
	org      string
	name     polity.AgentName
	cfg      Config
	instance string

	mu      sync.Mutex
	creds   Credentials
	nc      *nats.Conn
	saying  map[*saying]bool
	waiting map[string]chan message.Envelope // who asked, by the question's ID
	known   map[string]*work                 // what was asked here
	order   []string                         // of known
	closed  chan struct{}                    // closed when the connection is gone for good
	once    sync.Once
}

// Serve connects with the credentials in a file and serves an agent until ctx ends. See Agent.Serve.
func Serve(ctx context.Context, path string, h Handler) error {
	a, err := Connect(ctx, path, Config{})
	if err != nil {
		return err
	}
	defer a.Close()
	return a.Serve(ctx, h)
}

// Connect connects with the credentials in a file, which is written again when they are renewed. It returns what ReadCredentials does,
// fault.Unauthenticated if they do not count, and fault.Unavailable if nobody listens. Later the connection comes back by itself.
func Connect(ctx context.Context, path string, cfg Config) (*Agent, error) {
	creds, err := ReadCredentials(path)
	if err != nil {
		return nil, err
	}
	if cfg.AtOnce == 0 {
		cfg.AtOnce = AtOnceDefault
	}
	if cfg.Version == "" {
		cfg.Version = "0.0.0"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	a := &Agent{
		path: path, url: creds.URL, org: creds.Org, name: creds.Agent, cfg: cfg, creds: creds, instance: rand.Text(), saying: map[*saying]bool{},
		waiting: map[string]chan message.Envelope{}, known: map[string]*work{}, closed: make(chan struct{}),
	}
	if a.nc, err = a.dial(creds); err != nil {
		return nil, err
	}
	return a, ctx.Err()
}

// dial makes a connection that hears the answers to what the agent asks.
func (a *Agent) dial(creds Credentials) (*nats.Conn, error) {
	pair, err := nkeys.FromSeed([]byte(creds.Seed))
	if err != nil {
		return nil, fault.Invalid.New("credentials: seed: %w", err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, fault.Invalid.New("credentials: seed: %w", err)
	}
	options := []nats.Option{
		nats.Name(string(creds.Agent)), nats.Nkey(public, pair.Sign), nats.CustomInboxPrefix(Inbox(creds.Agent)),
		nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.Timeout(sayWait), nats.ErrorHandler(a.failed),
		nats.ClosedHandler(func(nc *nats.Conn) {
			if nc == a.conn() {
				a.once.Do(func() { close(a.closed) })
			}
		}),
	}
	if creds.CA != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(creds.CA)) {
			return nil, fault.Invalid.New("credentials: ca holds no certificate")
		}
		options = append(options, nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}))
	}
	nc, err := nats.Connect(creds.URL, options...)
	if err != nil {
		return nil, a.reason(err)
	}
	for _, p := range []polity.Performative{polity.Inform, polity.Failure} { // to each process: only one of them asked
		if _, err := nc.Subscribe(Box(creds.Agent, p), a.answered); err != nil {
			nc.Close()
			return nil, a.reason(err)
		}
	}
	return nc, nil
}

// conn is the connection of now: renewed credentials bring another one.
func (a *Agent) conn() *nats.Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.nc
}

// failed is told what went wrong on a connection. A refusal ends whatever says it.
func (a *Agent) failed(_ *nats.Conn, _ *nats.Subscription, err error) {
	a.cfg.Log.Warn("bus", "error", err)
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	text := strings.ToLower(err.Error()) // the library may write it so
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.saying {
		if strings.Contains(text, strconv.Quote(strings.ToLower(s.subject))) {
			s.cancel(fault.Denied.New("agent %s: no link leads to %s", a.name, s.subject))
		}
	}
}

// saying is something that is being said.
type saying struct {
	subject string
	cancel  context.CancelCauseFunc
}

// reason is why a connection does not work.
func (a *Agent) reason(err error) error {
	if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) {
		return fault.Unauthenticated.New("%s is not let in: its credentials have ended, were revoked, or its organization is not linked; see: polity bus refused", a.name)
	}
	return fault.Unavailable.New("bus: %s: %w", a.url, err)
}

// Name is the agent's.
func (a *Agent) Name() polity.AgentName { return a.name }

// Close cuts the connection.
func (a *Agent) Close() { a.conn().Close() }

// Send says something to one address that a link leads to, and returns what became of it for each recipient, when that is safe. It fills in who
// speaks, and an ID if there is none: the same Key again is the same message. It is said again until it is taken, refused, or ctx ends. Where no
// link leads it is fault.Denied.
func (a *Agent) Send(ctx context.Context, e message.Envelope) ([]message.Receipt, error) {
	m, err := a.letter(e)
	if err != nil {
		return nil, err
	}
	t, err := a.say(ctx, m)
	return t.Receipts, err
}

// letter makes the message of the protocol.
func (a *Agent) letter(e message.Envelope) (*nats.Msg, error) {
	if e.ID == "" {
		e.ID = rand.Text()
	}
	e.From = message.To(a.name)
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e = e.Or()
	if len(e.To) != 1 {
		return nil, fault.Invalid.New("message: name one agent, group, role or topic to send it to")
	}
	header, err := e.Header()
	return &nats.Msg{Subject: e.To[0].Subject(a.name, e.Performative), Header: header, Data: e.Data}, err
}

// Ask sends a question to an agent and returns its answer. It is asked again, as the same question, while there is none. A live one is asked once: who
// has no answer to it in time, which is the end of ctx or a minute, gets fault.Timeout.
func (a *Agent) Ask(ctx context.Context, e message.Envelope) (json.RawMessage, error) {
	if e.ID == "" {
		e.ID = rand.Text()
	}
	e.Reply = true
	if e.Live {
		return a.askLive(ctx, e)
	}
	answer := make(chan message.Envelope, 1)
	a.mu.Lock()
	a.waiting[e.ID] = answer
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.waiting, e.ID)
		a.mu.Unlock()
	}()
	for {
		if _, err := a.Send(ctx, e); err != nil {
			return nil, err
		}
		again := time.NewTimer(askAgain)
		select {
		case out := <-answer:
			again.Stop()
			return read(out)
		case <-ctx.Done():
			again.Stop()
			return nil, fault.Cancelled.New("ask: %w", context.Cause(ctx))
		case <-again.C:
		}
	}
}

func read(out message.Envelope) (json.RawMessage, error) {
	if out.Performative == polity.Inform {
		return out.Data, nil
	}
	var f fault.Error
	if err := json.Unmarshal(out.Data, &f); err != nil {
		return nil, fault.Failed.New("%s failed: %.500s", out.From, out.Data)
	}
	return nil, &f
}

// answered gives an answer to whoever asked.
func (a *Agent) answered(m *nats.Msg) {
	e, err := message.Decode(m.Header, m.Data)
	if err != nil {
		a.cfg.Log.Warn("an answer cannot be read", "error", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if to := a.waiting[e.Correlation]; to != nil {
		select {
		case to <- e:
		default: // it has one
		}
	}
}

// say says something until it is taken, refused for good, or ctx ends.
func (a *Agent) say(ctx context.Context, m *nats.Msg) (Taken, error) {
	wait := sayAgain
	for {
		t, err := a.sayOnce(ctx, m)
		if err == nil || !fault.Of(err).Kind.Retryable() {
			return t, err
		}
		select {
		case <-time.After(wait):
		case <-a.closed:
			return Taken{}, a.reason(errors.Join(nats.ErrConnectionClosed, a.conn().LastError()))
		case <-ctx.Done():
			return Taken{}, fault.Cancelled.New("%w: %w", context.Cause(ctx), err)
		}
		wait = min(2*wait, askAgain)
	}
}

func (a *Agent) sayOnce(ctx context.Context, m *nats.Msg) (Taken, error) {
	ctx, cancel := context.WithTimeout(ctx, sayWait)
	defer cancel()
	reply, err := a.request(ctx, m)
	if errors.Is(err, fault.Denied) {
		return Taken{}, err
	}
	if err != nil {
		return Taken{}, fault.Unavailable.New("nobody took %s: %w", m.Subject, err)
	}
	var t Taken
	if err := json.Unmarshal(reply.Data, &t); err != nil {
		return t, fault.Internal.New("what was answered cannot be read: %w", err)
	}
	if t.Error != nil {
		return t, t.Error
	}
	return t, nil
}

// request says something once and returns what comes back. Where no link leads it is fault.Denied, and otherwise the client's error.
func (a *Agent) request(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	ctx, refuse := context.WithCancelCause(ctx)
	defer refuse(nil)
	s := &saying{m.Subject, refuse}
	a.mu.Lock()
	a.saying[s] = true
	nc := a.nc
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.saying, s)
		a.mu.Unlock()
	}()
	out, err := a.signed(m)
	if err != nil {
		return nil, err
	}
	reply, err := nc.RequestMsgWithContext(ctx, out)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, fault.Denied) {
		return nil, cause
	}
	return reply, err
}

// signed is a message as it is sent now: signed, where that is wanted.
func (a *Agent) signed(m *nats.Msg) (*nats.Msg, error) {
	a.mu.Lock()
	creds := a.creds
	a.mu.Unlock()
	out := &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}
	if !creds.Signed {
		return out, nil
	}
	var err error
	out.Header, err = creds.Sign(m.Subject, m.Header, m.Data, time.Now())
	return out, err
}

// publish sends a message that is not acknowledged.
func (a *Agent) publish(m *nats.Msg) error {
	out, err := a.signed(m)
	if err != nil {
		return err
	}
	return a.conn().PublishMsg(out)
}

// Renew has the credentials renewed: a new key takes the place of the old one, on the disk and in a connection of its own, and the old one is left to
// end. The private half of the new key leaves this process for the file alone. Serve does this by itself.
func (a *Agent) Renew(ctx context.Context) error {
	next, err := a.renewed(ctx)
	if err != nil {
		return err
	}
	nc, err := a.dial(next)
	if err != nil {
		return err
	}
	a.replace(next, nc).Close()
	return nil
}

// renewed has a new key let in, and writes it down.
func (a *Agent) renewed(ctx context.Context) (Credentials, error) {
	a.mu.Lock()
	next := a.creds
	a.mu.Unlock()
	pair, err := nkeys.CreateUser()
	if err != nil {
		return next, fault.Internal.New("make a key: %w", err)
	}
	seed, err := pair.Seed()
	if err != nil {
		return next, fault.Internal.New("make a key: %w", err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return next, fault.Internal.New("make a key: %w", err)
	}
	data, err := json.Marshal(Renewal{public})
	if err != nil {
		return next, fault.Internal.New("renew: %w", err)
	}
	t, err := a.say(ctx, &nats.Msg{Subject: Control(next.Agent, ControlRenew), Data: data})
	if err != nil {
		return next, err
	}
	if t.Admission == nil {
		return next, fault.Internal.New("renew: the answer says nothing of the credentials")
	}
	next = Credentials{*t.Admission, string(seed)}
	return next, next.Write(a.path)
}

// replace puts another connection in the place of the one there is, and returns that.
func (a *Agent) replace(creds Credentials, nc *nats.Conn) *nats.Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.nc
	a.creds, a.nc = creds, nc
	return old
}
