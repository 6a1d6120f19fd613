package pattern

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/saga"
)

// Limits of a run of a hub.
const (
	backoffMin   = 100 * time.Millisecond
	backoffMax   = 10 * time.Second
	inputMax     = 4 << 20 // bytes of a step's input with its references replaced
	requestMax   = 1 << 20 // bytes of the request
	faultTextMax = 4 << 10 // bytes of the fault that a run of a hub ends with
	noteMax      = 500     // bytes of a note
	notesMax     = 200     // notes of a result
)

// backoffName names the command that waits after an attempt of a command. The attempt is part of
// the name, since to wait again is not to retry the wait; it stands before the name, which may itself end with a number.
func backoffName(name string, attempt int) string {
	if attempt > 1 {
		return fmt.Sprintf("backoff%d.%s", attempt, name)
	}
	return "backoff." + name
}

// phase is how far a run is.
type phase uint8

const (
	planning phase = iota
	working
	verifying
	wording
	undone // it undoes what it did, and then ends
	ended
)

// hubRun is the state of one run.
type hubRun struct {
	cfg      *Hub
	run      polity.RunID
	folder   string
	request  json.RawMessage
	question string
	text     string    // of the request, that skills are matched with
	now      time.Time // of the event that is being decided
	staff    desk      // asks who plans, reviews and words the answer

	phase     phase
	plan      Plan
	graph     *graph
	steps     []*stepRun // by their place in the plan
	index     map[string]int
	width     int
	replans   []Replan
	exhausted *fault.Error // the bound that ended dispatch
	late      []string     // keys of cancelled commands that are not answered yet
	notes     []string
	unnoted   int // notes beyond notesMax
	verify    verification
	begun     int // questions to specialists
	hedged    int // of them those that were asked a second time

	planner planState
	cut     *cut         // steps that are being planned anew
	lost    []string     // what failed for good: the keys of the steps
	past    []StepResult // steps that another plan replaced
	words   *HubResult   // what the synthesizer is asked about
	marked  int          // notes before verification
	done    []Done       // what the staff was asked

	undo  undoer
	acted map[string]string // the name in the account of what a step did, by its ID

	out []polity.Command // of the event that is being decided
}

// Decide implements polity.Decider.
func (d *hub) Decide(state any, e polity.Event) (any, []polity.Command) {
	if e.Kind == polity.Opened {
		r := &hubRun{cfg: &d.cfg, run: e.Run, folder: e.Folder, now: e.At, width: d.cfg.Caps.Width}
		r.staff = desk{run: e.Run, now: e.At, approver: approver{run: e.Run, agent: e.Agent}}
		r.undo = undoer{desk: &r.staff, members: d.cfg.Members, any: undoes(d.cfg.Specialists), stuck: d.cfg.Stuck, Account: saga.Account{AtOnce: d.cfg.AtOnce}}
		r.open(e)
		return r, r.out
	}
	r, ok := state.(*hubRun)
	if !ok {
		return state, []polity.Command{failure(fault.Internal.New("hub: event %d came before the run was opened", e.Kind))}
	}
	if r.phase == ended || e.Kind != polity.Result && e.Kind != polity.Stopping {
		return r, nil
	}
	r.out, r.now, r.staff.now = nil, e.At, e.At
	if e.Kind == polity.Stopping {
		r.staff.halt(e.Fault)
		r.undoBecause(e.Fault)
		return r, r.out
	}
	e.Attempt = max(e.Attempt, 1)
	if i := slices.Index(r.late, polity.CommandKey(e.Name, e.Attempt)); i >= 0 {
		r.late = slices.Delete(r.late, i, i+1)
		r.verifyAgain()
		r.recall()
		return r, r.out
	}
	if r.consulted(e) {
		return r, r.out
	}
	switch r.phase {
	case verifying:
		r.verified(e)
	case working:
		if !r.letGo(e) {
			r.result(e)
		}
	case undone:
		r.unfinished(e)
		r.undoOn()
	}
	r.recall()
	return r, r.out
}

func failure(err error) polity.Command { return polity.Fail(fault.Of(err)) }

func (r *hubRun) emit(c polity.Command) { r.out = append(r.out, c) }

// cancel cancels a pending command. What it is answered yet is of no interest.
func (r *hubRun) cancel(key string) {
	r.late = append(r.late, key)
	r.emit(polity.Cancel(key))
}

