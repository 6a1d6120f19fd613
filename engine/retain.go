package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/archive"
	"polity.run/internal/run"
)

const (
	archiveFolder = "archive" // of the state folder

	retainFirst = 5 * time.Minute // of a node's life, in which nothing is archived by itself
	retainEvery = time.Hour
	// A node by itself writes a file when so many runs of an organization are due, or one of them is for so long.
	gatherRuns = 1000
	gatherMax  = 24 * time.Hour

	progressMin = 100 * time.Millisecond // between two words of progress

	retainPass = 100_000 // runs that are looked at before something is done
	leftMax    = 100     // runs that a report names
	leftAgain  = 24      // hours after which a node by itself looks again at a run that it left
)

// retainer archives and deletes old runs.
type retainer struct {
	store *archive.Store
	now   func() time.Time
	log   *slog.Logger
	stop  context.CancelFunc // nil unless it does so by itself
	ended chan struct{}

	mu      sync.Mutex // held while runs are looked at
	rules   map[Digest]rule
	settled *archive.Set // runs, each with the hour since 1970 before which there is nothing to be done with it
}

// rule is what a release says of its old runs.
type rule struct {
	org  string
	says *agent.Retention // nil: they are kept
	err  error            // it cannot be read
}

func newRetainer(state string, cfg Config) (*retainer, error) {
	dir := cfg.Archive
	if dir == "" {
		dir = filepath.Join(state, archiveFolder)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fault.Invalid.New("engine: folder of archives: %w", err)
	}
	r := &retainer{store: archive.NewStore(dir), now: cfg.Now, log: cfg.Log, rules: map[Digest]rule{}, settled: &archive.Set{}}
	if r.now == nil {
		r.now = time.Now
	}
	return r, nil
}

// begin has old runs looked at by itself from now on, until close.
func (r *retainer) begin(e *Engine) {
	ctx, stop := context.WithCancel(context.Background())
	r.stop, r.ended = stop, make(chan struct{})
	go func() {
		defer close(r.ended)
		repeat(ctx, retainFirst, retainEvery, func() { r.alone(ctx, e) })
	}()
}

func (r *retainer) close() {
	if r != nil && r.stop != nil {
		r.stop()
		<-r.ended
	}
}

// repeat does something after a time and then again and again, until ctx ends: nodes that began together do it at different times.
func repeat(ctx context.Context, first, every time.Duration, do func()) {
	for wait := first + rand.N(first); ; wait = every - every/10 + rand.N(every/5) {
		select {
		case <-time.After(wait):
			do()
		case <-ctx.Done():
			return
		}
	}
}

// alone does what manifests say, with nobody waiting for it.
func (r *retainer) alone(ctx context.Context, e *Engine) {
	done, err := e.retain(ctx, polity.Retain{}, true, nil)
	for _, o := range done.Orgs {
		if o.Archived+o.Deleted > 0 {
			r.log.Info("engine: old runs", "org", o.Org, "archived", o.Archived, "deleted", o.Deleted)
		}
	}
	for _, l := range done.Left {
		r.log.Warn("engine: an old run is left", "run", l.Run, "why", l.Why)
	}
	if err != nil && ctx.Err() == nil {
		r.log.Error("engine: old runs are not archived", "error", err)
	}
}

// Archived says that a run is in an archive of this node that is whole as far as its index tells: what the log says of it may go.
func (e *Engine) Archived(id polity.RunID) bool { return e.old.store.Archived(id) }

