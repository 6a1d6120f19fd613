package run

import (
	"context"

	"polity.run"
	"polity.run/fault"
)

// recentEnds are the ends of root runs that the commit read last holds. One event may end thousands of runs in one commit: whoever asks for one of them mostly
// asks for others, and would read all of it for each. It is safe for concurrent use.
type recentEnds struct {
	turn chan struct{} // held by who reads
	seq  uint64
	at   map[polity.RunID]*record
}

func newRecentEnds() *recentEnds { return &recentEnds{turn: make(chan struct{}, 1)} }

// of returns the end of a run in a commit, which nobody changes; nil if it is not there.
func (e *recentEnds) of(ctx context.Context, log log, seq uint64, id polity.RunID) (*record, error) {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, contextFault(ctx, "run: read an end")
	}
	if e.seq == seq {
		return e.at[id], nil
	}
	entry, err := log.Get(ctx, seq)
	if err == nil && entry.Seq != seq {
		err = fault.Damaged.New("run: commit %d is missing", seq)
	}
	var f frame
	if err == nil {
		err = f.decode(entry.Data)
	}
	if err != nil {
		return nil, err
	}
	at := map[polity.RunID]*record{}
	for i := range f.records {
		if r := &f.records[i]; r.kind == recFinished && r.run.Parent() == "" {
			at[r.run] = r
		}
	}
	e.seq, e.at = seq, at
	return at[id], nil
}
