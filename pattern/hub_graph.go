package pattern

import (
	"slices"
	"strings"

	"polity.run"
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
	before := len(p.list)
	if len(steps) == 0 {
		p.add("plan: it has no steps; add one, or leave the plan out to have it made")
		return nil
	}
	if len(steps) > h.Caps.Steps {
		p.add("plan: %d steps are more than caps.steps of %d; join some, or raise the cap", len(steps), h.Caps.Steps)
		return nil
	}
	index := map[string]int{}
	for i := range steps {
		checkID(steps[i].ID, i, p)
		if first, ok := index[steps[i].ID]; ok {
			p.add("plan: step %q: steps %d and %d have this id; rename one", steps[i].ID, first+1, i+1)
			continue
		}
		index[steps[i].ID] = i
	}
	checkSize(steps, p)
	h.checkMoney(steps, p)
	n := len(steps)
	g := &graph{deps: make([][]int, n), uses: make([][]int, n), next: make([][]int, n), depth: make([]int, n)}
	for i := range steps {
		h.checkAgent(&steps[i], p)
		g.connect(h, steps, i, index, p)
	}
	if len(p.list) > before {
		return g
	}
	if g.sort(steps, p); len(p.list) == before {
		g.checkUse(steps, p)
		g.checkDepth(h, steps, p)
		g.checkJoin(h, steps, p)
	}
	return g
}

// checkAgent checks that the step's agent and skill exist.
func (h *Hub) checkAgent(s *Step, p *problems) {
	agent := h.specialist(s.Agent)
	if agent == nil {
		var names []polity.AgentName
		for i := range h.Specialists {
			names = append(names, h.Specialists[i].Name)
		}
		p.add("plan: step %q: no specialist is named %q%s", s.ID, s.Agent, among(names, string(s.Agent)))
		return
	}
	if agent.skill(s.Skill) != nil {
		return
	}
	if s.Skill == "" {
		p.add("plan: step %q: %s has several skills; name one: %s", s.ID, s.Agent, list(agent.skillNames()))
		return
	}
	p.add("plan: step %q: %s has no skill %q%s", s.ID, s.Agent, s.Skill, among(agent.skillNames(), s.Skill))
}

func (s *Specialist) skillNames() []string {
	var names []string
	for i := range s.Skills {
		names = append(names, s.Skills[i].Name)
	}
	return names
}

// connect adds the edges into step i.
func (g *graph) connect(h *Hub, steps []Step, i int, index map[string]int, p *problems) {
	s := &steps[i]
	for _, id := range s.DependsOn {
		d, ok := index[id]
		if !ok {
			p.add("plan: step %q: depends_on names no step %q%s", s.ID, id, among(ids(steps), id))
			continue
		}
		g.edge(d, i)
	}
	refs, bad := references(s.Input)
	for _, err := range bad {
		p.add("plan: step %q: input: %w", s.ID, err)
	}
	for _, ref := range refs {
		if ref.id == requestID {
			continue
		}
		d, ok := index[ref.id]
		if !ok {
			p.add("plan: step %q: input: %s: no step has the id %q%s; for text that begins with a dollar sign write $$",
				s.ID, ref, ref.id, among(append(ids(steps), requestID), ref.id))
			continue
		}
		g.edge(d, i)
		g.uses[i] = addNew(g.uses[i], d)
		if err := h.declared(ref, &steps[d]); err != nil {
			p.add("plan: step %q: input: %w", s.ID, err)
		}
	}
}

func (g *graph) edge(from, to int) {
	g.deps[to] = addNew(g.deps[to], from)
	g.next[from] = addNew(g.next[from], to)
}

// declared checks a reference against the output schema of the skill that the step asks.
func (h *Hub) declared(ref reference, s *Step) error {
	agent := h.specialist(s.Agent)
	if agent == nil {
		return nil // reported with the step
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

// sort fills order and depth, or adds the cycle that prevents it.
func (g *graph) sort(steps []Step, p *problems) {
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
	if len(g.order) < len(steps) {
		p.add("plan: step %q: it waits for itself: %s; remove one of these from depends_on or input",
			steps[g.cyclic(waiting)[0]].ID, chain(steps, g.cyclic(waiting)))
	}
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

// checkUse checks that each output goes somewhere, and that nothing required needs what may fail.
func (g *graph) checkUse(steps []Step, p *problems) {
	used := make([]bool, len(steps))
	for i := range steps {
		for _, d := range g.uses[i] {
			used[d] = true
			if steps[d].Optional && !steps[i].Optional {
				p.add("plan: step %q: it references the output of %q, which is optional; make it optional too, or %q required",
					steps[i].ID, steps[d].ID, steps[d].ID)
			}
		}
	}
	for i := range steps {
		if len(g.next[i]) > 0 && !used[i] {
			next := steps[g.next[i][0]].ID
			p.add("plan: step %q: nobody uses its output, though %q waits for it; "+
				"reference it there as \"$%s\" or a field of it, or remove it from depends_on", steps[i].ID, next, steps[i].ID)
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
	if g.depth[last] <= h.Caps.Depth {
		return
	}
	path := []int{last}
	for at := last; g.depth[at] > 1; path = append(path, at) {
		at = g.deps[at][slices.IndexFunc(g.deps[at], func(d int) bool { return g.depth[d] == g.depth[at]-1 })]
	}
	p.add("plan: step %q: the chain %s is %d long, more than caps.depth of %d; "+
		"let steps work side by side, or raise the cap",
		steps[last].ID, clip(chain(steps, path), 300), g.depth[last], h.Caps.Depth)
}

// checkJoin checks that the join policy can be met.
func (g *graph) checkJoin(h *Hub, steps []Step, p *problems) {
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
	switch {
	case counted == 0:
		p.add("plan: join %s: the plan has no %s, so that nothing would have to succeed; make one", h.Join, what)
	case counted < h.Join.K:
		p.add("plan: join %s: the plan has only %d of %d: each a %s; add steps or lower join.k", h.Join, counted, h.Join.K, what)
	}
}

// counts says whether the join policy looks at step i.
func (g *graph) counts(h *Hub, steps []Step, i int) bool {
	return !steps[i].Optional && (h.Join.Policy == joinAll || len(g.next[i]) == 0)
}
