package run

import (
	"slices"

	"polity.run"
	"polity.run/fault"
)

// queueMax is how many runs of one conversation may wait for those before them.
const queueMax = 100

// conversation is what the runs of one have in common: who is asked, and its key.
type conversation struct{ agent, key string }

// arrive opens a run whose conversation has others that have not ended, as its skill says.
func (c *core) arrive(q *request, arrival polity.Arrival, opened *record) error {
	opened.conversation, opened.arrival = q.conversation, arrival
	before := c.talks[conversation{q.agent, q.conversation}]
	if len(before) == 0 {
		return nil
	}
	first := before[0]
	switch {
	case arrival == polity.ArrivalReject:
		return fault.Conflict.New("run: %s of conversation %q has not ended; ask again when it has, or cancel it", first.id, q.conversation)
	case len(before) > queueMax:
		return fault.Full.New("run: %d runs of conversation %q wait for %s already; ask again when it has ended", len(before)-1, q.conversation, first.id)
	}
	opened.queued = true
	return nil
}

// overtake cancels the runs before one that interrupts them, gently if they are to undo what they did. It is the same commit as its opening.
func (c *core) overtake(t *tree, gently bool) {
	for _, before := range slices.Clone(c.talks[t.talk]) {
		if before == t {
			return
		}
		rec := &record{kind: recCancel, run: before.id, reason: "run " + string(t.id) + " of the same conversation takes its place", gently: gently}
		c.wake(before)
		if before.root.heeds(rec) {
			c.write(rec)
			c.unpark(before)
		}
	}
}

// join makes a run the last of its conversation.
func (c *core) join(t *tree, rec *record) {
	if rec.conversation == "" {
		return
	}
	t.summary.Conversation = rec.conversation
	c.talk(t)
}

// talk makes a run the last of the conversation that its summary tells of.
func (c *core) talk(t *tree) {
	t.talk = conversation{t.summary.Agent, t.summary.Conversation}
	if c.talks == nil {
		c.talks = map[conversation][]*tree{}
	}
	c.talks[t.talk] = append(c.talks[t.talk], t)
}

// leave takes a run that has ended out of its conversation, and lets the next one begin.
func (c *core) leave(t *tree) {
	list := c.talks[t.talk]
	i := slices.Index(list, t)
	if i < 0 {
		return
	}
	list = slices.Delete(list, i, i+1)
	if len(list) == 0 {
		delete(c.talks, t.talk)
		return
	}
	c.talks[t.talk] = list
	if i == 0 && !list[0].idle {
		c.take(list[0])
	}
}

// take lets a queued run begin if it is its turn.
func (c *core) take(t *tree) {
	if list := c.talks[t.talk]; !t.queued || len(list) > 0 && list[0] != t {
		return
	}
	switch {
	case t.asleep && c.live:
		c.wake(t) // and then it is here again
	case t.root != nil && t.root.closing == nil:
		c.enqueue(&record{kind: recResumed, run: t.id})
	}
}

// begin tells the decider of a root run of its opening. What it is asked was kept until now, if it was queued.
func (c *core) begin(t *tree) {
	r := t.root
	t.queued = false
	input, err := c.read(t.input)
	t.input = payload{}
	if err != nil {
		c.stop(t, fault.Of(err))
		return
	}
	r.opened, r.downtime = c.lastAt, c.downtime
	c.setWall(r)
	c.decide(r, polity.Event{
		Kind: polity.Opened, Data: input, From: polity.AgentName(t.from), Agent: polity.AgentName(r.agent), Skill: r.skill, Folder: r.folder,
	})
}
