package engine

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/coordinate"
	"polity.run/fault"
	"polity.run/internal/jsontext"
	"polity.run/internal/outside"
	"polity.run/internal/run"
	"polity.run/internal/work"
	"polity.run/message"
	"polity.run/model"
	"polity.run/model/provider"
	"polity.run/model/quote"
	"polity.run/pattern"
	"polity.run/schema"
	"polity.run/tool"
	"polity.run/tool/code"
	"polity.run/tool/coordination"
	"polity.run/tool/files"
	"polity.run/tool/messages"
	"polity.run/tool/remember"
	"polity.run/tool/topics"
)

const (
	thinkTimeout = 5 * time.Minute
	schemasMax   = 1024 // compiled schemas of model requests that are kept
)

// catalog knows what this node can do, and the releases that say who may do what.
type catalog struct {
	agents map[string]*agent.Agent
	tools  map[string]*toolEntry
	models map[string]model.Model
	blobs  *run.Blobs
	exec   string // folder of the copies of pinned files
	log    *slog.Logger

	cfg   Config
	boxes outside.Boxes // what agents in other processes are asked
	// shared is what models of the same provider have in common.
	shared   *provider.Shared
	servers  servers
	memories *memories // nil outside of a node
	facts    *facts    // nil outside of a node
	topics   publisher // not ready outside of a node
	// contracts is nil outside of a node, and until the store is open.
	contracts *contracts

	mu       sync.RWMutex
	releases map[Digest]*release
	schemas  map[string]work.Check
}

type toolEntry struct {
	tool    tool.Tool
	spec    tool.Spec
	digest  string
	in, out work.Check
	inquiry *inquiry // nil if nothing says what became of a call
}

// release is a release with everything in it compiled. It does not change.
type release struct {
	doc    agent.Release
	agents map[string]*entry
	models map[string]model.Model // its own, beside the built-in ones
	tools  map[string]*toolEntry
}

type entry struct {
	def     *agent.Definition
	program *run.Program
	err     error // why this node cannot run it
	skills  map[string]skill
	handle  work.Handle
	begin   func(ctx context.Context, m polity.Message, done func(json.RawMessage, error))
	// askLive asks a live question; nil for an agent of which that is no matter of its own.
	askLive func(ctx context.Context, m message.Envelope, until time.Time) (json.RawMessage, error)
	pins    map[string]string // tool -> digest; nil for code that is trusted to name any tool
}

// skill checks what a skill is asked and answers: against its schemas, or that it is JSON at least.
type skill struct {
	in, out         work.Check
	openIn, openOut bool // they take all JSON
}

func newCatalog(cfg Config, blobs *run.Blobs, exec string) (*catalog, error) {
	c := &catalog{
		agents: map[string]*agent.Agent{}, tools: map[string]*toolEntry{}, models: map[string]model.Model{},
		blobs: blobs, exec: exec, log: cfg.Log, cfg: cfg, shared: provider.NewShared(), releases: map[Digest]*release{}, schemas: map[string]work.Check{},
	}
	tools, err := builtin(func(ctx context.Context) (*coordinate.Store, error) { return c.facts.open(ctx) }, c.publish, c.topics.send)
	if err != nil {
		return nil, err
	}
	var problems []error
	for _, t := range append(tools, cfg.Tools...) {
		problems = append(problems, c.addTool(c.tools, t))
	}
	for _, m := range append(Models(), cfg.Models...) {
		m = c.wrap(m)
		if c.models[m.Name()] != nil {
			problems = append(problems, fault.Invalid.New("engine: two models are named %q", m.Name()))
		}
		c.models[m.Name()] = m
	}
	for _, a := range cfg.Agents {
		if err := a.Check(); err != nil {
			problems = append(problems, err)
		}
		if c.agents[string(a.Name)] != nil {
			problems = append(problems, fault.Invalid.New("engine: two agents are named %q", a.Name))
		}
		c.agents[string(a.Name)] = a
	}
	return c, errors.Join(problems...)
}

// Tools returns the built-in tools.
func Tools() ([]tool.Tool, error) { return builtin(nil, nil, nil) }

