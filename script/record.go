package script

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"sync"
	"time"

	"polity.run"
	"polity.run/fault"
)

// decider asks the function of a script as the kernel asks a decider.
type decider struct {
	pool     *Pool
	seed     maphash.Seed // of the marks; they are compared only within this process
	versions []string     // of the script, the oldest first
	version  int          // that its runs were opened with
	fn       func(c *Context, input json.RawMessage) (json.RawMessage, error)
}

// under returns the same script for runs that were opened with the i-th version.
func (d *decider) under(i int) *decider {
	same := *d
	same.version = i
	return &same
}

// record is the state of one run: what it was told and what it asked for. The coroutines can be made again from that.
type record struct {
	seat // in the pool

	mu     sync.Mutex // a pool may drop the coroutines while another run is decided
	opened polity.Event
	first  *seen
	last   *seen
	room   [2]seen // the first ones
	free   []seen  // made with the one before, to allocate seldom
	bytes  []byte  // room for small results, likewise
	steps  int
	live   *live // nil if it was dropped
	undoes bool  // it is in a saga that has something to undo
	ended  bool
}

// seen is an event as it is kept, and what was asked for then.
type seen struct {
	next  *seen
	at    int64  // in nanoseconds since 1970
	key   string // of the command that it is a result of; "" for the opening
	data  json.RawMessage
	asked mark // the first command; most steps have one
	rest  *rest
}

// rest is what most events have nothing of.
type rest struct {
	fault *fault.Error
	usage polity.Usage
	stops bool   // it is no result: the run is to end, for the fault
	asked []mark // further commands
}

func (s *seen) more() *rest {
	if s.rest == nil {
		s.rest = &rest{}
	}
	return s.rest
}

func (s *seen) fault() *fault.Error {
	if s.rest == nil {
		return nil
	}
	return s.rest.fault
}

func (s *seen) usage() polity.Usage {
	if s.rest == nil {
		return polity.Usage{}
	}
	return s.rest.usage
}

// mark returns the i-th, or that of nothing.
func (s *seen) mark(i int) mark {
	switch {
	case i == 0:
		return s.asked
	case s.rest != nil && i <= len(s.rest.asked):
		return s.rest.asked[i-1]
	default:
		return mark{}
	}
}

// mark is what is kept of a command, to know it again. That of nothing is zero.
type mark struct {
	do  polity.Verb
	key string
	to  string
	sum uint64 // of skill and input; of a sleep its time
}

func (m *mark) String() string {
	if m.do == 0 {
		return "nothing more"
	}
	return polity.Command{Do: m.do, Name: m.key, To: m.to, After: time.Duration(m.sum)}.String()
}

// slabMax is how many small things are made at once at most.
const slabMax = 8

// see keeps an event.
func (r *record) see(e *polity.Event) *seen {
	switch {
	case r.steps == 0:
		r.free = r.room[:]
	case len(r.free) == 0:
		r.free = make([]seen, min(2*r.steps, slabMax))
	}
	s := &r.free[0]
	r.free = r.free[1:]
	r.steps++
	s.at, s.data = e.At.UnixNano(), r.clone(e.Data)
	if e.Fault != nil || e.Usage != (polity.Usage{}) {
		s.rest = &rest{fault: e.Fault, usage: e.Usage}
	}
	if r.last == nil {
		r.first = s
	} else {
		r.last.next = s
	}
	r.last = s
	return s
}

// The room for small results: what is larger than smallMax is copied by itself.
const (
	smallMax   = 256
	bytesFirst = 64 // of room; four times as much each next time
	bytesMax   = 1 << 10
)

// clone copies a result.
func (r *record) clone(data json.RawMessage) json.RawMessage {
	if len(data) == 0 || len(data) > smallMax {
		return bytes.Clone(data)
	}
	if cap(r.bytes)-len(r.bytes) < len(data) {
		r.bytes = make([]byte, 0, max(len(data), bytesFirst, min(4*cap(r.bytes), bytesMax)))
	}
	from := len(r.bytes)
	r.bytes = append(r.bytes, data...)
	return r.bytes[from:len(r.bytes):len(r.bytes)]
}

