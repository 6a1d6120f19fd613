package pattern

import (
	"fmt"

	"polity.run"
)

// watch starts the clock after which step i is asked a second time, if its specialist may be. Only the first question to a specialist
// is watched: after a failure it has shown itself to be slow for another reason.
func (r *hubRun) watch(i int) {
	s, step := r.steps[i], &r.plan.Steps[i]
	if r.cfg.Hedge == 0 || s.tries > 1 || !r.cfg.specialist(step.Agent).Repeatable {
		return
	}
	s.clock = hedgePrefix + step.ID
	if s.attempt > 1 {
		s.clock = fmt.Sprintf("%s.%d", s.clock, s.attempt)
	}
	r.emit(polity.Sleep(s.clock, r.cfg.hedge()))
}

// second asks step i a second time, within the budget.
func (r *hubRun) second(i int, e polity.Event) {
	s, step := r.steps[i], &r.plan.Steps[i]
	s.clock = ""
	if e.Fault != nil || len(s.live) != 1 || r.exhausted != nil || r.asked() >= r.width || !mayHedge(r.begun, r.hedged) {
		return
	}
	input, err := r.inputOf(i)
	if err != nil { // the first time it was none
		return
	}
	r.hedged++
	s.attempt++
	s.live = append(s.live, s.attempt)
	c := polity.Ask(step.ID, step.Agent, step.Skill, input)
	c.Attempt, c.Bounds = s.attempt, step.Bounds
	r.emit(c)
}

// stop cancels what is under way for step i.
func (r *hubRun) stop(i int) {
	s := r.steps[i]
	for _, a := range s.live {
		r.cancel(polity.CommandKey(r.plan.Steps[i].ID, a))
	}
	if s.clock != "" {
		r.cancel(s.clock)
	}
	s.live, s.clock = nil, ""
}