// builtin makes the built-in tools, for a node whose facts are opened and whose events and messages are sent so.
func builtin(facts coordination.Open, publish topics.Publish, send messages.Send) ([]tool.Tool, error) {
	a, err := code.Tools()
	if err != nil {
		return nil, err
	}
	b, err := files.Tools()
	if err != nil {
		return nil, err
	}
	c, err := remember.Tools(nil) // a release has its own
	if err != nil {
		return nil, err
	}
	d, err := coordination.Tools(facts)
	if err != nil {
		return nil, err
	}
	e, err := topics.Tools(publish)
	if err != nil {
		return nil, err
	}
	f, err := messages.Tools(send)
	return slices.Concat(a, b, c, d, e, f), err
}

// Models returns the built-in models.
func Models() []model.Model { return []model.Model{quote.Model{}} }

func (c *catalog) wrap(m model.Model) model.Model {
	if c.cfg.Wrap == nil {
		return m
	}
	return c.cfg.Wrap(m)
}

// addTool adds a tool to the tools of which it may be one.
func (c *catalog) addTool(to map[string]*toolEntry, t tool.Tool) error {
	reconciler, asks := t.(tool.Reconciler)
	if c.cfg.WrapTool != nil {
		t = c.cfg.WrapTool(t)
	}
	s := t.Spec()
	in, err1 := check(s.Input)
	out, err2 := check(s.Output)
	if err := errors.Join(err1, err2); err != nil {
		return fault.Invalid.New("engine: tool %s: %w", s.Name, err)
	}
	if c.tools[s.Name] != nil || to[s.Name] != nil {
		return fault.Invalid.New("engine: two tools are named %q", s.Name)
	}
	made := &toolEntry{tool: t, spec: s, digest: s.Digest(), in: in, out: out}
	if asks {
		made.inquires(reconciler)
	}
	to[s.Name] = made
	return nil
}

func check(raw json.RawMessage) (work.Check, error) {
	s, err := schema.Compile(raw)
	if err != nil || s == nil {
		return nil, err
	}
	return s.Check, nil
}

