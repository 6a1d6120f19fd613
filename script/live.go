package script

import (
	"fmt"
	"math/rand/v2"
	"path"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"

	"polity.run"
	"polity.run/fault"
	"polity.run/saga"
)

// live is the coroutines of a run and what they share. Only one of them runs at a time, and only while the run is decided.
type live struct {
	decider *decider
	opened  *polity.Event // the record's
	now     int64         // in nanoseconds since 1970
	random  *rand.Rand
	futures futures
	tasks   []*task // that have not ended; the first is the function itself
	ready   []*task // in the order in which they will run
	running *task

	commands []polity.Command // of the answer that is being decided
	end      polity.Command
	over     bool         // the function has returned
	broken   *fault.Error // it panicked
	unwound  bool         // it is being dropped
	stopping *fault.Error // why the run is to end
	stray    atomic.Pointer[fault.Error]

	sagas   []*Steps       // that have not ended
	reports []*saga.Report // of those that were undone

	room room
}

// room is what most runs need, made with the rest.
type room struct {
	task     task
	context  Context
	tasks    [1]*task
	ready    [1]*task
	names    [12]string
	open     [1]*Future
	commands [1]polity.Command
}

func newLive(d *decider, opened *polity.Event) *live {
	l := &live{decider: d, opened: opened}
	l.tasks, l.ready, l.commands = l.room.tasks[:0], l.room.ready[:0], l.room.commands[:0]
	l.futures.names, l.futures.open = l.room.names[:0], l.room.open[:0]
	l.room.context.live = l
	l.begin(&l.room.task, func() {
		out, err := d.fn(&l.room.context, opened.Data)
		l.over = true
		l.end = polity.Finish(out)
		if err != nil {
			l.end = l.failed(fault.Of(err))
		}
	})
	return l
}

// failed ends the run with a fault, and what became of what was done.
func (l *live) failed(f *fault.Error) polity.Command {
	if len(l.reports) == 0 {
		return polity.Fail(f)
	}
	out, err := marshal(map[string]any{"saga": saga.Join(l.reports)})
	if err != nil {
		return polity.Fail(fault.Of(err))
	}
	return polity.FailWith(f, out)
}

// undoes says whether something was done that has to be undone when the run ends here.
func (l *live) undoes() bool { return slices.ContainsFunc(l.sagas, (*Steps).undoes) }

// step tells of an event, lets everything run that can, and returns what was asked for. At the end that is only how the run ends: what
// was begun at the same time would be cancelled at once.
func (l *live) step(s *seen) ([]polity.Command, *fault.Error) {
	l.now, l.commands = s.at, l.commands[:0]
	if s.rest != nil && s.rest.stops { // it hears of that from what it waits for, and its sagas at their end
		l.stopping = s.rest.fault
	} else if f := l.futures.take(s.key); f != nil {
		f.result = s
		f.settle(s.fault())
	}
	for i := 0; i < len(l.ready) && !l.over && l.broken == nil; i++ { // it grows meanwhile
		l.resume(l.ready[i])
	}
	l.ready = l.ready[:0]
	if f := l.stray.Load(); f != nil {
		return nil, f
	}
	if l.over {
		l.commands = append(l.commands[:0], l.end)
	}
	return l.commands, l.broken
}

// begin has a new task run after those that are ready.
func (l *live) begin(t *task, do func()) *task {
	t.live, t.do, t.on = l, do, l.decider.pool.coroutine()
	t.on.task = t
	l.tasks = append(l.tasks, t)
	l.ready = append(l.ready, t)
	return t
}

// resume lets a task run until it waits or ends.
func (l *live) resume(t *task) {
	l.running = t
	defer func() { l.running = nil }()
	more := t.on.resume()
	if !t.ended {
		return
	}
	l.tasks = slices.DeleteFunc(l.tasks, func(o *task) bool { return o == t })
	if more {
		l.decider.pool.rest(t.on)
	}
}

// unwind ends all tasks where they stand; what their functions deferred is done, and can ask for nothing.
func (l *live) unwind() {
	l.unwound = true
	for len(l.tasks) > 0 {
		t := l.tasks[len(l.tasks)-1]
		l.tasks = l.tasks[:len(l.tasks)-1]
		t.on.end()
	}
}

// enter checks that a method of the context is called by the script itself, and returns the coroutine that calls. It knows its goroutines by a
// flag that the runtime keeps for each, that begins as false, and that tells its old value when it is set.
func (l *live) enter(method string) (*task, error) {
	mine := debug.SetPanicOnFault(true)
	if !mine {
		debug.SetPanicOnFault(false)
	}
	switch {
	case mine && l.unwound:
		return nil, fault.Cancelled.New("script: the coroutine is being dropped; a deferred function asks for nothing")
	case !mine || l.running == nil:
		f := fault.Of(fault.Internal.New("script: %s was called from another goroutine than the script's own; use Context.Go instead of go", method))
		l.stray.CompareAndSwap(nil, f)
		return nil, f
	}
	return l.running, nil
}

// The first lines of a stack, in the fault of a script that panicked.
const (
	linesMax = 4
	depthMax = 64
)

// panicked is the fault of a script that panicked with x, with where it did. It is called while the panic unwinds.
func panicked(x any) *fault.Error {
	if f, ok := x.(*fault.Error); ok && f.Kind == fault.Diverged {
		return f
	}
	if x == nil {
		return fault.Of(fault.Internal.New("script: it ended by runtime.Goexit (as by FailNow of a test); return an error instead"))
	}
	pcs := make([]uintptr, depthMax)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	var lines []string
	for more, below := true, false; more && len(lines) < linesMax; {
		var f runtime.Frame
		f, more = frames.Next()
		name := path.Base(f.Function)
		switch {
		case strings.HasPrefix(f.Function, "runtime."):
			below = below || name == "runtime.gopanic"
		case below && !strings.HasPrefix(f.Function, "polity.run/script."):
			lines = append(lines, fmt.Sprintf("%s (%s:%d)", name, path.Base(f.File), f.Line))
		}
	}
	return fault.Of(fault.Internal.New("script: panic: %v; at %s", x, strings.Join(lines, ", called by ")))
}
