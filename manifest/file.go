package manifest

// version is the format's version.
type version string

func (version) choices() []string { return []string{"v1"} }

// file is a manifest as it is written. The types of this file are the format: the decoder reads
// into them and Schema derives from them. A field without omitempty is required.
type file struct {
	Polity      version         `json:"polity" jsonschema:"Version of the file format."`
	Name        word            `json:"name" jsonschema:"Name of the organization: the agent that a request goes to."`
	Description string          `json:"description,omitempty" jsonschema:"What the organization does, in a sentence or two."`
	Bounds      bounds          `json:"bounds,omitempty" jsonschema:"Limits of one request and all that it causes. What is left out takes the engine's default."`
	Agents      map[word]member `json:"agents" jsonschema:"The agents, by name."`
	Org         *organization   `json:"org,omitempty" jsonschema:"The organization that a request goes to. It may be left out if there is exactly one agent."`
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
}

// kindWord is an agent.Kind.
type kindWord string

func (kindWord) choices() []string { return []string{"model", "exec", "go", "org"} }

// member is an agent. The kind tag says which kind a field belongs to; a field marked "tells" is
// required for its kind, and its presence alone tells the kind.
type member struct {
	Description string   `json:"description,omitempty" jsonschema:"What the agent does, in a sentence or two. Planners choose by it."`
	Kind        kindWord `json:"kind,omitempty" jsonschema:"How the agent works. It may be left out: model, command, use or pattern tells it."`
	Skills      []skill  `json:"skills,omitempty" jsonschema:"What the agent can do. Left out it is one skill with the agent's name and description."`

	Model            string    `json:"model,omitempty" kind:"model" tells:"kind" jsonschema:"Kind model: name of the model, as in quote."`
	Instructions     string    `json:"instructions,omitempty" kind:"model" jsonschema:"Kind model: what the model is told about its task."`
	InstructionsFile string    `json:"instructions_file,omitempty" kind:"model" jsonschema:"Kind model: file with the instructions, relative to the manifest. It is pinned."`
	Tools            []toolUse `json:"tools,omitempty" kind:"model" jsonschema:"Kind model: tools that are called for each request."`

	Command   []string   `json:"command,omitempty" kind:"exec" tells:"kind" jsonschema:"Kind exec: program and arguments; no shell reads them. A word that begins with ./ is a file of the manifest's folder and is pinned."`
	Files     []string   `json:"files,omitempty" kind:"exec" jsonschema:"Kind exec: more files of the manifest's folder that the program needs. They are pinned."`
	Env       []string   `json:"env,omitempty" kind:"exec" jsonschema:"Kind exec: NAME=value pairs for the program's environment."`
	Effect    effectWord `json:"effect,omitempty" kind:"exec" jsonschema:"Kind exec: what the program does to the world, which decides what a crash may do to it. Default external, the careful one."`
	Timeout   duration   `json:"timeout,omitempty" kind:"exec" jsonschema:"Kind exec: most time for one request; default 60s."`
	OutputMax size       `json:"output_max,omitempty" kind:"exec" jsonschema:"Kind exec: most bytes that the program may write; default 1MiB."`

	Use string `json:"use,omitempty" kind:"go" tells:"kind" jsonschema:"Kind go: registered name of the code that is linked in."`

	hub
}

// organization is the main organization.
type organization struct {
	Skills []skill `json:"skills,omitempty" jsonschema:"What can be asked of the organization. Left out it is one skill with its name and description."`
	hub
}

// patternWord names a pattern.
type patternWord string

func (patternWord) choices() []string { return []string{"hub"} }

// plannerWord names a planner of the hub.
type plannerWord string

func (plannerWord) choices() []string { return []string{"match"} }

// hub is pattern.Hub.
type hub struct {
	Pattern     patternWord `json:"pattern,omitempty" kind:"org" tells:"kind" jsonschema:"Kind org: who acts next. hub: a coordinator asks specialists, verifies their claims and puts the answer together."`
	Specialists []word      `json:"specialists,omitempty" kind:"org" jsonschema:"Kind org: names of the agents that may be asked."`
	Plan        []step      `json:"plan,omitempty" kind:"org" jsonschema:"Kind org: the steps. Left out a planner makes them for each request."`
	Planner     plannerWord `json:"planner,omitempty" kind:"org" jsonschema:"Kind org: who plans where no plan is declared. match: code that matches the request with the skills."`
	Caps        caps        `json:"caps,omitempty" kind:"org" jsonschema:"Kind org: limits of every plan."`
	Retries     *tries      `json:"retries,omitempty" kind:"org" jsonschema:"Kind org: how often a failed step is asked again; default 1."`
	Replans     *tries      `json:"replans,omitempty" kind:"org" jsonschema:"Kind org: how often the rest of the plan may be made anew; default 1."`
	Join        join        `json:"join,omitempty" kind:"org" jsonschema:"Kind org: how many steps must succeed; default all."`
	Verdict     []rule      `json:"verdict,omitempty" kind:"org" jsonschema:"Kind org: rules over verified claims; the first that holds is the verdict."`
}

// skill is polity.Skill.
type skill struct {
	Name        word      `json:"name" jsonschema:"Name of the skill."`
	Description string    `json:"description,omitempty" jsonschema:"What the skill does. Left out it is the agent's description."`
	Tags        []string  `json:"tags,omitempty" jsonschema:"Words that the skill is found by."`
	Input       schemaUse `json:"input,omitempty" jsonschema:"JSON Schema of what is asked: written here, or the name of a file in the manifest's folder. Left out it is any JSON."`
	Output      schemaUse `json:"output,omitempty" jsonschema:"JSON Schema of what is answered: written here, or the name of a file in the manifest's folder. Left out it is any JSON."`
}

// step is pattern.Step.
type step struct {
	ID        stepID   `json:"id" jsonschema:"Name of the step within the plan."`
	Agent     word     `json:"agent" jsonschema:"Specialist that is asked."`
	Skill     word     `json:"skill,omitempty" jsonschema:"Skill that is asked; it may be left out if the agent has one."`
	Objective string   `json:"objective,omitempty" jsonschema:"What this step is for."`
	DependsOn []stepID `json:"depends_on,omitempty" jsonschema:"Steps that must be done before this one."`
	Input     value    `json:"input,omitempty" jsonschema:"What is asked. A text such as $deps.summary stands for a value of an earlier step's answer, and $input.question for one of the request's. Left out the request is passed on as it is."`
	Optional  bool     `json:"optional,omitempty" jsonschema:"Whether the step may fail without the join noticing."`
	Bounds    bounds   `json:"bounds,omitempty" jsonschema:"Limits that are delegated to the step."`
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

func (policyWord) choices() []string { return []string{"all", "quorum", "best-effort", "first"} }

// join is pattern.Join.
type join struct {
	Policy policyWord `json:"policy,omitempty" jsonschema:"all steps, a quorum of k, best-effort with at least k (default 1), or the first; default all."`
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
