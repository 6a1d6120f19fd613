package run

import (
	"bytes"
	"context"

	"polity.run"
	"polity.run/internal/bus"
)

// publishedSpan is how many commits are looked through at once.
const publishedSpan = 10_000

// Published returns what was published on the topics of a pattern after a commit of the log, in order, and the commit up to which it looked: ask
// again with that, until it stays the same. After the last commit there is nothing, and it is returned.
func (p *Partition) Published(ctx context.Context, pattern string, after uint64) (list []polity.Published, next uint64, err error) {
	if err := polity.CheckPattern(pattern); err != nil {
		return nil, 0, err
	}
	type place struct{ tip, last uint64 }
	at, err := ask(ctx, p, func(c *core, reply func(place, error)) {
		c.answer(func(err error) { reply(place{c.seq, c.waits.last}, err) })
	})
	if err != nil || after >= at.last {
		return nil, at.tip, err
	}
	next = min(at.tip, after+publishedSpan)
	var f frame
	err = p.log.Read(ctx, after+1, next, func(e bus.Entry) error {
		if err := f.decode(e.Data); err != nil {
			return err
		}
		for i := range f.records {
			if r := &f.records[i]; r.kind == recPublished && polity.MatchTopic(pattern, r.name) {
				list = append(list, polity.Published{Topic: r.name, ID: r.id, Data: bytes.Clone(r.data.data), At: f.at})
			}
		}
		return nil
	})
	return list, next, err
}
