// Package until has contexts that end at a time, and cost next to nothing when nobody looks.
//
// It exists because most of what is bounded in time has ended long before: a timer is made when somebody wants to be told.
package until

import (
	"context"
	"sync"
	"time"
)

// Context is a context that ends at a time, when its parent ends, or with End. Its methods are safe for concurrent use.
type Context struct {
	context.Context // the parent
	at              time.Time

	mu    sync.Mutex
	timed context.Context // nil before it was needed
	stop  context.CancelFunc
}

// New makes one. Call End.
func New(parent context.Context, at time.Time) *Context {
	if earlier, ok := parent.Deadline(); ok && earlier.Before(at) {
		at = earlier
	}
	return &Context{Context: parent, at: at}
}

func (c *Context) real() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.stop = context.WithDeadline(c.Context, c.at)
	}
	return c.timed
}

// Deadline is when it ends.
func (c *Context) Deadline() (time.Time, bool) { return c.at, true }

// Done is as of any context.
func (c *Context) Done() <-chan struct{} { return c.real().Done() }

// Err is as of any context.
func (c *Context) Err() error { return c.real().Err() }

// End ends it, for who looks or will.
func (c *Context) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.stop = ended, func() {}
	}
	c.stop()
}

var ended = func() context.Context {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	return ctx
}()