// Decide is what the kernel asks: see polity.Decider.
func (d *decider) Decide(state any, e polity.Event) (any, []polity.Command) {
	r, ok := state.(*record)
	if !ok {
		r = &record{}
	}
	commands, f := d.decide(r, &e)
	if f != nil {
		panic(f) // what a decider does that cannot decide: see polity.Decider
	}
	return r, commands
}

// Stops says whether the run is in a saga: see polity.Stopper. What it waits for ends as cancelled then, and it undoes what it did.
func (d *decider) Stops(state any) bool {
	r, ok := state.(*record)
	if !ok {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.undoes && !r.ended
}

// Forget lets the coroutines of a run go that nobody will ask again.
func (d *decider) Forget(state any) {
	if r, ok := state.(*record); ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.end()
		d.pool.keep(r, 0)
	}
}

func (d *decider) decide(r *record, e *polity.Event) ([]polity.Command, *fault.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || (e.Kind == polity.Opened) != (r.first == nil) {
		return nil, nil
	}
	commands, f := d.step(r, e)
	if f != nil || r.live.over {
		r.end()
	}
	d.pool.keep(r, r.coroutines())
	return commands, f
}

// step takes in an event and returns the commands.
func (d *decider) step(r *record, e *polity.Event) ([]polity.Command, *fault.Error) {
	if f := d.revive(r); f != nil {
		return nil, f
	}
	s := r.see(e)
	if e.Kind == polity.Opened {
		r.opened = *e
		r.opened.Data = s.data
		r.live = newLive(d, &r.opened)
	}
	switch e.Kind {
	case polity.Result:
		s.key = polity.CommandKey(e.Name, e.Attempt)
	case polity.Stopping:
		s.more().stops = true
	}
	commands, f := r.live.step(s)
	for i := range commands {
		m := d.mark(&commands[i])
		if i == 0 {
			s.asked = m
		} else {
			s.more().asked = append(s.more().asked, m)
		}
	}
	r.undoes = r.live.undoes()
	return commands, f
}

// coroutines is how many coroutines there are.
func (r *record) coroutines() int {
	if r.live == nil {
		return 0
	}
	return len(r.live.tasks)
}

// end lets go of everything: the run needs it no more.
func (r *record) end() {
	r.drop()
	r.ended, r.first, r.last, r.free, r.bytes, r.opened = true, nil, nil, nil, nil, polity.Event{}
}

// drop ends the coroutines.
func (r *record) drop() {
	if r.live != nil {
		r.live.unwind()
		r.live = nil
	}
}

// revive makes the coroutines of a run again if they were dropped, by running the function over what the run has seen. It returns fault.Diverged
// if the function now asks for something else.
func (d *decider) revive(r *record) *fault.Error {
	if r.live != nil || r.first == nil {
		return nil
	}
	r.live = newLive(d, &r.opened)
	for i, s := 0, r.first; s != nil; i, s = i+1, s.next {
		commands, f := r.live.step(s)
		if f != nil {
			return f
		}
		if f := d.compare(i, s, commands); f != nil {
			return f
		}
	}
	return nil
}

// compare compares what a function asked for with what it asks for now, after the step-th event.
func (d *decider) compare(step int, s *seen, now []polity.Command) *fault.Error {
	for i := 0; ; i++ {
		then, code := s.mark(i), mark{}
		if i < len(now) {
			code = d.mark(&now[i])
		}
		switch {
		case then == code && then.do == 0:
			return nil
		case then == code:
			continue
		}
		does := code.String()
		if does == then.String() {
			does += " with something else"
		}
		return fault.Of(fault.Diverged.New("script: at step %d the run has %s, the code now does %s; a script reads no clock, no random numbers and no order of a map but its context's",
			step, &then, does))
	}
}

func (d *decider) mark(c *polity.Command) mark {
	m := mark{do: c.Do, key: c.Key(), to: c.To, sum: uint64(c.After)}
	if len(c.Input) > 0 {
		m.sum += maphash.Bytes(d.seed, c.Input)
	}
	if c.Skill != "" {
		m.sum += maphash.String(d.seed, c.Skill)
	}
	if !c.At.IsZero() {
		m.sum += maphash.String(d.seed, "at "+c.At.UTC().String())
	}
	if c.Await != nil {
		m.sum += maphash.String(d.seed, c.Await.String())
	}
	return m
}
