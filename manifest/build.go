package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"polity.run"
	"polity.run/agent"
	"polity.run/model"
	"polity.run/schema"
	"polity.run/tool"
)

// names is an Env with its names in order, for suggestions.
type names struct {
	env    Env
	tools  []string
	models []string
	code   []string
}

func newNames(env Env) names {
	models := slices.Clone(env.Models)
	slices.Sort(models)
	return names{env, slices.Sorted(maps.Keys(env.Tools)), models, slices.Sorted(maps.Keys(env.Go))}
}

// builder makes a release of a manifest. It reports what is wrong and goes on, so that all is
// reported together; a value that the decoder could not read is zero, and is not reported again.
type builder struct {
	log   *log
	at    marks
	file  *file
	env   names
	dir   *folder
	kinds kinds
	blobs map[string][]byte
	files map[string]agent.File // pinned files by name
	// pinned and spent are the bytes of blobs and of the release so far.
	pinned, spent int
	specs         map[string]toolSpec
	orgs          map[string]*org
	defs          map[string]*agent.Definition
	models        map[string]*model.Spec // that the manifest declares
	own           []string               // names of the tools of its sources
	lock          *Lock
	servers       bool // only the servers are of interest
	watched       []On
	uses          map[string]bool // paths of models and sources that an agent uses
	repeats       map[polity.AgentName]bool
}

// toolSpec is a tool of the Env, as far as it was needed already.
type toolSpec struct {
	spec   tool.Spec
	at     string // where its source is declared; "" for one that is built in
	digest string
	input  *schema.Schema
	err    error
}

func (b *builder) add(path, text, fix string) { b.log.add(b.at.place(path), path, text, fix) }

// unknown reports a name that is not among the known ones; none says what there is none of.
func (b *builder) unknown(path, none, name string, known []string) {
	if !b.log.full() {
		b.add(path, none+" named "+shown(name), suggest(name, known))
	}
}

// spend counts bytes of the release and says whether there is room for them.
func (b *builder) spend(n int, path string) bool {
	before := b.spent
	b.spent += n
	if before <= ReleaseMax && b.spent > ReleaseMax {
		b.add(path, fmt.Sprintf("up to here the release has more than %d MiB", ReleaseMax>>20),
			"shorten instructions and schemas, or split the organization")
	}
	return b.spent <= ReleaseMax
}

// release builds everything.
func (b *builder) release() *agent.Release {
	b.kinds = memberKinds()
	b.orgs, b.defs, b.specs = map[string]*org{}, map[string]*agent.Definition{}, map[string]toolSpec{}
	b.files, b.repeats = map[string]agent.File{}, map[polity.AgentName]bool{}
	r := &agent.Release{Name: string(b.file.Name), Bounds: b.bounds(b.file.Bounds)}
	b.supplies(r)
	for _, name := range b.agentNames() {
		m := b.file.Agents[word(name)]
		b.member(name, "agents"+keyPath(name), &m)
	}
	r.Main = b.main()
	b.configure()
	for _, name := range b.agentNames() {
		if def := b.defs[name]; def.Model != nil {
			b.asks(name, b.file.Agents[word(name)].Asks)
			b.approves(name, b.file.Agents[word(name)].Approve)
		}
	}
	b.skillRules()
	r.Bounds.UndoReserve = b.undoReserve()
	b.organizations()
	b.topics(r)
	b.watched = b.on(r)
	b.keeps(r)
	b.unreached(r.Main)
	b.unused()
	b.lastLook()
	for _, name := range slices.Sorted(maps.Keys(b.defs)) {
		r.Agents = append(r.Agents, *b.defs[name])
	}
	if data, err := json.Marshal(r); err != nil {
		b.add("", "the release cannot be written: "+err.Error(), "")
	} else if len(data) > ReleaseMax && b.spent <= ReleaseMax {
		b.spend(len(data), "agents")
	}
	return r
}

// agentNames lists the agents in order, up to AgentsMax of them.
func (b *builder) agentNames() []string {
	var all []string
	for name := range b.file.Agents {
		all = append(all, string(name))
	}
	slices.Sort(all)
	if len(all) > AgentsMax {
		b.add("agents", fmt.Sprintf("%d agents are more than %d", len(all), AgentsMax), "split the manifest")
		return nil
	}
	return all
}

// main finds the agent that a request goes to, and adds the main organization if there is one.
func (b *builder) main() string {
	name := string(b.file.Name)
	switch {
	case b.file.Org != nil:
		if _, taken := b.file.Agents[word(name)]; taken && name != "" {
			b.add("agents"+keyPath(name), "this is the organization's own name", "rename one of them")
		}
		d := b.define(name, b.file.Description, "org", b.file.Org.Skills)
		d.Kind = agent.KindOrg
		b.orgs[name] = &org{def: d, path: "org", as: &b.file.Org.patterned}
		return name
	case len(b.defs) == 1:
		return slices.Collect(maps.Keys(b.defs))[0]
	case len(b.defs) > 1 && !b.at.has("org"):
		b.add("org", "nothing says which agent a request goes to", `add "org:" with its pattern`)
	}
	return ""
}

