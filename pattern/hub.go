// Package pattern holds the patterns of organizations: who acts next. Each is one pure decider,
// in the files that begin with its name.
//
// It exists so that how agents work together is data and one piece of code that can be replayed,
// not a conversation that happened to go well. The life of a hub's run:
//
//	request -> plan -> check -> dispatch ... join -> verify -> merge -> verdict
//	                              ^   |
//	                              +---+ retry, or plan the failed step anew
package pattern

import (
	"encoding/json"
	"fmt"
	"time"

	"polity.run"
	"polity.run/fault"
)

// Hub is the configuration of a hub: a coordinator that plans, dispatches to specialists, verifies
// what they claim, and puts it together. It does no specialist's work itself.
type Hub struct {
	Specialists []Member `json:"specialists"`
	// Plan is the declared plan. Without one, Planner makes it.
	Plan *Plan `json:"plan,omitempty"`
	// Planner is "match" (the default): code that matches the request with the specialists' skills. Anything else is an agent that is
	// asked for a plan, and for another one where a step failed for good. What it answers is checked as a declared plan is.
	Planner string `json:"planner,omitempty"`
	// Fallback is "match" if code makes the plan where the planner makes none that can be used; "" fails the run then.
	Fallback string `json:"fallback,omitempty"`
	// Review is an agent, as a rule a person, that approves a plan before anything of it is done; "" for nobody.
	Review polity.AgentName `json:"review,omitempty"`
	// Synthesizer is an agent that words the answer from what was found and verified; "" for nobody. Claims and verdict stay as they are.
	Synthesizer polity.AgentName `json:"synthesizer,omitempty"`
	// Ledger replaces the plan by a lead that chooses who does what, round by round.
	Ledger *Ledger `json:"ledger,omitempty"`
	// Hedge is how long a repeatable specialist is waited for before its step is asked a second time; 0 for never.
	Hedge polity.Duration `json:"hedge,omitempty"`
	// Caps limit every plan, declared or made.
	Caps Caps `json:"caps,omitzero"`
	// Retries is how often a failed step is asked again; default 1.
	Retries *int `json:"retries,omitempty"`
	// Replans is how often a step that failed for good may be given to another specialist; default
	// 1. What is completed is kept. An optional step is not planned anew.
	Replans *int `json:"replans,omitempty"`
	Join    Join `json:"join,omitzero"`
	// Verdict turns verified claims into an answer by declared rules; the first that holds wins.
	Verdict []Rule `json:"verdict,omitempty"`
	// AtOnce has steps undone as soon as those that waited for them are, instead of one after the other, the last one first.
	AtOnce bool `json:"undo_at_once,omitempty"`
	// Stuck is who is asked, as a person, about what cannot be undone; "" for nobody.
	Stuck polity.AgentName `json:"stuck,omitempty"`
	// Members are the planner, the reviewer, the synthesizer and the lead.
	Members []Member `json:"members,omitempty"`
}

// Plan is a graph of steps. A step whose output no other step references must be a leaf, that is,
// no other step waits for it: leaves are the plan's results and go to the synthesis.
type Plan struct {
	Steps []Step `json:"steps"`
}

// Step asks one specialist once, or waits.
type Step struct {
	// ID is at most 40 of a-z, 0-9, '-' and '_', beginning with a letter or digit; not input,
	// verify, finish or fail.
	ID    string           `json:"id"`
	Agent polity.AgentName `json:"agent"`
	Skill string           `json:"skill,omitempty"` // "" for the agent's only one
	// Wait lets time pass, and Await waits for a signal or an event whose data is the step's output, in place of an agent. In the match of
	// that references stand for values, as in Input. Same and Into are of sequences. Only a declared plan waits.
	Wait      *Wait    `json:"wait,omitempty"`
	Await     *Await   `json:"await,omitempty"`
	DependsOn []string `json:"depends_on,omitempty"`
	// Input is the step's input; a string "$id.field" stands for a value of another step's output
	// and makes the step depend on it, and "$input.field" stands for one of the request's. A
	// text that begins with a dollar sign is written "$$". Empty passes the request on as it is.
	Input json.RawMessage `json:"input,omitempty"`
	// Objective tells the specialist what this step is for.
	Objective string `json:"objective,omitempty"`
	// Optional steps may fail without the join policy noticing, so a step that is not optional may
	// not reference their output; one that only waits for them goes on without them.
	Optional bool `json:"optional,omitempty"`
	// Bounds are delegated to the step.
	Bounds polity.Bounds `json:"bounds,omitzero"`
	// Approve is who has to let the step go, as it is asked; nil for whom its skill names, or nobody.
	Approve *polity.Approver `json:"approve,omitempty"`
}

// Caps limit a plan. Zero fields take the defaults that are named.
type Caps struct {
	Steps    int   `json:"steps,omitempty"`     // default 40, at most 500
	Width    int   `json:"width,omitempty"`     // steps that are asked at once; default 16, at most 64
	Depth    int   `json:"depth,omitempty"`     // longest chain; default 10, at most 100
	MicroUSD int64 `json:"micro_usd,omitempty"` // sum of the steps' delegated money; default no cap beside the run's own
}

