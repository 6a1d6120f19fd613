package client

import (
	"encoding/json"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
)

// Request asks a node for a run.
type Request struct {
	// ID is the run's; "" derives it from everything below, so that the same request is the same run.
	ID polity.RunID `json:"id,omitempty"`
	// Release is what the run may use; nil for the agents that are part of the node's program.
	Release *agent.Release `json:"release,omitempty"`
	// Files are the contents of the files that the release pins, by hex SHA-256.
	Files map[string][]byte `json:"files,omitempty"`
	// Agent is who is asked; "" is the release's main agent.
	Agent string          `json:"agent,omitempty"`
	Skill string          `json:"skill,omitempty"`
	Input json.RawMessage `json:"input,omitempty"`
	// Version is that of the registered schema which Input was written for; 0: it is what the release wants.
	Version int           `json:"version,omitempty"`
	Folder  string        `json:"folder,omitempty"` // absolute path of the only folder that the run may read; "" for none
	Bounds  polity.Bounds `json:"bounds,omitzero"`
	// Seed makes otherwise equal requests different runs.
	Seed string `json:"seed,omitempty"`
	// Conversation is the key of the conversation with the agent that this is part of; "" for none.
	Conversation string `json:"conversation,omitempty"`
	// Subject says whose data the run holds: see engine.Request.
	Subject string `json:"subject,omitempty"`
}

// Install asks a node to keep a release that will be asked for.
type Install struct {
	Release *agent.Release    `json:"release"`
	Files   map[string][]byte `json:"files,omitempty"` // contents of the files that it pins, by hex SHA-256
}

// Installed is the answer.
type Installed struct {
	Digest string `json:"digest"` // hex
}

// Runs is the answer to a request for all runs.
type Runs struct {
	Runs []polity.Summary `json:"runs"`
}

// Started is the answer to a Request.
type Started struct {
	ID polity.RunID `json:"id"`
}

// Cancellation asks for the end of a run.
type Cancellation struct {
	Reason string `json:"reason,omitempty"`
	Now    bool   `json:"now,omitempty"` // without undoing anything
}

// Line is one line of a stream: a notice, how far long work has come, or the stream's end. A stream without an end was cut.
type Line struct {
	polity.Notice
	Progress *polity.Progress `json:"progress,omitempty"`
	Backup   *polity.Backup   `json:"backup,omitempty"` // with End: what was written
	// View, with End, is what a comparison of the view found.
	View     *polity.ViewCheck `json:"view,omitempty"`
	Retained *polity.Retained  `json:"retained,omitempty"` // with End: what became of old runs
	End      bool              `json:"end,omitempty"`
	Error    *fault.Error      `json:"error,omitempty"` // with End: why there is no more
}

// Problem is every answer that is an error: RFC 9457, as application/problem+json.
type Problem struct {
	Type     string        `json:"type" doc:"An address that names the kind"`
	Title    string        `json:"title" doc:"What is said of the kind"`
	Status   int           `json:"status" doc:"The status of the answer"`
	Detail   string        `json:"detail" doc:"What went wrong here"`
	Instance string        `json:"instance,omitempty" doc:"The path of the request"`
	Kind     fault.Kind    `json:"kind" doc:"The kind of the fault"`
	Bound    string        `json:"bound,omitempty" doc:"The bound that was reached, with exhausted"`
	Hint     string        `json:"hint,omitempty" doc:"What to do"`
	Parts    []ProblemPart `json:"errors,omitempty" doc:"What is wrong where, if it is more than one thing"`
}

// problems is where each kind is described.
const problems = "https://polity.run/problems/"

// ProblemOf words an error as a problem, for an answer with a status.
func ProblemOf(err error, status int) Problem {
	f := fault.Of(err)
	return Problem{Type: problems + string(f.Kind), Title: f.Kind.Title(), Status: status, Detail: f.Text, Kind: f.Kind, Bound: f.Bound, Hint: f.Kind.Hint()}
}

// ProblemPart is one of several things that are wrong.
type ProblemPart struct {
	At   string `json:"at,omitempty" doc:"Where, as in body.bounds.turns"`
	Text string `json:"text"`
}
