package engine

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"

	"polity.run/internal/access"
	"polity.run/internal/bus"
	"polity.run/internal/run"
)

const (
	auditCopyAfter = time.Second      // a record is in the journal this much later at the latest, if nobody asks before
	auditCopySoft  = 256 << 10        // bytes of records from which on a message of the journal takes those of no further commit
	auditCopyMax   = 2 * time.Second  // one attempt: the log has them
	auditCopyAgain = 10 * time.Second // after one that failed, as on a full disk: meanwhile nobody waits for another
	auditOwedMax   = 8 << 20          // bytes of records that are to be copied, before no more come by the log of runs
)

// audits is the journal of who wanted what. A record that a commit of the log of runs has is copied from there a moment later, many at once and in order: it is safe where it
// is, and a write to the disk for each would cost as much again as what was asked for. How far the log is copied the journal says itself. It is safe for concurrent use.
type audits struct {
	bus *bus.Bus
	log *slog.Logger

	turn    sync.Mutex // held by who opens the journal, or copies into it
	journal *bus.Journal

	mu      sync.Mutex
	owed    []owedAudit // to be copied, in the order of the log
	size    int         // bytes of them
	copied  uint64      // nothing of the log up to this commit is owed
	serving bool        // the log is folded
	soon    bool        // try comes
	closed  bool
	failed  error     // the last attempt to copy; nil if it went well
	tried   time.Time // when that was
}

// owedAudit is a record that a commit has.
type owedAudit struct {
	commit uint64
	line   []byte
}

var _ run.Auditor = (*audits)(nil)

// Begin reads how far the log is copied, and sees to it that this is no further than it goes: it may have been restored as it was before.
func (a *audits) Begin(ctx context.Context, last uint64) error {
	there, err := a.bus.HasJournal(ctx, bus.AccessJournal)
	if err != nil || !there {
		return err
	}
	j, err := a.open(ctx)
	if err != nil || a.copied <= last {
		return err
	}
	a.copied = last
	return j.SetBack(ctx, last)
}

// open returns the journal, which is made when there is something to write.
func (a *audits) open(ctx context.Context) (*bus.Journal, error) {
	a.turn.Lock()
	defer a.turn.Unlock()
	return a.opened(ctx)
}

// opened is open for who has the turn.
func (a *audits) opened(ctx context.Context) (*bus.Journal, error) {
	if a.journal != nil {
		return a.journal, nil
	}
	j, err := a.bus.Journal(ctx, bus.AccessJournal, bus.AccessMax, bus.AccessAge)
	if err != nil {
		return nil, err
	}
	copied, err := j.Copied(ctx)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.copied = max(a.copied, copied)
	a.mu.Unlock()
	a.journal = j
	return j, nil
}

// Audited takes what a commit of the log has. While the log is folded it copies what would be too much to hold.
func (a *audits) Audited(commit uint64, at time.Time, lines [][]byte) {
	a.mu.Lock()
	if commit <= a.copied || time.Since(at) > bus.AccessAge { // what the journal would have forgotten is not brought back
		a.mu.Unlock()
		return
	}
	for _, line := range lines {
		a.owed = append(a.owed, owedAudit{commit, slices.Clone(line)})
		a.size += len(line)
	}
	much := !a.serving && a.size > auditOwedMax
	a.later()
	a.mu.Unlock()
	if much {
		a.try()
	}
}

// serve says that the log is folded: from now on nothing waits for the journal.
func (a *audits) serve() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.serving = true
	a.later()
}

// later has what is owed copied soon.
func (a *audits) later() {
	if len(a.owed) > 0 && a.serving && !a.closed && !a.soon {
		a.soon = true
		after := auditCopyAfter
		if a.failed != nil {
			after = auditCopyAgain
		}
		time.AfterFunc(after, a.try)
	}
}

