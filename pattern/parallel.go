package pattern

import (
	"encoding/json"
	"fmt"
	"slices"

	"polity.run"
	"polity.run/fault"
	"polity.run/schema"
)

// Limits of a parallel.
const (
	BranchesMax    = 64 // as many as a run may have pending where its bounds name no fan-out
	validMax       = 64 << 10
	joinFirstValid = "first-valid"
)

// Parallel is the configuration of a parallel: agents that are asked at once, and an answer made of what they say.
//
//	request -> every branch -> valid? -> joined -> equal answers as one -> merged
//	                                       the rest is cancelled
//
// One branch that fails takes no other with it; the join says how many must succeed. What comes out names every branch that it rests on.
type Parallel struct {
	Branches []Branch `json:"branches"`
	// Join says how many branches must succeed: all (the default), a quorum of k, best-effort with at least k, or first-valid.
	Join Join `json:"join,omitzero"`
	// Valid is a JSON Schema that an answer must fit to count. A branch may correct its answer once.
	Valid json.RawMessage `json:"valid,omitempty"`
	// Checker is asked whether an answer is valid; "" for nobody. It is no branch itself.
	Checker polity.AgentName `json:"checker,omitempty"`
	// Merge is asked to make one answer of several; "" leaves them side by side.
	Merge polity.AgentName `json:"merge,omitempty"`
	// Hedge is how long a repeatable branch is waited for before it is asked a second time; 0 for never.
	Hedge   polity.Duration `json:"hedge,omitempty"`
	Members []Member        `json:"members,omitempty"`
}

// Branch is one question of a parallel.
type Branch struct {
	Agent     polity.AgentName `json:"agent"`
	Skill     string           `json:"skill,omitempty"` // "" for the agent's only one
	Objective string           `json:"objective,omitempty"`
	// Input is asked instead of the request. "$input.field" in it stands for a value of the request.
	Input  json.RawMessage `json:"input,omitempty"`
	Bounds polity.Bounds   `json:"bounds,omitzero"`
}

// The duties of a parallel.
const (
	dutyCheck = "check"
	dutyMerge = "merge"
)

const (
	checkOutput = `{"type":"object","additionalProperties":false,"required":["valid"],"properties":{` +
		`"valid":{"type":"boolean"},"reason":{"type":"string","description":"Why it is not valid."}}}`
	mergeOutput = `{"type":"object","additionalProperties":false,"required":["text","used"],"properties":{` +
		`"text":{"type":"string","description":"The one answer."},` +
		`"used":{"type":"array","items":{"type":"string"},"description":"IDs of the answers that it rests on, as in a1."},` +
		`"dissent":{"type":"string","description":"What answers say that are not followed."}}}`
)

// Roles lists the branches, the checker and the merger.
func (p Parallel) Roles() []Role {
	var roles []Role
	for i, b := range p.Branches {
		r := Role{Field: fmt.Sprintf("branches[%d].agent", i), Name: "branch", Agent: b.Agent}
		if b.Skill != "" {
			r.Duties = []polity.Skill{{Name: b.Skill}}
		}
		roles = append(roles, r)
	}
	if p.Checker != "" {
		roles = append(roles, Role{"checker", "checker", p.Checker, []polity.Skill{dutyOf(dutyCheck, "Say whether an answer is valid.", checkOutput)}})
	}
	if p.Merge != "" {
		roles = append(roles, Role{"merge", "merger", p.Merge, []polity.Skill{dutyOf(dutyMerge, "Make one answer of several.", mergeOutput)}})
	}
	return roles
}

// Know fills the members in.
func (p *Parallel) Know(members []Member) { p.Members = known(p.Roles(), members) }

