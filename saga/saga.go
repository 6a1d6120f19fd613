// Package saga keeps account of what was done and may have to be undone, and says what is undone next (Garcia-Molina and Salem, "Sagas",
// SIGMOD 1987).
//
// It exists so that patterns and scripts undo in the same way. It asks nobody: whoever does the work has a command for each act that is due, and
// tells what became of it. The life of an account:
//
//	Did, Did ... -> Begin -> Next -> Undid or Failed ... Next -> Stuck -> Mended or Unmended ... -> Report
//
// An account is the state of a run: what it says follows from what it was told, in the order in which it was.
package saga

import (
	"bytes"
	"encoding/json"
	"slices"

	"polity.run"
	"polity.run/fault"
)

// Act is something that was done, or may have been.
type Act struct {
	Name   string // of its command, and unique in the account
	Agent  polity.AgentName
	Run    polity.RunID
	Key    string // of its effect
	Input  json.RawMessage
	Output json.RawMessage // empty with Unknown
	// Unknown says that nobody knows whether it was done. It is undone as if, and who undoes it is told.
	Unknown bool
	// Left, if not empty, is why nobody can undo it: it is reported, and nobody is asked to undo it.
	Left string
	// After are acts that this one rested on: with AtOnce they are undone after it.
	After []string
}

// Brief is what somebody who undoes an act is asked with.
type Brief struct {
	Duty    string          `json:"duty"`  // undo
	Stage   string          `json:"stage"` // name of the act
	Input   json.RawMessage `json:"input"`
	Output  json.RawMessage `json:"output,omitempty"`
	Unknown bool            `json:"unknown,omitempty"`
	Reason  string          `json:"reason"`
	Effect  string          `json:"effect_key"`
}

// Mend is what a person is asked with about an act that could not be undone.
type Mend struct {
	Duty      string           `json:"duty"` // mend
	Objective string           `json:"objective"`
	Stage     string           `json:"stage"`
	Agent     polity.AgentName `json:"agent"`
	Run       polity.RunID     `json:"run"`
	Why       string           `json:"why"`
	Reason    string           `json:"reason"`
}

// The statuses of a report.
const (
	Compensated = "compensated" // everything is undone
	Partly      = "partly"      // something is left
	Mended      = "mended"      // what was left was put in order by a person
)

// Report is what became of what had been done.
type Report struct {
	Status string   `json:"status"`
	Why    string   `json:"why"` // it was to be undone
	Undone []Undone `json:"undone"`
	Left   []Left   `json:"left,omitempty"`
}

// Undone is an act that was undone.
type Undone struct {
	Name     string           `json:"name"` // of the command that undid it
	Agent    polity.AgentName `json:"agent,omitempty"`
	Run      polity.RunID     `json:"run,omitempty"` // of the last attempt
	Attempts int              `json:"attempts,omitempty"`
	Took     polity.Duration  `json:"took,omitempty"`
	Usage    polity.Usage     `json:"usage,omitzero"`
	Fault    *fault.Error     `json:"fault,omitempty"`   // why there is only a best effort
	Unknown  bool             `json:"unknown,omitempty"` // nobody knows whether there was anything to undo
}

// Left is an act that is not undone.
type Left struct {
	Stage  string           `json:"stage"` // name of the act
	Agent  polity.AgentName `json:"agent,omitempty"`
	Run    polity.RunID     `json:"run,omitempty"`
	Why    string           `json:"why"`
	Mended json.RawMessage  `json:"mended,omitempty"` // what the person said who put it in order
}

// Account is what a run did. The zero value is empty; it is not safe for concurrent use.
type Account struct {
	// AtOnce has acts undone side by side as soon as what rested on them is, instead of one after the other, the last one first.
	AtOnce bool

	acts   []entry // in the order in which they were done
	begun  bool
	report Report
}

type entry struct {
	Act
	state state
	asked bool // a person, about what is left
}

type state uint8

const (
	done  state = iota
	going       // somebody undoes it
	over        // undone, or left
)

// Did adds an act. Once undoing has begun, it is undone as well.
func (a *Account) Did(act Act) { a.acts = append(a.acts, entry{Act: act}) }

// Empty says whether there is nothing to undo and nothing to report.
func (a *Account) Empty() bool { return len(a.acts) == 0 }

// Begin begins undoing, for a reason. A second time changes nothing.
func (a *Account) Begin(why string) {
	if !a.begun {
		a.begun, a.report = true, Report{Why: why, Undone: []Undone{}}
	}
}

// Why is the reason for which undoing began.
func (a *Account) Why() string { return a.report.Why }

// Begun says whether undoing has begun.
func (a *Account) Begun() bool { return a.begun }

