package run

import (
	"compress/gzip"
	"context"
	"io"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// manyMax is how many bytes of logs of runs are gathered at once.
const manyMax = 64 << 20

// Exporter exports many runs that have ended. Runs that ran at once lie in the same commits: it reads the log once for as many of them as it may hold, where
// Export would read all of these commits for each. It is for one goroutine.
type Exporter struct {
	p      *Partition
	pinned Pinned
	runs   []Ended // in the order of opening
	at     map[polity.RunID]int
	next   int // the first that no pass has begun with
	ready  map[polity.RunID]*extraction
	max    int // bytes; manyMax but for tests
}

// Exporter returns one for runs in the order of opening, which are best exported in that order; any may be left out.
func (p *Partition) Exporter(runs []Ended, pinned Pinned) *Exporter {
	e := &Exporter{p: p, pinned: pinned, runs: runs, at: make(map[polity.RunID]int, len(runs)), max: manyMax}
	for i := range runs {
		e.at[runs[i].Run] = i
	}
	return e
}

// Export is Partition.ExportStored.
func (e *Exporter) Export(ctx context.Context, id polity.RunID, w io.Writer) (polity.Archive, error) {
	if i, known := e.at[id]; known && i >= e.next {
		if err := e.gather(ctx, i); err != nil {
			return polity.Archive{}, err
		}
	}
	x := e.ready[id]
	delete(e.ready, id)
	if x == nil {
		return e.p.ExportStored(ctx, id, e.pinned, w)
	}
	zip := storing.Get().(*gzip.Writer)
	defer storing.Put(zip)
	zip.Reset(w)
	return e.p.write(x, e.pinned, zip)
}

// gathering is one pass over the log.
type gathering struct {
	*Exporter
	begun map[polity.RunID]*extraction
	last  uint64 // commit of those that have begun
	size  int    // bytes that are held of them
	full  bool
}

// gather reads the logs of a run and of those after it that there is room for. What cannot be had so is read by itself.
func (e *Exporter) gather(ctx context.Context, from int) error {
	e.ready, e.next = nil, from
	g := &gathering{Exporter: e, begun: map[polity.RunID]*extraction{}}
	var f frame
	seq := e.runs[from].First
	for g.begin(seq); seq <= g.last; {
		to := min(g.last, seq+feedChunk-1)
		err := e.p.log.Read(ctx, seq, to, func(entry bus.Entry) error {
			g.begin(entry.Seq)
			if err := f.decode(entry.Data); err != nil {
				return fault.Of(err).Kind.New("run: commit %d: %w", entry.Seq, err)
			}
			for i := range f.records {
				g.record(&f, entry.Seq, &f.records[i])
			}
			return nil
		})
		if err != nil {
			return err
		}
		seq = to + 1
	}
	for id, x := range g.begun {
		if x.flush() != nil || !x.told.head.Status.Final() {
			delete(g.begun, id)
		}
	}
	e.ready = g.begun
	return nil
}

// begin begins with the runs that a commit opens, until there is no room: the next pass begins with the first that is left out.
func (g *gathering) begin(seq uint64) {
	g.full = g.full || g.size >= g.max
	for ; g.next < len(g.runs) && g.runs[g.next].First <= seq && !g.full; g.next++ {
		if r := &g.runs[g.next]; !r.Carried && !r.Imported {
			g.begun[r.Run] = &extraction{id: r.Run, told: newTelling()}
			g.last = max(g.last, r.Last)
		}
	}
}

// record adds a record to the log of its run. A run whose log cannot be made so, or is more than what may be held, is given up.
func (g *gathering) record(f *frame, seq uint64, rec *record) {
	id := rec.run.Root()
	x := g.begun[id]
	if x == nil || rec.besideRuns() {
		return
	}
	before := len(x.log) + len(x.buf)
	var err error
	switch {
	case rec.kind == recForked:
		err = g.p.core.unfold(rec, func(f *frame, r *record) error { return x.add(f.at, seq, r) })
	default:
		err = x.add(f.at, seq, rec)
	}
	after := len(x.log) + len(x.buf)
	g.size += after - before
	if err != nil || after > g.max {
		g.size -= after
		delete(g.begun, id)
	}
}
