package pattern

import (
	"encoding/json"
	"slices"
	"time"

	"polity.run"
	"polity.run/fault"
)

// waits says whether the step waits, and asks nobody.
func (s *Step) waits() bool { return s.Wait != nil || s.Await != nil }

// who is the agent that a step asks, for a message.
func (s *Step) who() string {
	if s.waits() {
		return "which waits"
	}
	return string(s.Agent)
}

// refers is the JSON in which references stand for values.
func (s *Step) refers() json.RawMessage {
	if s.Await != nil {
		return s.Await.Match
	}
	return s.Input
}

// checkWait reports what is wrong with a step that waits; i is its position.
func (s *Step) checkWait(i int, p *problems) {
	at := func(field string) where { return s.at(i, field) }
	if s.Agent != "" || s.Wait != nil && s.Await != nil {
		p.add(at(""), "it is more than one of agent, wait and await; write a step for each")
		return
	}
	for _, f := range []struct {
		field string
		there bool
	}{{".skill", s.Skill != ""}, {".objective", s.Objective != ""}, {".input", len(s.Input) > 0}, {".bounds", s.Bounds != (polity.Bounds{})}, {".approve", s.Approve != nil}} {
		if f.there {
			p.add(at(f.field), "this belongs to a step that asks an agent; delete it")
		}
	}
	if s.Wait != nil {
		s.Wait.check(s.Optional, at, p)
		return
	}
	s.Await.check(s.Optional, at, p)
	if len(s.Await.Same) > 0 {
		p.add(at(".await.same"), "it belongs to the stage of a sequence; here write match: {%s: $input.%s}", s.Await.Same[0], s.Await.Same[0])
	}
	if s.Await.Into != "" {
		p.add(at(".await.into"), "it belongs to the stage of a sequence; here the data is the step's answer, as $%s", s.ID)
	}
}

// waitKey is the key of the command with which step i waits.
func (r *hubRun) waitKey(i int) string {
	return polity.CommandKey(r.plan.Steps[i].ID, r.steps[i].attempt)
}

// await begins step i, which waits. It returns false if it ended at once.
func (r *hubRun) await(i int) bool {
	s, step := r.steps[i], &r.plan.Steps[i]
	var c polity.Command
	if w := step.Wait; w != nil {
		c = polity.Sleep(step.ID, time.Duration(w.For))
		c.At = w.Until
	} else {
		a := step.Await
		match, err := r.matchOf(a)
		if err != nil {
			s.end(stepFailed, r.now, fault.Of(err))
			return false
		}
		c = polity.Await(step.ID, polity.Awaited{Signal: a.Signal, Topic: a.Topic, Match: match}, time.Duration(a.Within))
		c.At = a.Until
	}
	s.status, s.started = stepAwaits, r.now
	s.attempt++
	r.emit(c)
	return true
}

// matchOf is what the data of an awaited event must have, with references replaced.
func (r *hubRun) matchOf(a *Await) (json.RawMessage, error) {
	if len(a.Match) == 0 {
		return nil, nil
	}
	match, err := substitute(a.Match, polity.MatchMax, r.follow)
	if err != nil {
		return nil, fault.Invalid.New("match: %w", err)
	}
	return match, nil
}

// awaited takes what came of step i, which waited. It is not tried again: its time is over, or the event says what it says.
func (r *hubRun) awaited(i int, e polity.Event) {
	s, a := r.steps[i], r.plan.Steps[i].Await
	s.usage = s.usage.Plus(e.Usage)
	data, f := slices.Clone(e.Data), e.Fault
	switch {
	case f != nil && f.Kind == fault.Timeout && a != nil && len(a.Else) > 0:
		data, f = a.Else, nil
	case f == nil && a != nil:
		f = a.failed(data)
	}
	switch {
	case f == nil:
		r.succeed(i, data, stepOK, nil)
	case f.Kind == fault.Exhausted:
		s.end(stepFailed, r.now, f)
		r.exhaust(f)
	default:
		r.lose(i, f)
	}
}

// Longest is how long the declared steps up to and with one wait at most, one after the other, as far as they say.
func (h Hub) Longest(step int) time.Duration {
	h = h.withDefaults()
	var p problems
	g := newGraph(&h, h.Plan.Steps, &p)
	if len(p.list) > 0 {
		return 0
	}
	until := make([]time.Duration, len(h.Plan.Steps))
	for _, i := range g.order {
		for _, d := range g.deps[i] {
			until[i] = max(until[i], until[d])
		}
		until[i] += longest(h.Plan.Steps[i].Wait, h.Plan.Steps[i].Await)
	}
	return until[step]
}
