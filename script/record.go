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
	pool *Pool
	seed maphash.Seed // of the marks; they are compared only within this process
	fn   func(c *Context, input json.RawMessage) (json.RawMessage, error)
}

// record is the state of one run: what it was told and what it asked for. The coroutines can be made again from that.
type record struct {
	seat // in the pool

	mu     sync.Mutex // a pool may drop the coroutines while another run is decided
	opened polity.Event
	seen   []seen
	asked  []mark
	live   *live // nil if it was dropped
	ended  bool
}

// seen is an event as it is kept, and how many commands there were after it.
type seen struct {
	at    time.Time
	key   string // of the command that it is a result of; "" for the opening
	data  json.RawMessage
	fault *fault.Error
	usage polity.Usage
	asked int
}

// mark is what is kept of a command, to know it again.
type mark struct {
	do    polity.Verb
	key   string
	to    string
	after time.Duration
	sum   uint64 // of the rest
}

func (m mark) String() string {
	return polity.Command{Do: m.do, Name: m.key, To: m.to, After: m.after}.String()
}

// Decide is what the kernel asks: see polity.Decider.
func (d *decider) Decide(state any, e polity.Event) (any, []polity.Command) {
	r, ok := state.(*record)
	if !ok {
		r = &record{}
	}
	d.pool.take(r)
	commands, weight, f := d.decide(r, e)
	if f != nil {
		panic(f) // what a decider does that cannot decide: see polity.Decider
	}
	if weight > 0 {
		d.pool.keep(r, weight)
	}
	return r, commands
}

// Forget lets the coroutines of a run go that nobody will ask again.
func (d *decider) Forget(state any) {
	if r, ok := state.(*record); ok {
		d.pool.take(r)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.end()
	}
}

// decide returns the commands and how many coroutines the run now has.
func (d *decider) decide(r *record, e polity.Event) ([]polity.Command, int, *fault.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || (e.Kind == polity.Opened) != (len(r.seen) == 0) {
		return nil, r.weight(), nil
	}
	if f := d.revive(r); f != nil {
		r.end()
		return nil, 0, f
	}
	s := seen{at: e.At, data: bytes.Clone(e.Data), fault: e.Fault, usage: e.Usage}
	if e.Kind == polity.Opened {
		r.opened = e
		r.opened.Data = s.data
		r.live = newLive(d.fn, r.opened)
	} else {
		s.key = polity.CommandKey(e.Name, e.Attempt)
	}
	r.seen = append(r.seen, s)
	commands, f := r.live.step(s)
	if f != nil || r.live.over {
		r.end()
		return commands, 0, f
	}
	for i := range commands {
		r.asked = append(r.asked, d.mark(&commands[i]))
	}
	r.seen[len(r.seen)-1].asked = len(r.asked)
	return commands, r.weight(), nil
}

// weight is how many coroutines there are.
func (r *record) weight() int {
	if r.live == nil {
		return 0
	}
	return len(r.live.tasks)
}

// end lets go of everything: the run needs it no more.
func (r *record) end() {
	r.drop()
	r.ended, r.seen, r.asked, r.opened = true, nil, nil, polity.Event{}
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
	if r.live != nil || len(r.seen) == 0 {
		return nil
	}
	r.live = newLive(d.fn, r.opened)
	before := 0
	for i := range r.seen {
		s := &r.seen[i]
		commands, f := r.live.step(*s)
		if f != nil {
			return f
		}
		if f := d.compare(i, r.asked[before:s.asked], commands); f != nil {
			return f
		}
		before = s.asked
	}
	return nil
}

// compare compares what a function asked for with what it asks for now, after the step-th event.
func (d *decider) compare(step int, asked []mark, now []polity.Command) *fault.Error {
	for i := range max(len(asked), len(now)) {
		then, code := "nothing more", "nothing more"
		if i < len(asked) {
			then = asked[i].String()
		}
		if i < len(now) {
			code = now[i].String()
		}
		switch {
		case i < len(asked) && i < len(now) && d.mark(&now[i]) == asked[i]:
			continue
		case then == code:
			code += " with something else"
		}
		return fault.Of(fault.Diverged.New("script: at step %d the run has %s, the code now does %s; a script reads no clock, no random numbers and no order of a map but its context's",
			step, then, code))
	}
	return nil
}

func (d *decider) mark(c *polity.Command) mark {
	m := mark{do: c.Do, key: c.Key(), to: c.To, after: c.After}
	if len(c.Input) > 0 {
		m.sum = maphash.Bytes(d.seed, c.Input)
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
