package bus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"polity.run/fault"
)

// Limits of the connection to a server that runs elsewhere.
const (
	dialMax        = 5 * time.Second
	redialEvery    = 200 * time.Millisecond
	heartbeatEvery = 3 * time.Second // a connection that is half open is found after
	heartbeatsMax  = 2               // so many that were not answered
	ReplicasMax    = 5
	replicasWanted = 3 // of streams, where the server is in a cluster
	lagsMax        = 10
	lagWait        = 500 * time.Millisecond
)

// Server is a NATS server or cluster with JetStream that runs elsewhere, and the credentials for an account of it that belongs to one node alone. At most one
// kind of credentials is given; without any the server lets everybody in, and whoever reaches it reads and writes the logs.
type Server struct {
	// URL is nats://HOST:PORT or tls://HOST:PORT, or several of one cluster with commas between.
	URL string
	// Creds is a file with a user's JWT and seed, NKey one with a user's seed alone.
	Creds, NKey    string
	User, Password string
	Token          string
	// CA is a file with certificates, PEM, against which the server's is held; "" for those of the system. With it the connection needs TLS.
	CA string
	// Cert and Key are files, PEM, with the certificate and key of the client, for a server that wants one. They go with any kind of credentials, or
	// are themselves what the server knows the user by.
	Cert, Key string
	// Domain is the account's JetStream domain; "" for the server's own.
	Domain string
	// Replicas is how many servers hold each stream, 1 to ReplicasMax, when it is made: one that is there keeps what it has. 0 is 3 in a cluster, else 1.
	Replicas int
}

// Check returns fault.Invalid with all that is wrong with the settings.
func (s *Server) Check() error {
	var all []error
	bad := func(format string, args ...any) {
		all = append(all, fault.Invalid.New("nats: "+format, args...))
	}
	for part := range strings.SplitSeq(s.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(part))
		switch {
		case err != nil: // which quotes it, with a password
			bad("the URL is none: want nats://HOST:PORT")
		case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) || u.Hostname() == "":
			bad("%s: want nats://HOST:PORT or tls://HOST:PORT", u.Redacted())
		case u.User != nil:
			bad("%s: the user does not stand in the URL, where others read it: give it by itself", u.Redacted())
		}
	}
	kinds := 0
	for _, given := range []bool{s.Creds != "", s.NKey != "", s.User != "", s.Token != ""} {
		if given {
			kinds++
		}
	}
	if kinds > 1 {
		bad("a file of credentials, an NKey, a user, a token: give one of them")
	}
	if (s.Cert == "") != (s.Key == "") {
		bad("a certificate of the client needs its key, and the other way round")
	}
	if s.Password != "" && s.User == "" {
		bad("a password without a user")
	}
	if s.Replicas < 0 || s.Replicas > ReplicasMax {
		bad("%d replicas: want 1 to %d", s.Replicas, ReplicasMax)
	}
	if strings.ContainsAny(s.Domain, ".*> \t") {
		bad("domain %q: want one word", s.Domain)
	}
	return errors.Join(all...)
}

// options are how a client gets to the server.
func (s *Server) options() ([]nats.Option, error) {
	o := []nats.Option{nats.Name("polity"), nats.Timeout(dialMax)}
	switch {
	case s.Creds != "":
		if err := checkCredentials(s.Creds, time.Now()); err != nil {
			return nil, err
		}
		o = append(o, nats.UserCredentials(s.Creds))
	case s.NKey != "":
		key, err := nats.NkeyOptionFromSeed(s.NKey)
		if err != nil {
			return nil, fault.Invalid.New("nats: NKey: want a file with a user's seed, which begins with SU: %w", named(s.NKey, err))
		}
		o = append(o, key)
	case s.Token != "":
		o = append(o, nats.Token(s.Token))
	case s.User != "":
		o = append(o, nats.UserInfo(s.User, s.Password))
	}
	secure, err := s.secure()
	if err != nil {
		return nil, err
	}
	return append(o, secure...), nil
}

func (s *Server) secure() ([]nats.Option, error) {
	config, err := s.trust()
	if config == nil || err != nil {
		return nil, err
	}
	return []nats.Option{nats.Secure(config)}, nil
}

