package pattern

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"polity.run"
	"polity.run/fault"
	"polity.run/schema"
)

const (
	decisionsMax = 2       // times that a lead may have an assignment done again or by another
	shownMax     = 4 << 10 // bytes of a report's output that its lead sees
)

const (
	unitExpects = "An object: summary (what came out), results (a list of findings, each with where it can be looked up), gaps (what is not done, and why). " +
		"If the task cannot be done as it is given, say under escalate what must be decided; do not guess."
	unitBoundaries = "Do this and no more: others have the other parts."
)

// unitPhase is how far a unit is.
type unitPhase uint8

const (
	unitAssigning unitPhase = iota
	unitWorking
	unitReviewing
	unitIntegrating
)

// unitRun is the state of one run of a unit.
type unitRun struct {
	*desk
	cfg     *Hierarchy
	up      *schema.Schema // what reports that are no units answer
	brief   unitBrief
	top     bool
	phase   unitPhase
	tasks   []*unitTask
	reviews []unitVerdicts
	waiting map[string]func(*answer) // who takes the answer to a question, by its name
	times   map[string]int           // that somebody was asked for the same

	notes       []string
	escalations []Escalation
	escalated   bool // something is the problem of the level above
	unknown     bool // it is not known whether something was done
	asked       []Done
}

// unitVerdicts are the decisions of one reviewer.
type unitVerdicts struct {
	by     polity.AgentName
	dotted bool
	list   []unitDecision
}

func (v *unitVerdicts) about(name polity.AgentName) *unitDecision {
	i := slices.IndexFunc(v.list, func(d unitDecision) bool { return d.Report == name })
	if i < 0 {
		return nil
	}
	return &v.list[i]
}

// The statuses of an assignment, as results tell them.
const (
	workOpen     = "open"     // not answered
	workDone     = "done"     // answered, and not yet reviewed
	workAccepted = "accepted" // by who reviews it
	workRefused  = "refused"  // not accepted, and not sent back again
	workPartial  = "partial"  // answered in part, and the lead goes on with that
	workFailed   = "failed"   // not answered, and the lead goes on without it
	workUnknown  = "unknown"  // it is not known whether it was done, and so it is not done again
)

// unitTask is one assignment.
type unitTask struct {
	unitAssignment
	of, by    int // positions of the report that has it, and of the one who does it
	status    string
	advice    []unitAdvice
	advisers  int // that have not answered
	advised   int // for which report the advice is: its position and one; 0 for nobody
	guided    []string
	tried     []int
	decisions int
	reworks   int
	remarks   []string
	output    json.RawMessage
	size      int // bytes of what was handed up
	said      unitSaid
	heard     unitSaid // the last that was handed up
	run       polity.RunID
	tries     int
	usage     polity.Usage
	took      polity.Duration
	fault     *fault.Error
}

// put asks a question whose answer then takes.
func (r *unitRun) put(q question, input any, then func(*answer)) {
	data, err := marshal(input)
	if err != nil {
		r.fail(err)
		return
	}
	q.input, r.waiting[q.name] = data, then
	r.ask(q)
}

// into reads an answer that was accepted, and reports whether it could.
func (r *unitRun) into(v any, a *answer) bool {
	err := json.Unmarshal(a.output, v)
	if err != nil {
		r.fail(fault.Internal.New("hierarchy: the answer to %s was accepted and cannot be read: %w", a.name, err))
	}
	return err == nil
}

// name makes the name of a question: the duty and who is asked, or is concerned, and from the second time on which time it is.
func (r *unitRun) name(words ...string) string {
	key := strings.Join(words, ".")
	r.times[key]++
	if n := r.times[key]; n > 1 {
		words = append(words, strconv.Itoa(n))
	}
	return named(words...)
}

func (r *unitRun) member(name polity.AgentName) *Member { return find(r.cfg.Members, name) }

