package run

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
)

// A sender that is an agent is answered by a message of its own, once: a run that has ended is owed from the record of its end to that of the opening of
// the run which answers it. So there is an answer whatever ended it (its agent, its deadline, a cancel, an expiry) and whoever crashed in between.

// Unanswered is what Settle is told of a run whose sender cannot be answered.
const Unanswered = "unanswered"

// stillOwed is tree.owed of a run that no commit answers yet.
const stillOwed = math.MaxUint64

// owe notes that the sender of a message whose run has ended is to be answered.
func (c *core) owe(t *tree) {
	if t.mail == nil || !t.mail.Answer || t.origin != "" {
		return
	}
	t.owed = stillOwed
	c.debts = append(c.debts, t)
	if c.live && c.owes != nil {
		c.acknowledge(func(err error) {
			if err == nil {
				c.owes()
			}
		})
	}
}

// paid notes that a commit answers a run's sender.
func (c *core) paid(run polity.RunID, seq uint64) {
	t := c.trees[run]
	if t == nil || t.owed != stillOwed || seq <= c.skips[t] { // a checkpoint may tell of a later state of it
		return
	}
	t.owed, t.stays = seq, max(t.stays, seq)
	c.depart(t)
	c.debts = slices.DeleteFunc(c.debts, func(o *tree) bool { return o == t })
}

// Owed lists runs that have ended and whose senders are to be answered, up to most of them, in the order of their ends.
func (p *Partition) Owed(ctx context.Context, most int) ([]polity.RunID, error) {
	return ask(ctx, p, func(c *core, reply func([]polity.RunID, error)) {
		var list []polity.RunID
		for _, t := range c.debts[:min(most, len(c.debts))] {
			list = append(list, t.id)
		}
		c.answer(func(err error) { reply(list, err) })
	})
}

// Debt is what the sender of a message is to be told.
type Debt struct {
	Agent    string // that was sent it
	Envelope json.RawMessage
	Outcome  polity.Outcome
}

// Debt reads from the log what the sender of a message is to be told whose run has ended.
func (p *Partition) Debt(ctx context.Context, id polity.RunID) (Debt, error) {
	var d Debt
	at, err := p.span(ctx, id)
	if err != nil {
		return d, err
	}
	at.last = at.first
	err = p.read(ctx, id, at, func(_ time.Time, _ uint64, r *record) error {
		if r.kind == recOpened && r.run == id && r.mail != nil {
			d.Agent, d.Envelope = strings.Clone(r.agent), slices.Clone(r.mail.Envelope)
		}
		return nil
	})
	if err == nil && d.Envelope == nil {
		err = fault.Damaged.New("run %s: it is no message's", id)
	}
	if err == nil {
		d.Outcome, err = p.stored(ctx, id)
	}
	return d, err
}
