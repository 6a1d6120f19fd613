package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/pattern"
)

// org is an organization that is being built.
type org struct {
	def  *agent.Definition
	path string
	as   *patterned // as it is written
	cfg  pattern.Config
	// meant are the agents that are probably meant by members that do not exist.
	meant []string
	// places says where fields of the configuration are written that are not named as in the configuration.
	places map[string]string
}

// configure makes the configurations of all organizations as they are written, and gives their members their duties. It runs after every
// agent is defined.
func (b *builder) configure() {
	for _, name := range slices.Sorted(maps.Keys(b.orgs)) {
		o := b.orgs[name]
		o.def.Org = &agent.Org{Pattern: string(o.as.Pattern)}
		b.belongs(o)
		o.cfg = b.config(o)
	}
	for _, name := range slices.Sorted(maps.Keys(b.orgs)) {
		b.members(b.orgs[name])
	}
	b.torn()
}

// torn reports agents that declare no skills, have a duty in one role, and are asked for whatever they can do in another: the duty is their
// only skill then, and does not fit what the other role asks.
func (b *builder) torn() {
	duty := map[polity.AgentName]string{}
	roles := func(fn func(o *org, r pattern.Role)) {
		for _, name := range slices.Sorted(maps.Keys(b.orgs)) {
			if o := b.orgs[name]; o.cfg != nil {
				for _, r := range o.cfg.Roles() {
					fn(o, r)
				}
			}
		}
	}
	roles(func(_ *org, r pattern.Role) {
		if d := b.defs[string(r.Agent)]; d != nil && len(r.Duties) > 0 && b.obliging(d) {
			duty[r.Agent] = r.Duties[0].Name
		}
	})
	roles(func(o *org, r pattern.Role) {
		if name, ok := duty[r.Agent]; ok && len(r.Duties) == 0 {
			b.add(b.written(o, r.Field), fmt.Sprintf("agent %q has the duty %s in another role, and declares no skill for this one", r.Agent, name),
				fmt.Sprintf("declare its skills, or name another agent; see agents.%s", r.Agent))
		}
	})
}

// obliging says whether an agent gets its duties as skills: it declares none of its own. An organization keeps its own: what it is asked says
// the duty.
func (b *builder) obliging(d *agent.Definition) bool {
	return d.Kind != agent.KindOrg && d.Kind != agent.KindMCP && !b.at.has("agents"+keyPath(string(d.Name))+".skills")
}

// config makes the configuration of an organization's pattern, without what is known of its members; nil if nothing tells the pattern.
func (b *builder) config(o *org) pattern.Config {
	switch o.as.Pattern {
	case "hub":
		return b.hub(o)
	case "sequence":
		return b.sequence(o)
	case "parallel":
		return b.parallel(o)
	case "loop":
		return b.loop(o)
	case "router":
		return b.router(o)
	case "handoff":
		return b.handoff(o)
	case "peers":
		return b.peers(o)
	case "hierarchy":
		return b.hierarchy(o)
	case "debate":
		return b.debate(o)
	default:
		return nil // reported by the decoder, or as missing
	}
}

// belongs reports fields of other patterns, and those that are missing.
func (b *builder) belongs(o *org) {
	if o.path == "org" && b.at.isMapping(o.path) && !b.at.has(o.path+".pattern") {
		b.add(o.path+".pattern", "this field is missing; an organization needs it", fmt.Sprintf("add %q", "pattern: ..."))
	}
	if o.as.Pattern == "" {
		return
	}
	all := fieldsOf(reflect.TypeFor[patterned]())
	for _, name := range all.names {
		of, needed := patternsOf(all.byName[name])
		path := o.path + "." + name
		mine := slices.Contains(of, o.as.Pattern)
		switch {
		case len(of) == 0:
		case !mine && b.at.has(path):
			b.add(path, fmt.Sprintf("this belongs to pattern %s; this organization is of pattern %s", strings.Join(texts(of), " and "), o.as.Pattern), "delete it")
		case mine && slices.Contains(needed, o.as.Pattern) && b.at.isMapping(o.path) && !b.at.has(path):
			b.add(path, "this field is missing; an organization of pattern "+string(o.as.Pattern)+" needs it", fmt.Sprintf("add %q", name+": ..."))
		}
	}
}

// patternsOf reads the pattern tag of a field: the patterns that have it, and those that need it.
func patternsOf(f reflect.StructField) (of, needed []patternWord) {
	for word := range strings.SplitSeq(f.Tag.Get("pattern"), ",") {
		name, must := strings.CutSuffix(word, "!")
		if name == "" {
			continue
		}
		of = append(of, patternWord(name))
		if must {
			needed = append(needed, patternWord(name))
		}
	}
	return of, needed
}

