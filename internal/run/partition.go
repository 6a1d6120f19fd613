// Package run is the durable kernel: a run is a log, a partition is a log of many runs, and a commit is
// one message.
//
// It exists so that everything an organization does survives a crash, is done once in effect, and stays
// within its bounds, with no code of its own for it. The life of a partition:
//
//	Open: claim the log -> fold it -> resume what is undone
//	then: gather inputs -> fold, decide -> pack -> append if the log ends with the commit before ->
//	      once acknowledged: answer, dispatch effects, tell watchers
//
// The state machine is core, which has no goroutine and no clock; Partition gives it both.
package run

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// Limits of the partition's surroundings.
const (
	ackMax         = 2 * time.Second  // an append without an answer is in doubt after this
	sendsMax       = 4                // appends of one commit before the store is taken to refuse
	headTries      = 5                // reads of the log's end before it is taken to be out of reach
	claimsMax      = 1000             // tries to take a busy log: under full load one in some twenty succeeds
	timeoutDefault = 60 * time.Second // of an effect that names none
	effectGrace    = 3 * time.Second  // an effect that was asked to end is waited for this long
	lagPause       = time.Second      // between two looks at a log whose end lags
	idleCheck      = 2 * time.Second  // an idle owner looks this often whether the log is still its own
	anchorEvery    = time.Second
	idleMax        = 1024     // goroutines for effects that are kept though they have nothing to do
	acksMax        = 64       // acknowledgements buffered; more are dropped, which is only a delay
	freeMin        = 32 << 20 // bytes: no new run is admitted with less room on the disk
)

// log is the partition's stream as its owner sees it. *bus.Log is one; the simulation has another.
type log interface {
	Append(data []byte, id, prev string, at, token uint64) error
	Last(ctx context.Context) (bus.Entry, error)
	Get(ctx context.Context, seq uint64) (bus.Entry, error)
	Read(ctx context.Context, from, to uint64, each func(bus.Entry) error) error
	First(ctx context.Context) (uint64, error)
	Drop(ctx context.Context, upTo uint64) error
}

var _ log = (*bus.Log)(nil)

// Config is what a partition works with.
type Config struct {
	Catalog Catalog
	Blobs   *Blobs
	// Keys are what sealed runs are enciphered with; nil for none.
	Keys Keys
	// Do does an effect, in a goroutine of its own. It returns soon after ctx ended; if it does not, it is left behind. It keeps nothing of e.
	// It may answer later instead: see Effect.Later.
	Do func(ctx context.Context, e *Effect) (json.RawMessage, polity.Usage, error)
	// Ask asks a destination what became of an effect in doubt whose Work has Asks. It returns soon after ctx ended, and keeps nothing of e.
	// A fault is as good as polity.VerdictUnknown. Nil: no destination is asked.
	Ask func(ctx context.Context, e *Effect) (polity.Finding, error)
	// Anchor is the file that remembers the log's end outside of the log; "" for none.
	Anchor string
	// Dormant is the folder for what waiting runs leave there, and for checkpoints; "" keeps all runs in memory, and folds the whole log at each start.
	// Everything in it can be removed while nobody serves the log.
	Dormant string
	// CheckpointEvery is how many bytes of log there are between two checkpoints; default 32 MiB, or as many as the last one had if that is more.
	CheckpointEvery uint64
	// Whole folds the whole log though there is a checkpoint.
	Whole bool
	// Park leaves unfinished runs that are found in the log alone until they are opened again.
	Park bool
	// Exported says that spans of runs are exported, with the IDs of TraceOf and SpanOf: then what effects ask continues from the span of their step.
	Exported bool
	// Restart starts the store anew, which the partition wants when it takes nothing and there is room; nil: the partition gives up then. It is called by one
	// goroutine at a time.
	Restart func(ctx context.Context) error
	// Archived names the file that a run which has ended was archived in, or "": for errors about what was dropped. Nil knows of none.
	Archived func(id polity.RunID) string
	// Owes, if not nil, is called when Owed has more to tell. It must not block.
	Owes func()
	// Auditor keeps what Audits say; nil: the log alone has it.
	Auditor Auditor
	// Lags is how often, a second apart, the log's end is read again where it is behind what is known of it: of several servers one that has just begun
	// to lead may say so. 0 for none.
	Lags int
	// Free returns the bytes that are free for the store; nil for no limit.
	Free func() (uint64, error)
	// Now is the clock of runs, for tests that do not wait; default time.Now. When it jumps forward, call Wake.
	Now func() time.Time
	Log *slog.Logger
}

