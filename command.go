package polity

import (
	"encoding/json"
	"time"

	"polity.run/fault"
)

// Decider is the reasoning part of an agent, and every organization's pattern: it is told what
// happened and answers with what to do next.
//
//	Decide(state, event) -> (state, commands)
//
// Decide reads only its arguments: no clock, no files, no network, no random numbers and no map
// order that reaches a command. Time is in the event; a seed derives from the run's ID. The kernel calls
// it with a nil state and the Opened event first, then once for each later event in the order of
// the log, from one goroutine at a time, and again in the same order after a crash. A decider may
// keep and change its own state in place: nobody else holds it. It must not keep or change the
// event's Data. The commands are its own again when it is next asked for the same state.
//
// A run that has not finished must be waiting for something: if a decider answers with no command
// and nothing is pending, the kernel fails the run as Internal. So it does if Decide panics; with a *fault.Error, as
// what that says. One of kind Diverged says that the decider found that it decides otherwise than before: the run is stopped.
type Decider interface {
	Decide(state any, e Event) (any, []Command)
}

// Stopper is a decider that may have something to undo when its run is to end from outside: it was cancelled, or it met its bounds too often.
// It is then told by a Stopping event, and ends the run itself. What of the run's commands is pending is cancelled, but for those that undo, and
// their results still come. A command that does not undo is answered with the event's fault. The run's status says how it was stopped, whatever the decider ends it
// with; the output is the decider's. A second cancellation, or the end of the wall time, can still end it at any moment.
type Stopper interface {
	Decider
	// Stops says whether a run in this state is told. If not, it ends at once. It changes nothing.
	Stops(state any) bool
}

// Forgetter is a decider whose states hold more than memory. Forget is told of a state that will not be asked again: the run is ending,
// or will not go on here. It is called once for each, from the goroutine that decides.
type Forgetter interface {
	Decider
	Forget(state any)
}

// EventKind says what happened.
type EventKind uint8

// The kinds of event that a decider sees.
const (
	Opened   EventKind = iota + 1 // the run begins; Data is its input
	Result                        // a command ended; Name and Attempt say which
	Stopping                      // the run is to end, and Fault says why. Only a Stopper is told, and once
)

// Event is one thing that happened to a run. Every event is in the log.
type Event struct {
	Kind EventKind
	// At is when the partition accepted the event. It never goes backwards within a partition.
	At  time.Time
	Run RunID

	// Name and Attempt name the command that a Result answers.
	Name    string
	Attempt int

	// Data is the input of an Opened, the output of a Result.
	Data json.RawMessage
	// Fault is set on a Result whose command failed. A child that ended at a bound has both: its
	// best effort in Data and an Exhausted fault. With any other fault Data is what a child had done until then, if it says so.
	Fault *fault.Error
	// Usage is what the command consumed.
	Usage Usage

	// Opened only: who asked (empty at a root), which agent and skill was asked, and the folder
	// that the run may read ("" for none).
	From   AgentName
	Agent  AgentName
	Skill  string
	Folder string
}

// Verb is what a command does.
type Verb uint8

// The verbs of commands.
const (
	DoAsk    Verb = iota + 1 // ask another agent: a child run, or a function
	DoCall                   // call a tool
	DoThink                  // ask a model
	DoSleep                  // wait; the result comes when the time is over
	DoCancel                 // cancel a pending command of this run
	DoFinish                 // end the run with an output
	DoFail                   // end the run with a fault
	DoAwait                  // wait for a signal or an event on a topic; the result is its data
)

// String returns the verb's word.
func (v Verb) String() string {
	return [...]string{"?", "ask", "call", "think", "sleep", "cancel", "finish", "fail", "await"}[min(int(v), int(DoAwait))]
}

// Command is what a decider wants done. A command is never stored: it is decided again from the
// log. Its identity is (run, Name, Attempt), so Name must say what the command is for ("fetch",
// "ask.licences"), never where it stood in a list. Names are 1 to 64 of A-Z a-z 0-9 . _ - and unique in
// the run together with the attempt.
type Command struct {
	Do      Verb
	Name    string
	Attempt int // from 1; 0 means 1

	// To is the agent, tool or model; for DoCancel the CommandKey of the command to cancel.
	To    string
	Skill string          // DoAsk: the agent's skill; "" for its only one
	Input json.RawMessage // DoAsk, DoCall, DoThink: the input; DoFinish: the output; DoFail: what was done until then, if anything

	After time.Duration // DoSleep: how long; DoAwait: how long at most, 0 for as long as the run may last
	// At, if not zero, is when a DoSleep ends, or the latest time of a DoAwait, instead of After. It is the same time in a fork.
	At    time.Time
	Await *Awaited // DoAwait
	// Bounds, with DoAsk, are delegated to the child: reserved from this run's remainder, conserved
	// below, and what is left returns. Zero fields are not delegated: the child then draws on this run's own.
	Bounds Bounds
	// Reserve, with DoThink and DoCall, is the most that the effect may consume, held until its
	// result says what it did.
	Reserve Usage
	Fault   *fault.Error // DoFail

	// Undo marks what undoes something. It, and all that is done for it below, may use what Bounds.UndoReserve keeps back, and goes on
	// when its run is stopping.
	Undo bool
}