// members looks the members up, and gives those that declare no skills the duties of their roles.
func (b *builder) members(o *org) {
	if o.cfg == nil {
		return
	}
	for _, name := range pattern.Tools(o.cfg) {
		if spec, ok := b.tool(name); ok { // without it the pattern says that nothing could be verified
			o.def.Org.Tools = append(o.def.Org.Tools, agent.ToolPin{Name: name, Digest: spec.digest})
		}
	}
	known := slices.Sorted(maps.Keys(b.defs))
	known = slices.DeleteFunc(known, func(name string) bool { return name == string(o.def.Name) })
	for _, r := range o.cfg.Roles() {
		name := string(r.Agent)
		switch {
		case !nameText.MatchString(name): // reported by the decoder, or missing
		case b.defs[name] == nil:
			b.unknown(b.written(o, r.Field), "no agent", name, known)
			if near := fault.Nearest(name, known); near != "" {
				o.meant = append(o.meant, near)
			}
		default:
			if !slices.Contains(o.def.Org.Members, r.Agent) {
				o.def.Org.Members = append(o.def.Org.Members, r.Agent)
			}
			b.oblige(b.defs[name], r.Duties)
		}
	}
}

// oblige gives an agent duties as skills, if it declares none of its own.
func (b *builder) oblige(d *agent.Definition, duties []polity.Skill) {
	if !b.obliging(d) {
		return
	}
	for _, s := range duties {
		switch i := slices.IndexFunc(d.Skills, func(k polity.Skill) bool { return k.Name == s.Name }); {
		case i >= 0:
		case len(d.Skills) == 1 && d.Skills[0].Name == string(d.Name) && len(d.Skills[0].Input)+len(d.Skills[0].Output) == 0:
			d.Skills[0] = s // the one that it has by default
		default:
			d.Skills = append(d.Skills, s)
		}
	}
}

// organizations completes the definitions of all organizations. It runs when every agent has its skills,
// since an organization holds what its members declare.
func (b *builder) organizations() {
	b.circles()
	for _, name := range slices.Sorted(maps.Keys(b.orgs)) {
		b.organization(b.orgs[name])
	}
}

// circles reports organizations that contain themselves, each circle once.
func (b *builder) circles() {
	const onPath, done = 1, 2
	state := map[string]int{}
	var path []string
	var visit func(name string)
	visit = func(name string) {
		state[name] = onPath
		path = append(path, name)
		for _, m := range b.orgs[name].def.Org.Members {
			switch next := string(m); {
			case b.orgs[next] == nil || state[next] == done:
			case state[next] == onPath:
				b.circle(b.orgs[name], append(slices.Clone(path[slices.Index(path, next):]), next))
			default:
				visit(next)
			}
		}
		path = path[:len(path)-1]
		state[name] = done
	}
	for _, name := range slices.Sorted(maps.Keys(b.orgs)) {
		if state[name] == 0 {
			visit(name)
		}
	}
}

// circle reports the chain of names at the member of o that closes it.
func (b *builder) circle(o *org, chain []string) {
	last := chain[len(chain)-1]
	for _, r := range o.cfg.Roles() {
		if string(r.Agent) == last {
			b.add(b.written(o, r.Field), "the organization contains itself: "+clipChain(chain), "take one of them out")
			return
		}
	}
}

const chainMax = 8 // names of a chain that are shown

func clipChain(chain []string) string {
	if len(chain) > chainMax {
		chain = append(append(slices.Clone(chain[:chainMax-1]), "..."), chain[len(chain)-1])
	}
	return strings.Join(chain, " -> ")
}

// organization writes the pattern's configuration.
func (b *builder) organization(o *org) {
	if o.cfg == nil {
		return
	}
	var members []pattern.Member
	for _, name := range o.def.Org.Members {
		d := b.defs[string(name)]
		if !b.spend(weight(d), o.path+".pattern") {
			return
		}
		members = append(members, pattern.Member{
			Name: d.Name, Description: d.Description, Skills: d.Skills, Repeatable: b.repeatable(d), Model: b.thinksWith(d),
		})
	}
	if h, ok := o.cfg.(*pattern.Hub); ok && b.at.has(o.path+".plan") {
		h.Plan = b.plan(o)
	}
	if h, ok := o.cfg.(*pattern.Hierarchy); ok {
		b.units(h)
	}
	o.cfg.Know(members)
	data, err := json.Marshal(o.cfg)
	if err != nil {
		b.add(o.path, "the pattern's configuration cannot be written: "+oneLine(err), "")
	}
	o.def.Org.Config = data
}

// thinksWith is what its provider calls an agent's model; "" for an agent that has none.
func (b *builder) thinksWith(d *agent.Definition) string {
	if d.Model == nil {
		return ""
	}
	if spec := b.models[d.Model.Model]; spec != nil {
		return spec.Model
	}
	return d.Model.Model
}

