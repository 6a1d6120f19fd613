package pattern

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"polity.run"
	"polity.run/fault"
)

// Limits of a unit's result. What is left out is found by the run's ID.
const (
	gapsMax   = 100      // gaps, and notes
	detailMax = 48 << 10 // bytes of outputs and of levels below, in equal shares of the reports
	wholeMax  = 64 << 10 // bytes of each list that a lead has put together
)

// The statuses of a unit.
const (
	UnitCompleted = "completed"
	UnitPartial   = "partial"   // something is missing: see Gaps
	UnitEscalated = "escalated" // something is the problem of the level above, or of who asked
	UnitFailed    = "failed"    // nothing was done; the level above decides
)

// HierarchyResult is what a unit hands up, and at the top the answer.
type HierarchyResult struct {
	Pattern         string   `json:"pattern"` // hierarchy
	Status          string   `json:"status"`
	Summary         string   `json:"summary"`
	Recommendations []string `json:"recommendations,omitempty"`
	Results         []string `json:"results,omitempty"`
	Gaps            []string `json:"gaps,omitempty"`
	// Escalate says what the level above must decide, with UnitEscalated.
	Escalate string `json:"escalate,omitempty"`
	// Unreviewed says that nobody put the results together, and why.
	Unreviewed string `json:"unreviewed,omitempty"`
	// Unknown says that something below may have been done or not, so that this must not be done again.
	Unknown bool           `json:"unknown,omitempty"`
	Details HierarchyLevel `json:"details"`
}

// HierarchyLevel is one unit from within, for who wants to read below a level.
type HierarchyLevel struct {
	Lead        polity.AgentName `json:"lead"`
	Level       int              `json:"level"` // the top is 1
	Reports     []HierarchyWork  `json:"reports"`
	Escalations []Escalation     `json:"escalations,omitempty"`
	Notes       []string         `json:"notes,omitempty"`
	Asked       []Done           `json:"asked,omitempty"` // of the lead, and of dotted lines
}

// HierarchyWork is what became of one assignment.
type HierarchyWork struct {
	Report    polity.AgentName `json:"report"`
	DoneBy    polity.AgentName `json:"done_by,omitempty"` // where that is another
	Objective string           `json:"objective"`
	Status    string           `json:"status"` // accepted, refused, partial, failed, unknown, open
	Summary   string           `json:"summary,omitempty"`
	Gaps      []string         `json:"gaps,omitempty"`
	Remarks   []string         `json:"remarks,omitempty"` // why it was sent back or refused
	Run       polity.RunID     `json:"run,omitempty"`
	Attempts  int              `json:"attempts"`
	Reworks   int              `json:"reworks,omitempty"`
	Took      polity.Duration  `json:"took,omitempty"`
	Usage     polity.Usage     `json:"usage,omitzero"`
	Fault     *fault.Error     `json:"fault,omitempty"`
	// Output is what a report that is no unit handed up, and Below the HierarchyLevel of one that is, which Under reads; LeftOut says that
	// it was too long for here.
	Output  json.RawMessage `json:"output,omitempty"`
	Below   json.RawMessage `json:"below,omitempty"`
	LeftOut bool            `json:"left_out,omitempty"`
}

// Under is the level below a report that is a unit; nil where it is none, or was left out.
func (w *HierarchyWork) Under() *HierarchyLevel {
	var l HierarchyLevel
	if len(w.Below) == 0 || json.Unmarshal(w.Below, &l) != nil {
		return nil
	}
	return &l
}

// Escalation is a problem that a report could not solve, and what became of it.
type Escalation struct {
	Report  polity.AgentName `json:"report"`
	Problem string           `json:"problem"`
	Run     polity.RunID     `json:"run,omitempty"`
	Action  string           `json:"action"`       // do_again, reassign, drop, escalate
	By      polity.AgentName `json:"by,omitempty"` // who decided; "" for a rule
	To      polity.AgentName `json:"to,omitempty"`
}

func (r *unitRun) escalate(t *unitTask, by polity.AgentName, problem, action string, to polity.AgentName) {
	r.escalations = append(r.escalations, Escalation{
		Report: r.cfg.Reports[t.by].Agent, Problem: clip(problem, problemMax), Run: t.run, Action: action, By: by, To: to,
	})
}

