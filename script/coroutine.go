package script

import (
	"iter"
	"runtime"
	"runtime/debug"
)

// coroutine runs tasks, one after the other: making one and having its stack grow costs as much as ten switches.
type coroutine struct {
	task  *task // that it runs, or will
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
}

func newCoroutine() *coroutine {
	c := &coroutine{}
	c.next, c.stop = iter.Pull(c.run)
	return c
}

func (c *coroutine) run(yield func(struct{}) bool) {
	debug.SetPanicOnFault(true) // marks this goroutine: see enter
	c.yield = yield
	for {
		makeRoom(0)
		c.task.run()
		if !yield(struct{}{}) {
			return
		}
	}
}

// makeRoom has the stack grow to what most scripts need, 8 KB, at once: here few frames are to be moved, and in the middle of a call many, twice.
//
//go:noinline
func makeRoom(i int) byte {
	var room [3 << 10]byte
	return room[i]
}

// exited is what a coroutine panics with that ended by runtime.Goexit: else whoever resumed it would end, too.
type exited struct{}

// resume has the coroutine go on until it gives way, and says whether it can do so again. What its task panics with is not seen here.
func (c *coroutine) resume() bool { return survives(c.next) }

// end ends the coroutine where it stands, as by runtime.Goexit.
func (c *coroutine) end() { survives(func() (struct{}, bool) { c.stop(); return struct{}{}, false }) }

func survives(do func() (struct{}, bool)) (more bool) {
	defer func() {
		if x := recover(); x != nil && x != any(exited{}) {
			panic(x) // not one of the script's: task.leave has recovered those
		}
	}()
	_, more = do()
	return more
}

// task is what a coroutine runs: a run's function, or a branch of it.
type task struct {
	live    *live
	do      func()
	on      *coroutine
	blocked bool
	waiter  waiter // while it is blocked
	ended   bool

	branch    bool
	began     []*Future // by a branch, to be cancelled with it
	cancelled bool
}

func (t *task) run() {
	defer t.leave()
	t.do()
	t.ended = true
}

func (t *task) leave() {
	if t.ended {
		return
	}
	t.ended = true
	x := recover()
	if !t.live.unwound && t.live.broken == nil {
		t.live.broken = panicked(x)
	}
	if x == nil || t.live.unwound { // the latter: a deferred function panicked while it was dropped
		panic(exited{})
	}
}

// block gives way until the task is made ready.
func (t *task) block() {
	t.blocked = true
	if !t.on.yield(struct{}{}) {
		runtime.Goexit() // it was dropped; unlike a panic this cannot be recovered on the way
	}
}

// keep remembers what a branch began.
func (t *task) keep(f *Future) {
	if t.branch {
		t.began = append(t.began, f)
	}
}

func (t *task) wake() {
	if t.blocked {
		t.blocked = false
		t.live.ready = append(t.live.ready, t)
	}
}
