package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
	hub  *hub
	cfg  pattern.Hub
	// meant are the agents that are probably meant by specialists that do not exist.
	meant []string
}

// organizations completes the definitions of all organizations. It runs after every agent is
// defined, since an organization holds what its specialists declare.
func (b *builder) organizations() {
	for _, name := range slices.Sorted(maps.Keys(b.orgs)) {
		b.members(b.orgs[name])
	}
	b.circles()
	for _, name := range slices.Sorted(maps.Keys(b.orgs)) {
		b.organization(b.orgs[name])
	}
}

// members looks the specialists up.
func (b *builder) members(o *org) {
	o.def.Org = &agent.Org{Pattern: string(o.hub.Pattern)}
	if spec, ok := b.tool(pattern.VerifyTool); ok { // without it the hub says that nothing could be verified
		o.def.Org.Tools = []agent.ToolPin{{Name: pattern.VerifyTool, Digest: spec.digest}}
	}
	at := o.path + ".specialists"
	for _, field := range []string{"pattern", "specialists"} {
		told := field == "pattern" && o.path != "org" // that one tells an agent's kind
		if !told && b.at.isMapping(o.path) && !b.at.has(o.path+"."+field) {
			b.add(o.path+"."+field, "this field is missing; an organization needs it", fmt.Sprintf("add %q", field+": ..."))
		}
	}
	known := slices.Sorted(maps.Keys(b.defs))
	known = slices.DeleteFunc(known, func(name string) bool { return name == string(o.def.Name) })
	first := map[word]int{}
	for i, name := range o.hub.Specialists {
		path := fmt.Sprintf("%s[%d]", at, i)
		at0, twice := first[name]
		switch {
		case !nameText.MatchString(string(name)): // reported by the decoder
		case b.defs[string(name)] == nil:
			b.unknown(path, "no agent", string(name), known)
			if near := fault.Nearest(string(name), known); near != "" {
				o.meant = append(o.meant, near)
			}
		case twice:
			b.add(path, fmt.Sprintf("agent %s is already listed by %s[%d]", shown(string(name)), at, at0), "delete one of them")
		default:
			first[name] = i
			o.def.Org.Members = append(o.def.Org.Members, polity.AgentName(name))
		}
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

// circle reports the chain of names at the specialist of o that closes it.
func (b *builder) circle(o *org, chain []string) {
	last := chain[len(chain)-1]
	i := slices.Index(o.hub.Specialists, word(last))
	text := "the organization contains itself: " + clipChain(chain)
	b.add(fmt.Sprintf("%s.specialists[%d]", o.path, i), text, "take one of them out")
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
	cfg := pattern.Hub{
		Planner: string(o.hub.Planner),
		Caps: pattern.Caps{
			Steps: int(o.hub.Caps.Steps), Width: int(o.hub.Caps.Width), Depth: int(o.hub.Caps.Depth), MicroUSD: int64(o.hub.Caps.USD),
		},
		Retries: (*int)(o.hub.Retries), Replans: (*int)(o.hub.Replans),
		Join: pattern.Join{Policy: string(o.hub.Join.Policy), K: int(o.hub.Join.K)},
	}
	for _, name := range o.def.Org.Members {
		d := b.defs[string(name)]
		if !b.spend(weight(d), o.path+".specialists") {
			return
		}
		cfg.Specialists = append(cfg.Specialists, pattern.Specialist{Name: d.Name, Description: d.Description, Skills: d.Skills})
	}
	cfg.Verdict = b.verdict(o)
	if b.at.has(o.path + ".plan") {
		cfg.Plan = b.plan(o)
	}
	o.cfg = cfg
	data, err := json.Marshal(cfg)
	if err != nil {
		b.add(o.path, "the pattern's configuration cannot be written: "+oneLine(err), "")
	}
	o.def.Org.Config = data
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

func (b *builder) verdict(o *org) []pattern.Rule {
	var rules []pattern.Rule
	for _, r := range o.hub.Verdict {
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
	wrong := len(b.log.found) > 0
	var news []*pattern.Problem
	for _, err := range flat(pattern.Check(o.cfg)) {
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
	todo := []string{main}
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if reached[name] || b.defs[name] == nil {
			continue
		}
		reached[name] = true
		if m := b.defs[name].Model; m != nil {
			for _, a := range m.Agents {
				todo = append(todo, string(a.Agent))
			}
		}
		if o := b.defs[name].Org; o != nil {
			for _, m := range o.Members {
				todo = append(todo, string(m))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.defs)) {
		if !reached[name] {
			path := "agents" + keyPath(name)
			b.log.warn(b.at.place(path), path, "no organization asks this agent", "list it under specialists, or delete it")
		}
	}
}
