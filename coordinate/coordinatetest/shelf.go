package coordinatetest

import (
	"context"
	"slices"
	"strings"
	"sync"

	"polity.run/coordinate"
	"polity.run/fault"
)

// Shelf is a shelf in memory, for tests. The zero value is empty. It is safe for concurrent use.
type Shelf struct {
	// Lose, if set, is asked at each change that is made whether its acknowledgement is lost. It is called one at a time.
	Lose func() bool

	mu   sync.Mutex
	last uint64
	all  map[string]entry
}

type entry struct {
	value    string
	revision uint64
}

var _ coordinate.Shelf = (*Shelf)(nil)

// Get is coordinate.Shelf's.
func (s *Shelf) Get(_ context.Context, key string) (value []byte, revision uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.all[key]
	if !ok {
		return nil, 0, nil
	}
	return []byte(e.value), e.revision, nil
}

// Swap is coordinate.Shelf's.
func (s *Shelf) Swap(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[key].revision != revision {
		return 0, fault.Conflict.New("shelf: %s is at revision %d", key, s.all[key].revision)
	}
	if s.all == nil {
		s.all = map[string]entry{}
	}
	s.last++
	s.all[key] = entry{string(value), s.last}
	if s.Lose != nil && s.Lose() {
		return 0, fault.Unknown.New("shelf: %s: no acknowledgement came", key)
	}
	return s.last, nil
}

// Remove is coordinate.Shelf's.
func (s *Shelf) Remove(_ context.Context, key string, revision uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[key].revision == revision {
		delete(s.all, key)
	}
	return nil
}

// Keys is coordinate.Shelf's.
func (s *Shelf) Keys(_ context.Context, prefix string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := []string{}
	for key := range s.all {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}
