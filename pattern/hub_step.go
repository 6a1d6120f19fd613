package pattern

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/saga"
)

// What a step can be. The first six are never part of a result.
const (
	stepWaiting    = "waiting"
	stepAsked      = "asked"
	stepAwaits     = "awaiting" // a time, or an event
	stepBackingOff = "backing off"
	stepHeld       = "awaiting approval"
	stepReplanned  = "being planned anew"
	stepOK         = "ok"
	stepExhausted  = "exhausted" // with a best effort, which counts as success
	stepFailed     = "failed"
	stepSkipped    = "skipped"   // never asked
	stepCancelled  = "cancelled" // by the join policy, a bound, or from outside
)

// stepRun is the state of one step.
type stepRun struct {
	status         string
	attempt        int    // of the newest command
	live           []int  // attempts that are under way
	won            int    // the attempt that was answered; 0 for none
	clock          string // the command that waits before the step is asked a second time; "" for none
	tries          int    // of the agent that has it now
	tried          []polity.AgentName
	started, ended time.Time
	usage          polity.Usage
	output         json.RawMessage
	fault          *fault.Error
	guard          *guard // it waits for approval, or was approved
	guards         int
	doubt          bool // one of its attempts may have been done although it failed
}

func newStepRun(s *Step) *stepRun {
	return &stepRun{status: stepWaiting, tried: []polity.AgentName{s.Agent}}
}

// kept is the attempt that counts.
func (s *stepRun) kept() int { return cmp.Or(s.won, s.attempt) }

// count counts what an attempt used, and whether it may have been done although it failed.
func (s *stepRun) count(e polity.Event) {
	s.usage = s.usage.Plus(e.Usage)
	if e.Fault != nil && saga.Of(e.Data) == nil && saga.MayBeDone(e.Fault, e.Usage != polity.Usage{}) {
		s.doubt = true
	}
}

// good says whether the step has an output.
func (s *stepRun) good() bool { return s.status == stepOK || s.status == stepExhausted }

// over says whether the step changes no more.
func (s *stepRun) over() bool {
	return !slices.Contains([]string{stepWaiting, stepAsked, stepAwaits, stepBackingOff, stepHeld, stepReplanned}, s.status)
}

func (s *stepRun) end(status string, at time.Time, f *fault.Error) {
	s.status, s.ended, s.fault = status, at, f
}

// answered takes what an attempt of step i was answered.
func (r *hubRun) answered(i int, e polity.Event, attempt int) {
	s := r.steps[i]
	s.count(e)
	s.live = slices.DeleteFunc(s.live, func(a int) bool { return a == attempt })
	best := bestEffort(e)
	if e.Fault != nil && !best && len(s.live) > 0 { // the other attempt may still be answered
		return
	}
	r.stop(i)
	if e.Fault == nil || best {
		s.won = attempt
	}
	if e.Fault == nil || !r.mayRetry(s, e.Fault) {
		r.account(i, e)
	}
	switch {
	case e.Fault == nil:
		r.succeed(i, e.Data, stepOK, nil)
	case e.Fault.Kind == fault.Exhausted:
		r.bounded(i, e)
	case r.mayRetry(s, e.Fault):
		s.status, s.fault = stepBackingOff, e.Fault
		name := r.plan.Steps[i].ID
		r.emit(polity.Sleep(backoffName(name, s.attempt), backoff(r.run, name, s.attempt, s.tries)))
	default:
		r.giveUp(i, e.Fault)
	}
}

func (r *hubRun) mayRetry(s *stepRun, f *fault.Error) bool {
	return f.Kind.Retryable() && s.tries <= *r.cfg.Retries && r.exhausted == nil
}

// waited takes the end of a backoff: the step may be asked again.
func (r *hubRun) waited(i int, e polity.Event) {
	s := r.steps[i]
	switch {
	case e.Fault == nil:
		s.status = stepWaiting
	case e.Fault.Kind == fault.Exhausted:
		s.end(stepFailed, r.now, s.fault)
		r.exhaust(e.Fault)
	default:
		s.end(stepFailed, r.now, s.fault)
	}
}

