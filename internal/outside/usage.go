package outside

import (
	"sync/atomic"
	"time"

	"polity.run"
)

// usage counts what an agent was asked since the process began. It is safe for concurrent use.
type usage struct {
	asked, live, failed, answered, spent atomic.Int64 // spent in nanoseconds, on what was answered
}

// ask notes a question, and returns when it was put.
func (u *usage) ask(live bool) time.Time {
	u.asked.Add(1)
	if live {
		u.live.Add(1)
	}
	return time.Now()
}

// answer notes that a question was answered which was put at a time, zero if nobody knows when.
func (u *usage) answer(put time.Time, err error) {
	if !put.IsZero() {
		u.answered.Add(1)
		u.spent.Add(int64(time.Since(put)))
	}
	if err != nil {
		u.failed.Add(1)
	}
}

// fail notes that a question was not answered.
func (u *usage) fail() { u.failed.Add(1) }

// describe adds the figures to p.
func (u *usage) describe(p *polity.Presence) {
	p.Asked, p.Live, p.Failed = u.asked.Load(), u.live.Load(), u.failed.Load()
	if n := u.answered.Load(); n > 0 {
		p.MeanTime = polity.Duration(u.spent.Load() / n)
	}
}
