package pattern

import (
	"encoding/json"
	"fmt"
	"slices"

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
// that fails ends the sequence; an optional one is left out.
//
// Where stages say how they are undone, the sequence is a saga (Garcia-Molina and Salem, "Sagas", SIGMOD 1987): when a stage fails for
// good, or may have happened and nobody knows, those that were done are undone, the last one first, and then the run fails and says what is left.
type Sequence struct {
	Stages []Stage `json:"stages"`
	// AtOnce has everything undone at once instead of the last one first.
	AtOnce bool `json:"undo_at_once,omitempty"`
	// Stuck is who is asked, as a person, about what cannot be undone; "" for nobody.
	Stuck   polity.AgentName `json:"stuck,omitempty"`
	Members []Member         `json:"members,omitempty"`
}

// Stage is one step of a sequence.
type Stage struct {
	Agent polity.AgentName `json:"agent,omitempty"`
	Skill string           `json:"skill,omitempty"` // "" for the agent's only one
	// Wait, Await and Publish are in place of an agent.
	Wait    *Wait    `json:"wait,omitempty"`
	Await   *Await   `json:"await,omitempty"`
	Publish *Publish `json:"publish,omitempty"`
	// Objective tells the agent what this stage is for, where its input is an object.
	Objective string        `json:"objective,omitempty"`
	Optional  bool          `json:"optional,omitempty"`
	Bounds    polity.Bounds `json:"bounds,omitzero"`
	// Undo undoes the stage; nil for one that leaves nothing behind.
	Undo *Undo `json:"undo,omitempty"`
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
	undone := slices.ContainsFunc(s.Stages, func(one Stage) bool { return one.Undo != nil })
	switch {
	case s.AtOnce && !undone:
		p.add(in("undo_at_once"), "no stage says how it is undone; delete it, or add undo to stages")
	case s.Stuck != "" && !undone:
		p.add(in("stuck"), "no stage says how it is undone; delete it, or add undo to stages")
	}
	for i := range s.Stages {
		s.Stages[i].check(i, &p)
	}
	checkRoles(s.Roles(), s.Members, &p)
	return p.err()
}

// Decider returns what decides the runs. A run finishes with a SequenceResult, or fails with the kind of the stage that failed and the
// SequenceResult as what was done until then.
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
	// Saga is set when stages were undone, or would have been.
	Saga *Saga `json:"saga,omitempty"`
}

// The statuses of a saga.
const (
	SagaCompensated = "compensated" // everything is undone
	SagaPartly      = "partly"      // something is left
	SagaMended      = "mended"      // what was left was put in order by a person
)

// Saga is what became of what had been done.
type Saga struct {
	Status string     `json:"status"`
	Why    string     `json:"why"` // the stage that failed
	Undone []Done     `json:"undone"`
	Left   []SagaLeft `json:"left,omitempty"`
}

// SagaLeft is a stage that is not undone.
type SagaLeft struct {
	Stage  string           `json:"stage"`
	Agent  polity.AgentName `json:"agent"`
	Run    polity.RunID     `json:"run,omitempty"`
	Why    string           `json:"why"`
	Mended json.RawMessage  `json:"mended,omitempty"` // what the person said who put it in order
}

// sequenceRun is the state of one run.
type sequenceRun struct {
	*desk
	cfg   *Sequence
	next  int // stage
	value json.RawMessage
	done  []Done
	acts  []act // what may have to be undone, in order
	saga  *Saga
	fault *fault.Error // with saga: of the stage that failed
}

// act is a stage that was done, or may have been.
type act struct {
	stage  int
	name   string // of the command
	run    polity.RunID
	input  json.RawMessage
	output json.RawMessage // empty where nobody knows whether it was done
	over   bool            // undone, or given up
	person bool            // the person is asked about it
}

func (r *sequenceRun) open(e polity.Event) { r.value = e.Data }

func (r *sequenceRun) idle() {
	switch {
	case r.saga != nil:
		r.undo()
	case r.next == len(r.cfg.Stages) || r.exhausted != nil:
		if r.exhausted != nil && len(r.done) == 0 {
			r.desk.fail(fault.Exceeded(r.exhausted.Bound, "sequence: a bound was reached before any stage answered: %s", r.exhausted.Text))
			return
		}
		r.finish(SequenceResult{Pattern: "sequence", Output: r.value, Stages: r.done})
	default:
		r.stage()
	}
}

// stage asks the next stage.
func (r *sequenceRun) stage() {
	s := &r.cfg.Stages[r.next]
	if s.Agent == "" {
		r.awaits(s)
		return
	}
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
	if r.saga != nil {
		r.undid(a)
		return
	}
	s := &r.cfg.Stages[r.next]
	if !a.good() && r.exhausted != nil {
		return // idle ends the run
	}
	r.done = append(r.done, a.done())
	if s.Undo != nil && (a.good() || a.fault.Kind == fault.Unknown) {
		r.acts = append(r.acts, act{stage: r.next, name: a.name, run: a.run, input: a.input, output: a.output})
	}
	if a.good() && s.Publish == nil {
		r.value = a.output
	}
	if a.good() || s.Optional {
		r.next++
		return
	}
	who := string(s.Agent)
	if s.Publish != nil {
		who = "publish"
	}
	r.lost(fmt.Sprintf("%s, %s", who, plural(a.tries, "attempt")), a.fault)
}

