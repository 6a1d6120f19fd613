package script

import (
	"encoding/json"
	"errors"
	"slices"

	"polity.run"
	"polity.run/fault"
)

// Future is something that was begun: a command, or a branch of the script. Its methods are for the script's own goroutine.
type Future struct {
	live    *live
	key     string // of a command
	task    *task  // of a branch
	done    bool
	stopped bool
	refused bool  // it never began
	result  *seen // of a command that is done
	err     error
	waiter  *task   // who waits for it; nearly always it is one
	waiters []*task // further ones
}

// futures are those of the commands of a run.
type futures struct {
	names []string // of all commands so far
	open  []*Future
	spare *Future // one that nobody has any more
	// known has all names, and opened what is open, if that is more than scanMax.
	known  map[string]bool
	opened map[string]*Future
}

// scanMax is how many are looked through, latest first, before they are found by key.
const scanMax = 16

// used says whether a command has had the name.
func (s *futures) used(key string) bool {
	if s.known != nil {
		return s.known[key]
	}
	return slices.Contains(s.names, key)
}

func (s *futures) add(l *live, key string) *Future {
	f := s.spare
	if s.spare = nil; f == nil {
		f = new(Future)
	}
	f.live, f.key = l, key
	s.names = append(s.names, key)
	switch {
	case s.known != nil:
		s.known[key] = true
	case len(s.names) > scanMax:
		s.known = make(map[string]bool, 2*scanMax)
		for _, name := range s.names {
			s.known[name] = true
		}
	}
	if s.opened == nil && len(s.open) == scanMax {
		s.opened = make(map[string]*Future, 2*scanMax)
		for _, f := range s.open {
			s.opened[f.key] = f
		}
		s.open = nil
	}
	if s.opened != nil {
		s.opened[key] = f
	} else {
		s.open = append(s.open, f)
	}
	return f
}

// take returns what is open under the key, which is not any more, or nil.
func (s *futures) take(key string) *Future {
	if s.opened != nil {
		f := s.opened[key]
		delete(s.opened, key)
		return f
	}
	for i := len(s.open) - 1; i >= 0; i-- {
		if f := s.open[i]; f.key == key {
			last := len(s.open) - 1 // nearly always it is that one
			s.open[i], s.open[last] = s.open[last], nil
			s.open = s.open[:last]
			return f
		}
	}
	return nil
}

// reuse takes back a future that has ended and that nobody else has: a branch keeps what it began.
func (l *live) reuse(f *Future) {
	if f.refused { // maybe since it was asked for by another goroutine, which may look at nothing here
		return
	}
	if t := l.running; f.done && t != nil && !t.branch {
		f.done, f.stopped, f.result, f.err = false, false, nil, nil // nobody waits for it, and it is of no branch
		l.futures.spare = f
	}
}

// waiter is what a task waits for: that enough of some futures have succeeded, or cannot.
type waiter struct {
	enough, spare     int // successes that are wanted, and failures that can be borne
	succeeded, failed int
}

func (w *waiter) over() bool { return w.succeeded >= w.enough || w.failed > w.spare }

func (w *waiter) count(f *Future) {
	if f.err == nil {
		w.succeeded++
	} else {
		w.failed++
	}
}

// settle ends a future, and wakes who waits for it.
func (f *Future) settle(failed *fault.Error) {
	f.done = true
	if failed != nil {
		f.err = failed
	}
	if f.waiter != nil {
		f.waiter.told(f)
	}
	for _, t := range f.waiters {
		t.told(f)
	}
	f.waiter, f.waiters = nil, nil
}

// told counts a future that the task waits for.
func (t *task) told(f *Future) {
	if t.waiter.count(f); t.waiter.over() {
		t.wake()
	}
}

func (f *Future) await(t *task) {
	if f.waiter == nil {
		f.waiter = t
	} else {
		f.waiters = append(f.waiters, t)
	}
}

// leave says that a task waits no longer.
func (f *Future) leave(t *task) {
	if f.waiter == t {
		f.waiter = nil
		return
	}
	if i := slices.Index(f.waiters, t); i >= 0 {
		f.waiters = slices.Delete(f.waiters, i, i+1)
	}
}

// Await waits for the end and returns the fault, if it failed.
func (f *Future) Await() error {
	if err := f.live.wait(1, 0, f); err != nil {
		return err
	}
	return f.err
}

// Decode waits for the end and writes the result of a command to out, a pointer, as json.Unmarshal does, and to a
// *json.RawMessage as it is; nil drops it. A child that
// ended at a bound gives both: its best effort in out, and its fault.Exhausted.
func (f *Future) Decode(out any) error {
	err := f.Await()
	data := f.Data()
	if out == nil || len(data) == 0 || err != nil && !errors.Is(err, fault.Exhausted) {
		return err
	}
	if bad := unmarshal(data, out); bad != nil && err == nil {
		return fault.Invalid.New("script: result of %s: %w", f.key, bad)
	}
	return err
}

// Data returns the result of a command as it is, once it is done: also what an agent that failed had done until then, if it says so. It is not to
// be changed.
func (f *Future) Data() json.RawMessage {
	if f.result == nil {
		return nil
	}
	return f.result.data
}

// Done says whether it has ended.
func (f *Future) Done() bool { return f.done }

// Usage is what a command has consumed, once it is done.
func (f *Future) Usage() polity.Usage {
	if f.result == nil {
		return polity.Usage{}
	}
	return f.result.usage()
}

// Cancel asks it to end, which it does later: as fault.Cancelled, or as it happened to end before that. Cancelling a branch cancels
// the commands and branches that it began and lets it begin nothing more. What has ended stays as it is.
func (f *Future) Cancel() {
	if _, err := f.live.enter("Future.Cancel"); err == nil { // else the run fails by itself
		f.cancel()
	}
}

func (f *Future) cancel() {
	if f.done || f.stopped {
		return
	}
	f.stopped = true
	if f.task == nil {
		f.live.commands = append(f.live.commands, polity.Cancel(f.key))
		return
	}
	f.task.cancelled = true
	for _, b := range f.task.began {
		b.cancel()
	}
}

// wait waits until enough of the futures have succeeded, or more than can be spared have failed. It returns only an error of its use.
func (l *live) wait(enough, spare int, futures ...*Future) error {
	t, err := l.enter("waiting")
	if err != nil {
		return err
	}
	w := &t.waiter
	*w = waiter{enough: enough, spare: spare}
	for _, f := range futures {
		switch {
		case f.live != l:
			return fault.Internal.New("script: a future of another run was waited for")
		case f.task == t:
			return fault.Internal.New("script: a branch waits for itself")
		case f.done:
			w.count(f)
		}
	}
	if w.over() || len(futures) == 0 {
		return nil
	}
	for _, f := range futures {
		if !f.done {
			f.await(t)
		}
	}
	t.block()
	for _, f := range futures {
		if !f.done {
			f.leave(t)
		}
	}
	return nil
}
