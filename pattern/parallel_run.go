package pattern

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/schema"
)

// ParallelResult is what a run of a parallel answers.
type ParallelResult struct {
	Pattern string `json:"pattern"` // parallel
	Join    string `json:"join"`    // as in quorum(2)
	Met     bool   `json:"met"`     // false: a bound was reached before
	// Output is what the merger made of the answers; without one the only answer, if all say the same.
	Output json.RawMessage `json:"output,omitempty"`
	// Answers are those that count, equal ones as one, the first branch's first.
	Answers  []ParallelAnswer  `json:"answers"`
	Refused  []ParallelRefusal `json:"refused,omitempty"`
	Branches []ParallelBranch  `json:"branches"`
	Checks   []Done            `json:"checks,omitempty"`
	Merge    *Done             `json:"merge,omitempty"`
	Notes    []string          `json:"notes,omitempty"`
}

// ParallelAnswer is one answer, and who gave it.
type ParallelAnswer struct {
	ID     string           `json:"id"` // as in a1
	Output json.RawMessage  `json:"output"`
	From   []ParallelSource `json:"from"`
	Used   bool             `json:"used,omitempty"` // by the merger
}

// ParallelSource is who gave an answer, and in which run.
type ParallelSource struct {
	Branch int              `json:"branch"` // from 1
	Agent  polity.AgentName `json:"agent"`
	Run    polity.RunID     `json:"run"`
}

// ParallelBranch is a branch and what became of it.
type ParallelBranch struct {
	Branch int    `json:"branch"` // from 1
	Status string `json:"status"` // ok, exhausted (a best effort), refused, failed or cancelled
	Done
}

// ParallelRefusal is an answer that does not count.
type ParallelRefusal struct {
	Branch int              `json:"branch"`
	Agent  polity.AgentName `json:"agent"`
	Output json.RawMessage  `json:"output"`
	Reason string           `json:"reason"`
}

// branchRun is the state of a branch.
type branchRun struct {
	name   string // of its question
	check  string // of the checker's
	status string // "" while it is open
	answer answer
	reason string // why it was refused
}

const (
	branchOK        = "ok"
	branchBest      = "exhausted"
	branchRefused   = "refused"
	branchFailed    = "failed"
	branchCancelled = "cancelled"
)

func (b *branchRun) good() bool { return b.status == branchOK || b.status == branchBest }

// parallelRun is the state of one run.
type parallelRun struct {
	*desk
	cfg     *Parallel
	valid   *schema.Schema
	request json.RawMessage
	all     []*branchRun
	checks  []Done
	merge   *answer
	merging bool
	notes   []string
}

func (r *parallelRun) open(e polity.Event) {
	r.request = e.Data
	for i := range r.cfg.Branches {
		b := &branchRun{name: named(fmt.Sprintf("branch%d", i+1), string(r.cfg.Branches[i].Agent)), check: fmt.Sprintf("%s%d", dutyCheck, i+1)}
		r.all = append(r.all, b)
		r.begin(i, b)
	}
	r.settleJoin()
}

// begin asks a branch.
func (r *parallelRun) begin(i int, b *branchRun) {
	branch := &r.cfg.Branches[i]
	to := find(r.cfg.Members, branch.Agent)
	q := question{name: b.name, to: to, duty: branch.Skill, bounds: branch.Bounds, hedge: time.Duration(r.cfg.Hedge), accept: r.fits}
	b.answer.question = q
	input := r.request
	var err error
	if len(branch.Input) > 0 {
		input, err = substitute(branch.Input, inputMax, func(ref reference) (json.RawMessage, error) { return ref.follow(r.request) })
	}
	if err == nil {
		name, _ := to.Can(branch.Skill)
		q.input, err = withObjective(input, branch.Objective, to.skill(name).Input)
	}
	if err != nil {
		b.status, b.answer.fault = branchFailed, fault.Of(fault.Invalid.New("input: %w", err))
		return
	}
	r.ask(q)
}

// fits says what is wrong with a branch's answer by the declared schema.
func (r *parallelRun) fits(output json.RawMessage) error {
	if r.valid == nil {
		return nil
	}
	return r.valid.Check(output)
}

func (r *parallelRun) answered(a *answer) {
	if a.name == dutyMerge {
		r.merge = a
		return
	}
	b := r.all[slices.IndexFunc(r.all, func(b *branchRun) bool { return a.name == b.name || a.name == b.check })]
	switch {
	case a.name == b.check:
		r.checks = append(r.checks, a.done())
		r.checked(b, a)
	case a.good():
		b.answer = *a
		r.check(b)
	default:
		b.answer, b.status = *a, branchFailed
	}
	r.settleJoin()
}

// checkErrand is what a checker is asked with.
type checkErrand struct {
	errand
	Candidate json.RawMessage `json:"candidate"`
	Guidance  string          `json:"guidance"`
}