// lost ends the stages with why one failed for good.
func (r *sequenceRun) lost(stage string, f *fault.Error) {
	why := fmt.Sprintf("sequence: stage %d of %d (%s): %s", r.next+1, len(r.cfg.Stages), stage, f.Text)
	r.fault = fault.Of(f.Kind.New("%s", why))
	if len(r.acts) == 0 {
		r.end()
		return
	}
	r.saga = &Saga{Why: why, Undone: []Done{}}
}

// end fails the run, with what was done.
func (r *sequenceRun) end() {
	out, err := marshal(SequenceResult{Pattern: "sequence", Output: r.value, Stages: r.done, Saga: r.saga})
	if err != nil {
		r.desk.fail(err)
		return
	}
	r.ended = true
	r.emit(polity.FailWith(r.fault, out))
}

// undo undoes what is left, the last one first or all at once, asks a person about what could not be, and ends the run.
func (r *sequenceRun) undo() {
	for i := len(r.acts) - 1; i >= 0 && r.exhausted == nil; i-- {
		if a := &r.acts[i]; !a.over && !a.person {
			r.askUndo(a)
			if !r.cfg.AtOnce {
				return
			}
		}
	}
	if r.busy() {
		return
	}
	for i := range r.acts {
		if a := &r.acts[i]; !a.over && r.exhausted != nil {
			a.over = true
			r.saga.Left = append(r.saga.Left, SagaLeft{Stage: a.name, Agent: r.cfg.Stages[a.stage].Agent, Run: a.run, Why: "a bound was reached: " + r.exhausted.Text})
		}
	}
	if r.cfg.Stuck != "" && r.askStuck() {
		return
	}
	r.saga.Status = SagaCompensated
	for _, l := range r.saga.Left {
		if len(l.Mended) == 0 {
			r.saga.Status = SagaPartly
		} else if r.saga.Status == SagaCompensated {
			r.saga.Status = SagaMended
		}
	}
	r.end()
}

func (r *sequenceRun) askUndo(a *act) {
	s := &r.cfg.Stages[a.stage]
	input, err := marshal(struct {
		Duty    string          `json:"duty"`
		Stage   string          `json:"stage"`
		Input   json.RawMessage `json:"input"`
		Output  json.RawMessage `json:"output,omitempty"`
		Unknown bool            `json:"unknown,omitempty"` // whether the stage was done at all
		Reason  string          `json:"reason"`
		Effect  string          `json:"effect_key"` // of the stage
	}{"undo", a.name, a.input, a.output, len(a.output) == 0, r.saga.Why, polity.EffectKey(r.run, a.name, 1)})
	if err != nil {
		r.desk.fail(err)
		return
	}
	r.ask(question{name: named("undo", a.name), to: find(r.cfg.Members, s.Undo.Agent), duty: s.Undo.Skill, input: input})
}

// askStuck asks the person about what is left, and reports whether it did.
func (r *sequenceRun) askStuck() bool {
	for i := range r.saga.Left {
		if l := &r.saga.Left[i]; len(l.Mended) == 0 && !r.acted(l.Stage).person {
			r.acted(l.Stage).person = true
			input, err := marshal(struct {
				Duty      string           `json:"duty"`
				Objective string           `json:"objective"`
				Stage     string           `json:"stage"`
				Agent     polity.AgentName `json:"agent"`
				Run       polity.RunID     `json:"run"`
				Why       string           `json:"why"`
				Reason    string           `json:"reason"`
			}{"mend", "Put in order by hand what could not be undone, and say what you did.", l.Stage, l.Agent, l.Run, l.Why, r.saga.Why})
			if err != nil {
				return false
			}
			r.ask(question{name: named("mend", l.Stage), to: find(r.cfg.Members, r.cfg.Stuck), input: input})
		}
	}
	return r.busy()
}

func (r *sequenceRun) acted(name string) *act {
	return &r.acts[slices.IndexFunc(r.acts, func(a act) bool { return a.name == name })]
}

// undid takes what became of an undoing, or of what a person was asked.
func (r *sequenceRun) undid(a *answer) {
	for i := range r.acts {
		one := &r.acts[i]
		switch a.name {
		case named("undo", one.name):
			if !a.good() && r.exhausted != nil {
				return // told with the rest that a bound left
			}
			one.over = true
			if a.good() {
				r.saga.Undone = append(r.saga.Undone, a.done())
			} else {
				r.saga.Left = append(r.saga.Left, SagaLeft{Stage: one.name, Agent: r.cfg.Stages[one.stage].Agent, Run: one.run, Why: fmt.Sprintf("%s: %s", a.fault.Kind, a.fault.Text)})
			}
		case named("mend", one.name):
			j := slices.IndexFunc(r.saga.Left, func(l SagaLeft) bool { return l.Stage == one.name })
			if a.good() {
				r.saga.Left[j].Mended = a.output
			} else {
				r.saga.Left[j].Why += fmt.Sprintf("; %s did not put it in order: %s", a.to.Name, a.fault.Text)
			}
		}
	}
}
