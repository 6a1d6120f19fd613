package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"polity.run"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/environ"
	"polity.run/fault"
	"polity.run/manifest"
)

const (
	seenShown = 40                     // columns of an observation's ID that are shown
	fullEvery = 200 * time.Millisecond // between two looks whether there is room
)

// watcher has an organization asked about what its origins see.
type watcher struct {
	*app
	manifest *manifest.Manifest
	origins  []*origin
	bounds   polity.Bounds
	once     bool
	asJSON   bool
	slots    chan struct{} // one for each run that may go on at the same time
	box      outbox

	topics func(ctx context.Context, q polity.TopicsRequest) (polity.TopicsAnswer, error) // of the shift's node
	digest string                                                                         // of the release there

	asked map[string]bool // open questions to people that were told

	mu        sync.Mutex // around what follows, and what is printed
	following map[polity.RunID]bool
	ended     int
	failed    int
	left      int // runs that went on when the watcher stopped
}

// toEnd watches on whichever node there is, until the sources are at their end or it is stopped.
func (w *watcher) toEnd(ctx context.Context, timeout time.Duration) error {
	ctx, done := w.interruptible(ctx)
	defer done()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, fault.Timeout.New("stopped after %s", timeout))
		defer cancel()
	}
	dir, err := w.stateDir()
	if err != nil {
		return err
	}
	w.box = outbox{dir: filepath.Join(dir, "watch"), onDisk: w.sync.value == string(engine.SyncDisk)}
	for try := 1; ; try++ {
		w.left = 0
		err = w.shift(ctx)
		var gone processGone
		if !errors.As(err, &gone) || try == takeoversMax || ctx.Err() != nil {
			break
		}
		w.screen.say("note: %s; going on here", clean(gone.Error()))
	}
	if w.left > 0 {
		w.screen.say("note: %s left as it is; the next polity watch of this manifest goes on with what has not ended", count(w.left, "run"))
	}
	switch {
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), fault.Cancelled):
		return nil // as it was meant to end
	case err != nil:
		return err
	case w.failed > 0:
		return ended{exitRunFailed, fmt.Sprintf("%d of %s did not complete; see: polity runs list", w.failed, count(w.ended, "run"))}
	default:
		return nil
	}
}

// shift is the time that a watcher spends with one node.
type shift struct {
	*watcher
	node node
	stop context.CancelCauseFunc
	runs sync.WaitGroup
}

func (w *watcher) shift(whole context.Context) (err error) {
	n, err := w.connect(whole)
	if err != nil {
		return err
	}
	defer closeInto(&err, n)
	ctx, stop := context.WithCancelCause(whole)
	s := &shift{watcher: w, node: n, stop: stop}
	w.topics = n.Topics
	var around sync.WaitGroup
	defer func() { stop(nil); s.runs.Wait(); around.Wait() }()
	switch n := n.(type) {
	case *local:
		n.serve(w.app)
		around.Go(func() { s.mind(ctx, n) })
	case *remote:
		w.screen.say("note: process %d serves the state folder; it does the work", n.PID())
	}
	around.Go(func() { s.people(ctx) })
	if err = s.install(ctx); err == nil {
		err = s.watch(ctx)
	}
	if r, ok := n.(*remote); ok && errors.Is(err, fault.Unavailable) && r.Alive(whole) != nil {
		return processGone{err} // and it is not a source that cannot see any more
	}
	return err
}

// beside watches on a node that serves others, too, until ctx ends or a source is at its end.
func (w *watcher) beside(whole context.Context, n node) error {
	ctx, stop := context.WithCancelCause(whole)
	s := &shift{watcher: w, node: n, stop: stop}
	w.topics = n.Topics
	var around sync.WaitGroup
	defer func() { stop(nil); s.runs.Wait(); around.Wait() }()
	around.Go(func() { s.people(ctx) })
	if err := s.install(ctx); err != nil {
		return err
	}
	return s.watch(ctx)
}

// install has the node know the release before anything was seen, and refuse it if it would break somebody, or not understand what is published.
func (s *shift) install(ctx context.Context) error {
	made, err := s.node.Install(ctx, client.Install{Release: &s.manifest.Release, Files: s.manifest.Blobs})
	s.digest = made.Digest
	return err
}

