package run

import (
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
)

// A run that is to end from outside ends at once, unless its decider has something to undo (polity.Stopper). Then it is stopping:
//
//	cancelled -> its pending commands are, and it is told -> it undoes -> it ends by itself, as cancelled
//
// What cancelling is gentle and what is not stands in the log, so a run that was cancelled by a version without this ends as it did.

// halt has a run end in the given way, after it has undone what it did.
func (c *core) halt(r *run, o polity.Outcome) {
	if r.closing != nil || r.stopping != nil {
		return
	}
	s, ok := r.program.Decider.(polity.Stopper)
	if !ok || r.state == nil || !s.Stops(r.state) {
		c.close(r, o, requestHash{})
		return
	}
	r.stopping = &o
	for _, p := range slices.Clone(r.pending) {
		if !p.cmd.Undo {
			c.stopPending(p, o.Fault)
		}
	}
	c.decide(r, polity.Event{Kind: polity.Stopping, Fault: o.Fault})
}

// kill ends a run and everything below it, without undoing anything.
func (c *core) kill(r *run, o polity.Outcome) {
	r.killed = true
	if r.closing == nil {
		r.closing = &o
		r.forget()
	}
	for _, p := range slices.Clone(r.pending) {
		again := p.child != nil && p.why != nil && !p.now // it was asked gently
		p.now = true
		if c.stopPending(p, o.Fault); again && c.live && !r.tree.idle {
			c.routeStop(p)
		}
	}
	c.finishIfIdle(r)
}

// asStopped is how a run ends whose decider ends it with o: as it was told to, if it was.
func (r *run) asStopped(o polity.Outcome) polity.Outcome {
	if r.stopping == nil {
		return o
	}
	return polity.Outcome{Status: r.stopping.Status, Output: o.Output, Fault: r.stopping.Fault}
}

// heeds says whether a cancel still changes something.
func (r *run) heeds(cancel *record) bool {
	switch {
	case r == nil:
		return false
	case cancel.gently:
		return r.closing == nil && r.stopping == nil
	default:
		return !r.killed && (r.closing == nil || r.works())
	}
}

// works says whether something goes on in a run that its wall time can end: itself, or a run below that it waits for.
func (r *run) works() bool {
	return r.closing == nil || slices.ContainsFunc(r.pending, func(p *pending) bool { return p.child != nil })
}

// expire ends what is pending in a run and everything below, and lets nothing new begin. The deciders go on, to
// finish with what they have. If a part of the wall time is kept for undoing, the first time does not touch what undoes.
func (c *core) expire(r *run) {
	l := r.ledger
	if !l.late && l.spare(int64(l.limit.Wall)) > 0 {
		l.late = true
		c.setWall(r)
	} else {
		l.expired = true
	}
	c.expireBelow(r, l.wallOver(), l)
}

func (c *core) expireBelow(r *run, why *fault.Error, at *ledger) {
	if r.closing == nil && (at.expired || !r.undoing) {
		r.hit(why, at, "")
	}
	for _, p := range slices.Clone(r.pending) {
		switch {
		case p.undoes() && !at.expired:
		case p.child != nil:
			c.expireBelow(p.child, why, at)
		default:
			c.stopPending(p, why)
		}
	}
}

// wall returns how long a run may go on as its ledger stands.
func (l *ledger) wall() time.Duration {
	wall := int64(l.limit.Wall)
	if !l.late {
		wall -= l.spare(wall)
	}
	return time.Duration(wall)
}
