package pattern

import (
	"encoding/json"
	"fmt"
	"slices"

	"polity.run"
	"polity.run/fault"
)

// ruleOf is who has to let step i go, or nil. A skill for which a declared step needs approval needs it in every step: a planner that plans anew
// cannot leave it out.
func (r *hubRun) ruleOf(i int) *polity.Approver {
	step := &r.plan.Steps[i]
	if step.Approve != nil {
		return step.Approve
	}
	m := r.cfg.specialist(step.Agent)
	skill := m.skill(step.Skill)
	if r.cfg.Plan != nil {
		same := func(s Step) bool { return s.Approve != nil && s.Agent == step.Agent && m.skill(s.Skill) == skill }
		if j := slices.IndexFunc(r.cfg.Plan.Steps, same); j >= 0 {
			return r.cfg.Plan.Steps[j].Approve
		}
	}
	return skill.Approve
}

// held holds step i back until somebody lets it go, if it has to be, and reports whether it does. What is asked then is what was shown.
func (r *hubRun) held(i int, input *json.RawMessage) bool {
	s, step := r.steps[i], &r.plan.Steps[i]
	rule := r.ruleOf(i)
	switch {
	case rule == nil:
		return false
	case s.guard != nil: // it was let go
		*input = s.guard.action.Input
		return false
	}
	s.guards++
	name := step.ID
	if s.guards > 1 {
		name = fmt.Sprintf("%s.%d", step.ID, s.guards)
	}
	g, err := r.staff.approver.guard(name, rule, step.Agent, step.Skill, *input)
	var commands []polity.Command
	if err == nil {
		commands, err = r.staff.approver.begin(g)
	}
	if err != nil { // an input is JSON
		s.end(stepFailed, r.now, fault.Of(err))
		return true
	}
	s.guard = g
	if commands == nil {
		*input = g.action.Input
		return false
	}
	s.status = stepHeld
	for _, c := range commands {
		r.emit(c)
	}
	return true
}

// release ends the waiting for step i, but for the command with the name.
func (r *hubRun) release(i int, but string) {
	for _, key := range r.steps[i].guard.close(but) {
		r.cancel(key)
	}
}

// letGo takes what somebody said about a step that is held, and reports whether the event was about one.
func (r *hubRun) letGo(e polity.Event) bool {
	i := slices.IndexFunc(r.steps, func(s *stepRun) bool { return s.status == stepHeld && s.guard.asks(e) })
	if i < 0 {
		return false
	}
	s := r.steps[i]
	r.release(i, e.Name)
	f := r.staff.approver.decided(s.guard, e)
	switch {
	case f == nil:
		s.status = stepWaiting
	case f.Kind == fault.Exhausted && f.Bound != boundFanOut:
		s.end(stepFailed, r.now, f)
		r.exhaust(f)
	default:
		r.giveUp(i, f)
	}
	r.proceed()
	return true
}
