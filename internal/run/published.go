package run

import (
	"context"
	"encoding/json"

	"polity.run"
	"polity.run/fault"
)

// Admit says whether an event may be published, and whether it was already: the same id on the same topic, among the last 10,000 events. It
// returns fault.Invalid for what is no topic or no JSON, fault.Conflict if the id came with something else, and fault.Full if there is no room for
// more.
func (p *Partition) Admit(ctx context.Context, topic, id string, data json.RawMessage) (before bool, err error) {
	e := &event{name: topic, id: id, data: nonNil(data)}
	if err := e.check(polity.CheckTopic); err != nil {
		return false, fault.Of(err).Kind.New("run: publish: %w", err)
	}
	if err := p.room(); err != nil {
		return false, err
	}
	return ask(ctx, p, func(c *core, reply func(bool, error)) {
		before, err := c.waits.events.before(e.topicID(), e.hash(), eventIDsMax)
		if err != nil {
			err = fault.Conflict.New("run: event on %s: %w", topic, err)
		}
		c.answer(func(down error) {
			if down != nil {
				before, err = false, down
			}
			reply(before, err)
		})
	})
}

// Deliver gives an event of the stream of topics, with its position, to every run that awaits it now. taken is called when that is durable, from
// the partition's goroutine; it must not block. Events are delivered in the order of their positions. One that was taken already has no effect, nor
// has one whose id came before, with whatever data: nobody is left who could be told. Deliver returns false if the partition has ended.
func (p *Partition) Deliver(seq uint64, topic, id string, data json.RawMessage, taken func(error)) bool {
	e := &event{name: topic, id: id, data: data, seq: seq}
	return p.post(input{do: func(c *core) { c.publish(e, taken) }})
}

// Taken returns the position of the last event that was taken from the stream of topics; 0 for none.
func (p *Partition) Taken(ctx context.Context) (uint64, error) {
	return ask(ctx, p, func(c *core, reply func(uint64, error)) {
		taken := c.waits.taken
		c.answer(func(err error) { reply(taken, err) })
	})
}
