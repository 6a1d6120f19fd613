package run

import (
	"context"
	"strings"

	"polity.run"
	"polity.run/fault"
)

// holdsMax is how many held runs a refused erasure names.
const holdsMax = 3

// Hold keeps a run from being erased until it is released, as while a dispute about it goes on. It returns when that is durable, and
// fault.NotFound if there is no such run. A run that is held already gets the new reason.
func (p *Partition) Hold(ctx context.Context, id polity.RunID, reason string) error {
	if strings.TrimSpace(reason) == "" {
		return fault.Invalid.New("run: hold: a reason is needed")
	}
	return p.holding(ctx, recHeld, id, reason)
}

// Release ends a hold, and returns when that is durable. It returns fault.NotFound if there is no such run. One that is not held stays so.
func (p *Partition) Release(ctx context.Context, id polity.RunID, reason string) error {
	return p.holding(ctx, recReleased, id, reason)
}

func (p *Partition) holding(ctx context.Context, kind recordKind, id polity.RunID, reason string) error {
	if len(reason) > textMax {
		return fault.Invalid.New("run: %s: a reason of %d bytes; the most is %d", kindText[kind], len(reason), textMax)
	}
	return p.call(ctx, func(c *core, done func(error)) { c.hold(kind, id, reason, done) })
}

// hold writes that a run is held or released. answer is called when that is durable.
func (c *core) hold(kind recordKind, id polity.RunID, reason string, answer func(error)) {
	t := c.tree(id)
	switch {
	case c.dead != nil:
		answer(c.dead)
		return
	case t == nil:
		answer(fault.NotFound.New("run: no run %q", id))
		return
	case kind == recHeld && (t.hold == nil || *t.hold != reason) || kind == recReleased && t.hold != nil:
		c.write(&record{kind: kind, run: id, reason: reason})
	}
	c.answer(answer)
}

// held folds the beginning or the end of a hold. It is no part of what a run does, so that it may come after the run's end. It holds from its
// acknowledgement on: a checkpoint in between must not tell of it.
func (c *core) held(rec *record) {
	t := c.revive(rec.run)
	switch {
	case c.dead != nil:
		return
	case t == nil:
		c.giveUp(fault.Damaged.New("run: %s is %s, which no commit opened", rec.run, kindText[rec.kind]))
		return
	}
	var reason *string
	if rec.kind == recHeld {
		text := rec.reason
		reason = &text
	}
	if !c.live {
		t.hold = reason
		return
	}
	c.gather.answers = append(c.gather.answers, func(err error) {
		if err == nil {
			t.hold = reason
			c.depart(t)
		}
	})
}

// besideRuns says that a record is no part of what a run does.
func (r *record) besideRuns() bool {
	switch r.kind {
	case recClaim, recErased, recHeld, recReleased, recDeleted, recBased, recAudited:
		return true
	default:
		return false
	}
}