// fail ends the run with a fault, once what was done is undone.
func (r *hubRun) fail(err error) {
	if r.phase < undone && r.undoes() {
		r.undoBecause(fault.Of(err))
		return
	}
	r.phase = ended
	r.emit(failure(err))
}

// note keeps a line for the reader of the result.
func (r *hubRun) note(format string, args ...any) {
	if len(r.notes) == notesMax {
		r.unnoted++
		return
	}
	r.notes = append(r.notes, clip(fmt.Sprintf(format, args...), noteMax))
}

// open takes the request and the plan and begins.
func (r *hubRun) open(e polity.Event) {
	if len(e.Data) > requestMax {
		r.fail(fault.Invalid.New("hub: the request of %d bytes is larger than %d; put it into a file", len(e.Data), requestMax))
		return
	}
	r.request = slices.Clone(e.Data)
	if len(r.request) == 0 {
		r.request = json.RawMessage("null")
	}
	if !json.Valid(r.request) {
		r.fail(fault.Invalid.New("hub: the request is not JSON"))
		return
	}
	r.question, r.text = questionOf(r.request)
	switch {
	case r.cfg.Plan != nil:
		r.propose(*r.cfg.Plan)
	case r.cfg.planned():
		r.askPlan("")
	default:
		r.proposeMatch()
	}
}

// proposeMatch proposes the plan that code makes.
func (r *hubRun) proposeMatch() {
	plan, err := r.cfg.match(r.text)
	if err != nil {
		r.fail(err)
		return
	}
	r.propose(plan)
}

// propose checks a plan, and begins it unless somebody is to approve it first.
func (r *hubRun) propose(plan Plan) {
	var p problems
	g := newGraph(r.cfg, plan.Steps, &p)
	if err := p.err(); err != nil {
		r.fail(fault.Invalid.New("hub: %w", err))
		return
	}
	r.plan, r.graph = Plan{r.cfg.normal(plan.Steps, g)}, g
	if r.cfg.Review != "" {
		r.askReview(r.plan)
		return
	}
	r.begin()
}

// begin begins with the plan.
func (r *hubRun) begin() {
	r.phase = working
	r.index = map[string]int{}
	for i := range r.plan.Steps {
		r.index[r.plan.Steps[i].ID] = i
		r.steps = append(r.steps, newStepRun(&r.plan.Steps[i]))
	}
	r.proceed()
}

// result takes the answer to a step's command.
func (r *hubRun) result(e polity.Event) {
	attempt := max(e.Attempt, 1)
	if i, ok := r.index[e.Name]; ok {
		switch s := r.steps[i]; {
		case s.status == stepAwaits:
			r.awaited(i, e)
			r.proceed()
		case s.status == stepAsked && slices.Contains(s.live, attempt):
			r.answered(i, e, attempt)
			r.proceed()
		}
		return
	}
	for i, s := range r.steps {
		if s.clock != "" && s.clock == e.Name {
			r.second(i, e)
			return
		}
		if s.status == stepBackingOff && e.Name == backoffName(r.plan.Steps[i].ID, s.attempt) {
			r.waited(i, e)
			r.proceed()
			return
		}
	}
}

// proceed does all that can be done now: give up what cannot run, end early if the join is
// decided, ask what is ready, and go on to verification when nothing is pending.
func (r *hubRun) proceed() {
	for again := true; again; {
		r.skipBlocked()
		if r.joined() {
			return
		}
		again = r.dispatch()
	}
	if r.pending() == 0 {
		r.settle()
	}
}

// pending counts what will be answered.
func (r *hubRun) pending() int {
	n := len(r.staff.open)
	for _, s := range r.steps {
		if s.status == stepAsked || s.status == stepAwaits || s.status == stepBackingOff || s.status == stepHeld {
			n++
		}
	}
	return n
}

// asked counts the questions that specialists work on.
func (r *hubRun) asked() int {
	n := 0
	for _, s := range r.steps {
		n += len(s.live)
	}
	return n
}

