package manifest

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"polity.run"
	"polity.run/agent"
	"polity.run/memory"
	"polity.run/model"
	"polity.run/tool"
	"polity.run/tool/openapi"
)

const recallDefault = 5

const humanTimeout = polity.Duration(24 * 3600 * 1e9) // a day

// secretText is what keys of providers look like. They belong into the environment.
var secretText = regexp.MustCompile(`(sk|pk|rk|ghp|gho|xox[abp]|AKIA|AIza)[-_A-Za-z0-9]{16,}|(?i:bearer|basic)\s+[A-Za-z0-9+/=._-]{12,}`)

var envText = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// supplies adds the models and tools that the manifest declares.
func (b *builder) supplies(r *agent.Release) {
	b.models, b.uses = map[string]*model.Spec{}, map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(b.file.Models)) {
		p := b.file.Models[name]
		b.provider(string(name), "models"+keyPath(string(name)), &p)
	}
	for _, name := range slices.Sorted(maps.Keys(b.models)) {
		b.fallbacks(name)
		r.Models = append(r.Models, *b.models[name])
	}
	r.Memory = b.memories()
	for _, name := range slices.Sorted(maps.Keys(b.file.Tools)) {
		s := b.file.Tools[name]
		if made := b.source(string(name), "tools"+keyPath(string(name)), &s); made != nil {
			r.Sources = append(r.Sources, *made)
		}
	}
}

func (b *builder) provider(name, at string, p *provider) {
	if slices.Contains(b.env.models, name) {
		b.add(at, "a model named "+shown(name)+" is built in", "rename this one")
		return
	}
	s := &model.Spec{
		Name: name, API: model.API(p.API), URL: p.URL, Model: p.Model, KeyEnv: p.KeyEnv,
		Price: model.Price{
			Input: int64(p.Price.Input), Output: int64(p.Price.Output), CacheRead: int64(p.Price.CacheRead), CacheWrite: int64(p.Price.CacheWrite),
		},
		ContextMax: int64(p.Context), OutputMax: int64(p.OutputMax), Timeout: polity.Duration(p.Timeout), Attempts: int(p.Attempts),
		PerMinute: int(p.PerMinute), AtOnce: int(p.AtOnce), Options: p.Options.json,
	}
	if !b.at.has(at + ".price.cache_read") {
		s.Price.CacheRead = s.Price.Input
	}
	if !b.at.has(at + ".price.cache_write") {
		s.Price.CacheWrite = s.Price.Input
	}
	for i, other := range p.Fallback {
		s.Fallback = append(s.Fallback, string(other))
		if _, known := b.file.Models[other]; !known && other != "" {
			b.unknown(fmt.Sprintf("%s.fallback[%d]", at, i), "no model of this manifest", string(other), b.declaredModels())
		}
	}
	b.address(at+".url", p.URL)
	if p.KeyEnv != "" && !envText.MatchString(p.KeyEnv) {
		b.add(at+".key_env", "this is not the name of an environment variable", "write its name, as in OPENAI_API_KEY; the key itself stands in the environment alone")
	}
	if b.at.has(at+".options") && (len(p.Options.json) == 0 || p.Options.json[0] != '{') {
		b.add(at+".options", "options are fields of the provider's request", "write them as in {temperature: 0}")
	}
	if s.OutputMax >= max(s.ContextMax, 1) && s.ContextMax > 0 {
		b.add(at+".output_max", "an answer may be as long as the whole context", "make output_max less than context_max")
	}
	if !b.log.doubts(at) {
		if err := s.Check(); err != nil {
			b.add(at, strings.TrimPrefix(oneLine(err), "model "+name+": "), "")
		}
	}
	b.models[name] = s
}

// memories makes the settings of the organization's memories.
func (b *builder) memories() *agent.Memories {
	m := b.file.Memory
	if m == nil {
		return nil
	}
	spec := b.models[string(m.Embeddings)]
	switch {
	case m.Embeddings == "":
	case spec == nil:
		if _, wrong := b.file.Models[m.Embeddings]; !wrong {
			b.unknown("memory.embeddings", "no model of this manifest", string(m.Embeddings), b.declaredModels())
		}
	case spec.API != model.OpenAI:
		b.add("memory.embeddings", "embeddings are asked for with api openai alone", "name a model of that api")
	default:
		b.uses["models"+keyPath(spec.Name)] = true
	}
	return &agent.Memories{Embeddings: string(m.Embeddings), Records: int(m.Records), Bytes: int(m.Bytes)}
}

