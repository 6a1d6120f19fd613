package run

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
)

const (
	// QuestionsMax is how many questions are told at once.
	QuestionsMax = 10_000

	questionTrees = 50 // that are looked at in one turn of the loop
)

// A command that a person does (Work.Person) waits as an await does: it holds no goroutine, and its tree sleeps. Nothing in the log tells of the asking. It
// follows from the command, which has no result yet, and so the question has the same key whatever happens to the node meanwhile. It is over when it
// is answered, when its time is, which began when it was decided, or when the command is cancelled.

// Question is what a person is asked.
type Question struct {
	Run     polity.RunID // that asks
	Name    string       // of the command
	Attempt int
	From    string // the agent that asks
	To      string // the person
	Skill   string
	Input   json.RawMessage
	Release Digest
	Since   time.Time
	Until   time.Time
}

// Key is the question's own, under which it is answered.
func (q *Question) Key() string { return polity.EffectKey(q.Run, q.Name, q.Attempt) }

// pose asks a person.
func (c *core) pose(p *pending) {
	p.posed = true
	p.due = p.ends()
	c.arm(timer{due: p.due, run: p.run, wait: p})
}

// ends is when a person's time is over.
func (p *pending) ends() time.Time { return p.since.Add(cmp.Or(p.work.Timeout, timeoutDefault)) }

// foresee has what persons are asked pass for asked, in a tree that is found in the log: then it can sleep before anything is begun.
func (c *core) foresee(r *run) {
	for _, p := range r.pending {
		if p.child != nil {
			c.foresee(p.child)
		} else if program := c.person(p); program != nil {
			p.work, p.posed = program.Work, true
			p.due = p.ends()
		}
	}
}

// person returns the program of a person whom a pending command asks, or nil.
func (c *core) person(p *pending) *Program {
	if p.cmd.Do != polity.DoAsk || p.child != nil || p.done || p.why != nil || p.refused != nil {
		return nil
	}
	program, err := c.catalog.Program(p.run.release, p.cmd.To)
	if err != nil || !program.Work.Person {
		return nil
	}
	return program
}

// poses says whether a run or one below it asks a person.
func (r *run) poses() bool {
	for _, p := range r.pending {
		if p.posed && p.why == nil || p.child != nil && p.child.poses() {
			return true
		}
	}
	return false
}

// questions appends what a run and those below it ask of persons.
func (c *core) questions(r *run, list []Question) []Question {
	for _, p := range r.pending {
		if p.child != nil {
			list = c.questions(p.child, list)
			continue
		}
		if program := c.person(p); program != nil {
			p.work = program.Work
			list = append(list, Question{
				Run: r.id, Name: p.cmd.Name, Attempt: p.cmd.Attempt, From: r.agent, To: p.cmd.To, Skill: p.cmd.Skill, Input: nonNil(p.cmd.Input),
				Release: r.release, Since: p.since, Until: p.ends(),
			})
		}
	}
	return list
}

// asks says whether people may be asked by a tree: one that is left alone asks nobody.
func (t *tree) asks() bool {
	return !t.idle && (t.root != nil && t.root.poses() || t.asleep && t.posing)
}

// questionsOf returns what a tree asks of persons. One that sleeps is folded beside the others, and sleeps on.
func (c *core) questionsOf(t *tree) ([]Question, error) {
	if !t.asks() {
		return nil, nil
	}
	if t.root != nil {
		return c.questions(t.root, nil), nil
	}
	fresh, err := c.remember(t)
	if err != nil {
		return nil, err
	}
	if fresh.stopped != nil || fresh.root == nil {
		return nil, nil // it is stopped when it is woken
	}
	list := c.questions(fresh.root, nil)
	c.aside.lose(fresh.root)
	c.aside.clear()
	return list, nil
}

// asking returns the trees that ask persons, in the order of opening, as many as can be told of.
func (c *core) asking() (list []*tree) {
	for _, t := range c.roots {
		if len(list) == QuestionsMax {
			break
		}
		if t.asks() {
			list = append(list, t)
		}
	}
	return list
}

// questionsOfAll returns what the first of some trees ask, as many as are worth a turn of the loop, and the other trees.
func (c *core) questionsOfAll(trees []*tree) (list []Question, rest []*tree, err error) {
	for i, t := range trees {
		if i == questionTrees {
			return list, trees[i:], nil
		}
		some, err := c.questionsOf(t)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, some...)
	}
	return list, nil, nil
}

// Questions returns what people are asked by runs and those below them, those of older runs first and at most QuestionsMax. Without
// runs it is what all ask. A run that is not there asks nothing.
func (p *Partition) Questions(ctx context.Context, of ...polity.RunID) ([]Question, error) {
	trees, err := ask(ctx, p, func(c *core, reply func([]*tree, error)) {
		trees := c.asking
		if len(of) > 0 {
			trees = func() []*tree { return c.named(of) }
		}
		reply(trees(), c.dead)
	})
	var all []Question
	for err == nil && len(trees) > 0 && len(all) < QuestionsMax {
		var some []Question
		some, err = ask(ctx, p, func(c *core, reply func([]Question, error)) {
			list, rest, err := c.questionsOfAll(trees)
			if err != nil {
				c.decline(err, func(err error) { reply(nil, err) })
				return
			}
			trees = rest
			c.answer(func(err error) { reply(list, err) })
		})
		all = append(all, some...)
	}
	if err != nil {
		return nil, err
	}
	return all[:min(len(all), QuestionsMax)], nil
}

// named returns the trees of runs that are there.
func (c *core) named(runs []polity.RunID) (list []*tree) {
	for _, id := range runs {
		if t := c.trees[id.Root()]; t != nil {
			list = append(list, t)
		}
	}
	return list
}

// Answer answers a question, and returns when that is durable. By is who does, "" if that is not known. It returns fault.NotFound if nobody asks it, or not
// any more, and what Program.Answer says of an answer that does not fit, with the question still open.
func (p *Partition) Answer(ctx context.Context, key string, answer json.RawMessage, by string) error {
	return p.call(ctx, func(c *core, done func(error)) { c.answered(key, answer, by, done) })
}

func (c *core) answered(key string, data json.RawMessage, by string, answer func(error)) {
	if c.dead != nil {
		answer(c.dead)
		return
	}
	p, program := c.asked(key)
	if p == nil {
		c.decline(fault.NotFound.New("nobody asks %q, or not any more; see: polity runs questions", key), answer)
		return
	}
	if program.Answer != nil {
		var err error
		if data, err = program.Answer(p.cmd.Skill, p.cmd.Input, data, by); err != nil {
			c.decline(err, answer)
			c.rest(p.run.tree)
			return
		}
	}
	c.done(p, result{data: data})
	c.answer(answer)
}

// asked returns the command of a question, with the program of the person, and wakes its tree; or nil.
func (c *core) asked(key string) (*pending, *Program) {
	id, command, _ := strings.Cut(key, "#")
	t := c.trees[polity.RunID(id).Root()]
	if t == nil || !t.asks() {
		return nil, nil
	}
	c.wake(t)
	if r := c.runs[polity.RunID(id)]; r != nil {
		if p := r.find(command); p != nil && p.posed {
			if program := c.person(p); program != nil {
				return p, program
			}
		}
	}
	c.rest(t)
	return nil, nil
}
