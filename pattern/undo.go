package pattern

import (
	"encoding/json"
	"fmt"
	"slices"

	"polity.run"
	"polity.run/fault"
	"polity.run/saga"
)

// undoer undoes through a desk what a run has done. It is part of a run's state.
type undoer struct {
	saga.Account
	desk    *desk
	members []Member
	any     bool             // something of the organization says how it is undone
	stuck   polity.AgentName // who is asked, as a person, about what cannot be undone; "" for nobody
	how     map[string]undoing
	fault   *fault.Error // that the run ends with
}

// undoing is how an act is undone.
type undoing struct {
	to    *Member
	skill string
	input json.RawMessage // of its skill's undo; empty for a saga.Brief
}

// did keeps account of a command that was answered. by undoes it; nil for what leaves nothing behind.
func (u *undoer) did(act saga.Act, a *answer, by *undoing) {
	inner := saga.Of(a.partial)
	switch {
	case inner != nil && inner.Status != saga.Partly: // it undid by itself what it had done
		return
	case inner != nil:
		act.Left = fmt.Sprintf("its own undoing is only partly done: %s", plural(len(inner.Left), "thing"))
	case by == nil && u.any && !a.good() && a.fault.Kind == fault.Unknown:
		act.Left = "nobody knows whether it was done, and nothing says how it is undone: " + a.fault.Text
	case by == nil:
		return
	case a.good():
		act.Output = a.output
	case a.doubt, saga.MayBeDone(a.fault, a.usage != polity.Usage{}):
		act.Unknown = true
	default:
		return
	}
	if u.how == nil {
		u.how = map[string]undoing{}
	}
	if by != nil {
		u.how[act.Name] = *by
	}
	u.Did(act)
}

// because begins undoing; the run will end with the fault.
func (u *undoer) because(f *fault.Error) {
	if !u.Begun() {
		u.fault = f
		u.Begin(f.Text)
	}
}

// proceed asks what is to be asked now, and reports whether that was the last of it.
func (u *undoer) proceed() (over bool) {
	for acts := u.due(); len(acts) > 0; acts = u.due() { // one that cannot be asked makes way for others
		for _, act := range acts {
			u.ask(act)
		}
	}
	if u.desk.busy() {
		return false
	}
	if f := u.desk.spent; f != nil {
		u.GiveUp("a bound was reached: " + f.Text)
	}
	if u.stuck != "" {
		for _, l := range u.Stuck() {
			if input, err := u.Mend(l); err == nil {
				u.desk.ask(question{name: named("mend", l.Stage), to: find(u.members, u.stuck), input: input, undo: l.Stage})
			}
		}
	}
	return !u.desk.busy()
}

// due is what is to be undone now.
func (u *undoer) due() []saga.Act {
	if u.desk.spent != nil {
		return nil
	}
	return u.Next()
}

func (u *undoer) ask(act saga.Act) {
	how := u.how[act.Name]
	input, err := u.Brief(act)
	if len(how.input) > 0 {
		input, err = how.fill(act)
	}
	if err != nil {
		u.Failed(act.Name, fault.Of(err).Text)
		return
	}
	u.desk.ask(question{name: named("undo", act.Name), to: how.to, duty: how.skill, input: input, undo: act.Name})
}

// fill puts values of the act's input and output into the input of what undoes it.
func (h undoing) fill(act saga.Act) (json.RawMessage, error) {
	return substitute(h.input, inputMax, func(ref reference) (json.RawMessage, error) {
		switch {
		case ref.id == undoInput:
			return ref.follow(act.Input)
		case act.Unknown:
			return nil, fault.Unknown.New("nobody knows whether it was done, and %s is needed to undo it", ref)
		default:
			return ref.follow(act.Output)
		}
	})
}

// What the input of an undo refers to.
const (
	undoInput  = requestID // what was asked
	undoOutput = "output"  // what was answered
)

// undid takes what became of an undoing, or of what a person was asked.
func (u *undoer) undid(a *answer) {
	switch {
	case a.name == named("mend", a.undo) && a.good():
		u.Mended(a.undo, a.output)
	case a.name == named("mend", a.undo):
		u.Unmended(a.undo, fmt.Sprintf("%s did not put it in order: %s", a.to.Name, a.fault.Text))
	case a.good():
		d := a.done()
		u.Undid(a.undo, saga.Undone{Name: d.Name, Agent: d.Agent, Run: d.Run, Attempts: d.Attempts, Took: d.Took, Usage: d.Usage, Fault: d.Fault})
	case u.desk.spent != nil && a.fault.Kind == fault.Exhausted:
		// told with the rest that a bound left
	default:
		u.Failed(a.undo, fmt.Sprintf("%s: %s", a.fault.Kind, a.fault.Text))
	}
}

// undoOf is how a skill of a member is undone by another one of it, if it says so.
func undoOf(m *Member, skill string) *undoing {
	s := m.skill(skill)
	if s == nil || s.Undo == nil {
		return nil
	}
	return &undoing{to: m, skill: s.Undo.Skill, input: s.Undo.Input}
}

// undoes says whether a skill of some member says how it is undone.
func undoes(members []Member) bool {
	return slices.ContainsFunc(members, func(m Member) bool {
		return slices.ContainsFunc(m.Skills, func(s polity.Skill) bool { return s.Undo != nil })
	})
}

// CheckUndo returns nil, or fault.Invalid for the input of a skill's undo that refers to something else than $input and $output.
func CheckUndo(input json.RawMessage) error {
	refs, bad := references(input)
	if len(bad) > 0 {
		return bad[0].err
	}
	for _, ref := range refs {
		if ref.id != undoInput && ref.id != undoOutput {
			return fault.Invalid.New("%s is neither what was asked nor what was answered", ref)
		}
	}
	return nil
}
