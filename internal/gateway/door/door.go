// Package door is where requests by HTTP come in.
//
// It exists so that whatever is served (package rest, the console, a page of metrics) is behind the same checks, and none can forget
// one. The life of a request:
//
//	a connection -> Host and Origin -> who asks -> the rule of its route -> access.Decide -> how often -> a record, if it changes something -> the handler
//
// What has no rule is denied. The life of a door:
//
//	Open: listen, write the address into the state folder -> Serve routes -> Run -> Close: take the address away again
package door

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/access"
)

// The limits of a door.
const (
	BodyMax      = 16 << 20 // bytes of a request
	tokenBytes   = 32
	headerMax    = 64 << 10         // bytes of a request's header
	headerWait   = 5 * time.Second  // for a request's header
	readWait     = 60 * time.Second // for a whole request
	WriteWait    = 30 * time.Second // for an answer, and for each piece of a stream
	idleWait     = 2 * time.Minute  // for the next request on a connection
	shutdownWait = 2 * time.Second  // answers in flight get this long when the door closes
)

// TokenFile is the file in the state folder that holds the owner's token. It is made at the first start.
const TokenFile = "token"

// How a door that other machines reach shows who it is.
const (
	TLSOwn = "own" // with a certificate of the node's own, which lies in the state folder
	TLSOff = "off" // not at all: something before it does
)

// Config says what a door is like. The zero value is one on a free port of this machine.
type Config struct {
	// Listen is HOST:PORT; default a free port of 127.0.0.1. With TLS there is a second door, on a free port of 127.0.0.1, for this machine's user.
	Listen string
	// TLS is TLSOwn, TLSOff, or "": with the certificate of Cert and Key, and without them only where no other machine comes.
	TLS       string
	Cert, Key string // files, PEM, that are read again when they change
	// Hosts are names by which the node is reached, beside those of its certificate; with a port, or for any.
	Hosts []string
	// Issuer knows who comes with a token that is neither the owner's nor an API key; nil: nobody does.
	Issuer Issuer
	Log    *slog.Logger // default: nothing is logged
}

// Issuer knows who comes with a token.
type Issuer interface {
	Who(ctx context.Context, token string) (access.Who, error)
}

// Door is one of a node. Its methods are safe for concurrent use.
type Door struct {
	cfg     Config
	engine  *engine.Engine
	log     *slog.Logger
	book    *access.Book
	file    string
	token   string
	owner   string // the name of the user who runs the node
	http    *http.Server
	local   net.Listener // of this machine, without TLS; it may be the only one
	public  net.Listener // with TLS, or nil
	cert    *certificate
	ctx     context.Context // of everything that goes through the door
	stop    context.CancelFunc
	drains  atomic.Bool   // it is not ready any more, and still serves
	closing chan struct{} // closed when the door begins to close
	once    sync.Once
	closed  error

	routes routes
	codes  codes
	rates  rates
}

