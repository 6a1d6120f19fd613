package run

import (
	"errors"
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
)

// fold applies one commit of the log. It returns fault.Damaged if the commit is not the successor of the one
// before.
func (c *core) fold(f *frame, id hash, seq uint64) error {
	if f.prev != c.head {
		return fault.Damaged.New("run: commit %d does not follow commit %d: the chain of hashes is broken there", seq, c.seq)
	}
	if f.at.Before(c.now) {
		return fault.Damaged.New("run: commit %d is from before commit %d", seq, c.seq)
	}
	if len(f.records) > 0 && f.records[0].kind == recClaim && c.seq > 0 {
		c.downtime += f.at.Sub(c.now)
		c.claims = append(c.claims, claim{seq, c.downtime})
	}
	c.now, c.at, c.seq, c.head = f.at, f.at, seq, id
	for i := range f.records {
		rec := &f.records[i]
		if c.remembered(rec, seq) {
			continue
		}
		c.apply(rec, seq)
		if c.dead != nil {
			return c.dead
		}
		c.keep(rec, seq, f.raw[i])
	}
	if len(c.told) > 0 {
		c.heard(seq, f.at, c.told)
		c.told = c.told[:0]
	}
	c.retire()
	c.makeRoom()
	return nil
}

// remembered says that a checkpoint told of a record already: it was made while the log went on.
func (c *core) remembered(rec *record, seq uint64) bool {
	return len(c.skips) > 0 && rec.kind != recClaim && seq <= c.skips[c.trees[rec.run.Root()]]
}

// serve ends the folding: what the log leaves undone is begun again, except for runs that are to wait until they are
// asked for.
func (c *core) serve() {
	c.live = true
	c.served = c.now
	c.skips = nil
	for _, t := range c.roots {
		switch {
		case t.parked:
			c.doze(t)
		case t.undone:
			c.wake(t)
		case t.root != nil && t.paused.IsZero():
			t.idle = false
			c.resume(t.root, false)
		case t.asleep:
			t.idle = false
			c.alarm(t, t.due)
			c.take(t)
		}
		c.rest(t)
	}
}

// resume begins again what is undone in a run and below it. All of it follows from the state alone. A run that is
// about to be cancelled begins nothing.
func (c *core) resume(r *run, doomed bool) {
	c.setWall(r)
	if r.finishing {
		c.finish(r)
		return
	}
	if r.parent == nil {
		c.take(r.tree)
	}
	for _, p := range slices.Clone(r.pending) {
		switch {
		case p.child != nil:
			stop := p.why != nil && p.child.heeds(&record{gently: !p.now})
			c.resume(p.child, doomed && !p.cmd.Undo || stop)
			if stop {
				c.routeStop(p)
			}
		case p.refused != nil:
			c.enqueue(p.result(result{fault: p.refused}))
		case p.began:
			c.doubt(p)
		case p.why != nil:
			c.enqueue(p.result(result{usage: p.spentAtMost(), fault: p.why}))
		case p.wait != nil && p.wait.got != nil:
			p.routed = true
			c.deliverEvent(p.wait)
		case doomed && !p.cmd.Undo: // what undoes goes on
		default:
			if err := c.again(p); err != nil {
				c.stop(r.tree, fault.Of(err))
				return
			}
			c.route(p)
		}
	}
}

// again says whether a pending command can be done as it was pinned: a program that has since become another one stops
// the run instead of failing it.
func (c *core) again(p *pending) error {
	var err error
	switch p.cmd.Do {
	case polity.DoAsk:
		_, err = c.catalog.Program(p.run.release, p.cmd.To)
	case polity.DoCall, polity.DoThink:
		_, err = c.catalog.Work(p.run.release, p.run.agent, p.cmd.Do, p.cmd.To)
	}
	if errors.Is(err, fault.Diverged) {
		return err
	}
	return nil
}

// setWall sets the timer of a run's wall time, if it has one of its own. Time in which nobody served the
// partition does not count.
func (c *core) setWall(r *run) {
	if due := r.wall(c.downtime); c.live && !due.IsZero() {
		c.arm(timer{due: due, run: r})
	}
}

// wall is when a run's wall time is over, if it has one of its own: the zero time if not. The downtime is the partition's.
func (r *run) wall(downtime time.Duration) time.Time {
	l := r.ledger
	if t := r.tree; t.queued && t.mail != nil && l.owner == r {
		return t.mail.Expires
	}
	if l.owner != r || l.limit.Wall == 0 || l.expired || r.tree.queued {
		return time.Time{}
	}
	return r.opened.Add(l.wall() + downtime - r.downtime)
}

// solo runs an agent that is an effect as a run of its own: it asks once and ends as the agent does.
type solo struct{}

func (solo) Decide(_ any, e polity.Event) (any, []polity.Command) {
	switch {
	case e.Kind == polity.Opened:
		return nil, []polity.Command{polity.Ask("do", e.Agent, e.Skill, e.Data)}
	case e.Fault != nil:
		return nil, []polity.Command{polity.Fail(e.Fault)}
	default:
		return nil, []polity.Command{polity.Finish(e.Data)}
	}
}
