package coordinate

import (
	"context"
	"slices"
	"time"

	"polity.run/fault"
)

// Lock is what is known of a lock, or of who leads.
type Lock struct {
	Org    string    `json:"org"`
	Kind   Kind      `json:"kind"`
	Name   string    `json:"name"`
	Held   bool      `json:"held"` // when it was looked at
	Holder Holder    `json:"holder,omitzero"`
	Token  uint64    `json:"token"`          // the greatest that was given, or that was raised by force
	Since  time.Time `json:"since,omitzero"` // of the holding, by this node's clock
	Until  time.Time `json:"until,omitzero"` // if it is not renewed
}

// lease is a lock as it lies on the shelf.
type lease struct {
	Holder   Holder        `json:"holder,omitzero"` // the last one
	Mark     string        `json:"mark,omitempty"`  // of the call that acquired it
	Token    uint64        `json:"token,omitempty"` // 0: the revision at which this was written
	TTL      time.Duration `json:"ttl,omitempty"`
	Since    time.Time     `json:"since,omitzero"`
	Until    time.Time     `json:"until,omitzero"` // also when it was released
	Free     bool          `json:"free,omitempty"`
	Released []string      `json:"released,omitempty"` // marks of the calls that released it, the oldest first
}

func (l lease) token(revision uint64) uint64 {
	if l.Token == 0 {
		return revision
	}
	return l.Token
}

func (l lease) held(now time.Time) bool { return !l.Free && now.Before(l.Until) }

func (l lease) lock(f fact, revision uint64, now time.Time) Lock {
	return Lock{f.org, f.kind, f.name, l.held(now), l.Holder, l.token(revision), l.Since, l.Until}
}

// lease reads a lock, and changeLease changes one: a lock, or who leads, and nothing else.
func (s *Store) lease(ctx context.Context, f fact) (lease, uint64, error) {
	if err := f.lockable(); err != nil {
		return lease{}, 0, err
	}
	return read[lease](ctx, s, f)
}

func (s *Store) changeLease(ctx context.Context, f fact, decide func(l lease, revision uint64) (*lease, error)) (lease, uint64, error) {
	if err := f.lockable(); err != nil {
		return lease{}, 0, err
	}
	return change(ctx, s, f, decide)
}

func (f fact) lockable() error {
	if f.kind != KindLock && f.kind != KindLeader {
		return fault.Invalid.New("coordinate: %.20q is no kind of lock; want %s or %s", f.kind, KindLock, KindLeader)
	}
	return nil
}

func clock() time.Time { return time.Now().UTC().Round(0) } // without what a restart does not know

// Acquire asks for a lock, or to lead, for a time: TTLMin to TTLMax. The lock that is returned is the caller's if mine; else it says who
// has it. If others hold it, it is asked for again until wait is over, 0 to WaitMax; nobody is first in line. The same call again
// returns the same while it holds. Who holds it already, by the run and the agent, holds it for ttl from now, with the same token.
func (s *Store) Acquire(ctx context.Context, c Caller, kind Kind, name string, ttl, wait time.Duration) (l Lock, mine bool, err error) {
	if ttl < TTLMin || ttl > TTLMax {
		return Lock{}, false, fault.Invalid.New("coordinate: %s %s: ttl %s: want %s to %s", kind, name, ttl, TTLMin, TTLMax)
	}
	if wait < 0 || wait > WaitMax {
		return Lock{}, false, fault.Invalid.New("coordinate: %s %s: wait %s: want 0s to %s", kind, name, wait, WaitMax)
	}
	end := time.Now().Add(wait)
	for {
		l, mine, err = s.acquire(ctx, c, fact{kind, c.Org, name}, ttl)
		left := time.Until(end)
		if err != nil || mine || left <= 0 {
			return l, mine, err
		}
		again := time.NewTimer(min(left, waitStep))
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return l, false, ctx.Err()
		}
	}
}

func (s *Store) acquire(ctx context.Context, c Caller, f fact, ttl time.Duration) (Lock, bool, error) {
	now := clock()
	l, revision, err := s.changeLease(ctx, f, func(l lease, revision uint64) (*lease, error) {
		now = clock()
		switch {
		case l.held(now) && l.Holder != c.holder():
			return nil, nil
		case l.held(now) && l.Mark == c.mark():
			return nil, nil // this very call
		case l.held(now):
			l.Token = l.token(revision)
		default:
			l.Token, l.Since = 0, now
		}
		l.Holder, l.Mark, l.TTL, l.Until, l.Free = c.holder(), c.mark(), ttl, now.Add(ttl), false
		return &l, nil
	})
	return l.lock(f, revision, now), err == nil && l.held(now) && l.Holder == c.holder(), err
}

