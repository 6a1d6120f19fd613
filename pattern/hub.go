// Package pattern holds the patterns of organizations: who acts next. Each is one file and one pure decider.
package pattern

import (
	"encoding/json"

	"polity.run"
)

// Hub is the configuration of a hub: a coordinator that plans, dispatches to specialists, verifies what
// they claim, and puts it together. It does no specialist's work itself.
type Hub struct {
	Specialists []Specialist `json:"specialists"`
	// Plan is the declared plan. Without one, Planner makes it.
	Plan *Plan `json:"plan,omitempty"`
	// Planner is "match" (the default): code that matches the request with the specialists' skills.
	Planner string `json:"planner,omitempty"`
	// Caps limit every plan, declared or made.
	Caps Caps `json:"caps,omitzero"`
	// Retries is how often a failed step is asked again; default 1.
	Retries *int `json:"retries,omitempty"`
	// Replans is how often the rest of the plan may be made anew after a step failed for good; default 1.
	Replans *int `json:"replans,omitempty"`
	Join    Join `json:"join,omitzero"`
	// Verdict turns verified claims into an answer by declared rules; the first that holds wins.
	Verdict []Rule `json:"verdict,omitempty"`
}

// Specialist is an agent that a hub may ask, as far as the hub needs to know it.
type Specialist struct {
	Name        polity.AgentName `json:"name"`
	Description string           `json:"description,omitempty"`
	Skills      []polity.Skill   `json:"skills"`
}

// Plan is a graph of steps.
type Plan struct {
	Steps []Step `json:"steps"`
}

// Step asks one specialist once.
type Step struct {
	ID        string           `json:"id"` // [a-z0-9-_], at most 40 bytes
	Agent     polity.AgentName `json:"agent"`
	Skill     string           `json:"skill,omitempty"` // "" for the agent's only one
	DependsOn []string         `json:"depends_on,omitempty"`
	// Input is the step's input; a string "$id.field" stands for a value of an earlier step's output, and "$input.field" for
	// one of the request's. Empty passes the request on as it is.
	Input json.RawMessage `json:"input,omitempty"`
	// Objective tells the specialist what this step is for.
	Objective string `json:"objective,omitempty"`
	// Optional steps may fail without the join policy noticing.
	Optional bool `json:"optional,omitempty"`
	// Bounds are delegated to the step.
	Bounds polity.Bounds `json:"bounds,omitzero"`
}

// Caps limit a plan. Zero fields take the defaults that are named.
type Caps struct {
	Steps    int   `json:"steps,omitempty"`     // default 40
	Width    int   `json:"width,omitempty"`     // steps that may run at once; default 16
	Depth    int   `json:"depth,omitempty"`     // longest chain; default 10
	MicroUSD int64 `json:"micro_usd,omitempty"` // sum of the steps' delegated money; default no cap beside the run's own
}

// Join says how many steps must succeed.
type Join struct {
	// Policy is all (the default), quorum (at least K succeed), best-effort (at least K, default 1), or first (the first success ends the rest).
	Policy string `json:"policy,omitempty"`
	K      int    `json:"k,omitempty"`
}

// Rule is one line of a verdict.
type Rule struct {
	Verdict string `json:"verdict"`
	// When counts verified claims: at least AtLeast claims of Stance with Severity or heavier. An empty When always holds.
	When *When `json:"when,omitempty"`
}

// When is a rule's condition.
type When struct {
	Stance   polity.Stance   `json:"stance"`
	Severity polity.Severity `json:"severity"`
	AtLeast  int             `json:"at_least"`
}
