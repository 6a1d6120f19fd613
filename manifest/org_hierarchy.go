package manifest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"polity.run"
	"polity.run/agent"
	"polity.run/pattern"
)

// chart is a hierarchy that is being built: each of its departments becomes an organization of its own.
type chart struct {
	*builder
	top    *org
	levels int
	lines  map[string]*solid // by the name of who reports, or leads
	depths map[string]int    // levels of organizations that are named, as far as they were counted
	up     json.RawMessage   // what workers hand up
}

// solid is where somebody stands in a chart.
type solid struct {
	path string
	unit *org // to whose lead it reports; nil for the executive
	i    int  // position among the reports; -1 for a lead
}

// hierarchy makes the configuration of the executive's unit, and the organizations below it.
func (b *builder) hierarchy(o *org) pattern.Config {
	h := &o.as.hierarchy
	c := &chart{builder: b, top: o, levels: cmp.Or(int(h.Levels), pattern.LevelsDefault), lines: map[string]*solid{}, depths: map[string]int{}}
	c.up = b.schema(h.ReportUp, o.path+".report_up")
	o.places = map[string]string{"lead": o.path + ".executive", "reports": o.path + ".departments"}
	cfg := c.unit(o, h.Executive, 0)
	cfg.Objective = h.Mandate
	o.cfg = cfg
	c.stands(string(h.Executive), o.path+".executive", o, -1, nil)
	for i := range h.Departments {
		c.department(o, fmt.Sprintf("%s.departments[%d]", o.path, i), &h.Departments[i], 2, []string{string(h.Executive)})
	}
	for i, line := range h.Dotted {
		c.dotted(fmt.Sprintf("%s.dotted[%d]", o.path, i), line)
	}
	return cfg
}

// unit makes the configuration of a unit without reports, with what all units of the chart have in common.
func (c *chart) unit(o *org, lead word, own span) *pattern.Hierarchy {
	h := &c.top.as.hierarchy
	for _, field := range []string{"span", "levels", "rework", "on_manager_failure", "report_up"} {
		o.places[field] = c.top.path + "." + field
	}
	if own > 0 {
		o.places["span"] = o.path + ".span"
	}
	return &pattern.Hierarchy{
		Lead: polity.AgentName(lead), Rework: (*int)(h.Rework), Span: int(cmp.Or(own, h.Span)), Levels: int(h.Levels),
		OnManagerFailure: string(h.OnManagerFailure), ReportUp: c.up,
	}
}

// stands notes where somebody stands: once, and below nobody that it leads.
func (c *chart) stands(name, path string, unit *org, i int, above []string) {
	switch first := c.lines[name]; {
	case !nameText.MatchString(name): // reported by the decoder, or missing
	case slices.Contains(above, name):
		c.add(path, fmt.Sprintf("%s would be its own manager: %s", shown(name), clipChain(append(slices.Clone(above), name))), "name another agent")
	case first != nil:
		c.add(path, fmt.Sprintf("%s has a solid line already, by %s", shown(name), first.path), "delete one of them, or make it a dotted line")
	default:
		c.lines[name] = &solid{path, unit, i}
	}
}

// report adds a report to a unit.
func (c *chart) report(o *org, name word, path string, above []string) *pattern.DirectReport {
	cfg := o.cfg.(*pattern.Hierarchy)
	i := len(cfg.Reports)
	o.places[fmt.Sprintf("reports[%d].agent", i)] = path
	c.stands(string(name), path, o, i, above)
	cfg.Reports = append(cfg.Reports, pattern.DirectReport{Agent: polity.AgentName(name)})
	return &cfg.Reports[i]
}