func (r *unitRun) open(e polity.Event) {
	r.brief = briefOf(e.Data)
	r.top = r.brief.Duty != dutyWork
	if r.top {
		r.brief.Level = 1
	}
	if r.top || r.brief.Levels == 0 {
		r.brief.Levels = r.cfg.levels()
	}
	if r.brief.Level > min(r.brief.Levels, LevelsMax) {
		r.fail(fault.Invalid.New("hierarchy: %s would be level %d of %d; raise levels at the top, or take a level out", r.cfg.Lead, r.brief.Level, r.brief.Levels))
		return
	}
	input := unitAssign{unitBrief: r.brief, Mandate: r.cfg.Objective}
	input.Duty = dutyAssign
	for _, d := range r.cfg.Reports {
		m := r.member(d.Agent)
		one := unitAssignable{Report: d.Agent, Description: m.Description, For: d.Objective}
		for _, s := range m.Skills {
			one.Skills = append(one.Skills, s.Name)
		}
		input.Reports = append(input.Reports, one)
	}
	if r.top && saysMore(e.Data) {
		input.Request = e.Data
	}
	r.putTo(r.cfg.Lead, dutyAssign, "", input, r.cfg.acceptAssignments, r.assigned)
}

// putTo asks the lead, or who has a dotted line, for a duty; about is whom it concerns, "" for the unit.
func (r *unitRun) putTo(who polity.AgentName, duty string, about polity.AgentName, input any, accept func(json.RawMessage) error, then func(*answer)) {
	words := []string{duty}
	if who != r.cfg.Lead {
		words = append(words, string(who))
	}
	if about != "" {
		words = append(words, string(about))
	}
	q := question{name: r.name(words...), to: r.member(who), duty: duty, accept: accept}
	r.put(q, input, func(a *answer) {
		r.asked = append(r.asked, a.done())
		if !a.good() && r.exhausted != nil {
			return // idle ends the run
		}
		then(a)
	})
}

// answered takes what became of a question.
func (r *unitRun) answered(a *answer) {
	then := r.waiting[a.name]
	delete(r.waiting, a.name)
	then(a)
}

// idle goes on when nothing is under way.
func (r *unitRun) idle() {
	switch {
	case r.exhausted != nil:
		r.endAtBound()
	case r.phase == unitWorking:
		r.review()
	case r.phase == unitReviewing:
		r.reviewed()
	}
}

// assigned takes the assignments and has them done.
func (r *unitRun) assigned(a *answer) {
	var plan unitAssignments
	switch {
	case a.good():
		if !r.into(&plan, a) {
			return
		}
	case r.cfg.OnManagerFailure != ManagerDegrade:
		r.endEmpty(a.fault.Kind, fmt.Sprintf("%s could not assign (%s): %s", r.cfg.Lead, plural(a.tries, "attempt"), a.fault.Text))
		return
	default:
		r.note("%s could not assign: each report was given the whole objective (%s)", r.cfg.Lead, a.fault.Text)
		for _, name := range r.cfg.names(-1) {
			plan.Assignments = append(plan.Assignments, unitAssignment{Report: name, Objective: r.brief.Objective, Context: r.brief.Context})
		}
	}
	if plan.Strategy != "" {
		r.note("%s: %s", r.cfg.Lead, plan.Strategy)
	}
	r.phase = unitWorking
	for i, d := range r.cfg.Reports {
		k := slices.IndexFunc(plan.Assignments, func(one unitAssignment) bool { return one.Report == d.Agent })
		if k < 0 {
			r.note("%s has no assignment", d.Agent)
			continue
		}
		r.tasks = append(r.tasks, &unitTask{unitAssignment: plan.Assignments[k], of: i, by: i, status: workOpen})
	}
	for _, t := range r.tasks {
		r.begin(t)
	}
}