// trust is what the server's certificate is held against, and the client's; nil for what the system trusts, and none.
func (s *Server) trust() (*tls.Config, error) {
	if s.CA == "" && s.Cert == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA != "" {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, fault.Invalid.New("nats: CA: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.Invalid.New("nats: CA %s: no certificate in it, PEM", s.CA)
		}
	}
	if s.Cert != "" {
		if _, err := s.pair(nil); err != nil {
			return nil, err
		}
		config.GetClientCertificate = s.pair // read anew with each connection, as it is replaced before it ends
	}
	return config, nil
}

func (s *Server) pair(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
	if err != nil {
		return nil, fault.Invalid.New("nats: certificate %s with key %s: %w", s.Cert, s.Key, err)
	}
	if until := pair.Leaf.NotAfter; time.Now().After(until) {
		return nil, fault.Denied.New("nats: the certificate %s ended at %s: have another one issued", s.Cert, until.Format(time.RFC3339))
	}
	return &pair, nil
}

// dial connects. What goes wrong later is left to more.
func (s *Server) dial(more ...nats.Option) (*nats.Conn, error) {
	o, err := s.options()
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(s.URL, append(o, more...)...)
	if err != nil {
		return nil, s.unconnected(err)
	}
	return nc, nil
}

// reach connects for good: a connection that is lost is made again, whatever time it takes.
func reach(ctx context.Context, cfg Config) (*Bus, error) {
	if err := cfg.Server.Check(); err != nil {
		return nil, err
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	nc, err := cfg.Server.dial(
		nats.MaxReconnects(-1), nats.ReconnectWait(redialEvery), nats.PingInterval(heartbeatEvery), nats.MaxPingsOutstanding(heartbeatsMax),
		nats.IgnoreAuthErrorAbort(), // they may be given again before long
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if refusal(err) {
				err = cfg.Server.unconnected(err) // which says what to do
			}
			log.Error("nats", "error", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // else it was closed
				log.Warn("nats: the connection is lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Warn("nats: connected again", "server", nc.ConnectedUrlRedacted()) }),
	)
	if err != nil {
		return nil, err
	}
	b := &Bus{cfg: cfg, nc: nc, requests: requestsOf(cfg.Server.Domain)}
	if b.js, err = cfg.Server.jetstream(nc); err == nil {
		err = b.answers(ctx)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return b, nil
}

func (s *Server) jetstream(nc *nats.Conn) (js jetstream.JetStream, err error) {
	if s.Domain != "" {
		js, err = jetstream.NewWithDomain(nc, s.Domain)
	} else {
		js, err = jetstream.New(nc)
	}
	if err != nil {
		return nil, fault.Invalid.New("nats: %w", err)
	}
	return js, nil
}

// requestsOf begins the subjects of JetStream's API in a domain.
func requestsOf(domain string) string {
	if domain == "" {
		return "$JS.API."
	}
	return "$JS." + domain + ".API."
}

// answers returns once JetStream does, or fault.Unavailable.
func (b *Bus) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	for {
		err := b.accountInfo(ctx)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
			return fault.Unavailable.New("nats: %s: JetStream is not enabled for this account: %w", b.cfg.Server.URL, err)
		}
		select {
		case <-ctx.Done():
			return fault.Unavailable.New("nats: JetStream of %s does not answer: %w; what is missing says: polity bus check", b.cfg.Server.URL, err)
		case <-time.After(redialEvery):
		}
	}
}

func (b *Bus) accountInfo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestMax)
	defer cancel()
	_, err := b.js.AccountInfo(ctx)
	return err
}

// stream opens a stream, and makes it if it is not there. The embedded server's get the settings of this program. One that is on a server elsewhere keeps those
// that its owner may choose, as replicas and limits; that it is of another kind is fault.Conflict.
func (b *Bus) stream(ctx context.Context, want jetstream.StreamConfig) (jetstream.Stream, error) {
	if b.cfg.Server == nil {
		stream, err := b.js.CreateOrUpdateStream(ctx, want)
		if err != nil {
			return nil, fault.Unavailable.New("%w", err)
		}
		return stream, nil
	}
	stream, err := b.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = b.create(ctx, want)
	}
	if err != nil {
		return nil, fault.Unavailable.New("stream %s: %w; what is missing says: polity bus check", want.Name, err)
	}
	if wrong := differs(stream.CachedInfo().Config, want); len(wrong) > 0 {
		return nil, fault.Conflict.New("stream %s is there with another %s: polity bus setup sets it right", want.Name, strings.Join(wrong, ", "))
	}
	return stream, nil
}

const bytesLeast = 64 << 20 // that a stream with a limit is made with

