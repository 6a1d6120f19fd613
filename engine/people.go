package engine

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/work"
)

const questionsMax = 10_000 // that wait for people at once

// people holds what people are asked. After a crash the kernel asks again, under the same key.
type people struct {
	mu   sync.Mutex
	open []*asked // in the order of asking
}

type asked struct {
	question polity.Question
	check    work.Check
	done     func(json.RawMessage, error)
	leave    func() bool
}

// ask puts a question, and returns at once.
func (p *people) ask(ctx context.Context, def *agent.Definition, m polity.Message, check work.Check, done func(json.RawMessage, error)) {
	a := &asked{
		question: polity.Question{
			Key: m.ID, Run: polity.RunID(m.Correlation), Agent: m.To, From: m.From, Skill: m.Skill, Ask: def.Human.Ask, Input: m.Body, Since: time.Now(),
		},
		check: check, done: done,
	}
	for _, s := range def.Skills {
		if s.Name == m.Skill || m.Skill == "" {
			a.question.Output = s.Output
		}
	}
	if m.Skill == polity.ApproveSkill {
		if err := a.approval(); err != nil {
			done(nil, err)
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.open) >= questionsMax {
		done(nil, fault.Unavailable.New("human %s: %d questions wait already", m.To, questionsMax))
		return
	}
	p.open = append(p.open, a)
	a.leave = context.AfterFunc(ctx, func() {
		if p.take(m.ID, nil) == a {
			done(nil, fault.Cancelled.New("human %s: no longer asked", m.To))
		}
	})
}

// take removes a question that the check passes, and returns it or nil.
func (p *people) take(key string, pass func(*asked) bool) *asked {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.open, func(a *asked) bool { return a.question.Key == key })
	if i < 0 || pass != nil && !pass(p.open[i]) {
		return nil
	}
	a := p.open[i]
	p.open = slices.Delete(p.open, i, i+1)
	return a
}

// answer answers a question. By is who does; "" if that is not known, and the answer says it itself.
func (p *people) answer(key string, answer json.RawMessage, by string) error {
	var wrong error
	a := p.take(key, func(a *asked) bool {
		if by != "" && a.question.Approval != nil {
			answer = signed(answer, by)
		}
		wrong = a.check(answer)
		return wrong == nil
	})
	if errors.Is(wrong, fault.Conflict) {
		return fault.Conflict.New("approval: %w", wrong)
	}
	if wrong != nil {
		return fault.Invalid.New("answer: %w", wrong)
	}
	if a == nil {
		return fault.NotFound.New("nobody asks %q, or not any more; see: polity runs questions", key)
	}
	a.leave()
	a.done(answer, nil)
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

func (p *people) list() []polity.Question {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]polity.Question, len(p.open))
	for i, a := range p.open {
		out[i] = a.question
	}
	return out
}
