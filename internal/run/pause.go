package run

import (
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
)

// pauseRun lets nothing new begin in a tree until it is resumed. What is in flight ends and is recorded. answer is called when that is
// durable.
func (c *core) pauseRun(id polity.RunID, reason string, answer func(error)) {
	t := c.tree(id)
	if t != nil && c.dead == nil {
		c.wake(t)
	}
	switch {
	case c.dead != nil:
		answer(c.dead)
	case t == nil:
		c.decline(fault.NotFound.New("run: no run %q", id), answer)
	case t.stopped != nil:
		c.decline(fault.Conflict.New("run: %s is stopped: %w", id, t.stopped), answer)
	case t.root == nil:
		c.decline(fault.Conflict.New("run: %s has ended: %s", id, t.summary.Status), answer)
	case t.root.closing != nil || t.root.stopping != nil:
		c.decline(fault.Conflict.New("run: %s is coming to its end", id), answer)
	case t.queued:
		c.decline(fault.Conflict.New("run: %s has not begun: it waits for the one before it in its conversation; cancel it, or pause that one", id), answer)
	default:
		if t.paused.IsZero() {
			c.recall(t)
			c.write(&record{kind: recPaused, run: id, reason: reason})
		}
		c.answer(answer)
	}
}

// recall takes back what was routed in a tree and has not begun: it is routed again when the tree goes on, and ends now if it was to end
// already.
func (c *core) recall(t *tree) {
	var ending []*pending
	back := func(p *pending) {
		if p.routed = false; p.why != nil {
			ending = append(ending, p)
		}
	}
	c.todo = slices.DeleteFunc(c.todo, func(rec record) bool {
		p := c.beginning(t, &rec)
		if p != nil {
			back(p)
		}
		return p != nil
	})
	for _, pk := range []*pack{c.gather, c.flight} {
		if pk == nil {
			continue
		}
		recalled := func(p *pending) bool {
			mine := p.run.tree == t && !p.began && !p.started && !p.done
			if mine {
				back(p)
			}
			return mine
		}
		pk.starts = slices.DeleteFunc(pk.starts, recalled)
		pk.early = slices.DeleteFunc(pk.early, recalled)
	}
	for _, p := range ending {
		c.routeStop(p)
	}
}

// beginning returns the command of a tree that a queued record would begin, or nil.
func (c *core) beginning(t *tree, rec *record) *pending {
	if rec.run.Root() != t.id || rec.kind != recOpened && rec.kind != recBegan {
		return nil
	}
	run, key := rec.run, polity.CommandKey(rec.name, rec.attempt)
	if rec.kind == recOpened {
		run = rec.run.Parent()
		key = string(rec.run[len(run)+1:])
	}
	if r := c.runs[run]; r != nil {
		return r.find(key)
	}
	return nil
}

// held says that nothing is to begin in a tree now.
func (t *tree) held() bool { return t.idle || !t.paused.IsZero() }

func (c *core) pausedRun(r *run, rec *record) {
	t := r.tree
	if t.paused.IsZero() {
		t.paused, t.pausedDown = c.lastAt, c.downtime
	}
	c.tell(t, polity.Notice{Kind: "paused", Run: t.id, Reason: rec.reason})
}

// resumedRun begins with a run that was queued, or goes on with one that was paused. The time that it was paused is not its wall time; what
// of that was spent with nobody serving does not count already.
func (c *core) resumedRun(r *run) {
	t := r.tree
	c.tell(t, polity.Notice{Kind: "resumed", Run: t.id})
	switch {
	case t.queued:
		c.begin(t)
	case !t.paused.IsZero():
		c.unpause(t)
		c.goOn(t)
	}
}

// unpause has the time that a tree was paused not count as its wall time.
func (c *core) unpause(t *tree) {
	t.root.excuse(c.lastAt.Sub(t.paused) - (c.downtime - t.pausedDown))
	t.paused = time.Time{}
}

// rewall sets the timers of wall time in a run and below it again: those that rang while it was paused are gone.
func (c *core) rewall(r *run) {
	c.setWall(r)
	for _, p := range r.pending {
		if p.child != nil {
			c.rewall(p.child)
		}
	}
}

// goOn routes what was held back in a tree.
func (c *core) goOn(t *tree) {
	switch {
	case !c.live:
	case t.idle:
		t.idle = false
		c.resume(t.root, false)
	default:
		c.proceed(t.root)
	}
}

// proceed routes what was decided in a run and below it while it was paused. What was routed before has gone its way, but for timers, which
// do not ring in a paused run.
func (c *core) proceed(r *run) {
	c.setWall(r)
	for _, p := range slices.Clone(r.pending) {
		switch {
		case p.child != nil:
			c.proceed(p.child)
		case p.why != nil, p.refused != nil:
		case !p.routed:
			if err := c.again(p); err != nil {
				c.stop(r.tree, fault.Of(err))
				return
			}
			c.route(p)
		case p.cmd.Do == polity.DoAwait:
			c.routeAwait(p)
		case p.cmd.Do == polity.DoSleep, p.posed:
			c.arm(timer{due: p.due, run: r, wait: p})
		}
	}
}