// Retain archives or deletes the runs that ended longer ago than their releases say that they are kept; see polity.Retain for what can be asked
// otherwise. A run that is held, or has not ended, stays; one that is in an archive already is not archived again. It can be repeated
// after any fault. tell, if not nil, is told of the progress, from the calling goroutine.
func (e *Engine) Retain(ctx context.Context, q polity.Retain, tell func(polity.Progress)) (polity.Retained, error) {
	if q.Dir != "" && filepath.Clean(q.Dir) != e.old.store.Dir() {
		return polity.Retained{}, fault.Conflict.New("archive: the process that serves this state folder keeps its archives in %s, not in %s", e.old.store.Dir(), q.Dir)
	}
	if q.OlderThan != nil && *q.OlderThan < 0 {
		return polity.Retained{}, fault.Invalid.New("archive: older than %s: it must not be negative", *q.OlderThan)
	}
	return e.retain(ctx, q, false, unhurried(tell))
}

// unhurried is a teller that is not told too often.
func unhurried(tell func(polity.Progress)) func(polity.Progress) {
	if tell == nil {
		return nil
	}
	var last time.Time
	return func(p polity.Progress) {
		if now := time.Now(); now.Sub(last) >= progressMin {
			last = now
			tell(p)
		}
	}
}

func (e *Engine) retain(ctx context.Context, q polity.Retain, gather bool, tell func(polity.Progress)) (polity.Retained, error) {
	r := e.old
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &pass{e: e, q: q, gather: gather, tell: tell, now: r.now(), out: polity.Retained{DryRun: q.DryRun}, orgs: map[string]*polity.RetainedOrg{}}
	var err error
	if p.archived, err = r.store.Runs(); err != nil {
		return p.out, err
	}
	err = p.all(ctx)
	for _, name := range slices.Sorted(maps.Keys(p.orgs)) {
		p.out.Orgs = append(p.out.Orgs, *p.orgs[name])
	}
	return p.out, err
}

// pass goes once through all runs that have ended.
type pass struct {
	e        *Engine
	q        polity.Retain
	gather   bool
	tell     func(polity.Progress)
	now      time.Time
	archived *archive.Set

	due     map[string]*due // by organization
	settled archive.Batch
	commit  uint64 // whose openings are at hand
	opened  map[polity.RunID]Digest
	orgs    map[string]*polity.RetainedOrg
	out     polity.Retained
}

// due is what is to be done with an organization's runs.
type due struct {
	archive []archive.Run
	delete  []polity.RunID
	since   time.Time // the first was due
}

func (p *pass) all(ctx context.Context) error {
	for from := uint64(0); ; {
		p.due, p.settled = map[string]*due{}, archive.Batch{}
		runs, next, err := p.some(ctx, from)
		if err != nil {
			return err
		}
		for i := range runs {
			if err := p.look(ctx, &runs[i]); err != nil {
				return err
			}
		}
		err = p.act(ctx)
		p.e.old.settled = p.e.old.settled.With(&p.settled)
		if err != nil || next == 0 {
			return err
		}
		from = next
	}
}

// some returns some of the runs that have ended, each once, in the order of opening, and where to go on; 0 at the end.
func (p *pass) some(ctx context.Context, from uint64) ([]run.Ended, uint64, error) {
	var all []run.Ended
	for {
		page, next, err := p.e.part.EndedPage(ctx, from)
		if err != nil {
			return nil, 0, err
		}
		if all = append(all, page...); next == 0 || len(all) >= retainPass {
			slices.SortFunc(all, func(a, b run.Ended) int { return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Run, b.Run)) })
			return slices.CompactFunc(all, func(a, b run.Ended) bool { return a.Run == b.Run }), next, nil
		}
		from = next
	}
}