// Renew holds a lock for its ttl from now, if the token still holds it; mine says so. A lock whose time is over is not held any more,
// also if nobody has taken it. Every agent of the run that acquired it, and of the runs that belong to that, may renew and release it;
// others are refused with fault.Denied.
func (s *Store) Renew(ctx context.Context, c Caller, kind Kind, name string, token uint64) (l Lock, mine bool, err error) {
	f := fact{kind, c.Org, name}
	now := clock()
	found, revision, err := s.changeLease(ctx, f, func(l lease, revision uint64) (*lease, error) {
		now, mine = clock(), false
		if !l.held(now) || l.token(revision) != token {
			return nil, nil
		}
		if err := c.related(f, l); err != nil {
			return nil, err
		}
		mine = true
		l.Token, l.Until = token, now.Add(l.TTL)
		return &l, nil
	})
	return found.lock(f, revision, now), mine && err == nil, err
}

// Release gives a lock up. It says whether the token held it until now; the same call again says the same, as long as fewer than RecentMax
// others came between.
func (s *Store) Release(ctx context.Context, c Caller, kind Kind, name string, token uint64) (released bool, err error) {
	f := fact{kind, c.Org, name}
	_, _, err = s.changeLease(ctx, f, func(l lease, revision uint64) (*lease, error) {
		now := clock()
		if released = slices.Contains(l.Released, c.mark()); released {
			return nil, nil
		}
		if !l.held(now) || l.token(revision) != token {
			return nil, nil
		}
		if err := c.related(f, l); err != nil {
			return nil, err
		}
		released = true
		l.Token, l.Until, l.Free = token, now, true
		l.Released = recent(l.Released, c.mark())
		return &l, nil
	})
	return released && err == nil, err
}

// related refuses who has nothing to do with a lock's holder.
func (c Caller) related(f fact, l lease) error {
	if l.Holder.Run.Root() == c.Run.Root() {
		return nil
	}
	return fault.Denied.New("coordinate: %s is held by agent %s of run %s; only that run may renew or release it, and by force: polity locks release",
		f, l.Holder.Agent, l.Holder.Run)
}

// recent adds to what is remembered, and forgets the oldest.
func recent[T any](list []T, v T) []T {
	list = append(slices.Clip(list), v)
	return list[max(0, len(list)-RecentMax):]
}

// Break takes a lock away from whoever holds it, by a person's word, and raises its token above the holder's. It returns fault.NotFound for a
// lock that there is not.
func (s *Store) Break(ctx context.Context, org string, kind Kind, name string) (Lock, error) {
	f := fact{kind, org, name}
	now := clock()
	l, revision, err := s.changeLease(ctx, f, func(l lease, revision uint64) (*lease, error) {
		if revision == 0 {
			return nil, fault.NotFound.New("coordinate: organization %s has no %s", org, f)
		}
		now = clock()
		return &lease{Holder: Holder{}, Until: now, Free: true, Released: l.Released}, nil
	})
	return l.lock(f, revision, now), err
}

// Look returns a lock, or who leads: one that nobody has held yet has no token.
func (s *Store) Look(ctx context.Context, org string, kind Kind, name string) (Lock, error) {
	f := fact{kind, org, name}
	l, revision, err := s.lease(ctx, f)
	return l.lock(f, revision, clock()), err
}

// Locks lists the locks and leaders of an organization, "" for all, also those that nobody holds now. It returns fault.Invalid for
// more than can be listed.
func (s *Store) Locks(ctx context.Context, org string) ([]Lock, error) {
	all := []Lock{}
	for _, kind := range []Kind{KindLeader, KindLock} {
		under := string(kind) + "."
		if org != "" {
			under = prefix(kind, org)
		}
		keys, err := s.shelf.Keys(ctx, under)
		if err != nil {
			return nil, err
		}
		if len(all)+len(keys) > listMax {
			return nil, fault.Invalid.New("coordinate: more than %d locks; name an organization", listMax)
		}
		for _, key := range keys {
			f, err := parse(key)
			if err != nil {
				return nil, err
			}
			l, revision, err := s.lease(ctx, f)
			if err != nil {
				return nil, err
			}
			if revision != 0 { // else it was removed in this moment
				all = append(all, l.lock(f, revision, clock()))
			}
		}
	}
	return all, nil
}
