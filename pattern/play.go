package pattern

import (
	"encoding/json"
	"slices"

	"polity.run"
	"polity.run/fault"
)

// play is a run of a pattern that asks through a desk. It ends by finish or fail of the desk.
type play interface {
	// open begins: the request is JSON and not too large.
	open(e polity.Event)
	// answered takes what became of a question.
	answered(a *answer)
	// idle is called when nothing is under way and the run has not ended: it asks on, or ends the run. When a bound of the run was reached
	// (desk.exhausted) it can only end it, with the best that there is.
	idle()
}

// stopper is a play that may have something to undo when its run is to end from outside.
type stopper interface {
	// stops says whether it does.
	stops() bool
	// stopping tells that the run is to end. What is under way is still answered; then idle is called.
	stopping(why *fault.Error)
}

// awaiter is a play that waits for times or events.
type awaiter interface {
	awaited(e polity.Event)
}

// player is the decider of a pattern that asks through a desk.
type player struct {
	name  string
	begin func(d *desk) play
}

// playing is the state of a run.
type playing struct {
	desk desk
	play play
}

// Stops implements polity.Stopper.
func (p player) Stops(state any) bool {
	s, ok := state.(*playing)
	if !ok || s.desk.ended {
		return false
	}
	one, ok := s.play.(stopper)
	return ok && one.stops()
}

// Decide implements polity.Decider.
func (p player) Decide(state any, e polity.Event) (any, []polity.Command) {
	s, _ := state.(*playing)
	switch {
	case e.Kind == polity.Opened && s == nil:
		s = &playing{desk: desk{run: e.Run, now: e.At, approver: approver{run: e.Run, agent: e.Agent}}}
		s.play = p.begin(&s.desk)
		if e.Data = slices.Clone(e.Data); len(e.Data) == 0 {
			e.Data = json.RawMessage("null")
		}
		switch {
		case len(e.Data) > requestMax:
			s.desk.fail(fault.Invalid.New("%s: the request of %d bytes is larger than %d; put it into a file", p.name, len(e.Data), requestMax))
		case !json.Valid(e.Data):
			s.desk.fail(fault.Invalid.New("%s: the request is not JSON", p.name))
		default:
			s.play.open(e)
		}
	case s == nil:
		return state, []polity.Command{failure(fault.Internal.New("%s: event %d came before the run was opened", p.name, e.Kind))}
	case !s.desk.ended && e.Kind == polity.Stopping:
		s.desk.now, s.desk.out = e.At, nil
		s.desk.halt(e.Fault)
		if one, ok := s.play.(stopper); ok {
			one.stopping(e.Fault)
		}
	case s.desk.ended || e.Kind != polity.Result:
		return s, nil
	default:
		s.desk.now, s.desk.out = e.At, nil
		if a, ok := s.desk.take(e); ok {
			s.play.answered(a)
		} else if w, ok := s.play.(awaiter); ok && s.desk.waits != "" && s.desk.waits == e.Name {
			s.desk.waited(e.Fault)
			w.awaited(e)
		}
	}
	if !s.desk.ended && !s.desk.busy() {
		s.play.idle()
	}
	if !s.desk.ended && !s.desk.busy() {
		s.desk.fail(fault.Internal.New("%s: the run waits for nothing", p.name))
	}
	return s, s.desk.out
}
