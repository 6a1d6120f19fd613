package script

import (
	"sync"
	"sync/atomic"
)

// LiveMax is how many coroutines a pool keeps by default. One that waits costs about 10 KB, mostly its stack.
const LiveMax = 10_000

// idleMax is how many coroutines that run nothing a pool keeps for the next run, as long as any of its runs has not ended.
const idleMax = 64

// Pool bounds how many coroutines are kept between decisions: those of the runs that were decided least lately are dropped, and made again when
// they are needed. A run has one, and one more for each branch that has not ended. It is safe for concurrent use.
type Pool struct {
	max int

	mu    sync.Mutex   // may be taken by who holds a record's
	kept  seat         // of the ring: next is the run that was decided last, prev the one decided least lately
	runs  int          // in the ring
	total int          // coroutines of those
	open  int          // runs that have not ended, with and without coroutines
	idle  []*coroutine // to be used again

	latest atomic.Pointer[seat] // what is next in the ring, to be read without the lock
}

// seat is a run's place in its pool's ring, guarded by the pool's lock.
type seat struct {
	prev, next *seat
	record     *record
	open       bool
	weight     int // of its coroutines
}

// NewPool makes a pool that keeps so many coroutines; 0 is LiveMax, and below that none.
func NewPool(live int) *Pool {
	if live == 0 {
		live = LiveMax
	}
	p := &Pool{max: live}
	p.kept.prev, p.kept.next = &p.kept, &p.kept
	return p
}

// Live returns how many coroutines are kept now.
func (p *Pool) Live() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// keep notes how many coroutines a run has that was just decided, and drops those of others, or of itself, if there are too many. The caller holds the run's lock.
// A run without any has ended.
func (p *Pool) keep(r *record, weight int) {
	if weight == r.weight && p.latest.Load() == &r.seat {
		return // as it was; nobody else takes it out while its lock is held
	}
	surplus, idle := p.put(r, weight)
	for _, c := range idle {
		c.end()
	}
	for _, old := range surplus { // with no lock of the pool: what is deferred in scripts may take its time
		old.drop()
		if old != r {
			old.mu.Unlock()
		}
	}
}

// put returns the runs to drop, which are locked. It waits for none: a run that is being decided elsewhere is in use, and stays.
func (p *Pool) put(r *record, weight int) (surplus []*record, idle []*coroutine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.next != nil {
		p.remove(&r.seat)
	}
	switch {
	case weight > 0 && !r.open:
		r.open = true
		p.open++
	case weight == 0 && r.open:
		r.open = false
		p.open--
	}
	if p.open == 0 {
		idle, p.idle = p.idle, nil
	}
	if weight == 0 {
		return nil, idle
	}
	r.record, r.weight = r, weight
	p.front(&r.seat)
	for i := p.runs; p.total > p.max && i > 0; i-- {
		s := p.kept.prev
		p.remove(s)
		if s.record != r && !s.record.mu.TryLock() {
			p.front(s)
			continue
		}
		surplus = append(surplus, s.record)
	}
	return surplus, nil
}

// coroutine returns one that has nothing to do.
func (p *Pool) coroutine() *coroutine {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle) - 1
	if n < 0 {
		return newCoroutine()
	}
	c := p.idle[n]
	p.idle = p.idle[:n]
	return c
}

// rest takes a coroutine that has nothing to do any more.
func (p *Pool) rest(c *coroutine) {
	c.task = nil
	if !p.lies(c) {
		c.end()
	}
}

func (p *Pool) lies(c *coroutine) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == 0 || len(p.idle) >= idleMax {
		return false
	}
	p.idle = append(p.idle, c)
	return true
}

func (p *Pool) front(s *seat) {
	s.prev, s.next = &p.kept, p.kept.next
	s.prev.next, s.next.prev = s, s
	p.latest.Store(s)
	p.runs++
	p.total += s.weight
}

func (p *Pool) remove(s *seat) {
	s.prev.next, s.next.prev = s.next, s.prev
	s.prev, s.next = nil, nil
	p.latest.Store(p.kept.next)
	p.runs--
	p.total -= s.weight
}
