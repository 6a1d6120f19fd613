// Package agent says what an agent is made of, and holds the decider of agents that think.
//
// It exists between the manifest, which writes definitions, and the engine, which runs them: a
// [Release] is everything a run may read, pinned by its digest when the run opens.
package agent

import (
	"encoding/json"

	"polity.run"
)

// Kind says how an agent does its work.
type Kind string

// The kinds.
const (
	KindGo    Kind = "go"    // a Go function or decider that is linked into the process
	KindExec  Kind = "exec"  // a program: JSON on standard input, JSON on standard output
	KindModel Kind = "model" // instructions, a model and tools
	KindOrg   Kind = "org"   // an organization, which is itself an agent
)

// Definition is one agent as it stands in a release. Exactly the field of its kind is set.
type Definition struct {
	Name        polity.AgentName `json:"name"`
	Kind        Kind             `json:"kind"`
	Description string           `json:"description,omitempty"`
	Skills      []polity.Skill   `json:"skills"` // at least one
	Go          *Go              `json:"go,omitempty"`
	Exec        *Exec            `json:"exec,omitempty"`
	Model       *Model           `json:"model,omitempty"`
	Org         *Org             `json:"org,omitempty"`
}

// Go names code that is linked into the process. The version stands for the code: a run that was
// opened under another version is refused, never continued with other code.
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
	// Env lists NAME=value pairs; nothing else of the environment reaches the program but PATH, HOME=the copy's
	// folder and POLITY_KEY, the effect's key.
	Env       []string        `json:"env,omitempty"`
	Effect    polity.Effect   `json:"effect"`
	Timeout   polity.Duration `json:"timeout"`
	OutputMax int             `json:"output_max"` // bytes
}

// File is a pinned file.
type File struct {
	Digest     string `json:"digest"` // hex SHA-256 of the content, which is a blob in the store
	Executable bool   `json:"executable,omitempty"`
}

// Model is an agent that thinks.
type Model struct {
	Model        string    `json:"model"` // as in quote
	Instructions string    `json:"instructions"`
	Tools        []ToolPin `json:"tools,omitempty"`
}

// ToolPin is a tool as it was when the release was made.
type ToolPin struct {
	Name   string          `json:"name"`
	Digest string          `json:"digest"` // hex SHA-256 of the tool's Spec as JSON
	Input  json.RawMessage `json:"input,omitempty"`
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
}

// Agent returns the definition with the given name, or nil.
func (r *Release) Agent(name string) *Definition {
	for i := range r.Agents {
		if string(r.Agents[i].Name) == name {
			return &r.Agents[i]
		}
	}
	return nil
}
