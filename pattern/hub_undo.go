package pattern

import (
	"encoding/json"
	"fmt"
	"slices"

	"polity.run"
	"polity.run/fault"
	"polity.run/saga"
)

// HubUndone is what a run of a hub ends with that undid what its steps had done, or tried to.
type HubUndone struct {
	Pattern string       `json:"pattern"` // hub
	Saga    *saga.Report `json:"saga"`
	Steps   []StepResult `json:"steps"`
	Past    []StepResult `json:"past,omitempty"`
	Notes   []string     `json:"notes,omitempty"`
}

// undoneBy is how step i is undone, or nil.
func (r *hubRun) undoneBy(i int) *undoing {
	step := &r.plan.Steps[i]
	if step.waits() {
		return nil
	}
	return undoOf(r.cfg.specialist(step.Agent), step.Skill)
}

// account keeps account of what the last attempt of step i did, or may have done.
func (r *hubRun) account(i int, e polity.Event) {
	step := &r.plan.Steps[i]
	input, err := r.inputOf(i)
	if err != nil { // it was asked with it
		return
	}
	if g := r.steps[i].guard; g != nil {
		input = g.action.Input
	}
	name := step.ID
	if e.Attempt > 1 {
		name = fmt.Sprintf("%s.%d", step.ID, e.Attempt)
	}
	a := &answer{fault: e.Fault, usage: e.Usage, doubt: r.steps[i].doubt}
	switch {
	case e.Fault == nil && len(e.Data) == 0:
		a.output = json.RawMessage("null")
	case e.Fault == nil || bestEffort(e):
		a.output = slices.Clone(e.Data)
	default:
		a.partial = slices.Clone(e.Data)
	}
	r.undo.did(saga.Act{
		Name: name, Agent: step.Agent, Run: r.run.Child(step.ID, e.Attempt), Key: polity.EffectKey(r.run, step.ID, 1), Input: input, After: r.restsOn(i),
	}, a, r.undoneBy(i))
	if r.acted == nil {
		r.acted = map[string]string{}
	}
	r.acted[step.ID] = name
}

// noMore does not wait for another attempt at step i. The one before it may have been done.
func (r *hubRun) noMore(i int) {
	r.cancel(r.backoffKey(i))
	s := r.steps[i]
	r.account(i, polity.Event{Name: r.plan.Steps[i].ID, Attempt: s.attempt, Fault: s.fault, Usage: s.usage})
}

// bestEffort says whether an event with a fault has an answer to go on with.
func bestEffort(e polity.Event) bool {
	return e.Fault != nil && e.Fault.Kind == fault.Exhausted && len(e.Data) > 0 && string(e.Data) != "null" && saga.Of(e.Data) == nil
}

// restsOn lists the acts of all steps that step i waited for, and that those waited for.
func (r *hubRun) restsOn(i int) []string {
	var names []string
	seen := map[int]bool{}
	var visit func(i int)
	visit = func(i int) {
		for _, d := range r.graph.deps[i] {
			if seen[d] {
				continue
			}
			seen[d] = true
			if name, ok := r.acted[r.plan.Steps[d].ID]; ok {
				names = append(names, name)
			}
			visit(d)
		}
	}
	visit(i)
	return names
}

// undoes says whether something was done that can be undone, or may be under way.
func (r *hubRun) undoes() bool {
	if !r.undo.Empty() {
		return true
	}
	for i, s := range r.steps {
		if len(s.live) > 0 && r.undoneBy(i) != nil {
			return true
		}
	}
	return false
}

// undoBecause undoes what the steps did, and then ends the run with the fault. What is under way is cancelled, and its answer waited for, since it
// may have been done.
func (r *hubRun) undoBecause(why *fault.Error) {
	if r.phase == undone {
		return
	}
	r.phase = undone
	r.undo.because(why)
	for i, s := range r.steps {
		switch s.status {
		case stepAsked:
			for _, a := range s.live {
				r.emit(polity.Cancel(polity.CommandKey(r.plan.Steps[i].ID, a)))
			}
			if s.clock != "" {
				r.cancel(s.clock)
				s.clock = ""
			}
		case stepAwaits:
			r.cancel(r.waitKey(i))
			s.end(stepCancelled, r.now, why)
		case stepBackingOff:
			r.noMore(i)
			s.end(stepFailed, r.now, s.fault)
		case stepHeld:
			r.release(i, "")
			s.end(stepCancelled, r.now, why)
		case stepReplanned:
			s.end(stepFailed, r.now, s.fault)
		case stepWaiting:
			s.status, s.fault = stepSkipped, why
		}
	}
	r.dismiss()
	r.undoOn()
}

// unfinished takes the answer of a step that was under way when undoing began.
func (r *hubRun) unfinished(e polity.Event) {
	i, ok := r.index[e.Name]
	if !ok || !slices.Contains(r.steps[i].live, e.Attempt) {
		return
	}
	s := r.steps[i]
	s.live = slices.DeleteFunc(s.live, func(a int) bool { return a == e.Attempt })
	s.count(e)
	r.account(i, e)
	switch {
	case e.Fault == nil || bestEffort(e):
		s.won, s.output = e.Attempt, slices.Clone(e.Data)
		s.end(stepOK, r.now, e.Fault)
	case len(s.live) == 0 && !s.good():
		r.lose(i, e.Fault)
	}
}

// undoOn goes on with undoing once nothing is under way, and ends the run when that is over.
func (r *hubRun) undoOn() {
	if slices.ContainsFunc(r.steps, func(s *stepRun) bool { return len(s.live) > 0 }) {
		return
	}
	r.staff.beside = 0
	over := r.undo.proceed()
	r.flush()
	if over {
		r.endUndone()
	}
}

func (r *hubRun) endUndone() {
	r.phase = ended
	result := HubUndone{Pattern: "hub", Saga: r.undo.Report(), Steps: r.stepResults(), Past: r.past, Notes: r.notes}
	out, err := marshal(result)
	if err != nil {
		r.emit(failure(err))
		return
	}
	r.emit(polity.FailWith(r.undo.fault, out))
}

// Stops implements polity.Stopper.
func (d *hub) Stops(state any) bool {
	r, ok := state.(*hubRun)
	return ok && r.phase != ended && (r.phase == undone || r.undoes())
}
