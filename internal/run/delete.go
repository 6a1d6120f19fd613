package run

import (
	"context"

	"polity.run"
	"polity.run/fault"
)

// Delete destroys the key of a run that no other run uses, so that nothing of what it read and wrote can be read again, whatever the log and its
// copies still hold. The log keeps that it was done, when and why. It returns when key and record are on the disk, and can be repeated after any
// fault. For what cannot be deleted see Deletable.
func (p *Partition) Delete(ctx context.Context, id polity.RunID, reason string) error {
	if len(reason) > textMax {
		return fault.Invalid.New("run: delete: a reason of %d bytes; the most is %d", len(reason), textMax)
	}
	key, err := ask(ctx, p, func(c *core, reply func(string, error)) {
		c.deleteRun(id, reason, reply)
	})
	if err != nil {
		return err
	}
	return p.vault.keys.Destroy(key)
}

// Deletable returns nil for a run that can be deleted or is, fault.NotFound if there is no such run, and fault.Conflict for one that is held, has not
// ended, is not enciphered, or shares its key with other runs.
func (p *Partition) Deletable(ctx context.Context, id polity.RunID) error {
	return p.call(ctx, func(c *core, done func(error)) {
		_, err := c.deletable(id)
		done(err)
	})
}

// deleted folds the end of a run's key.
func (c *core) deleted(rec *record, seq uint64) {
	if t := c.revive(rec.run); t != nil {
		t.deleted = true
	}
	c.erased(rec.name, seq)
}

func (c *core) deletable(id polity.RunID) (*tree, error) {
	t := c.tree(id)
	switch {
	case c.dead != nil:
		return nil, c.dead
	case t == nil:
		return nil, fault.NotFound.New("run: no run %q", id)
	case t.key != "" && c.vault.isErased(t.key):
		return t, nil
	case t.hold != nil:
		return nil, fault.Conflict.New("run: delete: %s is held (%s): release it first, with: polity runs release %s", id, *t.hold, id)
	case !t.over() && t.stopped == nil:
		return nil, fault.Conflict.New("run: delete: %s has not ended: cancel it first", id)
	case t.key == "" || c.vault.keys == nil:
		return nil, fault.Conflict.New("run: delete: %s was not enciphered, and nothing can be taken out of a log: only a run with a subject can be deleted", id)
	}
	all, err := c.holders(t.key)
	if err != nil {
		return nil, err
	}
	for _, other := range all {
		if other.id != id {
			return nil, fault.Conflict.New("run: delete: %s has the same key, being a fork or of the same subject: erase the subject, with: polity erase", other.id)
		}
	}
	return t, nil
}

// deleteRun writes that a run is deleted, if it is not. answer is called with its key when that is durable.
func (c *core) deleteRun(id polity.RunID, reason string, answer func(string, error)) {
	t, err := c.deletable(id)
	if err != nil {
		answer("", err)
		return
	}
	if !t.deleted { // a checkpoint does not tell: then it is written once more
		c.write(&record{kind: recDeleted, run: id, name: t.key, reason: reason})
	}
	c.answer(func(err error) { answer(t.key, err) })
}
