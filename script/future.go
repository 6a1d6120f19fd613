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
	result  *seen // of a command that is done
	err     error
	waiter  *task   // who waits for it; nearly always it is one
	waiters []*task // further ones
}

// futures are those of all commands of a run, to be found by key.
type futures struct {
	all   []*Future
	free  []Future           // made with the one before, to allocate seldom
	byKey map[string]*Future // of all, if they are more than scanMax
}

// scanMax is how many futures are looked through, latest first, before they are found by key.
const scanMax = 16

func (s *futures) find(key string) *Future {
	if s.byKey != nil {
		return s.byKey[key]
	}
	for i := len(s.all) - 1; i >= 0; i-- {
		if s.all[i].key == key {
			return s.all[i]
		}
	}
	return nil
}

func (s *futures) add(l *live, key string) *Future {
	if len(s.free) == 0 {
		s.free = make([]Future, min(len(s.all)+1, slabMax))
	}
	f := &s.free[0]
	s.free = s.free[1:]
	f.live, f.key = l, key
	s.all = append(s.all, f)
	switch {
	case s.byKey != nil:
		s.byKey[key] = f
	case len(s.all) > scanMax:
		s.byKey = make(map[string]*Future, 2*scanMax)
		for _, f := range s.all {
			s.byKey[f.key] = f
		}
	}
	return f
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
