package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/internal/journal"
)

const (
	checkpointPrefix = "checkpoint-"
	checkpointsKept  = 2

	checkpointEvery = 32 << 20 // bytes of log between two checkpoints: see Config.CheckpointEvery
	checkpointClose = 1 << 20  // bytes of log for which one is written at the end, or an eighth of the last one
	captureStep     = 1000     // trees that are told of between two turns of the loop
	capturePieces   = 4        // pieces that wait to be written
	sweepStep       = 100      // trails that are moved between two turns of the loop
	spoolWaste      = 64 << 20 // bytes that are no longer needed before the spool is written anew, if they are more than those that are
	spoolFilesMax   = 16       // files of the spool, likewise
	recheckStep     = 16 << 20 // bytes of log that are checked before others have their turn
)

// keeper looks after the folder of the spool and the checkpoints, from the partition's loop.
type keeper struct {
	dir    string
	spool  *spoolFiles
	kept   []kept // checkpoints on the disk, the newest last
	logged uint64 // bytes of log since the last one
	size   uint64 // of the last one
	oldest uint32 // no trail is in a file of the spool before it

	newest   atomic.Uint64 // commit of the last checkpoint; 0 for none
	restored anchor        // the checkpoint that this owner began with
	writing  *writing      // a checkpoint that is being made
	sweeping bool
	swept    int // the next tree of the sweep
}

// kept is a checkpoint on the disk.
type kept struct {
	seq    uint64
	oldest uint32 // the first file of the spool that it needs
}

func (k *keeper) path(seq uint64) string {
	return filepath.Join(k.dir, fmt.Sprintf("%s%d", checkpointPrefix, seq))
}

