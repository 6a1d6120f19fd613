// Package view answers questions about runs from tables that are made from the log. It is the only package that knows SQL.
//
// It exists so that lists, searches and sums over a million runs cost the kernel nothing: what it needs is in the log, and the log is all
// that it reads. A view is a cache. It can be thrown away, and is by itself if it is of another version or was made from another log;
// made again it is the same. The life of one:
//
//	Open -> Run (reads the log, follows it) ... Lookup, from anywhere -> Close
//
// What commits tell and the position that they bring it to are written in one transaction, so each counts exactly once.
package view

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/run"
)

const (
	batchMax = 10_000      // facts in one transaction
	pace     = time.Second // between two transactions while nobody waits
	// While nobody waits and the kernel is at work, the view rests for so many times as long as it worked: it falls behind. Once it is behind by lagSoft
	// it takes up to half of a core.
	yieldShare  = 12
	yieldMax    = 10 * time.Second
	lagSoft     = time.Minute
	calm        = 50 * time.Millisecond // with fewer than calmCommits in this time the kernel has little to do
	calmCommits = 5
	retryFirst  = 100 * time.Millisecond // before the log is read again after something went wrong
	retryMax    = 10 * time.Second
	answerMax   = 30 * time.Second // one question
)

// Log is what a view is made from. *run.Partition is one.
type Log interface {
	Feed(ctx context.Context, from uint64, each func(*run.Commit) error) error
	Tip() uint64
	Commit(ctx context.Context, seq uint64) (*run.Commit, error)
	Data(f *run.Fact) (json.RawMessage, error)
}

// Config says where a view is and what it is made from.
type Config struct {
	Dir string // the view's own folder, which is made if it is not there
	// DSN is the PostgreSQL database that the view lies in, as in postgres://user@host/database; "" for a file in Dir. Each node has a schema of its
	// own there, which is named for the node unless the DSN names one with search_path. A server that cannot be reached is no error: it is tried again.
	DSN string
	Log Log
	// Person says whether an agent of a release is a person. It has to say the same whenever it is asked.
	Person func(release run.Digest, agent string) bool
	// Name is what a release is called: the organization. It has to say the same whenever it is asked; "" for one that is not to be had.
	Name   func(release run.Digest) string
	Logger *slog.Logger
}

// View is a view. Its methods are safe for concurrent use.
type View struct {
	cfg Config
	few int // fewMax; tests have less

	swap   sync.RWMutex // held for writing while the store is replaced
	store  store
	closed bool
	single sync.Mutex // held by Run

	mu      sync.Mutex
	at      position
	moved   chan struct{} // closed when at changes
	wanted  uint64        // somebody waits for this commit
	hurry   chan struct{}
	problem error
	stop    context.CancelFunc // ends the reading that goes on
	anew    chan error         // somebody waits for the view to be thrown away
}

// position is how far the log is told of.
type position struct {
	seq                      uint64
	head                     string // hash of the commit there
	at                       time.Time
	runs, steps, texts, told int64 // the last numbers that were given
}

// Open opens a view, or makes an empty one. It reads nothing of the log yet. It returns fault.Denied if the folder cannot be
// written, fault.Full if there is no room, and fault.Invalid for a bad DSN. Close it.
func Open(cfg Config) (*View, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := openStore(cfg)
	if err != nil {
		return nil, err
	}
	v := &View{cfg: cfg, few: fewMax, store: s, moved: make(chan struct{}), hurry: make(chan struct{}, 1)}
	err = v.first()
	if errors.Is(err, errOther) {
		cfg.Logger.Warn("the view is made again", "why", err)
		if err = s.drop(context.Background()); err == nil {
			err = v.first()
		}
	}
	if cfg.DSN != "" && (errors.Is(err, fault.Unavailable) || errors.Is(err, fault.Timeout) || errors.Is(err, fault.Conflict) || errors.Is(err, fault.Denied)) {
		v.fail(err) // the node does without it until Run finds the server
		err = nil
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return v, nil
}

// openStore makes the folder, and returns the store that a configuration names.
func openStore(cfg Config) (store, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fault.Denied.New("view: %w", err)
	}
	if cfg.DSN != "" {
		return openServer(cfg.DSN, cfg.Dir)
	}
	return openFile(cfg.Dir), nil
}