// published reads what was published, as the release does, from whichever node there is. What it does not understand becomes a dead letter.
func (w *watcher) published(ctx context.Context, pattern string, after uint64, wait time.Duration) (list []environ.Published, next uint64, err error) {
	a, err := w.topics(ctx, polity.TopicsRequest{Read: &polity.TopicRead{Topic: pattern, After: after, Wait: wait, Release: w.digest}})
	for _, e := range a.Events {
		if e.Unread == nil {
			list = append(list, environ.Published{Topic: e.Topic, ID: e.ID, Data: e.Data, At: e.At, Seq: e.Seq})
			continue
		}
		u := polity.TopicUnread{Reader: w.reader(), Seq: e.Seq, Reason: e.Unread.Text}
		if _, err := w.topics(ctx, polity.TopicsRequest{Unread: &u}); err != nil {
			return nil, after, err
		}
		if err := w.tell(happened{Event: "unread", Source: "topic " + pattern, Seen: e.Topic + " " + e.ID, Fault: e.Unread}); err != nil {
			return nil, after, err
		}
	}
	return list, a.Next, err
}

// reader is what dead letters of what is watched are listed as.
func (w *watcher) reader() string {
	name := "watch-" + w.manifest.Release.Name
	return name[:min(len(name), polity.ReaderMax)]
}

// mind stops the shift when its node stops by itself.
func (s *shift) mind(ctx context.Context, l *local) {
	select {
	case <-l.Down():
		s.stop(l.Err())
	case <-ctx.Done():
	}
}

// watch goes on with what was seen earlier, and then runs the sources and what they see to the end.
func (s *shift) watch(ctx context.Context) error {
	earlier, err := s.box.list(s.manifest.Release.Name, s.screen.say)
	if err != nil {
		return err
	}
	origins := map[string]*origin{}
	for _, o := range s.origins {
		origins[o.Key()] = o
	}
	for _, a := range earlier {
		o := origins[a.Origin]
		if o == nil {
			s.screen.say("note: %s was seen by a source that is not watched any more; its run is left alone", clean(clip(a.Seen.ID, seenShown)))
			continue
		}
		if err := s.accept(ctx, o, a.Seen); err != nil {
			return err
		}
	}
	var sources sync.WaitGroup
	for _, o := range s.origins {
		sources.Go(func() {
			emit := func(ctx context.Context, seen environ.Observation) error { return s.accept(ctx, o, seen) }
			run := o.source.Run
			if s.once {
				run = o.source.Once
			}
			if err := run(ctx, emit); err != nil {
				s.stop(err)
			}
		})
	}
	sources.Wait()
	s.runs.Wait()
	return context.Cause(ctx)
}

// accept has what was seen done by a run, unless it is or was. It waits for room. When it returns nil the run is open, or
// was refused for good.
func (s *shift) accept(ctx context.Context, o *origin, seen environ.Observation) error {
	r, err := s.request(o, seen)
	if err != nil || !s.claim(r.ID) {
		return err
	}
	known, err := s.node.Find(ctx, r.ID)
	switch {
	case errors.Is(err, fault.NotFound): // it is news
	case err != nil:
		return s.release(r.ID, err)
	case known.Status.Final() || known.Status == polity.StatusStopped:
		return s.release(r.ID, s.box.drop(r.ID))
	}
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return s.release(r.ID, fault.Cancelled.New("watch: %w", context.Cause(ctx)))
	}
	e := happened{Event: "opened", Run: r.ID, Source: o.name, Seen: seen.ID, Agent: o.Agent}
	if known.ID != "" {
		e.Event = "resumed"
		err = s.node.Resume(ctx, r.ID)
	} else if err = s.box.put(r.ID, awaited{s.manifest.Release.Name, o.Key(), seen}); err == nil {
		err = s.start(ctx, r)
	}
	if err == nil {
		err = s.tell(e)
	}
	if err != nil {
		<-s.slots
		return s.release(r.ID, s.refused(e, err))
	}
	s.runs.Go(func() { s.follow(ctx, e) })
	return nil
}

