package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"polity.run"
	"polity.run/agent"
)

// approveSkill is the skill of an agent, other than a person, that decides for others.
const approveSkill = "approve"

// approves makes what of a model waits for approval. It runs when all agents, and what the model may use, are known.
func (b *builder) approves(name string, w *approve) {
	if w == nil {
		return
	}
	def, at := b.defs[name], "agents"+keyPath(name)+".approve"
	out := &agent.Approve{By: polity.AgentName(w.By), Skill: b.approver(def, at+".by", string(w.By)), Timeout: polity.Duration(w.Timeout)}
	out.Tools = b.guardedTools(def.Model, at+".tools", w.Tools)
	out.Agents = b.guardedAgents(def.Model, at+".agents", w)
	if !b.at.has(at+".tools") && !b.at.has(at+".agents") {
		b.add(at, "nothing waits for approval", "add tools: or agents:, or delete it")
	}
	if !b.log.doubts(at) {
		def.Model.Approve = out
	}
}

// approver checks who decides, and returns the skill that is asked.
func (b *builder) approver(self *agent.Definition, path, name string) string {
	by := b.defs[name]
	switch {
	case name == "":
		return "" // reported by the decoder
	case by == nil:
		b.unknown(path, "no agent", name, slices.Sorted(maps.Keys(b.defs)))
		return ""
	case by == self:
		b.add(path, "the agent would approve what it does itself", "name a person")
		return ""
	case by.Kind == agent.KindHuman:
		return polity.ApproveSkill
	case !slices.ContainsFunc(by.Skills, func(s polity.Skill) bool { return s.Name == approveSkill }):
		b.add(path, "agent "+shown(name)+" is no person, and has no skill named approve", "name an agent of kind human, or add the skill")
	}
	return approveSkill
}

func (b *builder) guardedTools(m *agent.Model, at string, names []string) []agent.Guard {
	var known []string
	for _, t := range m.Tools {
		known = append(known, t.Name)
	}
	var out []agent.Guard
	for i, name := range names {
		path := fmt.Sprintf("%s[%d]", at, i)
		all := []string{name}
		if prefix, whole := strings.CutSuffix(name, "*"); whole && strings.HasSuffix(prefix, ".") {
			all = slices.DeleteFunc(slices.Clone(known), func(tool string) bool { return !strings.HasPrefix(tool, prefix) })
		}
		if name == "" {
			continue // reported by the decoder
		}
		if len(all) == 0 || !slices.Contains(known, all[0]) {
			if !b.log.doubts(strings.TrimSuffix(at, ".approve.tools") + ".tools") {
				b.unknown(path, "this agent may call no tool", name, known)
			}
			continue
		}
		for _, one := range all {
			spec, ok := b.tool(one)
			if ok && !slices.ContainsFunc(out, func(g agent.Guard) bool { return g.Name == one }) {
				out = append(out, agent.Guard{Name: one, Effect: spec.spec.Effect})
			}
		}
	}
	slices.SortFunc(out, byName)
	return out
}

func (b *builder) guardedAgents(m *agent.Model, at string, w *approve) []agent.Guard {
	var known []string
	for _, a := range m.Agents {
		known = append(known, string(a.Agent))
	}
	var out []agent.Guard
	for i, name := range w.Agents {
		path := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case name == "":
			continue // reported by the decoder
		case name == w.By:
			b.add(path, "this is who approves", "delete it; a question to a person does nothing by itself")
		case !slices.Contains(known, string(name)):
			if !b.log.doubts(strings.TrimSuffix(at, ".approve.agents") + ".agents") {
				b.unknown(path, "this agent may ask no agent", string(name), known)
			}
		case !slices.ContainsFunc(out, func(g agent.Guard) bool { return g.Name == string(name) }):
			out = append(out, agent.Guard{Name: string(name), Effect: effectOf(b.defs[string(name)])})
		}
	}
	slices.SortFunc(out, byName)
	return out
}

func byName(a, b agent.Guard) int { return strings.Compare(a.Name, b.Name) }

// effectOf is what an agent does to the world, as far as it says so.
func effectOf(d *agent.Definition) polity.Effect {
	switch {
	case d.Exec != nil:
		return d.Exec.Effect
	case d.HTTP != nil:
		return d.HTTP.Effect
	case d.Remote != nil:
		return d.Remote.Effect
	default:
		return ""
	}
}
