package manifest

import (
	"regexp"

	"polity.run"
	"polity.run/pattern"
)

// version is the format's version.
type version string

func (version) choices() []string { return []string{"v1"} }

// file is a manifest as it is written. The types of this file are the format: the decoder reads
// into them and Schema derives from them. A field without omitempty is required.
type file struct {
	Polity      version             `json:"polity" jsonschema:"Version of the file format."`
	Name        word                `json:"name" jsonschema:"Name of the organization: the agent that a request goes to."`
	Description string              `json:"description,omitempty" jsonschema:"What the organization does, in a sentence or two."`
	Bounds      bounds              `json:"bounds,omitempty" jsonschema:"Limits of one request and all that it causes. What is left out takes the engine's default."`
	Models      map[word]provider   `json:"models,omitempty" jsonschema:"Models of providers, by the name that agents call them."`
	Tools       map[word]source     `json:"tools,omitempty" jsonschema:"Where tools come from beside those that are built in. A tool of it is named SOURCE.TOOL."`
	Memory      *memories           `json:"memory,omitempty" jsonschema:"How much the organization and its agents remember, and by what it is searched beside words."`
	Agents      map[word]member     `json:"agents" jsonschema:"The agents, by name."`
	Org         *organization       `json:"org,omitempty" jsonschema:"The organization that a request goes to. It may be left out if there is exactly one agent."`
	Topics      map[topicName]topic `json:"topics,omitempty" jsonschema:"Topics that the agents may publish on and be told of, by name, or by a pattern as in orders.*. Left out they may use any."`
	Messages    *messaging          `json:"messages,omitempty" jsonschema:"Who may message whom. Left out, people and programs may message the agent that a request goes to, and agents nobody."`
	On          []occasion          `json:"on,omitempty" jsonschema:"What polity watch watches, each with the agent that is asked about it."`
	Retention   *retention          `json:"retention,omitempty" jsonschema:"How long finished runs are kept, and what becomes of them then. Left out they are kept for good."`
}

// bounds are polity.Bounds.
type bounds struct {
	Turns   count    `json:"turns,omitempty" jsonschema:"Most commands done: questions to agents, tool calls and questions to models."`
	Tokens  count    `json:"tokens,omitempty" jsonschema:"Most model tokens, input and output together."`
	USD     money    `json:"usd,omitempty" jsonschema:"Most money, in US dollars with at most six decimals, as in 1.50."`
	Wall    duration `json:"wall,omitempty" jsonschema:"Most time, as in 10m."`
	Depth   count    `json:"depth,omitempty" jsonschema:"Most levels of agents that ask agents."`
	FanOut  count    `json:"fan_out,omitempty" jsonschema:"Most things that one agent waits for at once."`
	Retries count    `json:"retries,omitempty" jsonschema:"Most repeated attempts."`
	Reserve reserve  `json:"undo_reserve,omitempty" jsonschema:"Share of turns, tokens, usd, wall and retries that only undoing may use, as in 0.2, at most 0.9. Left out it is 0.2 where something says how it is undone."`
}

// kindWord is an agent.Kind.
type kindWord string

func (kindWord) choices() []string {
	return []string{"model", "exec", "go", "org", "http", "human", "mcp", "remote"}
}

// member is an agent. The kind tag says which kind a field belongs to; a field marked "tells" is
// required for its kind, and its presence alone tells the kind.
type member struct {
	Description string   `json:"description,omitempty" jsonschema:"What the agent does, in a sentence or two. Planners choose by it."`
	Kind        kindWord `json:"kind,omitempty" jsonschema:"How the agent works. It may be left out: model, command, use or pattern tells it."`
	Skills      []skill  `json:"skills,omitempty" jsonschema:"What the agent can do. Left out it is one skill with the agent's name and description."`

	Model            string     `json:"model,omitempty" kind:"model" tells:"kind" jsonschema:"Kind model: name of the model, as in quote."`
	Instructions     string     `json:"instructions,omitempty" kind:"model" jsonschema:"Kind model: what the model is told about its task."`
	InstructionsFile string     `json:"instructions_file,omitempty" kind:"model" jsonschema:"Kind model: file with the instructions, relative to the manifest. It is pinned."`
	Gather           []toolUse  `json:"gather,omitempty" kind:"model" jsonschema:"Kind model: tools that are called for each request, before the model is asked."`
	Tools            []string   `json:"tools,omitempty" kind:"model" jsonschema:"Kind model: tools that the model may call. A source's name and .* stand for all of its tools."`
	Asks             []agentUse `json:"agents,omitempty" kind:"model" jsonschema:"Kind model: agents that the model may ask, as if they were tools."`
	Steps            steps      `json:"steps,omitempty" kind:"model" jsonschema:"Kind model: how often the model may think for one request; default 16."`
	Repairs          *repairs   `json:"repairs,omitempty" kind:"model" jsonschema:"Kind model: how often the model may correct an answer that does not fit; default 2."`
	Approve          *approve   `json:"approve,omitempty" kind:"model" jsonschema:"Kind model: which tools and agents are not used before somebody has approved exactly what is to be done."`
	Memory           *remembers `json:"memory,omitempty" kind:"model" jsonschema:"Kind model: what the agent remembers from run to run."`
	Context          *window    `json:"context,omitempty" kind:"model" jsonschema:"Kind model: what is done before the conversation is too long."`

	Command   []string   `json:"command,omitempty" kind:"exec" tells:"kind" jsonschema:"Kind exec: program and arguments; no shell reads them. A word that begins with ./ is a file of the manifest's folder and is pinned."`
	Files     []string   `json:"files,omitempty" kind:"exec" jsonschema:"Kind exec: more files of the manifest's folder that the program needs. They are pinned."`
	Env       []string   `json:"env,omitempty" kind:"exec" jsonschema:"Kind exec: NAME=value pairs for the program's environment."`
	Effect    effectWord `json:"effect,omitempty" kind:"exec" jsonschema:"Kind exec: what the program does to the world, which decides what a crash may do to it. Default external, the careful one."`
	Timeout   duration   `json:"timeout,omitempty" kind:"exec" jsonschema:"Kind exec: most time for one request; default 60s."`
	OutputMax size       `json:"output_max,omitempty" kind:"exec" jsonschema:"Kind exec: most bytes that the program may write; default 1MiB."`
	Sandbox   *sandbox   `json:"sandbox,omitempty" kind:"exec" jsonschema:"Kind exec: what the program may reach and use. Left out it is the strictest: no network, its own folder to write, the run's folder to read."`

	HTTP  *service `json:"http,omitempty" kind:"http" tells:"kind" jsonschema:"Kind http: a service that is asked by POST, with JSON both ways."`
	MCP   string   `json:"mcp,omitempty" kind:"mcp" tells:"kind" jsonschema:"Kind mcp: name of the source whose tools are this agent's skills."`
	Human *person  `json:"human,omitempty" kind:"human" tells:"kind" jsonschema:"Kind human: a person, who is asked on the terminal or by polity runs questions, and answers in their own time."`

	Remote *elsewhere `json:"remote,omitempty" kind:"remote" tells:"kind" jsonschema:"Kind remote: code in another process, which connects with credentials of its own (polity bus creds). {} is enough."`

	Use string `json:"use,omitempty" kind:"go" tells:"kind" jsonschema:"Kind go: registered name of the code that is linked in."`

	patterned
}

