package rest

import (
	"context"
	"errors"
	"sync"

	"polity.run"
	"polity.run/engine"
	"polity.run/fault"
)

// queueMax is how many notices wait for a slow reader. What comes then is read from the log instead.
const queueMax = 1024

// Follow calls each for everything that happened to a run, and then for what happens to it, in order
// and without Data, until the run has ended or is stopped, each fails, or ctx ends. However slow each
// is, it misses nothing of what the log holds; notices of what was started are not in the log, and of these
// some may be missing. It returns nil when the run has ended or is stopped, fault.NotFound if there
// is no such run, each's error, and the reason if the node stops serving.
func Follow(ctx context.Context, e *engine.Engine, id polity.RunID, each func(polity.Notice) error) error {
	f := follower{engine: e, id: id, each: each}
	q := &queue{ready: make(chan struct{}, 1)}
	stop, err := e.Watch(ctx, id, q.put)
	if err != nil {
		return err
	}
	defer stop()
	wait, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := e.Wait(wait, id)
		ended <- err
		close(ended)
	}()
	defer func() {
		cancel()
		for range ended { // until it has gone
		}
	}()
	if err := f.catchUp(ctx); err != nil {
		return err
	}
	for {
		select {
		case <-q.ready:
			if err := f.take(ctx, q); err != nil {
				return err
			}
		case err := <-ended:
			if ctx.Err() != nil {
				return stopped(ctx)
			}
			return f.end(ctx, err)
		case <-ctx.Done():
			return stopped(ctx)
		}
	}
}

func stopped(ctx context.Context) error {
	return fault.Cancelled.New("rest: follow: %w", context.Cause(ctx))
}

// follower knows how far its reader is.
type follower struct {
	engine *engine.Engine
	id     polity.RunID
	each   func(polity.Notice) error

	whole  uint64 // the last commit that was read from the log, and so is whole
	commit uint64 // the commit of the last notice, and how many of it were told
	told   int
	ended  map[string]bool // commands whose end the log told at the last catch-up
}

// catchUp tells what the log holds beyond what was told.
func (f *follower) catchUp(ctx context.Context) error {
	f.ended = map[string]bool{}
	var commit uint64
	n := 0
	return f.engine.History(ctx, f.id, func(notice polity.Notice) error {
		if notice.Commit != commit {
			commit, n = notice.Commit, 0
		}
		n++
		switch notice.Kind {
		case "result":
			f.ended[string(notice.Run.Child(notice.Name, notice.Attempt))] = true
		case "finished":
			f.ended[string(notice.Run)] = true
		}
		f.whole = commit
		if commit < f.commit || commit == f.commit && n <= f.told {
			return nil
		}
		f.commit, f.told = commit, n
		return f.tell(notice)
	})
}

// take tells what is in the queue, or what the log holds if that was more than the queue can.
func (f *follower) take(ctx context.Context, q *queue) error {
	batch, lost := q.take()
	if lost {
		return f.catchUp(ctx)
	}
	for _, n := range batch {
		if err := f.live(n); err != nil {
			return err
		}
	}
	return nil
}

// live tells one notice, if it is news.
func (f *follower) live(n polity.Notice) error {
	if n.Kind == "started" {
		if n.Commit <= f.whole && f.ended[string(n.Run.Child(n.Name, n.Attempt))] {
			return nil
		}
		return f.tell(n)
	}
	if n.Commit <= f.whole {
		return nil
	}
	if n.Commit != f.commit {
		f.commit, f.told = n.Commit, 0
	}
	f.told++
	return f.tell(n)
}

func (f *follower) tell(n polity.Notice) error {
	n.Data, n.Effect = nil, nil // which only a history has
	return f.each(n)
}

// end tells the rest. The reason why a run is stopped is not one why following it failed.
func (f *follower) end(ctx context.Context, why error) error {
	if why != nil {
		s, err := f.engine.Find(ctx, f.id)
		if err != nil || s.Status != polity.StatusStopped {
			return errors.Join(why, err)
		}
	}
	return f.catchUp(ctx)
}

// queue holds notices between the node, which must not wait, and a reader, who may be slow.
type queue struct {
	mu    sync.Mutex
	list  []polity.Notice
	lost  bool // there were too many: the list is empty, and what comes is dropped until it is taken
	ready chan struct{}
}

func (q *queue) put(n polity.Notice) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lost {
		return
	}
	if q.list = append(q.list, n); len(q.list) > queueMax {
		q.list, q.lost = nil, true
	}
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take returns what is in the queue, and whether it was too much.
func (q *queue) take() (list []polity.Notice, lost bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	list, lost = q.list, q.lost
	q.list, q.lost = nil, false
	return list, lost
}