// remembers makes what an agent remembers by itself.
func (b *builder) remembers(at string, m *remembers) *agent.Memory {
	if m == nil {
		return nil
	}
	out := &agent.Memory{Recall: recallDefault, Episodes: m.Episodes, Share: m.Share}
	if m.Recall != nil {
		out.Recall = int(*m.Recall)
	}
	for _, k := range m.Kinds {
		out.Kinds = append(out.Kinds, memory.Kind(k))
	}
	if out.Recall == 0 && !out.Episodes && !out.Share {
		b.add(at, "this remembers nothing", "delete it, or write {recall: 5, episodes: true}")
	}
	pin := func(name string, wanted bool) {
		if spec, ok := b.tool(name); wanted && ok {
			out.Tools = append(out.Tools, agent.ToolPin{Name: name, Digest: spec.digest})
		} else if wanted {
			b.add(at, "this program has no memory", "")
		}
	}
	pin(memory.SearchTool, out.Recall > 0)
	pin(memory.KeepTool, out.Episodes)
	if b.file.Memory != nil {
		if spec := b.models[string(b.file.Memory.Embeddings)]; spec != nil {
			out.Price = &spec.Price
		}
	}
	return out
}

func (b *builder) declaredModels() []string {
	var names []string
	for name := range b.file.Models {
		names = append(names, string(name))
	}
	slices.Sort(names)
	return names
}

// fallbacks refuses a model that falls back to itself. Circles of several do no harm: a fallback falls back to nobody.
func (b *builder) fallbacks(name string) {
	for i, other := range b.models[name].Fallback {
		if other == name {
			b.add(fmt.Sprintf("models%s.fallback[%d]", keyPath(name), i), "this is the model itself", "delete it")
		}
	}
}

// address checks the form of an address that may be left out.
func (b *builder) address(path, url string) {
	switch {
	case url == "":
	case !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://"):
		b.add(path, shown(url)+" is not an address", "begin it with https:// or http://")
	case strings.Contains(strings.SplitN(url, "/", 4)[2], "@"):
		b.add(path, "a user or a key stands in the address", "take it out; name the key's environment variable instead")
	}
}

// headers refuses headers that hold a key.
func (b *builder) headers(path string, headers map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if v := headers[name]; !strings.Contains(v, "$") && secretText.MatchString(v) {
			b.add(path+keyPath(name), "this looks like a key", "put it into the environment, and write $NAME here")
		}
	}
}

// source makes a source of tools, and keeps what its tools are.
func (b *builder) source(name, at string, s *source) *tool.Source {
	out := &tool.Source{Name: name, Effects: effects(s), Receipts: s.Receipts, Reconcile: reconciles(s)}
	kinds := 0
	for _, set := range []bool{s.HTTP != nil, s.OpenAPI != nil, s.Exec != nil, s.MCP != nil} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		b.add(at, "http, openapi, exec and mcp tell different kinds", "keep one of them")
		return nil
	case s.MCP != nil:
		return b.accepted(name, at, b.server(name, at, s))
	case s.HTTP != nil:
		out.HTTP = b.requests(at+".http", s.HTTP)
	case s.OpenAPI != nil:
		out.HTTP = b.described(name, at+".openapi", s.OpenAPI)
	case s.Exec != nil:
		out.Exec = b.programs(name, at+".exec", s.Exec)
	case b.at.isMapping(at):
		b.add(at, "nothing says where these tools come from", `add "http:", "openapi:", "exec:" or "mcp:"`)
	}
	if out.HTTP == nil && out.Exec == nil || b.log.doubts(at) {
		return nil
	}
	if b.env.env.Specs == nil {
		b.add(at, "this program cannot make tools of a declaration", "")
		return nil
	}
	specs, err := b.env.env.Specs(*out)
	if err != nil {
		b.lines(at, "", err)
		return nil
	}
	named(b, name, at+".effects", specs, s.Effects)
	named(b, name, at+".receipts", specs, s.Receipts)
	b.reconciled(at+".reconcile", out, specs)
	out.Specs = specs
	b.keep(at, specs)
	return out
}

