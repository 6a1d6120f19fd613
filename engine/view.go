package engine

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/run"
	"polity.run/internal/view"
)

// views holds the node's view from when it is first asked for.
type views struct {
	log *slog.Logger
	dsn string

	mu     sync.Mutex
	view   *view.View
	stop   context.CancelFunc
	ended  chan struct{}
	closed bool
}

// view opens the node's view, the first time.
func (e *Engine) view() (*view.View, error) {
	v := &e.views
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, fault.Unavailable.New("engine: the node is stopping")
	}
	if v.view != nil {
		return v.view, nil
	}
	opened, err := view.Open(e.viewConfig())
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	v.view, v.stop, v.ended = opened, stop, make(chan struct{})
	go func() {
		defer close(v.ended)
		opened.Run(ctx)
	}()
	return opened, nil
}

func (e *Engine) viewConfig() view.Config {
	return view.Config{Dir: filepath.Join(e.state, "view"), DSN: e.views.dsn, Log: e.part, Person: e.catalog.person, Name: e.catalog.name, Logger: e.views.log}
}

// close ends the view. Questions that come later are refused.
func (v *views) close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	if v.view == nil {
		return nil
	}
	v.stop()
	<-v.ended
	err := v.view.Close()
	v.view = nil
	return err
}

// person says whether an agent of a release is a person. What a release says never changes; one that is gone has none.
func (c *catalog) person(d run.Digest, name string) bool {
	r, err := c.release(d)
	if err != nil {
		return false
	}
	a := r.doc.Agent(name)
	return a != nil && a.Kind == agent.KindHuman
}

// name is what a release is called; "" if it is not to be had.
func (c *catalog) name(d run.Digest) string {
	r, err := c.release(d)
	if err != nil {
		return ""
	}
	return r.doc.Name
}

// Lookup asks the node's view, which is made from the log beside what the node does. It answers with everything that was acknowledged before
// it was asked, if the view comes that far within Lookup.Wait; Found.View says how far it is. See view.View.Lookup for what comes back.
func (e *Engine) Lookup(ctx context.Context, q polity.Lookup) (polity.Found, error) {
	v, err := e.view()
	if err != nil {
		return polity.Found{}, err
	}
	live := view.Live{Current: e.part.Current}
	stopped, err := e.part.Stopped(ctx)
	if err != nil {
		return polity.Found{}, err
	}
	for _, id := range stopped {
		live.Stopped = append(live.Stopped, string(id))
	}
	found, err := v.Lookup(ctx, q, live)
	if err != nil {
		return polity.Found{}, err
	}
	return found, e.current(ctx, found.Runs)
}

// current adds to runs that have not ended what only the kernel knows: what they used by now, and whether anybody goes on with them.
func (e *Engine) current(ctx context.Context, rows []polity.RunRow) error {
	var ids []polity.RunID
	for _, r := range rows {
		if !r.Status.Final() {
			ids = append(ids, r.ID.Root())
		}
	}
	if len(ids) == 0 {
		return nil
	}
	now, err := e.part.Current(ctx, ids)
	if err != nil {
		return err
	}
	for i := range rows {
		r := &rows[i]
		s, ok := now[r.ID.Root()]
		if !ok || r.Status.Final() || s.Status.Final() {
			continue
		}
		r.Status, r.Parked, r.Paused, r.Fault = s.Status, s.Parked, s.Paused, s.Fault
		if r.ID.Parent() == "" {
			r.Usage, r.Waiting, r.Conversation = s.Usage, s.Waiting, s.Conversation
		}
	}
	return nil
}

// Position is the commit that was acknowledged last. A Lookup with it tells of everything that was answered before.
func (e *Engine) Position() uint64 { return e.part.Tip() }

// RebuildView throws the view away and begins to make it again.
func (e *Engine) RebuildView(ctx context.Context) error {
	v, err := e.view()
	if err != nil {
		return err
	}
	return v.Rebuild(ctx)
}

// VerifyView compares the view, as it is now, with one that is made anew from the log, row by row. It takes as long as a rebuild, and changes nothing:
// RebuildView is what mends a view. tell, if not nil, is told of the progress. It returns fault.NotFound if there is no view; damage is no error.
func (e *Engine) VerifyView(ctx context.Context, tell func(polity.Progress)) (polity.ViewCheck, error) {
	return view.Verify(ctx, e.viewConfig(), tell)
}
