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

// SealFor enciphers what a run says to others as its payloads are, and returns the key as well; "" if they are plain. It returns fault.NotFound if there
// is no such run.
func (p *Partition) SealFor(ctx context.Context, run polity.RunID, data []byte) (key string, sealed []byte, err error) {
	key, err = ask(ctx, p, func(c *core, reply func(string, error)) {
		t := c.tree(run.Root())
		if t == nil {
			reply("", c.none(run))
			return
		}
		reply(t.key, nil)
	})
	if err != nil || key == "" {
		return "", data, err
	}
	sealed, err = p.vault.seal(key, data)
	return key, sealed, err
}

// Unseal returns what was enciphered with a key; "" is none. It returns fault.Erased if the key was destroyed, and fault.NotFound if it is lost.
func (p *Partition) Unseal(key string, data []byte) ([]byte, error) {
	return p.vault.reveal(payload{key: key}, data)
}

// Deliver gives an event of the stream of topics, with its position, to every run that awaits it now. Data that is enciphered comes with its key;
// if that is not to be had, the event is noted and nobody is told. taken is called when that is durable, from
// the partition's goroutine; it must not block. Events are delivered in the order of their positions. One that was taken already has no effect, nor
// has one whose id came before, with whatever data: nobody is left who could be told. Its Version is that of its topic's registered schema: see
// Program.Event. key is what its data is enciphered with, "" for nothing. Deliver returns false if the partition has ended.
func (p *Partition) Deliver(published polity.Published, key string, taken func(error)) bool {
	e := &event{name: published.Topic, id: published.ID, data: published.Data, seq: published.Seq, version: published.Version}
	if key != "" {
		plain, err := p.vault.open(key, published.Data)
		if err != nil { // erased, or lost: what is not said cannot be told
			plain, key = nil, ""
		}
		e.data, e.key = plain, key
	}
	return p.post(input{do: func(c *core) { c.publish(e, taken) }})
}

// Taken returns the position of the last event that was taken from the stream of topics; 0 for none.
func (p *Partition) Taken(ctx context.Context) (uint64, error) {
	return ask(ctx, p, func(c *core, reply func(uint64, error)) {
		taken := c.waits.taken
		c.answer(func(err error) { reply(taken, err) })
	})
}

// Awaiting returns the programs of the runs that wait for an event on a topic now, and how many waits each has. Programs are those that the catalog gave.
// After a start from a checkpoint it wakes those that sleep, once.
func (p *Partition) Awaiting(ctx context.Context, topic string) (map[*Program]int, error) {
	return ask(ctx, p, func(c *core, reply func(map[*Program]int, error)) {
		counts := map[*Program]int{}
		for _, w := range c.waits.on(topic) {
			if w.program == nil {
				c.wake(w.tree)
			}
			if w.program != nil && !w.gone {
				counts[w.program]++
			}
		}
		reply(counts, nil)
	})
}