// provider is model.Spec.
type provider struct {
	API       apiWord  `json:"api" jsonschema:"Protocol that the provider speaks: openai (chat completions, as of many servers) or anthropic (messages)."`
	URL       string   `json:"url,omitempty" jsonschema:"Base address, as in http://127.0.0.1:11434/v1. Left out it is the protocol's own provider."`
	Model     string   `json:"model" jsonschema:"What the provider calls the model."`
	KeyEnv    string   `json:"key_env,omitempty" jsonschema:"Environment variable that holds the key. The key itself never stands here."`
	Price     price    `json:"price" jsonschema:"What tokens cost, in US dollars per million. What nobody knows cannot be bounded: write 0 for what is free."`
	Context   count    `json:"context_max,omitempty" jsonschema:"Most tokens of a request and its answer; default 128000."`
	OutputMax count    `json:"output_max,omitempty" jsonschema:"Most tokens of an answer; default 4096."`
	Timeout   duration `json:"timeout,omitempty" jsonschema:"Most time for one attempt; default 2m."`
	Attempts  attempts `json:"attempts,omitempty" jsonschema:"How often a request is sent while the provider cannot answer; default 4."`
	PerMinute count    `json:"per_minute,omitempty" jsonschema:"Most requests a minute to the provider with this address and key, over all runs. Left out there is no limit."`
	AtOnce    atOnce   `json:"at_once,omitempty" jsonschema:"Most requests at once to it; default 16."`
	Fallback  []word   `json:"fallback,omitempty" jsonschema:"Models that are asked instead, in this order, while this one is not available."`
	Options   value    `json:"options,omitempty" jsonschema:"Further fields of the provider's request, as in {temperature: 0}."`
}

// apiWord is a model.API.
type apiWord string

func (apiWord) choices() []string { return []string{"openai", "anthropic"} }

// price is model.Price.
type price struct {
	Input      perMillion `json:"input" jsonschema:"Of a million tokens that are sent."`
	Output     perMillion `json:"output" jsonschema:"Of a million tokens that are answered."`
	CacheRead  perMillion `json:"cache_read,omitempty" jsonschema:"Of a million tokens that come from the provider's cache. Left out it is the price of input."`
	CacheWrite perMillion `json:"cache_write,omitempty" jsonschema:"Of a million tokens that go into it. Left out it is the price of input."`
}

// source is tool.Source.
type source struct {
	HTTP    *requests             `json:"http,omitempty" jsonschema:"Requests to a service, each of which is a tool."`
	Exec    *programs             `json:"exec,omitempty" jsonschema:"Commands, each of which is a tool. They run in the run's folder, in a sandbox."`
	OpenAPI *described            `json:"openapi,omitempty" jsonschema:"A service that an OpenAPI document describes. Its operations are the tools."`
	MCP     *server               `json:"mcp,omitempty" jsonschema:"A server of the Model Context Protocol. Its tools are accepted with polity tools accept."`
	Effects map[string]effectWord `json:"effects,omitempty" jsonschema:"What tools do to the world, by their own names, where that is not what they say themselves."`

	Receipts  map[string]string    `json:"receipts,omitempty" jsonschema:"Where a call's receipt stands, by tools' own names: a path into the answer, as $.id, a header of an HTTP answer, or a key of an MCP result's _meta."`
	Reconcile map[string]reconcile `json:"reconcile,omitempty" jsonschema:"How it is found out what became of a call whose answer did not come, by tools' own names; of class external alone."`
}

// reconcile is tool.Reconcile.
type reconcile struct {
	Ask      string     `json:"ask" jsonschema:"Tool of this source that is asked, by its own name. It may only read: its class is none."`
	Input    value      `json:"input,omitempty" jsonschema:"What it is asked. In texts {key} stands for the call's key, {since} for the time before which it did not begin, {input} and {input.name} for the call's input. Left out it is key, input and since, as far as the tool takes them."`
	Output   string     `json:"output,omitempty" jsonschema:"Path at which the answer holds what the call would have answered, as $.data[0]: if something stands there it was done. Left out the tool answers {verdict: done|not_done|unknown, output, receipt}."`
	Absent   absentWord `json:"absent,omitempty" jsonschema:"What it means that the tool finds nothing: unknown, the default, or not_done. That is a promise: a request with the key that is still on its way is not done either."`
	Wait     duration   `json:"wait,omitempty" jsonschema:"Time before it is asked, in which what was on its way arrives; default none, at most 10m."`
	Every    duration   `json:"every,omitempty" jsonschema:"Time between two questions; default 1s, at most 1m."`
	Attempts asks       `json:"attempts,omitempty" jsonschema:"How often is asked before nobody knows; default 5."`
}

// absentWord is a polity.Verdict.
type absentWord string

func (absentWord) choices() []string { return []string{"unknown", "not_done"} }

// described is openapi.Use.
type described struct {
	Document    string            `json:"document" jsonschema:"File with an OpenAPI document of version 3.0 or 3.1, YAML or JSON, relative to the manifest. What is made of it is pinned."`
	Operations  []string          `json:"operations,omitempty" jsonschema:"Operations that are tools: an operationId, a tool's name, or method and path as in GET /pets. * stands for any text; ! before one leaves it out. Left out it is all."`
	Server      string            `json:"server,omitempty" jsonschema:"Address that the paths are below. Left out it is the document's own."`
	Allow       []string          `json:"allow" jsonschema:"Hosts that may be reached, as in api.example.com or 127.0.0.1:8080."`
	Private     bool              `json:"private,omitempty" jsonschema:"Whether addresses of this machine and of private networks may be reached."`
	Headers     map[string]string `json:"headers,omitempty" jsonschema:"Headers of each request. $NAME in a value stands for an environment variable. A parameter with such a name is not asked for."`
	CheckOutput bool              `json:"check_output,omitempty" jsonschema:"Whether answers must be as the document says. Left out they may be any JSON."`
	Timeout     duration          `json:"timeout,omitempty" jsonschema:"Most time for one call; default 60s."`
}

