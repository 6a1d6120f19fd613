package run

import "time"

// earlyWait is how long a commit waits at most for effects that began before it: longer than a function takes that only computes, and shorter than a write to a disk. What
// was slower than that is not waited for the next times, up to earlySkipMax of them.
const (
	earlyWait    = 100 * time.Microsecond
	earlySkipMax = 1024
)

// Early lets an effect of class none that is all its run was asked for begin before the commit that asks for it is durable, and if it is quick its result stands in that
// commit. That is sound for what does nothing but compute or read: a crash may then have called it for a run that nobody ever knew of. Whoever asked is answered, and
// effects of other classes begin, once the commit is durable, as ever; bounds are reserved before it begins, and each attempt has its result.
//
// It remembers how quick the effect has been, for one partition. The zero value is ready.
type Early struct {
	penalty int // how often it was not waited for, the last time that it was late
	skip    int // how often it is still not to be
}

// expected says whether a commit should wait for the result.
func (e *Early) expected() bool {
	if e.skip > 0 {
		e.skip--
		return false
	}
	return true
}

func (e *Early) quick() { e.penalty /= 2 }

func (e *Early) late() {
	e.penalty = min(2*e.penalty+1, earlySkipMax)
	e.skip = e.penalty
}

// mayLead says that a command may begin early: an effect that is all that its run was asked for. In a run that does more, whoever is asked later may rely on it that what was
// answered before is durable.
func (p *pending) mayLead() bool {
	if p.work.Early == nil || p.run.parent != nil {
		return false
	}
	switch p.run.program.Decider.(type) {
	case solo, courier:
		return true
	default:
		return false
	}
}

// lead begins the effects of a pack that need not wait until it is durable.
func (c *core) lead(g *pack) {
	for _, p := range g.early[g.led:] {
		if p.done {
			continue
		}
		p.started = true
		if !g.held && p.work.Early.expected() {
			p.awaited = g.seq
			g.waits++
		}
		c.host.start(p)
	}
	g.led = len(g.early)
}

// holding says that a pack is not to be sent yet: results will be in it before long.
func (c *core) holding(g *pack) bool {
	if g.waits == 0 || g.let || c.full() {
		return false
	}
	if !g.held {
		g.held = true
		c.host.hold(g.seq)
	}
	return true
}

// met takes that the result of an effect has come.
func (c *core) met(p *pending) {
	if g := c.gather; g != nil && p.awaited == g.seq && !g.let {
		g.waits--
		p.work.Early.quick()
	}
	p.awaited = 0
}

// letGo has the pack of a commit sent, whatever it waits for.
func (c *core) letGo(seq uint64) {
	g := c.gather
	if c.dead != nil || g == nil || g.seq != seq || !g.held || g.let {
		return
	}
	g.let = true
	for _, p := range g.early {
		if p.awaited == seq && !p.done {
			p.work.Early.late()
		}
	}
}

// hold lets a pack go after a moment.
func (p *Partition) hold(seq uint64) {
	p.held = seq
	if p.hurry == nil {
		p.hurry = time.AfterFunc(earlyWait, func() { p.urge(func(c *core) { c.letGo(p.held) }) })
		return
	}
	p.hurry.Reset(earlyWait)
}
