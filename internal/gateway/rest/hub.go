package rest

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"polity.run"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/run"
)

const (
	ringMax   = 8192             // changes that are kept for those who are slow
	rootsMax  = 50_000           // runs of which the hub knows whose they are
	errorsFor = 10 * time.Minute // how long an error counts
	errorsMax = 10_000           // errors that are counted
	quietFor  = 15 * time.Second // then a stream is told how far the log is
)

// change is a client.Change with its place, and as it is streamed.
type change struct {
	at    place
	body  client.Change
	frame []byte
}

// hub reads the log once for everybody who watches it. It begins with the first of them and goes on until its server closes.
type hub struct {
	engine *engine.Engine
	once   sync.Once

	mu     sync.Mutex
	ring   []*change // the newest, in order
	first  uint64    // the commit from which on the ring has everything
	last   uint64    // the last commit that was read
	news   chan struct{}
	ended  error // why nothing more comes
	errors []failure

	whose whose
}

// failure is an error of an agent.
type failure struct {
	at         time.Time
	org, agent string
}

// begin begins to read, the first time.
func (h *hub) begin(ctx context.Context, grow func(func())) {
	h.once.Do(func() {
		h.last = h.engine.Position()
		h.first = h.last + 1
		grow(func() { h.run(ctx) })
	})
}