// Partition serves one log. Its methods are safe for concurrent use.
type Partition struct {
	cfg  Config
	log  log
	ends *recentEnds
	core *core

	vault *vault

	keeper *keeper // nil without a folder for it

	first     atomic.Uint64 // the first commit that the log has and that may be read
	trusted   Digest        // the root of a base that was read back; of who calls Rebase and Drop
	rechecked chan struct{} // closed when what a checkpoint stands for was read

	ctx      context.Context // of effects
	cancel   context.CancelFunc
	acks     Acks
	wake     chan struct{}
	stopping atomic.Bool
	ended    chan struct{}
	once     sync.Once
	jobs     chan *pending // to idle goroutines
	idle     atomic.Int32
	lines    map[time.Duration]*line // effects in flight by their time limit; the loop's own
	hurry    *time.Timer             // lets go what is held; the loop's own
	held     uint64                  // the commit that is; likewise
	busy     sync.WaitGroup          // the host's goroutines
	effects  sync.WaitGroup          // those of effects, some of which may never end

	mu      sync.Mutex
	inbox   []input
	measure atomic.Pointer[func(took time.Duration, records int)]
	gauges  gauges
	urgent  []func(*core) // what became of the commit in flight: does not wait until a pack has room
	closed  bool
	fault   error           // why the partition went down
	tip     anchor          // the log's acknowledged end
	feeds   []chan struct{} // those who read the log
	space   spaceCheck

	stalled error  // why the store takes nothing now
	stalls  uint64 // how often it took nothing
	deaf    int    // how often in a row an idle owner could not ask for its end; the loop's own
	revives int    // how often in a row it did not though there was room; the loop's own

	anchoring sync.Mutex
	anchored  anchor // what the anchor's file holds
}

// input is one thing for the core. The common ones have fields; the others are functions.
type input struct {
	effect *pending
	result result
	do     func(c *core)
	refuse func(error) // answers without doing it; nil for what can wait
}

// Acks holds the log's acknowledgements on their way to the partition: give its Put to bus.Log, and it to Open.
type Acks struct {
	list chan bus.Ack
	wake chan struct{} // the partition's
}

// NewAcks returns a buffer for acknowledgements.
func NewAcks() Acks { return Acks{make(chan bus.Ack, acksMax), make(chan struct{}, 1)} }

