// Package rest is what a running node answers to others: other terminals of its user, programs, and people's browsers.
//
// It exists because one process at a time serves a state folder, and every other one that wants something of it has to ask. Who may ask
// what is looked after by package door; here every route has a rule.
//
// Package client is the other side, and owns the form of what is said.
package rest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"polity.run/engine"
	"polity.run/internal/gateway/door"
)

// The limits of what is asked.
const (
	BodyMax      = door.BodyMax
	writeWait    = door.WriteWait
	writeSlack   = time.Second
	pollWait     = 20 * time.Second // a question for a run's end is answered after this, ended or not
	sseHeartbeat = 15 * time.Second // server-sent events say at least this often that they are alive
	heartbeat    = 10 * time.Second // a stream says at least this often that it is alive
)

// Server answers what is asked of one node. Its methods are safe for concurrent use.
type Server struct {
	engine  *engine.Engine
	door    *door.Door
	log     *slog.Logger
	ctx     context.Context // of everything that goes through the door
	closing <-chan struct{} // closed when the door begins to close
	rules   door.Rules
	api     huma.API
	hub     hub
	hooks   hooks
	started count // runs that were started or resumed through the door and have not ended
	work    count // what goes on until the door has closed
}

// Open opens a door on a free port of this machine behind which nothing else is served: see door.Open, whose errors it returns.
func Open(e *engine.Engine, log *slog.Logger) (*Server, error) {
	d, err := door.Open(context.Background(), e, door.Config{Log: log})
	if err != nil {
		return nil, err
	}
	return New(e, d, log), nil
}

// New has a door serve a node.
func New(e *engine.Engine, d *door.Door, log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{engine: e, door: d, log: log, ctx: d.Context(), closing: d.Closing(), rules: door.Rules{}}
	s.hub.engine = e
	d.Serve(s.routes(), s.rules)
	s.work.run(s.beginHooks)
	return s
}

// Run serves until ctx ends or Close is called, and then closes the door. It returns nil unless serving failed.
func (s *Server) Run(ctx context.Context) error { return errors.Join(s.door.Run(ctx), s.Close()) }

// Close closes the door and waits for what is in flight. Whoever follows a run that has ended still hears of its end; who waits for one that has not is
// told to ask again. Close may be called more than once.
func (s *Server) Close() error {
	err := s.door.Close()
	<-s.started.none()
	<-s.work.none()
	return err
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
