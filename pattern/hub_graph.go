package pattern

import (
	"fmt"
	"slices"
	"strings"

	"polity.run/fault"
)

// graph is what follows from the steps of a plan. Steps are numbered by their place in it.
type graph struct {
	deps  [][]int // those that a step waits for, declared or referenced
	uses  [][]int // those whose output a step references
	next  [][]int // those that wait for a step
	order []int   // every step after those that it waits for
	depth []int   // length of the longest chain that ends with a step
}

// newGraph checks the steps of a plan of h and adds what is wrong to p. The graph is complete only
// if it added nothing.
func newGraph(h *Hub, steps []Step, p *problems) *graph {
	if len(steps) == 0 {
		p.add(in("plan"), "it has no steps; add one, or leave the plan out to have it made")
		return nil
	}
	if limit := h.Caps.Steps; limit > 0 && len(steps) > limit {
		p.add(in("plan"), "%d steps are more than caps.steps of %d; join some, or raise the cap", len(steps), limit).With = []string{"caps.steps"}
	}
	if len(steps) > stepsMax {
		return nil
	}
	n := len(steps)
	g := &graph{deps: make([][]int, n), uses: make([][]int, n), next: make([][]int, n), depth: make([]int, n)}
	c := &check{hub: h, steps: steps, index: map[string]int{}, graph: g, problems: p}
	c.ids()
	checkSize(steps, p)
	h.checkMoney(steps, p)
	for i := range steps {
		if steps[i].waits() {
			steps[i].checkWait(i, p)
		} else {
			c.agent(i)
		}
		c.connect(i)
	}
	g.checkOptional(steps, p)
	if !c.ambiguous && g.sort(steps, p) {
		g.checkDepth(h, steps, p)
		if !c.dangling {
			g.checkUse(steps, p)
		}
	}
	g.checkJoin(h, steps, p)
	return g
}

// check is one check of a plan.
type check struct {
	hub       *Hub
	steps     []Step
	index     map[string]int // the first step with an ID
	graph     *graph
	ambiguous bool // two steps have one ID: it is not known which of them is meant
	dangling  bool // something that a step names is not there: it is not known who uses what
	*problems
}

// ids checks the IDs.
func (c *check) ids() {
	for i := range c.steps {
		s := &c.steps[i]
		checkID(s.ID, i, c.problems)
		if first, ok := c.index[s.ID]; ok {
			c.ambiguous = true
			c.add(s.at(i, ".id"), "steps %d and %d have this id; rename one", first+1, i+1)
			continue
		}
		c.index[s.ID] = i
	}
}

// agent checks that the agent and skill of step i exist.
func (c *check) agent(i int) {
	s := &c.steps[i]
	agent := c.hub.specialist(s.Agent)
	if agent == nil {
		c.add(s.at(i, ".agent"), "no specialist is named %q%s", s.Agent, c.among(c.hub.names(), string(s.Agent)))
		return
	}
	if agent.skill(s.Skill) != nil {
		return
	}
	if s.Skill == "" {
		c.add(s.at(i, ".skill"), "%s has several skills; name one: %s", s.Agent, list(agent.skillNames()))
		return
	}
	c.add(s.at(i, ".skill"), "%s has no skill %q%s", s.Agent, s.Skill, c.among(agent.skillNames(), s.Skill))
}

func (s *Member) skillNames() []string {
	var names []string
	for i := range s.Skills {
		names = append(names, s.Skills[i].Name)
	}
	return names
}

// connect adds the edges into step i.
func (c *check) connect(i int) {
	s, g := &c.steps[i], c.graph
	for _, id := range s.DependsOn {
		d, ok := c.index[id]
		if !ok {
			c.dangling = true
			c.add(s.at(i, ".depends_on"), "depends_on names no step %q%s", id, c.among(ids(c.steps), id))
			continue
		}
		g.edge(d, i)
	}
	refs, bad := references(s.refers())
	for _, b := range bad {
		c.dangling = true
		c.add(s.input(i, b.path), "%v", b.err)
	}
	for _, ref := range refs {
		if ref.id == requestID {
			continue
		}
		d, ok := c.index[ref.id]
		if !ok {
			c.dangling = true
			c.add(s.input(i, ref.at), "%s: no step has the id %q%s; for text that begins with a dollar sign write $$",
				ref, ref.id, c.among(append(ids(c.steps), requestID), ref.id))
			continue
		}
		g.edge(d, i)
		g.uses[i] = addNew(g.uses[i], d)
		if err := c.hub.declared(ref.reference, &c.steps[d]); err != nil && !c.ambiguous {
			c.add(s.input(i, ref.at), "%v", err)
		}
	}
}

func (g *graph) edge(from, to int) {
	g.deps[to] = addNew(g.deps[to], from)
	g.next[from] = addNew(g.next[from], to)
}

// declared checks a reference against the output schema of the skill that the step asks.
func (h *Hub) declared(ref reference, s *Step) error {
	if s.Wait != nil {
		return fault.Invalid.New("%s: step %q only lets time pass, and answers nothing; name it in depends_on", ref, s.ID)
	}
	agent := h.specialist(s.Agent)
	if agent == nil {
		return nil // an event's data may be anything, or it is reported with the step
	}
	skill := agent.skill(s.Skill)
	if skill == nil {
		return nil // reported with the step
	}
	return ref.declared(skill.Output)
}

