package manifest

import (
	"polity.run"
	"polity.run/pattern"
)

// debate makes the configuration of a debate.
func (b *builder) debate(o *org) pattern.Config {
	d := &o.as.debate
	cfg := &pattern.Debate{
		Mode: string(d.Mode), Topic: d.Topic, Judge: polity.AgentName(d.Judge), Degree: int(d.Degree),
		Quorum: int(d.Quorum), Orders: int(d.Orders), Source: d.Source,
	}
	if n := o.as.Rounds; n != nil {
		if cfg.Rounds = int(*n); cfg.Rounds == 0 {
			b.add(o.path+".rounds", "a debate without a round is a vote", "write at least 1, or leave it out for the default")
		}
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
