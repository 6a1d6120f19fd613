package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"polity.run"
	"polity.run/agent"
	"polity.run/contract"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/schema"
)

// contracts are the schemas that others rely on, opened when they are first needed.
type contracts struct {
	bus *bus.Bus

	registering sync.Mutex // held while something is registered, around what is compared and what is kept

	mu       sync.Mutex
	store    *contract.Store
	fits     map[Digest]bool // releases that fit what is registered
	times    int             // that something was registered
	subjects map[string]*contract.Subject
	readers  map[readerKey]*contract.Reader // what was asked of them
}

const schemasBucket = "schemas"

// open returns the store, and makes one if there is none.
func (c *contracts) open(ctx context.Context) (*contract.Store, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.store != nil {
		return c.store, nil
	}
	bucket, err := c.bus.Bucket(ctx, schemasBucket)
	if err != nil {
		return nil, err
	}
	c.store = contract.Open(bucket)
	return c.store, nil
}

// existing returns the store, or nil if nothing was ever registered on this node: then no stream is made for it.
func (c *contracts) existing(ctx context.Context) (*contract.Store, error) {
	there, err := c.bus.HasBucket(ctx, schemasBucket)
	if err != nil || !there {
		return nil, err
	}
	return c.open(ctx)
}

// known says that a release was found to fit, and how often something had been registered by then.
func (c *contracts) known(d Digest) (fits bool, times int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fits[d], c.times
}

// found keeps that a release fits, unless something was registered meanwhile.
func (c *contracts) found(d Digest, times int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fits == nil {
		c.fits = map[Digest]bool{}
	}
	if times == c.times {
		c.fits[d] = true
	}
}

// registered makes every release be looked at again.
func (c *contracts) registered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.times++
	clear(c.fits)
	clear(c.readers)
}

// Schemas returns all registered subjects, or those that are named. It returns fault.NotFound for one that there is not.
func (e *Engine) Schemas(ctx context.Context, names ...string) ([]contract.Subject, error) {
	store, err := e.contracts.existing(ctx)
	if err != nil {
		return nil, err
	}
	var out []contract.Subject
	switch {
	case store == nil && len(names) > 0:
		return nil, fault.NotFound.New("there is no subject %q", names[0])
	case store == nil:
		return nil, nil
	case len(names) == 0:
		return store.List(ctx)
	}
	for _, name := range names {
		s, err := store.Subject(ctx, name)
		if err != nil {
			return nil, err
		}
		out = append(out, *s)
	}
	return out, nil
}

// Register adds a version of a subject: see contract.Store.Register. From then on a release whose agents are asked from outside by a
// registered skill fits what was registered, or is refused.
func (e *Engine) Register(ctx context.Context, q contract.Registration) (*contract.Subject, error) {
	e.contracts.registering.Lock()
	defer e.contracts.registering.Unlock()
	return e.register(ctx, q)
}

// register is Register, for whoever holds registering.
func (e *Engine) register(ctx context.Context, q contract.Registration) (*contract.Subject, error) {
	store, err := e.contracts.open(ctx)
	if err != nil {
		return nil, err
	}
	made, err := store.Register(ctx, q)
	if err != nil {
		return nil, err
	}
	e.contracts.know(made)
	e.contracts.registered()
	return made, nil
}