// server is tool.MCP.
type server struct {
	Command []string          `json:"command,omitempty" jsonschema:"Program and arguments; no shell reads them. It speaks on standard input and output."`
	Env     []string          `json:"env,omitempty" jsonschema:"Variables for the program: NAME=value, and NAME alone for a variable that is passed on. Nothing else but PATH and HOME reaches it."`
	URL     string            `json:"url,omitempty" jsonschema:"Address, for a server that is reached over HTTP."`
	Headers map[string]string `json:"headers,omitempty" jsonschema:"Headers of each request. $NAME in a value stands for an environment variable."`
	Private bool              `json:"private,omitempty" jsonschema:"Whether the address may be of this machine or of a private network."`
	Timeout duration          `json:"timeout,omitempty" jsonschema:"Most time for one call; default 60s."`
}

// requests are tool.HTTP.
type requests struct {
	Allow   []string          `json:"allow" jsonschema:"Hosts that may be reached, as in api.example.com or 127.0.0.1:8080."`
	Private bool              `json:"private,omitempty" jsonschema:"Whether addresses of this machine and of private networks may be reached."`
	Headers map[string]string `json:"headers,omitempty" jsonschema:"Headers of each request. $NAME in a value stands for an environment variable."`
	Tools   []webTool         `json:"tools" jsonschema:"The requests."`
}

// webTool is tool.HTTPTool.
type webTool struct {
	Name        word       `json:"name" jsonschema:"Name of the tool within its source."`
	Description string     `json:"description,omitempty" jsonschema:"What it does. The model chooses by it."`
	Method      methodWord `json:"method,omitempty" jsonschema:"HTTP method; default GET."`
	URL         string     `json:"url" jsonschema:"Address; {name} in it stands for a field of the input."`
	Input       schemaUse  `json:"input,omitempty" jsonschema:"JSON Schema of the input. Left out it is the fields of the address."`
	Output      schemaUse  `json:"output,omitempty" jsonschema:"JSON Schema of the answer. Left out it is any JSON."`
	Effect      effectWord `json:"effect,omitempty" jsonschema:"What the request does to the world. Left out it is none for GET and HEAD, idempotent for PUT and DELETE, else external."`
	KeyHeader   string     `json:"key_header,omitempty" jsonschema:"Header in which the service takes an idempotency key; the effect is then keyed."`
	Receipt     string     `json:"receipt,omitempty" jsonschema:"What is kept of an answer as its receipt, beside status, Location and ETag: a path into it, as $.id, or a header."`
	Timeout     duration   `json:"timeout,omitempty" jsonschema:"Most time; default 60s."`
}

// programs are tool.Exec.
type programs struct {
	Allow   []string      `json:"allow" jsonschema:"Programs that may be started: names that are looked up in PATH, or absolute paths."`
	Env     []string      `json:"env,omitempty" jsonschema:"Variables for the programs: NAME=value, and NAME alone for a variable that is passed on."`
	Sandbox *sandbox      `json:"sandbox,omitempty" jsonschema:"What the programs may reach and use. Left out it is the strictest: no network, and the run's folder to read."`
	Tools   []programTool `json:"tools" jsonschema:"The commands."`
}

// programTool is tool.ExecTool.
type programTool struct {
	Name        word       `json:"name" jsonschema:"Name of the tool within its source."`
	Description string     `json:"description,omitempty" jsonschema:"What it does. The model chooses by it."`
	Command     []string   `json:"command" jsonschema:"Program and arguments; no shell reads them. {name} in an argument stands for a field of the input. Without any, the input goes to standard input as JSON."`
	Input       schemaUse  `json:"input,omitempty" jsonschema:"JSON Schema of the input. Left out it is the placeholders of the command, as texts."`
	Output      schemaUse  `json:"output,omitempty" jsonschema:"JSON Schema of the answer: what the program prints if that is JSON, else {text: ...}. Left out it is any JSON."`
	Effect      effectWord `json:"effect,omitempty" jsonschema:"What the command does to the world, which decides what a crash may do to it. Default external, the careful one."`
	Receipt     string     `json:"receipt,omitempty" jsonschema:"Path of the receipt in what the program prints, as $.id."`
	Timeout     duration   `json:"timeout,omitempty" jsonschema:"Most time; default 60s."`
}

// sandbox is tool.Sandbox.
type sandbox struct {
	Off       bool             `json:"off,omitempty" jsonschema:"Whether the program runs without a sandbox, with the rights of polity itself."`
	Network   bool             `json:"network,omitempty" jsonschema:"Whether it may connect to other machines, to any address."`
	Folder    accessWord       `json:"folder,omitempty" jsonschema:"What it may do with the run's folder; default read."`
	Read      []string         `json:"read,omitempty" jsonschema:"Absolute paths that it may read as well, with all below them."`
	Write     []string         `json:"write,omitempty" jsonschema:"Absolute paths that it may read and write as well, with all below them."`
	Memory    capacity         `json:"memory,omitempty" jsonschema:"Most memory, of all its processes together; default 1GiB."`
	Disk      capacity         `json:"disk,omitempty" jsonschema:"Most bytes of one file, and of its own folder; default 1GiB."`
	CPU       duration         `json:"cpu,omitempty" jsonschema:"Most processor time of each process, in whole seconds. Left out it is what the timeout allows."`
	Processes processes        `json:"processes,omitempty" jsonschema:"Most processes and threads at once; default 256."`
	Require   []protectionWord `json:"require,omitempty" jsonschema:"What must be protected: where the kernel cannot, the program is not started. Left out it is started with what the kernel can."`
}

// accessWord is a tool.Access.
type accessWord string

func (accessWord) choices() []string { return []string{"read", "write"} }

// protectionWord is a tool.Protection.
type protectionWord string

func (protectionWord) choices() []string {
	return []string{"files", "network", "limits", "processes"}
}

// methodWord is an HTTP method.
type methodWord string

func (methodWord) choices() []string {
	return []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
}

// service is agent.HTTP.
type service struct {
	URL     string            `json:"url" jsonschema:"Address that the input is posted to."`
	Headers map[string]string `json:"headers,omitempty" jsonschema:"Headers of each request. $NAME in a value stands for an environment variable."`
	Private bool              `json:"private,omitempty" jsonschema:"Whether the address may be of this machine or of a private network."`
	Effect  effectWord        `json:"effect,omitempty" jsonschema:"What the service does to the world; keyed if it honours the header Idempotency-Key. Default external, the careful one."`
	Timeout duration          `json:"timeout,omitempty" jsonschema:"Most time for one request; default 60s."`
}

// elsewhere is agent.Remote.
type elsewhere struct {
	Effect  effectWord `json:"effect,omitempty" jsonschema:"What the agent does to the world. Default keyed: it takes a question with the same ID for the same one, as the protocol wants."`
	Timeout duration   `json:"timeout,omitempty" jsonschema:"How long an answer is waited for, also while the agent is away; default 1h. The bound wall holds as well."`
}