// look says what is to be done with a run.
func (p *pass) look(ctx context.Context, r *run.Ended) error {
	if _, found := p.archived.Get(r.Run); found {
		return nil
	}
	hour := hourOf(p.now)
	if until, found := p.e.old.settled.Get(r.Run); found && until > hour && p.q.OlderThan == nil {
		return nil
	}
	rule, err := p.ruleOf(ctx, r)
	if err != nil {
		return err
	}
	org := rule.org
	if p.q.Org != "" && org != p.q.Org {
		return nil
	}
	keep, forgets := rule.keeps(p.q.OlderThan)
	switch since := r.At.Add(keep); {
	case rule.err != nil:
		p.left(org, r.Run, fault.Of(rule.err).Text)
	case keep < 0: // for good
		p.settled.Put(r.Run, math.MaxUint32)
	case since.After(p.now):
		if p.q.OlderThan == nil {
			p.settled.Put(r.Run, hourOf(since))
		}
	case r.Held:
		p.left(org, r.Run, "it is held")
	case forgets && p.q.OlderThan != nil:
		p.left(org, r.Run, "its manifest says archive: false")
	case forgets && r.Erased: // deleted already, or its subject is
		p.settled.Put(r.Run, math.MaxUint32)
	case forgets:
		d := p.dueOf(org, since)
		d.delete = append(d.delete, r.Run)
	default:
		d := p.dueOf(org, since)
		d.archive = append(d.archive, archive.Run{ID: r.Run, First: r.First, Last: r.Last, Key: r.Key})
	}
	return nil
}

// keeps returns how long a run is kept after its end, below 0 for good, and whether it is deleted then.
func (r *rule) keeps(olderThan *polity.Duration) (time.Duration, bool) {
	forgets := r.says != nil && !r.says.Archive
	switch {
	case olderThan != nil:
		return time.Duration(*olderThan), forgets
	case r.says == nil:
		return -1, false
	default:
		return time.Duration(r.says.Keep), forgets
	}
}

func hourOf(t time.Time) uint32 { return uint32(max(t.Unix()/3600, 0)) }

func (p *pass) dueOf(org string, since time.Time) *due {
	d := p.due[org]
	if d == nil {
		d = &due{since: since}
		p.due[org] = d
	}
	if since.Before(d.since) {
		d.since = since
	}
	return d
}

// left reports a run. A node by itself does so once a day.
func (p *pass) left(org string, id polity.RunID, why string) {
	if p.gather {
		p.settled.Put(id, hourOf(p.now)+leftAgain)
	}
	p.count(org).Left++
	if len(p.out.Left) < leftMax {
		p.out.Left = append(p.out.Left, polity.LeftRun{Run: id, Why: why})
	} else {
		p.out.More++
	}
}

func (p *pass) count(org string) *polity.RetainedOrg {
	if p.orgs[org] == nil {
		p.orgs[org] = &polity.RetainedOrg{Org: org}
	}
	return p.orgs[org]
}

// ruleOf reads what the release of a run says. Runs come in the order of opening, so that a commit is read once for all that it opened.
func (p *pass) ruleOf(ctx context.Context, r *run.Ended) (rule, error) {
	if p.opened == nil || p.commit != r.First {
		opened, err := p.e.part.Openings(ctx, r.First)
		if err != nil {
			return rule{}, err
		}
		p.commit, p.opened = r.First, opened
	}
	release := p.opened[r.Run]
	known, found := p.e.old.rules[release]
	if !found {
		known = p.e.rule(release)
		p.e.old.rules[release] = known
	}
	return known, nil
}

func (e *Engine) rule(d Digest) rule {
	doc, err := e.blobs.Get(d)
	if err != nil {
		return rule{org: fmt.Sprintf("%x", d[:6]), err: fault.Of(err).Kind.New("release %x: %w", d[:6], err)}
	}
	r, err := agent.ReadRelease(doc)
	if err != nil {
		return rule{org: fmt.Sprintf("%x", d[:6]), err: err}
	}
	return rule{org: r.Name, says: r.Retention}
}

// act does what is due.
func (p *pass) act(ctx context.Context) error {
	for _, org := range slices.Sorted(maps.Keys(p.due)) {
		d := p.due[org]
		if p.gather && len(d.archive) < gatherRuns && p.now.Sub(d.since) < gatherMax {
			d.archive = nil
		}
		if err := errors.Join(p.archive(ctx, org, d.archive), p.delete(ctx, org, d.delete)); err != nil {
			return err
		}
	}
	return nil
}

