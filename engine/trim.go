package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/archive"
	"polity.run/internal/run"
)

const (
	trimNamed    = 5                // runs in the way that are named
	trimViewStep = 10 * time.Second // the view is waited for so long before somebody is told how far it is
	trimSeenStep = 100 * time.Millisecond
	// A node by itself drops what is at least so much, as much as is left, and some times as much as what has to be kept beside the log for it.
	trimMin   = 64 << 20
	trimLeast = 1 << 20 // asked for, if no run is in it
	trimShare = 4
	baseEnded = 150 // bytes of a run that ended in a base
	baseLive  = 500 // and of another, without its trail
)

// Trim drops the beginning of the log up to the first run that has ended and has to stay: one that is held, or is in no archive of this node that is whole. Runs that
// have not ended are not in the way: their past is kept beside the log. What is dropped stays in the view, which is waited for, and in archives; what an ended run
// did can no longer be shown, replayed, forked or exported here, unless it is restored from there. It can be repeated after any fault. tell, if not nil, is told of
// the progress, from the calling goroutine. It returns fault.Conflict while a run is stopped or a backup is made.
func (e *Engine) Trim(ctx context.Context, q polity.Trim, tell func(polity.Progress)) (polity.Trimmed, error) {
	e.old.mu.Lock()
	defer e.old.mu.Unlock()
	t := &trimming{e: e, q: q, tell: unhurried(tell)}
	return t.all(ctx, func(would polity.Trimmed) bool { return would.Runs > 0 || would.Bytes >= trimLeast })
}

// trimAlone does what nobody asked for, if it is worth it.
func (e *Engine) trimAlone(ctx context.Context) (polity.Trimmed, error) {
	e.old.mu.Lock()
	defer e.old.mu.Unlock()
	t := &trimming{e: e}
	return t.all(ctx, func(would polity.Trimmed) bool {
		kept := int64(t.ended)*baseEnded + int64(would.Carried)*baseLive
		return would.Bytes >= max(trimMin, trimShare*kept, t.size-would.Bytes)
	})
}

// trimming looks what may be dropped, and drops it.
type trimming struct {
	e    *Engine
	q    polity.Trim
	tell func(polity.Progress)

	archived *archive.Set
	sound    map[string]bool // files of archives
	size     int64           // of the log
	asOf     uint64
	ended    int
	firsts   []uint64 // of those that may go
	way      []inTheWay
}

// inTheWay is a run that has to stay in the log.
type inTheWay struct {
	first uint64
	run   polity.LeftRun
}

func (t *trimming) say(stage string, done, total int) {
	if t.tell != nil {
		t.tell(polity.Progress{Stage: stage, Done: int64(done), Total: int64(total)})
	}
}

func (t *trimming) all(ctx context.Context, worth func(polity.Trimmed) bool) (polity.Trimmed, error) {
	p := t.e.part
	if !t.q.DryRun { // what an earlier one left
		if err := t.drop(ctx); err != nil {
			return polity.Trimmed{}, err
		}
	}
	out, upTo, err := t.plan(ctx)
	if err == nil && !worth(out) { // the log may go on as it is
		out.First, out.Commits, out.Bytes, out.Runs, out.Carried = out.First-out.Commits, 0, 0, 0, 0
	}
	if err != nil || out.Commits == 0 || t.q.DryRun {
		return out, err
	}
	t.say("what is kept beside the log", 0, 0)
	b, err := p.Rebase(ctx, upTo, t.asOf)
	if err != nil {
		return polity.Trimmed{}, err
	}
	if err := t.drop(ctx); err != nil {
		return polity.Trimmed{}, err
	}
	before := out.First
	out.First = b.Dropped + 1
	if before > out.First { // a run ended meanwhile
		out.Commits -= before - out.First
	}
	return out, nil
}

// plan says what would be done, and up to which commit.
func (t *trimming) plan(ctx context.Context) (out polity.Trimmed, upTo uint64, err error) {
	p := t.e.part
	b, err := p.Base(ctx)
	if err != nil {
		return out, 0, err
	}
	if t.archived, err = t.e.old.store.Runs(); err != nil {
		return out, 0, err
	}
	t.sound = map[string]bool{}
	t.asOf = p.Tip()
	for from := uint64(0); ; {
		runs, next, err := p.EndedPage(ctx, from)
		if err != nil {
			return out, 0, err
		}
		for i := range runs {
			t.say("runs that have ended", t.ended, 0)
			if err := t.look(ctx, &runs[i]); err != nil {
				return out, 0, err
			}
		}
		if from = next; next == 0 {
			break
		}
	}
	upTo = t.asOf
	slices.SortFunc(t.way, func(a, b inTheWay) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.run.Run, b.run.Run))
	})
	for i := range t.way[:min(len(t.way), trimNamed)] {
		out.Left = append(out.Left, t.way[i].run)
	}
	if len(t.way) > 0 {
		upTo = t.way[0].first - 1
	}
	messages, size, err := t.e.log.Size(ctx)
	if err != nil {
		return out, 0, err
	}
	t.size = int64(size)
	first := max(b.First, b.Dropped+1)
	out.DryRun, out.First, out.Last = t.q.DryRun, first, t.asOf
	if upTo < first {
		return out, 0, nil
	}
	out.First, out.Commits = upTo+1, upTo+1-first
	out.Bytes = int64(float64(size) * float64(out.Commits) / float64(max(messages, 1)))
	for _, f := range t.firsts {
		if f <= upTo {
			out.Runs++
		}
	}
	out.Carried, err = p.LiveSince(ctx, upTo)
	return out, upTo, err
}