// person is agent.Human.
type person struct {
	Ask     string   `json:"ask" jsonschema:"What the person is asked, before the request itself."`
	Timeout duration `json:"timeout,omitempty" jsonschema:"How long the answer is waited for; default 24h. The bound wall holds as well."`
}

// approve is agent.Approve.
type approve struct {
	By      word     `json:"by" jsonschema:"Who decides: an agent of kind human, or one with a skill named approve."`
	Tools   []string `json:"tools,omitempty" jsonschema:"Tools of this agent that wait for approval. A source's name and .* stand for all of its tools that it may call."`
	Agents  []word   `json:"agents,omitempty" jsonschema:"Agents that it may ask, and whose questions wait for approval."`
	Timeout duration `json:"timeout,omitempty" jsonschema:"How long a decision is waited for; then it is not approved. Left out it is as long as whoever decides may take."`
}

// window is agent.Context.
type window struct {
	Max     count       `json:"max,omitempty" jsonschema:"Most tokens of a request, by estimate. Left out it is what the model's context leaves beside its answer."`
	Compact compactWord `json:"compact,omitempty" jsonschema:"drop leaves the oldest out, summarise has the model sum it up, refer replaces long results by references; default refer."`
}

// memories are agent.Memories.
type memories struct {
	Embeddings word  `json:"embeddings,omitempty" jsonschema:"Model of this manifest that turns texts into vectors, of api openai. Left out memories are searched by words alone."`
	Records    count `json:"records,omitempty" jsonschema:"Most records of one memory; default 20000. Then the oldest episodes and notes are forgotten."`
	Bytes      size  `json:"bytes,omitempty" jsonschema:"Most bytes of one memory's texts; default 32MiB."`
}

// remembers is agent.Memory.
type remembers struct {
	Recall   *recalls     `json:"recall,omitempty" jsonschema:"How many records are looked up for each request, by its question; default 5, 0 for none."`
	Kinds    []memoryWord `json:"kinds,omitempty" jsonschema:"Of what kinds: episode (past runs), note (what was written down), passage (documents). Left out all."`
	Episodes bool         `json:"episodes,omitempty" jsonschema:"Whether each run with an answer is remembered."`
	Share    bool         `json:"share,omitempty" jsonschema:"Whether what this agent remembers belongs to the whole organization."`
}

// memoryWord is a memory.Kind.
type memoryWord string

func (memoryWord) choices() []string { return []string{"episode", "note", "passage"} }

// compactWord is an agent.Compaction.
type compactWord string

func (compactWord) choices() []string { return []string{"drop", "summarise", "refer"} }

// organization is the main organization.
type organization struct {
	Skills []skill `json:"skills,omitempty" jsonschema:"What can be asked of the organization. Left out it is one skill with its name and description."`
	patterned
}

// patternWord names a pattern.
type patternWord string

func (patternWord) choices() []string { return pattern.Names() }

// patterned is the pattern of an organization, and what the patterns need. The pattern tag says to which ones a field belongs; the one
// with an exclamation mark cannot do without it. A field that several patterns have stands in shared.
type patterned struct {
	Pattern patternWord `json:"pattern,omitempty" kind:"org" tells:"kind" jsonschema:"Kind org: who acts next. hub: a coordinator asks specialists, verifies their claims and puts the answer together. sequence: stages, one after the other. parallel: agents that are asked at once. loop: one makes what another judges, until it is good enough. router: one of several is asked, by rules or a classifier. handoff: control of one conversation moves from agent to agent. peers: agents that send each other messages. hierarchy: an executive, departments with managers, and workers. debate: several answer each other in rounds, and a judge decides."`
	shared
	hub
	sequence
	parallel
	loop
	router
	handoff
	peers
	hierarchy
	debate
}

// shared are the fields of several patterns.
type shared struct {
	Join     join   `json:"join,omitempty" kind:"org" pattern:"hub,parallel" jsonschema:"Patterns hub and parallel: how many steps or branches must succeed; default all."`
	Hedge    hedge  `json:"hedge,omitempty" kind:"org" pattern:"hub,parallel" jsonschema:"Patterns hub and parallel: a second question where an answer is slow, to agents that may be asked twice without harm, and to at most 5 of 100."`
	Rounds   *tries `json:"rounds,omitempty" kind:"org" pattern:"loop,debate" jsonschema:"Pattern loop: how many candidates there may be; default 3, at most 20. Pattern debate: most rounds after the openings; default 2, at most 10, or 3 in a deliberative debate."`
	Fallback word   `json:"fallback,omitempty" kind:"org" pattern:"hub,router,handoff" jsonschema:"Pattern hub: match, if code plans where the planner makes no plan that can be carried out; left out the run fails then. Pattern router: agent that is asked where no route is found; left out the run says that it abstains. Pattern handoff: agent that takes over from one that cannot go on."`
	AtOnce   bool   `json:"undo_at_once,omitempty" kind:"org" pattern:"hub,sequence" jsonschema:"Patterns hub and sequence: whether everything is undone side by side, a step after those that rested on it, instead of the last one first."`
	Stuck    word   `json:"stuck,omitempty" kind:"org" pattern:"hub,sequence" jsonschema:"Patterns hub and sequence: who is asked, as a person, about what cannot be undone."`
	Links    []link `json:"links,omitempty" kind:"org" pattern:"handoff!,peers" jsonschema:"Pattern handoff: who may hand over to whom. Pattern peers: who may write to whom."`
}

// link is pattern.Link.
type link struct {
	From word   `json:"from" jsonschema:"Agent from which the link leads."`
	To   []word `json:"to" jsonschema:"Agents to which it leads."`
	Both bool   `json:"both,omitempty" jsonschema:"Whether it leads the other way as well."`
	Back bool   `json:"back,omitempty" jsonschema:"Pattern handoff: whether it may lead back at once to whoever handed over."`
}

// messaging is agent.Messages.
type messaging struct {
	Links  []mayMessage    `json:"links,omitempty" jsonschema:"Links are permissions: where there is none, nothing passes."`
	Groups map[word][]word `json:"groups,omitempty" jsonschema:"Agents that are messaged together, by the name of their group."`
}

// mayMessage is agent.Link.
type mayMessage struct {
	From addressText   `json:"from" jsonschema:"Who may send: an agent, or outside for people and programs that are no agents, or outside:NAME for one of them, or ORG/NAME for an agent of another organization, whose manifest has to have the link too."`
	To   []addressText `json:"to" jsonschema:"To whom: agents, group:NAME, role:NAME (a field of an organization that names its members, as in specialists), topic:PATTERN, or ORG/NAME, an agent of another organization, whose manifest has to have the link too."`
	Both bool          `json:"both,omitempty" jsonschema:"Whether the link leads the other way as well: from an agent to agents."`
}