// Put takes one. If the buffer is full it is dropped, which the partition bears like a lost one.
func (a Acks) Put(ack bus.Ack) {
	select {
	case a.list <- ack:
	default:
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Open takes the log, folds it and begins to serve. It returns fault.Damaged with what is wrong and what is sound
// if the log is not whole, and fault.Unavailable if it cannot be read. Close it.
func Open(ctx context.Context, l log, acks Acks, cfg Config) (*Partition, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Ask == nil {
		cfg.Ask = func(context.Context, *Effect) (polity.Finding, error) {
			return polity.Finding{Verdict: polity.VerdictUnknown}, nil
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Partition{
		ends: newRecentEnds(),
		cfg:  cfg, log: l, acks: acks, wake: acks.wake, ended: make(chan struct{}), rechecked: make(chan struct{}),
		lines: map[time.Duration]*line{}, jobs: make(chan *pending),
	}
	var epoch [8]byte
	if _, err := rand.Read(epoch[:]); err != nil {
		return nil, fault.Internal.New("run: open: %w", err)
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.vault = newVault(cfg.Keys)
	p.begin(epoch)
	if err := p.seize(ctx, epoch); err != nil {
		p.cancel()
		return nil, errors.Join(err, p.shut())
	}
	if k := p.keeper; k != nil && k.restored.seq > 0 {
		p.busy.Add(1)
		go p.recheck(k.restored, p.core.base)
	} else {
		close(p.rechecked)
	}
	p.acknowledged()
	p.core.now = cfg.Now()
	p.core.serve()
	p.core.settle()
	go p.loop()
	if cfg.Anchor != "" {
		p.busy.Add(1)
		go p.keepAnchor()
	}
	return p, nil
}

// begin makes a core that knows nothing.
func (p *Partition) begin(epoch [8]byte) {
	p.core = newCore(p, p.cfg.Catalog, epoch)
	p.core.vault = p.vault
	p.core.parks = p.cfg.Park
	p.core.noted = p.logs()
	p.core.flows = p.flows
	p.core.owes = p.cfg.Owes
	if p.cfg.Auditor != nil {
		p.core.heard = p.cfg.Auditor.Audited
	}
}

// seize makes the log this owner's, and folds it.
func (p *Partition) seize(ctx context.Context, epoch [8]byte) error {
	known, err := readAnchor(p.cfg.Anchor)
	if err != nil {
		return err
	}
	last, err := p.claim(ctx, epoch, known)
	if err != nil {
		return err
	}
	first, err := p.log.First(ctx)
	if err != nil {
		return err
	}
	p.first.Store(first)
	if err := p.keep(ctx, last); err != nil {
		return err
	}
	if err := p.rebuild(ctx, last); err != nil {
		return err
	}
	if a := p.cfg.Auditor; a != nil {
		if err := a.Begin(ctx, last); err != nil {
			return err
		}
	}
	if err := p.fold(ctx, last, known); err != nil {
		return err
	}
	if err := p.stands(); err != nil {
		return err
	}
	return p.vault.destroyErased()
}

// claim appends a commit with a new owner epoch to whatever the log ends with: from then on nobody else's append
// is accepted. It folds nothing yet, so it does not lose against a busy owner for ever.
func (p *Partition) claim(ctx context.Context, epoch [8]byte, known anchor) (uint64, error) {
	last, err := p.log.Last(ctx)
	for try := range uint64(claimsMax) {
		if err != nil {
			return 0, err
		}
		if last.Seq < known.seq && try < uint64(p.cfg.Lags) {
			if err := p.pause(ctx, lagPause); err != nil {
				return 0, err
			}
			last, err = p.log.Last(ctx)
			continue
		}
		if last.Seq < known.seq { // nothing is written to it, so that it can still be restored as it is
			ends := fmt.Sprintf("ends with commit %d", last.Seq)
			if last.Seq == 0 {
				ends = "has no last commit that can be read"
			}
			return 0, fault.Damaged.New("run: open: the log %s, and %s remembers commit %d: the end of the log is gone. "+
				"Restore it, or remove that file to go on with what is left", ends, p.cfg.Anchor, known.seq)
		}
		var prev hash
		at := p.cfg.Now()
		if last.Seq > 0 {
			prev = sha256.Sum256(last.Data)
			var f frame
			if err := f.decode(last.Data); err != nil {
				return 0, fault.Of(err).Kind.New("run: open: commit %d, the last one: %w", last.Seq, err)
			}
			if at.Before(f.at) {
				at = f.at
			}
		}
		data := appendRecord(beginFrame(nil, epoch, prev, at), &record{kind: recClaim})
		id := hash(sha256.Sum256(data))
		if err := p.log.Append(data, id.id(), prev.id(), last.Seq+1, try); err != nil {
			return 0, err
		}
		if err := p.claimAck(ctx, try); err != nil {
			return 0, err
		}
		// Refused, lost or acknowledged: the log says which.
		last, err = p.log.Last(ctx)
		if err == nil && last.Seq > 0 && sha256.Sum256(last.Data) == id {
			p.core.token = claimsMax
			return last.Seq, nil
		}
	}
	return 0, fault.Unavailable.New("run: open: another owner is so busy that %d claims came too late", claimsMax)
}

// pause waits, or returns fault.Cancelled.
func (p *Partition) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fault.Cancelled.New("run: open: %w", ctx.Err())
	}
}

func (p *Partition) claimAck(ctx context.Context, token uint64) error {
	timeout := time.NewTimer(ackMax)
	defer timeout.Stop()
	for {
		select {
		case a := <-p.acks.list:
			if a.Token == token {
				return nil
			}
		case <-timeout.C:
			return nil
		case <-ctx.Done():
			return fault.Cancelled.New("run: open: %w", ctx.Err())
		}
	}
}

func (p *Partition) fold(ctx context.Context, last uint64, known anchor) error {
	var f frame
	sound := p.core.seq // up to a checkpoint
	if known.seq > 0 && known.seq >= p.first.Load() && known.seq <= sound {
		if err := p.holds(ctx, known.seq, known.head); errors.Is(err, fault.Unavailable) {
			return fault.Unavailable.New("run: open: commit %d, which %s remembers: %w", known.seq, p.cfg.Anchor, err)
		} else if err != nil {
			return fault.Of(err).Kind.New("run: open: %w, and %s remembers it: the log was replaced, or its end is gone and was written anew", err, p.cfg.Anchor)
		}
	}
	err := p.log.Read(ctx, sound+1, last, func(e bus.Entry) error {
		if err := f.decode(e.Data); err != nil {
			return err
		}
		id := hash(sha256.Sum256(e.Data))
		if e.Seq == known.seq && id != known.head {
			return fault.Damaged.New("it is not the one that %s remembers: the log was replaced, or its end is gone and was written anew", p.cfg.Anchor)
		}
		if err := p.core.fold(&f, id, e.Seq); err != nil {
			return err
		}
		sound = e.Seq
		if p.keeper != nil {
			p.keeper.logged += uint64(len(e.Data))
		}
		return nil
	})
	if err == nil || errors.Is(err, fault.Cancelled) {
		return err
	}
	return fault.Of(err).Kind.New("run: open: commit %d of %d: %w; up to commit %d the log is sound", sound+1, last, err, sound)
}

// loop is the partition's one goroutine. It wakes for acknowledgements, inputs and the clock, in this order.
func (p *Partition) loop() {
	defer close(p.ended)
	c := p.core
	w := watch{active: p.cfg.Now()}
	w.timer = time.AfterFunc(idleCheck, p.nudge)
	defer w.timer.Stop()
	var batch []input
	for at := 0; ; {
		<-p.wake
		if p.stopping.Load() {
			p.mu.Lock()
			p.inbox = slices.Concat(batch[at:], p.inbox) // Close answers them
			p.mu.Unlock()
			return
		}
		c.now = p.cfg.Now()
		p.takeAcks()
		p.takeUrgent()
		if c.reviving {
			batch, at = p.refuse(batch[at:]), 0
		}
		for c.dead == nil && !c.full() {
			if at == len(batch) {
				batch, at = p.take(batch), 0
				if len(batch) == 0 {
					break
				}
			}
			p.handle(&batch[at])
			batch[at] = input{}
			at++
		}
		next := p.late(c.now)
		if due := c.tick(); !due.IsZero() && !c.full() { // else it waits for the acknowledgement
			next = sooner(next, due)
		}
		c.settle()
		p.tend()
		p.gauges.set(p)
		if c.dead != nil {
			p.drain(batch[at:])
			return
		}
		if c.flight == nil && (at < len(batch) || c.full()) {
			p.nudge() // there is more to do than one pack holds
		}
		p.look(&w, next)
	}
}

// watch is the one timer that serves the runs' timers, the append in flight and the idle check.
type watch struct {
	timer  *time.Timer
	armed  time.Time // when it fires
	sent   uint64    // the append that is timed
	since  time.Time // when it was sent
	active time.Time // when the last append was seen in flight
}

// look sets the timer for what is due next, and does what is due now.
func (p *Partition) look(w *watch, next time.Time) {
	c := p.core
	if c.flight != nil {
		if w.sent != c.token {
			w.sent, w.since = c.token, c.now
		}
		if c.now.Sub(w.since) >= ackMax {
			c.inDoubt(w.sent)
			w.since = c.now
		}
		next = sooner(next, w.since.Add(ackMax))
		w.active = c.now
	} else {
		if c.now.Sub(w.active) >= idleCheck {
			p.checkHead()
			w.active = c.now
		}
		next = sooner(next, w.active.Add(idleCheck))
	}
	if !w.armed.After(c.now) || next.Before(w.armed) {
		w.timer.Reset(next.Sub(c.now))
		w.armed = next
	}
}

func (p *Partition) takeAcks() {
	for {
		select {
		case a := <-p.acks.list:
			p.ack(a)
		default:
			return
		}
	}
}

// urge hands something to the loop that is done before all inputs: where the commit in flight is in doubt and the next one is full no input is taken.
func (p *Partition) urge(f func(*core)) {
	p.mu.Lock()
	p.urgent = append(p.urgent, f)
	p.mu.Unlock()
	p.nudge()
}

func (p *Partition) takeUrgent() {
	p.mu.Lock()
	urgent := p.urgent
	p.urgent = nil
	p.mu.Unlock()
	for _, f := range urgent {
		f(p.core)
	}
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

func (p *Partition) ack(a bus.Ack) {
	if a.Err != nil {
		p.core.inDoubt(a.Token)
		return
	}
	p.measured(a.Token)
	p.core.appended(a.Token, a.Seq)
}

func (p *Partition) handle(in *input) {
	if in.effect != nil {
		in.effect.leave()
		p.core.done(in.effect, in.result)
		return
	}
	in.do(p.core)
}

// take returns what has come in, and leaves spare to be filled next.
func (p *Partition) take(spare []input) []input {
	p.mu.Lock()
	defer p.mu.Unlock()
	batch := p.inbox
	p.inbox = spare[:0]
	return batch
}

// post hands an input to the loop. It returns false if the loop has ended.
func (p *Partition) post(in input) bool {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return false
	}
	p.inbox = append(p.inbox, in)
	p.mu.Unlock()
	p.nudge()
	return true
}

// Wake has the partition look at its clock again.
func (p *Partition) Wake() { p.nudge() }

func (p *Partition) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// drain answers what came too late: the core answers everything with the reason for its end.
func (p *Partition) drain(rest []input) {
	p.mu.Lock()
	if !p.closed {
		p.closed, p.fault = true, p.core.dead
	}
	rest = append(rest, p.inbox...)
	p.inbox = nil
	p.mu.Unlock()
	for i := range rest {
		p.handle(&rest[i])
	}
	p.cancel()
}

// Close stops serving: what is in flight may or may not be written, effects are asked to end, and nothing
// acknowledged is lost. It waits for all goroutines.
func (p *Partition) Close() error {
	var err error
	p.once.Do(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.cancel()
		p.stopping.Store(true)
		p.nudge()
		<-p.ended
		close(p.jobs) // only the loop sent on it
		if p.core.dead == nil {
			p.core.giveUp(fault.Unavailable.New("run: the node is stopping; ask again with the same ID"))
			p.drain(nil)
		}
		err = p.last()
		p.busy.Wait()
		p.awaitEffects()
		if p.cfg.Anchor != "" {
			err = errors.Join(err, p.writeAnchor())
		}
	})
	return err
}

func (p *Partition) awaitEffects() {
	idle := make(chan struct{})
	go func() { p.effects.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-time.After(effectGrace):
		p.cfg.Log.Warn("effects do not end; they are left behind", "grace", effectGrace)
	}
}

// Down is closed when the partition has stopped serving; Err then says why.
func (p *Partition) Down() <-chan struct{} { return p.ended }

// Err returns why the partition went down by itself: fault.Fenced, fault.Full, fault.Damaged or fault.Unavailable;
// nil if it did not.
func (p *Partition) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

// --- host: what the core asks for

func (p *Partition) append(pk *pack, token uint64) {
	if p.keeper != nil && p.core.tries == 1 {
		p.keeper.logged += uint64(len(pk.buf))
	}
	if p.hurry != nil {
		p.hurry.Stop()
	}
	if p.core.tries == 1 && p.measure.Load() != nil {
		pk.sent = time.Now()
	}
	if len(pk.blobs) == 0 {
		p.send(pk, token)
		return
	}
	p.busy.Add(1)
	go func() { // the loop goes on while blobs are written; the commit that names them waits
		defer p.busy.Done()
		for _, b := range pk.blobs {
			if _, err := p.cfg.Blobs.Put(b.data); err != nil {
				p.cfg.Log.Error("store blob", "error", err)
				return // unheard of in time, the append is tried again
			}
		}
		p.send(pk, token)
	}()
}

func (p *Partition) send(pk *pack, token uint64) {
	if err := p.log.Append(pk.buf, pk.ids[1], pk.ids[0], pk.seq, token); err != nil {
		p.cfg.Log.Error("append", "commit", pk.seq, "error", err) // then it is in doubt after ackMax
	}
}

func (p *Partition) readHead(token uint64, try int) {
	p.busy.Add(1)
	go func() {
		defer p.busy.Done()
		var last error
		for i := range headTries {
			if i > 0 || try > 1 {
				if !p.sleep(10 * time.Millisecond << min(i+try, 7)) {
					return
				}
			}
			e, err := p.log.Last(p.ctx)
			if err != nil {
				last = err
				continue
			}
			p.urge(func(c *core) {
				if try >= sendsMax && c.flight != nil && e.Seq < c.flight.seq {
					p.stuck(p.refused(try))
					return
				}
				c.headRead(token, headHash(e), e.Seq)
			})
			return
		}
		p.urge(func(c *core) {
			if token == c.token {
				p.stuck(fault.Unavailable.New("run: the log's end cannot be read: %w", last))
			}
		})
	}()
}

func headHash(e bus.Entry) hash {
	if e.Seq == 0 {
		return hash{}
	}
	return sha256.Sum256(e.Data)
}

// refused explains a store that takes nothing: JetStream answers a full disk with silence.
func (p *Partition) refused(tries int) error {
	if free, err := p.freeNow(); err == nil && free < freeMin {
		return fault.Full.New("run: the disk is full (%d bytes free): the store took nothing of a commit that was sent %d times. "+
			"Free some space; nothing acknowledged is lost", free, tries)
	}
	return fault.Full.New("run: the store took nothing of a commit that was sent %d times; nothing acknowledged is lost", tries)
}

func (p *Partition) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}

func (p *Partition) load(d Digest) (json.RawMessage, error) { return p.cfg.Blobs.Get(d) }

func (p *Partition) down(err error) {
	if p.ctx.Err() == nil { // else the node is being stopped
		p.cfg.Log.Error("partition is down", "error", err)
	}
}

// checkHead asks whether an idle owner is still the owner.
func (p *Partition) checkHead() {
	token := p.core.token
	p.busy.Add(1)
	go func() {
		defer p.busy.Done()
		e, err := p.log.Last(p.ctx)
		if err != nil && p.ctx.Err() != nil {
			return
		}
		p.post(input{do: func(c *core) {
			if err != nil {
				p.unheard(token, err)
				return
			}
			p.deaf = 0
			if c.token == token && c.flight == nil && headHash(e) != c.head && e.Seq >= c.seq { // what ends before is a replica that has just begun to lead
				c.giveUp(fault.Fenced.New("run: another owner has taken the partition: its log ends with commit %d, which is not ours", e.Seq))
			}
		}})
	}()
}
