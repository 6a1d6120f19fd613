package client

import (
	"encoding/json"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
)

// Page is one page of a list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"What after is for the page behind this one; left out if there is none"`
	// Position and Lag say how far the tables are that the answer was read from.
	Position uint64          `json:"position" doc:"The last commit that the answer tells of"`
	Lag      polity.Duration `json:"lag" doc:"The age of what it tells last, if it is behind"`
}

// Run is a run with what it may use, what it has used and what stands right below it.
type Run struct {
	polity.RunRow
	Bounds   polity.Bounds     `json:"bounds" doc:"What it, and everything below it, may use"`
	Input    json.RawMessage   `json:"input,omitempty"`
	Outcome  *polity.Outcome   `json:"outcome,omitempty" doc:"How it ended"`
	Children []polity.RunRow   `json:"children,omitempty" doc:"The first runs right below it"`
	Position uint64            `json:"position" doc:"The last commit that was acknowledged"`
	Asks     []polity.Question `json:"asks,omitempty" doc:"What it, or a run below it, asks people now"`
}

// NewRun asks an organization for a run.
type NewRun struct {
	Org          string          `json:"org,omitempty" doc:"The organization; left out if only one is installed"`
	Agent        string          `json:"agent,omitempty" doc:"Who is asked; left out it is the organization's main agent"`
	Skill        string          `json:"skill,omitempty" doc:"What is asked for; left out if the agent has one skill"`
	Input        json.RawMessage `json:"input,omitempty" doc:"As the skill's schema wants it"`
	Folder       string          `json:"folder,omitempty" maxLength:"4096" doc:"Absolute path, on the node's machine, of the only folder that the run may read"`
	Version      int             `json:"version,omitempty" minimum:"0" doc:"Of the registered schema that the input was written for"`
	Bounds       *polity.Bounds  `json:"bounds,omitempty" doc:"What the run may use; what is left out is the organization's"`
	Conversation string          `json:"conversation,omitempty" maxLength:"200" doc:"The conversation with the agent that this is part of"`
	Subject      string          `json:"subject,omitempty" maxLength:"200" doc:"The person whose data the run holds"`
}

// Forking asks for a run that begins with what another one's log tells, up to an event.
type Forking struct {
	Event   int             `json:"event" minimum:"1" doc:"The last event that is taken over, from 1"`
	Input   json.RawMessage `json:"input,omitempty" doc:"In place of the origin's, with event 1"`
	Effects bool            `json:"effects,omitempty" doc:"Keyed and external effects are done, and not only simulated"`
}

// Opened is the answer to who asked for a run.
type Opened struct {
	ID       polity.RunID    `json:"id"`
	Status   polity.Status   `json:"status"`
	Outcome  *polity.Outcome `json:"outcome,omitempty" doc:"With wait, if it has ended"`
	Position uint64          `json:"position" doc:"The last commit that was acknowledged"`
}

// Done is the answer to what was asked to be done.
type Done struct {
	Position uint64 `json:"position" doc:"The last commit that was acknowledged: ask with at=POSITION to see what was done"`
}

// Told is one thing that happened to a run, in a stream or a list.
type Told struct {
	ID string `json:"id,omitempty" doc:"Its place, as COMMIT.NUMBER: where a list or a stream goes on; left out for what has begun and is not in the log"`
	polity.Notice
}

// Change is one thing that happened to any run.
type Change struct {
	ID     string       `json:"id" doc:"Its place, as COMMIT.NUMBER"`
	At     time.Time    `json:"at"`
	Commit uint64       `json:"commit"`
	Kind   string       `json:"kind" doc:"opened, began, result, cancel, expired, finished, reconciled, signalled, paused, resumed or another kind of event"`
	Run    polity.RunID `json:"run,omitempty"`
	Root   polity.RunID `json:"root,omitempty"`
	Org    string       `json:"org,omitempty"`
	Agent  string       `json:"agent,omitempty" doc:"Whose run it is"`
	Step   string       `json:"step,omitempty" doc:"The command, with its attempt"`
	To     string       `json:"to,omitempty" doc:"The agent, tool, model, signal or topic"`
	Status string       `json:"status,omitempty" doc:"With finished, how the run ended"`
	Fault  *fault.Error `json:"fault,omitempty"`
	Usage  polity.Usage `json:"usage,omitzero"`
}

