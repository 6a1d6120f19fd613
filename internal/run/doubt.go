package run

import (
	"slices"

	"polity.run"
	"polity.run/fault"
)

// beginsMax is how often an external effect is begun whose destination says each time that it was not done.
const beginsMax = 3

// An external effect without a result, or whose result is that nobody knows, is in doubt. Where its destination can be asked what
// became of it, it is. The log does not tell of the asking, which changes nothing: cut off by a crash, it begins again. It tells of the answer:
//
//	done      the effect's result, as if it had come
//	not done  a further beginning, under the same key; after beginsMax, or if it shall end anyway, a fault that says so
//	else      the fault that put it in doubt: it ends as unknown

// doubt goes on with an effect that began under an owner that has ended.
func (c *core) doubt(p *pending) {
	lost := fault.Of(fault.Unknown.New("%s: the process ended between the effect's beginning and its result; key %s",
		p.cmd.To, polity.EffectKey(p.run.id, p.cmd.Name, p.cmd.Attempt)))
	if !p.foreign { // the destination of what another run began knows nothing of this one's key
		c.pin(p)
	}
	if p.work.Asks == 0 {
		c.enqueue(p.result(result{usage: p.spentAtMost(), fault: lost}))
		return
	}
	c.inquire(p, lost)
}

// pin finds how a tool's call that was found in the log is done. What is not to be had any more cannot be asked about, and agents cannot.
func (c *core) pin(p *pending) {
	if p.cmd.Do != polity.DoCall {
		return
	}
	w, err := c.catalog.Work(p.run.release, p.run.agent, p.cmd.Do, p.cmd.To)
	if err == nil && w.Class == polity.EffectExternal {
		p.work = w
	}
}

// inquire has a destination asked what became of an effect. lost is its result if that is not found out.
func (c *core) inquire(p *pending, lost *fault.Error) {
	q := p.renew()
	q.asking, q.lost = true, lost
	g := c.pack()
	g.starts = append(g.starts, q)
}

// renew takes a pending command's place with one that has not been started: what is still heard of the old one is of no account.
func (p *pending) renew() *pending {
	q := &pending{
		run: p.run, cmd: p.cmd, key: p.key, request: p.request, held: p.held, why: p.why, since: p.since, work: p.work,
		routed: p.routed, began: p.began, begins: p.begins,
	}
	p.run.pending[slices.Index(p.run.pending, p)] = q
	p.done = true
	return q
}

// settles says whether res is the last word on an effect. If it is not, more is under way: its destination is asked, or it is begun again.
func (c *core) settles(p *pending, res *result) bool {
	switch {
	case !p.asking && p.began && p.work.Asks > 0 && res.fault != nil && res.fault.Kind == fault.Unknown:
		c.inquire(p, res.fault)
		return false
	case !p.asking || res.verdict == polity.VerdictDone:
		return true
	case res.verdict != polity.VerdictNotDone:
		lost := fault.Unknown.New("%s; its destination was asked, and does not say", p.lost.Text)
		if res.fault != nil {
			lost = fault.Unknown.New("%s; its destination was asked, and does not say: %s", p.lost.Text, res.fault.Text)
		}
		*res = result{fault: fault.Of(lost)}
	case p.why != nil:
		*res = result{fault: p.why, verdict: res.verdict}
	case p.begins >= beginsMax:
		f := fault.Unavailable.New("%s: it was begun %d times, and its destination says each time that it was not done", p.cmd.To, p.begins)
		*res = result{fault: fault.Of(f), verdict: res.verdict}
	default:
		q := p.renew()
		if q.routed = p.run.tree.paused.IsZero(); q.routed { // else it is begun when the run goes on
			c.write(q.beginning())
		}
		return false
	}
	return true
}

// beginning is the record that an external effect is about to be done.
func (p *pending) beginning() *record {
	return &record{kind: recBegan, run: p.run.id, name: p.cmd.Name, attempt: p.cmd.Attempt, request: p.request, effect: p.effect()}
}

// disown marks the effects that began in the run of which this one is a fork.
func (r *run) disown() {
	for _, p := range r.pending {
		p.foreign = p.began
		if p.child != nil {
			p.child.disown()
		}
	}
}
