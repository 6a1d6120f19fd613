package engine

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
)

// Apply installs an organization, or another release of it, as Enlist does, and says how it stands then. With known it does so only if that is the revision
// that stands, 0 for none, and returns fault.Conflict otherwise. By is who wants it, for those who ask later.
func (e *Engine) Apply(ctx context.Context, d Digest, known *uint64, by string) (polity.Org, error) {
	if err := e.enlist(ctx, d, known, by); err != nil {
		return polity.Org{}, err
	}
	if err := e.link(d); err != nil {
		return polity.Org{}, err
	}
	r, err := e.catalog.release(d)
	if err != nil {
		return polity.Org{}, err
	}
	return e.Org(ctx, r.doc.Name)
}

// Remove takes the addresses of an organization's agents away: nothing new comes to it. Its runs go on, and what is kept of it stays. Known is as in Apply.
// It returns fault.NotFound if the organization is not installed.
func (e *Engine) Remove(ctx context.Context, name string, known *uint64, by string) error {
	o := &e.orgs
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.open(ctx); err != nil {
		return err
	}
	if _, found := o.byName[name]; !found {
		return o.missing(name)
	}
	if err := o.unchanged(name, known); err != nil {
		return err
	}
	if err := o.put(ctx, name, "", by, e.now()); err != nil {
		return err
	}
	delete(o.byName, name)
	maps.DeleteFunc(o.agents, func(_ polity.AgentName, org string) bool { return org == name })
	if e.gate == nil {
		return nil
	}
	return e.gate.Link(&agent.Release{Name: name})
}

// Orgs returns the organizations that are installed, by name.
func (e *Engine) Orgs(ctx context.Context) ([]polity.Org, error) {
	o := &e.orgs
	if err := o.ready(ctx); err != nil {
		return nil, err
	}
	defer o.mu.RUnlock()
	list := make([]polity.Org, 0, len(o.byName))
	for _, name := range slices.Sorted(maps.Keys(o.byName)) {
		org, err := o.one(name)
		if err != nil {
			return nil, err
		}
		list = append(list, org)
	}
	return list, nil
}

// Org returns one of them, or fault.NotFound.
func (e *Engine) Org(ctx context.Context, name string) (polity.Org, error) {
	o := &e.orgs
	if err := o.ready(ctx); err != nil {
		return polity.Org{}, err
	}
	defer o.mu.RUnlock()
	return o.one(name)
}

// OrgRelease returns the release of an installed organization, which is not to be changed, or fault.NotFound.
func (e *Engine) OrgRelease(ctx context.Context, name string) (*agent.Release, error) {
	o := &e.orgs
	if err := o.ready(ctx); err != nil {
		return nil, err
	}
	defer o.mu.RUnlock()
	d, found := o.byName[name]
	if !found {
		return nil, o.missing(name)
	}
	r, err := o.catalog.release(d)
	if err != nil {
		return nil, err
	}
	return &r.doc, nil
}

// one describes an organization. o.mu is held.
func (o *orgs) one(name string) (polity.Org, error) {
	d, found := o.byName[name]
	if !found {
		return polity.Org{}, o.missing(name)
	}
	r, err := o.catalog.release(d)
	if err != nil {
		return polity.Org{}, err
	}
	state := o.states[name]
	org := polity.Org{Name: name, Revision: state.Revision, Release: state.Release, Main: r.doc.Main, Applied: state.At, By: state.By}
	for i := range r.doc.Agents {
		org.Agents = append(org.Agents, r.doc.Agents[i].Name)
	}
	return org, nil
}

// missing says that an organization is not installed. o.mu is held.
func (o *orgs) missing(name string) error {
	near := ""
	if n := fault.Nearest(name, slices.Collect(maps.Keys(o.byName))); n != "" {
		near = "; did you mean " + n + "?"
	}
	return fault.NotFound.New("organization %.100q is not installed%s", name, near)
}

// unchanged returns fault.Conflict if the revision that stands is not the one that is known; any is as good as nil. o.mu is held.
func (o *orgs) unchanged(name string, known *uint64) error {
	stands := uint64(0)
	if _, found := o.byName[name]; found {
		stands = o.states[name].Revision
	}
	switch {
	case known == nil || *known == stands:
		return nil
	case stands == 0:
		return fault.Conflict.New("organization %s is not installed, and you know revision %d of it", name, *known)
	default:
		return fault.Conflict.New("organization %s stands at revision %d, by %s, and you know %d; look at what changed, and try again", name, stands, o.states[name].By, *known)
	}
}

// put writes how an organization stands from now on. o.mu is held for writing.
func (o *orgs) put(ctx context.Context, name, release, by string, now time.Time) error {
	in := installed{Release: release, Revision: o.states[name].Revision + 1, At: now.UTC().Truncate(time.Second), By: by}
	data, err := json.Marshal(in)
	if err != nil {
		return fault.Internal.New("engine: install %s: %w", name, err)
	}
	if err := o.bucket.Put(ctx, name, data); err != nil {
		return err
	}
	o.states[name] = in
	return nil
}