// Next returns the acts that are to be undone now, the last one first. Each is returned once.
func (a *Account) Next() []Act {
	var out []Act
	for i := len(a.acts) - 1; i >= 0; i-- {
		e := &a.acts[i]
		switch {
		case e.state == over:
		case e.Left != "":
			a.leave(e, e.Left)
		case e.state == done && a.AtOnce && a.restedOn(e.Name):
		case e.state == done:
			e.state = going
			out = append(out, e.Act)
		}
		if e.state == going && !a.AtOnce {
			return out
		}
	}
	return out
}

// restedOn says whether an act that is not undone yet rested on the named one.
func (a *Account) restedOn(name string) bool {
	return slices.ContainsFunc(a.acts, func(e entry) bool { return e.state != over && slices.Contains(e.After, name) })
}

func (a *Account) leave(e *entry, why string) {
	e.state = over
	a.report.Left = append(a.report.Left, Left{Stage: e.Name, Agent: e.Agent, Run: e.Run, Why: why})
}

func (a *Account) entry(name string) *entry {
	return &a.acts[slices.IndexFunc(a.acts, func(e entry) bool { return e.Name == name })]
}

// Undid takes that an act was undone.
func (a *Account) Undid(name string, u Undone) {
	e := a.entry(name)
	u.Unknown = e.Unknown
	e.state = over
	a.report.Undone = append(a.report.Undone, u)
}

// Failed takes that an act could not be undone.
func (a *Account) Failed(name, why string) { a.leave(a.entry(name), why) }

// GiveUp leaves all that is not undone, except for what is left already.
func (a *Account) GiveUp(why string) {
	for i := range a.acts {
		if e := &a.acts[i]; e.state != over {
			a.leave(e, why)
		}
	}
}

// Over says whether every act is undone or left.
func (a *Account) Over() bool {
	return !slices.ContainsFunc(a.acts, func(e entry) bool { return e.state != over })
}

// Stuck returns what is left and what nobody was asked about yet, each once.
func (a *Account) Stuck() []Left {
	var out []Left
	for _, l := range a.report.Left {
		if e := a.entry(l.Stage); !e.asked {
			e.asked = true
			out = append(out, l)
		}
	}
	return out
}

func (a *Account) left(name string) *Left {
	return &a.report.Left[slices.IndexFunc(a.report.Left, func(l Left) bool { return l.Stage == name })]
}

// Mended takes what a person said who put in order what was left.
func (a *Account) Mended(name string, said json.RawMessage) { a.left(name).Mended = said }

// Unmended takes why nobody put in order what was left.
func (a *Account) Unmended(name, why string) { a.left(name).Why += "; " + why }

// Report returns what became of everything, or nil if undoing has not begun.
func (a *Account) Report() *Report {
	if !a.begun {
		return nil
	}
	return Join([]*Report{&a.report})
}

// Join makes one report of several, at least one.
func Join(all []*Report) *Report {
	out := &Report{Status: Compensated, Why: all[0].Why, Undone: []Undone{}}
	for _, r := range all {
		out.Undone = append(out.Undone, r.Undone...)
		out.Left = append(out.Left, r.Left...)
	}
	for _, l := range out.Left {
		if len(l.Mended) == 0 {
			out.Status = Partly
		} else if out.Status == Compensated {
			out.Status = Mended
		}
	}
	return out
}

// MayBeDone says whether something may have been done although it failed: nobody knows, it was stopped in the middle, or who was to do it did not answer
// well, as a service does that hangs up when it has done it. used says whether it used anything.
func MayBeDone(f *fault.Error, used bool) bool {
	switch f.Kind {
	case fault.Unknown, fault.Cancelled, fault.Timeout, fault.Unavailable:
		return true
	case fault.Exhausted: // else it was never begun
		return used || f.Bound == "wall"
	default:
		return false
	}
}

// Brief returns what somebody is asked with who undoes an act, as JSON.
func (a *Account) Brief(act Act) (json.RawMessage, error) {
	input := act.Input
	if len(input) == 0 {
		input = json.RawMessage("null")
	}
	return encode(Brief{"undo", act.Name, input, act.Output, act.Unknown, a.report.Why, act.Key})
}

// Mend returns what a person is asked with about what is left, as JSON.
func (a *Account) Mend(l Left) (json.RawMessage, error) {
	return encode(Mend{"mend", "Put in order by hand what could not be undone, and say what you did.", l.Stage, l.Agent, l.Run, l.Why, a.report.Why})
}

// Of returns the report in what an agent answered that undid what it had done, or nil.
func Of(output json.RawMessage) *Report {
	var of struct {
		Saga *Report `json:"saga"`
	}
	if json.Unmarshal(output, &of) != nil || of.Saga == nil || !slices.Contains([]string{Compensated, Partly, Mended}, of.Saga.Status) {
		return nil
	}
	return of.Saga
}

func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fault.Internal.New("saga: write JSON: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
