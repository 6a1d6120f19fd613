package pattern

import (
	"fmt"
	"slices"
	"strings"

	"polity.run"
	"polity.run/fault"
)

// review has the lead, and whose word wins over the lead's, look at the results that nobody has accepted yet.
func (r *unitRun) review() {
	all := r.results(func(t *unitTask) bool { return t.status == workDone })
	if len(all) == 0 {
		r.integrate()
		return
	}
	r.phase, r.reviews = unitReviewing, nil
	r.putTo(r.cfg.Lead, dutyReview, "", r.reviewOf(all), acceptDecisions(all), func(a *answer) { r.verdicts(a, false) })
	for _, m := range r.bosses() {
		some := r.results(func(t *unitTask) bool { return t.status == workDone && r.wins(m, t) })
		if len(some) > 0 {
			r.putTo(m, dutyReview, "", r.reviewOf(some), acceptDecisions(some), func(a *answer) { r.verdicts(a, true) })
		}
	}
}

func (r *unitRun) reviewOf(results []unitSeen) unitReview {
	return unitReview{Duty: dutyReview, Objective: r.brief.Objective, Context: r.brief.Context, Mandate: r.cfg.Objective, Results: results}
}

// bosses lists who has a dotted line that wins, in the order of the configuration.
func (r *unitRun) bosses() []polity.AgentName {
	var all []polity.AgentName
	for _, d := range r.cfg.Reports {
		for _, line := range d.Dotted {
			if line.Precedence == PrecedenceDotted {
				all = addNew(all, line.Manager)
			}
		}
	}
	return all
}

// wins says whether a manager's word wins over the lead's, about an assignment.
func (r *unitRun) wins(m polity.AgentName, t *unitTask) bool {
	return slices.Contains(r.cfg.Reports[t.by].Dotted, DottedLine{m, PrecedenceDotted})
}

// verdicts keeps a review.
func (r *unitRun) verdicts(a *answer, dotted bool) {
	v := unitVerdicts{by: a.to.Name, dotted: dotted}
	if !a.good() {
		r.note("%s could not review: %s", a.to.Name, a.fault.Text)
		if !dotted {
			r.leadFailed()
		}
		return
	}
	var d unitDecisions
	if r.into(&d, a) {
		v.list = d.Decisions
		r.reviews = append(r.reviews, v)
	}
}

// leadFailed makes a lead that cannot do its duty the problem of the level above, if that is how it is declared.
func (r *unitRun) leadFailed() {
	if r.cfg.OnManagerFailure != ManagerDegrade {
		r.escalated = true
	}
}

// reviewed accepts results, and sends back what is not accepted, as often as that may be. What nobody could review is taken as it is.
func (r *unitRun) reviewed() {
	r.phase = unitWorking
	var again []*unitTask
	for _, t := range r.tasks {
		if t.status != workDone {
			continue
		}
		d := r.verdict(t)
		switch {
		case d == nil: // it stays done: nobody has accepted it
			t.status = workPartial
		case *d.Accept:
			t.status = workAccepted
		case t.reworks < r.cfg.rework() && !r.leadGone():
			t.reworks++
			t.remarks = append(t.remarks, d.Remarks)
			again = append(again, t)
		default:
			t.status = workRefused
			t.remarks = append(t.remarks, d.Remarks)
		}
	}
	for _, t := range again {
		r.begin(t)
	}
	if len(again) == 0 {
		r.integrate()
	}
}

// verdict is the decision about an assignment that holds; nil if there is none. Of several who win over the lead, one that refuses is enough.
func (r *unitRun) verdict(t *unitTask) *unitDecision {
	var lead, won *unitDecision
	for i := range r.reviews {
		v := &r.reviews[i]
		switch d := v.about(t.Report); {
		case d == nil:
		case !v.dotted:
			lead = d
		case r.wins(v.by, t) && (won == nil || !*d.Accept):
			won = d
		}
	}
	if won == nil {
		return lead
	}
	if lead != nil && *lead.Accept != *won.Accept {
		r.note("about the result of %s the dotted line won over %s", t.Report, r.cfg.Lead)
	}
	return won
}

// integrate has the lead put together what there is, or hands it up as it is where the lead failed already.
func (r *unitRun) integrate() {
	r.phase = unitIntegrating
	if !slices.ContainsFunc(r.tasks, func(t *unitTask) bool { return len(t.output) > 0 }) {
		r.failEmpty()
		return
	}
	if r.leadGone() {
		r.end(nil, "it was not integrated, since "+string(r.cfg.Lead)+" could not review")
		return
	}
	duty := dutyIntegrate
	if r.top {
		duty = dutyFinalize
	}
	input := r.reviewOf(r.results(func(*unitTask) bool { return true }))
	input.Duty, input.Gaps = duty, r.gaps(nil)
	r.putTo(r.cfg.Lead, duty, "", input, acceptWhole(r.top), func(a *answer) {
		if !a.good() {
			r.leadFailed()
			r.note("%s could not %s: %s", r.cfg.Lead, duty, a.fault.Text)
			r.end(nil, "it was not integrated, since "+string(r.cfg.Lead)+" could not")
			return
		}
		var w unitWhole
		if r.into(&w, a) {
			r.end(&w, "")
		}
	})
}

// leadGone says whether the lead failed at the last review, and so is not asked for more.
func (r *unitRun) leadGone() bool {
	return r.cfg.OnManagerFailure != ManagerDegrade && slices.ContainsFunc(r.asked, func(d Done) bool {
		return d.Agent == r.cfg.Lead && d.Fault != nil && strings.HasPrefix(d.Name, dutyReview)
	})
}

// failEmpty ends a unit in which nobody could do anything.
func (r *unitRun) failEmpty() {
	kind, text := fault.Failed, ""
	for _, t := range r.tasks {
		if t.fault != nil {
			text += fmt.Sprintf("; %s: %s", r.cfg.Reports[t.by].Agent, t.fault.Text)
			kind = gravest(kind, t.fault.Kind)
		}
	}
	r.endEmpty(kind, fmt.Sprintf("of %s of %s none could be done%s", plural(len(r.tasks), "assignment"), r.cfg.Lead, clip(text, problemMax)))
}

// endAtBound ends the run with what there is.
func (r *unitRun) endAtBound() {
	if len(r.tasks) == 0 {
		r.fail(fault.Exceeded(r.exhausted.Bound, "hierarchy: a bound was reached before anything was assigned: %s", r.exhausted.Text))
		return
	}
	r.note("the bound %s was reached: %s", r.exhausted.Bound, r.exhausted.Text)
	r.end(nil, "it was not integrated, since a bound was reached")
}
