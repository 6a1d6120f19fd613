package manifest

import (
	"fmt"
	"maps"
	"slices"

	"polity.run"
	"polity.run/agent"
	"polity.run/pattern"
)

// skillRules makes how skills are undone, and who lets them go. It runs when all agents, and what models may ask, are known.
func (b *builder) skillRules() {
	for _, name := range b.agentNames() {
		def := b.defs[name]
		for i, s := range b.file.Agents[word(name)].Skills {
			at := fmt.Sprintf("agents%s.skills[%d]", keyPath(name), i)
			j := slices.IndexFunc(def.Skills, func(k polity.Skill) bool { return k.Name == string(s.Name) })
			if j < 0 {
				continue // reported as declared twice
			}
			def.Skills[j].Undo = b.undoneBy(def, at+".undo", &s)
			def.Skills[j].Approve = b.lets(def, at+".approve", s.Approve)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.defs)) {
		if m := b.defs[name].Model; m != nil {
			b.unguarded(name, m)
		}
	}
}

// undoneBy checks how a skill is undone.
func (b *builder) undoneBy(d *agent.Definition, at string, s *skill) *polity.Undo {
	if s.Undo == nil || s.Undo.Skill == "" {
		return nil // missing is reported by the decoder
	}
	out := &polity.Undo{Skill: string(s.Undo.Skill), Input: s.Undo.Input.json}
	var others []string
	for _, o := range d.Skills {
		if o.Name != string(s.Name) {
			others = append(others, o.Name)
		}
	}
	if !slices.Contains(others, out.Skill) {
		b.unknown(at+".skill", "this agent has no other skill", out.Skill, others)
	}
	if err := pattern.CheckUndo(out.Input); err != nil {
		b.add(at+".input", oneLine(err), "write $input or $output, and a field of it, as in $output.id")
	}
	return out
}

// lets is who lets something of an agent go.
func (b *builder) lets(d *agent.Definition, at string, w *lets) *polity.Approver {
	if w == nil || d == nil {
		return nil
	}
	skill := b.approver(d, at+".by", string(w.By))
	return &polity.Approver{By: polity.AgentName(w.By), Skill: skill, Timeout: polity.Duration(w.Timeout), Effect: effectOf(d)}
}

// unguarded reports what a model could ask without the approval that its skill needs.
func (b *builder) unguarded(name string, m *agent.Model) {
	for i, pin := range m.Agents {
		if m.Approve != nil && slices.ContainsFunc(m.Approve.Agents, func(g agent.Guard) bool { return g.Name == string(pin.Agent) }) {
			continue
		}
		for _, s := range b.defs[string(pin.Agent)].Skills {
			if s.Approve != nil && (pin.Skill == "" || pin.Skill == s.Name) {
				b.add(fmt.Sprintf("agents%s.agents[%d]", keyPath(name), i), fmt.Sprintf("skill %s of %s waits for approval, and this model would ask for it without", s.Name, pin.Agent),
					fmt.Sprintf("add approve: {by: %s, agents: [%s]}", s.Approve.By, pin.Agent))
			}
		}
	}
}

// undoes says whether anything in the manifest says how it is undone, or where it is told that it was: then a part of the bounds is kept for that.
func (b *builder) undoes() bool {
	for _, d := range b.defs {
		if slices.ContainsFunc(d.Skills, func(s polity.Skill) bool { return s.Undo != nil }) {
			return true
		}
	}
	for _, o := range b.orgs {
		if s, ok := o.cfg.(*pattern.Sequence); ok && (s.Failed != nil || slices.ContainsFunc(s.Stages, func(one pattern.Stage) bool { return one.Undo != nil })) {
			return true
		}
	}
	return false
}

// approversOf lists who lets go what an organization asks.
func approversOf(cfg pattern.Config) []string {
	var names []string
	add := func(a *polity.Approver) {
		if a != nil {
			names = append(names, string(a.By))
		}
	}
	switch c := cfg.(type) {
	case *pattern.Sequence:
		for _, s := range c.Stages {
			add(s.Approve)
		}
	case *pattern.Hub:
		if c.Plan != nil {
			for _, s := range c.Plan.Steps {
				add(s.Approve)
			}
		}
	}
	return names
}

// undoReserve is the percentage of the bounds that is kept for undoing.
func (b *builder) undoReserve() int {
	if kept := int(b.file.Bounds.Reserve); kept > 0 || !b.undoes() {
		return kept
	}
	return polity.UndoReserveDefault
}
