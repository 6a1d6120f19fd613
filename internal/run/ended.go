package run

import (
	"cmp"
	"context"
	"time"

	"polity.run"
)

// endedPage is how many root runs of the register are looked at in one turn of the partition.
const endedPage = 1000

// Ended is a root run that has ended, as those see it who archive or delete old ones.
type Ended struct {
	Run         polity.RunID
	First, Last uint64    // its first and last commit
	At          time.Time // when it ended
	Key         string    // that its payloads are enciphered with here; "" for none
	Erased      bool      // the key is destroyed
	Held        bool
}

// EndedPage gives a part of the root runs that have ended, and where the next part begins: 0 if there is none. The first part begins at 0. What ends, is held or
// released meanwhile may be given twice.
func (p *Partition) EndedPage(ctx context.Context, from uint64) (runs []Ended, next uint64, err error) {
	type page struct {
		runs []Ended
		next uint64
	}
	got, err := ask(ctx, p, func(c *core, reply func(page, error)) {
		var g page
		var damage error
		g.runs, g.next, damage = c.endedPage(from)
		c.answer(func(err error) { reply(g, cmp.Or(err, damage)) })
	})
	return got.runs, got.next, err
}

// endedPage goes through the register, and at its end through what is in memory alone.
func (c *core) endedPage(from uint64) (runs []Ended, next uint64, err error) {
	if g := c.register; g != nil {
		n, damage := 0, error(nil)
		next, err = g.each(from, g.end(), func(e registered) bool {
			t := c.trees[e.id]
			if t == nil {
				t, damage = g.decode(e)
			}
			if damage == nil {
				runs = c.appendEnded(runs, t)
			}
			n++
			return damage == nil && n < endedPage
		})
		if err = cmp.Or(err, damage); err != nil || next < g.end() {
			return runs, next, err
		}
	}
	for _, t := range c.roots {
		if !t.left && !c.doubles[t.id] {
			runs = c.appendEnded(runs, t)
		}
	}
	return runs, 0, nil
}

// appendEnded adds a run, if it has ended.
func (c *core) appendEnded(runs []Ended, t *tree) []Ended {
	if !t.over() || !t.summary.Status.Final() {
		return runs
	}
	return append(runs, Ended{
		Run: t.id, First: t.first, Last: t.last, At: t.summary.Ended, Key: t.key,
		Erased: t.key != "" && c.vault.isErased(t.key), Held: t.hold != nil,
	})
}

// Openings returns the releases of the root runs that a commit opens.
func (p *Partition) Openings(ctx context.Context, seq uint64) (map[polity.RunID]Digest, error) {
	e, err := p.log.Get(ctx, seq)
	if err != nil {
		return nil, err
	}
	var f frame
	if err := f.decode(e.Data); err != nil {
		return nil, err
	}
	opened := map[polity.RunID]Digest{}
	for i := range f.records {
		r := &f.records[i]
		switch {
		case r.run.Parent() != "":
		case r.kind == recOpened, r.kind == recForked, r.kind == recImported:
			opened[r.run] = r.release
		}
	}
	return opened, nil
}