// start opens a run. If too many wait for those before them, about the same thing, it is opened when some have ended.
func (s *shift) start(ctx context.Context, r client.Request) error {
	for {
		_, err := s.node.Start(ctx, r)
		if r.Conversation == "" || !errors.Is(err, fault.Full) {
			return err
		}
		select {
		case <-time.After(fullEvery):
		case <-ctx.Done():
			return fault.Cancelled.New("watch: %w", context.Cause(ctx))
		}
	}
}

// claim says whether nobody here follows the run yet, and has it followed.
func (s *shift) claim(id polity.RunID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.following[id] {
		return false
	}
	s.following[id] = true
	return true
}

// release takes a claim back, and returns err.
func (s *shift) release(id polity.RunID, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.following, id)
	return err
}

func (s *shift) follows(id polity.RunID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.following[id]
}

// refused tells of what no repetition makes acceptable, and goes on. Any other error is returned.
func (s *shift) refused(e happened, err error) error {
	if !errors.Is(err, fault.Invalid) {
		return err
	}
	s.mu.Lock()
	s.ended++
	s.failed++
	s.mu.Unlock()
	e.Event, e.Fault = "refused", fault.Of(err)
	return errors.Join(s.tell(e), s.box.drop(e.Run))
}

// follow waits for the end of a run and tells it. What it cannot wait for ends the shift.
func (s *shift) follow(ctx context.Context, e happened) {
	o, err := s.node.Wait(ctx, e.Run)
	if err == nil {
		e.Event, e.Status, e.Output, e.Fault, e.Usage = "ended", o.Status.String(), o.Output, o.Fault, &o.Usage
	} else if known, again := s.node.Find(ctx, e.Run); again == nil && known.Status == polity.StatusStopped {
		e.Event, e.Status, e.Fault, err = "ended", known.Status.String(), fault.Of(err), nil
	}
	if err == nil {
		err = errors.Join(s.tell(e), s.box.drop(e.Run))
	}
	s.mu.Lock()
	delete(s.following, e.Run)
	switch {
	case e.Event != "ended":
		s.left++
	case e.Status != polity.StatusCompleted.String() && e.Status != polity.StatusExhausted.String():
		s.failed++
		fallthrough
	default:
		s.ended++
	}
	s.mu.Unlock()
	<-s.slots
	if err != nil {
		s.stop(err) // if it has not stopped already
	}
}

// people says what people are asked by the runs that are followed.
func (s *shift) people(ctx context.Context) {
	tick := time.NewTicker(questionEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		open, err := s.node.Questions(ctx)
		if err != nil {
			continue // whoever follows the runs says so
		}
		earlier := s.asked
		s.asked = map[string]bool{}
		for _, q := range open {
			if !s.follows(q.Run.Root()) {
				continue
			}
			if s.asked[q.Key] = true; earlier[q.Key] {
				continue
			}
			s.screen.say("question: %s\nnote: to answer: %s", questionText(q), howToAnswer(q))
		}
	}
}

// happened is what is printed.
type happened struct {
	At     time.Time       `json:"at"`
	Event  string          `json:"event"` // opened, resumed, refused or ended
	Run    polity.RunID    `json:"run"`
	Source string          `json:"source"`
	Seen   string          `json:"seen"` // the observation's ID
	Agent  string          `json:"agent"`
	Status string          `json:"status,omitempty"` // with ended
	Output json.RawMessage `json:"output,omitempty"` // with ended
	Fault  *fault.Error    `json:"fault,omitempty"`  // with ended and refused
	Usage  *polity.Usage   `json:"usage,omitempty"`  // with ended
}

// tell prints a line.
func (w *watcher) tell(e happened) error {
	e.At = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asJSON {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(e); err != nil {
			return fault.Internal.New("write JSON: %w", err)
		}
		return w.out(b.Bytes())
	}
	text := fmt.Sprintf("%s  %-8s %s  %s: %s", moment(e.At), e.Event, e.Run, clean(e.Source), clean(clip(e.Seen, seenShown)))
	if e.Status != "" {
		text += "  " + e.Status
	}
	if e.Usage != nil {
		text += "  " + usage(*e.Usage)
	}
	if e.Fault != nil {
		text += "  " + clean(shorten(faultText(e.Fault), askShown))
	}
	return w.outf("%s\n", text)
}
