package pattern

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"polity.run"
	"polity.run/fault"
	"polity.run/schema"
)

// Limits of a hierarchy.
const (
	SpanDefault   = 7  // reports of one lead
	SpanMax       = 64 // that may be declared: what one run waits for at once
	LevelsDefault = 4  // units inside each other
	LevelsMax     = 16 // that may be declared
	ReworkDefault = 1  // times that a result is sent back
	ReworkMax     = 5  // that may be declared
	DottedMax     = 4  // dotted lines of one report
)

// What a unit does when its lead cannot do a duty.
const (
	ManagerEscalate = "escalate" // the unit ends with what it has, and the level above decides
	ManagerDegrade  = "degrade"  // the unit goes on by rule, and says so
)

// Whose guidance wins where a report has two bosses.
const (
	PrecedenceSolid  = "solid"  // the lead's; the dotted line advises
	PrecedenceDotted = "dotted" // the dotted line's, whose review counts too
)

// Hierarchy is the configuration of one unit of a hierarchy: a lead and those who report to it. A report may be a unit itself, an
// organization of this pattern, and so to any depth; a unit that nobody is above is the whole, and its lead the executive.
//
//	objective -> lead assigns -> reports work -> lead reviews -> { again } -> lead integrates, or finalizes at the top
//
// A report sees its brief and nothing of the others. What a report cannot do is its lead's to decide: to have it done again or by
// another, to go on without it, or to escalate, which ends the unit with what it has and makes it the problem of the level above.
type Hierarchy struct {
	Lead polity.AgentName `json:"lead"`
	// Objective is the standing objective of the unit, beside what it is asked.
	Objective string         `json:"objective,omitempty"`
	Reports   []DirectReport `json:"reports"`
	Rework    *int           `json:"rework,omitempty"` // times that a result may be sent back; nil is ReworkDefault
	Span      int            `json:"span,omitempty"`   // most reports; 0 is SpanDefault
	Levels    int            `json:"levels,omitempty"` // most units inside each other, where this one is the top; 0 is LevelsDefault
	// OnManagerFailure is ManagerEscalate or ManagerDegrade; "" is ManagerEscalate.
	OnManagerFailure string `json:"on_manager_failure,omitempty"`
	// ReportUp is the JSON Schema of what reports that are no units answer; empty takes an object or a text that says something.
	ReportUp json.RawMessage `json:"report_up,omitempty"`
	Members  []Member        `json:"members,omitempty"`
}

// DirectReport is who reports to a lead by a solid line.
type DirectReport struct {
	Agent polity.AgentName `json:"agent"`
	// Unit says that it is an organization, which has reports of its own.
	Unit bool `json:"unit,omitempty"`
	// Objective is what it is there for, as the lead is told.
	Objective string        `json:"objective,omitempty"`
	Bounds    polity.Bounds `json:"bounds,omitzero"` // delegated to each question
	Dotted    []DottedLine  `json:"dotted,omitempty"`
}

// DottedLine is a second boss, who advises before a report works.
type DottedLine struct {
	Manager    polity.AgentName `json:"manager"`
	Precedence string           `json:"precedence"` // PrecedenceSolid or PrecedenceDotted: who wins in a conflict
}

// Roles lists the lead, the reports, and who has dotted lines to them.
func (h Hierarchy) Roles() []Role {
	roles := []Role{{Field: "lead", Name: "lead", Agent: h.Lead, Duties: leadDuties()}}
	for i, r := range h.Reports {
		one := Role{Field: fmt.Sprintf("reports[%d].agent", i), Name: "worker", Agent: r.Agent, Duties: []polity.Skill{h.workDuty()}}
		if r.Unit {
			one.Name = "unit"
		}
		roles = append(roles, one)
	}
	for i, r := range h.Reports {
		for j, d := range r.Dotted {
			roles = append(roles, Role{
				Field: fmt.Sprintf("reports[%d].dotted[%d].manager", i, j), Name: "dotted manager", Agent: d.Manager, Duties: dottedDuties(d.Precedence),
			})
		}
	}
	return roles
}

// Know fills the members in.
func (h *Hierarchy) Know(members []Member) { h.Members = known(h.Roles(), members) }