// succeed keeps the output of step i.
func (r *hubRun) succeed(i int, output json.RawMessage, status string, f *fault.Error) {
	if len(output) == 0 {
		output = json.RawMessage("null")
	}
	if !json.Valid(output) {
		r.giveUp(i, fault.Of(fault.Invalid.New("its output is not JSON")))
		return
	}
	s := r.steps[i]
	s.output = slices.Clone(output)
	s.end(status, r.now, f)
}

// bounded takes an answer that says that a bound was reached. There are four cases: the step's own
// bounds with a best effort, too many commands at once, the step's own bounds with nothing, and
// this run's.
func (r *hubRun) bounded(i int, e polity.Event) {
	s, step := r.steps[i], &r.plan.Steps[i]
	others := r.asked()
	switch {
	case bestEffort(e):
		r.note("step %s: %s stopped at a bound (%s) and gave its best effort", step.ID, step.Agent, e.Fault.Text)
		r.succeed(i, e.Data, stepExhausted, e.Fault)
	case e.Fault.Bound == boundFanOut && others > 0 && r.exhausted == nil:
		r.width = min(r.width, others) // ask it again when one of the others has ended
		s.status = stepWaiting
		s.tries--
	case e.Fault.Bound == boundOutput, step.Bounds != (polity.Bounds{}) && e.Usage != (polity.Usage{}):
		r.giveUp(i, e.Fault)
	default:
		s.end(stepFailed, r.now, e.Fault)
		r.exhaust(e.Fault)
	}
}

// The bounds that do not end a run: waiting helps against one, the other is a single answer's.
const (
	boundFanOut = "fan_out"
	boundOutput = "output"
)

// exhaust ends dispatch: what is pending is awaited, except for backoffs and events, and nothing is begun.
func (r *hubRun) exhaust(f *fault.Error) {
	if r.exhausted != nil {
		return
	}
	r.exhausted = f
	r.note("a bound of this run was reached (%s); nothing more was begun", f.Text)
	for i, s := range r.steps {
		switch s.status {
		case stepAwaits:
			r.cancel(r.waitKey(i))
			s.end(stepCancelled, r.now, f)
		case stepBackingOff:
			r.noMore(i)
			s.end(stepFailed, r.now, s.fault)
		case stepHeld:
			r.release(i, "")
			s.end(stepSkipped, time.Time{}, f)
		case stepReplanned:
			s.end(stepFailed, r.now, s.fault)
		case stepWaiting:
			s.end(stepSkipped, time.Time{}, f)
		}
	}
	r.dismiss()
}

func (r *hubRun) backoffKey(i int) string {
	return backoffName(r.plan.Steps[i].ID, r.steps[i].attempt)
}

// giveUp ends step i, or plans it anew if that may help.
func (r *hubRun) giveUp(i int, f *fault.Error) {
	if r.cfg.planned() {
		if r.cutOut(i, f) {
			return
		}
	} else if r.replan(i, f) {
		return
	}
	r.lose(i, f)
}

// lose ends step i without an answer.
func (r *hubRun) lose(i int, f *fault.Error) {
	status := stepFailed
	if f.Kind == fault.Cancelled {
		status = stepCancelled
	}
	r.steps[i].end(status, r.now, f)
}

// replan gives step i to another specialist and reports whether it did. What somebody cancelled
// stays cancelled, and what may have happened (Unknown) is never repeated in silence.
func (r *hubRun) replan(i int, f *fault.Error) bool {
	step := &r.plan.Steps[i]
	if step.Optional || r.exhausted != nil || f.Kind == fault.Cancelled || f.Kind == fault.Unknown {
		return false
	}
	steps, g, why := r.cfg.revise(r.plan.Steps, i, r.steps[i].tried)
	if why == "" && len(r.replans) >= *r.cfg.Replans {
		why = "the limit of replans, " + fmt.Sprint(*r.cfg.Replans) + ", is reached"
	}
	if why != "" {
		r.note("step %s: not planned anew: %s", step.ID, why)
		return false
	}
	r.replans = append(r.replans, Replan{Step: step.ID, From: step.Agent, To: steps[i].Agent, Skill: steps[i].Skill, Fault: f})
	r.note("step %s: planned anew for %s, since %s failed: %s: %s", step.ID, steps[i].Agent, step.Agent, f.Kind, f.Text)
	r.plan.Steps, r.graph = steps, g
	s := r.steps[i]
	s.tried = append(s.tried, steps[i].Agent)
	s.status, s.fault, s.tries, s.guard = stepWaiting, nil, 0, nil
	return true
}

