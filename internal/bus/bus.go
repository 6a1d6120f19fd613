// Package bus is the one place that knows NATS: it runs the embedded server, or reaches one that is there, and keeps logs in
// JetStream streams.
//
// It exists so that nothing above it sees a vendor's type. The life of a [Bus]:
//
//	Open (server starts, engine's account connects) -> Log (a stream) -> Append, Last, Read -> Close
package bus

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"polity.run/fault"
)

// Limits of the embedded server.
const (
	payloadMax = 8 << 20          // bytes of one message; logs assume 1 MiB, the rest is head-room
	readyMax   = 30 * time.Second // the server must answer within this after a start
	requestMax = 5 * time.Second  // one management request
	domain     = "polity"         // set from day one, so that the store can join a cluster as a leaf
	engineUser = "engine"
	engineAcct = "ENGINE"
	dupWindow  = 200 * time.Millisecond
)

// Sync says when a write is safe.
type Sync string

// The ways to sync.
const (
	// SyncDisk has every commit on the disk before it is acknowledged: it survives a power cut.
	SyncDisk Sync = "disk"
	// SyncOS leaves it to the operating system: it survives a killed process, not a power cut.
	SyncOS Sync = "os"
)

// Config says where and how.
type Config struct {
	Dir  string // the folder of the store; created with mode 0700
	Sync Sync   // default SyncDisk
	// Server is where the streams are, in place of a folder; nil for the embedded server. When its writes are safe it says itself: see Check.
	Server *Server
	Log    *slog.Logger // of the connection to Server; default: nothing is logged
}

// Bus is a connection to JetStream: to the embedded server, through memory, as that listens on no port, or to one that runs elsewhere.
type Bus struct {
	cfg      Config
	password string
	nc       *nats.Conn
	js       jetstream.JetStream
	requests string // begins the subjects of JetStream's API

	mu  sync.Mutex
	srv *server.Server // nil while it is being started anew, and for one that runs elsewhere
}

// Open starts the server on its folder, or connects to the one that is named. It returns fault.Denied if the folder cannot be written, or the server
// does not take the credentials, and fault.Unavailable if the server does not become ready. Close it.
func Open(ctx context.Context, cfg Config) (*Bus, error) {
	if cfg.Server != nil {
		return reach(ctx, cfg)
	}
	if err := writable(cfg.Dir); err != nil {
		return nil, err
	}
	secret := make([]byte, 24)
	if _, err := rand.Read(secret); err != nil {
		return nil, fault.Internal.New("bus: password: %w", err)
	}
	b := &Bus{cfg: cfg, password: hex.EncodeToString(secret), requests: requestsOf(domain)}
	srv, err := b.serve(ctx)
	if err != nil {
		return nil, err
	}
	b.srv = srv
	if err := b.connect(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// serve starts a server.
func (b *Bus) serve(ctx context.Context) (*server.Server, error) {
	opts, err := options(b.cfg, b.password)
	if err != nil {
		return nil, err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fault.Unavailable.New("bus: start: %w", err)
	}
	srv.Start()
	wait := readyMax
	if d, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(d))
	}
	if !srv.ReadyForConnections(wait) {
		srv.Shutdown()
		return nil, fault.Unavailable.New("bus: start: the embedded server was not ready after %s", wait)
	}
	return srv, nil
}

// Restart starts the server anew. It is for a store that takes nothing any more, as after a disk that was full: the server stops serving it then, for good.
// The connection, logs, buckets and topics stay as they are; what was asked meanwhile is sent again, or answered with fault.Unavailable. It returns what Open
// does, and may be called again after that. It must not be called while Close or another Restart runs. A server that runs elsewhere is not this program's to
// start: Restart returns once it answers again.
func (b *Bus) Restart(ctx context.Context) error {
	if b.cfg.Server != nil {
		return b.answers(ctx)
	}
	again := b.nc.StatusChanged(nats.CONNECTED)
	defer b.nc.RemoveStatusListener(again)
	b.mu.Lock()
	old := b.srv
	b.srv = nil
	b.mu.Unlock()
	if old != nil {
		old.Shutdown()
		old.WaitForShutdown()
	}
	if err := writable(b.cfg.Dir); err != nil {
		return err
	}
	srv, err := b.serve(ctx)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.srv = srv
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	select {
	case <-again: // what is asked from now on reaches the new server
		return nil
	case <-ctx.Done():
		return fault.Unavailable.New("bus: the connection did not come back: %w", context.Cause(ctx))
	}
}

// current is the server that there is now, for the client: it asks again whenever it has lost its connection.
type current struct{ b *Bus }

var _ nats.InProcessConnProvider = current{}

func (c current) InProcessConn() (net.Conn, error) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.b.srv == nil {
		return nil, fault.Unavailable.New("bus: the server is being started")
	}
	return c.b.srv.InProcessConn()
}

// writable makes the folder and proves that a file can be written in it, since the server would
// say so only much later.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Denied.New("bus: open %s: %w", dir, err)
	}
	probe := filepath.Join(dir, ".probe")
	if err := os.WriteFile(probe, []byte("x"), 0o600); err != nil {
		kind := fault.Denied
		if errors.Is(err, errNoSpace) {
			kind = fault.Full
		}
		return kind.New("bus: open: cannot write in %s: %w", dir, err)
	}
	return os.Remove(probe)
}

// options keeps JetStream in an account of the engine's own: no agent's credentials lead there.
func options(cfg Config, password string) (*server.Options, error) {
	opts := &server.Options{}
	conf := fmt.Sprintf("accounts { %s { jetstream: enabled, users: [{user: %s, password: %q}] } }",
		engineAcct, engineUser, password)
	if err := opts.ProcessConfigString(conf); err != nil {
		return nil, fault.Internal.New("bus: configure: %w", err)
	}
	opts.ServerName = "polity"
	opts.DontListen = true
	opts.NoSigs = true
	opts.NoLog = true
	opts.JetStream = true
	opts.JetStreamDomain = domain
	opts.StoreDir = cfg.Dir
	opts.JetStreamMaxStore = storeMax
	opts.MaxPayload = payloadMax
	opts.SyncAlways = cfg.Sync != SyncOS
	return opts, nil
}

// storeMax is what the server takes for the size of its store, in bytes: more than any. It would reserve what streams may have at most, and refuse to open
// the topics on a disk with less. What is free the node looks at itself.
const storeMax = 1 << 50

func (b *Bus) connect() error {
	nc, err := nats.Connect("", nats.InProcessServer(current{b}), nats.UserInfo(engineUser, b.password),
		nats.Name("engine"), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		return fault.Unavailable.New("bus: connect: %w", err)
	}
	b.nc = nc
	b.js, err = jetstream.New(nc)
	if err != nil {
		return fault.Unavailable.New("bus: connect: %w", err)
	}
	return nil
}

// Close stops the connection and the server, and waits for both.
func (b *Bus) Close() {
	if b.nc != nil {
		b.nc.Close()
	}
	if b.srv != nil {
		b.srv.Shutdown()
		b.srv.WaitForShutdown()
	}
}
