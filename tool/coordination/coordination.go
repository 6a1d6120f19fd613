// Package coordination is the toolset by which agents coordinate: lock.*, leader.*, counter.* and value.*.
//
// It exists so that agents which compete ask the node's store, and what they are answered is an event of their run like every
// other tool's result. A change is keyed: the same call after a crash is answered as it was and done once. See package coordinate for
// what is promised.
package coordination

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"polity.run"
	"polity.run/coordinate"
	"polity.run/fault"
	"polity.run/tool"
)

const version = "1"

// acquireTimeout leaves a call that waits for a lock the time to say that it did not get it.
const acquireTimeout = coordinate.WaitMax + tool.TimeoutDefault

// Open returns the facts of the node that a call is made on.
type Open func(ctx context.Context) (*coordinate.Store, error)

// Lease is the input of lock.acquire.
type Lease struct {
	Name string          `json:"name" jsonschema:"What is locked, by a name that all who want it use."`
	TTL  polity.Duration `json:"ttl" jsonschema:"How long it is held if it is not renewed, from 1s to 24h, as in 30s."`
	Wait polity.Duration `json:"wait,omitempty" jsonschema:"How long to wait if others hold it, up to 5m. Left out: not at all."`
}

// Held is the output of lock.acquire and lock.renew.
type Held struct {
	Held   bool              `json:"held" jsonschema:"Whether it is held by who asks."`
	Token  uint64            `json:"token,omitempty" jsonschema:"With held: it renews and releases; whatever is changed under the lock should refuse smaller ones than it has seen."`
	Until  time.Time         `json:"until,omitzero" jsonschema:"When the lease ends, by the node's clock."`
	Holder coordinate.Holder `json:"holder,omitzero"`
}

// Ticket is the input of lock.renew and lock.release.
type Ticket struct {
	Name  string `json:"name"`
	Token uint64 `json:"token" jsonschema:"As lock.acquire gave it."`
}

// Released is the output of lock.release.
type Released struct {
	Released bool `json:"released" jsonschema:"False if the token did not hold it any more."`
}

// Candidacy is the input of leader.campaign.
type Candidacy struct {
	Name string          `json:"name" jsonschema:"What is to be led, by a name that all candidates use."`
	TTL  polity.Duration `json:"ttl" jsonschema:"How long to lead without another campaign, from 1s to 24h."`
}

// Leads is the output of leader.campaign and leader.who.
type Leads struct {
	Leader coordinate.Holder `json:"leader,omitzero" jsonschema:"Who leads; left out if nobody does."`
	Mine   bool              `json:"mine" jsonschema:"Whether it is who asks."`
	Token  uint64            `json:"token,omitempty" jsonschema:"Of the leader's term: it grows from leader to leader."`
	Until  time.Time         `json:"until,omitzero"`
}

// Name is the input of leader.who, counter.get and value.get.
type Name struct {
	Name string `json:"name"`
}

// Addition is the input of counter.add.
type Addition struct {
	Name string `json:"name"`
	By   int64  `json:"by" jsonschema:"What is added; less than zero takes away."`
}

// Count is the output of counter.add and counter.get.
type Count struct {
	Value int64 `json:"value"`
}

// Proposal is the input of value.agree.
type Proposal struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value" jsonschema:"Any JSON. The first that is proposed is agreed for ever."`
}

// Agreed is the output of value.agree.
type Agreed struct {
	Value    json.RawMessage `json:"value" jsonschema:"What is agreed."`
	Mine     bool            `json:"mine" jsonschema:"Whether it is what this agent proposed in this run."`
	Revision uint64          `json:"revision"`
}

// Setting is the output of value.get.
type Setting struct {
	Value    json.RawMessage `json:"value,omitempty" jsonschema:"Left out if there is none."`
	Revision uint64          `json:"revision" jsonschema:"0 if there is none."`
}

// Change is the input of value.swap.
type Change struct {
	Name     string          `json:"name"`
	Value    json.RawMessage `json:"value" jsonschema:"Any JSON."`
	Revision uint64          `json:"revision" jsonschema:"Of the value that this one replaces; 0 if there is none."`
}

// Changed is the output of value.swap.
type Changed struct {
	Swapped bool `json:"swapped" jsonschema:"False if others changed it first: the value and revision are then theirs."`
	Setting
}

// Names lists the tools.
func Names() []string {
	return []string{
		"lock.acquire", "lock.renew", "lock.release", "leader.campaign", "leader.who",
		"counter.add", "counter.get", "value.agree", "value.get", "value.swap",
	}
}

