package tool

import (
	"encoding/json"

	"polity.run"
)

// Source declares where tools of a release come from, beside those that are built in. One of MCP, HTTP and Exec
// is set. A tool of it is named SOURCE.TOOL.
type Source struct {
	Name string `json:"name"` // letters, digits, '-' and '_'
	// Specs are the tools as they were when the release was made. What a source offers beside them is not offered to
	// agents, and what it offers otherwise is refused as fault.Diverged.
	Specs []Spec `json:"specs"`
	MCP   *MCP   `json:"mcp,omitempty"`
	HTTP  *HTTP  `json:"http,omitempty"`
	Exec  *Exec  `json:"exec,omitempty"`
	// Effects says of tools, by their own names, what they do to the world, where that is not what they say themselves.
	Effects map[string]polity.Effect `json:"effects,omitempty"`
	// Receipts says of tools, by their own names, where their receipt stands: see Spec.Receipt.
	Receipts map[string]string `json:"receipts,omitempty"`
	// Reconcile says of tools, by their own names, how it is found out what became of a call.
	Reconcile map[string]Reconcile `json:"reconcile,omitempty"`
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

// HTTPToolsMax is how many requests one source may have.
const HTTPToolsMax = 200

// HTTPTool is one request. {name} in the URL stands for a field of the input; the fields that stand nowhere are the query of
// a GET, HEAD or DELETE and the JSON body of everything else, unless Fields says where they go.
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
	Receipt   string          `json:"receipt,omitempty"` // see Spec.Receipt
	// Fields says of fields of the input where they go and how they are written. A request that says it has a body only if a field
	// goes there or ContentType is set.
	Fields map[string]HTTPField `json:"fields,omitempty"`
	// ContentType is what the body is written as: a JSON type or application/x-www-form-urlencoded; "" is application/json, and
	// ContentNone no body.
	ContentType string `json:"content_type,omitempty"`
}

// ContentNone is the HTTPTool.ContentType of a request that has no body.
const ContentNone = "none"

// HTTPField says where a field of an input goes.
type HTTPField struct {
	In   Place  `json:"in"`
	Name string `json:"name,omitempty"` // what the service calls it; "" is the field's own name
	// Style is how lists and objects are written in an address, a header or a form. "" writes them as JSON, but the items of a list
	// one by one into a query or a form. In a JSON body there is no style.
	Style Style `json:"style,omitempty"`
	// Explode writes each member of a list or an object by itself, where the style has two ways.
	Explode bool `json:"explode,omitempty"`
}

// Place is a part of a request.
type Place string

// The places.
const (
	InPath    Place = "path"    // where {field} stands in the URL
	InQuery   Place = "query"   // behind the question mark
	InHeader  Place = "header"  // a header of its own
	InBody    Place = "body"    // a field of the body
	InContent Place = "content" // the body itself; at most one field is it
)

// Style is a way to write lists and objects as text, in OpenAPI's words.
type Style string

// The styles, by what they make of the list [1, 2] in the field n, exploded and not.
const (
	StyleForm  Style = "form"           // n=1&n=2 and n=1,2
	StyleSpace Style = "spaceDelimited" // n=1%202
	StylePipe  Style = "pipeDelimited"  // n=1|2
	StyleDeep  Style = "deepObject"     // n[a]=1&n[b]=2, of an object
	StyleJSON  Style = "json"           // n=[1,2], escaped
	// StyleSimple is 1,2 and of an object a,1,b,2 or exploded a=1,b=2.
	StyleSimple Style = "simple"
)

// Exec is a set of commands, each of which is a tool. They run in the run's folder, in a sandbox.
type Exec struct {
	// Allow lists the programs that may be started: names that are looked up in PATH, and absolute paths.
	Allow []string `json:"allow"`
	// Env lists NAME=value pairs, and NAME alone for a variable that is passed on; nothing else but PATH, HOME, TMPDIR, POLITY_KEY and
	// POLITY_FOLDER reaches the programs.
	Env     []string   `json:"env,omitempty"`
	Sandbox *Sandbox   `json:"sandbox,omitempty"` // nil is the strictest
	Tools   []ExecTool `json:"tools"`
}

// ExecTool is one command.
type ExecTool struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Command is the program and its arguments; no shell reads them. {name} in an argument stands for a field of the input. Where no argument
	// has one, the whole input goes to standard input as JSON.
	Command []string        `json:"command"`
	Input   json.RawMessage `json:"input,omitempty"`
	Output  json.RawMessage `json:"output,omitempty"`
	Effect  polity.Effect   `json:"effect,omitempty"`  // "" is external
	Timeout polity.Duration `json:"timeout,omitempty"` // 0 is TimeoutDefault
	Receipt string          `json:"receipt,omitempty"` // see Spec.Receipt
}
