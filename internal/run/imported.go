package run

import (
	"polity.run"
	"polity.run/fault"
)

// importRun takes over a run that ended elsewhere. answer is called when that is durable.
func (c *core) importRun(rec *record, answer func(error)) {
	switch {
	case c.dead != nil:
		answer(c.dead)
	case c.tree(rec.run) != nil:
		answer(fault.Conflict.New("run: there is a run %s already", rec.run))
	default:
		c.write(rec)
		c.answer(answer)
	}
}

// raise makes a pack one of the version that holds imported runs.
func (p *pack) raise() {
	if p.buf[0] != frameImports {
		p.buf[0] = frameImports
		p.sum.Reset() // what was hashed began with another byte
		p.hashed = 0
	}
}

// imported folds a run that ended elsewhere: nothing of it is decided here, and what its log tells is read from its blob.
func (c *core) imported(rec *record, seq uint64) {
	if c.tree(rec.run) != nil {
		c.giveUp(fault.Damaged.New("run: commit %d imports %s, which is there", seq, rec.run))
		return
	}
	data := rec.data // the record is used again
	t := &tree{id: rec.run, request: rec.request, first: seq, last: seq, log: &data, summary: polity.Summary{
		ID: rec.run, Agent: rec.agent, Status: rec.status, Opened: rec.opened, Ended: rec.ended, Usage: rec.usage,
	}}
	c.trees[rec.run] = t
	c.roots = append(c.roots, t)
	c.depart(t)
}
