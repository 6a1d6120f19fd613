package pattern

import (
	"encoding/json"
	"slices"
	"strings"

	"polity.run"
	"polity.run/fault"
)

// What the agents of a unit are asked for.
const (
	dutyWork      = "work"
	dutyAssign    = "assign"
	dutyReview    = "review"
	dutyDecide    = "decide"
	dutyIntegrate = "integrate"
	dutyFinalize  = "finalize"
	dutyAdvise    = "advise"
)

// Schemas of what is answered. What is asked is an object that describes itself, and has no schema: more may be added to it.
const (
	workOutput = `{"type":"object","required":["summary"],"properties":{` +
		`"summary":{"type":"string","minLength":1,"description":"What came out, in a few sentences."},` +
		`"results":{"type":"array","items":{"type":"string"},"description":"The findings or products, one each, with where they can be looked up."},` +
		`"gaps":{"type":"array","items":{"type":"string"},"description":"What was asked and is not done, and why."},` +
		`"escalate":{"type":"string","description":"Only if the task cannot be done as it is given: what your manager must decide. Never guess instead."}}}`
	assignOutput = `{"type":"object","required":["assignments"],"properties":{` +
		`"assignments":{"type":"array","minItems":1,"items":{"type":"object","required":["report","objective"],"properties":{` +
		`"report":{"type":"string","description":"Name of one of your reports; each has at most one assignment."},` +
		`"objective":{"type":"string","minLength":1,"description":"What it is to find out or do, complete in itself: it sees nothing else."},` +
		`"context":{"type":"string","description":"Facts that it needs."},` +
		`"guidance":{"type":"string","description":"Which tools and sources to use, and how."},` +
		`"acceptance":{"type":"array","items":{"type":"string"},"description":"What the result must hold to be accepted."}}}},` +
		`"strategy":{"type":"string","description":"The strategy in a few sentences, and why a report has nothing to do."}}}`
	reviewOutput = `{"type":"object","required":["decisions"],"properties":{` +
		`"decisions":{"type":"array","minItems":1,"items":{"type":"object","required":["report","accept"],"properties":{` +
		`"report":{"type":"string","description":"Name of the report whose result this is about; each result has one decision."},` +
		`"accept":{"type":"boolean"},` +
		`"remarks":{"type":"string","description":"What must be better, if it is not accepted."}}}}}}`
	decideOutput = `{"type":"object","required":["action"],"properties":{` +
		`"action":{"type":"string","enum":["do_again","reassign","drop","escalate"],"description":"do_again: the same report tries again. reassign: another report does it. drop: go on without it. escalate: the level above decides."},` +
		`"to":{"type":"string","description":"With reassign: name of the other report."},` +
		`"guidance":{"type":"string","description":"With do_again and reassign: what to do otherwise."}}}`
	integrateOutput = `{"type":"object","required":["summary"],"properties":{` + integrated + `}}`
	finalizeOutput  = `{"type":"object","required":["summary","recommendations","results"],"properties":{` + integrated + `}}`
	integrated      = `"summary":{"type":"string","minLength":1,"description":"What came out, for who asked."},` +
		`"results":{"type":"array","items":{"type":"string"},"description":"The results, one each, with the report that it comes from."},` +
		`"recommendations":{"type":"array","items":{"type":"string"},"description":"What should be done."},` +
		`"gaps":{"type":"array","items":{"type":"string"},"description":"What is missing."}`
	adviseOutput = `{"type":"object","required":["guidance"],"properties":{` +
		`"guidance":{"type":"string","minLength":1,"description":"What the report must mind in your field, in a few sentences."}}}`
)

func duty(name, description, output string) polity.Skill {
	return polity.Skill{Name: name, Description: description, Output: json.RawMessage(output)}
}

