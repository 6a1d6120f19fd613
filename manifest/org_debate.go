package manifest

import (
	"polity.run"
	"polity.run/pattern"
)

// debate makes the configuration of a debate.
func (b *builder) debate(o *org) pattern.Config {
	d := &o.as.debate
	cfg := &pattern.Debate{
		Mode: string(d.Mode), Topic: d.Topic, Judge: polity.AgentName(d.Judge), Rounds: int(d.Rounds), Degree: int(d.Degree),
		Quorum: int(d.Quorum), Orders: int(d.Orders), Source: d.Source,
	}
	for _, one := range d.Debaters {
		cfg.Debaters = append(cfg.Debaters, pattern.Debater{
			Agent: polity.AgentName(one.Agent), Position: one.Position, Bounds: b.bounds(one.Bounds),
		})
	}
	for _, c := range d.Choices {
		cfg.Choices = append(cfg.Choices, pattern.Choice{Answer: c.Answer, Aliases: c.Aliases})
	}
	return cfg
}
