// Package agent says what an agent is made of, and holds the decider of agents that think.
//
// It exists between the manifest, which writes definitions, and the engine, which runs them: a
// [Release] is everything a run may read, pinned by its digest when the run opens.
package agent

import (
	"encoding/json"

	"polity.run"
	"polity.run/memory"
	"polity.run/model"
	"polity.run/tool"
)

// Kind says how an agent does its work.
type Kind string

// The kinds.
const (
	KindGo    Kind = "go"    // a Go function or decider that is linked into the process
	KindExec  Kind = "exec"  // a program: JSON on standard input, JSON on standard output
	KindModel Kind = "model" // instructions, a model and tools
	KindOrg   Kind = "org"   // an organization, which is itself an agent
	KindHTTP  Kind = "http"  // a service: JSON by POST, JSON back
	KindHuman Kind = "human" // a person, who is asked and answers in their own time
	KindMCP   Kind = "mcp"   // a server of the Model Context Protocol: each skill is one of its tools
	// KindRemote is code in another process, which connects with credentials of its own.
	KindRemote Kind = "remote"
)

// Definition is one agent as it stands in a release. Exactly the field of its kind is set.
type Definition struct {
	Name        polity.AgentName `json:"name"`
	Kind        Kind             `json:"kind"`
	Description string           `json:"description,omitempty"`
	Skills      []polity.Skill   `json:"skills"` // at least one
	// Signals are those that the agent's runs may be told, with the JSON Schema of their data; empty accepts any JSON.
	Signals map[string]json.RawMessage `json:"signals,omitempty"`
	Go      *Go                        `json:"go,omitempty"`
	Exec    *Exec                      `json:"exec,omitempty"`
	Model   *Model                     `json:"model,omitempty"`
	Org     *Org                       `json:"org,omitempty"`
	HTTP    *HTTP                      `json:"http,omitempty"`
	Human   *Human                     `json:"human,omitempty"`
	MCP     *MCP                       `json:"mcp,omitempty"`
	Remote  *Remote                    `json:"remote,omitempty"`
}

// HTTP is a service that is asked by POST: the input is the body, the effect's key the header Idempotency-Key.
type HTTP struct {
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers,omitempty"` // $NAME in a value stands for an environment variable
	Private bool              `json:"private,omitempty"` // allows addresses of private networks and of this machine
	Effect  polity.Effect     `json:"effect"`
	Timeout polity.Duration   `json:"timeout"`
}

// Human is a person.
type Human struct {
	// Ask is what the person is asked, before the input.
	Ask     string          `json:"ask,omitempty"`
	Timeout polity.Duration `json:"timeout"` // how long to wait for the answer
}

// Remote is code in another process. What it is asked waits until it is there.
type Remote struct {
	Effect  polity.Effect   `json:"effect"`
	Timeout polity.Duration `json:"timeout"` // how long to wait for the answer, while the agent is away too
}

// MCP says which source of the release the skills' tools are of. A skill's name is the tool's.
type MCP struct {
	Source string    `json:"source"`
	Tools  []ToolPin `json:"tools"` // by skill, in the order of the skills
}

// Go names code that is linked into the process. The version stands for the code: a run that was
// opened under another version goes on with what the program has of that one (Agent.Older), or is stopped.
type Go struct {
	Use     string `json:"use"` // the registered name
	Version string `json:"version"`
}

// Exec is a program that is started for each request.
type Exec struct {
	// Command is the program and its arguments; no shell reads it.
	Command []string `json:"command"`
	// Files are the files that the program needs, by the name that Command uses: they are pinned
	// with the release and run from a copy.
	Files map[string]File `json:"files,omitempty"`
	// Env lists NAME=value pairs; nothing else of the environment reaches the program but PATH, HOME and TMPDIR=the copy's
	// folder, POLITY_KEY, the effect's key, and POLITY_FOLDER, the path of the run's folder.
	Env       []string        `json:"env,omitempty"`
	Effect    polity.Effect   `json:"effect"`
	Timeout   polity.Duration `json:"timeout"`
	OutputMax int             `json:"output_max"` // bytes
	// Sandbox says what the program may reach and use; nil is the strictest.
	Sandbox *tool.Sandbox `json:"sandbox,omitempty"`
}

// File is a pinned file.
type File struct {
	Digest     string `json:"digest"` // hex SHA-256 of the content, which is a blob in the store
	Executable bool   `json:"executable,omitempty"`
}

// Model is an agent that thinks.
type Model struct {
	Model        string `json:"model"` // as in quote
	Instructions string `json:"instructions"`
	// Gather are tools that are called for each request, before the model is asked.
	Gather []ToolPin `json:"gather,omitempty"`
	// Tools are tools that the model may call.
	Tools []ToolPin `json:"tools,omitempty"`
	// Agents are agents of the release that the model may ask.
	Agents []AgentPin `json:"agents,omitempty"`
	// Steps is how often the model may think in one run; 0 is StepsDefault.
	Steps int `json:"steps,omitempty"`
	// Repairs is how often the model may correct an answer of another schema; nil is RepairsDefault.
	Repairs *int `json:"repairs,omitempty"`
	// Approve says what is not done before somebody has approved it; nil: nothing waits.
	Approve *Approve `json:"approve,omitempty"`
	// Memory says what is remembered from run to run; nil: nothing.
	Memory *Memory `json:"memory,omitempty"`
	// Context says what is done before the model's context overflows.
	Context Context `json:"context,omitzero"`
	// What is known of the model itself.
	Price     model.Price `json:"price,omitzero"`
	OutputMax int64       `json:"output_max,omitempty"` // tokens; 0 is OutputMax
}

