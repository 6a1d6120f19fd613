package engine

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/memory"
)

const (
	keysFolder   = "keys"  // of the state folder
	eraseRounds  = 10      // how often runs are cancelled that began in the meantime
	eraseReason  = "erase" // a run is cancelled with it
	memoryBucket = "memory"
)

// subject says whose data a request holds: who the request names, or who stands in the field of the input that the skill names; "" for
// nobody.
func (q *Request) subject(r *agent.Release) (string, error) {
	if q.Subject != "" {
		return q.Subject, nil
	}
	d := r.Agent(q.Agent)
	if d == nil {
		return "", nil // the kernel says so
	}
	field := ""
	for _, s := range d.Skills {
		if s.Name == q.Skill || q.Skill == "" && len(d.Skills) == 1 {
			field = s.Subject
		}
	}
	if field == "" {
		return "", nil
	}
	var input map[string]json.RawMessage
	var name string
	if err := json.Unmarshal(q.Input, &input); err != nil || input[field] == nil {
		return "", fault.Invalid.New("engine: the input of %s has no field %q, which says whose data it is", q.Agent, field)
	}
	if err := json.Unmarshal(input[field], &name); err != nil {
		name = string(input[field]) // a number names somebody as well
	}
	if name == "" || name == "null" {
		return "", fault.Invalid.New("engine: field %q of the input of %s is empty, and says whose data it is", field, q.Agent)
	}
	return name, nil
}

// seal gives a request the key of its subject, and a seed that nobody can try inputs with who does not have the key.
func (e *Engine) seal(q *Request, r *agent.Release) (string, error) {
	subject, err := q.subject(r)
	if subject == "" || err != nil {
		return "", err
	}
	key, err := e.keys.Key(subject)
	if err != nil {
		return "", err
	}
	salt, err := e.keys.Salt(key)
	if err != nil {
		return "", err
	}
	q.Subject = ""
	q.Seed += hex.EncodeToString(salt[:])
	return key, nil
}

// Erase erases the data of a person: the key of everything that runs about them wrote is destroyed, and what these runs remembered, and what was
// concluded from it, is forgotten. The runs stay in every list, with when they ran and how they ended; what they were asked and
// answered reads as fault.Erased. With cancel, runs that have not ended are cancelled first and waited for; without it they are in the way,
// and fault.Conflict names them. It returns fault.NotFound if nothing is enciphered for that person, and can be repeated after any
// fault.
func (e *Engine) Erase(ctx context.Context, subject, reason string, cancel bool) (polity.Erasure, error) {
	key, err := e.keys.Find(subject)
	if err != nil {
		return polity.Erasure{}, err
	}
	out := polity.Erasure{Key: key, Runs: []polity.RunID{}}
	if runs, err := e.part.Holders(ctx, key); err != nil || slices.ContainsFunc(runs, func(s polity.Summary) bool { return s.Held != "" }) {
		return out, errors.Join(err, e.part.Erase(ctx, key, reason)) // it says which runs are held
	}
	for range eraseRounds {
		if !cancel {
			break
		}
		ended, err := e.endHolders(ctx, key)
		if err != nil {
			return out, err
		}
		out.Cancelled = append(out.Cancelled, ended...)
		if len(ended) == 0 {
			break
		}
	}
	runs, err := e.part.Holders(ctx, key)
	if err != nil {
		return out, err
	}
	for _, s := range runs {
		if !s.Status.Final() && s.Status != polity.StatusStopped {
			return out, e.part.Erase(ctx, key, reason) // it says which runs are in the way
		}
		out.Runs = append(out.Runs, s.ID)
	}
	// Memories first: while there is a key, a repetition finds the runs again.
	if out.Records, err = e.catalog.memories.forget(ctx, out.Runs); err != nil {
		return out, err
	}
	return out, e.part.Erase(ctx, key, reason)
}

// Delete deletes one run: its key, which must be its own, is destroyed, and what it remembered, and what was concluded from it, is forgotten. It is in no
// list any more; that it was, and was deleted, is in the log. It returns how many records were forgotten, and can be repeated after any fault. See
// run.Partition.Deletable for what cannot be deleted.
func (e *Engine) Delete(ctx context.Context, id polity.RunID, reason string) (int, error) {
	if err := e.part.Deletable(ctx, id); err != nil {
		return 0, err
	}
	n, err := e.catalog.memories.forget(ctx, []polity.RunID{id})
	if err != nil {
		return n, err
	}
	return n, e.part.Delete(ctx, id, reason)
}

// Hold keeps a run from being erased until it is released: see run.Partition.Hold.
func (e *Engine) Hold(ctx context.Context, id polity.RunID, reason string) error {
	return e.part.Hold(ctx, id, reason)
}

// Release ends a hold: see run.Partition.Release.
func (e *Engine) Release(ctx context.Context, id polity.RunID, reason string) error {
	return e.part.Release(ctx, id, reason)
}

// endHolders cancels the runs that use a key and have not ended, and waits for them.
func (e *Engine) endHolders(ctx context.Context, key string) ([]polity.RunID, error) {
	runs, err := e.part.Holders(ctx, key)
	if err != nil {
		return nil, err
	}
	var ended []polity.RunID
	for _, s := range runs {
		if s.Status.Final() || s.Status == polity.StatusStopped {
			continue
		}
		if err := e.part.Cancel(ctx, s.ID, eraseReason); err != nil {
			return ended, err
		}
		if _, err := e.part.Wait(ctx, s.ID); err != nil {
			return ended, err
		}
		ended = append(ended, s.ID)
	}
	return ended, nil
}

// forget takes back what runs remembered, in all memories of the node, and returns how many records that were.
func (m *memories) forget(ctx context.Context, runs []polity.RunID) (int, error) {
	there, err := m.there(ctx)
	if err != nil || !there || len(runs) == 0 {
		return 0, err
	}
	s, err := m.open(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, name := range s.Names() {
		for _, id := range runs {
			done, err := s.Forget(ctx, name, memory.Filter{Run: id}, time.Now().UTC())
			if err != nil {
				return n, err
			}
			n += done.Records + done.Derived
		}
	}
	return n, nil
}

// there says whether anything was remembered yet.
func (m *memories) there(ctx context.Context) (bool, error) {
	m.mu.Lock()
	opened := m.store != nil
	m.mu.Unlock()
	if opened {
		return true, nil
	}
	return m.bus.HasBucket(ctx, memoryBucket)
}