// Check returns all problems: see Config.
func (p Parallel) Check() error {
	var found problems
	if len(p.Branches) == 0 || len(p.Branches) > BranchesMax {
		found.add(in("branches"), "%d branches; want 1 to %d", len(p.Branches), BranchesMax)
	}
	for i, b := range p.Branches {
		p.checkBranch(i, b, &found)
	}
	p.checkJoin(&found)
	if len(p.Valid) > validMax {
		found.add(in("valid"), "the schema of %d bytes is longer than %d", len(p.Valid), validMax)
	} else if len(p.Valid) > 0 {
		if _, err := schema.Compile(p.Valid); err != nil {
			found.add(in("valid"), "%v", err)
		}
	}
	if p.Hedge < 0 {
		found.add(in("hedge.after"), "%s is negative", p.Hedge)
	}
	checkRoles(p.Roles(), p.Members, &found)
	return found.err()
}

func (p *Parallel) checkBranch(i int, b Branch, found *problems) {
	if b.Agent == p.Checker && b.Agent != "" {
		found.add(in("checker"), "%s is a branch, and would judge its own answer; name another agent", b.Agent)
	}
	if b.Agent == p.Merge && b.Agent != "" {
		found.add(in("merge"), "%s is a branch, and would weigh its own answer; name another agent", b.Agent)
	}
	if len(b.Input) > stepInputMax {
		found.add(in("branches[%d].input", i), "%d bytes are more than %d; put it into a file", len(b.Input), stepInputMax)
	}
	refs, bad := references(b.Input)
	for _, one := range bad {
		found.add(in("branches[%d].input%s", i, one.path), "%v", one.err)
	}
	for _, ref := range refs {
		if ref.id != requestID {
			found.add(in("branches[%d].input%s", i, ref.at), "%s: a branch sees the request only, as in $%s.question", ref, requestID)
		}
	}
	if err := b.Bounds.Check(); err != nil {
		found.add(in("branches[%d].bounds", i), "%v", err)
	}
}

func (p *Parallel) checkJoin(found *problems) {
	switch j := p.Join; j.Policy {
	case "", joinAll:
		if j.K != 0 {
			found.add(in("join.k"), "policy all takes none; leave it out, or use quorum or best-effort")
		}
	case joinFirstValid:
		if j.K != 0 {
			found.add(in("join.k"), "policy %s takes none; leave it out", j.Policy)
		}
		if len(p.Valid) == 0 && p.Checker == "" {
			found.add(in("join.policy"), "nothing says which answer is valid; add valid, a schema, or checker, an agent")
		}
	case joinQuorum, joinBestEffort:
		if j.K < 1 && j.Policy == joinQuorum {
			found.add(in("join.k"), "policy quorum needs the number of branches that must succeed, at least 1")
		}
		if j.K < 0 || j.K > len(p.Branches) {
			found.add(in("join.k"), "%d of the branches, of which there are %d, can never succeed; lower it, or add branches", j.K, len(p.Branches))
		}
	default:
		known := []string{joinAll, joinQuorum, joinBestEffort, joinFirstValid}
		found.add(in("join.policy"), "%q is unknown in a parallel; want all, quorum, best-effort or first-valid%s", j.Policy, among(known, j.Policy))
	}
}

// Decider returns what decides the runs, or what Check finds. A run finishes with a ParallelResult, or fails: Failed if the join cannot be
// met (Unknown if a branch ended so), Exhausted if a bound left nothing at all.
func (p Parallel) Decider() (polity.Decider, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	own := copied(p)
	if own.Join.Policy == "" {
		own.Join.Policy = joinAll
	}
	if own.Join.Policy == joinBestEffort {
		own.Join.K = max(own.Join.K, 1)
	}
	var valid *schema.Schema
	if len(own.Valid) > 0 {
		var err error
		if valid, err = schema.Compile(own.Valid); err != nil {
			return nil, fault.Invalid.New("parallel: valid: %w", err)
		}
	}
	return player{"parallel", func(d *desk) play { return &parallelRun{desk: d, cfg: own, valid: valid} }}, nil
}

// need is how many branches must succeed.
func (p *Parallel) need() int {
	switch p.Join.Policy {
	case joinAll:
		return len(p.Branches)
	case joinFirstValid:
		return 1
	default:
		return p.Join.K
	}
}

// early says whether the rest is cancelled once enough have succeeded.
func (p *Parallel) early() bool {
	return slices.Contains([]string{joinQuorum, joinFirstValid}, p.Join.Policy)
}
