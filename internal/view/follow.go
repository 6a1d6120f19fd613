package view

import (
	"context"
	"errors"
	"runtime"
	"time"

	"polity.run/fault"
	"polity.run/internal/run"
)

const (
	batchMax = 30_000      // facts in one transaction: the larger it is, the fewer times a page of an index is written
	textsMax = 16 << 20    // bytes of texts in it
	pace     = time.Second // between two transactions while nobody waits

	// While nobody waits and the kernel is at work, the view rests for restShare times as long as it worked, and so falls behind: by lagHalf it rests half of
	// that, and by a minute about as long as it works, which it always does.
	restShare   = 12
	lagHalf     = 5 * time.Second
	workMin     = 2 * time.Millisecond // before it rests
	restMax     = 10 * time.Second
	busyWindow  = 50 * time.Millisecond
	busyCommits = 100 // a second, from which on the kernel is at work
)

// follow reads the log from where the view is.
func (v *View) follow(ctx context.Context) error {
	p := &pacer{v: v, ctx: ctx, since: time.Now(), told: time.Now()}
	s, err := v.store.session(ctx, p.pause)
	if err != nil {
		return err
	}
	w := newWriter(v.cfg, v.store, s)
	defer w.close()
	if err := v.load(s); err != nil { // whether a transaction counted whose answer was lost, the store knows
		return err
	}
	at := v.position()
	if at.seq == 0 && at.runs > 0 { // what the base of a log has was not told to its end
		return errOther
	}
	if err := v.ours(ctx, at); err != nil {
		return err
	}
	w.at = at
	if at.seq >= v.cfg.Log.Tip() {
		v.goesOn()
	}
	return v.cfg.Log.Feed(ctx, at.seq+1, func(c *run.Commit) error {
		if err := w.commit(c); err != nil {
			return err
		}
		p.told = c.At
		p.pause()
		if !w.full() && (c.Seq < v.cfg.Log.Tip() || p.gather(w.flushed, c.Seq)) {
			return nil
		}
		if err := w.flush(); err != nil {
			return err
		}
		v.move(w.at)
		v.goesOn()
		p.pause()
		return nil
	})
}

// ours returns errOther if the log does not have the commit that a view tells of last.
func (v *View) ours(ctx context.Context, at position) error {
	if at.seq == 0 {
		return nil
	}
	c, err := v.cfg.Log.Commit(ctx, at.seq)
	if errors.Is(err, fault.NotFound) || err == nil && c.Head != at.head {
		return errOther
	}
	return err
}

// pacer leaves most of the machine to the runs. It is for one goroutine.
type pacer struct {
	v     *View
	ctx   context.Context // of the reading
	since time.Time       // work goes on since then
	told  time.Time       // of the commit that is being taken in

	looked time.Time // at the log's end
	tip    uint64
	busy   bool
}

// pause is called again and again while the view works.
func (p *pacer) pause() {
	// A goroutine that gives way is taken up again when no other is there to be, or once in a while: so the kernel's go before it, which are woken for
	// some microseconds each. Else they would wait for the end of its slice of ten milliseconds.
	runtime.Gosched()
	worked := time.Since(p.since)
	if worked < workMin {
		return
	}
	if p.kernelBusy() && !p.v.isWanted(p.v.cfg.Log.Tip()) {
		share := restShare / (1 + float64(time.Since(p.told))/float64(lagHalf))
		p.v.sleep(p.ctx, min(time.Duration(max(share, 1)*float64(worked)), restMax))
	}
	p.since = time.Now()
}

// kernelBusy says whether the kernel has more to do than a little.
func (p *pacer) kernelBusy() bool {
	past := time.Since(p.looked)
	if past < busyWindow {
		return p.busy
	}
	tip := p.v.cfg.Log.Tip()
	p.busy = float64(tip-p.tip) >= busyCommits*past.Seconds() && !p.looked.IsZero()
	p.looked, p.tip = time.Now(), tip
	return p.busy
}

// gather waits a little at the end of the log, unless somebody waits for what it tells or nothing was written for a while. It says whether there is more
// to read now.
func (p *pacer) gather(flushed time.Time, seq uint64) bool {
	left := pace - time.Since(flushed)
	if left <= 0 || p.v.isWanted(seq) {
		return false
	}
	p.v.sleep(p.ctx, left)
	p.since = time.Now() // this was no work
	return seq < p.v.cfg.Log.Tip()
}

// sleep waits, unless somebody is in a hurry.
func (v *View) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-v.hurry:
	case <-ctx.Done():
	}
}

// isWanted says whether somebody waits for a commit up to a position that the view does not tell of.
func (v *View) isWanted(seq uint64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.wanted > v.at.seq && v.wanted <= seq
}
