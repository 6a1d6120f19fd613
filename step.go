package polity

import (
	"time"

	"polity.run/fault"
)

// StepKind is what a step of a run is.
type StepKind string

// The kinds of steps.
const (
	StepRun      StepKind = "run"      // the run itself, from its opening to its end
	StepAsk      StepKind = "ask"      // an agent is asked: another run, or a function
	StepModel    StepKind = "model"    // a model is asked
	StepTool     StepKind = "tool"     // a tool is called
	StepQuestion StepKind = "question" // a person is asked
	StepTimer    StepKind = "timer"    // a time is waited for
	StepAwait    StepKind = "await"    // a signal or an event is waited for
	StepRefused  StepKind = "refused"  // what was not begun: a bound was met, or it was not allowed
)

// Where a step stands. A step that ended has one of the last five.
const (
	StepWaiting   = "waiting" // nobody works on it: it waits for a person, a time, a signal or an event
	StepRunning   = "running"
	StepDone      = "done"
	StepExhausted = "exhausted" // a run that ended at a bound, with its best effort
	StepFailed    = "failed"
	StepCancelled = "cancelled"
	StepUnknown   = "unknown" // a crash left open whether it was done
)

// Step is something that a run, or one below it, did or waits for: a row of its timeline.
type Step struct {
	Number  int      `json:"number"` // its place in the order in which the log tells of it, from 1; 0 for what is under way and not in the log yet
	Key     string   `json:"key"`    // run and command, as in 0-mfrggzdfmztwq2lk#send; the run's ID for the run itself
	Run     RunID    `json:"run"`    // whose command it is
	Command string   `json:"command,omitempty"`
	Agent   string   `json:"agent"` // whose run that is
	Kind    StepKind `json:"kind"`
	To      string   `json:"to,omitempty"` // the agent, tool or model, or what is awaited
	Skill   string   `json:"skill,omitempty"`
	Class   Effect   `json:"class,omitempty"`
	Status  string   `json:"status"`
	// Start is when it was decided. The log does not tell it of a timer or an await that has ended: it is zero then.
	Start  time.Time    `json:"start,omitzero"`
	End    time.Time    `json:"end,omitzero"`
	Until  time.Time    `json:"until,omitzero"` // the latest end of a wait that goes on
	Waits  bool         `json:"waits"`          // it is, or was, waiting and no work
	Child  RunID        `json:"child,omitempty"`
	Usage  Usage        `json:"usage,omitzero"` // of a run with everything below it
	Fault  *fault.Error `json:"fault,omitempty"`
	Commit uint64       `json:"commit,omitempty"` // the last one that tells of it
	// Verdict is what was found out of a step that had ended as unknown.
	Verdict Verdict `json:"verdict,omitempty"`
}

// Load is what an agent has to do now.
type Load struct {
	Org     string `json:"org,omitempty"`
	Agent   string `json:"agent"`
	Running int    `json:"running"` // runs that work, or have others work
	Waiting int    `json:"waiting"` // runs that wait for a person, a signal, an event or a time, and for nothing else
	Errors  int    `json:"errors"`  // runs and effects of the last minutes that failed
}