// look says whether a run that has ended may be dropped.
func (t *trimming) look(ctx context.Context, r *run.Ended) error {
	t.ended++
	why := ""
	switch n, archived := t.archived.Get(r.Run); {
	case r.Held:
		why = "it is held"
	case r.Imported, r.Erased, t.q.WithoutArchive:
	case !archived:
		why = "it has ended, and is in no archive"
	default:
		sound, err := t.whole(ctx, n)
		if err != nil {
			return err
		}
		switch {
		case !sound:
			why = "its archive is damaged"
		case r.Later && !t.holdsAll(n, r):
			why = "more became known of it after it was archived, which only the log has"
		}
	}
	if why == "" {
		t.firsts = append(t.firsts, r.First)
		return nil
	}
	t.way = append(t.way, inTheWay{r.First, polity.LeftRun{Run: r.Run, Why: why}})
	if len(t.way) >= retainPass {
		slices.SortFunc(t.way, func(a, b inTheWay) int { return cmp.Compare(a.first, b.first) })
		t.way = t.way[:trimNamed]
	}
	return nil
}

// whole says that a file of archived runs is whole. Each is read once while the process lasts.
func (t *trimming) whole(ctx context.Context, n uint32) (bool, error) {
	head, found := t.e.old.store.File(n)
	if !found {
		return false, nil
	}
	if sound, known := t.e.old.checked[head.Path+head.Digest]; known {
		return sound, nil
	}
	check, err := archive.Check(ctx, head.Path, pinned, t.tell)
	if ctx.Err() != nil {
		return false, err
	}
	sound := err == nil && len(check.Damage) == 0
	t.e.old.checked[head.Path+head.Digest] = sound
	return sound, nil
}

// holdsAll says that a file has all that the log tells of a run.
func (t *trimming) holdsAll(n uint32, r *run.Ended) bool {
	head, _ := t.e.old.store.File(n)
	f, err := archive.Open(head.Path)
	if err != nil {
		return false
	}
	one, err := f.Find(r.Run)
	return errors.Join(err, f.Close()) == nil && one.Last >= r.Last
}

// drop drops what a base stands for, once nobody needs it.
func (t *trimming) drop(ctx context.Context) error {
	e := t.e
	b, err := e.part.Base(ctx)
	if err != nil || b.Commit == 0 {
		return err
	}
	if b.First <= b.Dropped {
		if err := errors.Join(t.view(ctx, b.Dropped), t.figures(ctx, b.Dropped)); err != nil {
			return err
		}
	}
	if !e.dropping.TryLock() {
		return fault.Conflict.New("trim: a backup is being made: try again when it is there")
	}
	defer e.dropping.Unlock()
	t.say("the log", 0, 0)
	_, err = e.part.Drop(ctx)
	return err
}

// view waits for the view to tell of what is to be dropped: afterwards nobody else could.
func (t *trimming) view(ctx context.Context, upTo uint64) error {
	v, err := t.e.view()
	if err != nil {
		return err
	}
	for {
		wait, stop := context.WithTimeout(ctx, trimViewStep)
		err := v.Keep(wait, upTo)
		stop()
		if err == nil || ctx.Err() != nil || !errors.Is(err, fault.Timeout) {
			return err
		}
		s := v.State()
		if s.Problem != "" {
			return fault.Unavailable.New("trim: the view has to tell of what is dropped, and does not go on: %s", s.Problem)
		}
		t.say("the view", int(s.Position), int(upTo))
	}
}

// figures waits for the telemetry to have read what is to be dropped.
func (t *trimming) figures(ctx context.Context, upTo uint64) error {
	for !t.e.figures.seen(upTo) {
		select {
		case <-time.After(trimSeenStep):
		case <-ctx.Done():
			return fault.Cancelled.New("trim: %w", context.Cause(ctx))
		}
	}
	return nil
}