// addressText is a message.Address.
type addressText string

var addressShape = regexp.MustCompile(`^((agent|role|group|outside):)?[a-z0-9][a-z0-9_-]*$|^topic:[a-z0-9_.*>-]+$|^[a-z0-9][a-z0-9_-]*/[a-z0-9][a-z0-9_-]*$`)

func (addressText) shape() shape {
	return shape{addressShape, polity.TopicMax + len("topic:"), "an agent, outside, group:NAME, role:NAME, topic:PATTERN or ORG/NAME"}
}

// hedge says when an agent is asked a second time.
type hedge struct {
	After duration `json:"after" jsonschema:"How long the first answer is waited for, as in 2s."`
}

// hub is pattern.Hub.
type hub struct {
	Specialists []word  `json:"specialists,omitempty" kind:"org" pattern:"hub!" jsonschema:"Pattern hub: names of the agents that may be asked."`
	Plan        []step  `json:"plan,omitempty" kind:"org" pattern:"hub" jsonschema:"Pattern hub: the steps. Left out a planner makes them for each request."`
	Planner     word    `json:"planner,omitempty" kind:"org" pattern:"hub" jsonschema:"Pattern hub: who plans where no plan is declared, and plans anew what failed. match, the default: code that matches the request with the skills. Else the name of an agent."`
	Review      word    `json:"review,omitempty" kind:"org" pattern:"hub" jsonschema:"Pattern hub: agent, as a rule a person, that approves the plan before anything of it is done."`
	Synthesizer word    `json:"synthesizer,omitempty" kind:"org" pattern:"hub" jsonschema:"Pattern hub: agent that words the answer from what was found and verified. Findings and verdict stay as they are."`
	Ledger      *ledger `json:"ledger,omitempty" kind:"org" pattern:"hub" jsonschema:"Pattern hub: instead of a plan a lead that says round by round who does what."`
	Caps        caps    `json:"caps,omitempty" kind:"org" pattern:"hub" jsonschema:"Pattern hub: limits of every plan."`
	Retries     *tries  `json:"retries,omitempty" kind:"org" pattern:"hub" jsonschema:"Pattern hub: how often a failed step is asked again; default 1."`
	Replans     *tries  `json:"replans,omitempty" kind:"org" pattern:"hub" jsonschema:"Pattern hub: how often the rest of the plan may be made anew; default 1."`
	Verdict     []rule  `json:"verdict,omitempty" kind:"org" pattern:"hub" jsonschema:"Pattern hub: rules over verified claims; the first that holds is the verdict."`
}

// ledger is pattern.Ledger.
type ledger struct {
	Lead   word   `json:"lead" jsonschema:"Agent that keeps the ledgers and chooses who is asked. It is no specialist."`
	Rounds count  `json:"rounds,omitempty" jsonschema:"How often somebody is chosen; default 20, at most 100."`
	Stall  *tries `json:"stall,omitempty" jsonschema:"How high the count of bad rounds may be before facts and plan are written anew; default 3."`
	Resets *tries `json:"resets,omitempty" jsonschema:"How often they may be; default 2. What was verified stays."`
}

// parallel is pattern.Parallel.
type parallel struct {
	Branches []branch  `json:"branches,omitempty" kind:"org" pattern:"parallel!" jsonschema:"Pattern parallel: who is asked at once."`
	Valid    schemaUse `json:"valid,omitempty" kind:"org" pattern:"parallel" jsonschema:"Pattern parallel: JSON Schema that an answer must fit to count: written here, or the name of a file in the manifest's folder."`
	Checker  word      `json:"checker,omitempty" kind:"org" pattern:"parallel" jsonschema:"Pattern parallel: agent that says whether an answer is valid. It is no branch."`
	Merge    word      `json:"merge,omitempty" kind:"org" pattern:"parallel" jsonschema:"Pattern parallel: agent that makes one answer of several. Left out they stand side by side."`
}

// branch is pattern.Branch.
type branch struct {
	Agent     word   `json:"agent" jsonschema:"Agent that is asked."`
	Skill     word   `json:"skill,omitempty" jsonschema:"Skill that is asked; it may be left out if the agent has one."`
	Objective string `json:"objective,omitempty" jsonschema:"What this branch is for."`
	Input     value  `json:"input,omitempty" jsonschema:"What is asked instead of the request. A text such as $input.question stands for a value of the request."`
	Bounds    bounds `json:"bounds,omitempty" jsonschema:"Limits that are delegated to the branch."`
}

// loop is pattern.Loop.
type loop struct {
	Generator word   `json:"generator,omitempty" kind:"org" pattern:"loop!" jsonschema:"Pattern loop: agent that makes candidates."`
	Evaluator word   `json:"evaluator,omitempty" kind:"org" pattern:"loop!" jsonschema:"Pattern loop: agent that judges them, best a program that tests them. It is not the generator."`
	Patience  *tries `json:"patience,omitempty" kind:"org" pattern:"loop" jsonschema:"Pattern loop: after how many rounds that brought nothing better it is given up; default 2."`
}

// sequence is pattern.Sequence.
type sequence struct {
	Stages []stage  `json:"stages,omitempty" kind:"org" pattern:"sequence!" jsonschema:"Pattern sequence: the agents that are asked one after the other, each with what the one before answered."`
	Failed *publish `json:"failed,omitempty" kind:"org" pattern:"sequence" jsonschema:"Pattern sequence: where it is told that a run fails, once what it did is undone. The event has the fields of what was asked, and failed."`
}

// stage is pattern.Stage.
type stage struct {
	Agent     word     `json:"agent,omitempty" jsonschema:"Agent that is asked."`
	Wait      *pause   `json:"wait,omitempty" jsonschema:"Lets time pass, in place of an agent. What the stage before answered goes on."`
	Publish   *publish `json:"publish,omitempty" jsonschema:"Publishes what the stage before answered, in place of an agent. That goes on."`
	Await     *await   `json:"await,omitempty" jsonschema:"Waits for a signal or for an event on a topic, in place of an agent. Its data is the stage's answer. Beside publish it waits from before that is published."`
	Skill     word     `json:"skill,omitempty" jsonschema:"Skill that is asked; it may be left out if the agent has one."`
	Objective string   `json:"objective,omitempty" jsonschema:"What this stage is for."`
	Optional  bool     `json:"optional,omitempty" jsonschema:"Whether the sequence goes on without it if it fails."`
	Bounds    bounds   `json:"bounds,omitempty" jsonschema:"Limits that are delegated to the stage."`
	Undo      *undo    `json:"undo,omitempty" jsonschema:"Who undoes the stage when a later one fails for good. Left out it is as its skill says."`
	Approve   *lets    `json:"approve,omitempty" jsonschema:"Who has to let the stage go, exactly as it is asked. Left out it is as its skill says."`
}

