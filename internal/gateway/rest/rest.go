// Package rest is the door of a running node for the other processes of its user: HTTP on the
// loopback interface, behind a token that only the user can read.
//
// It exists because one process at a time serves a state folder: another terminal that lists, follows,
// resumes or cancels runs asks that process. The life of a server:
//
//	Open: listen, write the address into the state folder -> Run -> Close: take it away again
//
// Package client is the other side, and owns the form of what is said.
package rest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
)

// The limits of the door.
const (
	BodyMax      = 16 << 20 // bytes of a request
	tokenBytes   = 32
	headerMax    = 64 << 10         // bytes of a request's header
	headerWait   = 5 * time.Second  // for a request's header
	readWait     = 60 * time.Second // for a whole request
	writeWait    = 30 * time.Second // for an answer, and for each piece of a stream
	idleWait     = 2 * time.Minute  // for the next request on a connection
	sseHeartbeat = 15 * time.Second // and one of server-sent events
	pollWait     = 20 * time.Second // a question for a run's end is answered after this, ended or not
	heartbeat    = 10 * time.Second // a stream says at least this often that it is alive
	shutdownWait = 2 * time.Second  // answers in flight get this long when the door closes
)

// Server is the door of one node. Its methods are safe for concurrent use.
type Server struct {
	engine  *engine.Engine
	log     *slog.Logger
	file    string
	host    string
	token   [sha256.Size]byte // its hash
	raw     string
	http    *http.Server
	listen  net.Listener
	ctx     context.Context // of everything that goes through the door
	stop    context.CancelFunc
	closing chan struct{} // closed when the door begins to close
	once    sync.Once
	closed  error
	api     huma.API
	hub     hub
	started count // runs that were started or resumed through the door and have not ended
}

// Open listens on a free port and says in the engine's state folder how it is reached. It serves
// nothing until Run, but what comes in meanwhile waits. It returns fault.Unavailable if it cannot
// listen, and fault.Denied if it cannot write. Close it before the engine.
func Open(e *engine.Engine, log *slog.Logger) (*Server, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	token := make([]byte, tokenBytes)
	if _, err := rand.Read(token); err != nil {
		return nil, fault.Internal.New("rest: open: %w", err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fault.Unavailable.New("rest: open: %w", err)
	}
	s := &Server{
		engine: e, log: log, listen: l, host: l.Addr().String(), closing: make(chan struct{}),
		file: filepath.Join(e.State(), client.AddressFile), raw: base64.RawURLEncoding.EncodeToString(token),
	}
	s.hub.engine = e
	s.token = sha256.Sum256([]byte("Bearer " + s.raw))
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler: s.guard(s.routes()), BaseContext: func(net.Listener) context.Context { return s.ctx },
		ReadHeaderTimeout: headerWait, ReadTimeout: readWait, WriteTimeout: writeWait, IdleTimeout: idleWait,
		MaxHeaderBytes: headerMax, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	if err := s.announce(); err != nil {
		s.stop()
		return nil, errors.Join(err, l.Close())
	}
	return s, nil
}

// Run serves until ctx ends or Close is called, and then closes the door. It returns nil unless serving failed.
func (s *Server) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		if err := s.Close(); err != nil {
			s.log.Warn("close the door", "error", err)
		}
	})()
	err := s.http.Serve(s.listen)
	if !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(fault.Unavailable.New("rest: serve: %w", err), s.Close())
	}
	return s.Close()
}

// Close takes the address away and waits for what is in flight. Whoever follows a run that has ended
// still hears of its end; who waits for one that has not is told to ask again. Close may be called
// more than once.
func (s *Server) Close() error {
	s.once.Do(func() {
		err := s.withdraw()
		close(s.closing)
		ctx, cancel := context.WithTimeout(s.ctx, shutdownWait)
		defer cancel()
		e := s.http.Shutdown(ctx)
		s.stop()
		if e != nil {
			err = errors.Join(err, s.http.Close())
		}
		if e := s.listen.Close(); e != nil && !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
		<-s.started.none()
		s.closed = err
	})
	return s.closed
}

// Idle returns when every run that was started or resumed through the door has ended, the door is closed, or ctx
// ends: then with its error.
func (s *Server) Idle(ctx context.Context) error {
	select {
	case <-s.started.none():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// count counts what is under way. Unlike a WaitGroup it may be waited for while it grows from zero.
type count struct {
	mu   sync.Mutex
	n    int
	zero chan struct{} // closed when n is zero again
}

// run does f in a goroutine, and counts it until it returns.
func (c *count) run(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n++; c.n == 1 {
		c.zero = make(chan struct{})
	}
	go func() {
		defer c.done()
		f()
	}()
}

func (c *count) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 {
		close(c.zero)
	}
}

// none returns a channel that is closed when nothing is under way.
func (c *count) none() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.zero == nil {
		c.zero = make(chan struct{})
		close(c.zero)
	}
	return c.zero
}

// announce writes the address, whole or not at all, for the user alone.
func (s *Server) announce() error {
	data, err := json.Marshal(client.Address{URL: "http://" + s.host, Token: s.raw, PID: os.Getpid()})
	if err != nil {
		return fault.Internal.New("rest: open: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(s.file), ".serve-*") // with mode 0600
	if err != nil {
		return fault.Denied.New("rest: open: %w", err)
	}
	_, err = tmp.Write(append(data, '\n'))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), s.file)
	}
	if err != nil {
		return fault.Denied.New("rest: open: write the address: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}

// withdraw removes the address, unless it is somebody else's by now.
func (s *Server) withdraw() error {
	data, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var at client.Address
	if err == nil {
		err = json.Unmarshal(data, &at)
	}
	if err != nil || at.Token != s.raw {
		return err
	}
	if err := os.Remove(s.file); err != nil {
		return fmt.Errorf("rest: close: %w", err)
	}
	return nil
}