// skipBlocked gives up the steps that wait for one that did not succeed.
func (r *hubRun) skipBlocked() {
	if r.cut != nil {
		return
	}
	for _, i := range r.graph.order {
		s := r.steps[i]
		if s.status != stepWaiting {
			continue
		}
		for _, d := range r.graph.deps[i] {
			if r.steps[d].over() && !r.passes(d, i) {
				s.status = stepSkipped
				s.fault = fault.Of(fault.Failed.New("it needs step %q, which ended %s", r.plan.Steps[d].ID, r.steps[d].status))
				break
			}
		}
	}
}

// passes says whether step i may go on as far as step d is concerned: d succeeded, or d is
// optional, ended, and i only waited for it.
func (r *hubRun) passes(d, i int) bool {
	if r.steps[d].good() {
		return true
	}
	return r.steps[d].over() && r.plan.Steps[d].Optional && !slices.Contains(r.graph.uses[i], d)
}

// ready says whether step i can be asked.
func (r *hubRun) ready(i int) bool {
	if r.steps[i].status != stepWaiting {
		return false
	}
	for _, d := range r.graph.deps[i] {
		if !r.passes(d, i) {
			return false
		}
	}
	return true
}

// dispatch asks the steps that are ready, as far as the width allows. It reports whether a step
// ended without being asked, which may block others.
func (r *hubRun) dispatch() bool {
	asked := r.asked()
	gaveUp := false
	for i, s := range r.steps {
		if r.exhausted != nil || r.cut != nil {
			break
		}
		waits := r.plan.Steps[i].waits()
		if !r.ready(i) || asked >= r.width && !waits {
			continue
		}
		if waits {
			gaveUp = !r.await(i) || gaveUp
			continue
		}
		input, err := r.inputOf(i)
		if err != nil {
			s.end(stepFailed, r.now, fault.Of(err))
			gaveUp = true
			continue
		}
		r.ask(i, input)
		asked++
	}
	return gaveUp
}

func (r *hubRun) ask(i int, input json.RawMessage) {
	if r.held(i, &input) {
		return
	}
	s, step := r.steps[i], &r.plan.Steps[i]
	s.status = stepAsked
	s.attempt++
	s.tries++
	if s.started.IsZero() {
		s.started = r.now
	}
	s.live = append(s.live, s.attempt)
	r.begun++
	c := polity.Ask(step.ID, step.Agent, step.Skill, input)
	c.Attempt, c.Bounds = s.attempt, step.Bounds
	r.emit(c)
	r.watch(i)
}

// inputOf returns the brief of step i: its input with the references replaced, or the request, with
// the step's objective.
func (r *hubRun) inputOf(i int) (json.RawMessage, error) {
	step := &r.plan.Steps[i]
	input := r.request
	if len(step.Input) > 0 {
		var err error
		if input, err = substitute(step.Input, inputMax, r.follow); err != nil {
			return nil, fault.Invalid.New("input: %w", err)
		}
	}
	skill := r.cfg.specialist(step.Agent).skill(step.Skill)
	return withObjective(input, step.Objective, skill.Input)
}

// follow is what a reference stands for.
func (r *hubRun) follow(ref reference) (json.RawMessage, error) {
	if ref.id == requestID {
		return ref.follow(r.request)
	}
	return ref.follow(r.steps[r.index[ref.id]].output)
}

// withObjective adds the objective to an input that is an object without one, unless the skill's
// schema refuses it.
func withObjective(input json.RawMessage, objective string, schema json.RawMessage) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if objective == "" || json.Unmarshal(input, &fields) != nil || fields == nil {
		return input, nil
	}
	if _, ok := fields["objective"]; ok {
		return input, nil
	}
	if s, ok := readShape(schema); ok && s.closed() {
		if _, ok := s.Properties["objective"]; !ok {
			return input, nil
		}
	}
	text, err := marshal(objective)
	if err != nil {
		return nil, err
	}
	fields["objective"] = text
	return marshal(fields)
}

// backoff returns how long to wait before the nth retry of the named command: from 100 ms,
// doubled each time up to 10 s, and of that between a half and all, as the run's ID decides.
func backoff(run polity.RunID, name string, attempt, n int) time.Duration {
	d := backoffMax
	if n < 8 {
		d = min(backoffMax, backoffMin<<(max(n, 1)-1))
	}
	sum := sha256.Sum256([]byte(polity.EffectKey(run, name, attempt)))
	half := d / 2
	jitter := time.Duration(binary.BigEndian.Uint64(sum[:8]) % uint64(half))
	return (half + jitter).Round(time.Millisecond)
}