// unitSaid is what a report handed up, as far as its lead reads it.
type unitSaid struct {
	Pattern         string          `json:"pattern"`
	Status          string          `json:"status"`
	Unknown         bool            `json:"unknown"`
	Summary         string          `json:"summary"`
	Results         []string        `json:"results"`
	Recommendations []string        `json:"recommendations"`
	Gaps            []string        `json:"gaps"`
	Escalate        string          `json:"escalate"`
	Details         json.RawMessage `json:"details"`
}

// saidOf reads what was handed up. Whatever has no summary is its own; what says nothing has none.
func saidOf(output json.RawMessage) unitSaid {
	var s unitSaid
	if err := json.Unmarshal(output, &s); err != nil {
		s = unitSaid{Summary: s.Summary, Gaps: s.Gaps, Escalate: s.Escalate} // fields of other types than ours: what could be read is there
	}
	if s.Pattern != "hierarchy" {
		s.Details, s.Status, s.Unknown = nil, "", false
	}
	if string(s.Details) == "null" {
		s.Details = nil
	}
	if s.Summary = strings.TrimSpace(s.Summary); s.Summary == "" {
		s.Summary = strings.TrimSpace(textOf(output))
	}
	if object := strings.TrimSpace(string(output)); s.Summary == "" && strings.HasPrefix(object, "{") && object != "{}" {
		s.Summary = object
	}
	s.Summary = clip(s.Summary, shownMax)
	s.Results, s.Recommendations, s.Gaps = clipList(s.Results, shownMax), clipList(s.Recommendations, shownMax), clipList(s.Gaps, shownMax)
	return s
}

// clipList cuts a list behind so many bytes, and says how many there are more. One that is not cut stays as it is.
func clipList(list []string, max int) []string {
	for i, one := range list {
		if max -= len(one); max < 0 {
			return append(list[:i:i], fmt.Sprintf("and %d more", len(list)-i))
		}
	}
	return list
}

// seen is an assignment as a lead sees it.
func (r *unitRun) seen(t *unitTask) unitSeen {
	s := unitSeen{
		Report: t.Report, DoneBy: r.other(t), Objective: t.Objective, Acceptance: t.Acceptance, Status: t.status, Summary: t.said.Summary,
		Results: t.said.Results, Recommendations: t.said.Recommendations, Gaps: t.said.Gaps, Remarks: t.remarks, Run: t.run,
	}
	if t.fault != nil {
		s.Gaps = append(s.Gaps[:len(s.Gaps):len(s.Gaps)], t.fault.Text)
	}
	if !r.cfg.Reports[t.by].Unit {
		s.Output = more(t.output)
	}
	return s
}

// more is what an output holds beside what a lead reads of it anyway; nothing if there is no such thing, or too much of it.
func more(output json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(output, &fields) != nil || fields["summary"] == nil {
		return nil // then it is the summary itself
	}
	for _, read := range []string{"summary", "results", "recommendations", "gaps", "escalate"} {
		delete(fields, read)
	}
	rest, err := marshal(fields)
	if err != nil || len(fields) == 0 || len(rest) > shownMax {
		return nil
	}
	return rest
}

// other is who did an assignment, where that is not the report that has it.
func (r *unitRun) other(t *unitTask) polity.AgentName {
	if t.by == t.of {
		return ""
	}
	return r.cfg.Reports[t.by].Agent
}

func (r *unitRun) results(which func(*unitTask) bool) []unitSeen {
	all := []unitSeen{}
	for _, t := range r.tasks {
		if which(t) {
			all = append(all, r.seen(t))
		}
	}
	return all
}

func faultOf(t *unitTask) string {
	if t.fault == nil {
		return ""
	}
	return t.fault.Text
}

// gaps are what is missing, as the assignments tell, and what the lead says beside them. No lead can make one of them disappear.
func (r *unitRun) gaps(more []string) []string {
	var all []string
	for _, t := range r.tasks {
		why := ""
		switch t.status {
		case workAccepted, workDone:
			if f := faultOf(t); f != "" {
				why = "ended early: " + f
			}
		case workRefused:
			why = "not accepted: " + t.remarks[len(t.remarks)-1]
		case workPartial:
			why = cmp.Or(t.said.Escalate, faultOf(t), "reviewed by nobody")
		case workOpen:
			why = "not done"
		default:
			why = faultOf(t)
		}
		if why != "" {
			all = addNew(all, clip(fmt.Sprintf("%s: %s (%s): %s", t.Report, t.Objective, t.status, why), problemMax))
		}
		for _, gap := range t.said.Gaps {
			all = addNew(all, clip(fmt.Sprintf("%s: %s", t.Report, gap), problemMax))
		}
	}
	for _, gap := range more {
		all = addNew(all, clip(gap, problemMax))
	}
	if len(all) > gapsMax {
		all = append(all[:gapsMax:gapsMax], fmt.Sprintf("and %d more", len(all)-gapsMax))
	}
	return all
}