// repeatable says whether asking an agent twice does no harm: nothing that it does, or has others do, reaches the outside twice. Of agents
// that may ask each other in a circle nobody is.
func (b *builder) repeatable(d *agent.Definition) bool {
	if d == nil {
		return false
	}
	known, ok := b.repeats[d.Name]
	if !ok {
		b.repeats[d.Name] = false // should it be asked for again below
		known = b.harmless(d)
		b.repeats[d.Name] = known
	}
	return known
}

func (b *builder) harmless(d *agent.Definition) bool {
	none := func(e polity.Effect) bool { return e == polity.EffectNone || e == polity.EffectIdempotent }
	tools := func(pins []agent.ToolPin) bool {
		return !slices.ContainsFunc(pins, func(p agent.ToolPin) bool {
			s, ok := b.tool(p.Name)
			return !ok || !none(s.spec.Effect)
		})
	}
	switch {
	case d.Model != nil:
		return tools(d.Model.Gather) && tools(d.Model.Tools) &&
			!slices.ContainsFunc(d.Model.Agents, func(a agent.AgentPin) bool { return !b.repeatable(b.defs[string(a.Agent)]) })
	case d.Exec != nil:
		return none(d.Exec.Effect)
	case d.HTTP != nil:
		return none(d.HTTP.Effect)
	case d.Remote != nil:
		return none(d.Remote.Effect)
	case d.MCP != nil:
		return tools(d.MCP.Tools)
	case d.Org != nil:
		return !slices.ContainsFunc(d.Org.Members, func(m polity.AgentName) bool { return !b.repeatable(b.defs[string(m)]) })
	default:
		return false
	}
}

// hub makes the configuration of a hub.
func (b *builder) hub(o *org) pattern.Config {
	h := &o.as.hub
	cfg := &pattern.Hub{
		Planner: string(h.Planner), Fallback: string(o.as.Fallback), Review: polity.AgentName(h.Review), Synthesizer: polity.AgentName(h.Synthesizer),
		Hedge: polity.Duration(o.as.Hedge.After), Ledger: h.Ledger.config(),
		Caps: pattern.Caps{
			Steps: int(h.Caps.Steps), Width: int(h.Caps.Width), Depth: int(h.Caps.Depth), MicroUSD: int64(h.Caps.USD),
		},
		Retries: (*int)(h.Retries), Replans: (*int)(h.Replans),
		Join: o.as.Join.config(), Verdict: verdict(h.Verdict), AtOnce: o.as.AtOnce, Stuck: polity.AgentName(o.as.Stuck),
	}
	first := map[word]int{}
	for i, name := range h.Specialists {
		if at0, twice := first[name]; twice && b.defs[string(name)] != nil {
			b.add(fmt.Sprintf("%s.specialists[%d]", o.path, i), fmt.Sprintf("agent %s is already listed by %s.specialists[%d]", shown(string(name)), o.path, at0), "delete one of them")
			continue
		}
		first[name] = i
		cfg.Specialists = append(cfg.Specialists, pattern.Member{Name: polity.AgentName(name)})
	}
	return cfg
}

// config is the join as the patterns have it.
func (j join) config() pattern.Join { return pattern.Join{Policy: string(j.Policy), K: int(j.K)} }

// config is the ledger as the pattern has it.
func (l *ledger) config() *pattern.Ledger {
	if l == nil {
		return nil
	}
	out := &pattern.Ledger{Lead: polity.AgentName(l.Lead), Stall: (*int)(l.Stall), Resets: (*int)(l.Resets)}
	if l.Rounds > 0 {
		out.Rounds = new(int(l.Rounds))
	}
	return out
}

// sequence makes the configuration of a sequence.
func (b *builder) sequence(o *org) pattern.Config {
	cfg := &pattern.Sequence{AtOnce: o.as.AtOnce, Stuck: polity.AgentName(o.as.Stuck), Failed: (*pattern.Publish)(o.as.Failed)}
	for i, s := range o.as.Stages {
		one := pattern.Stage{
			Wait: waits(s.Wait), Await: b.awaits(o, fmt.Sprintf("%s.stages[%d].await", o.path, i), s.Await), Publish: (*pattern.Publish)(s.Publish),
			Agent: polity.AgentName(s.Agent), Skill: string(s.Skill), Objective: s.Objective, Optional: s.Optional, Bounds: b.bounds(s.Bounds),
		}
		if s.Undo != nil {
			one.Undo = &pattern.Undo{Agent: polity.AgentName(s.Undo.Agent), Skill: string(s.Undo.Skill)}
		}
		if def := b.defs[string(s.Agent)]; def != nil || s.Approve == nil {
			one.Approve = b.lets(def, fmt.Sprintf("%s.stages[%d].approve", o.path, i), s.Approve)
		} else {
			one.Approve = &polity.Approver{} // Stage.check says that nobody is asked there
		}
		cfg.Stages = append(cfg.Stages, one)
		if n := len(cfg.Stages); n > 1 {
			b.handsOver(&cfg.Stages[n-2], &cfg.Stages[n-1], fmt.Sprintf("%s.stages[%d]", o.path, n-1))
		}
	}
	return cfg
}

