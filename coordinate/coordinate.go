// Package coordinate keeps the facts on which agents must not be in doubt: who holds a lock, who leads, what was agreed, how many there are.
//
// It exists so that such facts are asked of a store that changes a key only on condition, and never of a model, or of a protocol of our own
// between agents. The life of a change:
//
//	read the fact and its revision -> decide what becomes of it -> write that if the revision is still the same, else read again
//
// Every change says by its effect's key whose it is, so that the same call after a crash finds what it did and does nothing twice.
// A lock is a lease: it ends by itself. What the holder of a lease does elsewhere is safe only if that place refuses tokens
// smaller than the greatest that it has seen: tokens grow, also after a lease ran out, was released or was taken away, and after a restart.
package coordinate

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"hash/fnv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"polity.run"
	"polity.run/fault"
)

// The limits.
const (
	NameMax   = 128            // bytes of a name
	FactsMax  = 1000           // names of one organization: locks, leaders, counters and values together
	TTLMin    = time.Second    // of a lease
	TTLMax    = 24 * time.Hour // of a lease
	WaitMax   = 5 * time.Minute
	CountMax  = 1 << 53  // of a counter, and as far below zero: what JSON carries exactly
	ValueMax  = 16 << 10 // bytes of a value
	RecentMax = 256      // calls that a fact remembers, so as not to do them again

	lingerMax = 24 * time.Hour         // a lock that nobody holds is forgotten after this, where room is needed
	waitStep  = 100 * time.Millisecond // between two looks at a lock that is waited for
	listMax   = 10_000                 // locks in one list
	triesMax  = 100                    // changes of one fact by others before a change is given up
	turnsMax  = 64                     // facts that change at the same time
)

