package access

import (
	"context"
	"encoding/json"
	"time"

	"polity.run/fault"
)

// Record is what is kept of a request that would change something: who wanted what, and what was decided.
type Record struct {
	Seq      uint64    `json:"seq,omitempty"` // its place in the journal; records that were written together have the same
	At       time.Time `json:"at"`
	Who      string    `json:"who"`  // their ID; "" for nobody
	Name     string    `json:"name"` // and name
	Kind     Kind      `json:"kind"`
	Verb     Verb      `json:"verb"`
	Asked    string    `json:"asked"` // as in POST /v1/runs/{id}/cancel
	Object   Object    `json:"object"`
	Decision Decision  `json:"decision"`
	From     string    `json:"from,omitempty"` // the address
}

// Journal is added to. A bus.Journal is one.
type Journal interface {
	Add(ctx context.Context, data []byte) error
}

// Keep adds a record to a journal, and returns when it is safe.
func (r Record) Keep(ctx context.Context, j Journal) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fault.Internal.New("access: write a record: %w", err)
	}
	return j.Add(ctx, data)
}

// ReadRecord reads what Keep wrote.
func ReadRecord(seq uint64, data []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fault.Damaged.New("access: record %d: %w", seq, err)
	}
	r.Seq = seq
	return r, nil
}