// Open listens, and says in the engine's state folder how it is reached. It serves nothing until Run, but what comes in meanwhile waits. It returns
// fault.Unavailable if it cannot listen, fault.Denied if it cannot write, and fault.Invalid for a Config that cannot be. Close it before the engine.
func Open(ctx context.Context, e *engine.Engine, cfg Config) (*Door, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	d := &Door{cfg: cfg, engine: e, log: cfg.Log, closing: make(chan struct{}), file: filepath.Join(e.State(), client.AddressFile), owner: "owner"}
	if u, err := user.Current(); err == nil && u.Username != "" {
		d.owner = u.Username
	}
	var err error
	if d.book, err = e.Access(ctx); err != nil {
		return nil, err
	}
	if d.token, err = ownToken(filepath.Join(e.State(), TokenFile)); err != nil {
		return nil, err
	}
	d.ctx, d.stop = context.WithCancel(context.WithoutCancel(ctx))
	d.http = &http.Server{
		Handler: http.HandlerFunc(d.guard), BaseContext: func(net.Listener) context.Context { return d.ctx },
		ReadHeaderTimeout: headerWait, ReadTimeout: readWait, WriteTimeout: WriteWait, IdleTimeout: idleWait,
		MaxHeaderBytes: headerMax, ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	d.own()
	if err = d.bind(); err == nil {
		err = d.announce()
	}
	if err != nil {
		d.stop()
		return nil, errors.Join(err, d.unbind())
	}
	return d, nil
}

// bind listens.
func (d *Door) bind() error {
	secure, err := d.secure()
	if err != nil {
		return err
	}
	at := d.cfg.Listen
	if secure != nil {
		l, err := net.Listen("tcp", at)
		if err != nil {
			return fault.Unavailable.New("door: %w", err)
		}
		d.public, at = tls.NewListener(l, secure), "127.0.0.1:0"
	}
	if d.local, err = net.Listen("tcp", at); err != nil {
		return fault.Unavailable.New("door: %w", err)
	}
	return nil
}

// unbind listens no more.
func (d *Door) unbind() (err error) {
	for _, l := range []net.Listener{d.local, d.public} {
		if l == nil {
			continue
		}
		if e := l.Close(); e != nil && !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// localURL is where this machine's user reaches the door.
func (d *Door) localURL() string {
	_, port, err := net.SplitHostPort(d.local.Addr().String())
	if err != nil {
		panic("door: an address without a port: " + err.Error()) // it is a listener's
	}
	return "http://" + net.JoinHostPort("127.0.0.1", port)
}

// URL is where the door is for others.
func (d *Door) URL() string {
	if d.public == nil {
		return d.localURL()
	}
	host, port, err := net.SplitHostPort(d.public.Addr().String())
	if ip := net.ParseIP(host); err == nil && (ip == nil || ip.IsUnspecified()) {
		host = d.cert.name()
	}
	return "https://" + net.JoinHostPort(host, port)
}

// Certificate is the file of the certificate that the door shows; "" for none.
func (d *Door) Certificate() string {
	if d.cert == nil {
		return ""
	}
	return d.cert.file
}

// Closing is closed when the door begins to close.
func (d *Door) Closing() <-chan struct{} { return d.closing }

// Context is one that ends when the door has closed.
func (d *Door) Context() context.Context { return d.ctx }

// Run serves until ctx ends or Close is called, and then closes the door. It returns nil unless serving failed.
func (d *Door) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		if err := d.Close(); err != nil {
			d.log.Warn("close the door", "error", err)
		}
	})()
	serve := func(l net.Listener) error {
		if err := d.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return errors.Join(fault.Unavailable.New("door: serve: %w", err), d.Close())
		}
		return nil
	}
	var beside sync.WaitGroup
	var err error
	if d.public != nil {
		beside.Go(func() { err = serve(d.public) })
	}
	first := serve(d.local)
	beside.Wait()
	return errors.Join(first, err, d.Close())
}

// Drain has the door say that it is not ready, while it serves as before: whoever spreads requests over several nodes learns that this one is about to close.
func (d *Door) Drain() { d.drains.Store(true) }

// Close takes the address away and waits for what is in flight. Close may be called more than once.
func (d *Door) Close() error {
	d.once.Do(func() {
		d.Drain()
		err := d.withdraw()
		close(d.closing)
		ctx, cancel := context.WithTimeout(d.ctx, shutdownWait)
		defer cancel()
		e := d.http.Shutdown(ctx)
		d.stop()
		if e != nil {
			err = errors.Join(err, d.http.Close())
		}
		d.closed = errors.Join(err, d.unbind())
	})
	return d.closed
}

// ownToken returns the owner's token, and makes one if there is none.
func ownToken(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err == nil {
		info, err := os.Stat(path)
		switch token := strings.TrimSpace(string(data)); {
		case err != nil:
			return "", fault.Denied.New("door: token: %w", err)
		case info.Mode().Perm()&0o077 != 0:
			return "", fault.Denied.New("door: others may read or write %s (mode %04o, want 0600): remove it, and the next start makes another token", path, info.Mode().Perm())
		case token == "": // a power cut, before these files were synced
		case len(token) < tokenBytes:
			return "", fault.Damaged.New("door: %s holds no token: remove it, and the next start makes one", path)
		default:
			return token, nil
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fault.Denied.New("door: token: %w", err)
	}
	random := make([]byte, tokenBytes)
	rand.Read(random) // which never fails
	token := base64.RawURLEncoding.EncodeToString(random)
	return token, write(path, []byte(token+"\n"))
}

// write writes a file, whole or not at all, for the user alone.
func write(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".door-*") // with mode 0600
	if err != nil {
		return fault.Denied.New("door: open: %w", err)
	}
	if _, err = tmp.Write(data); err == nil {
		err = tmp.Sync() // else a power cut may leave the name and nothing in it
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fault.Denied.New("door: open: write %s: %w", path, errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}

// announce writes the address.
func (d *Door) announce() error {
	data, err := json.Marshal(client.Address{URL: d.localURL(), Token: d.token, PID: os.Getpid()})
	if err != nil {
		return fault.Internal.New("door: open: %w", err)
	}
	return write(d.file, append(data, '\n'))
}

// withdraw removes the address, unless it is somebody else's by now.
func (d *Door) withdraw() error {
	data, err := os.ReadFile(d.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var at client.Address
	if err == nil {
		err = json.Unmarshal(data, &at)
	}
	if err != nil || at.URL != d.localURL() || at.PID != os.Getpid() {
		return err
	}
	if err := os.Remove(d.file); err != nil {
		return fmt.Errorf("door: close: %w", err)
	}
	return nil
}
