package coordinate

import (
	"bytes"
	"context"
	"encoding/json"

	"polity.run/fault"
)

// Value is a value that is agreed, or that is changed on condition.
type Value struct {
	Value    json.RawMessage `json:"value,omitempty"` // nil for none
	Revision uint64          `json:"revision"`        // how often it was set; 0 for never
	Agreed   bool            `json:"agreed,omitempty"`
	By       Holder          `json:"by,omitzero"` // who set it
}

// setting is a value as it lies on the shelf.
type setting struct {
	Value
	Recent []set `json:"recent,omitempty"` // the oldest first
}

// set is what a call came to.
type set struct {
	Mark     string `json:"mark"`
	Revision uint64 `json:"revision"`
}

// Agree proposes a value for a name. The first that is proposed is agreed and never changes; it is what everybody gets. mine says whether it is this
// run's and agent's. It returns fault.Conflict for a name whose value is changed by Swap.
func (s *Store) Agree(ctx context.Context, c Caller, name string, value json.RawMessage) (v Value, mine bool, err error) {
	value, err = compact(name, value)
	if err != nil {
		return Value{}, false, err
	}
	found, _, err := change(ctx, s, fact{kindValue, c.Org, name}, func(v setting, revision uint64) (*setting, error) {
		switch {
		case revision == 0:
			return &setting{Value: Value{Value: value, Revision: 1, Agreed: true, By: c.holder()}}, nil
		case !v.Agreed:
			return nil, fault.Conflict.New("coordinate: value %s is one that changes; agree on another name", name)
		default:
			return nil, nil
		}
	})
	if err != nil {
		return Value{}, false, err
	}
	return found.Value, found.By == c.holder(), nil
}

// Value returns the value of a name.
func (s *Store) Value(ctx context.Context, org, name string) (Value, error) {
	v, _, err := read[setting](ctx, s, fact{kindValue, org, name})
	return v.Value, err
}

// Swap sets a value if its revision is still the given one, 0 for none, and says whether it was; the value that stands then is returned, or for the
// same call again the revision that it came to. It returns fault.Denied for a value that was agreed.
func (s *Store) Swap(ctx context.Context, c Caller, name string, value json.RawMessage, revision uint64) (v Value, done bool, err error) {
	value, err = compact(name, value)
	if err != nil {
		return Value{}, false, err
	}
	found, _, err := change(ctx, s, fact{kindValue, c.Org, name}, func(old setting, _ uint64) (*setting, error) {
		v, done = Value{}, false
		for _, r := range old.Recent {
			if r.Mark == c.mark() {
				v, done = Value{Value: value, Revision: r.Revision, By: c.holder()}, true
				return nil, nil
			}
		}
		if old.Agreed {
			return nil, fault.Denied.New("coordinate: value %s was agreed, and stays", name)
		}
		if old.Revision != revision {
			return nil, nil
		}
		v, done = Value{Value: value, Revision: revision + 1, By: c.holder()}, true
		return &setting{Value: v, Recent: recent(old.Recent, set{c.mark(), v.Revision})}, nil
	})
	if err != nil {
		return Value{}, false, err
	}
	if !done {
		v = found.Value
	}
	return v, done, nil
}

// compact checks a value and writes it without spaces.
func compact(name string, value json.RawMessage) (json.RawMessage, error) {
	if len(value) > ValueMax {
		return nil, fault.Invalid.New("coordinate: value %s: %d bytes; the most is %d", name, len(value), ValueMax)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil {
		return nil, fault.Invalid.New("coordinate: value %s: no JSON: %w", name, err)
	}
	return b.Bytes(), nil
}