// lines reports each line of an error.
func (b *builder) lines(at, before string, err error) {
	for line := range strings.Lines(err.Error()) {
		b.add(at, before+strings.TrimSpace(line), "")
	}
}

// requests makes the requests that stand in the manifest.
func (b *builder) requests(at string, r *requests) *tool.HTTP {
	out := &tool.HTTP{Allow: r.Allow, Private: r.Private, Headers: r.Headers}
	b.headers(at+".headers", r.Headers)
	for i, t := range r.Tools {
		path := fmt.Sprintf("%s.tools[%d]", at, i)
		out.Tools = append(out.Tools, tool.HTTPTool{
			Name: string(t.Name), Description: t.Description, Method: string(t.Method), URL: t.URL,
			Input: b.schema(t.Input, path+".input"), Output: b.schema(t.Output, path+".output"),
			Effect: polity.Effect(t.Effect), KeyHeader: t.KeyHeader, Timeout: polity.Duration(t.Timeout), Receipt: t.Receipt,
		})
	}
	return out
}

// described makes the requests that a document describes. The document itself is not pinned: what is made of it is.
func (b *builder) described(name, at string, s *described) *tool.HTTP {
	b.address(at+".server", s.Server)
	b.headers(at+".headers", s.Headers)
	if s.Document == "" || b.log.doubts(at) {
		return nil // reported
	}
	data, _, err := b.dir.read(s.Document, openapi.DocumentMax)
	if err != nil {
		b.add(at+".document", err.Error(), "")
		return nil
	}
	out, odd, err := openapi.Read(data, openapi.Use{
		Source: name, Operations: s.Operations, Server: s.Server, CheckOutput: s.CheckOutput, Timeout: polity.Duration(s.Timeout),
		Allow: s.Allow, Private: s.Private, Headers: s.Headers,
	})
	if err != nil {
		b.lines(at+".document", shown(s.Document)+": ", err)
		return nil
	}
	for _, text := range odd {
		b.log.warn(b.at.place(at+".document"), at+".document", text, "")
	}
	for _, t := range out.Tools {
		if !b.spend(len(t.Description)+len(t.Input)+len(t.Output), at) {
			return nil
		}
	}
	return out
}

// effects are what a source says of its tools.
func effects(s *source) map[string]polity.Effect {
	var out map[string]polity.Effect
	for name, effect := range s.Effects {
		if out == nil {
			out = map[string]polity.Effect{}
		}
		out[name] = polity.Effect(effect)
	}
	return out
}

// named wants what a source says by tools' names to be of tools that there are.
func named[T any](b *builder, source, at string, specs []tool.Spec, of map[string]T) {
	known := own(source, specs)
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if !slices.Contains(known, name) {
			b.unknown(at+keyPath(name), "this source has no tool", name, known)
		}
	}
}

// own are the names of a source's tools within it.
func own(source string, specs []tool.Spec) []string {
	var names []string
	for _, s := range specs {
		names = append(names, strings.TrimPrefix(s.Name, source+"."))
	}
	return names
}

// reconciles are how a source's calls are asked about.
func reconciles(s *source) map[string]tool.Reconcile {
	var out map[string]tool.Reconcile
	for name, r := range s.Reconcile {
		if out == nil {
			out = map[string]tool.Reconcile{}
		}
		out[name] = tool.Reconcile{
			Ask: r.Ask, Input: r.Input.json, Output: r.Output, Absent: polity.Verdict(r.Absent), Wait: polity.Duration(r.Wait),
			Every: polity.Duration(r.Every), Attempts: int(r.Attempts),
		}
	}
	return out
}

