package engine

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/internal/bus"
)

const (
	orgsMax    = 1000 // that are installed
	orgsBucket = "orgs"
)

// orgs are the organizations that are installed, and the agents that have an address because of that.
type orgs struct {
	bus     *bus.Bus
	catalog *catalog
	log     *slog.Logger

	mu     sync.RWMutex
	bucket *bus.Bucket // nil before it was needed
	byName map[string]Digest
	agents map[polity.AgentName]string // their organization
	states map[string]installed        // also of those that were removed
	roll   roll                        // has a lock of its own
}

// installed is an organization as it stands in the bucket.
type installed struct {
	Release  string    `json:"release"`            // its digest; "" for one that was removed
	Revision uint64    `json:"revision,omitempty"` // one more with each change; 0: installed before these were counted
	At       time.Time `json:"at,omitzero"`
	By       string    `json:"by,omitempty"`
}

// open reads what is installed, the first time. o.mu is held for writing.
func (o *orgs) open(ctx context.Context) error {
	if o.bucket != nil {
		return nil
	}
	bucket, err := o.bus.Bucket(ctx, orgsBucket)
	if err != nil {
		return err
	}
	byName, agents, states := map[string]Digest{}, map[polity.AgentName]string{}, map[string]installed{}
	err = bucket.Each(ctx, func(name string, value []byte) error {
		var in installed
		if err := json.Unmarshal(value, &in); err != nil {
			return fault.Damaged.New("engine: installed organization %s: %w", name, err)
		}
		if states[name] = in; in.Release == "" {
			return nil
		}
		d, err := parseDigest(in.Release)
		if err != nil {
			return fault.Damaged.New("engine: installed organization %s: %w", name, err)
		}
		r, err := o.catalog.release(d)
		if err != nil { // it was made for another program, or its document is gone: the others go on
			o.log.Warn("an installed organization cannot be used here", "org", name, "error", err)
			return nil
		}
		byName[name] = d
		for _, a := range r.doc.Agents {
			agents[a.Name] = name
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := o.roll.load(ctx, o.bus); err != nil {
		return err
	}
	o.bucket, o.byName, o.agents, o.states = bucket, byName, agents, states
	return nil
}

// ready opens what is installed, and returns with o.mu held for reading: unlock it.
func (o *orgs) ready(ctx context.Context) error {
	o.mu.RLock()
	if o.bucket != nil {
		return nil
	}
	o.mu.RUnlock()
	o.mu.Lock()
	err := o.open(ctx)
	o.mu.Unlock()
	if err != nil {
		return err
	}
	o.mu.RLock()
	return nil
}

// of returns the release that an agent's address stands for, or that of its instance. o.mu is held.
func (o *orgs) of(name polity.AgentName) (Digest, *release, error) {
	name, instance := name.Base()
	if instance != "" && !o.roll.has(name, instance) {
		return Digest{}, nil, fault.NotFound.New("agent %s has no instance %s here; polity instances add makes it known", name, instance)
	}
	org, ok := o.agents[name]
	if !ok {
		known := make([]string, 0, len(o.agents))
		for a := range o.agents {
			known = append(known, string(a))
		}
		slices.Sort(known)
		near := ""
		if n := fault.Nearest(string(name), known); n != "" {
			near = "; did you mean " + n + "?"
		}
		return Digest{}, nil, fault.NotFound.New("no agent %q has an address here%s; polity install makes those of a manifest known", name, near)
	}
	d := o.byName[org]
	r, err := o.catalog.release(d)
	return d, r, err
}

// Enlist gives the agents of a stored release addresses for messages, under the release's name. What was enlisted under that name before is
// replaced; what its agents were sent and have not done, the agents of that release go on with. It returns fault.Conflict if another organization
// has an agent of the same name: an agent's name is its address.
func (e *Engine) Enlist(ctx context.Context, d Digest) error {
	_, err := e.Apply(ctx, d, nil, access.From(ctx).Name)
	return err
}

func (e *Engine) enlist(ctx context.Context, d Digest, known *uint64, by string) error {
	o := &e.orgs
	r, err := e.catalog.release(d)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.open(ctx); err != nil {
		return err
	}
	name := r.doc.Name
	if name == "" {
		return fault.Invalid.New("engine: a release without a name cannot be installed")
	}
	if err := o.unchanged(name, known); err != nil || o.byName[name] == d {
		return err
	}
	if _, known := o.byName[name]; !known && len(o.byName) >= orgsMax {
		return fault.Full.New("engine: %d organizations are installed, which is the most", orgsMax)
	}
	for _, a := range r.doc.Agents {
		if other, taken := o.agents[a.Name]; taken && other != name {
			return fault.Conflict.New("engine: organization %s has an agent %s, too; an agent's name is its address: rename one of them", other, a.Name)
		}
	}
	if err := o.put(ctx, name, hex.EncodeToString(d[:]), by, e.now()); err != nil {
		return err
	}
	for a, org := range o.agents {
		if org == name {
			delete(o.agents, a)
		}
	}
	for _, a := range r.doc.Agents {
		o.agents[a.Name] = name
	}
	o.byName[name] = d
	return nil
}

// Enlisted returns the releases whose agents have addresses, by the names of their organizations.
func (e *Engine) Enlisted(ctx context.Context) (map[string]Digest, error) {
	if err := e.orgs.ready(ctx); err != nil {
		return nil, err
	}
	defer e.orgs.mu.RUnlock()
	all := make(map[string]Digest, len(e.orgs.byName))
	for name, d := range e.orgs.byName {
		all[name] = d
	}
	return all, nil
}
