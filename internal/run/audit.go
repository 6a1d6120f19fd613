package run

import (
	"context"
	"sync/atomic"
	"time"
)

// AuditMax is the most bytes of what is written of who asked for something. What is longer is not taken.
const AuditMax = 4 << 10

// Audit is what is to be written of who asked for something: one line of text that means nothing to the kernel. Of all that is asked for with a context of WithAudit the first
// that changes the log takes it into its own commit, before what it changes, so that there is neither without the other, and it costs no write of its own. It is safe for
// concurrent use.
//
//	NewAudit -> Offer -> taken by a commit      -> Withdraw returns true, and Wait how that went
//	                  -> by none                -> Withdraw returns false, and none takes it any more
type Audit struct {
	state atomic.Uint32
	data  []byte
	done  chan error // holds what became of the commit that took it
}

// The states of an Audit.
const (
	auditNew uint32 = iota
	auditOffered
	auditTaken
	auditWithdrawn
)

// NewAudit returns one that is not offered yet.
func NewAudit() *Audit { return &Audit{done: make(chan error, 1)} }

// Offer lets a commit take data from now on; it is not to be changed. It may be called once, and returns false for more than AuditMax bytes.
func (a *Audit) Offer(data []byte) bool {
	if len(data) > AuditMax {
		return false
	}
	a.data = data
	return a.state.CompareAndSwap(auditNew, auditOffered)
}

// Withdraw says whether a commit has taken it. If not, none will.
func (a *Audit) Withdraw() bool {
	return !a.state.CompareAndSwap(auditNew, auditWithdrawn) && !a.state.CompareAndSwap(auditOffered, auditWithdrawn) && a.state.Load() == auditTaken
}

// Wait returns when the commit that has taken it is durable, or why that is not known. It is for one caller, once Withdraw returned true.
func (a *Audit) Wait(ctx context.Context) error {
	select {
	case err := <-a.done:
		return err
	case <-ctx.Done():
		return contextFault(ctx, "run: audit")
	}
}

type auditKey struct{}

// WithAudit returns a context whose first command that changes the log takes a.
func WithAudit(ctx context.Context, a *Audit) context.Context {
	return context.WithValue(ctx, auditKey{}, a)
}

// as does f for whoever asks with ctx.
func as(ctx context.Context, f func(*core)) func(*core) {
	a, _ := ctx.Value(auditKey{}).(*Audit)
	if a == nil {
		return f
	}
	return func(c *core) { c.by(a, f) }
}

// by does f, whose first record takes a.
func (c *core) by(a *Audit, f func(*core)) {
	c.audit = a
	f(c)
	c.audit = nil
}

// testify writes who asked for the record that is about to be written.
func (c *core) testify() {
	a := c.audit
	c.audit = nil
	if !a.state.CompareAndSwap(auditOffered, auditTaken) {
		return
	}
	c.write(&record{kind: recAudited, data: payload{data: a.data}})
	c.answer(func(err error) { a.done <- err })
}

// audited takes that somebody asked for something. No state follows from it.
func (c *core) audited(rec *record) {
	switch {
	case c.heard == nil:
	case c.live:
		c.gather.audits = append(c.gather.audits, rec.data.data)
	default:
		c.told = append(c.told, rec.data.data)
	}
}

// Auditor keeps what Audits say somewhere else than in the log.
type Auditor interface {
	// Begin is called when the log is about to be folded, with its last commit.
	Begin(ctx context.Context, last uint64) error
	// Audited tells what a commit has taken, in the order of the log: of what comes after the last checkpoint while the log is folded, which waits for it, and then of
	// each commit as it is acknowledged, in the partition's goroutine, which must not wait. It keeps no part of data.
	Audited(commit uint64, at time.Time, data [][]byte)
	// Kept returns when all that Audited was told up to a commit is safe. Before that no checkpoint and no base stands for the commit.
	Kept(ctx context.Context, commit uint64) error
}

// auditsWait is how long a checkpoint waits for its Auditor.
const auditsWait = time.Minute

// auditsKept returns when nobody needs the log up to a commit for what was audited.
func (p *Partition) auditsKept(seq uint64) error {
	if p.cfg.Auditor == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), auditsWait)
	defer cancel()
	return p.cfg.Auditor.Kept(ctx, seq)
}