// Join says how many of the plan's results must succeed. A result is a leaf of the plan that is
// not optional; for all, every step that is not optional counts.
type Join struct {
	// Policy is all (the default), quorum (the first K successes end the rest), best-effort (all
	// end, and at least K succeed, default 1), or first (the first success ends the rest).
	Policy string `json:"policy,omitempty"`
	K      int    `json:"k,omitempty"`
}

// Rule is one line of a verdict.
type Rule struct {
	Verdict string `json:"verdict"`
	// When counts verified claims: at least AtLeast claims of Stance with Severity or heavier. An
	// empty When always holds.
	When *When `json:"when,omitempty"`
}

// When is a rule's condition.
type When struct {
	Stance   polity.Stance   `json:"stance"`
	Severity polity.Severity `json:"severity"`
	AtLeast  int             `json:"at_least"`
}

// The join policies.
const (
	joinAll        = "all"
	joinQuorum     = "quorum"
	joinBestEffort = "best-effort"
	joinFirst      = "first"
)

// plannerMatch names the planner that is code.
const plannerMatch = "match"

// Defaults of the configuration.
const (
	stepsDefault   = 40
	widthDefault   = 16
	depthDefault   = 10
	retriesDefault = 1
	replansDefault = 1
)

// hub is the decider.
type hub struct {
	cfg Hub // with its defaults filled in
}

// Decider returns the decider of a hub. It returns what Check finds, and otherwise keeps its own
// copy of what it needs of h. The decider holds no state of a run and is safe for concurrent use.
// Its run finishes with a HubResult, or fails: Invalid if the request matches no skill or the plan
// that was made breaks a cap, Failed if the join policy cannot be met (Unknown if a step ended so),
// Exhausted if a bound left nothing at all. If its steps' skills say how they are undone, one that fails, or is cancelled, first undoes what was
// done, the last one first, and its output is a HubUndone.
func (h Hub) Decider() (polity.Decider, error) {
	if err := h.Check(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(h)
	if err != nil {
		return nil, fault.Invalid.New("hub: copy configuration: %w", err)
	}
	var own Hub
	if err := json.Unmarshal(data, &own); err != nil {
		return nil, fault.Invalid.New("hub: copy configuration: %w", err)
	}
	if own.Ledger != nil {
		return player{"hub", func(d *desk) play { return newMagenticRun(d, &own) }}, nil
	}
	return &hub{own.withDefaults()}, nil
}

// planned says whether an agent plans.
func (h *Hub) planned() bool { return h.Planner != "" && h.Planner != plannerMatch }

// hedge is how long a repeatable specialist is waited for.
func (h *Hub) hedge() time.Duration { return time.Duration(h.Hedge) }

// Roles lists the specialists, who are asked for whatever they can do, and after them who plans, reviews, words the answer or leads.
func (h Hub) Roles() []Role {
	var roles []Role
	for i := range h.Specialists {
		roles = append(roles, Role{Field: fmt.Sprintf("specialists[%d]", i), Name: "specialist", Agent: h.Specialists[i].Name})
	}
	if h.planned() {
		roles = append(roles, plannerRole(polity.AgentName(h.Planner)))
	}
	if h.Review != "" {
		roles = append(roles, h.reviewRole())
	}
	if h.Synthesizer != "" {
		roles = append(roles, Role{"synthesizer", "synthesizer", h.Synthesizer, []polity.Skill{
			dutyOf(dutySynthesize, "Word the answer from what was found and verified.", synthesizeOutput),
		}})
	}
	if h.Ledger != nil {
		roles = append(roles, h.Ledger.role())
	}
	if h.Stuck != "" {
		roles = append(roles, Role{Field: "stuck", Name: "who is asked when stuck", Agent: h.Stuck})
	}
	return roles
}

// Know fills the specialists and the others in.
func (h *Hub) Know(members []Member) {
	roles := h.Roles()
	h.Specialists, h.Members = known(roles[:len(h.Specialists)], members), known(roles[len(h.Specialists):], members)
}

// withDefaults returns h with its zero fields filled in.
func (h Hub) withDefaults() Hub {
	fill := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	fill(&h.Caps.Steps, stepsDefault)
	fill(&h.Caps.Width, widthDefault)
	fill(&h.Caps.Depth, depthDefault)
	if h.Retries == nil {
		h.Retries = new(retriesDefault)
	}
	if h.Replans == nil {
		h.Replans = new(replansDefault)
	}
	if h.Planner == "" {
		h.Planner = plannerMatch
	}
	if h.Join.Policy == "" {
		h.Join.Policy = joinAll
	}
	if h.Join.Policy == joinBestEffort {
		fill(&h.Join.K, 1)
	}
	return h
}

// specialist returns the specialist with the name, or nil.
func (h *Hub) specialist(name polity.AgentName) *Member { return find(h.Specialists, name) }

// skill returns the skill with the name, the only one for "", or nil.
func (s *Member) skill(name string) *polity.Skill {
	if name == "" && len(s.Skills) == 1 {
		return &s.Skills[0]
	}
	for i := range s.Skills {
		if name != "" && s.Skills[i].Name == name {
			return &s.Skills[i]
		}
	}
	return nil
}