// create makes a stream. The server reserves what it may hold at most: where an account has less room than that, it may hold less.
func (b *Bus) create(ctx context.Context, want jetstream.StreamConfig) (jetstream.Stream, error) {
	want.Replicas = b.replicas()
	for {
		stream, err := b.js.CreateStream(ctx, want)
		refused, ok := errors.AsType[*jetstream.APIError](err)
		if !ok || !slices.Contains(tooLarge, refused.ErrorCode) || want.MaxBytes <= bytesLeast {
			return stream, err
		}
		want.MaxBytes = max(want.MaxBytes/2, bytesLeast)
	}
}

// tooLarge are the server's codes for a stream that may hold more than there is room for.
var tooLarge = []jetstream.ErrorCode{10002, 10005, 10023, 10047}

// replicas is how many a new stream has.
func (b *Bus) replicas() int {
	switch n := b.cfg.Server.Replicas; {
	case n > 0:
		return n
	case b.nc.ConnectedClusterName() != "":
		return replicasWanted
	default:
		return 1
	}
}

// differs names the settings of a stream that are not as this program relies on them.
func differs(has, want jetstream.StreamConfig) (names []string) {
	for name, same := range map[string]bool{
		"subjects":                      slices.Equal(has.Subjects, want.Subjects),
		"storage":                       has.Storage == want.Storage,
		"retention":                     has.Retention == want.Retention,
		"discard":                       has.Discard == want.Discard,
		"number of messages by subject": max(has.MaxMsgsPerSubject, 0) == want.MaxMsgsPerSubject,
		"allow_direct":                  has.AllowDirect == want.AllowDirect,
		"allow_msg_ttl":                 has.AllowMsgTTL == want.AllowMsgTTL,
		"deny_delete":                   has.DenyDelete == want.DenyDelete,
		"duplicate window":              has.Duplicates == want.Duplicates || want.Duplicates == 0,
		"sealing":                       !has.Sealed,
		"max_age":                       want.MaxAge > 0 || has.MaxAge == 0,
		"mirror":                        has.Mirror == nil && len(has.Sources) == 0,
	} {
		if !same {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// settled returns a stream's last position, looking again at one that ends before a position which was read from it: of a replica that has just begun to
// lead.
func (b *Bus) settled(ctx context.Context, stream jetstream.Stream, after uint64) (uint64, error) {
	last := stream.CachedInfo().State.LastSeq
	for try := 0; last < after && b.cfg.Server != nil && try < lagsMax; try++ {
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(lagWait):
		}
		info, err := stream.Info(ctx)
		if err != nil {
			return 0, err
		}
		last = info.State.LastSeq
	}
	return last, nil
}

// whoAmI is what the server says of a connection.
type whoAmI struct {
	User        string `json:"user"`
	Account     string `json:"account"`
	Permissions *struct {
		Publish   *allowed `json:"publish"`
		Subscribe *allowed `json:"subscribe"`
	} `json:"permissions"`
}

// allowed are subjects that a user may use; without any all that are not denied.
type allowed struct {
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
}

// userInfo asks the server who a connection is. Servers without a system account do not say; then it is nil.
func userInfo(nc *nats.Conn) (*whoAmI, error) {
	m, err := nc.Request("$SYS.REQ.USER.INFO", nil, requestMax)
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Unavailable.New("nats: %w", err)
	}
	var answer struct {
		Data *whoAmI `json:"data"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, fault.Unavailable.New("nats: what the server says of its user cannot be read: %w", err)
	}
	return answer.Data, nil
}

// open says whether somebody without credentials gets into the account that a node has there.
func (s *Server) open(nc *nats.Conn) (bool, error) {
	bare := Server{URL: s.URL, CA: s.CA}
	stranger, err := bare.dial(nats.NoReconnect())
	if errors.Is(err, fault.Denied) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer stranger.Close()
	mine, err := userInfo(nc)
	if err != nil {
		return false, err
	}
	theirs, err := userInfo(stranger)
	if err != nil {
		return false, err
	}
	return mine == nil || theirs == nil || mine.Account == theirs.Account, nil
}

// Embedded says whether the server runs in this process, on a folder.
func (b *Bus) Embedded() bool { return b.cfg.Server == nil }

// Open says whether somebody without credentials gets into the account of the bus's server, and so past every link. It is false for the embedded one.
func (b *Bus) Open() (bool, error) {
	if b.cfg.Server == nil {
		return false, nil
	}
	return b.cfg.Server.open(b.nc)
}