// checkAnswer is what a checker answers.
type checkAnswer struct {
	Valid  *bool  `json:"valid"`
	Reason string `json:"reason"`
}

func acceptCheck(output json.RawMessage) error {
	v, err := understand[checkAnswer](output)
	if err == nil && v.Valid == nil {
		err = fault.Invalid.New("valid is missing; want true or false")
	}
	return err
}

// check has an answer checked, or takes it as it is.
func (r *parallelRun) check(b *branchRun) {
	if r.cfg.Checker == "" {
		b.status = standing(&b.answer)
		return
	}
	input, err := marshal(checkErrand{errandOf(dutyCheck, r.request), b.answer.output,
		"Say whether the candidate is a valid answer to the objective. If it is not, say why."})
	if err == nil {
		err = r.tooLate()
	}
	if err != nil {
		b.status, b.reason = branchRefused, "not checked: "+err.Error()
		return
	}
	r.ask(question{name: b.check, to: find(r.cfg.Members, r.cfg.Checker), duty: dutyCheck, input: input, accept: acceptCheck, hedge: time.Duration(r.cfg.Hedge)})
}

// tooLate says why nothing more can be asked.
func (r *parallelRun) tooLate() error {
	if r.exhausted == nil {
		return nil
	}
	return r.exhausted
}

func standing(a *answer) string {
	if a.fault != nil {
		return branchBest
	}
	return branchOK
}

// checked takes what the checker says of a branch.
func (r *parallelRun) checked(b *branchRun, a *answer) {
	v, err := understand[checkAnswer](a.output)
	switch {
	case a.fault != nil && !a.good():
		b.status, b.reason = branchRefused, "not checked: "+a.fault.Text
	case err != nil || v.Valid == nil || !*v.Valid:
		b.status, b.reason = branchRefused, cmp.Or(clip(v.Reason, noteMax), "the checker gives no reason")
	default:
		b.status = standing(&b.answer)
	}
}

// count counts the branches.
func (r *parallelRun) count() (good, open int) {
	for _, b := range r.all {
		switch {
		case b.good():
			good++
		case b.status == "":
			open++
		}
	}
	return good, open
}

// settleJoin ends the work where the join is decided.
func (r *parallelRun) settleJoin() {
	good, open := r.count()
	switch {
	case good >= r.cfg.need() && r.cfg.early():
		r.cancelRest()
	case good+open < r.cfg.need() && r.exhausted == nil:
		r.lost(good)
	}
}

// cancelRest cancels the branches that are not needed any more.
func (r *parallelRun) cancelRest() {
	why := fault.Of(fault.Cancelled.New("join %s was met without it", r.cfg.Join))
	for _, b := range r.all {
		if b.status != "" {
			continue
		}
		if i := slices.IndexFunc(r.desk.open, func(p *pending) bool { return p.name == b.name }); i >= 0 {
			p := r.desk.open[i]
			b.answer = p.answer
			b.answer.run = r.run.Child(p.name, max(p.attempt, 1))
		}
		b.status, b.answer.fault = branchCancelled, why
	}
	r.drop()
}

// lost fails the run: the join cannot be met any more.
func (r *parallelRun) lost(good int) {
	var why []string
	kind := fault.Failed
	for i, b := range r.all {
		switch {
		case b.status == branchRefused:
			why = append(why, fmt.Sprintf("branch %d (%s) was refused: %s", i+1, r.cfg.Branches[i].Agent, b.reason))
		case b.status == branchFailed:
			kind = gravest(kind, b.answer.fault.Kind)
			why = append(why, fmt.Sprintf("branch %d (%s, %s) %s: %s", i+1, r.cfg.Branches[i].Agent, plural(b.answer.tries, "attempt"),
				b.answer.fault.Kind, clip(b.answer.fault.Text, noteMax)))
		}
	}
	r.drop()
	text := fmt.Sprintf("parallel: join %s: %d of %d have succeeded, %d must: %s", r.cfg.Join, good, len(r.all), r.cfg.need(), strings.Join(why, "; "))
	r.fail(kind.New("%s", clip(text, faultTextMax)))
}

func (r *parallelRun) idle() {
	good, _ := r.count()
	said := slices.ContainsFunc(r.all, func(b *branchRun) bool { return b.answer.good() })
	switch {
	case r.exhausted != nil && !said:
		r.fail(fault.Exceeded(r.exhausted.Bound, "parallel: a bound was reached before any branch answered: %s", r.exhausted.Text))
	case r.cfg.Merge != "" && !r.merging && r.exhausted == nil:
		r.askMerge()
	default:
		r.end(good)
	}
}

// mergeProposal is an answer as the merger sees it: nobody's.
type mergeProposal struct {
	ID     string          `json:"id"`
	Answer json.RawMessage `json:"answer"`
	Given  int             `json:"given"` // by so many branches
}