// publish is pattern.Publish.
type publish struct {
	Topic string `json:"topic" jsonschema:"Topic, as in orders.placed."`
}

// pause is pattern.Wait.
type pause struct {
	For   duration `json:"for,omitempty" jsonschema:"How long, as in 2h."`
	Until instant  `json:"until,omitempty" jsonschema:"Until when, with the offset from UTC, as in 2026-12-24T08:00:00+01:00."`
}

// await is pattern.Await.
type await struct {
	Signal string    `json:"signal,omitempty" jsonschema:"Name of a signal to the run, as in paid. It is declared by this."`
	Schema schemaUse `json:"schema,omitempty" jsonschema:"JSON Schema of the signal's data: written here, or the name of a file in the manifest's folder. Left out it is any JSON."`
	Topic  string    `json:"topic,omitempty" jsonschema:"Topic of which the next event is awaited, as in orders.paid; * stands for any one word of it, and > at the end for one and more."`
	Match  value     `json:"match,omitempty" jsonschema:"Object that the data must have: each field there, with this value."`
	Same   []string  `json:"same,omitempty" jsonschema:"Fields of the data that must be as in what the stage before answered, as in [order]."`
	Within duration  `json:"within,omitempty" jsonschema:"How long it is waited for, as in 72h. Left out it is as long as the bound wall allows."`
	Until  instant   `json:"until,omitempty" jsonschema:"Until when it is waited for, with the offset from UTC."`
	Into   string    `json:"into,omitempty" jsonschema:"Field in which the data joins what the stage before answered. Left out it takes its place."`
	Fails  string    `json:"fails,omitempty" jsonschema:"Condition on the data with which the stage fails, as in data.failed or data.amount < 10."`
	Else   value     `json:"else,omitempty" jsonschema:"What takes the place of the data when the time is over. Left out the stage fails then."`
}

// undo is pattern.Undo.
type undo struct {
	Agent word `json:"agent" jsonschema:"Agent that is asked, with the stage's input and output. It must do no harm if it is asked twice."`
	Skill word `json:"skill,omitempty" jsonschema:"Skill that is asked; it may be left out if the agent has one."`
}

// router is pattern.Router.
type router struct {
	Routes      []route      `json:"routes,omitempty" kind:"org" pattern:"router!" jsonschema:"Pattern router: where requests may go. The first one with a condition that holds is taken."`
	Classifier  word         `json:"classifier,omitempty" kind:"org" pattern:"router" jsonschema:"Pattern router: agent that says where a request belongs for which no condition holds."`
	Least       fraction     `json:"least,omitempty" kind:"org" pattern:"router" jsonschema:"Pattern router: how sure the classifier must be, after calibration; default 0.6."`
	Calibration []calibrated `json:"calibration,omitempty" kind:"org" pattern:"router" jsonschema:"Pattern router: how often the classifier was right when it said how sure it was. Left out it is believed."`
}

// route is pattern.Route.
type route struct {
	Name        word       `json:"name,omitempty" jsonschema:"Name of the route. Left out it is the agent's."`
	Agent       word       `json:"agent" jsonschema:"Agent that is asked."`
	Skill       word       `json:"skill,omitempty" jsonschema:"Skill that is asked; it may be left out if the agent has one."`
	Description string     `json:"description,omitempty" jsonschema:"What belongs here, for the classifier. Left out it is the agent's description."`
	When        conditions `json:"when,omitempty" jsonschema:"Condition of the request, or several of which one is enough. Left out only the classifier comes here."`
	Bounds      bounds     `json:"bounds,omitempty" jsonschema:"Limits that are delegated to the agent."`
}

// condition is pattern.Condition.
type condition struct {
	Field    string `json:"field" jsonschema:"What is looked at, as in input.kind, or input for the whole request."`
	Equals   value  `json:"equals,omitempty" jsonschema:"The value that it must be."`
	Contains string `json:"contains,omitempty" jsonschema:"What its text must contain, in whatever case."`
	Matches  string `json:"matches,omitempty" jsonschema:"Regular expression (RE2) that its text must match."`
}

// calibrated is pattern.Calibrated.
type calibrated struct {
	Said  fraction `json:"said" jsonschema:"How sure the classifier says it is, 0 to 1."`
	Right fraction `json:"right" jsonschema:"The share of such answers that were right, 0 to 1."`
}

// handoff is pattern.Handoff.
type handoff struct {
	Owner    word        `json:"owner,omitempty" kind:"org" pattern:"handoff!" jsonschema:"Pattern handoff: agent that is in control first."`
	Hops     hops        `json:"hops,omitempty" kind:"org" pattern:"handoff" jsonschema:"Pattern handoff: most handovers of the whole conversation; default 10. Then whoever is in control answers."`
	NoReturn *noReturn   `json:"no_return,omitempty" kind:"org" pattern:"handoff" jsonschema:"Pattern handoff: for how many hops an agent that handed over cannot be handed the conversation again; default 1."`
	History  historyWord `json:"history,omitempty" kind:"org" pattern:"handoff" jsonschema:"Pattern handoff: what is told of earlier handovers: the last one, the summary of each, or all with the work of each; default summary."`
}

// historyWord is the history of a pattern.Handoff.
type historyWord string

func (historyWord) choices() []string { return []string{"last", "summary", "all"} }

// peers is pattern.Peers.
type peers struct {
	Peers    []peer     `json:"peers,omitempty" kind:"org" pattern:"peers!" jsonschema:"Pattern peers: the members, in the order of a ring."`
	Topology topology   `json:"topology,omitempty" kind:"org" pattern:"peers" jsonschema:"Pattern peers: who may write to whom: mesh, ring, star, sparse or links. Left out it is links if there are any, else mesh."`
	Start    []word     `json:"start,omitempty" kind:"org" pattern:"peers" jsonschema:"Pattern peers: who gets the request. Left out it is everybody who is there from the start."`
	Goal     *goal      `json:"goal,omitempty" kind:"org" pattern:"peers" jsonschema:"Pattern peers: what ends it, beside quiet and limits."`
	Limits   peerLimits `json:"limits,omitempty" kind:"org" pattern:"peers" jsonschema:"Pattern peers: limits, beside the bounds."`
}

// peer is pattern.Peer.
type peer struct {
	Agent  word     `json:"agent" jsonschema:"Agent that takes part."`
	Joins  joinWord `json:"joins,omitempty" jsonschema:"start, or later: when somebody sends it an invite. Default start."`
	Bounds bounds   `json:"bounds,omitempty" jsonschema:"Limits that are delegated to each of its turns."`
}

// joinWord is when a peer joins.
type joinWord string

func (joinWord) choices() []string { return []string{"start", "later"} }