// Check returns all problems: see Config.
func (h Hierarchy) Check() error {
	var p problems
	h.checkLimits(&p)
	seen := map[polity.AgentName]int{}
	for i, r := range h.Reports {
		at := in("reports[%d].agent", i)
		first, twice := seen[r.Agent]
		switch {
		case r.Agent == "":
		case r.Agent == h.Lead:
			p.add(at, "%s would report to itself; name another agent", r.Agent)
		case twice:
			p.add(at, "%s is reports[%d] already; one solid line is enough", r.Agent, first)
		default:
			seen[r.Agent] = i
		}
		h.checkDotted(i, &p)
	}
	if _, err := schema.Compile(h.ReportUp); err != nil {
		p.add(in("report_up"), "this is not a usable JSON Schema: %v", err)
	}
	checkRoles(h.Roles(), h.Members, &p)
	return p.err()
}

func (h *Hierarchy) checkLimits(p *problems) {
	within := func(field string, v, least, most int) {
		if v < least || v > most {
			p.add(in("%s", field), "%d is not within %d and %d", v, least, most)
		}
	}
	within("span", h.span(), 1, SpanMax)
	within("levels", h.levels(), 1, LevelsMax)
	within("rework", h.rework(), 0, ReworkMax)
	switch n := len(h.Reports); {
	case n == 0:
		p.add(in("reports"), "nobody reports to %s; name at least one agent", h.Lead)
	case n > h.span():
		p.add(in("reports"), "%d reports are more than the span of %d; put some of them under a manager of their own, or set span (at most %d)", n, h.span(), SpanMax)
	}
	if f := h.OnManagerFailure; f != "" && f != ManagerEscalate && f != ManagerDegrade {
		p.add(in("on_manager_failure"), "%q: want %s or %s", f, ManagerEscalate, ManagerDegrade)
	}
}

// checkDotted checks the dotted lines of a report. Two bosses without a rule for conflicts are none.
func (h *Hierarchy) checkDotted(i int, p *problems) {
	r := &h.Reports[i]
	if len(r.Dotted) > DottedMax {
		p.add(in("reports[%d].dotted", i), "%d dotted lines are more than %d", len(r.Dotted), DottedMax)
	}
	for j, d := range r.Dotted {
		at := in("reports[%d].dotted[%d].manager", i, j)
		switch {
		case d.Manager == "":
		case d.Manager == r.Agent:
			p.add(at, "%s would be its own boss; name another agent", r.Agent)
		case d.Manager == h.Lead:
			p.add(at, "%s reports to %s by a solid line already; delete the dotted one", r.Agent, h.Lead)
		case slices.ContainsFunc(r.Dotted[:j], func(o DottedLine) bool { return o.Manager == d.Manager }):
			p.add(at, "%s has a dotted line to %s already; delete one of them", r.Agent, d.Manager)
		}
		if d.Precedence != PrecedenceSolid && d.Precedence != PrecedenceDotted {
			p.add(in("reports[%d].dotted[%d].precedence", i, j), "%s has two bosses, %s and %s, and nothing says whose guidance wins; write %s or %s",
				r.Agent, h.Lead, d.Manager, PrecedenceSolid, PrecedenceDotted)
		}
	}
}

func (h *Hierarchy) span() int   { return cmp.Or(h.Span, SpanDefault) }
func (h *Hierarchy) levels() int { return cmp.Or(h.Levels, LevelsDefault) }

func (h *Hierarchy) rework() int {
	if h.Rework == nil {
		return ReworkDefault
	}
	return *h.Rework
}

// Decider returns what decides the runs of the unit. A run finishes with a HierarchyResult, also where its lead failed but reports have
// answered. It fails with the kind of what went wrong where there is nothing to hand up: the lead could not assign, or no report could
// work. A unit deeper than the levels that the top allows is fault.Exhausted.
func (h Hierarchy) Decider() (polity.Decider, error) {
	if err := h.Check(); err != nil {
		return nil, err
	}
	own := copied(h)
	up, err := schema.Compile(own.ReportUp)
	if err != nil {
		return nil, fault.Invalid.New("report_up: %w", err)
	}
	return player{"hierarchy", func(d *desk) play {
		return &unitRun{desk: d, cfg: own, up: up, waiting: map[string]func(*answer){}, times: map[string]int{}}
	}}, nil
}