// Shelf keeps values by key and changes them on condition. Its methods are safe for concurrent use.
type Shelf interface {
	// Get returns a key's value and revision, never an older one than was written before; revision 0 says that there is none.
	// Revisions grow over all keys, and none is given twice.
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Swap sets a value if the key's revision is still the given one, and returns the new revision. It returns fault.Conflict if it is
	// not, and fault.Unknown if it cannot tell whether the change was made.
	Swap(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	// Remove removes a key if its revision is still the given one.
	Remove(ctx context.Context, key string, revision uint64) error
	// Keys returns the keys that begin with the prefix, in the order of their text.
	Keys(ctx context.Context, prefix string) ([]string, error)
}

// Caller says who wants a change, and by which call: the same Key is the same call.
type Caller struct {
	Org   string // names of one organization do not meet another's
	Run   polity.RunID
	Agent string
	Key   string
}

// Holder is a run's agent.
type Holder struct {
	Run   polity.RunID `json:"run,omitempty"`
	Agent string       `json:"agent,omitempty"`
}

func (c Caller) holder() Holder { return Holder{c.Run, c.Agent} }

// mark is what is kept of the call's key.
func (c Caller) mark() string {
	sum := sha256.Sum256([]byte(c.Key))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// Store keeps facts on a shelf. It is safe for concurrent use; several stores on one shelf agree with each other, but for FactsMax, which
// they may exceed by as many as they are. Its methods return fault.Invalid for what is beyond the limits, fault.Full for a new name
// beyond FactsMax, fault.Damaged for a fact that cannot be read, and what the shelf returns.
type Store struct {
	shelf Shelf
	// turns has changes of one fact go one after the other here: they would only hinder each other on the shelf.
	turns    [turnsMax]chan struct{}
	creating chan struct{}
}

// Open returns the facts on a shelf.
func Open(shelf Shelf) *Store {
	s := &Store{shelf: shelf, creating: make(chan struct{}, 1)}
	for i := range s.turns {
		s.turns[i] = make(chan struct{}, 1)
	}
	return s
}

// Kind is a kind of fact. Names of one kind do not meet those of another.
type Kind string

// The kinds.
const (
	KindLock    Kind = "lock"
	KindLeader  Kind = "leader"
	kindCounter Kind = "counter"
	kindValue   Kind = "value"
)

// fact is where a fact lies.
type fact struct {
	kind      Kind
	org, name string
}

func (f fact) String() string { return string(f.kind) + " " + f.name }

func (f fact) key() string { return prefix(f.kind, f.org) + encode(f.name) }

func prefix(kind Kind, org string) string { return string(kind) + "." + encode(org) + "." }

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// parse is where a key says that a fact lies.
func parse(key string) (fact, error) {
	parts := strings.Split(key, ".")
	if len(parts) != 3 {
		return fact{}, fault.Damaged.New("coordinate: key %q is none of ours", key)
	}
	org, err1 := base64.RawURLEncoding.DecodeString(parts[1])
	name, err2 := base64.RawURLEncoding.DecodeString(parts[2])
	if err := errors.Join(err1, err2); err != nil {
		return fact{}, fault.Damaged.New("coordinate: key %q is none of ours: %w", key, err)
	}
	return fact{Kind(parts[0]), string(org), string(name)}, nil
}

func (f fact) check() error {
	if !named(f.org) {
		return fault.Invalid.New("coordinate: organization %.40q: want 1 to %d bytes of text in one line", f.org, NameMax)
	}
	if !named(f.name) {
		return fault.Invalid.New("coordinate: %s %.40q: want a name of 1 to %d bytes of text in one line", f.kind, f.name, NameMax)
	}
	return nil
}

func named(text string) bool {
	return text != "" && len(text) <= NameMax && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// read returns a fact, or the zero T and revision 0.
func read[T any](ctx context.Context, s *Store, f fact) (T, uint64, error) {
	var v T
	if err := f.check(); err != nil {
		return v, 0, err
	}
	data, revision, err := s.shelf.Get(ctx, f.key())
	if err != nil || revision == 0 {
		return v, 0, err
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, 0, fault.Damaged.New("coordinate: %s: %w", f, err)
	}
	return v, revision, nil
}

// change reads a fact, asks decide what becomes of it, and writes that if nobody was first, else it begins again. decide
// returns nil to leave the fact as it is. What stands then is returned, with its revision.
func change[T any](ctx context.Context, s *Store, f fact, decide func(old T, revision uint64) (*T, error)) (T, uint64, error) {
	var none T
	leave, err := enter(ctx, s.turn(f))
	if err != nil {
		return none, 0, err
	}
	defer leave()
	for range triesMax {
		old, revision, err := read[T](ctx, s, f)
		if err != nil {
			return none, 0, err
		}
		next, err := decide(old, revision)
		if err != nil || next == nil {
			return old, revision, err
		}
		data, err := json.Marshal(next)
		if err != nil {
			return none, 0, fault.Invalid.New("coordinate: %s: %w", f, err)
		}
		if revision == 0 {
			revision, err = s.create(ctx, f, data)
		} else {
			revision, err = s.shelf.Swap(ctx, f.key(), data, revision)
		}
		switch {
		case err == nil:
			return *next, revision, nil
		case !errors.Is(err, fault.Conflict) && !errors.Is(err, fault.Unknown):
			return none, 0, err
		} // what is there now says, by the call's key, whether it was done
	}
	return none, 0, fault.Unavailable.New("coordinate: %s: others changed it %d times meanwhile", f, triesMax)
}

func (s *Store) turn(f fact) chan struct{} {
	h := fnv.New32a()
	_, _ = h.Write([]byte(f.key())) // a hash takes everything
	return s.turns[h.Sum32()%turnsMax]
}

// enter waits for a turn and returns what ends it.
func enter(ctx context.Context, turn chan struct{}) (leave func(), err error) {
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// create writes the first of a fact, if its organization has room for one more.
func (s *Store) create(ctx context.Context, f fact, data []byte) (uint64, error) {
	leave, err := enter(ctx, s.creating)
	if err != nil {
		return 0, err
	}
	defer leave()
	n, err := s.count(ctx, f.org)
	if err == nil && n >= FactsMax {
		err = s.sweep(ctx, f.org)
		if err == nil {
			n, err = s.count(ctx, f.org)
		}
	}
	if err != nil {
		return 0, err
	}
	if n >= FactsMax {
		return 0, fault.Full.New("coordinate: %s: organization %s has %d names already, the most there may be; use one of them", f, f.org, n)
	}
	return s.shelf.Swap(ctx, f.key(), data, 0)
}

func (s *Store) count(ctx context.Context, org string) (int, error) {
	n := 0
	for _, kind := range []Kind{KindLock, KindLeader, kindCounter, kindValue} {
		keys, err := s.shelf.Keys(ctx, prefix(kind, org))
		if err != nil {
			return 0, err
		}
		n += len(keys)
	}
	return n, nil
}

// sweep forgets the locks of an organization that nobody has held for long.
func (s *Store) sweep(ctx context.Context, org string) error {
	now := time.Now()
	for _, kind := range []Kind{KindLock, KindLeader} {
		keys, err := s.shelf.Keys(ctx, prefix(kind, org))
		if err != nil {
			return err
		}
		for _, key := range keys {
			f, err := parse(key)
			if err != nil {
				return err
			}
			l, revision, err := s.lease(ctx, f)
			if err != nil {
				return err
			}
			if now.Sub(l.Until) <= lingerMax {
				continue
			}
			if err := s.shelf.Remove(ctx, key, revision); err != nil {
				return err
			}
		}
	}
	return nil
}
