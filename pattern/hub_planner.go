package pattern

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"polity.run"
	"polity.run/fault"
)

// planRepairs is how often a planner may correct a plan that cannot be carried out.
const planRepairs = 2

// The duties of a planner.
const (
	dutyPlan   = "plan"
	dutyReplan = "replan"
)

const planOutput = `{"type":"object","additionalProperties":false,"required":["steps"],"properties":{"steps":{"type":"array","items":` +
	`{"type":"object","additionalProperties":false,"required":["id","agent","objective"],"properties":{` +
	`"id":{"type":"string","description":"a-z, 0-9, - and _; unique."},` +
	`"agent":{"type":"string","description":"Name of a specialist."},` +
	`"skill":{"type":"string","description":"One of its skills; may be left out if it has one."},` +
	`"objective":{"type":"string","description":"What this step is for, complete in itself."},` +
	`"depends_on":{"type":"array","items":{"type":"string"}},` +
	`"input":{"description":"What is asked; a text $id.field stands for a value of that step's answer. Left out it is the request."},` +
	`"optional":{"type":"boolean"}}}}}}`

// planGuidance tells a planner what a plan is.
const planGuidance = "Answer with steps, each for one specialist. Steps start as soon as what they need is done. In input a text \"$id.field\" stands for a value of " +
	"another step's answer, and makes the step wait for it; \"$input.field\" is a value of the request. The answer of a step that another one waits for must be " +
	"used there. Use no more steps than are needed, and ask nothing twice."

// plannerRole is the role of an agent that plans.
func plannerRole(name polity.AgentName) Role {
	return Role{"planner", "planner", name, []polity.Skill{
		dutyOf(dutyPlan, "Plan which specialist does what.", planOutput),
		dutyOf(dutyReplan, "Plan anew what failed or is missing.", planOutput),
	}}
}

// planDraft is a plan as a planner writes it. It delegates no bounds: those are declared.
type planDraft struct {
	Steps []draftStep `json:"steps"`
}

type draftStep struct {
	ID        string           `json:"id"`
	Agent     polity.AgentName `json:"agent"`
	Skill     string           `json:"skill"`
	Objective string           `json:"objective"`
	DependsOn []string         `json:"depends_on"`
	Input     json.RawMessage  `json:"input"`
	Optional  bool             `json:"optional"`
}

// steps are the steps that a draft is.
func (d *planDraft) steps() []Step {
	var all []Step
	for _, s := range d.Steps {
		if string(s.Input) == "null" {
			s.Input = nil
		}
		all = append(all, Step{ID: s.ID, Agent: s.Agent, Skill: s.Skill, Objective: s.Objective, DependsOn: s.DependsOn, Input: s.Input, Optional: s.Optional})
	}
	return all
}

// planState is how far a planner is with a plan.
type planState struct {
	asked   int // questions in this run
	tries   int // of them for the plan that is being made
	reviews int
	changes string // that the reviewer wants
	replans int
	seen    int // different outputs at the time of the last replan
}

// cut is the part of a plan that is being planned anew: the steps whose status is stepReplanned, and those that were not begun.
type cut struct {
	missing string // what the synthesizer says is not known
	name    string // of the question that is under way
	plan    []Step // all steps of the new plan
}

// consult asks somebody of the staff.
func (r *hubRun) consult(q question) {
	r.staff.beside = r.pending() - len(r.staff.open)
	r.staff.ask(q)
	r.flush()
}

// flush takes over what the staff's desk commands.
func (r *hubRun) flush() {
	r.out = append(r.out, r.staff.out...)
	r.staff.out = nil
}

// dismiss drops what the staff was asked.
func (r *hubRun) dismiss() {
	r.cut = nil
	r.staff.drop()
	r.flush()
}

// recall asks the staff what was held back for want of room.
func (r *hubRun) recall() {
	if r.phase != ended {
		r.staff.beside = r.pending() - len(r.staff.open)
		r.staff.release()
		r.flush()
	}
}

