package engine

import (
	"context"
	"sync"

	"polity.run"
	"polity.run/internal/access"
	"polity.run/internal/bus"
)

const accessBucket = "access"

// doors is what the node's doors share.
type doors struct {
	mu     sync.Mutex
	book   *access.Book
	audits audits
}

// Access returns the book of API keys and sessions.
func (e *Engine) Access(ctx context.Context) (*access.Book, error) {
	d := &e.doors
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.book != nil {
		return d.book, nil
	}
	var err error
	d.book, err = access.Open(ctx, &shelf{bus: e.bus}, nil)
	return d.book, err
}

// shelf is the bucket of keys and sessions, which is made when there are some: most nodes have none.
type shelf struct {
	bus *bus.Bus

	mu     sync.Mutex
	bucket *bus.Bucket
}

var _ access.Shelf = (*shelf)(nil)

func (s *shelf) open(ctx context.Context) (*bus.Bucket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bucket != nil {
		return s.bucket, nil
	}
	var err error
	s.bucket, err = s.bus.Bucket(ctx, accessBucket)
	return s.bucket, err
}

func (s *shelf) Put(ctx context.Context, key string, value []byte) error {
	b, err := s.open(ctx)
	if err != nil {
		return err
	}
	return b.Put(ctx, key, value)
}

func (s *shelf) Delete(ctx context.Context, key string) error {
	b, err := s.open(ctx)
	if err != nil {
		return err
	}
	return b.Delete(ctx, key)
}

func (s *shelf) Each(ctx context.Context, each func(key string, value []byte) error) error {
	there, err := s.bus.HasBucket(ctx, accessBucket)
	if err != nil || !there {
		return err
	}
	b, err := s.open(ctx)
	if err != nil {
		return err
	}
	return b.Each(ctx, each)
}

// Audit keeps who wanted what, and what was decided, and returns when that is safe.
func (e *Engine) Audit(ctx context.Context, r access.Record) error {
	j, err := e.doors.audits.open(ctx)
	if err != nil {
		return err
	}
	return r.Keep(ctx, j)
}

// Audited returns up to most records after a place in the journal, in order: among them those of everything that was answered before.
func (e *Engine) Audited(ctx context.Context, after uint64, most int) ([]access.Record, error) {
	if err := e.doors.audits.copy(ctx); err != nil {
		return nil, err
	}
	there, err := e.bus.HasJournal(ctx, bus.AccessJournal)
	if err != nil || !there {
		return nil, err
	}
	j, err := e.doors.audits.open(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := j.Read(ctx, after, most)
	list := make([]access.Record, 0, len(entries))
	for _, entry := range entries {
		r, bad := access.ReadRecord(entry.Seq, entry.Data)
		if bad != nil {
			return nil, bad
		}
		list = append(list, r)
	}
	return list, err
}

// OrgOf returns the organization of a run, by its root: the name of the release that it was opened with. It returns fault.NotFound if there is no such run.
func (e *Engine) OrgOf(ctx context.Context, id polity.RunID) (string, error) {
	release, err := e.part.ReleaseOf(ctx, id.Root())
	if err != nil {
		return "", err
	}
	r, err := e.catalog.release(release)
	if err != nil { // it was made for another program, or its document is gone
		return e.rule(release).org, nil
	}
	return r.doc.Name, nil
}

const hooksBucket = "hooks"

// HooksShelf returns where hooks are kept; nil if there are none yet and it is not to be made.
func (e *Engine) HooksShelf(ctx context.Context, make bool) (*bus.Bucket, error) {
	if !make {
		there, err := e.bus.HasBucket(ctx, hooksBucket)
		if err != nil || !there {
			return nil, err
		}
	}
	return e.bus.Bucket(ctx, hooksBucket)
}

// OrgOfAgent returns the installed organization that an agent, or its instance, is of; "" if it has no address.
func (e *Engine) OrgOfAgent(ctx context.Context, name polity.AgentName) (string, error) {
	if err := e.orgs.ready(ctx); err != nil {
		return "", err
	}
	e.orgs.mu.RUnlock()
	return e.orgs.orgOf(name), nil
}
