package pattern

import (
	"encoding/json"
	"fmt"

	"polity.run"
	"polity.run/fault"
	"polity.run/saga"
)

// sequenceRun is the state of one run.
type sequenceRun struct {
	*desk
	cfg    *Sequence
	next   int // stage
	value  json.RawMessage
	stages []Done
	undo   undoer
	asked  json.RawMessage // the request
	heard  *polity.Event   // the awaited event of a stage that has not published yet
	told   bool            // that the run fails, or it cannot be
}

func newSequenceRun(d *desk, cfg *Sequence) *sequenceRun {
	return &sequenceRun{desk: d, cfg: cfg, undo: undoer{
		desk: d, members: cfg.Members, any: cfg.undoes(), stuck: cfg.Stuck, Account: saga.Account{AtOnce: cfg.AtOnce},
	}}
}

func (r *sequenceRun) open(e polity.Event) { r.value, r.asked = e.Data, e.Data }

func (r *sequenceRun) idle() {
	switch {
	case r.undo.Begun():
		if r.undo.proceed() {
			r.end()
		}
	case r.exhausted != nil && (!r.undo.Empty() || r.cfg.Failed != nil):
		r.undo.because(fault.Of(fault.Exceeded(r.exhausted.Bound, "sequence: a bound was reached at stage %d of %d: %s", r.next+1, len(r.cfg.Stages), r.exhausted.Text)))
		r.idle()
	case r.exhausted != nil && len(r.stages) == 0:
		r.desk.fail(fault.Exceeded(r.exhausted.Bound, "sequence: a bound was reached before any stage answered: %s", r.exhausted.Text))
	case r.next == len(r.cfg.Stages) || r.exhausted != nil:
		r.finish(SequenceResult{Pattern: "sequence", Output: r.value, Stages: r.stages})
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
		r.give(err)
		return
	}
	r.ask(question{
		name: named(fmt.Sprintf("stage%d", r.next+1), string(s.Agent)), to: to, duty: s.Skill, input: input, bounds: s.Bounds, approve: s.Approve,
	})
}

// undoneBy is how a stage is undone, or nil.
func (r *sequenceRun) undoneBy(s *Stage) *undoing {
	switch {
	case s.Agent == "":
		return nil
	case s.Undo != nil:
		return &undoing{to: find(r.cfg.Members, s.Undo.Agent), skill: s.Undo.Skill}
	}
	to := find(r.cfg.Members, s.Agent)
	name, _ := to.Can(s.Skill)
	return undoOf(to, name)
}

func (r *sequenceRun) answered(a *answer) {
	switch {
	case a.name == failedName:
		r.stages = append(r.stages, a.done())
		return
	case a.undo != "":
		r.undo.undid(a)
		return
	}
	s := &r.cfg.Stages[r.next]
	if a.tries > 0 {
		r.undo.did(saga.Act{Name: a.name, Agent: s.Agent, Run: a.run, Key: polity.EffectKey(r.run, a.name, 1), Input: a.input}, a, r.undoneBy(s))
	}
	if !a.good() && r.exhausted != nil && r.stopped == nil {
		return // idle ends the run
	}
	r.stages = append(r.stages, a.done())
	if a.good() && s.Publish == nil {
		r.value = a.output
	}
	switch {
	case a.good() && s.Await != nil:
		r.published()
		return
	case s.Await != nil:
		r.unheard()
	}
	switch {
	case r.stopped != nil:
	case a.good() || s.Optional:
		r.next++
	default:
		who := string(s.Agent)
		if s.Publish != nil {
			who = "publish"
		}
		r.lost(fmt.Sprintf("%s, %s", who, plural(a.tries, "attempt")), a.fault)
	}
}

// lost ends the stages with why one failed for good.
func (r *sequenceRun) lost(stage string, f *fault.Error) {
	why := fmt.Sprintf("sequence: stage %d of %d (%s): %s", r.next+1, len(r.cfg.Stages), stage, f.Text)
	if r.undo.because(fault.Of(f.Kind.New("%s", why))); r.undo.Empty() {
		r.end()
	}
}

// give ends the stages for a reason that is no stage's answer.
func (r *sequenceRun) give(err error) {
	if r.undo.Empty() && r.cfg.Failed == nil {
		r.desk.fail(err)
		return
	}
	r.undo.because(fault.Of(err))
	r.idle()
}

// stops says whether something was done that can be undone, or may be under way, or somebody is told that the run fails.
func (r *sequenceRun) stops() bool {
	if r.undo.Begun() || !r.undo.Empty() || r.cfg.Failed != nil {
		return true
	}
	return r.busy() && r.undoneBy(&r.cfg.Stages[r.next]) != nil
}

func (r *sequenceRun) stopping(why *fault.Error) { r.undo.because(why) }

// end fails the run, with what was done, once that is told where it is to be.
func (r *sequenceRun) end() {
	if r.tells() {
		return
	}
	result := SequenceResult{Pattern: "sequence", Output: r.value, Stages: r.stages}
	if !r.undo.Empty() || r.stopped != nil {
		result.Saga = r.undo.Report()
	}
	out, err := marshal(result)
	if err != nil {
		r.desk.fail(err)
		return
	}
	r.ended = true
	r.emit(polity.FailWith(r.undo.fault, out))
}