// String names the join for a message, as in quorum(2).
func (j Join) String() string {
	if j.K == 0 {
		return j.Policy
	}
	return fmt.Sprintf("%s(%d)", j.Policy, j.K)
}

// tally counts the results that the join looks at.
type tally struct {
	need, good, open, all int
}

func (r *hubRun) tally() tally {
	var t tally
	for i, s := range r.steps {
		if !r.graph.counts(r.cfg, r.plan.Steps, i) {
			continue
		}
		t.all++
		if s.good() {
			t.good++
		} else if !s.over() {
			t.open++
		}
	}
	switch r.cfg.Join.Policy {
	case joinAll:
		t.need = t.all
	case joinFirst:
		t.need = 1
	default:
		t.need = r.cfg.Join.K
	}
	return t
}

// joined ends the work if the join is decided before all steps are over, and reports whether it is.
func (r *hubRun) joined() bool {
	t := r.tally()
	early := r.cfg.Join.Policy == joinFirst || r.cfg.Join.Policy == joinQuorum
	switch {
	case t.good >= t.need && early:
		r.cancelRest(fmt.Sprintf("join %s was met without it", r.cfg.Join))
		r.beginVerify()
		return true
	case t.good+t.open < t.need && r.exhausted == nil:
		r.failJoin(t)
		return true
	default:
		return false
	}
}

// cancelRest cancels what is pending and ends what waits.
func (r *hubRun) cancelRest(why string) {
	f := fault.Of(fault.Cancelled.New("%s", why))
	for i, s := range r.steps {
		switch s.status {
		case stepAsked:
			r.stop(i)
			s.end(stepCancelled, r.now, f)
		case stepAwaits:
			r.cancel(r.waitKey(i))
			s.end(stepCancelled, r.now, f)
		case stepReplanned:
			s.end(stepFailed, r.now, s.fault)
		case stepHeld:
			r.release(i, "")
			s.end(stepCancelled, r.now, f)
		case stepBackingOff:
			r.noMore(i)
			s.end(stepCancelled, r.now, f)
		case stepWaiting:
			s.end(stepSkipped, time.Time{}, f)
		}
	}
	r.dismiss()
}

// failJoin cancels the rest and fails the run. It says of each step that failed why. Failed may be
// tried again by who asked; if an effect outside is Unknown, so is the run, and nobody repeats it
// in silence; and what somebody denied is Denied, or they would be asked again.
func (r *hubRun) failJoin(t tally) {
	var why []string
	kind := fault.Failed
	for i, s := range r.steps {
		if s.good() || !s.over() {
			continue
		}
		kind = gravest(kind, s.fault.Kind)
		step := &r.plan.Steps[i]
		why = append(why, fmt.Sprintf("step %q (%s, %s, %s): %s: %s", step.ID, step.who(), s.status, plural(s.attempt, "attempt"),
			s.fault.Kind, clip(s.fault.Text, noteMax)))
	}
	if !r.undoes() { // else what is under way is waited for
		r.cancelRest(fmt.Sprintf("join %s could not be met any more", r.cfg.Join))
	}
	text := fmt.Sprintf("hub: join %s: %d of %d can succeed, %d must: %s", r.cfg.Join, t.good+t.open, t.all, t.need, strings.Join(why, "; "))
	r.fail(kind.New("%s", clip(text, faultTextMax)))
}

// settle ends the work when every step is over.
func (r *hubRun) settle() {
	if r.exhausted != nil && !slices.ContainsFunc(r.steps, (*stepRun).good) {
		r.fail(fault.Exceeded(r.exhausted.Bound, "hub: a bound was reached before any step succeeded: %s", clip(r.exhausted.Text, noteMax)))
		return
	}
	if t := r.tally(); r.exhausted != nil && t.good < t.need && r.undoes() {
		r.fail(fault.Exceeded(r.exhausted.Bound, "hub: a bound was reached before join %s was met: %s", r.cfg.Join, clip(r.exhausted.Text, noteMax)))
		return
	}
	r.beginVerify()
}