// Key returns the command's name and attempt as one word. See CommandKey.
func (c Command) Key() string { return CommandKey(c.Name, c.Attempt) }

// String returns the command as a message names it, as in "fetch (call web.get)".
func (c Command) String() string {
	what := c.Do.String()
	switch {
	case c.Do == DoSleep && !c.At.IsZero():
		what += " until " + c.At.UTC().Format(time.RFC3339)
	case c.Do == DoSleep:
		what += " " + c.After.String()
	case c.Do == DoAwait && c.Await != nil:
		what += " " + c.Await.String()
	case c.To != "":
		what += " " + c.To
	}
	return c.Key() + " (" + what + ")"
}

// Ask returns the command to ask an agent.
func Ask(name string, agent AgentName, skill string, input json.RawMessage) Command {
	return Command{Do: DoAsk, Name: name, To: string(agent), Skill: skill, Input: input}
}

// Call returns the command to call a tool.
func Call(name, tool string, input json.RawMessage) Command {
	return Command{Do: DoCall, Name: name, To: tool, Input: input}
}

// Think returns the command to ask a model; input is a model.Request as JSON, and reserve is the most
// that the answer may cost.
func Think(name, model string, input json.RawMessage, reserve Usage) Command {
	return Command{Do: DoThink, Name: name, To: model, Input: input, Reserve: reserve}
}

// Sleep returns the command to wait.
func Sleep(name string, d time.Duration) Command {
	return Command{Do: DoSleep, Name: name, After: d}
}

// SleepUntil returns the command to wait until a time; one that is past is over at once.
func SleepUntil(name string, at time.Time) Command {
	return Command{Do: DoSleep, Name: name, At: at}
}

// Await returns the command to wait for a signal or an event on a topic. The result is the event's data, or a Timeout fault when the time
// is over; within 0 sets no time of its own.
func Await(name string, on Awaited, within time.Duration) Command {
	return Command{Do: DoAwait, Name: name, Await: &on, After: within}
}

// AwaitUntil is Await with the latest time at which the event may come.
func AwaitUntil(name string, on Awaited, until time.Time) Command {
	return Command{Do: DoAwait, Name: name, Await: &on, At: until}
}

// Cancel returns the command to cancel the pending command with the given key. Its own name is derived.
func Cancel(key string) Command {
	return Command{Do: DoCancel, Name: "cancel." + key, To: key}
}

// Finish returns the command that ends the run with an output.
func Finish(output json.RawMessage) Command {
	return Command{Do: DoFinish, Name: "finish", Input: output}
}

// Fail returns the command that ends the run with a fault.
func Fail(f *fault.Error) Command {
	return Command{Do: DoFail, Name: "fail", Fault: f}
}

// FailWith returns the command that ends the run with a fault and what was done until then. Nobody checks that against the skill's output.
func FailWith(f *fault.Error, done json.RawMessage) Command {
	return Command{Do: DoFail, Name: "fail", Fault: f, Input: done}
}

// Effect is what a tool, function or program does to the world, which decides what a crash may do to it.
type Effect string

// The classes of effect.
const (
	// EffectNone reads only. It may be repeated freely.
	EffectNone Effect = "none"
	// EffectIdempotent changes something, and doing it again with the same input changes nothing more.
	EffectIdempotent Effect = "idempotent"
	// EffectKeyed changes something outside that honours the effect's key: repeated with the same key, after a
	// crash or as a later attempt of the same command, it counts once.
	EffectKeyed Effect = "keyed"
	// EffectExternal changes something outside that knows no key. That it began is committed first; it
	// is done at most once, and a crash in between ends as fault.Unknown.
	EffectExternal Effect = "external"
)

// Check returns nil or an Invalid fault that names the classes.
func (e Effect) Check() error {
	switch e {
	case EffectNone, EffectIdempotent, EffectKeyed, EffectExternal:
		return nil
	default:
		return fault.Invalid.New("effect %q: want none, idempotent, keyed or external", string(e))
	}
}
