package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"polity.run"
	"polity.run/pattern"
)

func waits(w *pause) *pattern.Wait {
	if w == nil {
		return nil
	}
	return &pattern.Wait{For: polity.Duration(w.For), Until: time.Time(w.Until)}
}

// awaits makes what waits for an event at a path, and declares the signal that it waits for.
func (b *builder) awaits(o *org, at string, a *await) *pattern.Await {
	if a == nil {
		return nil
	}
	if a.Signal != "" {
		b.declare(o, a.Signal, b.schema(a.Schema, at+".schema"), at)
	} else if b.at.has(at + ".schema") {
		b.add(at+".schema", "only the data of a signal has a schema", "delete it, or write match")
	}
	return &pattern.Await{
		Signal: a.Signal, Topic: a.Topic, Match: a.Match.json, Same: a.Same, Within: polity.Duration(a.Within), Until: time.Time(a.Until),
		Into: a.Into, Fails: a.Fails, Else: a.Else.json,
	}
}

// declare has an organization take a signal. The same name with another schema is reported.
func (b *builder) declare(o *org, name string, schema json.RawMessage, at string) {
	if o.def.Signals == nil {
		o.def.Signals = map[string]json.RawMessage{}
	}
	if schema == nil {
		schema = json.RawMessage("{}")
	}
	before, twice := o.def.Signals[name]
	if twice && !bytes.Equal(before, schema) {
		b.add(at+".schema", "signal "+shown(name)+" has another schema before", "write the same one, or another signal")
		return
	}
	o.def.Signals[name] = schema
}

// outlives reports a stage of a sequence, or a step of a hub's plan, that waits longer than the run may last, but for what of its time is kept for undoing.
func (b *builder) outlives(o *org) {
	switch c := o.cfg.(type) {
	case *pattern.Sequence:
		for i, s := range c.Stages {
			if b.tooLong(fmt.Sprintf("%s.stages[%d]", o.path, i), "up to here the stages may wait for", c.Longest(i), s.Await != nil) {
				return
			}
		}
	case *pattern.Hub:
		if c.Plan == nil {
			return
		}
		for i, s := range c.Plan.Steps {
			if s.Wait != nil || s.Await != nil {
				if b.tooLong(fmt.Sprintf("%s.plan[%d]", o.path, i), "this and the steps that it depends on may wait for", c.Longest(i), s.Await != nil) {
					return
				}
			}
		}
	}
}

// tooLong reports what may wait for so long at a path, and says whether that is too long.
func (b *builder) tooLong(at, what string, sum time.Duration, await bool) bool {
	wall := time.Duration(b.file.Bounds.Wall)
	if wall == 0 {
		wall = time.Duration(polity.DefaultBounds().Wall)
	}
	reserve := b.undoReserve()
	stages := wall - wall*time.Duration(reserve)/100
	if sum <= stages {
		return false
	}
	field := ".wait.for"
	if await {
		field = ".await.within"
	}
	ends := fmt.Sprintf("a run ends after %s", wall)
	if reserve > 0 {
		ends = fmt.Sprintf("of the %s of a run %d %% are kept for undoing: its stages end after %s", wall, reserve, stages)
	}
	enough := (sum + wallReserve) * 100 / time.Duration(100-reserve)
	b.add(at+field, fmt.Sprintf("%s %s, and %s", what, sum, ends), fmt.Sprintf("write bounds: {wall: %s} or more, or wait less", enough.Truncate(time.Hour)))
	return true
}

// wallReserve is what a suggested bound has beside the waiting.
const wallReserve = time.Hour