// check says whether everything in a release can be run here.
func (c *catalog) check(d Digest) error {
	r, err := c.release(d)
	if err != nil {
		return err
	}
	var problems []error
	for _, def := range r.doc.Agents {
		e := r.agents[string(def.Name)]
		problems = append(problems, e.err)
		for _, name := range sortedKeys(e.pins) {
			_, err := c.pinned(r, e, name)
			problems = append(problems, err)
		}
		if def.Model != nil && c.model(r, def.Model.Model) == nil {
			problems = append(problems, fault.NotFound.New("agent %s: no model %q", def.Name, def.Model.Model))
		}
	}
	return errors.Join(problems...)
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// release returns a release, from its blob the first time.
func (c *catalog) release(d Digest) (*release, error) {
	c.mu.RLock()
	r := c.releases[d]
	c.mu.RUnlock()
	if r != nil {
		return r, nil
	}
	return c.load(d)
}

func (c *catalog) load(d Digest) (*release, error) {
	doc, err := c.blobs.Get(d)
	if err != nil {
		return nil, fault.Of(err).Kind.New("engine: release %x: %w", d[:6], err)
	}
	read, err := agent.ReadRelease(doc)
	if err != nil {
		return nil, fault.Of(err).Kind.New("engine: %x: %w", d[:6], err)
	}
	r := &release{doc: *read, agents: map[string]*entry{}}
	if err := c.equip(r); err != nil {
		return nil, err
	}
	for i := range r.doc.Agents {
		def := &r.doc.Agents[i]
		r.agents[string(def.Name)] = c.compile(r, def)
	}
	c.mu.Lock()
	c.releases[d] = r
	c.mu.Unlock()
	return r, nil
}

func (c *catalog) agent(d Digest, name string) (*entry, error) {
	r, err := c.release(d)
	if err != nil {
		return nil, err
	}
	return r.agent(name)
}

// agent is an agent of the release, or an instance of one.
func (r *release) agent(name string) (*entry, error) {
	base, _ := polity.AgentName(name).Base()
	e := r.agents[string(base)]
	if e == nil {
		return nil, fault.NotFound.New("release %s has no agent %q", r.doc.Name, name)
	}
	return e, e.err
}

// compile makes an agent's definition into what does its work.
func (c *catalog) compile(r *release, def *agent.Definition) *entry {
	e := &entry{def: def, skills: map[string]skill{}, program: &run.Program{Org: r.doc.Name}}
	for i, s := range def.Skills {
		in, err1 := check(s.Input)
		out, err2 := check(s.Output)
		if err := errors.Join(err1, err2); err != nil {
			e.err = fault.Invalid.New("agent %s: skill %s: %w", def.Name, s.Name, err)
			return e
		}
		both := skill{orJSON(in), orJSON(out), in == nil, out == nil}
		e.skills[s.Name] = both
		if i == 0 && len(def.Skills) == 1 {
			e.skills[""] = both
		}
	}
	e.program.Input = func(name string, data json.RawMessage) error {
		s, err := e.skill(name)
		if err != nil {
			return err
		}
		return s.in(data)
	}
	e.program.Output = func(name string, data json.RawMessage) error {
		s, err := e.skill(name)
		if err != nil {
			return err
		}
		return s.out(data)
	}
	if e.program.Signal, e.err = signals(def.Name, def.Signals); e.err != nil {
		return e
	}
	e.program.Arrival = func(name string) polity.Arrival { return arrival(def, name) }
	c.events(r, e)
	switch def.Kind {
	case agent.KindGo:
		e.err = c.compileGo(e)
	case agent.KindExec:
		e.program.Work = run.Work{Class: def.Exec.Effect, Timeout: time.Duration(def.Exec.Timeout)}
	case agent.KindModel:
		e.pins = map[string]string{}
		pins := slices.Concat(def.Model.Gather, def.Model.Tools)
		if def.Model.Memory != nil {
			pins = append(pins, def.Model.Memory.Tools...)
		}
		for _, p := range pins {
			e.pins[p.Name] = p.Digest
		}
		e.program.Decider, e.err = agent.NewThinker(def)
	case agent.KindHTTP:
		e.program.Work = run.Work{Class: def.HTTP.Effect, Timeout: time.Duration(def.HTTP.Timeout)}
		service, err := work.NewService(def.HTTP)
		e.handle, e.err = service, err
	case agent.KindHuman:
		e.program.Work = run.Work{Class: polity.EffectIdempotent, Timeout: time.Duration(def.Human.Timeout), Person: true}
		e.err = c.compilePerson(e)
	case agent.KindRemote:
		c.compileRemote(r, e)
	case agent.KindMCP:
		e.err = c.compileMCP(r, e)
	case agent.KindOrg:
		e.pins = map[string]string{}
		for _, p := range def.Org.Tools {
			e.pins[p.Name] = p.Digest
		}
		e.program.Decider, e.err = decider(def.Org)
	default:
		e.err = fault.Invalid.New("agent %s: kind %q is not known here", def.Name, def.Kind)
	}
	return e
}

// skill returns the checks of a skill, or fault.NotFound naming those that there are.
func (e *entry) skill(name string) (skill, error) {
	if s, ok := e.skills[name]; ok {
		return s, nil
	}
	names := make([]string, 0, len(e.def.Skills))
	for _, s := range e.def.Skills {
		names = append(names, s.Name)
	}
	return skill{}, fault.NotFound.New("agent %s has no skill %q; it has %s", e.def.Name, name, strings.Join(names, ", "))
}

func orJSON(check work.Check) work.Check {
	if check != nil {
		return check
	}
	return func(data json.RawMessage) error {
		if !jsontext.Valid(data) {
			return fault.Invalid.New("not JSON: %.80q", data)
		}
		return nil
	}
}

func (c *catalog) compileGo(e *entry) error {
	def := e.def
	a := c.agents[def.Go.Use]
	if a == nil {
		return fault.NotFound.New("agent %s: this program has no Go agent %q", def.Name, def.Go.Use)
	}
	d := a.Decider
	if a.Version != def.Go.Version {
		if d = a.Older[def.Go.Version]; d == nil {
			return fault.Diverged.New("agent %s: the release was made with version %s of %s, and this program has %s",
				def.Name, def.Go.Version, def.Go.Use, strings.Join(append(slices.Sorted(maps.Keys(a.Older)), a.Version), ", "))
		}
	}
	e.program.Decider, e.handle, e.begin = d, a.Handle, a.Begin
	var err error
	if e.program.Signal, err = signals(def.Name, a.Signals); err != nil {
		return err
	}
	e.program.Work = run.Work{Class: a.Effect, Timeout: a.Timeout}
	switch a.Effect {
	case "":
		e.program.Work.Class = polity.EffectExternal
	case polity.EffectNone:
		e.program.Work.Early = new(run.Early)
	}
	return nil
}

func decider(o *agent.Org) (polity.Decider, error) {
	c, err := pattern.Parse(o.Pattern, o.Config)
	if err != nil {
		return nil, err
	}
	return c.Decider()
}

// pinned returns a tool if it is still what the agent's release pinned.
func (c *catalog) pinned(r *release, e *entry, name string) (*toolEntry, error) {
	pin, allowed := e.pins[name]
	if e.pins != nil && !allowed {
		return nil, fault.Denied.New("agent %s may not call tool %q: its release does not name it", e.def.Name, name)
	}
	t := c.tool(r, name)
	switch {
	case t == nil:
		return nil, fault.NotFound.New("agent %s: no tool %q", e.def.Name, name)
	case e.pins != nil && pin != t.digest:
		return nil, fault.Diverged.New("agent %s: tool %q is not the one that its release was made with", e.def.Name, name)
	}
	return t, nil
}

// Program is what the kernel asks: see run.Catalog.
func (c *catalog) Program(d Digest, name string) (*run.Program, error) {
	e, err := c.agent(d, name)
	if err != nil {
		return nil, err
	}
	return e.program, nil
}

// Work is what the kernel asks: see run.Catalog.
func (c *catalog) Work(d Digest, agentName string, verb polity.Verb, to string) (run.Work, error) {
	e, err := c.agent(d, agentName)
	if err != nil {
		return run.Work{}, err
	}
	r, err := c.release(d)
	if err != nil {
		return run.Work{}, err
	}
	if verb == polity.DoThink {
		if c.model(r, to) == nil {
			return run.Work{}, fault.NotFound.New("agent %s: no model %q", agentName, to)
		}
		return run.Work{Class: polity.EffectIdempotent, Timeout: thinkTimeout}, nil
	}
	t, err := c.pinned(r, e, to)
	if err != nil {
		return run.Work{}, err
	}
	return run.Work{Class: t.spec.Effect, Timeout: t.spec.Timeout, Asks: t.asks()}, nil
}

// do does an effect: see run.Config.
func (c *catalog) do(ctx context.Context, f *run.Effect) (json.RawMessage, polity.Usage, error) {
	if f.Verb == polity.DoAsk {
		out, err := c.ask(ctx, f)
		return out, polity.Usage{}, err
	}
	r, err := c.release(f.Release)
	if err != nil {
		return nil, polity.Usage{}, err
	}
	switch f.Verb {
	case polity.DoThink:
		m := c.model(r, f.To)
		if m == nil {
			return nil, polity.Usage{}, fault.NotFound.New("no model %q", f.To)
		}
		var live func(string)
		if c.cfg.Live != nil {
			live = func(text string) { c.cfg.Live(f.Run, f.Name, text) }
		}
		return work.Think(ctx, m, f.Key(), f.Input, live, c.answerCheck)
	case polity.DoCall:
		t := c.tool(r, f.To)
		if t == nil {
			return nil, polity.Usage{}, fault.NotFound.New("no tool %q", f.To)
		}
		var used meter
		var told receipt
		out, err := work.Call(ctx, t.tool, tool.Call{
			Key: f.Key(), Run: f.Run, Agent: f.Agent, Org: r.doc.Name, Folder: f.Folder, Input: f.Input, Used: used.add, Receipt: told.set,
		}, t.in, t.out)
		if t.spec.Effect != polity.EffectNone { // what only reads leaves nothing to be proved
			f.Receipt = t.spec.Proof(told.get(), out)
		}
		return out, used.sum(), err
	default:
		return nil, polity.Usage{}, fault.Internal.New("engine: %s is no effect", f.Verb)
	}
}

// meter adds up what a call says that it used, from any goroutine.
type meter struct {
	mu   sync.Mutex
	used polity.Usage
}

func (m *meter) add(u polity.Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used = m.used.Plus(u)
}

func (m *meter) sum() polity.Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// receipt keeps the last that a call told of itself, from any goroutine.
type receipt struct {
	mu   sync.Mutex
	told json.RawMessage
}

func (r *receipt) set(told json.RawMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = told
}

func (r *receipt) get() json.RawMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told
}

