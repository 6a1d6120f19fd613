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

// awaits makes a stage that waits for an event, and declares the signal that it waits for.
func (b *builder) awaits(o *org, stage int, a *await) *pattern.Await {
	if a == nil {
		return nil
	}
	at := fmt.Sprintf("%s.stages[%d].await", o.path, stage)
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
		b.add(at+".schema", "signal "+shown(name)+" has another schema in a stage before", "write the same one, or another signal")
		return
	}
	o.def.Signals[name] = schema
}

// outlives reports a stage that waits longer than the run may last, but for what of its time is kept for undoing.
func (b *builder) outlives(o *org, s *pattern.Sequence) {
	wall := time.Duration(b.file.Bounds.Wall)
	if wall == 0 {
		wall = time.Duration(polity.DefaultBounds().Wall)
	}
	reserve := b.undoReserve()
	stages := wall - wall*time.Duration(reserve)/100
	for i, one := range s.Stages {
		field := ".wait.for"
		if one.Await != nil {
			field = ".await.within"
		}
		sum := s.Longest(i)
		if sum <= stages {
			continue
		}
		ends := fmt.Sprintf("a run ends after %s", wall)
		if reserve > 0 {
			ends = fmt.Sprintf("of the %s of a run %d %% are kept for undoing: its stages end after %s", wall, reserve, stages)
		}
		enough := (sum + wallReserve) * 100 / time.Duration(100-reserve)
		b.add(fmt.Sprintf("%s.stages[%d]%s", o.path, i, field), fmt.Sprintf("up to here the stages may wait for %s, and %s", sum, ends),
			fmt.Sprintf("write bounds: {wall: %s} or more, or wait less", enough.Truncate(time.Hour)))
		return
	}
}

// wallReserve is what a suggested bound has beside the waiting.
const wallReserve = time.Hour
