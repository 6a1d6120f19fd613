package script

import (
	"container/list"
	"sync"
)

// LiveMax is how many coroutines a pool keeps by default. One that waits costs about 10 KB, mostly its stack.
const LiveMax = 10_000

// Pool bounds how many coroutines are kept between decisions: those of the runs that were decided least lately are dropped, and made again when
// they are needed. A run has one, and one more for each branch that has not ended. It is safe for concurrent use.
type Pool struct {
	max int

	mu    sync.Mutex
	kept  list.List // of *record, the latest first
	total int       // coroutines of kept
}

// seat is a run's place in its pool, guarded by the pool's lock.
type seat struct {
	place *list.Element // nil while it is being decided, or has nothing to drop
	count int           // of its coroutines
}

// NewPool makes a pool that keeps so many coroutines; 0 is LiveMax, and below that none.
func NewPool(live int) *Pool {
	if live == 0 {
		live = LiveMax
	}
	return &Pool{max: live}
}

// Live returns how many coroutines are kept now.
func (p *Pool) Live() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// take takes a run out, so that nobody drops it.
func (p *Pool) take(r *record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(r)
}

func (p *Pool) remove(r *record) {
	if r.place != nil {
		p.kept.Remove(r.place)
		p.total -= r.count
		r.place = nil
	}
}

// keep puts a run in, and drops others if there are too many.
func (p *Pool) keep(r *record, count int) {
	p.mu.Lock()
	r.count = count
	r.place = p.kept.PushFront(r)
	p.total += count
	var surplus []*record
	for p.total > p.max && p.kept.Len() > 0 {
		old := p.kept.Back().Value.(*record)
		p.remove(old)
		surplus = append(surplus, old)
	}
	p.mu.Unlock()
	for _, old := range surplus { // with no lock but its own: it may be being decided elsewhere
		old.mu.Lock()
		old.drop()
		old.mu.Unlock()
	}
}
