package coordinate

import (
	"context"

	"polity.run/fault"
)

// counter is a counter as it lies on the shelf.
type counter struct {
	Count  int64   `json:"count"`
	Recent []added `json:"recent,omitempty"` // the oldest first
}

// added is what a call came to.
type added struct {
	Mark  string `json:"mark"`
	Count int64  `json:"count"`
}

// Add adds to a counter, which begins at 0, and returns what it is then. The same call again adds nothing and returns the same, as long as fewer
// than RecentMax others came between. It returns fault.Invalid for a result beyond CountMax.
func (s *Store) Add(ctx context.Context, c Caller, name string, by int64) (count int64, err error) {
	if by > CountMax || by < -CountMax {
		return 0, fault.Invalid.New("coordinate: counter %s: add %d: the most is %d", name, by, int64(CountMax))
	}
	_, _, err = change(ctx, s, fact{kindCounter, c.Org, name}, func(n counter, _ uint64) (*counter, error) {
		for _, a := range n.Recent {
			if a.Mark == c.mark() {
				count = a.Count
				return nil, nil
			}
		}
		n.Count += by
		if n.Count > CountMax || n.Count < -CountMax {
			return nil, fault.Invalid.New("coordinate: counter %s: %d is beyond the most, %d", name, n.Count, int64(CountMax))
		}
		count = n.Count
		n.Recent = recent(n.Recent, added{c.mark(), count})
		return &n, nil
	})
	return count, err
}

// Count returns what a counter is at; 0 if nobody has added to it.
func (s *Store) Count(ctx context.Context, org, name string) (int64, error) {
	n, _, err := read[counter](ctx, s, fact{kindCounter, org, name})
	return n.Count, err
}