// reconciled wants calls to be asked about by tools that can be asked.
func (b *builder) reconciled(at string, s *tool.Source, specs []tool.Spec) {
	named(b, s.Name, at, specs, s.Reconcile)
	of := func(name string) int {
		return slices.IndexFunc(specs, func(spec tool.Spec) bool { return spec.Name == s.Name+"."+name })
	}
	for _, name := range slices.Sorted(maps.Keys(s.Reconcile)) {
		r, path := s.Reconcile[name], at+keyPath(name)
		i, by := of(name), of(r.Ask)
		switch {
		case i < 0 || r.Ask == "": // reported
		case by < 0:
			b.unknown(path+".ask", "this source has no tool", r.Ask, own(s.Name, specs))
		case i == by:
			b.add(path+".ask", "this is the tool itself", "name one that only reads")
		default:
			if err := r.Check(specs[i], specs[by]); err != nil {
				b.add(path, oneLine(err), "")
			}
		}
	}
}

// programs makes the commands of a source. What is wrong with one of them is reported where it stands.
func (b *builder) programs(name, at string, e *programs) *tool.Exec {
	out := &tool.Exec{Allow: e.Allow, Env: e.Env, Sandbox: b.sandbox(at+".sandbox", e.Sandbox)}
	b.secrets(at+".env", e.Env)
	for i, t := range e.Tools {
		path := fmt.Sprintf("%s.tools[%d]", at, i)
		made := tool.ExecTool{
			Name: string(t.Name), Description: t.Description, Command: t.Command,
			Input: b.schema(t.Input, path+".input"), Output: b.schema(t.Output, path+".output"),
			Effect: polity.Effect(t.Effect), Timeout: polity.Duration(t.Timeout), Receipt: t.Receipt,
		}
		out.Tools = append(out.Tools, made)
		if b.log.doubts(path) || b.log.doubts(at+".allow") || b.log.doubts(at+".env") || b.env.env.Specs == nil {
			continue
		}
		alone := tool.Source{Name: name, Exec: &tool.Exec{Allow: e.Allow, Env: e.Env, Tools: []tool.ExecTool{made}}}
		if _, err := b.env.env.Specs(alone); err != nil {
			b.add(path, oneLine(err), "")
		}
	}
	return out
}

// sandbox makes a sandbox, or nil for the default one.
func (b *builder) sandbox(at string, s *sandbox) *tool.Sandbox {
	if s == nil {
		return nil
	}
	b.absolute(at+".read", s.Read)
	b.absolute(at+".write", s.Write)
	out := &tool.Sandbox{
		Off: s.Off, Network: s.Network, Folder: tool.Access(s.Folder), Read: s.Read, Write: s.Write, Memory: int64(s.Memory), Disk: int64(s.Disk),
		CPU: polity.Duration(s.CPU), Processes: int(s.Processes),
	}
	for _, r := range s.Require {
		out.Require = append(out.Require, tool.Protection(r))
	}
	if !b.log.doubts(at) {
		if err := out.Check(); err != nil {
			b.add(at, strings.TrimPrefix(oneLine(err), "sandbox: "), "")
		}
	}
	return out
}

// absolute refuses paths that are not absolute. An empty one was reported by the decoder.
func (b *builder) absolute(at string, paths []string) {
	for i, p := range paths {
		if p != "" && !filepath.IsAbs(p) {
			b.add(fmt.Sprintf("%s[%d]", at, i), shown(p)+" is not an absolute path", "write it from the root, as in /opt/data; for the run's folder write folder: write")
		}
	}
}

// secrets refuses variables that hold a key.
func (b *builder) secrets(path string, env []string) {
	for i, pair := range env {
		if secretText.MatchString(pair) {
			b.add(fmt.Sprintf("%s[%d]", path, i), "this looks like a key", "write the variable's name alone; its value is passed on")
		}
	}
}

// server makes a source of a server, of which nothing is pinned yet.
func (b *builder) server(name, at string, s *source) *tool.Source {
	m := s.MCP
	if len(m.Command) > 0 == (m.URL != "") && !b.servers {
		b.add(at+".mcp", "set one of command and url", "")
	}
	if !b.servers {
		b.address(at+".mcp.url", m.URL)
		b.headers(at+".mcp.headers", m.Headers)
		b.secrets(at+".mcp.env", m.Env)
	}
	return &tool.Source{Name: name, Effects: effects(s), Receipts: s.Receipts, Reconcile: reconciles(s), MCP: &tool.MCP{
		Command: m.Command, Env: m.Env, URL: m.URL, Headers: m.Headers, Private: m.Private, Timeout: polity.Duration(m.Timeout),
	}}
}