func (p *pass) archive(ctx context.Context, org string, runs []archive.Run) error {
	if len(runs) == 0 {
		return nil
	}
	if p.q.DryRun {
		p.count(org).Archived += len(runs)
		return nil
	}
	export := func(ctx context.Context, id polity.RunID, w io.Writer) (polity.Archive, error) {
		return p.e.part.ExportStored(ctx, id, pinned, w)
	}
	files, err := p.e.old.store.Write(ctx, org, p.now, runs, export, func(l polity.LeftRun) { p.left(org, l.Run, l.Why) }, p.tell)
	for _, f := range files {
		p.count(org).Archived += f.Runs
	}
	p.out.Files = append(p.out.Files, files...)
	return err
}

func (p *pass) delete(ctx context.Context, org string, runs []polity.RunID) error {
	for i, id := range runs {
		if p.tell != nil {
			p.tell(polity.Progress{Stage: "delete " + org, Done: int64(i), Total: int64(len(runs))})
		}
		err := p.e.part.Deletable(ctx, id)
		if err == nil && !p.q.DryRun {
			_, err = p.e.Delete(ctx, id, "retention: it was kept as long as the manifest says")
		}
		switch {
		case errors.Is(err, fault.Conflict):
			p.left(org, id, fault.Of(err).Text)
		case err != nil:
			return err
		default:
			p.count(org).Deleted++
		}
	}
	return nil
}

// RestoreArchived takes a run over from a file of archived runs, as Import does from an export, if it is not here. Of a damaged file what is sound is
// read. It returns fault.NotFound if the file does not hold the run.
func (e *Engine) RestoreArchived(ctx context.Context, id polity.RunID, path string) (polity.Restored, error) {
	f, err := openArchive(ctx, path)
	if err != nil {
		return polity.Restored{}, err
	}
	out := polity.Restored{Path: path}
	if out.Run, err = f.Find(id); err == nil {
		out.Here, err = e.restore(ctx, f, out.Run)
	}
	return out, errors.Join(err, f.Close())
}

// restore takes over a run, and says whether it was here all the time.
func (e *Engine) restore(ctx context.Context, f *archive.File, r polity.ArchivedRun) (bool, error) {
	if _, err := e.part.Find(ctx, r.Run); err == nil || !errors.Is(err, fault.NotFound) {
		return err == nil, err
	}
	return false, f.Export(r, func(export io.Reader) error {
		_, err := e.part.Import(ctx, export, pinned)
		return err
	})
}

func openArchive(ctx context.Context, path string) (*archive.File, error) {
	f, err := archive.Open(path)
	if err == nil || errors.Is(err, fault.NotFound) || errors.Is(err, fault.Denied) {
		return f, err
	}
	return archive.Salvage(ctx, path, pinned, nil)
}

// ArchiveDir is the folder of a state folder's archives where nothing else is said.
func ArchiveDir(state string) string { return filepath.Join(state, archiveFolder) }

// Archives lists the files in a folder of archives, without a node. Those that are damaged say so.
func Archives(dir string) ([]polity.ArchiveFile, error) { return archive.NewStore(dir).Files() }

// ReadArchive returns what a file of archived runs says that it holds, without a node. It returns fault.Invalid for what is no archive, and
// fault.Damaged for one whose head, index or end is.
func ReadArchive(path string) (polity.ArchiveFile, []polity.ArchivedRun, error) {
	f, err := archive.Open(path)
	if err != nil {
		return polity.ArchiveFile{}, nil, err
	}
	return f.Head, f.Runs, f.Close()
}

// VerifyArchive reads all of a file of archived runs, without a node, and says what is sound of it: see archive.Check.
func VerifyArchive(ctx context.Context, path string, tell func(polity.Progress)) (polity.ArchiveCheck, error) {
	return archive.Check(ctx, path, pinned, tell)
}