// mergeErrand is what a merger is asked with.
type mergeErrand struct {
	errand
	Answers  []mergeProposal `json:"answers"`
	Guidance string          `json:"guidance"`
}

// mergeAnswer is what a merger answers.
type mergeAnswer struct {
	Text    string   `json:"text"`
	Used    []string `json:"used"`
	Dissent string   `json:"dissent"`
}

// askMerge asks for one answer. The answers come without names and in an order that derives from what they say, so that neither who said it
// nor who was declared first weighs.
func (r *parallelRun) askMerge() {
	r.merging = true
	in := mergeErrand{errand: errandOf(dutyMerge, r.request),
		Guidance: "Make one answer to the objective of these answers. Add nothing that none of them says. List in used the ids of those that it rests on, and in dissent what others say."}
	var ids []string
	for _, a := range r.answers() {
		in.Answers = append(in.Answers, mergeProposal{a.ID, a.Output, len(a.From)})
		ids = append(ids, a.ID)
	}
	slices.SortFunc(in.Answers, func(a, b mergeProposal) int { return strings.Compare(lot(a.Answer), lot(b.Answer)) })
	input, err := marshal(in)
	if err != nil {
		r.fail(err)
		return
	}
	accept := func(output json.RawMessage) error {
		m, err := understand[mergeAnswer](output)
		switch {
		case err != nil:
			return err
		case strings.TrimSpace(m.Text) == "":
			return fault.Invalid.New("text is empty; want the one answer")
		case len(m.Used) == 0:
			return fault.Invalid.New("used is empty; list the ids of the answers that it rests on")
		}
		for _, id := range m.Used {
			if !slices.Contains(ids, id) {
				return fault.Invalid.New("used: there is no answer %q%s", clip(id, nameMax), among(ids, id))
			}
		}
		return nil
	}
	r.ask(question{name: dutyMerge, to: find(r.cfg.Members, r.cfg.Merge), duty: dutyMerge, input: input, accept: accept, hedge: time.Duration(r.cfg.Hedge)})
}

// lot is what an answer draws.
func lot(answer json.RawMessage) string {
	sum := sha256.Sum256([]byte(likeness(answer)))
	return hex.EncodeToString(sum[:])
}

// answers lists the answers that count, equal ones as one.
func (r *parallelRun) answers() []ParallelAnswer {
	list := []ParallelAnswer{}
	place := map[string]int{}
	for i, b := range r.all {
		if !b.good() {
			continue
		}
		same := likeness(b.answer.output)
		at, ok := place[same]
		if !ok {
			at = len(list)
			place[same] = at
			list = append(list, ParallelAnswer{ID: fmt.Sprintf("a%d", at+1), Output: b.answer.output})
		}
		list[at].From = append(list[at].From, ParallelSource{i + 1, r.cfg.Branches[i].Agent, b.answer.run})
	}
	return list
}

func (r *parallelRun) branched(i int) ParallelBranch {
	b := r.all[i]
	d := b.answer.done()
	if b.answer.tries == 0 { // it was never answered
		d.Name, d.Run = b.name, ""
	}
	status := b.status
	if status == "" {
		status = branchFailed
	}
	return ParallelBranch{i + 1, status, d}
}

// end finishes with what there is.
func (r *parallelRun) end(good int) {
	result := ParallelResult{Pattern: "parallel", Join: r.cfg.Join.String(), Met: good >= r.cfg.need(), Answers: r.answers(), Checks: r.checks}
	if len(result.Answers) == 1 {
		result.Output = result.Answers[0].Output
	}
	for i, b := range r.all {
		if b.status == "" { // it was never asked, or never answered
			b.answer.fault = cmp.Or(b.answer.fault, r.exhausted)
		}
		result.Branches = append(result.Branches, r.branched(i))
		if b.status == branchRefused {
			result.Refused = append(result.Refused, ParallelRefusal{i + 1, r.cfg.Branches[i].Agent, b.answer.output, b.reason})
		}
	}
	r.merged(&result)
	result.Notes = r.notes
	r.finish(result)
}

// merged adds what the merger said.
func (r *parallelRun) merged(result *ParallelResult) {
	switch {
	case r.cfg.Merge == "":
		return
	case r.merge == nil:
		r.notes = append(r.notes, "the answers were not merged: a bound was reached")
		return
	}
	result.Merge = new(r.merge.done())
	if !r.merge.good() {
		r.notes = append(r.notes, "the answers were not merged: "+clip(r.merge.fault.Text, noteMax))
		return
	}
	m, err := understand[mergeAnswer](r.merge.output)
	if err != nil { // it was accepted
		r.notes = append(r.notes, err.Error())
		return
	}
	result.Output = r.merge.output
	for i := range result.Answers {
		result.Answers[i].Used = slices.Contains(m.Used, result.Answers[i].ID)
	}
}
