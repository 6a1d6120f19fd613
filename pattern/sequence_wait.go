package pattern

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
)

// Wait is a stage that lets time pass. What the stage before answered goes on to the next one.
type Wait struct {
	For   polity.Duration `json:"for,omitempty"`
	Until time.Time       `json:"until,omitzero"` // instead of For
}

// Await is a stage that waits for a signal or for an event on a topic. Its answer is the event's data.
type Await struct {
	Signal string `json:"signal,omitempty"`
	Topic  string `json:"topic,omitempty"` // a pattern: see polity.CheckPattern
	// Match is an object that the event's data must have, and Same names fields of it that must be as in what the stage before answered.
	Match json.RawMessage `json:"match,omitempty"`
	Same  []string        `json:"same,omitempty"`
	// Within and Until say when the time is over. Without one of them it is waited as long as the run may last.
	Within polity.Duration `json:"within,omitempty"`
	Until  time.Time       `json:"until,omitzero"`
	// Into is the field in which the event's data joins what the stage before answered, an object; "" lets it take its place.
	Into string `json:"into,omitempty"`
	// Fails is a condition on the event's data (polity.Where) with which the stage fails; "" for none.
	Fails string `json:"fails,omitempty"`
	// Else is what takes the place of the event's data when the time is over; empty: the stage fails.
	Else json.RawMessage `json:"else,omitempty"`
}

// PublishTool is the tool by which a sequence publishes. A release pins it for a sequence that does.
const PublishTool = "topics.publish"

// Publish is a stage that tells what the stage before answered, on a topic. That goes on to the next one.
type Publish struct {
	Topic string `json:"topic"`
}

// check reports what is wrong with a stage that asks no agent; i is its position.
func (s *Stage) check(i int, p *problems) {
	at := func(field string) where { return in("stages[%d]%s", i, field) }
	kinds := 0
	for _, there := range []bool{s.Agent != "", s.Wait != nil, s.Await != nil, s.Publish != nil} {
		if there {
			kinds++
		}
	}
	switch {
	case kinds == 0:
		p.add(at(""), "it says neither who is asked nor what is waited for; write agent, wait, await or publish")
		return
	case kinds > 1 && (kinds > 2 || s.Publish == nil || s.Await == nil):
		p.add(at(""), "it is more than one of agent, wait, await and publish; write a stage for each")
		return
	case s.Agent != "":
		return
	}
	for _, f := range []struct {
		field string
		there bool
	}{{".skill", s.Skill != ""}, {".objective", s.Objective != ""}, {".bounds", s.Bounds != (polity.Bounds{})}, {".undo", s.Undo != nil}, {".approve", s.Approve != nil}} {
		if f.there {
			p.add(at(f.field), "this belongs to a stage that asks an agent; delete it")
		}
	}
	if s.Publish != nil {
		if err := polity.CheckTopic(s.Publish.Topic); err != nil {
			p.add(at(".publish.topic"), "%s", err)
		}
	}
	if s.Publish != nil && s.Await == nil {
		return
	}
	if s.Wait != nil {
		s.Wait.check(s.Optional, at, p)
		return
	}
	s.Await.check(s.Optional, at, p)
	if s.Publish != nil && s.Await.Signal != "" {
		p.add(at(".await.signal"), "what is published is answered by an event; write topic, or a stage for each")
	}
}

// check reports what is wrong with waiting for a time, in a stage or a step whose fields are at places.
func (w *Wait) check(optional bool, at func(field string) where, p *problems) {
	switch {
	case w.For <= 0 == w.Until.IsZero():
		p.add(at(".wait"), "say how long (for: 2h) or until when (until: \"2026-12-24T08:00:00+01:00\"), one of them")
	case optional:
		p.add(at(".optional"), "time passes anyhow; delete it")
	}
}

// check reports what is wrong with waiting for an event, in a stage or a step whose fields are at places.
func (a *Await) check(optional bool, at func(field string) where, p *problems) {
	if err := (polity.Awaited{Signal: a.Signal, Topic: a.Topic, Match: a.Match}).Check(); err != nil {
		p.add(at(".await"), "%s", err)
	}
	switch {
	case a.Within > 0 && !a.Until.IsZero():
		p.add(at(".await.until"), "there is within as well; write one of them")
	case len(a.Else) > 0 && a.Within <= 0 && a.Until.IsZero():
		p.add(at(".await.else"), "the time is never over; add within or until")
	case len(a.Else) > 0 && optional:
		p.add(at(".optional"), "with else there is an answer anyhow; delete one of them")
	}
	if slices.Contains(a.Same, "") {
		p.add(at(".await.same"), "an empty name")
	}
	if where, err := polity.ParseWhere(a.Fails); a.Fails != "" && err != nil {
		p.add(at(".await.fails"), "%s", err)
	} else if i := slices.IndexFunc(where.Fields(), func(f string) bool { return !strings.HasPrefix(f, "data") }); i >= 0 {
		p.add(at(".await.fails"), "%s is not looked at here, only data is; write data.FIELD", where.Fields()[i])
	}
}

// longest is how long is waited at most, as far as that is a time of its own.
func longest(w *Wait, a *Await) time.Duration {
	switch {
	case w != nil:
		return time.Duration(w.For)
	case a != nil:
		return time.Duration(a.Within)
	}
	return 0
}

// Longest is how long the stages up to and with one wait at most, as far as they say.
func (s Sequence) Longest(stage int) time.Duration {
	var sum time.Duration
	for i := range s.Stages[:stage+1] {
		sum += longest(s.Stages[i].Wait, s.Stages[i].Await)
	}
	return sum
}