// Org is an installed organization at a glance.
type Org struct {
	Name    string `json:"name"`
	Release string `json:"release" doc:"Digest of its release, in hex"`
	Main    string `json:"main,omitempty" doc:"The agent that is asked if none is named"`
	Agents  int    `json:"agents"`
	Running int    `json:"running" doc:"Runs of its agents that work now"`
	Waiting int    `json:"waiting" doc:"Runs of its agents that only wait"`
	Errors  int    `json:"errors" doc:"Runs and effects that failed in the last minutes"`
}

// OrgDetail is an organization with who has to do with whom in it, and what they have to do now.
type OrgDetail struct {
	Org
	Bounds   polity.Bounds `json:"bounds" doc:"Of a run, where it names none"`
	Members  []AgentInfo   `json:"members"`
	Topology Topology      `json:"topology"`
	Load     []polity.Load `json:"load"`
}

// Topology is who has to do with whom.
type Topology struct {
	Nodes []Node `json:"nodes"`
	Edges []Edge `json:"edges"`
}

// Node is an agent, a tool, a model, a topic, several agents that are messaged together, or who is no agent.
type Node struct {
	Name    string `json:"name"`
	What    string `json:"what" enum:"agent,tool,model,topic,group,role,outside"`
	Kind    string `json:"kind,omitempty" doc:"Of an agent: how it does its work"`
	Pattern string `json:"pattern,omitempty" doc:"Of an organization: who acts next"`
	Main    bool   `json:"main,omitempty"`
	// Instances are how many instances an agent has.
	Instances int `json:"instances,omitempty" doc:"Of an agent: how many AGENT/NAME there are, each with a mailbox of its own"`
}

// Edge is who does what with whom.
type Edge struct {
	From string `json:"from"`
	To   string `json:"to"`
	Does string `json:"does" doc:"asks, asks as ROLE, gathers, may call, may ask, thinks with, publishes, opens a run of, is awaited by, may message, may publish on, has"`
}

// AgentInfo is an agent of an installed organization.
type AgentInfo struct {
	Org         string           `json:"org"`
	Name        polity.AgentName `json:"name"`
	Kind        agent.Kind       `json:"kind"`
	Description string           `json:"description,omitempty"`
	Pattern     string           `json:"pattern,omitempty"`
	Model       string           `json:"model,omitempty"`
	Main        bool             `json:"main,omitempty"`
	Skills      []string         `json:"skills"`
	Signals     []string         `json:"signals,omitempty"`
}

// SkillInfo is a skill of an agent of an installed organization.
type SkillInfo struct {
	Org         string           `json:"org"`
	Agent       polity.AgentName `json:"agent"`
	Name        string           `json:"name"`
	Description string           `json:"description,omitempty"`
	Tags        []string         `json:"tags,omitempty"`
	Input       json.RawMessage  `json:"input,omitempty" doc:"JSON Schema; left out if any JSON is taken"`
	Output      json.RawMessage  `json:"output,omitempty" doc:"JSON Schema; left out if it may be any JSON"`
	Main        bool             `json:"main,omitempty" doc:"It is the main agent's"`
}

// Field is a field of the filter language.
type Field struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind" enum:"text,choice,number,money,span,moment"`
	Choices []string `json:"choices,omitempty"`
	Doc     string   `json:"doc"`
}

// Reply answers a question: exactly one field is set.
type Reply struct {
	Answer   json.RawMessage  `json:"answer,omitempty" doc:"What is answered, as the question's output schema wants it"`
	Decision *polity.Decision `json:"decision,omitempty" doc:"Of an approval: its hash has to be that of the action"`
}

