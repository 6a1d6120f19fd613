package pattern

import (
	"encoding/json"
	"fmt"
	"slices"

	"polity.run"
	"polity.run/saga"
)

// StagesMax is the most stages of a sequence.
const StagesMax = 100

// Sequence is the configuration of a sequence: stages that are asked one after the other, each with what the one before answered.
//
//	request -> stage -> its answer, checked -> stage ... -> the last answer
//
// A stage's contract is its skill's input schema: what does not fit is refused before it is asked, and the sequence ends there. A stage
// that fails ends the sequence; an optional one is left out.
//
// Where stages, or their skills, say how they are undone, the sequence is a saga (Garcia-Molina and Salem, "Sagas", SIGMOD 1987): when a stage
// fails for good, or may have happened and nobody knows, when a bound is reached or the run is cancelled, those that were done are undone, the
// last one first, and then the run ends and says what is left.
type Sequence struct {
	Stages []Stage `json:"stages"`
	// AtOnce has everything undone at once instead of the last one first.
	AtOnce bool `json:"undo_at_once,omitempty"`
	// Stuck is who is asked, as a person, about what cannot be undone; "" for nobody.
	Stuck polity.AgentName `json:"stuck,omitempty"`
	// Failed is where it is told that the run ends without having done its work, once what it did is undone; nil for nowhere. See Failure.
	Failed  *Publish `json:"failed,omitempty"`
	Members []Member `json:"members,omitempty"`
}

// Stage is one step of a sequence.
type Stage struct {
	Agent polity.AgentName `json:"agent,omitempty"`
	Skill string           `json:"skill,omitempty"` // "" for the agent's only one
	// Wait, Await and Publish are in place of an agent. With Await and Publish together the stage waits before it publishes, so that no answer to what it
	// tells can come too early; Same are fields of what it tells.
	Wait    *Wait    `json:"wait,omitempty"`
	Await   *Await   `json:"await,omitempty"`
	Publish *Publish `json:"publish,omitempty"`
	// Objective tells the agent what this stage is for, where its input is an object.
	Objective string        `json:"objective,omitempty"`
	Optional  bool          `json:"optional,omitempty"`
	Bounds    polity.Bounds `json:"bounds,omitzero"`
	// Undo undoes the stage; nil for what its skill says, or for one that leaves nothing behind.
	Undo *Undo `json:"undo,omitempty"`
	// Approve is who has to let the stage go, as it is asked; nil for whom its skill names, or nobody.
	Approve *polity.Approver `json:"approve,omitempty"`
}

// Undo is who undoes a stage. It is asked with the stage's input and output, must do no harm if it is asked twice, and answers anything.
type Undo struct {
	Agent polity.AgentName `json:"agent"`
	Skill string           `json:"skill,omitempty"` // "" for the agent's only one
}

// Roles lists the stages, who undoes them, and who is asked about what cannot be undone.
func (s Sequence) Roles() []Role {
	var roles []Role
	role := func(field, name string, agent polity.AgentName, skill string) {
		r := Role{Field: field, Name: name, Agent: agent}
		if skill != "" {
			r.Duties = []polity.Skill{{Name: skill}}
		}
		roles = append(roles, r)
	}
	for i, one := range s.Stages {
		if one.Agent == "" {
			continue
		}
		role(fmt.Sprintf("stages[%d].agent", i), "stage", one.Agent, one.Skill)
		if one.Undo != nil {
			role(fmt.Sprintf("stages[%d].undo.agent", i), "undo", one.Undo.Agent, one.Undo.Skill)
		}
	}
	if s.Stuck != "" {
		roles = append(roles, Role{Field: "stuck", Name: "who is asked when stuck", Agent: s.Stuck})
	}
	return roles
}

// Know fills the members in.
func (s *Sequence) Know(members []Member) { s.Members = known(s.Roles(), members) }

// Check returns all problems: see Config.
func (s Sequence) Check() error {
	var p problems
	if len(s.Stages) == 0 || len(s.Stages) > StagesMax {
		p.add(in("stages"), "%d stages; want 1 to %d", len(s.Stages), StagesMax)
	}
	switch undone := s.undoes(); {
	case s.AtOnce && !undone:
		p.add(in("undo_at_once"), "no stage says how it is undone; delete it, or add undo to stages")
	case s.Stuck != "" && !undone:
		p.add(in("stuck"), "no stage says how it is undone; delete it, or add undo to stages")
	}
	for i := range s.Stages {
		s.Stages[i].check(i, &p)
	}
	if s.Failed != nil {
		if err := polity.CheckTopic(s.Failed.Topic); err != nil {
			p.add(in("failed.topic"), "%s", err)
		}
	}
	checkRoles(s.Roles(), s.Members, &p)
	return p.err()
}

// undoes says whether anything says how it is undone.
func (s *Sequence) undoes() bool {
	return undoes(s.Members) || slices.ContainsFunc(s.Stages, func(one Stage) bool { return one.Undo != nil })
}

// Decider returns what decides the runs. A run finishes with a SequenceResult, or fails with the kind of the stage that failed and the
// SequenceResult as what was done until then.
func (s Sequence) Decider() (polity.Decider, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	own := copied(s)
	return player{"sequence", func(d *desk) play { return newSequenceRun(d, own) }}, nil
}

// SequenceResult is what a run of a sequence answers.
type SequenceResult struct {
	Pattern string          `json:"pattern"` // sequence
	Output  json.RawMessage `json:"output"`  // of the last stage that answered
	Stages  []Done          `json:"stages"`
	// Saga is set when stages were undone, or would have been.
	Saga *saga.Report `json:"saga,omitempty"`
}