// accepted pins a server's tools as the lock has them.
func (b *builder) accepted(name, at string, s *tool.Source) *tool.Source {
	if b.lock == nil {
		lock, err := ReadLock(b.log.file)
		if err != nil {
			b.add(at, err.Error(), "")
			lock = &Lock{}
		}
		b.lock = lock
	}
	if b.log.doubts(at) {
		return nil
	}
	a, known := b.lock.Sources[name]
	switch {
	case !known:
		b.add(at, "nobody has accepted the tools of this server", "look at them with: polity tools accept "+b.log.file)
		return nil
	case a.From != From(*s):
		b.add(at, "the server is declared otherwise than when its tools were accepted", "look at them again with: polity tools accept "+b.log.file)
		return nil
	}
	named(b, name, at+".receipts", a.Tools, s.Receipts)
	b.reconciled(at+".reconcile", s, a.Tools)
	s.Specs = a.Tools
	b.keep(at, a.Tools)
	return s
}

// skillsOf gives an agent of kind mcp the tools of its source as skills.
func (b *builder) skillsOf(d *agent.Definition, at, source string, declared bool) *agent.MCP {
	out := &agent.MCP{Source: source}
	var skills []polity.Skill
	for _, name := range b.own {
		short, mine := strings.CutPrefix(name, source+".")
		if !mine {
			continue
		}
		s := b.specs[name]
		b.uses[s.at] = true
		skill := polity.Skill{Name: short, Description: s.spec.Description, Input: s.spec.Input, Output: s.spec.Output}
		if declared {
			i := slices.IndexFunc(d.Skills, func(k polity.Skill) bool { return k.Name == short })
			if i < 0 {
				continue
			}
			skill.Tags = d.Skills[i].Tags
		}
		skills = append(skills, skill)
		out.Tools = append(out.Tools, agent.ToolPin{Name: name, Digest: s.digest})
	}
	if len(skills) == 0 && !b.log.doubts("tools") {
		b.unknown(at+".mcp", "no source of tools, or none with these skills,", source, b.sourceNames())
	}
	d.Skills = skills
	return out
}

func (b *builder) sourceNames() []string {
	var names []string
	for name := range b.file.Tools {
		names = append(names, string(name))
	}
	slices.Sort(names)
	return names
}

// keep makes the tools of a source known.
func (b *builder) keep(at string, specs []tool.Spec) {
	for _, spec := range specs {
		if _, taken := b.env.env.Tools[spec.Name]; taken {
			b.add(at, "a tool named "+shown(spec.Name)+" is built in", "rename the source")
			continue
		}
		s := newToolSpec(spec)
		s.at = at
		b.specs[spec.Name] = s
		b.own = append(b.own, spec.Name)
	}
}

// toolNames are the names of all tools that there are.
func (b *builder) toolNames() []string {
	names := append(slices.Clone(b.env.tools), b.own...)
	slices.Sort(names)
	return names
}

// noTool reports a tool that there is not, unless its source was found wrong: then nobody knows.
func (b *builder) noTool(path, name string) {
	source, _, _ := strings.Cut(name, ".")
	if _, declared := b.file.Tools[word(source)]; !declared || !b.log.doubts("tools"+keyPath(source)) {
		b.unknown(path, "no tool", name, b.toolNames())
	}
}

// offered pins the tools that a model may call.
func (b *builder) offered(at string, names []string) []agent.ToolPin {
	if len(names) > WordsMax {
		b.add(at, fmt.Sprintf("%d tools are more than %d", len(names), WordsMax), "split the agent")
		return nil
	}
	var pins []agent.ToolPin
	first := map[string]string{}
	for i, name := range names {
		path := fmt.Sprintf("%s[%d]", at, i)
		if name == "" {
			continue // reported by the decoder
		}
		all := []string{name}
		if prefix, whole := strings.CutSuffix(name, "*"); whole && strings.HasSuffix(prefix, ".") {
			all = nil
			for _, known := range b.toolNames() {
				if strings.HasPrefix(known, prefix) {
					all = append(all, known)
				}
			}
			if len(all) == 0 {
				b.noTool(path, name)
			}
		}
		for _, one := range all {
			if earlier, twice := first[one]; twice {
				b.add(path, fmt.Sprintf("tool %s is already listed by %s", shown(one), earlier), "delete one of them")
				continue
			}
			first[one] = path
			s, ok := b.tool(one)
			switch {
			case !ok:
				b.noTool(path, one)
			case s.digest == "" || s.err != nil:
				b.add(path, "tool "+shown(one)+" declares schemas that cannot be used", "tell its maker")
			default:
				b.uses[s.at] = true
				offer := s.spec.Offer
				if len(offer) == 0 {
					offer = s.spec.Input
				}
				b.spend(len(s.spec.Description)+len(offer), path)
				pins = append(pins, agent.ToolPin{Name: one, Digest: s.digest, Description: s.spec.Description, Schema: offer})
			}
		}
	}
	return pins
}