// leadDuties are the same for all leads: a unit may be asked as part of a hierarchy, and by itself.
func leadDuties() []polity.Skill {
	return []polity.Skill{
		duty(dutyAssign, "Split the objective into assignments for your reports.", assignOutput),
		reviewDuty(),
		duty(dutyDecide, "Decide what becomes of an assignment that could not be done.", decideOutput),
		duty(dutyIntegrate, "Put the results of your reports together for your manager.", integrateOutput),
		duty(dutyFinalize, "Put the results of your reports together for who asked.", finalizeOutput),
	}
}

func reviewDuty() polity.Skill {
	return duty(dutyReview, "Accept results, or send them back with remarks.", reviewOutput)
}

func dottedDuties(precedence string) []polity.Skill {
	advise := duty(dutyAdvise, "Say what another manager's report must mind in your field.", adviseOutput)
	if precedence == PrecedenceDotted {
		return []polity.Skill{advise, reviewDuty()}
	}
	return []polity.Skill{advise}
}

func (h *Hierarchy) workDuty() polity.Skill {
	if len(h.ReportUp) > 0 {
		return duty(dutyWork, "Do an assignment.", string(h.ReportUp))
	}
	return duty(dutyWork, "Do an assignment.", workOutput)
}

// unitBrief is what a report is asked, and so what a unit is asked from above: it sees this and nothing of the others.
type unitBrief struct {
	Duty       string   `json:"duty"`
	Objective  string   `json:"objective"`
	Context    string   `json:"context,omitempty"`
	Guidance   string   `json:"guidance,omitempty"`
	Boundaries string   `json:"boundaries,omitempty"`
	Acceptance []string `json:"acceptance,omitempty"`
	// GuidanceFrom is what those say who have dotted lines.
	GuidanceFrom []unitAdvice `json:"guidance_from,omitempty"`
	Expects      string       `json:"expects,omitempty"`
	// Remarks say what must be better than in Previous.
	Remarks  []string `json:"remarks,omitempty"`
	Previous string   `json:"previous,omitempty"`
	Manager  string   `json:"manager,omitempty"`
	Level    int      `json:"level,omitempty"`  // of who is asked: the top is 1
	Levels   int      `json:"levels,omitempty"` // that there may be
}

// unitAdvise is what a second boss is asked before a report works.
type unitAdvise struct {
	Duty      string           `json:"duty"`
	Objective string           `json:"objective"`
	Report    polity.AgentName `json:"report"`
	Brief     unitBrief        `json:"brief"`
}

// unitAdvice is guidance of a second boss.
type unitAdvice struct {
	Manager    polity.AgentName `json:"manager"`
	Guidance   string           `json:"guidance"`
	Precedence string           `json:"precedence"` // in words
}

// briefOf reads what a unit is asked. Who is no unit asks in its own way, with a question at least.
func briefOf(request json.RawMessage) unitBrief {
	var b unitBrief
	if json.Unmarshal(request, &b) == nil && b.Duty == dutyWork && b.Objective != "" {
		return b
	}
	b = unitBrief{Level: 1}
	_, b.Objective = questionOf(request)
	var fields map[string]json.RawMessage
	if json.Unmarshal(request, &fields) == nil {
		b.Context, b.Guidance, b.Boundaries = textOf(fields["context"]), textOf(fields["guidance"]), textOf(fields["boundaries"])
		if list := []string{}; json.Unmarshal(fields["acceptance"], &list) == nil {
			b.Acceptance = list
		}
	}
	return b
}

// saysMore says whether a request holds more than what briefOf reads of it.
func saysMore(request json.RawMessage) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal(request, &fields) != nil {
		return false
	}
	for name := range fields {
		if !slices.Contains([]string{"question", "objective", "context", "guidance", "boundaries", "acceptance", "folder_name"}, name) {
			return true
		}
	}
	return false
}