func (c *catalog) ask(ctx context.Context, f *run.Effect) (json.RawMessage, error) {
	e, err := c.agent(f.Release, f.To)
	if err != nil {
		return nil, err
	}
	s, err := e.skill(f.Skill)
	if err != nil {
		return nil, err
	}
	m := &polity.Message{
		ID: f.Key(), From: polity.AgentName(f.Agent), To: polity.AgentName(f.To), Performative: polity.Request,
		Skill: f.Skill, Body: f.Input, Correlation: string(f.Run), Causation: polity.CommandKey(f.Name, f.Attempt), ReplyTo: true,
	}
	if err := sender(m, f); err != nil {
		return nil, err
	}
	if e.begin != nil {
		done := f.Later()
		work.Begin(ctx, e.begin, m, s.in, s.out, func(out json.RawMessage, err error) { done(out, polity.Usage{}, err) })
		return nil, nil
	}
	return work.Ask(ctx, c.handler(e, f.Folder), m, s.in, s.out)
}

// handler returns what answers a request to an agent, which reads the folder at most.
func (c *catalog) handler(e *entry, folder string) work.Handle {
	if e.def.Kind == agent.KindExec {
		return c.program(e, folder)
	}
	return e.handle
}

// sender has a message that is delivered come from the agent that sent it. What people and programs send, who are no agents, comes from the agent itself: whoever answers
// answers its organization.
func sender(m *polity.Message, f *run.Effect) error {
	if f.Mail == nil || f.Agent != f.To {
		return nil
	}
	from, err := message.Sender(f.Mail)
	if err != nil {
		return fault.Damaged.New("message of %s: %w", f.Run, err)
	}
	if from.Kind == message.Agent {
		m.From = polity.AgentName(from.Name)
	}
	return nil
}

