package pattern

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/rank"
)

// matchShare is the part of the best match's score below which the planner leaves a specialist out.
const matchShare = 0.25

// substitutesMax is how many specialists are considered for a step that failed.
const substitutesMax = 10

// scoreUnit rounds scores, so that an order never hangs on how a processor rounds.
const scoreUnit = 1e-6

// scores ranks the passages for the query, rounded.
func scores(passages []string, query string) []int64 {
	var rounded []int64
	for _, s := range rank.New(passages).Score(query) {
		rounded = append(rounded, int64(math.Round(s/scoreUnit)))
	}
	return rounded
}

// candidate is a specialist with the skill that fits best.
type candidate struct {
	agent *Member
	skill *polity.Skill
	score int64
}

// match makes a plan for the request's text: one step for each specialist with a skill that matches
// it, the best first. It returns Invalid, with the skills that there are, if none does.
func (h *Hub) match(text string) (Plan, error) {
	found := h.candidates(text)
	if len(found) == 0 {
		return Plan{}, fault.Invalid.New("hub: match request %q: no specialist has a skill for it; there are: %s",
			clip(text, 80), list(h.offers()))
	}
	var plan Plan
	for i, c := range found {
		if float64(c.score) < matchShare*float64(found[0].score) || i >= h.Caps.Steps {
			break
		}
		plan.Steps = append(plan.Steps, Step{
			ID: freeID(string(c.agent.Name), plan.Steps), Agent: c.agent.Name, Skill: c.skill.Name,
			Objective: c.skill.Description,
		})
	}
	return plan, nil
}

// candidates returns the specialists that match at all, the best first, equals as they are
// declared.
func (h *Hub) candidates(text string) []candidate {
	var all []candidate
	var passages []string
	for i := range h.Specialists {
		agent := &h.Specialists[i]
		for j := range agent.Skills {
			skill := &agent.Skills[j]
			all = append(all, candidate{agent: agent, skill: skill})
			passages = append(passages, strings.Join([]string{
				string(agent.Name), agent.Description, skill.Name, skill.Description, strings.Join(skill.Tags, " "),
			}, " "))
		}
	}
	var found []candidate
	for i, score := range scores(passages, text) {
		c := all[i]
		c.score = score
		last := len(found) - 1
		switch {
		case score <= 0:
		case last >= 0 && found[last].agent == c.agent:
			if score > found[last].score {
				found[last] = c
			}
		default:
			found = append(found, c)
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(b.score, a.score) })
	return found
}

// offers lists the skills that there are.
func (h *Hub) offers() []string {
	var all []string
	for i := range h.Specialists {
		for _, skill := range h.Specialists[i].Skills {
			all = append(all, fmt.Sprintf("%s (%s)", skill.Name, h.Specialists[i].Name))
		}
	}
	return all
}

// freeID makes a step's ID of an agent's name.
func freeID(name string, taken []Step) string {
	id := name[:min(len(name), idMax)]
	for n := 2; slices.Contains(reserved, id) || slices.Contains(ids(taken), id); n++ {
		end := fmt.Sprintf("-%d", n)
		id = name[:min(len(name), idMax-len(end))] + end
	}
	return id
}

// substitutes returns the agents, other than those already tried, that have a skill like the
// step's: of the same name, or sharing a tag. The most alike comes first, equals as they are
// declared.
func (h *Hub) substitutes(s *Step, tried []polity.AgentName) []candidate {
	agent := h.specialist(s.Agent)
	if agent == nil {
		return nil
	}
	want := agent.skill(s.Skill)
	if want == nil {
		return nil
	}
	var found []candidate
	for i := range h.Specialists {
		other := &h.Specialists[i]
		if slices.Contains(tried, other.Name) {
			continue
		}
		best := candidate{agent: other}
		for j := range other.Skills {
			if score := alike(want, &other.Skills[j]); score > best.score {
				best.skill, best.score = &other.Skills[j], score
			}
		}
		if best.score > 0 {
			found = append(found, best)
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(b.score, a.score) })
	return found[:min(len(found), substitutesMax)]
}

// alike weighs how well skill b stands in for a: 0 is not at all, a shared name outweighs tags.
func alike(a, b *polity.Skill) int64 {
	var score int64
	if a.Name == b.Name {
		score = skillsMax
	}
	for _, tag := range a.Tags {
		if slices.Contains(b.Tags, tag) {
			score++
		}
	}
	return score
}

// revise returns the steps with step i given to another specialist, and their graph. The new plan
// differs in that step from all that was tried, asks nothing twice, and passes the same checks as
// the old one. If there is no such plan, why says so.
func (h *Hub) revise(steps []Step, i int, tried []polity.AgentName) (revised []Step, g *graph, why string) {
	found := h.substitutes(&steps[i], tried)
	if len(found) == 0 {
		return nil, nil, fmt.Sprintf("no other specialist has a skill %q or one of its tags", steps[i].Skill)
	}
	for _, c := range found {
		revised = slices.Clone(steps)
		revised[i].Agent, revised[i].Skill = c.agent.Name, c.skill.Name
		if j := twin(revised, i); j >= 0 {
			why = fmt.Sprintf("%s already does the same in step %q", c.agent.Name, revised[j].ID)
			continue
		}
		var p problems
		if g = newGraph(h, revised, &p); len(p.list) == 0 {
			return revised, g, ""
		}
		why = fmt.Sprintf("%s does not fit: %s", c.agent.Name, clip(p.list[0].Error(), noteMax/2))
	}
	return nil, nil, why
}

// twin returns a step that asks the same as step i, or -1.
func twin(steps []Step, i int) int {
	return slices.IndexFunc(steps, func(s Step) bool {
		return s.ID != steps[i].ID && s.Agent == steps[i].Agent && s.Skill == steps[i].Skill &&
			s.Objective == steps[i].Objective && string(s.Input) == string(steps[i].Input)
	})
}

// normal returns the steps as they are executed: with the skill named and every dependency listed.
func (h *Hub) normal(steps []Step, g *graph) []Step {
	steps = slices.Clone(steps)
	for i := range steps {
		s := &steps[i]
		if m := h.specialist(s.Agent); m != nil {
			if skill := m.skill(s.Skill); skill != nil {
				s.Skill = skill.Name
			}
		}
		s.DependsOn = nil
		for _, d := range g.deps[i] {
			s.DependsOn = append(s.DependsOn, steps[d].ID)
		}
	}
	return steps
}

// questionOf returns the question of a request, and the text that the planner matches.
func questionOf(request json.RawMessage) (question, text string) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(request, &question) == nil {
		return question, question
	}
	if json.Unmarshal(request, &fields) == nil {
		objective := textOf(fields["objective"])
		question = cmp.Or(textOf(fields["question"]), objective)
		if text = question; objective != question {
			text = strings.TrimSpace(question + " " + objective)
		}
	}
	if strings.TrimSpace(text) == "" {
		text = string(request)
	}
	return question, text
}

// textOf returns a JSON string's text, and "" for any other value.
func textOf(value json.RawMessage) string {
	var s string
	if json.Unmarshal(value, &s) != nil {
		return ""
	}
	return s
}