// begin asks those for guidance who have dotted lines to the report, and then the report. Who works again has been advised.
func (r *unitRun) begin(t *unitTask) {
	d := &r.cfg.Reports[t.by]
	t.status = workOpen
	if t.tried = addNew(t.tried, t.by); t.advised == t.by+1 {
		r.work(t)
		return
	}
	t.advised, t.advice = t.by+1, nil
	if t.advisers = len(d.Dotted); t.advisers == 0 {
		r.work(t)
		return
	}
	input := unitAdvise{
		Duty: dutyAdvise, Objective: fmt.Sprintf("Say what %s must mind in your field when it does this: %s", d.Agent, t.Objective), Report: d.Agent, Brief: r.briefFor(t),
	}
	t.advice = make([]unitAdvice, t.advisers)
	for i, line := range d.Dotted {
		r.putTo(line.Manager, dutyAdvise, d.Agent, input, acceptAdvice, func(a *answer) { r.advice(t, i, a) })
	}
}

// advice takes guidance. Without it the work goes on, and the result says so.
func (r *unitRun) advice(t *unitTask, i int, a *answer) {
	d := &r.cfg.Reports[t.by]
	if line := d.Dotted[i]; a.good() {
		words := "advice: where it contradicts your manager's guidance, your manager's holds"
		if line.Precedence == PrecedenceDotted {
			words = "binding: where it contradicts your manager's guidance, this holds"
		}
		var said unitAction
		if !r.into(&said, a) {
			return
		}
		t.advice[i] = unitAdvice{line.Manager, said.Guidance, words}
	} else {
		r.note("%s worked without the guidance of %s: %s", d.Agent, line.Manager, a.fault.Text)
	}
	if t.advisers--; t.advisers == 0 {
		t.advice = slices.DeleteFunc(t.advice, func(one unitAdvice) bool { return one.Guidance == "" })
		r.work(t)
	}
}

// briefFor is what a report is told.
func (r *unitRun) briefFor(t *unitTask) unitBrief {
	return unitBrief{
		Duty: dutyWork, Objective: t.Objective, Context: t.Context, Guidance: strings.TrimSpace(t.Guidance + " " + strings.Join(t.guided, " ")),
		Boundaries: strings.TrimSpace(r.brief.Boundaries + " " + unitBoundaries), Acceptance: t.Acceptance, GuidanceFrom: t.advice, Expects: unitExpects,
		Remarks: t.remarks, Manager: string(r.cfg.Lead), Level: r.brief.Level + 1, Levels: r.brief.Levels,
	}
}

// work has an assignment done.
func (r *unitRun) work(t *unitTask) {
	d := &r.cfg.Reports[t.by]
	brief := r.briefFor(t)
	if len(t.remarks) > 0 {
		brief.Previous = t.said.Summary
	}
	q := question{name: r.name(dutyWork, string(d.Agent)), to: r.member(d.Agent), duty: dutyWork, accept: r.fits(t, d), bounds: d.Bounds}
	r.put(q, brief, func(a *answer) { r.worked(t, a) })
}

// fits returns the check of what a report hands up. It keeps what it has read.
func (r *unitRun) fits(t *unitTask, d *DirectReport) func(json.RawMessage) error {
	return func(output json.RawMessage) error {
		if t.heard = saidOf(output); t.heard.Summary == "" {
			return fault.Invalid.New("it says nothing; answer with an object that has a summary")
		}
		if d.Unit {
			return nil
		}
		return r.up.Check(output)
	}
}