func ids(steps []Step) []string {
	var names []string
	for i := range steps {
		names = append(names, steps[i].ID)
	}
	return names
}

// sort fills order and depth, or adds the cycle that prevents it and returns false.
func (g *graph) sort(steps []Step, p *problems) bool {
	waiting := make([]int, len(steps))
	for i := range steps {
		waiting[i] = len(g.deps[i])
		if waiting[i] == 0 {
			g.order = append(g.order, i)
		}
	}
	for at := 0; at < len(g.order); at++ {
		i := g.order[at]
		g.depth[i]++
		for _, n := range g.next[i] {
			g.depth[n] = max(g.depth[n], g.depth[i])
			if waiting[n]--; waiting[n] == 0 {
				g.order = append(g.order, n)
			}
		}
	}
	if len(g.order) == len(steps) {
		return true
	}
	cycle := g.cyclic(waiting)
	p.add(steps[cycle[0]].at(cycle[0], ""), "it waits for itself: %s; remove one of these from depends_on or input",
		chain(steps, cycle)).With = []string{}
	return false
}

// cyclic returns a cycle among the steps that still wait, from its first step in the plan back to
// it.
func (g *graph) cyclic(waiting []int) []int {
	at := slices.IndexFunc(waiting, func(n int) bool { return n > 0 })
	var path []int
	for !slices.Contains(path, at) {
		path = append(path, at)
		at = g.deps[at][slices.IndexFunc(g.deps[at], func(d int) bool { return waiting[d] > 0 })]
	}
	path = path[slices.Index(path, at):]
	first := slices.Index(path, slices.Min(path))
	cycle := append(slices.Clone(path[first:]), path[:first+1]...)
	return cycle
}

// chain writes the steps' IDs with arrows to what each waits for.
func chain(steps []Step, path []int) string {
	var names []string
	for _, i := range path {
		names = append(names, steps[i].ID)
	}
	return strings.Join(names, " <- ")
}

// checkOptional checks that nothing required needs what may fail.
func (g *graph) checkOptional(steps []Step, p *problems) {
	for i := range steps {
		for _, d := range g.uses[i] {
			if steps[d].Optional && !steps[i].Optional {
				p.add(steps[i].at(i, ""), "it references the output of %q, which is optional; make it optional too, or %q required",
					steps[d].ID, steps[d].ID).With = []string{steps[i].at(i, "").field, steps[d].at(d, "").field}
			}
		}
	}
}

// checkUse checks that each output goes somewhere.
func (g *graph) checkUse(steps []Step, p *problems) {
	used := make([]bool, len(steps))
	for i := range steps {
		for _, d := range g.uses[i] {
			used[d] = true
		}
	}
	for i := range steps {
		if len(g.next[i]) > 0 && !used[i] && !steps[i].waits() {
			p.add(steps[i].at(i, ""), "nobody uses its output, though %q waits for it; "+
				"reference it there as \"$%s\" or a field of it, or remove it from depends_on", steps[g.next[i][0]].ID, steps[i].ID).With = []string{"plan"}
		}
	}
}

// checkDepth checks the longest chain.
func (g *graph) checkDepth(h *Hub, steps []Step, p *problems) {
	last := 0
	for i := range steps {
		if g.depth[i] > g.depth[last] {
			last = i
		}
	}
	if h.Caps.Depth < 1 || g.depth[last] <= h.Caps.Depth {
		return
	}
	path := []int{last}
	for at := last; g.depth[at] > 1; path = append(path, at) {
		at = g.deps[at][slices.IndexFunc(g.deps[at], func(d int) bool { return g.depth[d] == g.depth[at]-1 })]
	}
	p.add(steps[last].at(last, ""), "the chain %s is %d long, more than caps.depth of %d; "+
		"let steps work side by side, or raise the cap",
		clip(chain(steps, path), 300), g.depth[last], h.Caps.Depth).With = []string{"caps.depth"}
}

// checkJoin checks that the join policy, if it is one, can be met. Edges that are not known yet make
// no result of a step that is none without them.
func (g *graph) checkJoin(h *Hub, steps []Step, p *problems) {
	if !slices.Contains(policies, h.Join.Policy) {
		return
	}
	counted := 0
	for i := range steps {
		if g.counts(h, steps, i) {
			counted++
		}
	}
	what := "step that is not optional"
	if h.Join.Policy != joinAll {
		what = "result (a step that is not optional and that no other waits for)"
	}
	name := fmt.Sprintf("plan: join %s", h.Join)
	switch {
	case counted == 0:
		p.add(where{"plan", name}, "the plan has no %s, so that nothing would have to succeed; make one", what).With = []string{"join"}
	case counted < h.Join.K && (h.Join.Policy == joinQuorum || h.Join.Policy == joinBestEffort):
		p.add(where{"join.k", name}, "the plan has only %d of %d: each a %s; add steps or lower join.k", counted, h.Join.K, what).With = []string{"join"}
	}
}

// counts says whether the join policy looks at step i.
func (g *graph) counts(h *Hub, steps []Step, i int) bool {
	return !steps[i].Optional && (h.Join.Policy == joinAll || len(g.next[i]) == 0)
}
