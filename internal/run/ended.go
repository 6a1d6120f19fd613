package run

import (
	"context"
	"sort"
	"time"

	"polity.run"
)

// endedPage is how many root runs are looked at in one turn of the partition.
const endedPage = 10_000

// Ended is a root run that has ended, as those see it who archive or delete old ones.
type Ended struct {
	Run         polity.RunID
	First, Last uint64    // its first and last commit
	At          time.Time // when it ended
	Key         string    // that its payloads are enciphered with here; "" for none
	Erased      bool      // the key is destroyed
	Held        bool
}

// EndedPage gives the root runs that have ended, in the order of opening, of a part of those that were opened behind a commit, and where the next
// part begins: 0 if there is none.
func (p *Partition) EndedPage(ctx context.Context, after uint64) (runs []Ended, next uint64, err error) {
	type page struct {
		runs []Ended
		next uint64
	}
	got, err := ask(ctx, p, func(c *core, reply func(page, error)) {
		var g page
		g.runs, g.next = c.endedPage(after)
		c.answer(func(err error) { reply(g, err) })
	})
	return got.runs, got.next, err
}

func (c *core) endedPage(after uint64) (runs []Ended, next uint64) {
	from := sort.Search(len(c.roots), func(i int) bool { return c.roots[i].first > after })
	for i := from; i < len(c.roots); i++ {
		t := c.roots[i]
		if i-from >= endedPage && t.first != c.roots[i-1].first { // what one commit opened is of one page
			return runs, c.roots[i-1].first
		}
		if !t.over() || !t.summary.Status.Final() {
			continue
		}
		runs = append(runs, Ended{
			Run: t.id, First: t.first, Last: t.last, At: t.summary.Ended, Key: t.key,
			Erased: t.key != "" && c.vault.isErased(t.key), Held: t.hold != nil,
		})
	}
	return runs, 0
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