// unitAssign is what the lead is asked first.
type unitAssign struct {
	unitBrief
	Mandate string           `json:"mandate,omitempty"` // the unit's standing objective
	Reports []unitAssignable `json:"reports"`
	Request json.RawMessage  `json:"request,omitempty"` // what a unit that nobody is above was asked, where that is more than a question
}

type unitAssignable struct {
	Report      polity.AgentName `json:"report"`
	Description string           `json:"description,omitempty"`
	For         string           `json:"for,omitempty"`
	Skills      []string         `json:"skills,omitempty"`
}

// unitAssignments is what it answers.
type unitAssignments struct {
	Assignments []unitAssignment `json:"assignments"`
	Strategy    string           `json:"strategy"`
}

type unitAssignment struct {
	Report     polity.AgentName `json:"report"`
	Objective  string           `json:"objective"`
	Context    string           `json:"context"`
	Guidance   string           `json:"guidance"`
	Acceptance []string         `json:"acceptance"`
}

// acceptAssignments wants each assignment to go to a report, at most one to each, and at least one.
func (h *Hierarchy) acceptAssignments(output json.RawMessage) error {
	var a unitAssignments
	if err := json.Unmarshal(output, &a); err != nil {
		return fault.Invalid.New("want {\"assignments\": [{\"report\", \"objective\"}]}: %w", err)
	}
	if len(a.Assignments) == 0 {
		return fault.Invalid.New("there are no assignments; give at least one of %s an objective", list(h.names(-1)))
	}
	for i, one := range a.Assignments {
		switch {
		case !slices.Contains(h.names(-1), one.Report):
			return fault.Invalid.New("assignments[%d].report: %q is none of your reports: %s", i, clip(string(one.Report), polity.NameMax), list(h.names(-1)))
		case strings.TrimSpace(one.Objective) == "":
			return fault.Invalid.New("assignments[%d].objective: %s is told nothing to do; write an objective", i, one.Report)
		case slices.ContainsFunc(a.Assignments[:i], func(o unitAssignment) bool { return o.Report == one.Report }):
			return fault.Invalid.New("assignments[%d].report: %s has two assignments; make one of them", i, one.Report)
		}
	}
	return nil
}

// names lists the reports but the one at position i.
func (h *Hierarchy) names(but int) []polity.AgentName {
	var all []polity.AgentName
	for i, r := range h.Reports {
		if i != but {
			all = append(all, r.Agent)
		}
	}
	return all
}

// unitReview is what the lead, and who wins over it, is asked about results. It is what is integrated too.
type unitReview struct {
	Duty      string     `json:"duty"`
	Objective string     `json:"objective"`
	Context   string     `json:"context,omitempty"`
	Mandate   string     `json:"mandate,omitempty"`
	Results   []unitSeen `json:"results"`
	Gaps      []string   `json:"gaps,omitempty"`
}

// unitSeen is a result as a lead sees it.
type unitSeen struct {
	Report          polity.AgentName `json:"report"`
	DoneBy          polity.AgentName `json:"done_by,omitempty"` // where that is another
	Objective       string           `json:"objective"`
	Acceptance      []string         `json:"acceptance,omitempty"`
	Status          string           `json:"status"`
	Summary         string           `json:"summary,omitempty"`
	Results         []string         `json:"results,omitempty"`
	Recommendations []string         `json:"recommendations,omitempty"`
	Gaps            []string         `json:"gaps,omitempty"`
	Output          json.RawMessage  `json:"output,omitempty"` // of who is no unit: its other fields
	Remarks         []string         `json:"remarks,omitempty"`
	Run             polity.RunID     `json:"run,omitempty"`
}

type unitDecisions struct {
	Decisions []unitDecision `json:"decisions"`
}

type unitDecision struct {
	Report  polity.AgentName `json:"report"`
	Accept  *bool            `json:"accept"`
	Remarks string           `json:"remarks"`
}

