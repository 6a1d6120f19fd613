package contract

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"polity.run/fault"
	"polity.run/schema"
)

const (
	triesMax   = 8         // times that a registration is made again because others were first
	subjectMax = 900 << 10 // bytes of a subject with all its versions, on a node
)

// Shelf is where a node keeps subjects. See coordinate.Shelf for what it promises.
type Shelf interface {
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	Swap(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	Keys(ctx context.Context, prefix string) ([]string, error)
}

// Store keeps subjects on a shelf. It is safe for concurrent use, also by several stores of the same shelf.
type Store struct{ shelf Shelf }

// Open returns the store on a shelf.
func Open(shelf Shelf) *Store { return &Store{shelf} }

// Registration asks for one more version of a subject.
type Registration struct {
	Subject string         `json:"subject"`
	Policy  *schema.Policy `json:"policy,omitempty"` // nil: the subject's, or the default for a new one
	Version Version        `json:"version"`
	// Number is which version it has to be, as where all versions are copied from elsewhere; 0: the next.
	Number int `json:"number,omitempty"`
}

// apply adds a registration to what is there, which is nil for a new subject.
func (q *Registration) apply(s *Subject) (*Subject, error) {
	if s == nil {
		s = &Subject{Name: q.Subject, Policy: schema.Policy{Mode: DefaultMode(q.Subject)}}
	}
	asked := *s
	if q.Policy != nil {
		asked.Policy = *q.Policy
	}
	if q.Number > 0 {
		there, err := s.has(q.Number, &q.Version)
		if err != nil {
			return nil, err
		}
		if there {
			return asked.proved(q.Number, q.Version.Golden)
		}
	}
	next, list, err := asked.Add(q.Version)
	if err == nil {
		err = asked.refusal(list)
	}
	if err == nil && next.Newest() == asked.Newest() {
		return next.proved(next.Newest(), q.Version.Golden)
	}
	return &next, err
}

// proved returns the subject with golden data of a version that had none, as one has that a release brought. It returns what Add does for golden data.
func (s *Subject) proved(number int, golden []json.RawMessage) (*Subject, error) {
	if len(golden) == 0 || len(s.Versions[number-1].Golden) > 0 {
		return s, nil
	}
	before := *s
	before.Versions = s.Versions[:number-1]
	v := s.Versions[number-1]
	v.Golden = golden
	if err := before.sound(&v); err != nil {
		return nil, err
	}
	next := *s
	next.Versions = slices.Clone(s.Versions)
	next.Versions[number-1] = v
	return &next, next.tryGolden()
}

// same says that a registration changed nothing of s, which is nil for a new subject.
func (s *Subject) same(next *Subject) bool {
	return s != nil && next.Newest() == s.Newest() && next.Policy == s.Policy &&
		slices.EqualFunc(s.Versions, next.Versions, func(a, b Version) bool { return len(a.Golden) == len(b.Golden) })
}

// has says that the version with a number is v. It returns fault.Conflict if it is another, or cannot be the next.
func (s *Subject) has(number int, v *Version) (bool, error) {
	if number > s.Newest()+1 {
		return false, fault.Conflict.New("%s: version %d cannot be registered before version %d", s.Name, number, s.Newest()+1)
	}
	if number == s.Newest()+1 {
		return false, nil
	}
	have, err1 := s.Versions[number-1].Digest()
	wanted, err2 := v.Digest()
	if err := errors.Join(err1, err2); err != nil {
		return false, err
	}
	if have != wanted {
		return false, fault.Conflict.New("%s: version %d is registered already, and is another", s.Name, number)
	}
	return true, nil
}

// key hides a name's characters from the shelf, which has keys of its own form.
func key(name string) string { return "s" + hex.EncodeToString([]byte(name)) }

// Subject returns a subject, or fault.NotFound.
func (st *Store) Subject(ctx context.Context, name string) (*Subject, error) {
	s, _, err := st.get(ctx, name)
	if err == nil && s == nil {
		err = fault.NotFound.New("there is no subject %q", name)
	}
	return s, err
}

func (st *Store) get(ctx context.Context, name string) (*Subject, uint64, error) {
	if err := CheckName(name); err != nil {
		return nil, 0, err
	}
	value, revision, err := st.shelf.Get(ctx, key(name))
	if err != nil || revision == 0 {
		return nil, 0, err
	}
	var s Subject
	if err := json.Unmarshal(value, &s); err != nil {
		return nil, 0, fault.Damaged.New("subject %s: %w", name, err)
	}
	return &s, revision, nil
}

// List returns all subjects in the order of their names.
func (st *Store) List(ctx context.Context) ([]Subject, error) {
	keys, err := st.shelf.Keys(ctx, "")
	if err != nil {
		return nil, err
	}
	out := []Subject{}
	for _, k := range keys {
		name, err := hex.DecodeString(k[1:])
		if err != nil {
			return nil, fault.Damaged.New("subject %q: %w", k, err)
		}
		s, err := st.Subject(ctx, string(name))
		if err != nil {
			return nil, err
		}
		out = append(out, *s)
	}
	return out, nil
}

// Try returns what Register would, and registers nothing.
func (st *Store) Try(ctx context.Context, q Registration) (*Subject, error) {
	s, _, err := st.get(ctx, q.Subject)
	if err != nil {
		return nil, err
	}
	return q.apply(s)
}

// Register adds a version and returns the subject with it. It returns fault.Conflict, with the differences, for a version that the
// policy does not allow, and fault.Invalid for one that cannot be. Of two registrations at once the second is compared with what the first made. A
// version like the newest is there already, and changes nothing but the policy, and adds golden data where there was none.
func (st *Store) Register(ctx context.Context, q Registration) (*Subject, error) {
	for range triesMax {
		s, revision, err := st.get(ctx, q.Subject)
		if err != nil {
			return nil, err
		}
		next, err := q.apply(s)
		if err != nil {
			return nil, err
		}
		if s.same(next) {
			return next, nil
		}
		value, err := json.Marshal(next)
		if err != nil {
			return nil, fault.Invalid.New("subject %s: %w", q.Subject, err)
		}
		if len(value) > subjectMax {
			return nil, fault.Invalid.New("subject %s: with this version it has %d bytes; at most %d are allowed", q.Subject, len(value), subjectMax)
		}
		_, err = st.shelf.Swap(ctx, key(q.Subject), value, revision)
		if err == nil {
			return next, nil
		}
		if !errors.Is(err, fault.Conflict) {
			return nil, fmt.Errorf("subject %s: %w", q.Subject, err)
		}
	}
	return nil, fault.Unavailable.New("subject %s: others registered %d times first; ask again", q.Subject, triesMax)
}
