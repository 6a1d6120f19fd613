package manifest

import (
	"fmt"

	"polity.run"
	"polity.run/pattern"
)

// parallel makes the configuration of a parallel.
func (b *builder) parallel(o *org) pattern.Config {
	p := &o.as.parallel
	cfg := &pattern.Parallel{
		Join: o.as.Join.config(), Hedge: polity.Duration(o.as.Hedge.After), Checker: polity.AgentName(p.Checker), Merge: polity.AgentName(p.Merge),
	}
	if b.at.has(o.path + ".valid") {
		cfg.Valid = b.schema(p.Valid, o.path+".valid")
	}
	for i, s := range p.Branches {
		if i == WordsMax {
			break // the pattern says that there are too many
		}
		cfg.Branches = append(cfg.Branches, pattern.Branch{
			Agent: polity.AgentName(s.Agent), Skill: string(s.Skill), Objective: s.Objective, Input: s.Input.json, Bounds: b.bounds(s.Bounds),
		})
		b.spend(len(s.Input.json), fmt.Sprintf("%s.branches[%d].input", o.path, i))
	}
	return cfg
}
