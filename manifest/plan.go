package manifest

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"polity.run"
	"polity.run/fault"
	"polity.run/pattern"
)

// requestID is what a reference calls the request.
const requestID = "input"

// plan checks what a declared plan names, where it names it.
func (b *builder) plan(o *org) *pattern.Plan {
	at := o.path + ".plan"
	if len(o.as.Plan) > StepsMax {
		b.add(at, fmt.Sprintf("%d steps are more than %d", len(o.as.Plan), StepsMax), "make organizations of some of them")
		return nil
	}
	p := &planner{builder: b, org: o, base: at, index: map[stepID]int{}}
	p.steps()
	out := &pattern.Plan{}
	for i, s := range o.as.Plan {
		p.step(i, &s)
		lets := b.lets(b.defs[string(s.Agent)], fmt.Sprintf("%s[%d].approve", at, i), s.Approve)
		if s.Agent == "" && s.Approve != nil {
			lets = &polity.Approver{} // the pattern says that nobody is asked there
		}
		out.Steps = append(out.Steps, pattern.Step{
			ID: string(s.ID), Agent: polity.AgentName(s.Agent), Skill: string(s.Skill), DependsOn: texts(s.DependsOn),
			Input: s.Input.json, Objective: s.Objective, Optional: s.Optional, Bounds: b.bounds(s.Bounds),
			Wait: waits(s.Wait), Await: b.awaits(o, fmt.Sprintf("%s[%d].await", at, i), s.Await),
			Approve: lets,
		})
	}
	return out
}

func texts[T ~string](in []T) []string {
	var out []string
	for _, s := range in {
		out = append(out, string(s))
	}
	return out
}

// planner checks one plan.
type planner struct {
	*builder
	org   *org
	base  string         // the plan's path
	ids   []string       // of all steps, in order
	index map[stepID]int // the first step with an ID
}

func (p *planner) path(i int, field string) string { return fmt.Sprintf("%s[%d]%s", p.base, i, field) }

// steps collects the IDs.
func (p *planner) steps() {
	for i, s := range p.org.as.Plan {
		if first, twice := p.index[s.ID]; twice && s.ID != "" {
			p.add(p.path(i, ".id"), fmt.Sprintf("step %q is already declared by %s", s.ID, p.path(first, "")), "rename or delete one")
			continue
		}
		p.index[s.ID] = i
		p.ids = append(p.ids, string(s.ID))
	}
}

func (p *planner) step(i int, s *step) {
	if s.Agent == "" && s.Wait == nil && s.Await == nil && !p.at.has(p.path(i, ".agent")) {
		p.add(p.path(i, ""), "it says neither who is asked nor what is waited for", "write agent, wait or await")
		return
	}
	if s.Wait == nil && s.Await == nil {
		p.asks(i, s)
	}
	for j, id := range s.DependsOn {
		at := p.path(i, fmt.Sprintf(".depends_on[%d]", j))
		_, ok := p.index[id]
		switch {
		case !nameText.MatchString(string(id)): // reported by the decoder
		case !ok:
			p.unknown(at, "no step", string(id), p.ids)
		case slices.Contains(s.DependsOn[:j], id):
			p.add(at, fmt.Sprintf("step %q is listed twice", id), "delete one of them")
		}
	}
	for _, field := range []string{".input", ".await.match"} {
		if m, ok := p.at[p.path(i, field)]; ok {
			p.references(m.node, p.path(i, field))
		}
	}
}

// asks checks the step's agent and skill.
func (p *planner) asks(i int, s *step) {
	name := string(s.Agent)
	d := p.defs[name]
	switch {
	case !nameText.MatchString(name): // reported by the decoder
		return
	case d == nil && slices.Contains(p.org.as.Specialists, s.Agent): // reported there
		return
	case d == nil:
		p.unknown(p.path(i, ".agent"), "no agent", name, texts(p.org.as.Specialists))
		return
	case slices.Contains(p.org.meant, name): // under specialists it is misspelt, and reported there
		return
	case !slices.Contains(p.org.as.Specialists, s.Agent):
		p.add(p.path(i, ".agent"), fmt.Sprintf("agent %q is no specialist of this organization", name), "add it to specialists")
		return
	}
	var skills []string
	for _, skill := range d.Skills {
		skills = append(skills, skill.Name)
	}
	switch {
	case s.Skill == "" && p.at.has(p.path(i, ".skill")): // reported by the decoder
	case s.Skill == "" && len(skills) > 1:
		p.add(p.path(i, ".skill"), fmt.Sprintf("this field is missing; agent %q has several skills", name), "name one of "+strings.Join(skills, ", "))
	case s.Skill != "" && !slices.Contains(skills, string(s.Skill)):
		p.unknown(p.path(i, ".skill"), fmt.Sprintf("agent %q has no skill", name), string(s.Skill), skills)
	}
}

// references looks up what the texts of an input refer to, each where it stands.
func (p *planner) references(n *yaml.Node, path string) {
	switch n.Kind {
	case yaml.MappingNode:
		for k := 0; k+1 < len(n.Content); k += 2 {
			p.references(n.Content[k+1], path+keyPath(n.Content[k].Value))
		}
	case yaml.SequenceNode:
		for k, item := range n.Content {
			p.references(item, fmt.Sprintf("%s[%d]", path, k))
		}
	case yaml.ScalarNode:
		if isText(n) && strings.HasPrefix(n.Value, "$") && !strings.HasPrefix(n.Value, "$$") {
			p.reference(n, path)
		}
	}
}

// reference looks up one reference, and keeps its place for what the pattern finds.
func (p *planner) reference(n *yaml.Node, path string) {
	p.at[path] = mark{n, place{n.Line, n.Column}}
	id, field, _ := strings.Cut(n.Value[1:], ".")
	if _, ok := p.index[stepID(id)]; id != requestID && (!ok || id == "") {
		p.noStep(n, path, id, field)
	}
}

// noStep reports a reference to nothing.
func (p *planner) noStep(n *yaml.Node, path, id, field string) {
	if p.log.full() {
		return
	}
	known := append(slices.Clone(p.ids), requestID)
	fix := suggest(id, known) + "; for a text that begins with a dollar sign write $$"
	if near := fault.Nearest(id, known); near != "" {
		fix = fmt.Sprintf("did you mean %q?", strings.TrimSuffix("$"+near+"."+clip(field), "."))
	}
	p.log.add(place{n.Line, n.Column}, path, shown(n.Value)+" refers to no step", fix)
}