// topology is pattern.Topology.
type topology struct {
	Shape  shapeWord `json:"shape" jsonschema:"mesh: everybody to everybody; ring: each to its two neighbours; star: everybody to the center; sparse: each to its degree nearest ones; links: as the links say."`
	Center word      `json:"center,omitempty" jsonschema:"Shape star: the member in the middle."`
	Degree count     `json:"degree,omitempty" jsonschema:"Shape sparse: how many others each is linked to."`
}

// shapeWord is the shape of a topology.
type shapeWord string

func (shapeWord) choices() []string { return []string{"mesh", "ring", "star", "sparse", "links"} }

// goal is pattern.Goal.
type goal struct {
	When *goalState `json:"when,omitempty" jsonschema:"What the state of a member must hold."`
	Done howMany    `json:"done,omitempty" jsonschema:"How many members say that they are done, or all."`
}

// goalState is pattern.GoalState.
type goalState struct {
	Member word `json:"member,omitempty" jsonschema:"The member. Left out it is any."`
	condition
}

// peerLimits are pattern.PeerLimits.
type peerLimits struct {
	Turns    count `json:"turns,omitempty" jsonschema:"Most turns of all members together; default 200."`
	Messages count `json:"messages,omitempty" jsonschema:"Most messages that are delivered; default 1000."`
	Queue    count `json:"queue,omitempty" jsonschema:"Most messages that wait for one member; default 100. More are returned."`
	Stall    count `json:"stall,omitempty" jsonschema:"Turns in a row that send something and say nothing new, after which it ends; default 20."`
}

// hierarchy is pattern.Hierarchy of the executive, and of all units below.
type hierarchy struct {
	Executive        word         `json:"executive,omitempty" kind:"org" pattern:"hierarchy!" jsonschema:"Pattern hierarchy: agent that assigns to the departments, reviews what they hand up, and finalizes."`
	Departments      []department `json:"departments,omitempty" kind:"org" pattern:"hierarchy!" jsonschema:"Pattern hierarchy: who reports to the executive: departments, or names of agents."`
	Mandate          string       `json:"mandate,omitempty" kind:"org" pattern:"hierarchy" jsonschema:"Pattern hierarchy: standing objective of the whole, beside what it is asked."`
	Dotted           []dottedLine `json:"dotted,omitempty" kind:"org" pattern:"hierarchy" jsonschema:"Pattern hierarchy: second bosses, each with who wins in a conflict."`
	Rework           *rework      `json:"rework,omitempty" kind:"org" pattern:"hierarchy" jsonschema:"Pattern hierarchy: how often a manager may send a result back; default 1."`
	Span             span         `json:"span,omitempty" kind:"org" pattern:"hierarchy" jsonschema:"Pattern hierarchy: most reports of one manager, by solid lines; default 7."`
	Levels           levels       `json:"levels,omitempty" kind:"org" pattern:"hierarchy" jsonschema:"Pattern hierarchy: most levels of managers, the executive's included; default 4."`
	OnManagerFailure failureWord  `json:"on_manager_failure,omitempty" kind:"org" pattern:"hierarchy" jsonschema:"Pattern hierarchy: where a manager cannot do its duty, escalate ends its unit with what there is and lets the level above decide; degrade goes on by rule, and says so. Default escalate."`
	ReportUp         schemaUse    `json:"report_up,omitempty" kind:"org" pattern:"hierarchy" jsonschema:"Pattern hierarchy: JSON Schema of what workers hand up. Left out it is an object with a summary."`
}

// department is a unit of a hierarchy, or the name of an agent that stands for one. It becomes an organization of its own.
type department struct {
	Name        word         `json:"name" jsonschema:"Name of the department, which is an agent of its own."`
	Description string       `json:"description,omitempty" jsonschema:"What it does. The manager above assigns by it."`
	Manager     word         `json:"manager" jsonschema:"Agent that leads it."`
	Objective   string       `json:"objective,omitempty" jsonschema:"Standing objective, beside what it is assigned."`
	Workers     []word       `json:"workers,omitempty" jsonschema:"Agents that report to the manager. One may be an organization."`
	Teams       []department `json:"teams,omitempty" jsonschema:"Departments below this one, or names of agents."`
	Span        span         `json:"span,omitempty" jsonschema:"Most reports of this manager. Left out it is the organization's."`
	Bounds      bounds       `json:"bounds,omitempty" jsonschema:"Limits that are delegated to each assignment of the department."`
}

// dottedLine is pattern.DottedLine.
type dottedLine struct {
	Report     word           `json:"report" jsonschema:"Agent or department that has the second boss."`
	Manager    word           `json:"manager" jsonschema:"Agent that advises it."`
	Precedence precedenceWord `json:"precedence" jsonschema:"Who wins in a conflict: solid, the manager that it reports to, or dotted, this one, whose review counts too."`
}

// precedenceWord is who wins where there are two bosses.
type precedenceWord string

func (precedenceWord) choices() []string {
	return []string{pattern.PrecedenceSolid, pattern.PrecedenceDotted}
}

// failureWord is what a unit does without its manager.
type failureWord string

func (failureWord) choices() []string {
	return []string{pattern.ManagerEscalate, pattern.ManagerDegrade}
}

// debate is pattern.Debate.
type debate struct {
	Mode     modeWord  `json:"mode,omitempty" kind:"org" pattern:"debate" jsonschema:"Pattern debate: adversarial: each defends an assigned position; deliberative: each has an answer and may change it. Default adversarial."`
	Topic    string    `json:"topic,omitempty" kind:"org" pattern:"debate" jsonschema:"Pattern debate: what it is about. Left out it is the request's question."`
	Debaters []debater `json:"debaters,omitempty" kind:"org" pattern:"debate!" jsonschema:"Pattern debate: those who debate."`
	Judge    word      `json:"judge,omitempty" kind:"org" pattern:"debate!" jsonschema:"Pattern debate: agent that judges, and takes no part."`
	Degree   count     `json:"degree,omitempty" kind:"org" pattern:"debate" jsonschema:"Pattern debate, deliberative: how many others each is shown in a round; default 2."`
	Quorum   share     `json:"quorum,omitempty" kind:"org" pattern:"debate" jsonschema:"Pattern debate, deliberative: share of all debaters whose common answer ends it; default 0.8."`
	Orders   count     `json:"orders,omitempty" kind:"org" pattern:"debate" jsonschema:"Pattern debate: in how many orders the judge sees three candidates or more, an even number; default 4."`
	Choices  []choice  `json:"choices,omitempty" kind:"org" pattern:"debate" jsonschema:"Pattern debate, deliberative: the answers that there are. Left out it is any."`
	Source   bool      `json:"source,omitempty" kind:"org" pattern:"debate" jsonschema:"Pattern debate: whether quotes are looked up in the folder that the run may read."`
}