// try copies what is owed. If it cannot it tries again later: the log has it.
func (a *audits) try() {
	a.mu.Lock()
	a.soon = false
	a.mu.Unlock()
	err := a.copy(context.Background())
	if err == nil {
		return
	}
	a.log.Warn("engine: who wanted what is not copied into the journal yet", "error", err)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.later()
}

// copy copies what is owed now, and returns when that is safe.
func (a *audits) copy(ctx context.Context) error {
	a.turn.Lock()
	defer a.turn.Unlock()
	a.mu.Lock()
	failed, ago := a.failed, time.Since(a.tried)
	a.mu.Unlock()
	if failed != nil && ago < auditCopyAgain {
		return failed
	}
	ctx, cancel := context.WithTimeout(ctx, auditCopyMax)
	defer cancel()
	err := a.copyAll(ctx)
	a.mu.Lock()
	a.failed, a.tried = err, time.Now()
	a.mu.Unlock()
	return err
}

// copyAll is copy for who has the turn.
func (a *audits) copyAll(ctx context.Context) error {
	for {
		a.mu.Lock()
		lines, from, to := nextAudits(a.owed)
		a.mu.Unlock()
		if len(lines) == 0 {
			return nil
		}
		j, err := a.opened(ctx)
		if err != nil {
			return err
		}
		copied, err := j.Copy(ctx, lines, from, to)
		a.paid(copied)
		if err != nil {
			return err
		}
	}
}

// nextAudits returns the records of the first commits, as many as one message takes: a commit's are never in two.
func nextAudits(owed []owedAudit) (lines [][]byte, from, to uint64) {
	size := 0
	for _, o := range owed {
		if size >= auditCopySoft && o.commit != to {
			break
		}
		if len(lines) == 0 {
			from = o.commit
		}
		lines, to, size = append(lines, o.line), o.commit, size+len(o.line)
	}
	return lines, from, to
}

// paid takes that the log is copied up to a commit.
func (a *audits) paid(copied uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for n < len(a.owed) && a.owed[n].commit <= copied {
		a.size -= len(a.owed[n].line)
		n++
	}
	a.owed = slices.Delete(a.owed, 0, n)
	a.copied = max(a.copied, copied)
}

// Kept copies what is owed.
func (a *audits) Kept(ctx context.Context, _ uint64) error { return a.copy(ctx) }

// room says whether more records may come by the log of runs.
func (a *audits) room() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.size < auditOwedMax
}

// close copies what is owed, if that can be done: else it is when the log is folded again.
func (a *audits) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	if a.bus == nil {
		return
	}
	if err := a.copy(context.Background()); err != nil {
		a.log.Warn("engine: who wanted what is copied into the journal at the next start", "error", err)
	}
}

// Carried is a record of who wants what on its way: the commit of the log of runs that does what is asked for first has it too, and where nothing does the journal alone.
type Carried struct {
	engine *Engine
	audit  *run.Audit
	record access.Record
}

// Carry returns a context in which to do what somebody wants, and what carries the record of it. Offer it as soon as it is allowed, and call Keep before it is answered. It
// returns nil, and ctx, if records do not go this way now: then use Audit.
func (e *Engine) Carry(ctx context.Context) (context.Context, *Carried) {
	if !e.doors.audits.room() {
		return ctx, nil
	}
	c := &Carried{engine: e, audit: run.NewAudit()}
	return run.WithAudit(ctx, c.audit), c
}

// Offer says what the record is. It may be called once.
func (c *Carried) Offer(r access.Record) {
	c.record = r
	if data, err := json.Marshal(r); err == nil {
		c.audit.Offer(data) // what it does not take the journal does, or says why not
	}
}

// Keep returns when the record that was offered is safe. It may be called once, and then no commit has it any more that did not before.
func (c *Carried) Keep(ctx context.Context) error {
	if c.audit.Withdraw() {
		return c.audit.Wait(ctx)
	}
	return c.engine.Audit(ctx, c.record)
}