// Tools returns the toolset. With a nil open its tools can be looked at, and not called.
func Tools(open Open) ([]tool.Tool, error) {
	m := maker{open: open}
	declare(&m, tool.Spec{
		Name: "lock.acquire", Effect: polity.EffectKeyed, Timeout: acquireTimeout,
		Description: "Asks for a lock, which one run's agent holds at a time, for a limited time. Renew it before that is over, and release it when done.",
	}, acquire)
	declare(&m, tool.Spec{
		Name: "lock.renew", Effect: polity.EffectIdempotent,
		Description: "Holds a lock for its time from now. If held is false it was lost: stop what you do under it.",
	}, renew)
	declare(&m, tool.Spec{
		Name: "lock.release", Effect: polity.EffectKeyed, Description: "Gives a lock up.",
	}, release)
	declare(&m, tool.Spec{
		Name: "leader.campaign", Effect: polity.EffectKeyed,
		Description: "Asks to lead, for a limited time; one run's agent leads at a time. The leader campaigns again before its time is over.",
	}, campaign)
	declare(&m, tool.Spec{
		Name: "leader.who", Effect: polity.EffectNone, Description: "Says who leads.",
	}, who)
	declare(&m, tool.Spec{
		Name: "counter.add", Effect: polity.EffectKeyed, Description: "Adds to a counter and says what it is then.",
	}, add)
	declare(&m, tool.Spec{
		Name: "counter.get", Effect: polity.EffectNone, Description: "Says what a counter is at.",
	}, count)
	declare(&m, tool.Spec{
		Name: "value.agree", Effect: polity.EffectIdempotent,
		Description: "Proposes a value for a name. The first that anybody proposes is agreed and never changes; everybody is told that one.",
	}, agree)
	declare(&m, tool.Spec{
		Name: "value.get", Effect: polity.EffectNone, Description: "Says what value a name has.",
	}, get)
	declare(&m, tool.Spec{
		Name: "value.swap", Effect: polity.EffectKeyed,
		Description: "Sets the value of a name if nobody changed it since the revision that was read.",
	}, swap)
	return m.tools, errors.Join(m.problems...)
}

// maker gathers tools.
type maker struct {
	open     Open
	tools    []tool.Tool
	problems []error
}

// declare makes a tool of what it does with the store.
func declare[In, Out any](m *maker, spec tool.Spec, do func(context.Context, *coordinate.Store, coordinate.Caller, In) (Out, error)) {
	spec.Version = version
	t, err := tool.Func(spec, func(ctx context.Context, c tool.Call, in In) (Out, error) {
		var none Out
		if m.open == nil {
			return none, fault.Unavailable.New("tool %s: there is no store outside of a node", spec.Name)
		}
		s, err := m.open(ctx)
		if err != nil {
			return none, err
		}
		return do(ctx, s, coordinate.Caller{Org: c.Org, Run: c.Run, Agent: c.Agent, Key: c.Key}, in)
	})
	m.tools, m.problems = append(m.tools, t), append(m.problems, err)
}

func acquire(ctx context.Context, s *coordinate.Store, c coordinate.Caller, in Lease) (Held, error) {
	l, mine, err := s.Acquire(ctx, c, coordinate.KindLock, in.Name, time.Duration(in.TTL), time.Duration(in.Wait))
	return held(l, mine), err
}

func held(l coordinate.Lock, mine bool) Held {
	switch {
	case mine:
		return Held{true, l.Token, l.Until, l.Holder}
	case l.Held:
		return Held{Until: l.Until, Holder: l.Holder}
	default:
		return Held{}
	}
}

func renew(ctx context.Context, s *coordinate.Store, c coordinate.Caller, in Ticket) (Held, error) {
	l, mine, err := s.Renew(ctx, c, coordinate.KindLock, in.Name, in.Token)
	return held(l, mine), err
}

func release(ctx context.Context, s *coordinate.Store, c coordinate.Caller, in Ticket) (Released, error) {
	released, err := s.Release(ctx, c, coordinate.KindLock, in.Name, in.Token)
	return Released{released}, err
}

func campaign(ctx context.Context, s *coordinate.Store, c coordinate.Caller, in Candidacy) (Leads, error) {
	l, mine, err := s.Acquire(ctx, c, coordinate.KindLeader, in.Name, time.Duration(in.TTL), 0)
	return leads(l, mine), err
}

func who(ctx context.Context, s *coordinate.Store, c coordinate.Caller, in Name) (Leads, error) {
	l, err := s.Look(ctx, c.Org, coordinate.KindLeader, in.Name)
	return leads(l, l.Held && l.Holder == coordinate.Holder{Run: c.Run, Agent: c.Agent}), err
}

func leads(l coordinate.Lock, mine bool) Leads {
	if !l.Held {
		return Leads{}
	}
	return Leads{l.Holder, mine, l.Token, l.Until}
}

func add(ctx context.Context, s *coordinate.Store, c coordinate.Caller, in Addition) (Count, error) {
	n, err := s.Add(ctx, c, in.Name, in.By)
	return Count{n}, err
}

func count(ctx context.Context, s *coordinate.Store, c coordinate.Caller, in Name) (Count, error) {
	n, err := s.Count(ctx, c.Org, in.Name)
	return Count{n}, err
}

func agree(ctx context.Context, s *coordinate.Store, c coordinate.Caller, in Proposal) (Agreed, error) {
	v, mine, err := s.Agree(ctx, c, in.Name, in.Value)
	return Agreed{v.Value, mine, v.Revision}, err
}

func get(ctx context.Context, s *coordinate.Store, c coordinate.Caller, in Name) (Setting, error) {
	v, err := s.Value(ctx, c.Org, in.Name)
	return Setting{v.Value, v.Revision}, err
}

func swap(ctx context.Context, s *coordinate.Store, c coordinate.Caller, in Change) (Changed, error) {
	v, done, err := s.Swap(ctx, c, in.Name, in.Value, in.Revision)
	return Changed{done, Setting{v.Value, v.Revision}}, err
}