// awaits begins a stage that asks no agent.
func (r *sequenceRun) awaits(s *Stage) {
	name := fmt.Sprintf("stage%d.", r.next+1)
	if s.Publish != nil && s.Await == nil {
		r.publish(s)
		return
	}
	if w := s.Wait; w != nil {
		c := polity.Sleep(name+"wait", time.Duration(w.For))
		c.At = w.Until
		r.await(c)
		return
	}
	a := s.Await
	match, err := a.match(r.value)
	if err != nil {
		r.give(fault.Invalid.New("sequence: stage %d of %d: %w", r.next+1, len(r.cfg.Stages), err))
		return
	}
	c := polity.Await(name+"await", polity.Awaited{Signal: a.Signal, Topic: a.Topic, Match: match}, time.Duration(a.Within))
	c.At = a.Until
	r.await(c)
	if s.Publish != nil {
		r.publish(s)
	}
}

// publish tells what the stage before answered.
func (r *sequenceRun) publish(s *Stage) {
	input, err := publication(s.Publish, r.value)
	if err != nil {
		r.desk.fail(err)
		return
	}
	q := question{name: fmt.Sprintf("stage%d.publish", r.next+1), tool: PublishTool, input: input}
	if r.cfg.Failed != nil {
		q.retries = outcomeRetries
	}
	r.ask(q)
}

func publication(p *Publish, data json.RawMessage) (json.RawMessage, error) {
	return marshal(struct {
		Topic string          `json:"topic"`
		Data  json.RawMessage `json:"data"`
	}{p.Topic, data})
}

// published takes that a stage which awaits an answer has published. The answer may have come.
func (r *sequenceRun) published() {
	if e := r.heard; e != nil {
		r.heard = nil
		r.awaited(*e)
	}
}

// unheard ends the wait for an answer to what could not be published.
func (r *sequenceRun) unheard() {
	r.heard = nil
	if r.waits != "" {
		r.cancel(r.waits)
		r.waits = ""
	}
}

// match is what the event's data must have, with what the value says.
func (a *Await) match(value json.RawMessage) (json.RawMessage, error) {
	if len(a.Same) == 0 {
		return a.Match, nil
	}
	var have, want map[string]json.RawMessage
	if err := json.Unmarshal(value, &have); err != nil {
		return nil, fault.Invalid.New("same: what the stage before answered is not an object")
	}
	if len(a.Match) > 0 {
		if err := json.Unmarshal(a.Match, &want); err != nil {
			return nil, fault.Internal.New("match: %w", err)
		}
	} else {
		want = map[string]json.RawMessage{}
	}
	for _, field := range a.Same {
		v, there := have[field]
		if !there {
			return nil, fault.Invalid.New("same: what the stage before answered has no field %q", field)
		}
		want[field] = v
	}
	match, err := marshal(want)
	if err == nil && len(match) > polity.MatchMax {
		err = fault.Invalid.New("same: the fields have %d bytes; the most is %d", len(match), polity.MatchMax)
	}
	return match, err
}

// awaited takes what came of a stage that waits.
func (r *sequenceRun) awaited(e polity.Event) {
	s := &r.cfg.Stages[r.next]
	if len(r.desk.open) > 0 { // it has not published yet
		e.Data = bytes.Clone(e.Data)
		r.heard = &e
		return
	}
	d := Done{Name: e.Name, Attempts: 1, Took: polity.Duration(r.now.Sub(r.awaiting)), Fault: e.Fault}
	value, f := bytes.Clone(e.Data), e.Fault
	if f != nil && f.Kind == fault.Timeout && s.Await != nil && len(s.Await.Else) > 0 {
		value, f = s.Await.Else, nil
	} else if f == nil && s.Await != nil {
		f = s.Await.failed(value)
		d.Fault = f
	}
	if f == nil && s.Await != nil {
		if value, f = s.Await.join(r.value, value); f != nil {
			d.Fault = f
		}
	}
	if f != nil && r.exhausted != nil && r.stopped == nil {
		return // idle ends the run
	}
	r.stages = append(r.stages, d)
	if f == nil && s.Await != nil {
		r.value = value
	}
	switch {
	case r.stopped != nil: // what was done is undone
	case f == nil, s.Optional:
		r.next++
	default:
		r.lost("await", f)
	}
}

// failed is why the stage has failed with an event's data, or nil.
func (a *Await) failed(data json.RawMessage) *fault.Error {
	if a.Fails == "" {
		return nil
	}
	where, err := polity.ParseWhere(a.Fails)
	switch {
	case err != nil:
		return fault.Of(err)
	case !where.Holds(polity.Published{Data: data}):
		return nil
	}
	var why struct{ Failed Failure }
	if json.Unmarshal(data, &why) == nil && why.Failed.Text != "" {
		return fault.Of(fault.Failed.New("it was told that this failed: %s", clip(why.Failed.Text, problemMax)))
	}
	return fault.Of(fault.Failed.New("what was awaited has %s: %s", a.Fails, clip(string(data), problemMax)))
}

// join puts an event's data where the next stage finds it.
func (a *Await) join(value, data json.RawMessage) (json.RawMessage, *fault.Error) {
	if a.Into == "" {
		return data, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(value, &fields); err != nil || fields == nil {
		return nil, fault.Of(fault.Invalid.New("into %s: what the stage before answered is not an object", a.Into))
	}
	fields[a.Into] = data
	out, err := marshal(fields)
	if err != nil {
		return nil, fault.Of(err)
	}
	return out, nil
}