// consulted takes an answer of the staff, and reports whether the event settles what somebody of it was asked.
func (r *hubRun) consulted(e polity.Event) bool {
	r.staff.beside = r.pending() - len(r.staff.open)
	a, settled := r.staff.take(e)
	r.flush()
	if !settled {
		return false
	}
	if a.undo != "" {
		r.undo.undid(a)
		r.undoOn()
		return true
	}
	r.done = append(r.done, a.done())
	if r.staff.exhausted != nil && r.phase == working {
		r.noTime()
		return true
	}
	switch a.duty {
	case dutyPlan:
		r.planned(a)
	case dutyApprove:
		r.reviewed(a)
	case dutyReplan:
		r.replanned(a)
	default:
		r.worded(a)
	}
	return true
}

// noTime ends what is planned anew when a bound is reached.
func (r *hubRun) noTime() {
	if r.cut != nil && r.cut.missing != "" {
		r.note("not planned on: %s", r.staff.exhausted.Text)
		r.complete(r.words)
		return
	}
	r.exhaust(r.staff.exhausted)
	r.proceed()
}

// staffPrefix begins the names of what the staff is asked. No step's ID has a dot.
const staffPrefix = "hub."

func staffName(duty string, n int) string {
	if n > 1 {
		return fmt.Sprintf("%s%s%d", staffPrefix, duty, n)
	}
	return staffPrefix + duty
}

// planErrand is what a planner is asked with.
type planErrand struct {
	errand
	Specialists []offer `json:"specialists"`
	Steps       int     `json:"steps_max"`
	Changes     string  `json:"changes,omitempty"` // that the reviewer wants, of the former plan
	Former      *Plan   `json:"former,omitempty"`
	Problem     string  `json:"problem,omitempty"` // of the last answer
	Guidance    string  `json:"guidance"`
}

// askPlanner asks for a plan or a part of one.
func (r *hubRun) askPlanner(in any, duty string) string {
	r.planner.asked++
	r.planner.tries++
	name := staffName(dutyPlan, r.planner.asked)
	input, err := marshal(in)
	if err != nil {
		r.fail(err)
		return ""
	}
	r.consult(question{name: name, to: find(r.cfg.Members, polity.AgentName(r.cfg.Planner)), duty: duty, input: input})
	return name
}

// askPlan asks for the plan.
func (r *hubRun) askPlan(problem string) {
	in := planErrand{errand: errandOf(dutyPlan, r.request), Specialists: offersOf(r.cfg.Specialists), Steps: r.cfg.Caps.Steps,
		Changes: r.planner.changes, Problem: clip(problem, problemMax), Guidance: planGuidance}
	if in.Changes != "" {
		in.Former = &r.plan
	}
	r.askPlanner(in, dutyPlan)
}

// readSteps reads a plan, or the part of one that is planned anew, and says what is wrong with it.
func (r *hubRun) readSteps(output json.RawMessage) ([]Step, error) {
	d, err := understand[planDraft](output)
	if err != nil {
		return nil, err
	}
	return r.acceptable(&d)
}

// acceptable returns all steps of the plan that a draft makes, if they can be carried out. Steps that are planned anew must differ from what
// failed, and may not take the IDs of steps that were asked.
func (r *hubRun) acceptable(d *planDraft) ([]Step, error) {
	if r.cut == nil {
		return d.checked(r.cfg, nil)
	}
	kept := r.keptSteps()
	steps, err := d.checked(r.cfg, kept)
	if err != nil {
		return nil, err
	}
	for _, s := range steps[len(kept):] {
		if slices.Contains(r.lost, stepKey(&s)) {
			return nil, fault.Invalid.New("step %q asks again what failed; do it another way, or have another specialist do it", s.ID)
		}
		if i, used := r.index[s.ID]; used && !r.stays(i) && r.steps[i].attempt > 0 || slices.ContainsFunc(r.past, func(p StepResult) bool { return p.ID == s.ID }) {
			return nil, fault.Invalid.New("step %q: the id was used by a step that failed; choose another", s.ID)
		}
	}
	if len(steps) == len(kept) {
		return nil, fault.Invalid.New("there are no steps; give at least one")
	}
	return steps, nil
}

