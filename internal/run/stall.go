package run

import (
	"slices"
	"time"

	"polity.run/fault"
)

// Limits of starting the store anew.
const (
	reviveFirst = 250 * time.Millisecond // until it is tried; doubled up to
	reviveMax   = 5 * time.Second        //
	deafMax     = 3                      // checks of an idle owner that fail before the store is taken to be stuck
	revivesMax  = 3                      // times that it takes nothing though there is room before the partition gives up
)

// This file is what happens when the store takes nothing. JetStream stops for good when its disk is full, and does not begin again when there is room. So
// the partition waits for room, has the store started anew, and asks the log's end what became of the commit in flight, as with any doubt: nothing that was
// acknowledged is in danger, and what was not is sent again. Whoever waits for an answer meanwhile is told so.

// stall tells that the store takes nothing until revived is called: everyone who waits for an answer is told err, and so is who asks before something was
// taken again.
func (c *core) stall(err error) {
	c.stalled, c.reviving = err, true
	for _, p := range []*pack{c.flight, c.gather} {
		if p == nil {
			continue
		}
		for _, answer := range p.answers {
			answer(err)
		}
		clear(p.answers)
		p.answers = p.answers[:0]
	}
}

// revived tells that the store was started anew. What was in flight is in doubt.
func (c *core) revived() {
	c.reviving = false
	if c.flight == nil || c.dead != nil {
		return
	}
	c.tries = 1
	c.token++
	c.host.readHead(c.token, c.tries)
}

// flow tells that the store takes something.
func (c *core) flow() {
	if c.stalled == nil {
		return
	}
	c.stalled = nil
	if c.flows != nil {
		c.flows()
	}
}

// acknowledge calls f once everything that has been folded so far is acknowledged, however long that takes.
func (c *core) acknowledge(f func(error)) {
	switch {
	case c.dead != nil:
		f(c.dead)
	case c.gather != nil:
		c.gather.ends = append(c.gather.ends, f)
	case c.flight != nil:
		c.flight.ends = append(c.flight.ends, f)
	default:
		f(nil)
	}
}

// stuck is called by the loop when the store takes nothing, and why says so. It has the store started anew, or gives up if that is of no use.
func (p *Partition) stuck(why error) {
	c := p.core
	if c.dead != nil || c.reviving {
		return
	}
	free, err := p.freeNow()
	if err == nil && free >= freeMin {
		p.revives++
	}
	if p.cfg.Restart == nil || p.revives > revivesMax {
		c.giveUp(why)
		return
	}
	p.cfg.Log.Error("the store takes nothing; it is started anew when there is room", "error", why, "free", free, "needed", freeMin)
	why = fault.Of(why).Kind.New("%s. It goes on by itself when there is room; ask again then, with the same ID", fault.Of(why).Text)
	p.mu.Lock()
	p.stalled = why
	p.stalls++
	p.mu.Unlock()
	c.stall(why)
	p.busy.Add(1)
	go p.revive()
}

// refuse tells those in the batch and in the inbox who would wait for an answer, and returns the rest of the batch: a full pack takes no input until the store
// takes it.
func (p *Partition) refuse(batch []input) []input {
	refused := func(in input) bool {
		if in.refuse != nil {
			in.refuse(p.core.stalled)
		}
		return in.refuse != nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inbox = slices.DeleteFunc(p.inbox, refused)
	return slices.DeleteFunc(batch, refused)
}

// revive starts the store anew as soon as there is room.
func (p *Partition) revive() {
	defer p.busy.Done()
	for pause := reviveFirst; p.sleep(pause); pause = min(2*pause, reviveMax) {
		if free, err := p.freeNow(); err != nil || free < freeMin {
			continue
		}
		err := p.cfg.Restart(p.ctx)
		if err == nil {
			p.cfg.Log.Warn("the store was started anew")
			p.urge(func(c *core) {
				if c.revived(); c.flight == nil {
					c.flow() // nothing waits for it; whether it does the next commit will show
				}
			})
			return
		}
		p.cfg.Log.Error("the store cannot be started anew", "error", err)
	}
}

// unheard is called by the loop when an idle owner could not ask for the log's end. A store that does not even answer that takes nothing either; who needs
// another part of it, as a memory, would wait in vain.
func (p *Partition) unheard(token uint64, err error) {
	if c := p.core; p.cfg.Restart == nil || c.token != token || c.flight != nil || c.reviving {
		return
	}
	if p.deaf++; p.deaf >= deafMax {
		p.deaf = 0
		p.stuck(fault.Unavailable.New("run: the log's end cannot be read: %w", err))
	}
}

// flows is called by the core when a stalled store takes something again.
func (p *Partition) flows() {
	p.revives = 0
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = nil
}

// stall returns how often the store took nothing so far, and why it takes nothing now, or nil.
func (p *Partition) stall() (times uint64, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stalls, p.stalled
}

// freeNow returns the bytes that are free for the store.
func (p *Partition) freeNow() (uint64, error) {
	if p.cfg.Free == nil {
		return 1 << 62, nil
	}
	return p.cfg.Free()
}