// keeps returns why a release would break those who rely on what is registered: fault.Conflict, with all differences. It is asked
// whenever a release is installed, before anything of it runs.
func (e *Engine) keeps(ctx context.Context, d Digest, r *agent.Release) error {
	fits, times := e.contracts.known(d)
	if fits {
		return nil
	}
	store, err := e.contracts.existing(ctx)
	if err != nil {
		return err
	}
	var problems []error
	if store != nil {
		for _, side := range Promises(r) {
			problems = append(problems, keepsSide(ctx, store, r.Name, side))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	if err := e.agree(ctx, r); err != nil {
		return err
	}
	e.contracts.found(d, times)
	return nil
}

// outward are the agents that are asked from outside. The others are asked by agents of the same release, which pins both.
func outward(r *agent.Release) []*agent.Definition {
	var out []*agent.Definition
	for i := range r.Agents {
		if name := string(r.Agents[i].Name); name == r.Main || r.Main == "" {
			out = append(out, &r.Agents[i])
		}
	}
	return out
}

// Promises returns what a release promises to those outside: the sides of the skills of its main agent, or of all agents where it has none;
// the signals that its agents are told; and the schemas of its topics.
func Promises(r *agent.Release) []contract.Registration {
	var out []contract.Registration
	for _, def := range outward(r) {
		for _, s := range def.Skills {
			out = append(out, sides(string(def.Name), &s)...)
		}
	}
	for i := range r.Agents {
		def := &r.Agents[i]
		for _, name := range slices.Sorted(maps.Keys(def.Signals)) {
			subject := contract.SignalSubject(string(def.Name), name)
			out = append(out, contract.Registration{Subject: subject, Version: contract.Version{Schema: def.Signals[name]}})
		}
	}
	for i := range r.Topics {
		if t := &r.Topics[i]; len(t.Schema) > 0 {
			out = append(out, registration(t))
		}
	}
	return out
}

func sides(name string, s *polity.Skill) []contract.Registration {
	return []contract.Registration{
		{Subject: contract.SkillSubject(name, s.Name, false), Version: contract.Version{Schema: s.Input}},
		{Subject: contract.SkillSubject(name, s.Name, true), Version: contract.Version{Schema: s.Output}},
	}
}

// keepsSide compares one side of a skill with what is registered, if anything is.
func keepsSide(ctx context.Context, store *contract.Store, release string, side contract.Registration) error {
	s, err := store.Subject(ctx, side.Subject)
	if errors.Is(err, fault.NotFound) || contract.CheckName(side.Subject) != nil {
		return nil
	}
	if err != nil {
		return err
	}
	fits, err := s.Fits(side.Version.Schema)
	if err != nil {
		return err
	}
	if len(fits) > 0 {
		return schema.Refusal(fmt.Sprintf("release %s breaks who relies on %s (mode %s)", release, s.Name, s.Mode), fits)
	}
	return nil
}

// keepsOwn looks at the program's own agents, which were installed before the store was open.
func (e *Engine) keepsOwn(ctx context.Context) error {
	own, err := e.catalog.release(e.own)
	if err != nil || len(own.doc.Agents) == 0 {
		return err
	}
	return e.keeps(ctx, e.own, &own.doc)
}

// upcast reads the input of a request that was written for an older version of the skill's registered schema.
func (e *Engine) upcast(ctx context.Context, def *agent.Definition, q Request) (json.RawMessage, error) {
	if def == nil {
		return nil, fault.NotFound.New("the release has no agent %q", q.Agent)
	}
	s := findSkill(def, q.Skill)
	if s == nil {
		return nil, fault.NotFound.New("agent %s has no skill %q", def.Name, q.Skill)
	}
	store, err := e.contracts.open(ctx)
	if err != nil {
		return nil, err
	}
	name := contract.SkillSubject(string(def.Name), s.Name, false)
	if s.Type != "" {
		if name, _, err = contract.ParseType(s.Type); err != nil {
			return nil, err
		}
	}
	subject, err := store.Subject(ctx, name)
	if err != nil {
		return nil, fault.Of(err).Kind.New("input of version %d: %w; register what the skill is asked, or leave the version out", q.Version, err)
	}
	to, err := subject.Uses(s.Input)
	if err != nil {
		return nil, err
	}
	reads := schema.Range{From: 1, To: to}
	if s.Reads != "" {
		if reads, err = schema.ParseRange(s.Reads); err != nil {
			return nil, err
		}
		if reads.To != to {
			return nil, fault.Invalid.New("agent %s: skill %s reads versions %s, and its input is that of version %d", def.Name, s.Name, reads, to)
		}
	}
	r, err := subject.Reader(reads)
	if err != nil {
		return nil, err
	}
	return r.Read(q.Version, q.Input)
}

// findSkill returns a skill by its name, "" for the only one, or nil.
func findSkill(def *agent.Definition, name string) *polity.Skill {
	for i := range def.Skills {
		if def.Skills[i].Name == name || name == "" && len(def.Skills) == 1 {
			return &def.Skills[i]
		}
	}
	return nil
}