// end finishes the run: with the whole that the lead made, or with what there is and why nobody made one.
func (r *unitRun) end(w *unitWhole, unreviewed string) {
	out := HierarchyResult{Pattern: "hierarchy", Status: UnitCompleted, Unreviewed: unreviewed, Unknown: r.unknown, Details: r.details()}
	if w != nil {
		out.Summary, out.Gaps = clip(w.Summary, wholeMax), r.gaps(w.Gaps)
		out.Results, out.Recommendations = clipList(w.Results, wholeMax), clipList(w.Recommendations, wholeMax)
	} else {
		out.Summary, out.Results = r.joined()
		out.Gaps = r.gaps(nil)
	}
	if len(out.Gaps) > 0 || unreviewed != "" {
		out.Status = UnitPartial
	}
	if r.escalated {
		out.Status, out.Escalate = UnitEscalated, r.ladder()
	}
	r.finish(out)
}

// endEmpty ends a unit with nothing to hand up: the level above decides. At the top that is a failure.
func (r *unitRun) endEmpty(kind fault.Kind, why string) {
	if r.top {
		r.fail(kind.New("hierarchy: %s", why))
		return
	}
	r.finish(HierarchyResult{
		Pattern: "hierarchy", Status: UnitFailed, Summary: "Nothing was done.", Gaps: r.gaps(nil), Escalate: clip(why, problemMax),
		Unknown: r.unknown || kind == fault.Unknown, Details: r.details(),
	})
}

// joined puts what the reports said behind each other.
func (r *unitRun) joined() (summary string, results []string) {
	for _, t := range r.tasks {
		if len(t.output) > 0 {
			results = append(results, fmt.Sprintf("%s: %s", t.Report, t.said.Summary))
		}
	}
	return fmt.Sprintf("%d of %s were done; nobody put the results together.", len(results), plural(len(r.tasks), "assignment")), results
}

// ladder says what is escalated, and past whom.
func (r *unitRun) ladder() string {
	var why []string
	for _, e := range r.escalations {
		if e.Action == actEscalate {
			why = append(why, fmt.Sprintf("%s: %s", e.Report, e.Problem))
		}
	}
	for _, d := range r.asked {
		if d.Agent == r.cfg.Lead && d.Fault != nil {
			why = append(why, fmt.Sprintf("%s could not %s: %s", d.Agent, d.Name, d.Fault.Text))
		}
	}
	return clip(fmt.Sprintf("%s (level %d) escalates: %s", r.cfg.Lead, r.brief.Level, strings.Join(why, "; ")), problemMax)
}

// details tells the unit from within. Each report has the same share of the room, so that a long one takes nothing from the others.
func (r *unitRun) details() HierarchyLevel {
	out := HierarchyLevel{Lead: r.cfg.Lead, Level: r.brief.Level, Reports: []HierarchyWork{}, Escalations: r.escalations, Notes: r.notes, Asked: r.asked}
	share := detailMax / max(len(r.tasks), 1)
	for _, t := range r.tasks {
		w := HierarchyWork{
			Report: t.Report, DoneBy: r.other(t), Objective: clip(t.Objective, problemMax), Status: t.status, Summary: clip(t.said.Summary, problemMax),
			Gaps: t.said.Gaps, Remarks: t.remarks, Run: t.run, Attempts: t.tries, Reworks: t.reworks, Took: t.took, Usage: t.usage, Fault: t.fault,
		}
		switch {
		case t.size > share:
			w.LeftOut = true
		case t.said.Details != nil:
			w.Below = t.said.Details
		case len(t.output) == 0:
		default:
			w.Output = t.output
		}
		out.Reports = append(out.Reports, w)
	}
	return out
}
