package run

import (
	"context"

	"polity.run"
	"polity.run/fault"
)

// Settle records what became of a message that was not done: did is a word for it, by who says so. It changes nothing of the run. It returns when
// that is durable, fault.NotFound if there is no such run, and fault.Conflict if it has not ended.
func (p *Partition) Settle(ctx context.Context, run polity.RunID, did, by string) error {
	if len(did) > nameMax || len(by) > textMax {
		return fault.Invalid.New("run: settle: a text is longer than %d bytes", textMax)
	}
	return p.call(ctx, func(c *core, done func(error)) {
		t := c.tree(run)
		switch {
		case c.dead != nil:
			done(c.dead)
		case t == nil:
			done(c.none(run))
		case !t.over():
			done(fault.Conflict.New("run: %s has not ended", run))
		default:
			c.write(&record{kind: recSettled, run: run, name: did, by: by})
			c.answer(done)
		}
	})
}