// worked takes what a report hands up.
func (r *unitRun) worked(t *unitTask, a *answer) {
	t.run, t.fault, t.usage = a.run, a.fault, t.usage.Plus(a.usage)
	t.tries += a.tries
	t.took += polity.Duration(a.took)
	said := t.heard
	switch {
	case a.good() && said.Status == UnitFailed: // it could do nothing: what it handed up before stays
		t.fault = fault.Of(fault.Failed.New("%s", said.Escalate))
		if len(t.output) == 0 {
			t.said, t.size = unitSaid{Details: said.Details}, len(a.output)
		}
		t.said.Unknown = t.said.Unknown || said.Unknown
	case a.good():
		t.output, t.said, t.status, t.size = a.output, said, workDone, len(a.output)
	}
	switch {
	case a.good() && said.Escalate == "":
	case !a.good() && r.exhausted != nil: // idle ends the run
	case a.good():
		r.problem(t, said.Escalate)
	case a.fault.Kind == fault.Unknown:
		t.status, r.escalated, r.unknown = workUnknown, true, true
		r.escalate(t, "", a.fault.Text, actEscalate, "")
	default:
		r.problem(t, fmt.Sprintf("%s after %s: %s", a.fault.Kind, plural(a.tries, "attempt"), a.fault.Text))
	}
}

// problem asks the lead what becomes of an assignment.
func (r *unitRun) problem(t *unitTask, text string) {
	q := unitProblem{
		Duty: dutyDecide, Objective: r.brief.Objective, Context: r.brief.Context, Report: t.Report, Assigned: t.Objective,
		Problem: clip(text, problemMax), Options: []string{actDrop},
	}
	if len(t.output) > 0 {
		q.Partial = new(r.seen(t))
	}
	if !r.top {
		q.Options = append(q.Options, actEscalate)
	}
	if t.said.Unknown {
		r.unknown = true // what may have been done is not done again
	} else if t.decisions < decisionsMax {
		q.Options = append(q.Options, actAgain)
		if q.Others = r.cfg.names(t.by); len(q.Others) > 0 {
			q.Options = append(q.Options, actReassign)
		}
	}
	t.decisions++
	r.putTo(r.cfg.Lead, dutyDecide, t.Report, q, acceptAction(q), func(a *answer) { r.decided(t, q.Problem, a) })
}

// decided does what the lead decided, or the rule for a lead that cannot: another report of the same kind that has not tried it, once.
func (r *unitRun) decided(t *unitTask, problem string, a *answer) {
	act, by := unitAction{Action: actDrop}, r.cfg.Lead
	if a.good() {
		if !r.into(&act, a) {
			return
		}
	} else {
		by = "" // a rule
		if i := r.substitute(t); i >= 0 {
			act.Action, act.To = actReassign, r.cfg.Reports[i].Agent
		}
		r.note("%s could not decide about %s: %s", r.cfg.Lead, t.Report, a.fault.Text)
	}
	r.escalate(t, by, problem, act.Action, act.To)
	if act.Guidance != "" {
		t.guided = append(t.guided, act.Guidance)
	}
	switch act.Action {
	case actAgain:
		r.begin(t)
	case actReassign:
		t.by = slices.IndexFunc(r.cfg.Reports, func(d DirectReport) bool { return d.Agent == act.To })
		r.begin(t)
	default:
		r.escalated = r.escalated || act.Action == actEscalate
		if t.status = workFailed; len(t.output) > 0 {
			t.status = workPartial
		}
	}
}

// substitute finds who could do an assignment instead: of the same kind, without having tried, and with the fewest assignments; -1 for nobody.
func (r *unitRun) substitute(t *unitTask) int {
	best, least := -1, 0
	if t.said.Unknown || t.decisions > decisionsMax || t.by != t.of {
		return best
	}
	for i, d := range r.cfg.Reports {
		if d.Unit != r.cfg.Reports[t.of].Unit || slices.Contains(t.tried, i) {
			continue
		}
		load := 0
		for _, o := range r.tasks {
			if o.by == i {
				load++
			}
		}
		if best < 0 || load < least {
			best, least = i, load
		}
	}
	return best
}

func (r *unitRun) note(format string, args ...any) {
	if len(r.notes) < gapsMax {
		r.notes = append(r.notes, clip(fmt.Sprintf(format, args...), problemMax))
	}
}
