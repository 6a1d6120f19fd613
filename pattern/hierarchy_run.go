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
	request json.RawMessage
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
	guided    []string
	tried     []int
	decisions int
	reworks   int
	remarks   []string
	output    json.RawMessage
	size      int // bytes of what was handed up
	said      unitSaid
	run       polity.RunID
	tries     int
	usage     polity.Usage
	took      polity.Duration
	fault     *fault.Error
}

// put asks a question whose answer then takes.
func (r *unitRun) put(q question, then func(*answer)) {
	r.waiting[q.name] = then
	r.ask(q)
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
		r.brief.Level, r.request = 1, e.Data
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
	r.putLead(dutyAssign, input, r.cfg.acceptAssignments, r.assigned)
}

// putLead asks the lead for a duty. An answer that is none is the lead's failure.
func (r *unitRun) putLead(duty string, input any, accept func(json.RawMessage) error, then func(*answer)) {
	data, err := marshal(input)
	if err != nil {
		r.fail(err)
		return
	}
	q := question{name: r.name(duty), to: r.member(r.cfg.Lead), duty: duty, input: data, accept: accept}
	r.put(q, func(a *answer) {
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
		if err := json.Unmarshal(a.output, &plan); err != nil {
			r.fail(fault.Internal.New("hierarchy: assignments: %w", err)) // they were accepted
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

// begin asks those for guidance who have dotted lines to the report, and then the report.
func (r *unitRun) begin(t *unitTask) {
	lines := r.cfg.Reports[t.by].Dotted
	if t.status = workOpen; len(lines) == 0 || slices.Contains(t.tried, t.by) { // who works again has been advised
		t.tried = addNew(t.tried, t.by)
		r.work(t)
		return
	}
	t.tried, t.advice = append(t.tried, t.by), nil
	brief := r.briefFor(t)
	t.advisers, t.advice = len(lines), make([]unitAdvice, len(lines))
	for i, line := range lines {
		data, err := marshal(struct {
			Duty      string           `json:"duty"`
			Objective string           `json:"objective"`
			Report    polity.AgentName `json:"report"`
			Brief     unitBrief        `json:"brief"`
		}{dutyAdvise, "Say what " + string(r.cfg.Reports[t.by].Agent) + " must mind in your field when it does this: " + t.Objective, r.cfg.Reports[t.by].Agent, brief})
		if err != nil {
			r.fail(err)
			return
		}
		q := question{name: r.name(dutyAdvise, string(line.Manager), string(r.cfg.Reports[t.by].Agent)), to: r.member(line.Manager), duty: dutyAdvise, input: data, accept: acceptAdvice}
		r.put(q, func(a *answer) { r.advised(t, i, a) })
	}
}

// advised takes guidance. Without it the work goes on, and the result says so.
func (r *unitRun) advised(t *unitTask, i int, a *answer) {
	line := r.cfg.Reports[t.by].Dotted[i]
	r.asked = append(r.asked, a.done())
	if a.good() {
		var said unitAction
		if err := json.Unmarshal(a.output, &said); err != nil {
			r.fail(fault.Internal.New("hierarchy: guidance: %w", err)) // it was accepted
			return
		}
		words := "advice: where it contradicts your manager's guidance, your manager's holds"
		if line.Precedence == PrecedenceDotted {
			words = "binding: where it contradicts your manager's guidance, this holds"
		}
		t.advice[i] = unitAdvice{line.Manager, said.Guidance, words}
	} else {
		r.note("%s worked without the guidance of %s: %s", r.cfg.Reports[t.by].Agent, line.Manager, a.fault.Text)
	}
	if t.advisers--; t.advisers == 0 {
		t.advice = slices.DeleteFunc(t.advice, func(one unitAdvice) bool { return one.Guidance == "" })
		r.work(t)
	}
}

// briefFor is what a report is told.
func (r *unitRun) briefFor(t *unitTask) unitBrief {
	return unitBrief{
		Duty: dutyWork, Objective: t.Objective, Context: t.Context, Guidance: strings.Join(append([]string{t.Guidance}, t.guided...), " "),
		Boundaries: strings.TrimSpace(r.brief.Boundaries + " " + unitBoundaries), Acceptance: t.Acceptance, GuidanceFrom: t.advice, Expects: unitExpects,
		Remarks: t.remarks, Manager: string(r.cfg.Lead), Level: r.brief.Level + 1, Levels: r.brief.Levels,
	}
}

// work has an assignment done.
func (r *unitRun) work(t *unitTask) {
	d := &r.cfg.Reports[t.by]
	brief := r.briefFor(t)
	brief.Guidance = strings.TrimSpace(brief.Guidance)
	if len(t.remarks) > 0 {
		brief.Previous = t.said.Summary
	}
	data, err := marshal(brief)
	if err != nil {
		r.fail(err)
		return
	}
	q := question{name: r.name(dutyWork, string(d.Agent)), to: r.member(d.Agent), duty: dutyWork, input: data, accept: r.fits(d), bounds: d.Bounds}
	r.put(q, func(a *answer) { r.worked(t, a) })
}

// fits returns the check of what a report hands up.
func (r *unitRun) fits(d *DirectReport) func(json.RawMessage) error {
	return func(output json.RawMessage) error {
		if saidOf(output).Summary == "" {
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
	said := saidOf(a.output)
	switch {
	case a.good() && said.Status == UnitFailed: // it could do nothing: what it handed up before stays
		t.fault = fault.Of(fault.Failed.New("%s", said.Escalate))
		if len(t.output) == 0 {
			t.said, t.size = unitSaid{Unknown: said.Unknown, Details: said.Details}, len(a.output)
		}
	case a.good():
		t.output, t.said, t.status, t.size = a.output, said, workDone, len(a.output)
	}
	switch why := said.Escalate; {
	case a.good() && why == "":
	case !a.good() && r.exhausted != nil: // idle ends the run
	case a.good():
		r.problem(t, why)
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
	data, err := marshal(q)
	if err != nil {
		r.fail(err)
		return
	}
	one := question{name: r.name(dutyDecide, string(t.Report)), to: r.member(r.cfg.Lead), duty: dutyDecide, input: data, accept: acceptAction(q)}
	r.put(one, func(a *answer) { r.decided(t, q.Problem, a) })
}

// decided does what the lead decided, or the rule for a lead that cannot: another report of the same kind that has not tried it, once.
func (r *unitRun) decided(t *unitTask, problem string, a *answer) {
	r.asked = append(r.asked, a.done())
	var act unitAction
	by := r.cfg.Lead
	switch {
	case a.good():
		if err := json.Unmarshal(a.output, &act); err != nil {
			r.fail(fault.Internal.New("hierarchy: action: %w", err)) // it was accepted
			return
		}
	case r.exhausted != nil:
		return // idle ends the run
	default:
		by = "" // a rule
		act.Action = actDrop
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

// review has the lead, and whose word wins over the lead's, look at the results that nobody has accepted yet.
func (r *unitRun) review() {
	all := r.results(func(t *unitTask) bool { return t.status == workDone })
	if len(all) == 0 {
		r.integrate()
		return
	}
	r.phase, r.reviews = unitReviewing, nil
	r.putLead(dutyReview, r.reviewOf(all), acceptDecisions(all), func(a *answer) { r.verdicts(a, false) })
	for _, m := range r.bosses() {
		some := r.results(func(t *unitTask) bool { return t.status == workDone && r.wins(m, t) })
		if len(some) == 0 {
			continue
		}
		data, err := marshal(r.reviewOf(some))
		if err != nil {
			r.fail(err)
			return
		}
		q := question{name: r.name(dutyReview, string(m)), to: r.member(m), duty: dutyReview, input: data, accept: acceptDecisions(some)}
		r.put(q, func(a *answer) {
			r.asked = append(r.asked, a.done())
			r.verdicts(a, true)
		})
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
	if err := json.Unmarshal(a.output, &d); err != nil {
		r.fail(fault.Internal.New("hierarchy: decisions: %w", err)) // they were accepted
		return
	}
	v.list = d.Decisions
	r.reviews = append(r.reviews, v)
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
	r.putLead(duty, input, acceptWhole(r.top), func(a *answer) {
		if !a.good() {
			r.leadFailed()
			r.note("%s could not %s: %s", r.cfg.Lead, duty, a.fault.Text)
			r.end(nil, "it was not integrated, since "+string(r.cfg.Lead)+" could not")
			return
		}
		var w unitWhole
		if err := json.Unmarshal(a.output, &w); err != nil {
			r.fail(fault.Internal.New("hierarchy: the whole: %w", err)) // it was accepted
			return
		}
		r.end(&w, "")
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
			if t.fault.Kind == fault.Unknown {
				kind = fault.Unknown
			}
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

func (r *unitRun) note(format string, args ...any) {
	if len(r.notes) < gapsMax {
		r.notes = append(r.notes, clip(fmt.Sprintf(format, args...), problemMax))
	}
}
