package polity

import "time"

// Lookup asks the view of a node. A view is made from the log, beside it and a little behind it; it can be thrown away and made again.
type Lookup struct {
	Of LookupOf `json:"of"`
	// Filter is in the language of the guide's page on asking questions. Which fields there are depends on what is asked for.
	Filter string `json:"filter,omitempty"`
	// Run is whose steps or events are asked for, with LookupSteps and LookupEvents; a root includes everything below it.
	Run RunID `json:"run,omitempty"`
	// By is what costs are added up by: agent (the default), model, tool, skill or day.
	By string `json:"by,omitempty"`
	// Sort orders runs: started, ended, cost, tokens or took, with '-' before it for the largest first. The default is -started.
	Sort string `json:"sort,omitempty"`
	// After is Found.Next of the page before.
	After string `json:"after,omitempty"`
	Limit int    `json:"limit,omitempty"` // rows; 0 is LookupLimit, and LookupLimitMax is the most
	// All asks for the runs below roots too.
	All bool `json:"all,omitempty"`
	// Position is a commit that the answer has to tell of. 0 is the last one that was acknowledged when the question came, so that everybody sees
	// what they did.
	Position uint64 `json:"position,omitempty"`
	// Wait is how long to wait for that; 0 is LookupWait. Then the answer comes as it is, and Found.View says how far behind it is.
	Wait Duration `json:"wait,omitempty"`
}

// LookupOf is what is asked for.
type LookupOf string

// What can be asked for.
const (
	LookupRuns   LookupOf = "runs"
	LookupSteps  LookupOf = "steps" // what runs did: calls of tools, models, functions and people
	LookupTexts  LookupOf = "texts" // inputs, outputs and faults with the words of the filter
	LookupCosts  LookupOf = "costs"
	LookupAgents LookupOf = "agents"
	LookupEvents LookupOf = "events" // signals that runs were told, and events published on topics
	LookupView   LookupOf = "view"   // nothing but how far the view is
)

// The limits of a lookup.
const (
	LookupLimit    = 50
	LookupLimitMax = 1000
	LookupWait     = Duration(2 * time.Second)
	LookupWaitMax  = Duration(10 * time.Minute)
)

// Found is the answer to a Lookup.
type Found struct {
	Runs   []RunRow   `json:"runs,omitempty"`
	Steps  []StepRow  `json:"steps,omitempty"`
	Texts  []TextRow  `json:"texts,omitempty"`
	Costs  []CostRow  `json:"costs,omitempty"`
	Agents []AgentRow `json:"agents,omitempty"`
	Events []EventRow `json:"events,omitempty"`
	Next   string     `json:"next,omitempty"` // of the page after this one; "" if there is none
	View   ViewState  `json:"view"`
}

// RunRow is a run in a list. Its Fault is there for every status that has one.
type RunRow struct {
	Summary
	Skill string `json:"skill,omitempty"`
	Team  string `json:"team,omitempty"` // the agent whose run asked for it; at a root its own
	// Org is the organization: what the release is called that the run was opened with. Release is that one's digest in hex.
	Org     string `json:"org,omitempty"`
	Release string `json:"release,omitempty"`
}

// StepRow is something that a run did outside of itself, or waited for.
type StepRow struct {
	Run     RunID     `json:"run"`
	Command string    `json:"command"` // with its attempt
	Agent   string    `json:"agent"`   // whose run it is
	Verb    string    `json:"verb,omitempty"`
	To      string    `json:"to,omitempty"` // the agent, tool or model
	Class   Effect    `json:"class,omitempty"`
	Status  string    `json:"status"` // began, done, failed or unknown
	Since   time.Time `json:"since,omitzero"`
	Began   time.Time `json:"began,omitzero"` // of class external
	Ended   time.Time `json:"ended,omitzero"`
	Usage   Usage     `json:"usage,omitzero"`
	Fault   string    `json:"fault,omitempty"`
	// Taken marks what another run did, of which this one is a fork or an import: it was not done again.
	Taken bool `json:"taken,omitempty"`
	// Person says that it was a person who was asked; Decision what they decided, if it was an approval.
	Person   bool      `json:"person,omitempty"`
	Decision *Decision `json:"decision,omitempty"`
	// Asked says that it was in doubt, and that its destination said how it ended.
	Asked bool `json:"asked,omitempty"`
	// Verdict, By and Found are what was found out, by whom and when, after it had ended as unknown; the last finding counts.
	Verdict Verdict   `json:"verdict,omitempty"`
	By      string    `json:"by,omitempty"`
	Found   time.Time `json:"found,omitzero"`
}

// EventRow is a signal that a run was told, or an event that was published on a topic.
type EventRow struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"` // signal or topic
	Name string    `json:"name"` // of the signal or topic
	ID   string    `json:"id"`   // the sender's
	// Run is who was told a signal, or whose call published an event; "" for one that came from outside.
	Run   RunID  `json:"run,omitempty"`
	Agent string `json:"agent,omitempty"` // whose run that is
	Place uint64 `json:"place,omitempty"` // of an event in the stream of topics; 0 in older logs
}

// TextRow is a text in which something was found.
type TextRow struct {
	At      time.Time `json:"at"`
	Run     RunID     `json:"run"`
	Command string    `json:"command,omitempty"` // whose result it is; "" for the run's own input or output
	Agent   string    `json:"agent"`
	Part    string    `json:"part"` // input or output; an output may be a fault
	Excerpt string    `json:"excerpt,omitempty"`
}

// CostRow is what was used by one of what is added up by.
type CostRow struct {
	By     string   `json:"by"`
	Calls  int64    `json:"calls"`
	Failed int64    `json:"failed,omitempty"`
	Time   Duration `json:"time"` // from being decided to the result, summed up
	Usage  Usage    `json:"usage"`
}

// AgentRow is what an agent has done.
type AgentRow struct {
	Agent     string   `json:"agent"`
	Runs      int64    `json:"runs"` // that ended
	Completed int64    `json:"completed"`
	Exhausted int64    `json:"exhausted,omitempty"`
	Failed    int64    `json:"failed,omitempty"`
	Cancelled int64    `json:"cancelled,omitempty"`
	Mean      Duration `json:"mean"`  // of a run
	Calls     int64    `json:"calls"` // of tools, models and functions
	Errors    int64    `json:"errors,omitempty"`
	Usage     Usage    `json:"usage"` // of the agent itself, without those that it asked
}

// ViewState is how far a view is.
type ViewState struct {
	Position uint64    `json:"position"` // the last commit that it tells of
	At       time.Time `json:"at,omitzero"`
	Tip      uint64    `json:"tip"`    // the last commit that was acknowledged
	Behind   uint64    `json:"behind"` // commits
	Lag      Duration  `json:"lag"`    // the age of what it tells last, if it is behind
	Schema   int       `json:"schema"`
	Bytes    int64     `json:"bytes"`
	Place    string    `json:"place,omitempty"` // the file, or the schema of a server
	// Problem says why it does not go on, if it does not.
	Problem string `json:"problem,omitempty"`
}

// ViewCheck is what a comparison of a view with one that is made anew from the log found.
type ViewCheck struct {
	Place    string       `json:"place"`    // the file, or the schema of a server
	Position uint64       `json:"position"` // the commit up to which both tell
	Tables   []TableCheck `json:"tables"`
	Damage   []Damage     `json:"damage,omitempty"` // of each table the first row that differs
}

// TableCheck is what there is of one table.
type TableCheck struct {
	Name   string `json:"name"`
	Rows   int64  `json:"rows"`
	Digest string `json:"digest"` // hex: SHA-256 of its rows in order
}