// modeWord is the mode of a pattern.Debate.
type modeWord string

func (modeWord) choices() []string { return []string{"adversarial", "deliberative"} }

// debater is pattern.Debater.
type debater struct {
	Agent    word   `json:"agent" jsonschema:"Agent that debates."`
	Position string `json:"position,omitempty" jsonschema:"What it defends in an adversarial debate."`
	Bounds   bounds `json:"bounds,omitempty" jsonschema:"Limits that are delegated to each question to it."`
}

// choice is pattern.Choice.
type choice struct {
	Answer  string   `json:"answer" jsonschema:"The answer."`
	Aliases []string `json:"aliases,omitempty" jsonschema:"Other words for it."`
}

// skill is polity.Skill.
type skill struct {
	Name        word      `json:"name" jsonschema:"Name of the skill."`
	Description string    `json:"description,omitempty" jsonschema:"What the skill does. Left out it is the agent's description."`
	Tags        []string  `json:"tags,omitempty" jsonschema:"Words that the skill is found by."`
	Input       schemaUse `json:"input,omitempty" jsonschema:"JSON Schema of what is asked: written here, the name of a file in the manifest's folder, or type: and a type that is registered in the folder schemas. Left out it is any JSON."`
	Output      schemaUse `json:"output,omitempty" jsonschema:"JSON Schema of what is answered: written here, the name of a file in the manifest's folder, or type: and a type that is registered in the folder schemas. Left out it is any JSON."`
	Reads       versions  `json:"reads,omitempty" jsonschema:"Versions of the input's registered type that are read, as in 1-3. Left out it is all up to the one that is named."`
	Subject     word      `json:"subject,omitempty" jsonschema:"Field of the input that says whose data it is, as customer_id: what such a run reads and writes is enciphered with that person's key, which polity erase destroys. For the agent that is asked from outside."`

	Undo    *skillUndo  `json:"undo,omitempty" jsonschema:"How what it did is undone, in patterns hub and sequence."`
	Approve *lets       `json:"approve,omitempty" jsonschema:"Who has to let each use of it by an organization go, exactly as it is asked."`
	Arrival arrivalWord `json:"arrival,omitempty" jsonschema:"What becomes of a request of a conversation whose run before it has not ended: reject refuses it, queue has it wait, interrupt cancels that run first, and rollback gives that run the time to undo what it did; default reject."`
}

// skillUndo is polity.Undo.
type skillUndo struct {
	Skill word  `json:"skill" jsonschema:"Another skill of the agent. It must do no harm if it is asked twice, or if nothing was done."`
	Input value `json:"input,omitempty" jsonschema:"What it is asked. A text such as $output.id stands for a value of what was answered, $input.name for one of what was asked. Left out it is an object with duty, stage, input, output, reason and effect_key."`
}

// lets is polity.Approver.
type lets struct {
	By      word     `json:"by" jsonschema:"Who decides: an agent of kind human, or one with a skill named approve."`
	Timeout duration `json:"timeout,omitempty" jsonschema:"How long a decision is waited for; then it is not approved. Left out it is as long as whoever decides may take."`
}

// arrivalWord is a polity.Arrival.
type arrivalWord string

func (arrivalWord) choices() (words []string) {
	for _, a := range polity.Arrivals() {
		words = append(words, string(a))
	}
	return words
}

// step is pattern.Step.
type step struct {
	ID        stepID   `json:"id" jsonschema:"Name of the step within the plan."`
	Agent     word     `json:"agent,omitempty" jsonschema:"Member that is asked."`
	Wait      *pause   `json:"wait,omitempty" jsonschema:"Lets time pass, in place of an agent."`
	Await     *await   `json:"await,omitempty" jsonschema:"Waits for a signal or for an event on a topic, in place of an agent. Its data is the step's answer. A text in match such as $input.order stands for a value of the request, and $deps.id for one of an earlier step's answer."`
	Skill     word     `json:"skill,omitempty" jsonschema:"Skill that is asked; it may be left out if the agent has one."`
	Objective string   `json:"objective,omitempty" jsonschema:"What this step is for."`
	DependsOn []stepID `json:"depends_on,omitempty" jsonschema:"Steps that must be done before this one."`
	Input     value    `json:"input,omitempty" jsonschema:"What is asked. A text such as $deps.summary stands for a value of an earlier step's answer, and $input.question for one of the request's. Left out the request is passed on as it is."`
	Optional  bool     `json:"optional,omitempty" jsonschema:"Whether the step may fail without the join noticing."`
	Bounds    bounds   `json:"bounds,omitempty" jsonschema:"Limits that are delegated to the step."`
	Approve   *lets    `json:"approve,omitempty" jsonschema:"Who has to let the step go, exactly as it is asked. Left out it is as its skill says."`
}

// caps are pattern.Caps.
type caps struct {
	Steps count `json:"steps,omitempty" jsonschema:"Most steps; default 40."`
	Width count `json:"width,omitempty" jsonschema:"Most steps at once; default 16."`
	Depth count `json:"depth,omitempty" jsonschema:"Longest chain of steps; default 10."`
	USD   money `json:"usd,omitempty" jsonschema:"Most money that is delegated to the steps together, in US dollars."`
}

// policyWord is the policy of a pattern.Join.
type policyWord string

func (policyWord) choices() []string {
	return []string{"all", "quorum", "best-effort", "first", "first-valid"}
}

// join is pattern.Join.
type join struct {
	Policy policyWord `json:"policy,omitempty" jsonschema:"all, a quorum of k, best-effort with at least k (default 1), the first (hub) or the first-valid (parallel); default all."`
	K      count      `json:"k,omitempty" jsonschema:"How many steps must succeed, with quorum and best-effort."`
}

// rule is pattern.Rule.
type rule struct {
	Verdict string `json:"verdict" jsonschema:"The verdict if the rule holds."`
	When    *when  `json:"when,omitempty" jsonschema:"What must hold. Left out the rule always holds."`
}

// when is pattern.When.
type when struct {
	Stance   stanceWord   `json:"stance" jsonschema:"Side of the claims that are counted."`
	Severity severityWord `json:"severity" jsonschema:"Claims of this severity or a heavier one are counted."`
	AtLeast  count        `json:"at_least,omitempty" jsonschema:"How many there must be; default 1."`
}

// stanceWord is a polity.Stance.
type stanceWord string

func (stanceWord) choices() []string { return []string{"for", "against", "neutral"} }

// severityWord is a polity.Severity.
type severityWord string

func (severityWord) choices() []string {
	return []string{"critical", "high", "medium", "low", "info"}
}

// effectWord is a polity.Effect.
type effectWord string

func (effectWord) choices() []string { return []string{"none", "idempotent", "keyed", "external"} }