// list returns the commits of the checkpoints that are there, the newest first, and removes what was not finished.
func (k *keeper) list() ([]uint64, error) {
	files, err := os.ReadDir(k.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Unavailable.New("run: checkpoint: %w", err)
	}
	var all []uint64
	for _, f := range files {
		if strings.HasPrefix(f.Name(), newPrefix) {
			if err := os.Remove(filepath.Join(k.dir, f.Name())); err != nil {
				return nil, fault.Denied.New("run: checkpoint: %w", err)
			}
		}
		number, ok := strings.CutPrefix(f.Name(), checkpointPrefix)
		if n, err := strconv.ParseUint(number, 10, 64); ok && err == nil {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	return all, nil
}

// keep begins with the newest checkpoint that is sound and that the log goes on from, and opens the spool. What is not used is
// removed.
func (p *Partition) keep(ctx context.Context, last uint64) error {
	if p.cfg.Dormant == "" {
		return nil
	}
	k := &keeper{dir: p.cfg.Dormant}
	p.core.register = newRegister(scratch(k.dir))
	all, err := k.list()
	if err != nil {
		return err
	}
	oldest := uint32(0)
	if p.cfg.Whole { // what is there stays for the next start
		for _, seq := range slices.Backward(all) {
			k.kept = append(k.kept, kept{seq, 1})
		}
		all, oldest = nil, 1
	}
	for _, seq := range all {
		if len(k.kept) == 0 {
			cp, err := p.recall(ctx, k.path(seq), seq, last)
			if errors.Is(err, fault.Cancelled) {
				return err
			}
			if err == nil {
				p.core.restore(cp)
				k.kept, oldest = []kept{{cp.seq, cp.oldest}}, cp.oldest
				k.restored, k.size = anchor{cp.seq, cp.head}, cp.size
				k.newest.Store(cp.seq)
				continue
			}
			p.cfg.Log.Warn("a checkpoint is not used; the start takes longer, and nothing is lost", "commit", seq, "error", err)
		}
		if err := os.Remove(k.path(seq)); err != nil {
			return fault.Denied.New("run: checkpoint: %w", err)
		}
	}
	if k.spool, err = openSpool(k.dir, oldest, p.cfg.Log); err != nil {
		return err
	}
	for _, t := range p.core.roots {
		k.spool.live += uint64(t.stored)
	}
	k.oldest = max(oldest, 1)
	p.keeper, p.core.spool = k, partitionSpool{k.spool, p}
	if id := p.core.repaired(); id != "" {
		p.cfg.Log.Warn("a checkpoint is not used: a run that was stopped goes on, and what it missed only the log tells; the start takes longer", "run", id)
		err := p.shut()
		p.cfg.Whole, p.keeper = true, nil
		p.core.abandon()
		p.begin(p.core.epoch)
		return errors.Join(err, p.keep(ctx, last))
	}
	return nil
}

// recall reads the checkpoint of a commit, and holds it against the log.
func (p *Partition) recall(ctx context.Context, path string, seq, last uint64) (*checkpoint, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Unavailable.New("run: checkpoint: %w", err)
	}
	g := newRegister(scratch(p.cfg.Dormant))
	cp, err := readCheckpointInto(f, p.vault, g)
	if err = errors.Join(err, f.Close()); err == nil {
		err = p.fits(ctx, cp, seq, last)
	}
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	return cp, nil
}

// fits holds a checkpoint against its name and the log.
func (p *Partition) fits(ctx context.Context, cp *checkpoint, seq, last uint64) error {
	if cp.seq != seq {
		return fault.Damaged.New("run: checkpoint: it is of commit %d, and its name says %d", cp.seq, seq)
	}
	if cp.seq > last {
		return fault.Damaged.New("run: checkpoint: it is of commit %d, and the log ends with commit %d", cp.seq, last)
	}
	if first := p.first.Load(); cp.seq < first && first > 1 {
		return fault.Damaged.New("run: checkpoint: it is of commit %d, and the log begins with commit %d", cp.seq, first)
	}
	return p.holds(ctx, cp.seq, cp.head)
}

// holds returns fault.Damaged if the log has another commit at a position.
func (p *Partition) holds(ctx context.Context, seq uint64, head hash) error {
	e, err := p.log.Get(ctx, seq)
	if err == nil && (e.Seq != seq || sha256.Sum256(e.Data) != head) {
		err = fault.Damaged.New("run: the log has another commit %d", seq)
	}
	return err
}

// recheck reads the part of the log that a checkpoint stands for, while the partition is served, and brings it down if the chain is broken there.
func (p *Partition) recheck(to anchor, b *base) {
	defer p.busy.Done()
	defer close(p.rechecked)
	var prev hash
	first := p.first.Load()
	known := first == 1 // what the first commit has to follow
	if b != nil && b.dropped+1 == first {
		prev, known = b.prev, true
	}
	read, begun := 0, time.Now()
	err := p.log.Read(p.ctx, first, to.seq, func(e bus.Entry) error {
		if len(e.Data) < headerSize || (known || e.Seq > first) && !bytes.Equal(prev[:], e.Data[9:9+len(prev)]) {
			return fault.Damaged.New("run: commit %d does not follow commit %d: the chain of hashes is broken there; up to it the log is sound", e.Seq, e.Seq-1)
		}
		prev = sha256.Sum256(e.Data)
		if read += len(e.Data); read >= recheckStep {
			p.sleep(time.Since(begun)) // half of the time is for others
			read, begun = 0, time.Now()
		}
		return nil
	})
	if err == nil && prev != to.head {
		err = fault.Damaged.New("run: commit %d is not the one that the checkpoint was made of", to.seq)
	}
	switch {
	case err == nil:
		p.cfg.Log.Info("the log before the checkpoint is sound", "commits", to.seq)
	case errors.Is(err, fault.Damaged):
		p.post(input{do: func(c *core) {
			if c.dead == nil {
				c.giveUp(err)
			}
		}})
	case p.ctx.Err() == nil:
		p.cfg.Log.Error("the log before the checkpoint could not be read", "error", err)
	}
}

// tend does the next piece of what the keeper has to do.
func (p *Partition) tend() {
	k := p.keeper
	if k == nil || p.core.dead != nil {
		return
	}
	if k.writing == nil && !k.sweeping {
		p.core.retire()
	}
	switch {
	case k.writing != nil:
		p.feed()
	case k.sweeping:
		if k.swept = p.core.sweep(k.swept, sweepStep, k.spool.last); k.swept == 0 {
			k.sweeping, k.oldest = false, k.spool.last
			p.startCheckpoint()
			k.writing.alone = true
		}
		p.nudge()
	case k.logged >= p.every(k):
		p.startCheckpoint()
	case k.wasteful():
		if k.spool.begin() == nil {
			k.sweeping, k.swept = true, 0
			p.nudge()
		}
	}
}

// every is how many bytes of log there are before the next checkpoint.
func (p *Partition) every(k *keeper) uint64 {
	if p.cfg.CheckpointEvery > 0 {
		return p.cfg.CheckpointEvery
	}
	return max(checkpointEvery, k.size)
}

// wasteful says that the spool is worth being written anew.
func (k *keeper) wasteful() bool {
	s := k.spool
	return s.retry.IsZero() && (s.held-s.live > max(spoolWaste, s.live) || len(s.files) > spoolFilesMax)
}

// writing is a checkpoint on its way to the disk. The loop makes its pieces, and a goroutine writes them.
type writing struct {
	capture *capture
	pieces  chan []byte
	whole   bool // set before pieces is closed: nothing is missing
	alone   bool // those before it need what is to be removed
	kept    kept
	files   []*os.File // of the spool: to be synced before the checkpoint is
	size    uint64

	base   *baseWriter // it is to be a base; nil for a checkpoint
	failed error       // set before pieces is closed: why it is given up
	told   *capture    // of a base
	root   Digest      // likewise, once it has ended
	err    error
	ended  chan struct{}
}

// startCheckpoint begins with one of the last acknowledged commit.
func (p *Partition) startCheckpoint() {
	k := p.keeper
	w := &writing{pieces: make(chan []byte, capturePieces), ended: make(chan struct{}), kept: kept{p.core.seq, k.oldest}}
	var head []byte
	w.capture, head = p.core.newCapture(k.oldest)
	w.pieces <- head
	k.writing, k.logged = w, 0
	p.busy.Add(1)
	go func() {
		defer p.busy.Done()
		w.err = w.write(k.path(w.kept.seq), p.nudge, func() error { return p.auditsKept(w.kept.seq) })
		close(w.ended)
		p.post(input{do: func(*core) { k.wrote(w, p.cfg.Log) }})
	}()
	p.nudge()
}

// startBase is startCheckpoint for a base. It returns nil while something is being written.
func (p *Partition) startBase(asOf uint64, to *baseWriter) *writing {
	k := p.keeper
	if k.writing != nil || k.sweeping {
		return nil
	}
	w := &writing{pieces: make(chan []byte, capturePieces), ended: make(chan struct{}), base: to}
	var head []byte
	w.capture, head = p.core.newBase(asOf)
	w.told = w.capture
	w.pieces <- head
	k.writing = w
	p.busy.Add(1)
	go func() {
		defer p.busy.Done()
		w.root, w.err = w.stand(p.nudge, func() error { return p.auditsKept(w.told.seq) })
		close(w.ended)
		p.post(input{do: func(*core) { k.writing = nil }})
	}()
	p.nudge()
	return w
}

// feed makes the next piece, if there is room for it.
func (p *Partition) feed() {
	w := p.keeper.writing
	if w.capture == nil || len(w.pieces) == cap(w.pieces) {
		return // the writer wakes the loop
	}
	piece, err := w.capture.more(nil, captureStep)
	if err == nil && w.capture.done() {
		piece = w.capture.end(piece)
		err = p.keeper.spool.flush()
		w.files, w.whole = p.keeper.spool.list(), err == nil
	}
	if err != nil && w.base != nil {
		w.failed = err
	} else if err != nil {
		p.cfg.Log.Error("a checkpoint is given up", "error", err)
	} else {
		w.pieces <- piece
	}
	if err != nil || w.capture.done() {
		close(w.pieces)
		w.capture = nil
		return
	}
	p.nudge()
}

// write writes the pieces into a new file, and gives it its name when everything is on the disk. It returns nil and writes nothing if the
// checkpoint was given up. Before that it calls ready.
func (w *writing) write(path string, next func(), ready func() error) error {
	f, err := os.CreateTemp(filepath.Dir(path), newPrefix+"*")
	sum := sha256.New()
	for piece := range w.pieces {
		next()
		if err == nil {
			sum.Write(piece)
			w.size += uint64(len(piece))
			_, err = f.Write(piece)
		}
	}
	if f == nil {
		return fault.Unavailable.New("run: checkpoint: %w", err)
	}
	for _, s := range w.files {
		if err == nil {
			err = s.Sync()
		}
	}
	if err == nil && w.whole {
		err = ready()
	}
	if err == nil && w.whole {
		_, err = f.Write(sum.Sum(nil))
		err = errors.Join(err, f.Sync())
	}
	err = errors.Join(err, f.Close())
	if err == nil && w.whole {
		if err = os.Rename(f.Name(), path); err == nil {
			return syncDir(filepath.Dir(path))
		}
	}
	if err = errors.Join(err, os.Remove(f.Name())); err == nil {
		return nil
	}
	kind := fault.Unavailable
	if errors.Is(err, syscall.ENOSPC) {
		kind = fault.Full
	}
	return kind.New("run: checkpoint: %w", err)
}

// stand puts the pieces of a base into documents. Before the last it calls ready.
func (w *writing) stand(next func(), ready func() error) (Digest, error) {
	sum := sha256.New()
	var err error
	for piece := range w.pieces {
		next()
		if err == nil {
			sum.Write(piece)
			_, err = w.base.Write(piece)
		}
	}
	switch {
	case err != nil:
		return Digest{}, err
	case w.failed != nil:
		return Digest{}, w.failed
	case !w.whole:
		return Digest{}, fault.Unavailable.New("run: base: the partition has ended")
	}
	if err := ready(); err != nil {
		return Digest{}, err
	}
	if _, err := w.base.Write(sum.Sum(nil)); err != nil {
		return Digest{}, err
	}
	return w.base.finish()
}

// wrote takes over a checkpoint that was written, and removes what is not needed since.
func (k *keeper) wrote(w *writing, log *slog.Logger) {
	k.writing = nil
	if w.err != nil {
		log.Error("a checkpoint could not be written; the log has everything", "error", w.err)
	}
	if w.err != nil || !w.whole {
		return
	}
	k.size = w.size
	k.kept = slices.DeleteFunc(k.kept, func(old kept) bool { return old.seq == w.kept.seq })
	k.kept = append(k.kept, w.kept)
	k.newest.Store(w.kept.seq)
	for len(k.kept) > checkpointsKept || w.alone && len(k.kept) > 1 {
		if err := os.Remove(k.path(k.kept[0].seq)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("remove checkpoint", "error", err)
		}
		k.kept = k.kept[1:]
	}
	k.spool.trim(k.kept[0].oldest)
}

// last writes a checkpoint when the loop has ended, if that is worth it.
func (p *Partition) last() error {
	k := p.keeper
	if k == nil {
		return nil
	}
	if w := k.writing; w != nil { // it is given up: what comes now is newer
		if w.capture != nil {
			close(w.pieces)
		}
		<-w.ended
		if w.base == nil {
			k.wrote(w, p.cfg.Log)
		}
	}
	if p.Err() == nil && p.core.seq > 0 && k.logged >= max(checkpointClose, k.size/8) {
		p.startCheckpoint()
		w := k.writing
		for w.capture != nil {
			if p.feed(); w.capture != nil && len(w.pieces) == cap(w.pieces) {
				<-p.wake
			}
		}
		<-w.ended
		k.wrote(w, p.cfg.Log)
	}
	return p.shut()
}

// shut closes the files of the spool and of the register.
func (p *Partition) shut() error {
	var err error
	if p.keeper != nil {
		err = p.keeper.spool.close()
	}
	if g := p.core.register; g != nil {
		err = errors.Join(err, g.close())
	}
	return err
}

// partitionSpool is the spool as the core sees it.
type partitionSpool struct {
	*spoolFiles
	part *Partition
}

func (s partitionSpool) lost(id polity.RunID, why error) {
	ctx := journal.With(s.part.ctx, journal.About{Run: id})
	s.part.cfg.Log.WarnContext(ctx, "a waiting run is read from the log, which takes longer", "error", why)
}

func (s partitionSpool) reread(id polity.RunID, first, last uint64, each func(time.Time, uint64, *record) error) error {
	if b := s.part.core.base; b.lacks(first) {
		next, err := b.carried(id, s.part.document, func(at time.Time, seq uint64, rec *record) error {
			if seq > last {
				return nil
			}
			return each(at, seq, rec)
		})
		if err != nil {
			return err
		}
		first = max(next, b.dropped+1)
	}
	var f frame
	return s.part.log.Read(s.part.ctx, first, last, func(e bus.Entry) error {
		if err := f.decode(e.Data); err != nil {
			return err
		}
		for i := range f.records {
			if rec := &f.records[i]; !rec.besideRuns() && rec.run.Root() == id {
				if err := each(f.at, e.Seq, rec); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