// acceptDecisions wants one decision about each of the results.
func acceptDecisions(results []unitSeen) func(json.RawMessage) error {
	return func(output json.RawMessage) error {
		var d unitDecisions
		if err := json.Unmarshal(output, &d); err != nil {
			return fault.Invalid.New("want {\"decisions\": [{\"report\", \"accept\", \"remarks\"}]}: %w", err)
		}
		about := map[polity.AgentName]bool{}
		for i, one := range d.Decisions {
			if !slices.ContainsFunc(results, func(s unitSeen) bool { return s.Report == one.Report }) {
				return fault.Invalid.New("decisions[%d].report: no result of %q is to be reviewed", i, clip(string(one.Report), polity.NameMax))
			}
			if one.Accept == nil {
				return fault.Invalid.New("decisions[%d].accept: want true or false", i)
			}
			if about[one.Report] {
				return fault.Invalid.New("decisions[%d].report: there are two decisions about %s; make one of them", i, one.Report)
			}
			about[one.Report] = true
		}
		for _, s := range results {
			if !about[s.Report] {
				return fault.Invalid.New("decisions: nothing is decided about the result of %s", s.Report)
			}
		}
		return nil
	}
}

// unitProblem is what the lead must decide.
type unitProblem struct {
	Duty      string             `json:"duty"`
	Objective string             `json:"objective"`
	Context   string             `json:"context,omitempty"`
	Report    polity.AgentName   `json:"report"`
	Assigned  string             `json:"assigned"`
	Problem   string             `json:"problem_of_report"`
	Partial   *unitSeen          `json:"partial,omitempty"`
	Options   []string           `json:"options"`
	Others    []polity.AgentName `json:"others,omitempty"` // to whom it may be given
}

// What a lead may decide.
const (
	actAgain    = "do_again"
	actReassign = "reassign"
	actDrop     = "drop"
	actEscalate = "escalate"
)

type unitAction struct {
	Action   string           `json:"action"`
	To       polity.AgentName `json:"to"`
	Guidance string           `json:"guidance"`
}

func acceptAction(q unitProblem) func(json.RawMessage) error {
	return func(output json.RawMessage) error {
		var a unitAction
		if err := json.Unmarshal(output, &a); err != nil {
			return fault.Invalid.New("want {\"action\", \"to\", \"guidance\"}: %w", err)
		}
		if !slices.Contains(q.Options, a.Action) {
			return fault.Invalid.New("action: %q is none of %s", clip(a.Action, polity.NameMax), list(q.Options))
		}
		if a.Action == actReassign && !slices.Contains(q.Others, a.To) {
			return fault.Invalid.New("to: %q is none of %s", clip(string(a.To), polity.NameMax), list(q.Others))
		}
		return nil
	}
}

// unitWhole is what a lead answers when it has put results together.
type unitWhole struct {
	Summary         string   `json:"summary"`
	Results         []string `json:"results"`
	Recommendations []string `json:"recommendations"`
	Gaps            []string `json:"gaps"`
}

func acceptWhole(top bool) func(json.RawMessage) error {
	return func(output json.RawMessage) error {
		var w unitWhole
		if err := json.Unmarshal(output, &w); err != nil {
			return fault.Invalid.New("want {\"summary\", \"results\", \"recommendations\", \"gaps\"}, the last three lists of texts: %w", err)
		}
		if strings.TrimSpace(w.Summary) == "" {
			return fault.Invalid.New("summary: it says nothing")
		}
		if top && w.Recommendations == nil {
			return fault.Invalid.New("recommendations: this field is missing; write [] for none")
		}
		return nil
	}
}

func acceptAdvice(output json.RawMessage) error {
	var a struct {
		Guidance string `json:"guidance"`
	}
	if err := json.Unmarshal(output, &a); err != nil {
		return fault.Invalid.New("want {\"guidance\"}: %w", err)
	}
	if strings.TrimSpace(a.Guidance) == "" {
		return fault.Invalid.New("guidance: it says nothing")
	}
	return nil
}
