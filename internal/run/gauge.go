package run

import (
	"sync/atomic"
	"time"
)

// Gauges are figures of a partition at a moment.
type Gauges struct {
	Queue      int    // inputs that wait for the loop
	Awake      int    // runs in memory, with those below roots
	Asleep     int    // root runs that only wait, and are in no memory
	Stopped    int    // root runs that are stopped
	Effects    int    // effects in flight
	Stalls     uint64 // how often the store took nothing
	Checkpoint uint64 // commits since the last checkpoint
}

// gauges are what the loop tells of itself after each turn.
type gauges struct{ awake, asleep, stopped, effects atomic.Int64 }

func (g *gauges) set(p *Partition) {
	c := p.core
	g.awake.Store(int64(len(c.runs)))
	g.asleep.Store(int64(c.asleep))
	g.stopped.Store(int64(len(c.halted)))
	n := 0
	for _, l := range p.lines {
		n += l.size
	}
	g.effects.Store(int64(n))
}

// Gauges returns the partition's figures as they were after the last turn of its loop, which it does not wait for.
func (p *Partition) Gauges() Gauges {
	g := Gauges{
		Awake: int(p.gauges.awake.Load()), Asleep: int(p.gauges.asleep.Load()), Stopped: int(p.gauges.stopped.Load()), Effects: int(p.gauges.effects.Load()),
	}
	p.mu.Lock()
	g.Queue, g.Stalls, g.Checkpoint = len(p.inbox), p.stalls, p.tip.seq
	p.mu.Unlock()
	if p.keeper != nil {
		g.Checkpoint -= min(g.Checkpoint, p.keeper.newest.Load())
	}
	return g
}

// Measure has f told of each commit, from its being sent to its acknowledgement, and how many records it holds. f is called by the loop, which waits
// for it. Without it nothing is measured.
func (p *Partition) Measure(f func(took time.Duration, records int)) { p.measure.Store(&f) }

// measured tells that the append with the token was acknowledged.
func (p *Partition) measured(token uint64) {
	f, m := p.core.flight, p.measure.Load()
	if m != nil && f != nil && token == p.core.token && !f.sent.IsZero() {
		(*m)(time.Since(f.sent), f.records)
	}
}