// department adds a department to a unit: an organization of its own, or an agent that is named.
func (c *chart) department(o *org, path string, d *department, level int, above []string) {
	if !c.at.isMapping(path) {
		c.named(o, d.Name, path, level, above)
		return
	}
	if c.defs[string(d.Name)] != nil {
		c.add(path+".name", "an agent is named "+shown(string(d.Name))+" already", "rename the department")
		return
	}
	report := c.report(o, d.Name, path+".name", above)
	report.Objective, report.Bounds = cmp.Or(d.Description, d.Objective), c.bounds(d.Bounds)
	if level == c.levels+1 { // what is deeper is a consequence
		c.tooDeep(path, level)
	}
	def := c.define(string(d.Name), cmp.Or(d.Description, d.Objective), path, nil)
	def.Kind, def.Org = agent.KindOrg, &agent.Org{Pattern: "hierarchy"}
	unit := &org{def: def, path: path, as: &patterned{Pattern: "hierarchy"}, places: map[string]string{"lead": path + ".manager", "reports": path + ".workers"}}
	cfg := c.unit(unit, d.Manager, d.Span)
	cfg.Objective = d.Objective
	unit.cfg = cfg
	c.orgs[string(d.Name)] = unit
	c.stands(string(d.Manager), path+".manager", unit, -1, above)
	above = append(slices.Clone(above), string(d.Manager))
	for i, w := range d.Workers {
		c.named(unit, w, fmt.Sprintf("%s.workers[%d]", path, i), level+1, above)
	}
	for i := range d.Teams {
		c.department(unit, fmt.Sprintf("%s.teams[%d]", path, i), &d.Teams[i], level+1, above)
	}
	if len(cfg.Reports) == 0 && !c.at.has(path+".workers") && !c.at.has(path+".teams") {
		c.add(path, "nobody works in this department", "add workers or teams, or delete it")
	}
}

// named adds an agent that is declared elsewhere. One that is a hierarchy itself brings its levels along.
func (c *chart) named(o *org, name word, path string, level int, above []string) {
	c.report(o, name, path, above)
	if below := c.depth(string(name)); below > 0 && level+below-1 > c.levels {
		c.tooDeep(path, level+below-1)
	}
}

func (c *chart) tooDeep(path string, level int) {
	c.add(path, fmt.Sprintf("this makes %d levels of managers; at most %d are allowed", level, c.levels),
		fmt.Sprintf("take a level out, or set %s.levels (at most %d)", c.top.path, pattern.LevelsMax))
}

// depth counts the levels of an agent that is a hierarchy, and is 0 for any other. One that holds itself is reported elsewhere.
func (c *chart) depth(name string) int {
	o := c.orgs[name]
	if o == nil || o.as.Pattern != "hierarchy" {
		return 0
	}
	if n, ok := c.depths[name]; ok {
		return n
	}
	c.depths[name] = 0
	c.depths[name] = 1 + c.below(o.as.Departments)
	return c.depths[name]
}

// below counts the levels of departments as they are written.
func (c *chart) below(all []department) int {
	deepest := 0
	for _, d := range all {
		n := c.depth(string(d.Name))
		if d.Manager != "" {
			n = 1 + c.below(d.Teams)
			for _, w := range d.Workers {
				n = max(n, 1+c.depth(string(w)))
			}
		}
		deepest = max(deepest, n)
	}
	return deepest
}

// units marks which reports are organizations. It runs when all organizations are known.
func (b *builder) units(h *pattern.Hierarchy) {
	for i := range h.Reports {
		h.Reports[i].Unit = b.orgs[string(h.Reports[i].Agent)] != nil
	}
}

// dotted adds a dotted line to where its report has the solid one.
func (c *chart) dotted(path string, line dottedLine) {
	at := c.lines[string(line.Report)]
	switch {
	case !nameText.MatchString(string(line.Report)): // reported by the decoder, or missing
		return
	case at == nil:
		c.unknown(path+".report", "nobody in this hierarchy is", string(line.Report), slices.Sorted(maps.Keys(c.lines)))
		return
	case at.i < 0:
		c.add(path+".report", shown(string(line.Report))+" leads a unit, and what it does is not assigned", "draw the line to the unit, or to one of its reports")
		return
	}
	d := &at.unit.cfg.(*pattern.Hierarchy).Reports[at.i]
	field := fmt.Sprintf("reports[%d].dotted[%d].", at.i, len(d.Dotted))
	at.unit.places[field+"manager"], at.unit.places[field+"precedence"] = path+".manager", path+".precedence"
	at.unit.places[fmt.Sprintf("reports[%d].dotted", at.i)] = path
	d.Dotted = append(d.Dotted, pattern.DottedLine{Manager: polity.AgentName(line.Manager), Precedence: string(line.Precedence)})
}
