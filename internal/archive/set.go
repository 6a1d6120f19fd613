package archive

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"polity.run"
)

// Set is a sorted table of runs with a number for each, 20 bytes a run. A run is known by the first half of its ID's SHA-256. The zero Set is empty.
type Set struct{ rows []row }

type row struct {
	key [sha256.Size / 2]byte
	n   uint32
}

func keyOf(id polity.RunID) (key [sha256.Size / 2]byte) {
	sum := sha256.Sum256([]byte(id))
	copy(key[:], sum[:])
	return key
}

func byKey(a, b row) int { return bytes.Compare(a.key[:], b.key[:]) }

// Get returns the number of a run, and whether it is there.
func (s *Set) Get(id polity.RunID) (uint32, bool) {
	i, found := slices.BinarySearchFunc(s.rows, row{key: keyOf(id)}, byKey)
	if !found {
		return 0, false
	}
	return s.rows[i].n, true
}

// Len is how many runs there are.
func (s *Set) Len() int { return len(s.rows) }

// Batch is what comes into a Set at once, in any order.
type Batch struct{ rows []row }

// Put adds a run.
func (b *Batch) Put(id polity.RunID, n uint32) { b.rows = append(b.rows, row{keyOf(id), n}) }

// With returns a Set with the runs of a batch as well. A run that is there gets the new number. s stays as it is, for those who read it meanwhile.
func (s *Set) With(b *Batch) *Set {
	slices.SortStableFunc(b.rows, byKey)
	out := make([]row, 0, len(s.rows)+len(b.rows))
	old, add := s.rows, b.rows
	for len(old) > 0 || len(add) > 0 {
		var next row
		if len(add) == 0 || len(old) > 0 && byKey(old[0], add[0]) < 0 {
			next, old = old[0], old[1:]
		} else {
			next, add = add[0], add[1:]
		}
		if n := len(out); n == 0 || out[n-1].key != next.key {
			out = append(out, next)
		}
	}
	return &Set{out}
}