// program returns what starts an agent's program for one request.
func (c *catalog) program(e *entry, folder string) work.Handle {
	return func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
		dir, remove, err := work.Copy(c.exec, e.def.Exec, c.file)
		if err != nil {
			return nil, err
		}
		out, err := work.Program(ctx, e.def.Exec, dir, m.ID, folder, m.Body)
		if gone := remove(); gone != nil && err == nil {
			c.log.WarnContext(ctx, "remove a program's folder", "folder", dir, "error", gone) // swept at the next start
		}
		return out, err
	}
}

func (c *catalog) file(digest string) ([]byte, error) {
	d, err := parseDigest(digest)
	if err != nil {
		return nil, err
	}
	return c.blobs.Get(d)
}

// parseDigest reads a digest as hex.
func parseDigest(text string) (d Digest, err error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(d) {
		return d, fault.Invalid.New("digest %.80q: want 64 hex digits", text)
	}
	return Digest(raw), nil
}

// answerCheck compiles the schema that a model was asked to fill. Few different ones are asked, and often.
func (c *catalog) answerCheck(raw json.RawMessage) (work.Check, error) {
	key := string(raw)
	c.mu.RLock()
	found, ok := c.schemas[key]
	c.mu.RUnlock()
	if ok {
		return found, nil
	}
	s, err := schema.Compile(raw)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.schemas) >= schemasMax {
		clear(c.schemas)
	}
	c.schemas[key] = s.Check
	return s.Check, nil
}