// weight is about how many bytes a specialist adds to an organization.
func weight(d *agent.Definition) int {
	n := len(d.Name) + len(d.Description)
	for _, s := range d.Skills {
		n += len(s.Name) + len(s.Description) + len(s.Input) + len(s.Output)
		for _, tag := range s.Tags {
			n += len(tag)
		}
	}
	return n
}

func verdict(declared []rule) []pattern.Rule {
	var rules []pattern.Rule
	for _, r := range declared {
		out := pattern.Rule{Verdict: r.Verdict}
		if r.When != nil {
			out.When = &pattern.When{
				Stance: polity.Stance(r.When.Stance), Severity: polity.Severity(r.When.Severity), AtLeast: max(1, int(r.When.AtLeast)),
			}
		}
		rules = append(rules, out)
	}
	return rules
}

// planned are the fields of a step of which the plan says by itself, and where they stand, what is wrong.
var planned = regexp.MustCompile(`^plan\.steps\[\d+\]\.(agent|skill|depends_on)$`)

// byPattern reports what the pattern finds, where it finds it.
func (b *builder) byPattern(o *org) {
	if o.cfg == nil {
		return
	}
	wrong := len(b.log.found) > 0
	var news []*pattern.Problem
	for _, err := range flat(o.cfg.Check()) {
		var p *pattern.Problem
		switch {
		case !errors.As(err, &p): // how many more there are
			b.add(o.path, oneLine(err), "")
		case wrong && planned.MatchString(p.Field):
		case slices.ContainsFunc(b.rests(o, p), b.log.doubts):
		default:
			news = append(news, p)
		}
	}
	for _, p := range news {
		b.add(b.written(o, p.Field), strings.ReplaceAll(p.Text, "\n", "; "), "")
	}
	if len(news) == 0 {
		b.outlives(o)
	}
}

// rests lists the paths of what a problem rests on.
func (b *builder) rests(o *org, p *pattern.Problem) []string {
	fields := p.With
	if fields == nil {
		fields = []string{p.Field}
	}
	var paths []string
	for _, f := range fields {
		paths = append(paths, b.written(o, f))
	}
	return paths
}

// written is the path at which a field of the pattern's configuration is written.
func (b *builder) written(o *org, field string) string {
	if at, ok := o.places[field]; ok {
		return at
	}
	if i, rest, ok := memberField(field); ok && i < len(o.def.Org.Members) {
		return "agents" + keyPath(string(o.def.Org.Members[i])) + rest
	}
	field = strings.Replace(field, "plan.steps[", "plan[", 1)
	return o.path + "." + strings.Replace(field, "micro_usd", "usd", 1)
}

var memberText = regexp.MustCompile(`^specialists\[(\d+)\](\..+)$`)

// memberField reads the name of a field within a specialist, which the agent declares.
func memberField(field string) (i int, rest string, ok bool) {
	m := memberText.FindStringSubmatch(field)
	if m == nil {
		return 0, "", false
	}
	i, err := strconv.Atoi(m[1])
	return i, m[2], err == nil
}

// flat lists the errors that err joins.
func flat(err error) []error {
	var many interface{ Unwrap() []error }
	if err == nil || !errors.As(err, &many) {
		return slices.DeleteFunc([]error{err}, func(e error) bool { return e == nil })
	}
	return many.Unwrap()
}

// unreached warns of agents that no request can reach.
func (b *builder) unreached(main string) {
	reached := map[string]bool{}
	todo := append(b.messaged(), main)
	for _, o := range b.watched {
		todo = append(todo, o.Agent)
	}
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if reached[name] || b.defs[name] == nil {
			continue
		}
		reached[name] = true
		if m := b.defs[name].Model; m != nil {
			if m.Approve != nil {
				todo = append(todo, string(m.Approve.By))
			}
			for _, a := range m.Agents {
				todo = append(todo, string(a.Agent))
			}
		}
		for _, s := range b.defs[name].Skills {
			if s.Approve != nil {
				todo = append(todo, string(s.Approve.By))
			}
		}
		if o := b.defs[name].Org; o != nil {
			for _, m := range o.Members {
				todo = append(todo, string(m))
			}
			todo = append(todo, approversOf(b.orgs[name].cfg)...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.defs)) {
		if !reached[name] {
			path := "agents" + keyPath(name)
			b.log.warn(b.at.place(path), path, "no organization asks this agent", "name it in one, or delete it")
		}
	}
}
