package pattern

import (
	"encoding/json"
	"strings"

	"polity.run"
	"polity.run/fault"
)

// reviewsMax is how often whoever reviews a plan may ask for changes in one run.
const reviewsMax = 3

// dutyApprove is the duty of whoever reviews a plan before anything of it is done.
const dutyApprove = "approve_plan"

// approveOutput is the schema of a review, without its closing brace: a plan of steps may be edited.
const approveOutput = `{"type":"object","additionalProperties":false,"required":["approve"],"properties":{` +
	`"approve":{"type":"boolean","description":"Whether the plan may be carried out."},` +
	`"changes":{"type":"string","description":"What is to be different. Without it a plan that is not approved ends the run."}`

// reviewRole is the role of whoever reviews plans.
func (h *Hub) reviewRole() Role {
	output := approveOutput + "}}"
	if h.Ledger == nil {
		output = approveOutput + `,"plan":` + planOutput + "}}"
	}
	return Role{"review", "reviewer", h.Review, []polity.Skill{dutyOf(dutyApprove, "Say whether a plan may be carried out.", output)}}
}

// approveErrand is what a reviewer is asked with.
type approveErrand struct {
	errand
	Plan     any    `json:"plan"`
	Guidance string `json:"guidance"`
}

// approveAnswer is what a reviewer answers.
type approveAnswer struct {
	Approve *bool      `json:"approve"`
	Changes string     `json:"changes"`
	Plan    *planDraft `json:"plan"`
}

// readApproval reads a review. An edited plan counts with approve only.
func readApproval(output json.RawMessage) (approveAnswer, error) {
	v, err := understand[approveAnswer](output)
	switch {
	case err != nil:
	case v.Approve == nil:
		err = fault.Invalid.New("approve is missing; want true or false")
	case v.Plan != nil && !*v.Approve:
		err = fault.Invalid.New("a plan is given and approve is false; approve the plan as it is edited, or say in changes what is to be different")
	}
	v.Changes = strings.TrimSpace(clip(v.Changes, problemMax))
	return v, err
}

// reviewQuestion asks for a review of a plan.
func (h *Hub) reviewQuestion(name string, request json.RawMessage, plan any, accept func(json.RawMessage) error) (question, error) {
	input, err := marshal(approveErrand{errandOf(dutyApprove, request), plan,
		"Say whether the plan may be carried out: approve true or false. To have it changed, say in changes what is to be different; without that a refusal ends the run."})
	return question{name: name, to: find(h.Members, h.Review), duty: dutyApprove, input: input, accept: accept}, err
}

// refused is why a run ends whose plan was not approved, or nobody could say so.
func (h *Hub) refused(a *answer, why string) error {
	if !a.good() {
		return a.fault.Kind.New("hub: %s was to review the plan (%s): %s", h.Review, plural(a.tries, "attempt"), clip(a.fault.Text, noteMax))
	}
	return fault.Denied.New("hub: %s did not approve the plan: %s", h.Review, why)
}
