package cli

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
)

// The states of a step.
const (
	stateRunning = "running"
	stateDone    = "done"
	stateFailed  = "failed"
)

// step is one thing that a run does: a command, or the run below it that a command opened. Both have
// the same ID, and are one step.
type step struct {
	id        polity.RunID
	name      string
	agent     string // who does it, if that is a run
	to        string // the agent, tool or model that does it, if that was told
	state     string
	start     time.Time
	end       time.Time
	fault     *fault.Error
	usage     polity.Usage
	output    json.RawMessage
	erased    bool            // it had an output, and that was erased
	receipt   json.RawMessage // what its destination gave as proof
	asked     bool            // its destination was asked what became of it
	cancelled bool            // it was asked to end
	told      string          // what else was told of it last
	steps     []*step
}

// tree is what is known of a run and everything below it.
type tree struct {
	root *step
	all  map[polity.RunID]*step
	live bool // the run goes on; else what is undone is not running
}

// newTree returns the tree of a run of which nothing is known yet.
func newTree(id polity.RunID) *tree {
	root := &step{id: id, name: string(id), state: stateRunning}
	return &tree{root: root, all: map[polity.RunID]*step{id: root}}
}

// change is what a notice changed.
type change byte

const (
	changeNone change = iota
	changeBegan
	changeEnded
	changeTold // something else that is worth a line
)

// apply takes a notice. It may come twice, and what was started may come late.
func (t *tree) apply(n polity.Notice) (*step, change) {
	switch n.Kind {
	case "opened":
		s := t.step(n.Run)
		s.agent = n.Agent
		return t.began(s, n)
	case "started", "began":
		s := t.step(n.Run.Child(n.Name, n.Attempt))
		s.to = cmp.Or(s.to, n.To)
		return t.began(s, n)
	case "result":
		state := stateDone
		if n.Fault != nil {
			state = stateOf(n.Fault)
		}
		return t.ended(t.step(n.Run.Child(n.Name, n.Attempt)), n, state)
	case "finished":
		state := n.Status
		if state == polity.StatusCompleted.String() {
			state = stateDone
		}
		return t.ended(t.step(n.Run), n, state)
	case "cancel":
		s := t.step(n.Run)
		s.cancelled, s.fault = true, n.Fault
		return s, changeTold
	case "expired":
		s := t.step(n.Run)
		s.told = "reached its time limit"
		return s, changeTold
	case "signalled", "paused", "resumed":
		s := t.step(n.Run)
		switch s.told = n.Kind; {
		case n.Kind == "signalled":
			s.told = "was told " + n.To
		case n.Reason != "":
			s.told += ": " + n.Reason
		}
		return s, changeTold
	default:
		return nil, changeNone
	}
}

func stateOf(f *fault.Error) string {
	switch f.Kind {
	case fault.Cancelled:
		return polity.StatusCancelled.String()
	case fault.Exhausted:
		return polity.StatusExhausted.String()
	default:
		return stateFailed
	}
}

func (t *tree) began(s *step, n polity.Notice) (*step, change) {
	if !s.start.IsZero() || !s.end.IsZero() {
		return s, changeNone
	}
	s.start = n.At
	return s, changeBegan
}

func (t *tree) ended(s *step, n polity.Notice, state string) (*step, change) {
	if !s.end.IsZero() {
		return s, changeNone
	}
	s.end, s.state, s.fault, s.usage, s.output = n.At, state, n.Fault, n.Usage, n.Data
	s.receipt, s.asked, s.erased = n.Receipt, n.Asked, n.Erased
	return s, changeEnded
}

// step returns the step with the ID, which it makes with those above it if need be.
func (t *tree) step(id polity.RunID) *step {
	if s := t.all[id]; s != nil {
		return s
	}
	parent := id.Parent()
	if parent == "" { // of another tree, which nobody asked for
		return &step{id: id, state: stateRunning}
	}
	s := &step{id: id, name: string(id[len(parent)+1:]), state: stateRunning}
	t.all[id] = s
	above := t.step(parent)
	above.steps = append(above.steps, s)
	return s
}

// undone lists the steps that began and have not ended and have none below them that did.
func (t *tree) undone() []*step {
	var list []*step
	var walk func(s *step) bool
	walk = func(s *step) bool {
		if !s.end.IsZero() {
			return false
		}
		below := false
		for _, child := range s.steps {
			below = walk(child) || below
		}
		if !below {
			list = append(list, s)
		}
		return true
	}
	for _, s := range t.root.steps {
		walk(s)
	}
	return list
}

// done counts the steps that ended well.
func (t *tree) done() int {
	n := 0
	for _, s := range t.all {
		if s != t.root && s.state == stateDone {
			n++
		}
	}
	return n
}

// path is a step's place below the root.
func (s *step) path() string {
	_, path, _ := strings.Cut(string(s.id), "/")
	return path
}

// who does a step, if that says more than its name.
func (s *step) who() string {
	who := cmp.Or(s.agent, s.to)
	if who == s.name {
		return ""
	}
	return who
}

// took is how long a step took, or has taken by now. It is 0 if that is not known.
func (s *step) took(now time.Time) time.Duration {
	if s.start.IsZero() {
		return 0
	}
	if !s.end.IsZero() {
		now = s.end
	}
	return max(now.Sub(s.start), 0)
}