// run reads the log until ctx ends.
func (h *hub) run(ctx context.Context) {
	err := h.engine.Feed(ctx, h.first, func(c *run.Commit) error {
		list, err := h.changes(ctx, c)
		if err != nil {
			return err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ring = append(h.ring, list...)
		if over := len(h.ring) - ringMax; over > ringMax/4 { // not one by one
			for over < len(h.ring) && h.ring[over].at.commit == h.ring[over-1].at.commit {
				over++ // a commit is kept whole
			}
			h.first = h.ring[over-1].at.commit + 1
			h.ring = append([]*change(nil), h.ring[over:]...)
		}
		h.count(list)
		h.last = c.Seq
		h.tell()
		return nil
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = err
	h.tell()
}

// tell wakes whoever waits. h.mu is held.
func (h *hub) tell() {
	if h.news != nil {
		close(h.news)
		h.news = nil
	}
}

// count remembers errors. h.mu is held.
func (h *hub) count(list []*change) {
	for _, c := range list {
		if c.body.Fault != nil && c.body.Fault.Kind != fault.Cancelled && (c.body.Kind == "result" || c.body.Kind == "finished") && len(h.errors) < errorsMax {
			h.errors = append(h.errors, failure{c.body.At, c.body.Org, c.body.Agent})
		}
	}
	if len(h.errors) > 0 && time.Since(h.errors[0].at) > errorsFor {
		h.errors = lately(h.errors)
	}
}

func lately(all []failure) []failure {
	var list []failure
	for _, f := range all {
		if time.Since(f.at) <= errorsFor {
			list = append(list, f)
		}
	}
	return list
}

// failures are the errors of the last minutes, as far as the hub has been reading.
func (h *hub) failures() []failure {
	h.mu.Lock()
	defer h.mu.Unlock()
	return lately(h.errors)
}

// changes makes changes of a commit.
func (h *hub) changes(ctx context.Context, c *run.Commit) ([]*change, error) {
	var list []*change
	at := places{}
	for i := range c.Facts {
		f := &c.Facts[i]
		here := at.next(c.Seq)
		if f.Kind == "claim" || f.Taken {
			continue
		}
		body := client.Change{
			ID: here.String(), At: f.At, Commit: c.Seq, Kind: f.Kind, Run: f.Run, Root: f.Run.Root(), Agent: f.Agent, Step: polity.CommandKey(f.Name, f.Attempt),
			To: f.To, Status: f.Status, Fault: f.Kept(), Usage: f.Usage,
		}
		if f.Effect != nil {
			body.To = f.Effect.To
		}
		if f.Run != "" {
			who, err := h.whose.of(ctx, h.engine, f)
			if err != nil {
				return nil, err
			}
			body.Org, body.Agent = who.org, who.agent
		}
		data, err := frame(body.ID, "", body)
		if err != nil {
			return nil, err
		}
		list = append(list, &change{here, body, data})
	}
	return list, nil
}

// whose knows whose runs are.
type whose struct {
	mu   sync.Mutex
	runs map[polity.RunID]owner
}

type owner struct{ org, agent string }

// of returns whose the run of a fact is. What was opened before the hub began to read is looked up, once.
func (w *whose) of(ctx context.Context, e *engine.Engine, f *run.Fact) (owner, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o, known := w.runs[f.Run]
	switch {
	case f.Kind == "opened" || f.Kind == "forked" || f.Kind == "imported":
		o = owner{e.OrgName(f.Release), f.Agent}
		if f.Agent == "" {
			o.agent = w.runs[f.Run].agent
		}
	case !known:
		opening, err := e.Opening(ctx, f.Run)
		if err != nil && ctx.Err() != nil {
			return o, err
		}
		if err == nil { // else it was deleted since
			o = owner{e.OrgName(opening.Release), opening.Agent}
		}
	default:
		if f.Kind == "finished" {
			delete(w.runs, f.Run)
		}
		return o, nil
	}
	if w.runs == nil || len(w.runs) >= rootsMax {
		w.runs = map[polity.RunID]owner{}
	}
	if f.Kind != "finished" {
		w.runs[f.Run] = o
	}
	return o, nil
}

// behind returns the changes behind a place, and how far the log was read. If there are none it returns where to wait for news. old says that
// the ring does not go back so far: they are to be read from the log up to to.
func (h *hub) behind(after place) (list []*change, last uint64, wait <-chan struct{}, old bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if before := (place{h.first - 1, whole}); before.after(after) {
		return nil, before.commit, nil, true, nil
	}
	lo, hi := 0, len(h.ring)
	for lo < hi {
		if mid := (lo + hi) / 2; h.ring[mid].at.after(after) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	if lo < len(h.ring) {
		return h.ring[lo:], h.last, nil, false, nil
	}
	if h.ended != nil {
		return nil, h.last, nil, false, h.ended
	}
	if h.news == nil {
		h.news = make(chan struct{})
	}
	return nil, h.last, h.news, false, nil
}

// errCaught ends the reading of the log when the ring has what follows.
var errCaught = errors.New("the ring goes on from here")

// follow gives the changes behind a place, in order and each once, and then each as it comes, until ctx ends or one of the functions returns an error, which
// is the error that comes back. quiet is told how far the log is when there was nothing for a while.
func (h *hub) follow(ctx context.Context, after place, each func([]*change) error, quiet func(place) error) error {
	give := func(list []*change) error {
		for len(list) > 0 && !list[0].at.after(after) {
			list = list[1:]
		}
		if len(list) == 0 {
			return nil
		}
		after = list[len(list)-1].at
		return each(list)
	}
	timer := time.NewTimer(quietFor)
	defer timer.Stop()
	for ctx.Err() == nil {
		list, last, wait, old, err := h.behind(after)
		switch {
		case err != nil:
		case old:
			err = h.reread(ctx, after, last, give)
			after = later(after, place{last, whole})
		case wait == nil:
			err = give(list)
		}
		if err != nil {
			return err
		}
		if wait == nil {
			continue
		}
		timer.Reset(quietFor)
		select {
		case <-wait:
		case <-timer.C:
			after = later(after, place{last, whole})
			err = quiet(after)
		case <-ctx.Done():
		}
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// watch streams changes behind a place.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, after place, fits func(*client.Change) bool) {
	s.hub.begin(s.ctx, s.work.run)
	ctx, leave := s.untilClosing(r.Context())
	defer leave()
	out := newSSE(w)
	defer out.close()
	said := time.Now()
	at := func(p place) error {
		said = time.Now()
		return out.event(p.String(), "position", map[string]uint64{"commit": p.commit})
	}
	err := s.hub.follow(ctx, after, func(list []*change) error {
		b := batches.Get().(*batch)
		defer b.back()
		for _, c := range list {
			if fits(&c.body) {
				b.frames = append(b.frames, c.frame...)
			}
		}
		switch {
		case len(b.frames) > 0:
			said = time.Now()
			return out.raw(b.frames)
		case time.Since(said) >= quietFor: // much happens, and nothing that is wanted: else a client that comes back would have all of it read again
			return at(list[len(list)-1].at)
		}
		return nil
	}, at)
	s.log.Debug("rest: a stream has ended", "error", err)
}

// batch is what is written to a stream at once: a write for each frame would be a packet for each. Many streams have the same to write, one after the
// other, and share what it is put together in.
type batch struct{ frames []byte }

var batches = sync.Pool{New: func() any { return new(batch) }}

// batchMax is the size up to which a batch is used again, in bytes.
const batchMax = 1 << 20

func (b *batch) back() {
	if cap(b.frames) <= batchMax {
		b.frames = b.frames[:0]
		batches.Put(b)
	}
}

func later(a, b place) place {
	if b.after(a) {
		return b
	}
	return a
}

// reread gives the changes of commits that the ring has no more, up to one.
func (h *hub) reread(ctx context.Context, after place, last uint64, send func([]*change) error) error {
	err := h.engine.Feed(ctx, max(after.commit, 1), func(c *run.Commit) error {
		if c.Seq > last {
			return errCaught
		}
		list, err := h.changes(ctx, c)
		if err == nil {
			err = send(list)
		}
		if err == nil && c.Seq == last {
			err = errCaught
		}
		return err
	})
	if errors.Is(err, errCaught) {
		return nil
	}
	return err
}