// checked returns the kept steps and those of the draft, if they can be carried out together.
func (d *planDraft) checked(h *Hub, kept []Step) ([]Step, error) {
	added := d.steps()
	all := append(slices.Clone(kept), added...)
	var p problems
	g := newGraph(h, all, &p)
	if err := p.err(); err != nil {
		return nil, fault.Invalid.New("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	all = h.normal(all, g)
	for i := range all[:len(all)-len(added)] {
		all[i] = kept[i]
	}
	for i := len(kept); i < len(all); i++ {
		if j := twin(all, i); j >= 0 {
			return nil, fault.Invalid.New("step %q asks the same as step %q; leave one out", all[i].ID, all[j].ID)
		}
	}
	return all, nil
}

// planned takes a plan from the planner.
func (r *hubRun) planned(a *answer) {
	if !a.good() {
		r.noPlan(a.fault)
		return
	}
	steps, err := r.readSteps(a.output)
	switch {
	case err == nil:
		r.planner.tries, r.planner.changes = 0, ""
		r.propose(Plan{steps})
	case r.planner.tries <= planRepairs:
		r.askPlan(err.Error())
	default:
		r.noPlan(fault.Of(fault.Failed.New("no plan that can be carried out in %s: %s", plural(r.planner.tries, "attempt"), clip(err.Error(), problemMax))))
	}
}

// noPlan goes on without a plan from the planner, or ends the run.
func (r *hubRun) noPlan(f *fault.Error) {
	switch {
	case r.staff.exhausted != nil:
		r.fail(fault.Exceeded(f.Bound, "hub: a bound was reached before there was a plan: %s", clip(f.Text, noteMax)))
	case r.cfg.Fallback == plannerMatch:
		r.note("%s made no plan (%s: %s); the plan is what code matched", r.cfg.Planner, f.Kind, f.Text)
		r.planner.tries, r.planner.changes = 0, ""
		r.proposeMatch()
	default:
		r.fail(f.Kind.New("hub: planner %s: %s", r.cfg.Planner, f.Text))
	}
}

// askReview has a plan approved before anything of it is done.
func (r *hubRun) askReview(plan Plan) {
	r.planner.reviews++
	accept := func(output json.RawMessage) error {
		v, err := readApproval(output)
		if err == nil && v.Plan != nil {
			_, err = r.acceptable(v.Plan)
		}
		return err
	}
	q, err := r.cfg.reviewQuestion(staffName("review", r.planner.reviews), r.request, plan, accept)
	if err != nil {
		r.fail(err)
		return
	}
	r.consult(q)
	if r.cut != nil {
		r.cut.name = q.name
	}
}

// reviewed takes what the reviewer says.
func (r *hubRun) reviewed(a *answer) {
	v, err := readApproval(a.output)
	switch {
	case r.staff.exhausted != nil && !a.good():
		r.fail(fault.Exceeded(a.fault.Bound, "hub: a bound was reached before the plan was approved: %s", clip(a.fault.Text, noteMax)))
	case !a.good() || err != nil:
		r.unapproved(r.cfg.refused(a, "the answer was not understood"))
	case *v.Approve:
		r.approved(v.Plan)
	case v.Changes == "":
		r.unapproved(r.cfg.refused(a, "no changes are asked for"))
	case !r.cfg.planned():
		r.unapproved(r.cfg.refused(a, v.Changes+" (no agent plans here that could change it; approve it with an edited plan)"))
	case r.planner.reviews >= reviewsMax:
		r.unapproved(r.cfg.refused(a, fmt.Sprintf("after %s: %s", plural(r.planner.reviews, "review"), v.Changes)))
	default:
		r.planner.tries, r.planner.changes = 0, v.Changes
		if r.cut != nil {
			r.askReplan("")
		} else {
			r.askPlan("")
		}
	}
}

// unapproved ends the run, or the attempt to plan a part anew.
func (r *hubRun) unapproved(why error) {
	if r.cut != nil {
		r.cutFails(why.Error())
		return
	}
	r.fail(why)
}

// approved begins the plan, as the reviewer edited it.
func (r *hubRun) approved(edited *planDraft) {
	if edited != nil {
		steps, err := r.acceptable(edited)
		if err != nil { // it was accepted
			r.fail(err)
			return
		}
		r.note("%s edited the plan", r.cfg.Review)
		if r.cut != nil {
			r.cut.plan = steps
		} else {
			var p problems
			r.plan, r.graph = Plan{steps}, newGraph(r.cfg, steps, &p) // it was checked
		}
	}
	if r.cut != nil {
		r.splice()
		return
	}
	r.begin()
}

// stepKey is the same for steps that ask the same.
func stepKey(s *Step) string {
	return strings.Join([]string{string(s.Agent), s.Skill, strings.ToLower(strings.Join(strings.Fields(s.Objective), " ")), string(s.Input)}, "\x00")
}

// artifacts counts the different outputs so far.
func (r *hubRun) artifacts() int {
	seen := map[string]bool{}
	for _, s := range r.steps {
		if s.good() {
			seen[artifact(s.output)] = true
		}
	}
	return len(seen)
}

// mayReplan says why nothing more is planned anew; "" if it may be. Whether there is progress does not hang on the planner's word: after a
// replan that brought nothing new there is no other.
func (r *hubRun) mayReplan() string {
	switch {
	case r.planner.replans >= *r.cfg.Replans:
		return "the limit of replans, " + fmt.Sprint(*r.cfg.Replans) + ", is reached"
	case r.planner.replans > 0 && r.artifacts() <= r.planner.seen:
		return "nothing new has come since the last replan"
	default:
		return ""
	}
}

// cutOut has step i, which failed for good, planned anew with all that was not begun, and reports whether it is. What others are doing goes
// on meanwhile.
func (r *hubRun) cutOut(i int, f *fault.Error) bool {
	s, step := r.steps[i], &r.plan.Steps[i]
	if step.Optional || r.exhausted != nil || f.Kind == fault.Cancelled || f.Kind == fault.Unknown {
		return false
	}
	if why := r.mayReplan(); why != "" && r.cut == nil {
		r.note("step %s: not planned anew: %s", step.ID, why)
		return false
	}
	s.status, s.fault, s.ended = stepReplanned, f, r.now
	r.lost = append(r.lost, stepKey(step))
	if r.cut == nil {
		r.newCut("")
	} else {
		r.staff.dropOne(r.cut.name) // it did not know of this one
		r.flush()
	}
	r.planner.tries = 0
	r.askReplan("")
	return true
}

func (r *hubRun) newCut(missing string) {
	r.planner.replans++
	r.planner.seen = r.artifacts()
	r.planner.tries, r.planner.changes = 0, ""
	r.cut = &cut{missing: missing}
}

// replanErrand is what a planner is asked with for a part of a plan.
type replanErrand struct {
	planErrand
	Done    []doneStep   `json:"done,omitempty"`    // may be referenced
	Running []string     `json:"running,omitempty"` // may be referenced
	Failed  []failedStep `json:"failed,omitempty"`
	Waiting []Step       `json:"waiting,omitempty"` // are replaced
	Missing string       `json:"missing,omitempty"`
}

type doneStep struct {
	ID        string `json:"id"`
	Objective string `json:"objective,omitempty"`
	Answer    string `json:"answer"`
}

type failedStep struct {
	Step
	Fault *fault.Error `json:"fault"`
}

// replanShown is how much of a step's answer a planner is shown, in bytes.
const replanShown = 2 << 10

// askReplan asks for steps instead of those that failed or were not begun.
func (r *hubRun) askReplan(problem string) {
	in := replanErrand{Missing: r.cut.missing, planErrand: planErrand{errand: errandOf(dutyReplan, r.request), Specialists: offersOf(r.cfg.Specialists),
		Steps: r.cfg.Caps.Steps, Changes: r.planner.changes, Problem: clip(problem, problemMax),
		Guidance: planGuidance + " Steps that are done or running stay, and may be referenced. Your steps replace those that failed and those that wait. Give them new ids, and do not ask again what failed."}}
	for i, s := range r.steps {
		step := r.plan.Steps[i]
		switch {
		case s.good():
			in.Done = append(in.Done, doneStep{step.ID, step.Objective, clip(gist(s.output), replanShown)})
		case s.status == stepReplanned:
			in.Failed = append(in.Failed, failedStep{step, s.fault})
		case !r.stays(i):
			in.Waiting = append(in.Waiting, step)
		case !s.over():
			in.Running = append(in.Running, step.ID)
		}
	}
	r.cut.name = r.askPlanner(in, dutyReplan)
}

// stays says whether step i is part of the plan after a replan: it was asked, or somebody was whether it may be, and did not fail for good. While a part is planned anew no step
// is begun, so that this stays so.
func (r *hubRun) stays(i int) bool {
	s := r.steps[i]
	return s.status != stepReplanned && (s.attempt > 0 || s.guard != nil)
}

// keptSteps are the steps that stay.
func (r *hubRun) keptSteps() []Step {
	var kept []Step
	for i := range r.steps {
		if r.stays(i) {
			kept = append(kept, r.plan.Steps[i])
		}
	}
	return kept
}

// replanned takes new steps from the planner.
func (r *hubRun) replanned(a *answer) {
	if !a.good() {
		r.cutFails(fmt.Sprintf("%s: %s", a.fault.Kind, a.fault.Text))
		return
	}
	steps, err := r.readSteps(a.output)
	switch {
	case err != nil && r.planner.tries <= planRepairs:
		r.askReplan(err.Error())
	case err != nil:
		r.cutFails(fmt.Sprintf("%s gave no steps that can be carried out in %s: %v", r.cfg.Planner, plural(r.planner.tries, "attempt"), err))
	default:
		r.cut.plan = steps
		if r.cfg.Review != "" {
			r.askReview(Plan{steps})
			return
		}
		r.splice()
	}
}

// splice goes on with the new plan.
func (r *hubRun) splice() {
	states := map[string]*stepRun{}
	kept := r.keptSteps()
	var added []string
	for _, s := range r.cut.plan[len(kept):] {
		added = append(added, s.ID)
	}
	for i, s := range r.steps {
		step := &r.plan.Steps[i]
		if r.stays(i) {
			states[step.ID] = s
		}
		if s.status == stepReplanned {
			s.status = stepFailed
			r.past = append(r.past, r.stepResult(step, s))
			r.replans = append(r.replans, Replan{Step: step.ID, From: step.Agent, Fault: s.fault, Steps: added})
			r.note("step %s: planned anew as %s, since %s failed: %s: %s", step.ID, list(added), step.Agent, s.fault.Kind, s.fault.Text)
		}
	}
	if r.cut.missing != "" {
		r.notes = r.notes[:r.marked] // what is noted after it is noted again
		r.replans = append(r.replans, Replan{From: r.cfg.Synthesizer, Fault: fault.Of(fault.Failed.New("missing: %s", r.cut.missing)), Steps: added})
		r.note("planned on as %s, since %s says that this is missing: %s", list(added), r.cfg.Synthesizer, r.cut.missing)
	}
	var p problems
	r.graph = newGraph(r.cfg, r.cut.plan, &p) // it was checked
	r.plan, r.cut = Plan{r.cut.plan}, nil
	r.index, r.steps = map[string]int{}, nil
	for i := range r.plan.Steps {
		step := &r.plan.Steps[i]
		r.index[step.ID] = i
		r.steps = append(r.steps, cmp.Or(states[step.ID], newStepRun(step)))
	}
	r.proceed()
}

// cutFails goes on without new steps: what failed has failed, unless code finds another specialist for it.
func (r *hubRun) cutFails(why string) {
	missing := r.cut.missing
	r.cut = nil
	for i, s := range r.steps {
		if s.status != stepReplanned {
			continue
		}
		r.note("step %s: not planned anew: %s", r.plan.Steps[i].ID, why)
		if r.cfg.Fallback != plannerMatch || !r.replan(i, s.fault) {
			r.lose(i, s.fault)
		}
	}
	if missing != "" {
		r.note("not planned on: %s", why)
		r.complete(r.words)
		return
	}
	r.proceed()
}