// first makes the tables where there are none, and reads the position.
func (v *View) first() error {
	s, err := v.store.session(context.Background())
	if err != nil {
		return err
	}
	err = v.load(s)
	return errors.Join(err, v.store.fault(s.close()))
}

// Close closes the view. Run has to have ended.
func (v *View) Close() error {
	v.swap.Lock()
	defer v.swap.Unlock()
	v.closed = true
	return v.store.close()
}

// load reads the position.
func (v *View) load(s session) error {
	var p position
	var at int64
	err := s.one("SELECT seq, head, at, runs, steps, texts, told FROM position", nil, &p.seq, &p.head, &at, &p.runs, &p.steps, &p.texts, &p.told)
	if errors.Is(err, sql.ErrNoRows) {
		return fault.Damaged.New("%w: %s has no position", errOther, v.store.place())
	}
	if err != nil {
		return v.store.fault(err)
	}
	p.at = timeOf(at)
	v.move(p)
	return nil
}

func (v *View) move(p position) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.at = p
	close(v.moved)
	v.moved = make(chan struct{})
}

// Rebuild has Run throw the view away and make it again. It returns when it is empty; WaitFor waits for more. It returns fault.Conflict
// if somebody else has asked for that at the same time.
func (v *View) Rebuild(ctx context.Context) error {
	done := v.throw()
	if done == nil {
		return fault.Conflict.New("view: it is being thrown away already")
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fault.Cancelled.New("view: rebuild: %w", context.Cause(ctx))
	}
}

// throw asks Run to throw the view away, and returns where it says when that is done; nil if it was asked before.
func (v *View) throw() <-chan error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.anew != nil {
		return nil
	}
	v.anew = make(chan error, 1)
	if v.stop != nil {
		v.stop()
	}
	return v.anew
}