// asks pins the agents that a model may ask. It runs when all agents are known.
func (b *builder) asks(name string, uses []agentUse) {
	def, at := b.defs[name], "agents"+keyPath(name)+".agents"
	first := map[agentUse]int{}
	for i, use := range uses {
		path := fmt.Sprintf("%s[%d]", at, i)
		to := b.defs[string(use.Agent)]
		key := agentUse{Agent: use.Agent, Skill: use.Skill}
		earlier, twice := first[key]
		switch {
		case use.Agent == "":
			continue // reported by the decoder
		case to == nil:
			b.unknown(path, "no agent", string(use.Agent), slices.Sorted(maps.Keys(b.defs)))
			continue
		case to == def:
			b.add(path, "this is the agent itself", "delete it")
			continue
		case twice:
			b.add(path, fmt.Sprintf("the agent is already listed by %s[%d]", at, earlier), "delete one of them")
			continue
		}
		first[key] = i
		pin := agent.AgentPin{Agent: to.Name, Skill: string(use.Skill), Description: to.Description, Bounds: b.bounds(use.Bounds)}
		var known []string
		found := -1
		for j, s := range to.Skills {
			known = append(known, s.Name)
			if s.Name == string(use.Skill) || use.Skill == "" && len(to.Skills) == 1 {
				found = j
			}
		}
		switch {
		case found >= 0:
			if s := to.Skills[found]; s.Description != "" {
				pin.Description = s.Description
			}
			pin.Schema = to.Skills[found].Input
		case use.Skill == "":
			b.add(path, "agent "+shown(string(use.Agent))+" has more than one skill", "write {agent: "+string(use.Agent)+", skill: "+known[0]+"}")
			continue
		default:
			b.unknown(path+".skill", "agent "+string(use.Agent)+" has no skill", string(use.Skill), known)
			continue
		}
		def.Model.Agents = append(def.Model.Agents, pin)
	}
}

func (b *builder) service(at string, s *service) *agent.HTTP {
	if s == nil {
		return nil
	}
	b.address(at+".http.url", s.URL)
	b.headers(at+".http.headers", s.Headers)
	h := &agent.HTTP{URL: s.URL, Headers: s.Headers, Private: s.Private, Effect: polity.Effect(s.Effect), Timeout: polity.Duration(s.Timeout)}
	if h.Effect == "" {
		h.Effect = polity.EffectExternal
	}
	if h.Timeout == 0 {
		h.Timeout = polity.Duration(timeoutDefault)
	}
	return h
}

func (b *builder) person(p *person) *agent.Human {
	if p == nil {
		return nil
	}
	h := &agent.Human{Ask: p.Ask, Timeout: polity.Duration(p.Timeout)}
	if h.Timeout == 0 {
		h.Timeout = humanTimeout
	}
	return h
}

// unused warns of models and sources that no agent uses. What a function uses only the function says.
func (b *builder) unused() {
	for _, d := range b.defs {
		if d.Kind == agent.KindGo {
			return
		}
	}
	warn := func(path, what string) {
		b.log.warn(b.at.place(path), path, "no agent uses "+what, "delete it, or name it where it is meant")
	}
	for _, name := range slices.Sorted(maps.Keys(b.models)) {
		if !b.uses["models"+keyPath(name)] {
			warn("models"+keyPath(name), "this model")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.file.Tools)) {
		if path := "tools" + keyPath(string(name)); !b.uses[path] {
			warn(path, "these tools")
		}
	}
}
