package engine

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/internal/run"
	"polity.run/internal/work"
	"polity.run/tool"
)

// Questions are what people are asked by running runs and have not answered, the oldest first, and at most 10,000. With runs it is what those and the ones below them ask.
func (e *Engine) Questions(ctx context.Context, of ...polity.RunID) ([]polity.Question, error) {
	open, err := e.part.Questions(ctx, of...)
	if err != nil {
		return nil, err
	}
	out := make([]polity.Question, len(open))
	for i := range open {
		if out[i], err = e.catalog.worded(&open[i]); err != nil {
			return nil, fault.Of(err).Kind.New("question %s: %w", open[i].Key(), err)
		}
	}
	slices.SortStableFunc(out, func(a, b polity.Question) int { return a.Since.Compare(b.Since) })
	return out, nil
}

// Answer answers a question, and returns when that is durable. It returns fault.NotFound if nobody asks it (any more), and with the question still
// open fault.Invalid for an answer that the skill's output schema does not accept, and fault.Conflict for one that approves another action. A decision
// about an action says by whom it is, if the context knows who asks.
func (e *Engine) Answer(ctx context.Context, key string, answer json.RawMessage) error {
	return e.part.Answer(ctx, key, answer, access.From(ctx).Name)
}

// worded adds what a person's definition says to a question. Whose action is to be approved says the kernel, whatever the question says.
func (c *catalog) worded(q *run.Question) (polity.Question, error) {
	out := polity.Question{
		Key: q.Key(), Run: q.Run, Agent: polity.AgentName(q.To), From: polity.AgentName(q.From), Skill: q.Skill, Input: q.Input, Since: q.Since, Until: q.Until, Org: c.name(q.Release),
	}
	e, err := c.agent(q.Release, q.To)
	if err != nil {
		return out, err
	}
	out.Ask = e.def.Human.Ask
	for _, s := range e.def.Skills {
		if s.Name == q.Skill || q.Skill == "" {
			out.Output = s.Output
		}
	}
	if q.Skill != polity.ApproveSkill {
		return out, nil
	}
	if out.Approval, err = readApproval(q.Input); err != nil {
		return out, err
	}
	out.Approval.Run, out.Approval.Agent = q.Run, out.From
	out.Output = json.RawMessage(polity.DecisionSchema)
	return out, nil
}

// compilePerson makes an agent of a person, who has the skill to approve as everyone of them does.
func (c *catalog) compilePerson(e *entry) error {
	approve, err := approving()
	if err != nil {
		return err
	}
	e.skills[polity.ApproveSkill] = approve
	e.program.Answer = func(name string, input, answer json.RawMessage, by string) (json.RawMessage, error) {
		s, err := e.skill(name)
		if err != nil {
			return nil, err
		}
		if len(answer) > tool.OutputMaxDefault {
			return nil, fault.Invalid.New("answer: %d bytes; the most is %d", len(answer), tool.OutputMaxDefault)
		}
		check := s.out
		if name == polity.ApproveSkill {
			about, err := readApproval(input)
			if err != nil {
				return nil, err
			}
			check = deciding(check, about.Hash)
			if by != "" {
				answer = signed(answer, by)
			}
		}
		return answer, wrong(check, answer)
	}
	return nil
}

// signed is a decision that says by whom it is. What is no object stays as it is: it is refused.
func signed(answer json.RawMessage, by string) json.RawMessage {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(answer, &fields); err != nil || fields == nil {
		return answer
	}
	name, err := json.Marshal(by)
	if err != nil {
		return answer
	}
	fields["by"] = name
	if data, err := json.Marshal(fields); err == nil {
		return data
	}
	return answer
}

// wrong says why an answer is not taken.
func wrong(check work.Check, answer json.RawMessage) error {
	switch err := check(answer); {
	case err == nil:
		return nil
	case errors.Is(err, fault.Conflict):
		return fault.Conflict.New("approval: %w", err)
	default:
		return fault.Invalid.New("answer: %w", err)
	}
}
