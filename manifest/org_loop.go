package manifest

import (
	"polity.run"
	"polity.run/pattern"
)

// loop makes the configuration of a loop.
func (b *builder) loop(o *org) pattern.Config {
	l := &o.as.loop
	return &pattern.Loop{
		Generator: polity.AgentName(l.Generator), Evaluator: polity.AgentName(l.Evaluator), Rounds: (*int)(o.as.Rounds), Patience: (*int)(l.Patience),
	}
}
