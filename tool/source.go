package tool

import (
	"encoding/json"

	"polity.run"
)

// Source declares where tools of a release come from, beside those that are built in. Exactly one of its kinds is
// set. A tool of it is named SOURCE.TOOL.
type Source struct {
	Name string `json:"name"` // letters, digits, '-' and '_'
	// Specs are the tools as they were when the release was made. What a source offers beside them is not offered to
	// agents, and what it offers otherwise is refused as fault.Diverged.
	Specs   []Spec   `json:"specs"`
	MCP     *MCP     `json:"mcp,omitempty"`
	HTTP    *HTTP    `json:"http,omitempty"`
	OpenAPI *OpenAPI `json:"openapi,omitempty"`
	Exec    *Exec    `json:"exec,omitempty"`
	// Effects says of tools, by their own names, what they do to the world, where that is not what they say themselves.
	Effects map[string]polity.Effect `json:"effects,omitempty"`
}

// MCP is a server of the Model Context Protocol: a program that is started (Command) or an address (URL).
type MCP struct {
	Command []string `json:"command,omitempty"`
	// Env lists NAME=value pairs, and NAME alone for a variable that is passed on; nothing else but PATH and HOME reaches the program.
	Env []string `json:"env,omitempty"`
	URL string   `json:"url,omitempty"` // streamable HTTP
	// Headers are sent with each request; $NAME in a value stands for an environment variable.
	Headers map[string]string `json:"headers,omitempty"`
	// Private allows addresses of private networks and of this machine.
	Private bool            `json:"private,omitempty"`
	Timeout polity.Duration `json:"timeout,omitempty"` // of one call; 0 is TimeoutDefault
}

// HTTP is a set of requests, each of which is a tool.
type HTTP struct {
	// Allow lists the hosts that may be reached, as in api.example.com or 127.0.0.1:8080. A redirect elsewhere is refused.
	Allow   []string          `json:"allow"`
	Private bool              `json:"private,omitempty"` // allows addresses of private networks and of this machine
	Headers map[string]string `json:"headers,omitempty"` // $NAME in a value stands for an environment variable
	Tools   []HTTPTool        `json:"tools"`
}

// HTTPTool is one request. {name} in the URL stands for a field of the input; the fields that stand nowhere are the query of
// a GET, HEAD or DELETE and the JSON body of everything else.
type HTTPTool struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Method      string          `json:"method"`
	URL         string          `json:"url"`
	Input       json.RawMessage `json:"input,omitempty"`
	Output      json.RawMessage `json:"output,omitempty"`
	Effect      polity.Effect   `json:"effect,omitempty"` // "" is none for GET and HEAD, idempotent for PUT and DELETE, else external
	// KeyHeader is the header that carries the effect's key, as in Idempotency-Key; it makes the effect keyed.
	KeyHeader string          `json:"key_header,omitempty"`
	Timeout   polity.Duration `json:"timeout,omitempty"`
}

// OpenAPI is a document (version 3.0 or 3.1) whose operations are tools.
type OpenAPI struct {
	Document  json.RawMessage   `json:"document"`       // as JSON
	URL       string            `json:"url,omitempty"`  // base address; "" is the document's first server
	Only      []string          `json:"only,omitempty"` // operation IDs; empty is all
	Private   bool              `json:"private,omitempty"`
	Headers   map[string]string `json:"headers,omitempty"`
	KeyHeader string            `json:"key_header,omitempty"`
	Timeout   polity.Duration   `json:"timeout,omitempty"`
}

// Exec is a set of programs that may be started, each of which is a tool. No shell reads anything.
type Exec struct {
	Tools []ExecTool `json:"tools"`
}

// ExecTool is a program. Its tool's input is {args: [...], stdin: "..."}; its output {exit, stdout, stderr}.
type ExecTool struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Command     []string `json:"command"` // what precedes the arguments, as in [git, log]
	// Args are patterns (RE2, whole match) of the arguments that may be given; none allows none.
	Args []string `json:"args,omitempty"`
	// Read and Write are paths that the program may read and write beside its own working folder; the run's folder may be read.
	Read    []string        `json:"read,omitempty"`
	Write   []string        `json:"write,omitempty"`
	Network bool            `json:"network,omitempty"`
	Env     []string        `json:"env,omitempty"`    // NAME=value
	Effect  polity.Effect   `json:"effect,omitempty"` // "" is external
	Memory  int64           `json:"memory,omitempty"` // bytes; 0 is 1 GiB
	Timeout polity.Duration `json:"timeout,omitempty"`
}