// Memory is how an agent remembers by itself. What its model looks up or writes down goes by the tools that it may call.
type Memory struct {
	// Recall is how many records are looked up for each request, by its question; 0 for none.
	Recall int           `json:"recall,omitempty"`
	Kinds  []memory.Kind `json:"kinds,omitempty"` // of what is recalled; empty: all
	// Episodes says that each run with an answer is remembered.
	Episodes bool `json:"episodes,omitempty"`
	// Share says that what the agent writes belongs to its organization, and not to itself alone.
	Share bool      `json:"share,omitempty"`
	Tools []ToolPin `json:"tools"` // memory.search and memory.keep, as far as they are used
	// Price is that of the embeddings, where there are some.
	Price *model.Price `json:"price,omitempty"`
}

// Limits of a Memory.
const RecallMax = 20

// Compaction is what is done with a conversation that grows too long.
type Compaction string

// The ways to compact. Pinned messages, the instructions and the question always stay.
const (
	Drop      Compaction = "drop"      // the oldest exchanges are left out
	Summarise Compaction = "summarise" // the model sums the oldest exchanges up
	Refer     Compaction = "refer"     // long results are replaced by a reference, which the model may open again
)

// Context bounds what a model is sent.
type Context struct {
	Max     int64      `json:"max,omitempty"`     // tokens of a request; 0 is ContextDefault
	Compact Compaction `json:"compact,omitempty"` // "" is Refer, and Drop where that is not enough
}

// ToolPin is a tool as it was when the release was made.
type ToolPin struct {
	Name   string          `json:"name"`
	Digest string          `json:"digest"`          // hex SHA-256 of the tool's Spec as JSON
	Input  json.RawMessage `json:"input,omitempty"` // of a tool that is called without being asked for
	// What a model is told of the tool; left out where it is not offered to one.
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty"`
}

// AgentPin is an agent that a model may ask as if it were a tool. What it is asked is a brief, or what its skill's input says.
type AgentPin struct {
	Agent       polity.AgentName `json:"agent"`
	Skill       string           `json:"skill,omitempty"`
	Description string           `json:"description,omitempty"`
	Schema      json.RawMessage  `json:"schema,omitempty"` // of the skill's input; empty for a brief
	Bounds      polity.Bounds    `json:"bounds,omitzero"`  // delegated to each question
}

// Org is an organization: its pattern and the pattern's own configuration.
type Org struct {
	Pattern string             `json:"pattern"` // as in hub
	Members []polity.AgentName `json:"members"`
	// Tools are the tools that the pattern itself calls, as files.cite to look evidence up.
	Tools  []ToolPin       `json:"tools,omitempty"`
	Config json.RawMessage `json:"config"` // of the pattern: pattern.Hub for hub
}

// Release is an immutable set of agents that know each other. Its digest names it.
type Release struct {
	Name   string        `json:"name"`
	Main   string        `json:"main"`            // the agent that a request goes to
	Agents []Definition  `json:"agents"`          // sorted by name
	Bounds polity.Bounds `json:"bounds,omitzero"` // of a root run
	// Models and Sources are what the agents use beside what is built in, sorted by name.
	Models  []model.Spec  `json:"models,omitempty"`
	Sources []tool.Source `json:"sources,omitempty"`
	// Memory bounds each memory of the organization and its agents, and says by what it is searched beside words.
	Memory *Memories `json:"memory,omitempty"`
	// Retention says what becomes of the release's root runs some time after they ended; nil: they are kept.
	Retention *Retention `json:"retention,omitempty"`
	// Topics are those that the agents may publish and await, sorted by name; empty: they may publish and await any.
	Topics []Topic `json:"topics,omitempty"`
	// Messages says who may message whom; nil: outsiders the main agent, and nobody else anybody.
	Messages *Messages `json:"messages,omitempty"`
	// Hooks are where other services have runs opened, in the manifest's order.
	Hooks []Hook `json:"hooks,omitempty"`
	// Format is the version of this document; 0 stands for 1. See ReadRelease.
	Format int `json:"format,omitempty"`
}

// Retention is an organization's rule for old runs.
type Retention struct {
	Keep    polity.Duration `json:"keep"`    // after the run's end; above 0
	Archive bool            `json:"archive"` // then it is written into an archive; else it is deleted, if it can be
}

// Memories are the settings of an organization's memories.
type Memories struct {
	Embeddings string `json:"embeddings,omitempty"` // the model of Release.Models that makes vectors; "" for words alone
	Records    int    `json:"records,omitempty"`    // of one memory; 0 is memory.RecordsMax
	Bytes      int    `json:"bytes,omitempty"`      // of one memory's texts; 0 is memory.BytesMax
}

// Agent returns the definition with the given name, or of which it is an instance; nil if there is none.
func (r *Release) Agent(name string) *Definition {
	base, _ := polity.AgentName(name).Base()
	for i := range r.Agents {
		if r.Agents[i].Name == base {
			return &r.Agents[i]
		}
	}
	return nil
}
