package script

import (
	"encoding/json"
	"fmt"
	"slices"

	"polity.run/fault"
	"polity.run/saga"
)

// Undoing says how a saga is undone. The zero value is good for most.
type Undoing struct {
	// AtOnce has all steps undone side by side instead of one after the other, the last one first.
	AtOnce bool
	// Stuck is called about each step that could not be undone, as to ask a person, and returns what they did about it. Nil: it is only reported.
	Stuck func(c *Context, left saga.Left) (json.RawMessage, error)
}

// Why is why a step is undone.
type Why struct {
	Reason  string
	Unknown bool // nobody knows whether the step was done
}

// Steps are the steps of a saga that is under way.
type Steps struct {
	c       *Context
	cfg     Undoing
	account saga.Account
	undo    map[string]func(c *Context, why Why) error
	began   []*Future // each step, until it ends
}

// Saga calls body, which does steps. If body returns nil they stay done. If it returns an error, also because a bound was reached or the run is
// cancelled, what was done is undone, and then the error is returned, with what became of it. If the script ends with an error after that, the
// run's output is {"saga": ...} with a saga.Report. Steps that body began in branches and did not wait for are waited for first.
//
// A run that is cancelled while a saga has steps waits until they are undone, also if the last one succeeded all the same: see polity.Stopper. A
// panic undoes nothing.
func Saga(c *Context, cfg Undoing, body func(s *Steps) error) error {
	if _, err := c.live.enter("Saga"); err != nil {
		return err
	}
	s := &Steps{c: c, cfg: cfg, account: saga.Account{AtOnce: cfg.AtOnce}, undo: map[string]func(*Context, Why) error{}}
	c.live.sagas = append(c.live.sagas, s)
	err := body(s)
	if why := c.live.stopping; err == nil && why != nil && s.undoes() { // it was told to end when nothing was left that could be cancelled
		err = why
	}
	if err != nil {
		err = s.back(err)
	}
	c.live.sagas = slices.DeleteFunc(c.live.sagas, func(o *Steps) bool { return o == s })
	return err
}

// Do does a step: one thing, which was not done if it fails, unless its fault says that nobody knows. The name says which, and is unique in the
// saga. undo undoes it, by a context whose commands may use what the run's bounds keep for undoing, and are tried again as by Retry; it must do
// no harm if it is asked twice. Nil: there is nothing to undo.
func (s *Steps) Do(name string, do func() error, undo func(c *Context, why Why) error) error {
	if s.account.Begun() {
		return fault.Cancelled.New("script: step %s: the saga is being undone", name)
	}
	if _, twice := s.undo[name]; twice {
		return fault.Internal.New("script: the step %q is done twice in a saga", name)
	}
	s.undo[name] = undo
	step := &Future{live: s.c.live}
	s.began = append(s.began, step)
	err := do()
	s.did(name, fault.Of(err))
	step.settle(nil)
	return err
}

func (s *Steps) did(name string, f *fault.Error) {
	act := saga.Act{Name: name}
	switch {
	case f != nil && !saga.MayBeDone(f, false):
		return
	case f != nil:
		act.Unknown = true
	}
	if s.undo[name] == nil {
		if f == nil || f.Kind != fault.Unknown {
			return
		}
		act.Left = "nobody knows whether it was done, and nothing says how it is undone: " + f.Text
	}
	s.account.Did(act)
}

// undoes says whether something was done that has to be undone when the run ends here, or may be under way.
func (s *Steps) undoes() bool {
	return !s.account.Empty() || slices.ContainsFunc(s.began, func(f *Future) bool { return !f.done })
}

// back undoes what was done, and returns the error with what became of it.
func (s *Steps) back(err error) error {
	for _, step := range s.began {
		if waited := s.c.live.wait(1, 0, step); waited != nil {
			return waited
		}
	}
	if s.account.Empty() {
		return err
	}
	f := fault.Of(err)
	s.account.Begin(f.Text)
	c := s.c.Retry(Retry{})
	c.undo = true
	for acts := s.account.Next(); len(acts) > 0; acts = s.account.Next() {
		s.undoAll(c, acts)
	}
	if s.cfg.Stuck != nil {
		for _, left := range s.account.Stuck() {
			if said, err := s.cfg.Stuck(c, left); err != nil {
				s.account.Unmended(left.Stage, fault.Of(err).Text)
			} else {
				s.account.Mended(left.Stage, nonEmpty(said))
			}
		}
	}
	report := s.account.Report()
	s.c.live.reports = append(s.c.live.reports, report)
	text := fmt.Sprintf("%s; what was done is %s", f.Text, report.Status)
	if f.Bound != "" {
		return fault.Exceeded(f.Bound, "%s", text)
	}
	return f.Kind.New("%s", text)
}

// undoAll undoes acts side by side; there are several only with AtOnce.
func (s *Steps) undoAll(c *Context, acts []saga.Act) {
	futures := make([]*Future, len(acts))
	for i, act := range acts {
		why := Why{s.account.Why(), act.Unknown}
		futures[i] = c.Go(func() error { return s.undo[act.Name](c, why) })
	}
	for i, f := range futures {
		if err := f.Await(); err != nil {
			f := fault.Of(err)
			s.account.Failed(acts[i].Name, fmt.Sprintf("%s: %s", f.Kind, f.Text))
		} else {
			s.account.Undid(acts[i].Name, saga.Undone{Name: acts[i].Name})
		}
	}
}

func nonEmpty(said json.RawMessage) json.RawMessage {
	if len(said) == 0 {
		return json.RawMessage("null")
	}
	return said
}