// define begins a definition with what every agent has.
func (b *builder) define(name, description, path string, skills []skill) *agent.Definition {
	d := &agent.Definition{Name: polity.AgentName(name), Description: description}
	d.Skills = b.skills(d, path+".skills", skills)
	b.defs[name] = d
	return d
}

// skills reads the declared skills, or makes the one that an agent has by default.
func (b *builder) skills(d *agent.Definition, path string, declared []skill) []polity.Skill {
	if len(declared) == 0 {
		return []polity.Skill{{Name: string(d.Name), Description: d.Description}}
	}
	var out []polity.Skill
	first := map[word]int{}
	for i, s := range declared {
		at := fmt.Sprintf("%s[%d]", path, i)
		if at0, twice := first[s.Name]; twice && s.Name != "" {
			b.add(at+".name", fmt.Sprintf("skill %q is already declared by %s[%d]", s.Name, path, at0), "rename or delete one")
			continue
		}
		first[s.Name] = i
		if s.Description == "" {
			s.Description = d.Description
		}
		input := b.schema(s.Input, at+".input")
		b.checkSubject(string(s.Subject), input, at+".subject")
		made := polity.Skill{
			Name: string(s.Name), Description: s.Description, Tags: s.Tags,
			Input: input, Output: b.schema(s.Output, at+".output"), Arrival: polity.Arrival(s.Arrival),
			Subject: string(s.Subject),
		}
		b.reads(&made, s, at)
		out = append(out, made)
	}
	return out
}

// checkSubject wants the field that says whose data it is to be one of the input.
func (b *builder) checkSubject(field string, input json.RawMessage, path string) {
	var object struct {
		Properties map[string]json.RawMessage
	}
	if field == "" || json.Unmarshal(input, &object) != nil || object.Properties == nil || object.Properties[field] != nil {
		return
	}
	b.unknown(path, "the input has no field", field, slices.Sorted(maps.Keys(object.Properties)))
}

// schema returns a JSON Schema, from its file if it is in one.
func (b *builder) schema(s schemaUse, path string) json.RawMessage {
	raw := s.json
	if name, registered := strings.CutPrefix(s.file, typePrefix); registered {
		return b.registered(name, path)
	}
	if s.file != "" && b.spent <= ReleaseMax {
		data, _, err := b.dir.read(s.file, schema.SchemaMax)
		if err != nil {
			b.add(path, err.Error(), "")
			return nil
		}
		if !b.spend(len(data), path) {
			return nil
		}
		if raw, err = compact(data); err != nil {
			b.add(path, "file "+shown(s.file)+" is not JSON: "+err.Error(), "")
			return nil
		}
	}
	if s.file == "" && !b.spend(len(raw), path) {
		return nil
	}
	if _, err := schema.Compile(raw); err != nil {
		b.add(path, "this is not a usable JSON Schema: "+strings.TrimPrefix(oneLine(err), "schema: "), "")
		return nil
	}
	return raw
}

// bounds turns written bounds into the noun.
func (b *builder) bounds(w bounds) polity.Bounds {
	return polity.Bounds{
		Turns: int(w.Turns), Tokens: int64(w.Tokens), MicroUSD: int64(w.USD), Wall: polity.Duration(w.Wall),
		Depth: int(w.Depth), FanOut: int(w.FanOut), Retries: int(w.Retries), UndoReserve: int(w.Reserve),
	}
}

// lastLook has what is made so far checked by those who will use it. What follows from a problem that
// is known already is left out.
func (b *builder) lastLook() {
	if b.spent > ReleaseMax {
		return // something is missing
	}
	for _, name := range slices.Sorted(maps.Keys(b.defs)) {
		switch d := b.defs[name]; d.Kind {
		case agent.KindModel:
			if b.log.doubts("agents" + keyPath(name)) {
				continue
			}
			if _, err := agent.NewThinker(d); err != nil {
				b.add("agents"+keyPath(name), strings.TrimPrefix(oneLine(err), "agent "+name+": "), "")
			}
		case agent.KindOrg:
			b.byPattern(b.orgs[name])
		}
	}
}

// tool looks a tool up and keeps what it found.
func (b *builder) tool(name string) (toolSpec, bool) {
	if s, ok := b.specs[name]; ok {
		return s, true
	}
	spec, ok := b.env.env.Tools[name]
	if !ok {
		return toolSpec{}, false
	}
	s := newToolSpec(spec)
	b.specs[name] = s
	return s, true
}

func newToolSpec(spec tool.Spec) toolSpec {
	s := toolSpec{spec: spec, digest: spec.Digest()}
	s.input, s.err = schema.Compile(spec.Input)
	return s
}

// oneLine joins the lines of an error, which a Problem's text has not.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