// Publishing is an event for a topic.
type Publishing struct {
	ID      string          `json:"id,omitempty" maxLength:"200" doc:"The same again is the same event; left out it is a new one"`
	Version int             `json:"version,omitempty" minimum:"0" doc:"Of the registered schema that the data was written for"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// Signalling is what a run is told.
type Signalling struct {
	Name    string          `json:"name" maxLength:"200" doc:"Of the signal"`
	ID      string          `json:"id,omitempty" maxLength:"200" doc:"The same again is the same signal; left out it is a new one"`
	Data    json.RawMessage `json:"data,omitempty"`
	Version int             `json:"version,omitempty" minimum:"0" doc:"Of the registered schema that the data was written for"`
}

// NewHook lets another service ask.
type NewHook struct {
	Name   string          `json:"name" maxLength:"60" doc:"Up to 60 of a-z, 0-9, - and _"`
	Org    string          `json:"org,omitempty" maxLength:"200" doc:"The organization that is asked"`
	Agent  string          `json:"agent,omitempty" maxLength:"63" doc:"Who of it; left out it is its main agent"`
	Skill  string          `json:"skill,omitempty" maxLength:"200" doc:"What is asked for; left out if the agent has one skill"`
	Topic  string          `json:"topic,omitempty" maxLength:"200" doc:"In place of an organization: where the message is published"`
	Window polity.Duration `json:"window,omitempty" doc:"How far a message's time may be off; default 5m, at most 1h"`
	Secret string          `json:"secret,omitempty" maxLength:"500" doc:"whsec_ and base64; left out one is made"`
}

// Hook is where another service asks.
type Hook struct {
	Name   string          `json:"name"`
	Org    string          `json:"org,omitempty"`
	Agent  string          `json:"agent,omitempty"`
	Skill  string          `json:"skill,omitempty"`
	Topic  string          `json:"topic,omitempty"`
	Window polity.Duration `json:"window,omitempty"`
	Secret string          `json:"secret,omitempty" doc:"Told once, when the hook is made"`
}

// NewWebhook has another service told of what happens.
type NewWebhook struct {
	Name    string `json:"name" maxLength:"60" doc:"Up to 60 of a-z, 0-9, - and _"`
	URL     string `json:"url" maxLength:"2000" doc:"Where messages are sent, by https; by http only with private"`
	Org     string `json:"org,omitempty" maxLength:"200" doc:"Only of its runs; left out of all"`
	Q       string `json:"q,omitempty" maxLength:"4096" doc:"Which changes, as in kind:finished -status:completed; the fields are those of GET /v1/fields?of=changes"`
	Private bool   `json:"private,omitempty" doc:"The address may be of the node's machine or its networks; that needs the right to do everything"`
	Secret  string `json:"secret,omitempty" maxLength:"500" doc:"whsec_ and base64; left out one is made"`
}

// Webhook is who is told of what happens.
type Webhook struct {
	Name    string `json:"name"`
	URL     string `json:"url"`
	Org     string `json:"org,omitempty"`
	Q       string `json:"q,omitempty"`
	Private bool   `json:"private,omitempty"`
	Secret  string `json:"secret,omitempty" doc:"Told once, when the webhook is made"`
}

// Hooked is the body of a message to a webhook.
type Hooked struct {
	Type      string    `json:"type"` // as in run.finished
	Timestamp time.Time `json:"timestamp"`
	Data      Change    `json:"data"`
}

// Delivery is what became of a message to a webhook.
type Delivery struct {
	ID       string    `json:"id" doc:"Of the message, as Webhook-Id had it"`
	Event    string    `json:"event" doc:"The place of what it told, as COMMIT.NUMBER"`
	At       time.Time `json:"at" doc:"When it was sent last"`
	Status   string    `json:"status" enum:"delivered,dead,queued"`
	Attempts int       `json:"attempts"`
	Answer   int       `json:"answer,omitempty" doc:"Status of the last answer"`
	Problem  string    `json:"problem,omitempty" doc:"Why the last attempt was none"`
}

// Redeliver asks for messages to be sent again.
type Redeliver struct {
	IDs []string `json:"ids,omitempty" maxItems:"500" doc:"Which messages, whatever became of them; left out all that are dead"`
}

// Redelivering is the answer.
type Redelivering struct {
	Queued int `json:"queued" doc:"How many messages are to be sent again by that"`
}

// Accepted is the answer to another service.
type Accepted struct {
	Run polity.RunID `json:"run,omitempty" doc:"The run that was opened"`
}
