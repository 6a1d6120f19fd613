package pattern

import (
	"encoding/json"
	"fmt"

	"polity.run"
	"polity.run/fault"
)

// StagesMax is the most stages of a sequence.
const StagesMax = 100

// Sequence is the configuration of a sequence: stages that are asked one after the other, each with what the one before answered.
//
//	request -> stage -> its answer, checked -> stage ... -> the last answer
//
// A stage's contract is its skill's input schema: what does not fit is refused before it is asked, and the sequence ends there. A stage
// that fails ends the sequence, with what was done so far in the fault's run; an optional one is left out.
type Sequence struct {
	Stages  []Stage  `json:"stages"`
	Members []Member `json:"members,omitempty"`
}

// Stage is one step of a sequence.
type Stage struct {
	Agent polity.AgentName `json:"agent"`
	Skill string           `json:"skill,omitempty"` // "" for the agent's only one
	// Objective tells the agent what this stage is for, where its input is an object.
	Objective string        `json:"objective,omitempty"`
	Optional  bool          `json:"optional,omitempty"`
	Bounds    polity.Bounds `json:"bounds,omitzero"`
}

// Roles lists the stages.
func (s Sequence) Roles() []Role {
	var roles []Role
	for i, one := range s.Stages {
		r := Role{Field: fmt.Sprintf("stages[%d].agent", i), Name: "stage", Agent: one.Agent}
		if one.Skill != "" {
			r.Duties = []polity.Skill{{Name: one.Skill}}
		}
		roles = append(roles, r)
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
	checkRoles(s.Roles(), s.Members, &p)
	return p.err()
}

// Decider returns what decides the runs. A run finishes with a SequenceResult, or fails with the kind of the stage that failed.
func (s Sequence) Decider() (polity.Decider, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	own := copied(s)
	return player{"sequence", func(d *desk) play { return &sequenceRun{desk: d, cfg: own} }}, nil
}

// SequenceResult is what a run of a sequence answers.
type SequenceResult struct {
	Pattern string          `json:"pattern"` // sequence
	Output  json.RawMessage `json:"output"`  // of the last stage that answered
	Stages  []Done          `json:"stages"`
}

// sequenceRun is the state of one run.
type sequenceRun struct {
	*desk
	cfg   *Sequence
	next  int // stage
	value json.RawMessage
	done  []Done
}

func (r *sequenceRun) open(e polity.Event) { r.value = e.Data }

func (r *sequenceRun) idle() {
	if r.next == len(r.cfg.Stages) || r.exhausted != nil {
		if r.exhausted != nil && len(r.done) == 0 {
			r.fail(fault.Exceeded(r.exhausted.Bound, "sequence: a bound was reached before any stage answered: %s", r.exhausted.Text))
			return
		}
		r.finish(SequenceResult{Pattern: "sequence", Output: r.value, Stages: r.done})
		return
	}
	s := &r.cfg.Stages[r.next]
	to := find(r.cfg.Members, s.Agent)
	name, _ := to.Can(s.Skill)
	input, err := withObjective(r.value, s.Objective, to.skill(name).Input)
	if err != nil {
		r.desk.fail(err)
		return
	}
	r.ask(question{name: named(fmt.Sprintf("stage%d", r.next+1), string(s.Agent)), to: to, duty: s.Skill, input: input, bounds: s.Bounds})
}

func (r *sequenceRun) answered(a *answer) {
	s := &r.cfg.Stages[r.next]
	if !a.good() && r.exhausted != nil {
		return // idle ends the run
	}
	r.done = append(r.done, a.done())
	if !a.good() && !s.Optional {
		r.desk.fail(a.fault.Kind.New("sequence: stage %d of %d (%s, %s): %s", r.next+1, len(r.cfg.Stages), s.Agent, plural(a.tries, "attempt"), a.fault.Text))
		return
	}
	if a.good() {
		r.value = a.output
	}
	r.next++
}