// Run makes the view from the log and follows it until ctx ends. What goes wrong is logged and tried again; State says so until then.
func (v *View) Run(ctx context.Context) {
	v.single.Lock()
	defer v.single.Unlock()
	for wait := retryFirst; ctx.Err() == nil; wait = min(2*wait, retryMax) {
		before := v.position().seq
		err := v.follow(v.begin(ctx))
		if ctx.Err() != nil {
			return
		}
		if done := v.thrown(); done != nil {
			err = v.replace(ctx)
			done <- err
		} else if errors.Is(err, errOther) {
			v.cfg.Logger.Warn("the view is made again", "why", err)
			err = v.replace(ctx)
		}
		v.fail(err)
		if err == nil || v.position().seq != before {
			wait = retryFirst
		}
		if err == nil {
			continue
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// begin returns the context of a reading, which ends when the view is to be thrown away.
func (v *View) begin(ctx context.Context) context.Context {
	ctx, stop := context.WithCancel(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stop != nil {
		v.stop() // of the reading before, which has ended
	}
	v.stop = stop
	if v.anew != nil {
		stop()
	}
	return ctx
}

// thrown returns who waits for the view to be thrown away, or nil.
func (v *View) thrown() chan error {
	v.mu.Lock()
	defer v.mu.Unlock()
	done := v.anew
	v.anew = nil
	return done
}

// replace throws the view away while nobody reads it, and makes an empty one.
func (v *View) replace(ctx context.Context) error {
	v.swap.Lock()
	defer v.swap.Unlock()
	if err := v.store.drop(ctx); err != nil {
		return err
	}
	return v.first()
}

// fail remembers why the view does not go on; nil for nothing.
func (v *View) fail(err error) {
	if err != nil {
		v.cfg.Logger.Error("the view does not go on", "error", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.problem = err
}

// goesOn forgets why the view did not go on.
func (v *View) goesOn() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.problem = nil
}

func (v *View) position() position {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.at
}

// errOther says that the store does not belong to the log, or is not whole.
var errOther = fault.Damaged.New("view: it was not made from this log, or is not whole")

// follow reads the log from where the view is.
func (v *View) follow(ctx context.Context) error {
	s, err := v.store.session(ctx)
	if err != nil {
		return err
	}
	w := newWriter(v.cfg, v.store, s)
	defer w.close()
	if err := v.load(s); err != nil { // whether a transaction counted whose answer was lost, the store knows
		return err
	}
	at := v.position()
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
		if w.facts < batchMax && (c.Seq < v.cfg.Log.Tip() || v.rest(ctx, w, c.Seq)) {
			return nil
		}
		if err := w.flush(); err != nil {
			return err
		}
		v.move(w.at)
		v.goesOn()
		v.yield(ctx, time.Since(w.first), c.At)
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

// yield leaves the machine to the runs for a while, in proportion to the time that was worked: until somebody waits for the view, or the kernel has
// little to do. The further the view is behind, the shorter it is.
func (v *View) yield(ctx context.Context, worked time.Duration, told time.Time) {
	share := time.Duration(yieldShare)
	if time.Since(told) > lagSoft {
		share = 1
	}
	for left := min(share*worked, yieldMax); left > 0 && ctx.Err() == nil; left -= calm {
		tip := v.cfg.Log.Tip()
		if v.isWanted(tip) {
			return
		}
		if hurried := v.sleep(ctx, min(left, calm)); !hurried && v.cfg.Log.Tip()-tip < calmCommits {
			return
		}
	}
}

// sleep waits. It says whether it ended because somebody is in a hurry.
func (v *View) sleep(ctx context.Context, d time.Duration) (hurry bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-v.hurry:
		return true
	case <-ctx.Done():
	}
	return false
}

// rest waits a little at the end of the log, unless somebody waits for what it tells or nothing was written for a while. It says whether there is more
// to read now.
func (v *View) rest(ctx context.Context, w *writer, seq uint64) bool {
	left := pace - time.Since(w.flushed)
	if left <= 0 || v.isWanted(seq) {
		return false
	}
	v.sleep(ctx, left)
	w.first = time.Now() // this was no work
	return seq < v.cfg.Log.Tip()
}

func (v *View) isWanted(seq uint64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.wanted > v.at.seq && v.wanted <= seq
}

// WaitFor waits until the view tells of a commit. It returns the reason of ctx if that ends before.
func (v *View) WaitFor(ctx context.Context, seq uint64) error {
	for {
		v.mu.Lock()
		if v.at.seq >= seq {
			v.mu.Unlock()
			return nil
		}
		v.wanted = max(v.wanted, seq)
		moved := v.moved
		v.mu.Unlock()
		select {
		case v.hurry <- struct{}{}:
		default:
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fault.Timeout.New("view: wait for commit %d: %w", seq, context.Cause(ctx))
		}
	}
}

// State says how far the view is.
func (v *View) State() polity.ViewState {
	tip := v.cfg.Log.Tip()
	v.mu.Lock()
	s := polity.ViewState{Position: v.at.seq, At: v.at.at, Tip: max(tip, v.at.seq), Schema: Schema}
	if v.problem != nil {
		s.Problem = v.problem.Error()
	}
	v.mu.Unlock()
	s.Behind = s.Tip - s.Position
	if s.Behind > 0 && !s.At.IsZero() {
		s.Lag = polity.Duration(max(0, time.Since(s.At)).Round(time.Millisecond))
	}
	s.Bytes, s.Place = v.store.size(), v.store.place()
	return s
}

// isFault says whether an error has its kind already.
func isFault(err error) bool {
	var f *fault.Error
	return errors.As(err, &f)
}

func timeOf(nano int64) time.Time {
	if nano == 0 {
		return time.Time{}
	}
	return time.Unix(0, nano).UTC()
}
