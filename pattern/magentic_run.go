package pattern

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"polity.run"
	"polity.run/fault"
)

// What a run with ledgers asks for next.
type ledgerStage uint8

const (
	stageLedger ledgerStage = iota
	stageReview
	stageProgress
	stageVerify
	stageAnswer
)

// Why a run with ledgers stopped.
const (
	ledgerSatisfied = "satisfied"
	ledgerOver      = "rounds"
	ledgerResets    = "resets"
	ledgerBound     = "bound"
)

// magenticRun is the state of one run.
type magenticRun struct {
	*desk
	cfg     *Hub
	request json.RawMessage
	folder  string
	stage   ledgerStage
	stopped string

	task    TaskLedger
	ledgers int    // that were asked for
	why     string // of the reset that is under way
	changes string // that the reviewer wants
	reviews int
	// approved says that the newest ledger was.
	approved bool

	rounds  []*ledgerRound
	shown   int // rounds before it are not shown to the lead, since they are from before the last reset
	stall   int
	resets  int
	chosen  map[string]int  // how often an instruction was chosen for a specialist since the last reset
	seen    map[string]bool // outputs
	dry     int             // rounds without a new one
	facts   []LedgerFact
	verify  verification // of the round that is under way
	lead    []Done
	notes   []string
	lastBad *fault.Error
}

// ledgerRound is a round with its whole output.
type ledgerRound struct {
	LedgerRound
	output json.RawMessage
}

func newMagenticRun(d *desk, cfg *Hub) play {
	return &magenticRun{desk: d, cfg: cfg, chosen: map[string]int{}, seen: map[string]bool{}}
}

func (r *magenticRun) open(e polity.Event) { r.request, r.folder = e.Data, e.Folder }

func (r *magenticRun) note(format string, args ...any) {
	if len(r.notes) < notesMax {
		r.notes = append(r.notes, clip(fmt.Sprintf(format, args...), noteMax))
	}
}

func (r *magenticRun) idle() {
	switch {
	case r.exhausted != nil:
		r.end(nil, ledgerBound)
	case r.stage == stageLedger:
		r.askLedger()
	case r.stage == stageReview:
		r.askReview()
	case r.stage == stageVerify:
		r.askVerify()
	case r.stage == stageAnswer:
		r.askAnswer()
	case len(r.rounds) == r.cfg.Ledger.rounds():
		r.stopped, r.stage = ledgerOver, stageAnswer
		r.askAnswer()
	default:
		r.askProgress()
	}
}

// ledgerExchange is a round as the lead is shown it.
type ledgerExchange struct {
	Round       int              `json:"round"`
	Speaker     polity.AgentName `json:"speaker"`
	Instruction string           `json:"instruction"`
	Answer      string           `json:"answer,omitempty"`
	Verified    int              `json:"verified,omitempty"`
	Refused     int              `json:"refused,omitempty"`
	Problem     string           `json:"problem,omitempty"`
}

// leadFact is a verified fact as the lead is shown it.
type leadFact struct {
	ID    string           `json:"id"`
	Text  string           `json:"text"`
	Agent polity.AgentName `json:"from"`
}

// leadErrand is what a lead is asked with.
type leadErrand struct {
	errand
	Specialists []offer          `json:"specialists,omitempty"`
	Task        *TaskLedger      `json:"task,omitempty"`
	Verified    []leadFact       `json:"verified,omitempty"`
	History     []ledgerExchange `json:"history,omitempty"`
	Round       int              `json:"round,omitempty"`
	Rounds      int              `json:"rounds,omitempty"` // that there may be
	Why         string           `json:"why,omitempty"`    // the ledger is written anew
	Changes     string           `json:"changes,omitempty"`
	Guidance    string           `json:"guidance"`
}

// leads is what a lead is told for any duty.
func (r *magenticRun) leads(duty, guidance string) leadErrand {
	in := leadErrand{errand: errandOf(duty, r.request), Guidance: guidance}
	for _, f := range r.facts {
		in.Verified = append(in.Verified, leadFact{f.ID, f.Text, f.Agent})
	}
	for _, one := range r.rounds[max(r.shown, len(r.rounds)-ledgerHistory):] {
		if one.Speaker == "" {
			continue
		}
		x := ledgerExchange{Round: one.Round, Speaker: one.Speaker, Instruction: one.Instruction, Verified: one.Verified, Refused: one.Refused,
			Answer: clip(gist(one.output), ledgerShown)}
		if one.Worked == nil {
			x.Problem = strings.Join(one.Bad, "; ")
		} else if one.Worked.Fault != nil {
			x.Problem = one.Worked.Fault.Text
		}
		in.History = append(in.History, x)
	}
	return in
}

// askLead asks the lead for a duty.
func (r *magenticRun) askLead(name string, in leadErrand, accept func(json.RawMessage) error) {
	input, err := marshal(in)
	if err != nil {
		r.fail(err)
		return
	}
	r.ask(question{name: name, to: find(r.cfg.Members, r.cfg.Ledger.Lead), duty: in.Duty, input: input, accept: accept})
}

func (r *magenticRun) askLedger() {
	in := r.leads(dutyLedger, "Write the ledger of the task: facts that are given, to look up, to derive, guesses, and a plan in steps with who does each. Specialists do the work.")
	in.Specialists, in.Why, in.Changes = offersOf(r.cfg.Specialists), r.why, r.changes
	if r.ledgers > 0 {
		in.Task = &r.task
		in.Guidance = "Write the ledger of the task anew: what was learnt, and another plan. Facts under verified stay whatever you write."
	}
	r.ledgers++
	r.askLead(fmt.Sprintf("%s%d", dutyLedger, r.ledgers), in, func(output json.RawMessage) error {
		t, err := understand[TaskLedger](output)
		if err == nil && len(t.Plan) == 0 {
			err = fault.Invalid.New("plan is empty; list the steps")
		}
		return err
	})
}

func (r *magenticRun) askReview() {
	r.reviews++
	q, err := r.cfg.reviewQuestion(fmt.Sprintf("review%d", r.reviews), r.request, r.task, func(output json.RawMessage) error {
		_, err := readApproval(output)
		return err
	})
	if err != nil {
		r.fail(err)
		return
	}
	r.ask(q)
}

func (r *magenticRun) askProgress() {
	in := r.leads(dutyProgress, "Say whether the objective is satisfied, whether the work goes round in a loop, whether it goes forward, which specialist speaks next, "+
		"and what that one is to do, complete in itself. Give each as reason and answer. Name the skill if the specialist has several.")
	in.Specialists, in.Task, in.Round, in.Rounds = offersOf(r.cfg.Specialists), &r.task, len(r.rounds)+1, r.cfg.Ledger.rounds()
	r.askLead(fmt.Sprintf("%s%d", dutyProgress, in.Round), in, func(output json.RawMessage) error {
		_, _, _, err := r.cfg.readProgress(output)
		return err
	})
}

// leadAnswer is what a lead answers at the end.
type leadAnswer struct {
	Text    string   `json:"text"`
	RestsOn []string `json:"rests_on"`
}

func (r *magenticRun) askAnswer() {
	r.shown = 0
	in := r.leads(dutyLedgerAnswer, "Answer the objective from what was found. List in rests_on the ids of the verified facts that the answer rests on. "+
		"Say what was not found; do not guess.")
	in.Task = &r.task
	if r.stopped != ledgerSatisfied {
		in.Why = "There are no more rounds (" + r.stopped + "): answer as well as can be."
	}
	r.askLead(dutyLedgerAnswer, in, func(output json.RawMessage) error {
		a, err := understand[leadAnswer](output)
		if err == nil && strings.TrimSpace(a.Text) == "" {
			err = fault.Invalid.New("text is empty; want the answer")
		}
		for _, id := range a.RestsOn {
			if err == nil && !slices.ContainsFunc(r.facts, func(f LedgerFact) bool { return f.ID == id }) {
				err = fault.Invalid.New("rests_on: no fact %q was verified", clip(id, nameMax))
			}
		}
		return err
	})
}

func (r *magenticRun) answered(a *answer) {
	switch {
	case a.tool != "":
		r.looked(a)
	case strings.HasPrefix(a.name, dutyLedgerWork):
		r.worked(a)
	case a.duty == dutyLedger:
		r.lead = append(r.lead, a.done())
		r.wrote(a)
	case a.duty == dutyApprove:
		r.lead = append(r.lead, a.done())
		r.reviewed(a)
	case a.duty == dutyProgress:
		r.led(a)
	default:
		r.lead = append(r.lead, a.done())
		r.end(a, r.stopped)
	}
}

// wrote takes a task ledger. One that cannot be read is a bad round.
func (r *magenticRun) wrote(a *answer) {
	if r.why != "" { // what was learnt before a reset stands in the ledger now
		r.shown = len(r.rounds)
	}
	r.why, r.changes = "", ""
	r.stage = stageProgress
	if !a.good() {
		r.lastBad = a.fault
		r.note("%s wrote no ledger: %s: %s", r.cfg.Ledger.Lead, a.fault.Kind, a.fault.Text)
		r.stall++
		if r.cfg.Review != "" && !r.approved && r.exhausted == nil {
			r.fail(a.fault.Kind.New("hub: %s wrote no plan that %s could review: %s", r.cfg.Ledger.Lead, r.cfg.Review, clip(a.fault.Text, noteMax)))
		}
		return
	}
	if r.cfg.Review != "" {
		r.stage, r.approved = stageReview, false
	}
	t, err := understand[TaskLedger](a.output)
	if err != nil { // it was accepted
		r.fail(err)
		return
	}
	r.task = t.tidied()
}

// reviewed takes what the reviewer says of the ledger's plan.
func (r *magenticRun) reviewed(a *answer) {
	v, err := readApproval(a.output)
	switch {
	case a.fault != nil && r.exhausted != nil:
	case !a.good() || err != nil:
		r.fail(r.cfg.refused(a, "it was not understood"))
	case *v.Approve:
		r.stage, r.approved = stageProgress, true
	case v.Changes == "":
		r.fail(r.cfg.refused(a, "no changes are asked for"))
	case r.reviews >= reviewsMax:
		r.fail(r.cfg.refused(a, fmt.Sprintf("after %s: %s", plural(r.reviews, "review"), v.Changes)))
	default:
		r.changes, r.stage = v.Changes, stageLedger
	}
}

// led takes a progress ledger and has done what it says.
func (r *magenticRun) led(a *answer) {
	now := &ledgerRound{LedgerRound: LedgerRound{Round: len(r.rounds) + 1, Reset: r.resets, Led: a.done()}}
	r.rounds = append(r.rounds, now)
	l, to, skill, err := r.cfg.readProgress(a.output)
	switch {
	case !a.good():
		r.lastBad = a.fault
		now.Bad = append(now.Bad, "the progress ledger cannot be used: "+clip(a.fault.Text, noteMax))
	case err != nil: // it was accepted
		r.fail(err)
		return
	case l.Satisfied.or(false):
		now.Reason, now.Stall = clip(l.Satisfied.Reason, noteMax), r.stall
		r.stopped, r.stage = ledgerSatisfied, stageAnswer
		return
	default:
		now.Speaker, now.Skill, now.Instruction = to.Name, skill, clip(l.Instruction.or(""), ledgerShown)
		now.Reason = clip(l.NextSpeaker.Reason, noteMax)
		r.test(now, &l)
	}
	if len(now.Bad) > 0 {
		r.stall++
	} else {
		r.stall = max(0, r.stall-1)
	}
	now.Stall = r.stall
	switch {
	case r.stall > r.cfg.Ledger.stall():
		r.reset(now)
	case to != nil && r.chosen[chosenKey(now)] < ledgerSame:
		r.work(now, to)
	}
}

func chosenKey(l *ledgerRound) string {
	text, err := marshal(l.Instruction)
	if err != nil { // a text is JSON
		text = nil
	}
	return string(l.Speaker) + "\x00" + l.Skill + "\x00" + likeness(text)
}

// test says why a round is a bad one: by the lead's word, and by what happened, whatever the lead says.
func (r *magenticRun) test(now *ledgerRound, l *progressLedger) {
	if l.InLoop.or(false) {
		now.Bad = append(now.Bad, "the lead says that it is a loop: "+clip(l.InLoop.Reason, noteMax))
	}
	if !l.Progress.or(false) {
		now.Bad = append(now.Bad, "the lead sees no progress: "+clip(l.Progress.Reason, noteMax))
	}
	key := chosenKey(now)
	if r.chosen[key]++; r.chosen[key] >= ledgerSame {
		now.Bad = append(now.Bad, fmt.Sprintf("%s was given this instruction %d times already, and is not asked again", now.Speaker, ledgerSame-1))
	}
	if s := max(1, r.cfg.Ledger.stall()); r.dry >= s {
		now.Bad = append(now.Bad, fmt.Sprintf("nothing new in %s", plural(r.dry, "round")))
	}
}

// reset has facts and plan written anew. What was verified stays, and so do the bounds.
func (r *magenticRun) reset(now *ledgerRound) {
	if r.resets == r.cfg.Ledger.resets() {
		r.stopped, r.stage = ledgerResets, stageAnswer
		return
	}
	r.resets++
	r.note("round %d: reset %d of %d", now.Round, r.resets, r.cfg.Ledger.resets())
	r.why = "The work does not go forward: " + strings.Join(now.Bad, "; ")
	r.stall, r.dry, r.stage = 0, 0, stageLedger
	clear(r.chosen)
}

// workErrand is what a specialist is asked with: its instruction and what was verified, and nothing of the conversation.
type workErrand struct {
	errand
	Context string `json:"context"`
}

// work asks a specialist.
func (r *magenticRun) work(now *ledgerRound, to *Member) {
	e := errandOf(dutyLedgerWork, r.request)
	context := "It is a part of this task: " + e.Objective
	for i, f := range r.facts {
		if i == 0 {
			context += "\nWhat is known, and was looked up:"
		}
		if len(context) > ledgerContextMax {
			break
		}
		context += "\n" + f.line()
	}
	e.Objective = now.Instruction
	input, err := marshal(workErrand{e, context})
	if err != nil {
		r.fail(err)
		return
	}
	r.ask(question{
		name: named(fmt.Sprintf("%s%d", dutyLedgerWork, now.Round), string(to.Name)), to: to, duty: now.Skill,
		input: fitted(input, to.skill(now.Skill).Input), hedge: r.cfg.hedge(),
	})
}

// worked takes what a specialist answered, and has its evidence looked up.
func (r *magenticRun) worked(a *answer) {
	now := r.rounds[len(r.rounds)-1]
	now.Worked, now.output = new(a.done()), a.output
	if !a.good() {
		r.dry++
		return
	}
	same := artifact(a.output)
	if r.seen[same] {
		r.dry++
	} else {
		r.dry = 0
		r.seen[same] = true
	}
	r.verify = verification{}
	known := map[polity.Evidence]int{}
	for _, c := range readReport(a.output).claims {
		if len(r.verify.claims) == ledgerFactsMax {
			r.note("round %d: %s's claims beyond %d were left out", now.Round, now.Speaker, ledgerFactsMax)
			break
		}
		r.verify.judge(c, string(a.run), known)
		r.verify.claims = append(r.verify.claims, c)
	}
	switch {
	case len(r.verify.claims) == 0:
	case len(r.verify.citations) == 0:
		r.learn()
	case r.folder == "":
		r.verify.failed = "the run has no folder in which files could be looked at"
		r.learn()
	default:
		r.stage = stageVerify
	}
}

// askVerify has the next citations looked at.
func (r *magenticRun) askVerify() {
	_, citations := r.verify.chunk()
	input, err := marshal(map[string][]polity.Evidence{"citations": citations})
	if err != nil {
		r.fail(err)
		return
	}
	r.ask(question{name: fmt.Sprintf("%s%d.%d", verifyName, len(r.rounds), len(r.verify.results)), tool: VerifyTool, input: input})
}

// looked takes what files.cite answers.
func (r *magenticRun) looked(a *answer) {
	_, citations := r.verify.chunk()
	switch {
	case !a.good():
		r.verify.failed = clip(fmt.Sprintf("%s ended %s: %s", VerifyTool, a.fault.Kind, a.fault.Text), noteMax)
	default:
		r.verify.failed = r.verify.add(a.output, len(citations))
	}
	if r.verify.failed != "" || len(r.verify.results) == len(r.verify.citations) {
		r.stage = stageProgress
		r.learn()
	}
}

// learn keeps the claims whose evidence holds.
func (r *magenticRun) learn() {
	now := r.rounds[len(r.rounds)-1]
	if r.verify.failed != "" {
		r.note("round %d: the evidence in files was not verified: %s", now.Round, r.verify.failed)
	}
	r.verify.settleClaims()
	now.Verified, now.Refused = r.verify.counts.Verified, r.verify.counts.Refused
	for _, c := range r.verify.claims {
		known := slices.ContainsFunc(r.facts, func(f LedgerFact) bool { return f.Text == c.Text && f.Stance == c.Stance })
		if c.status != findingVerified || known || len(r.facts) == ledgerFactsMax {
			continue
		}
		f := LedgerFact{ID: fmt.Sprintf("f%d", len(r.facts)+1), Claim: c.Claim, Agent: now.Speaker, Run: now.Worked.Run, Round: now.Round}
		f.Text = clip(c.Text, claimTextMax)
		r.facts = append(r.facts, f)
	}
}

// end finishes with the lead's answer, or with what is known.
func (r *magenticRun) end(a *answer, why string) {
	result := MagenticResult{
		Pattern: ledgerResult, Satisfied: r.stopped == ledgerSatisfied, Stopped: why, Facts: append([]LedgerFact{}, r.facts...), Task: r.task.tidied(),
		Resets: r.resets, Lead: append([]Done{}, r.lead...), Rounds: []LedgerRound{},
	}
	if a != nil && a.good() {
		final, err := understand[leadAnswer](a.output)
		if err != nil { // it was accepted
			r.fail(err)
			return
		}
		result.Answer, result.RestsOn = clip(final.Text, outputsMax), final.RestsOn
	} else {
		if a != nil {
			r.lastBad = a.fault
			r.note("%s gave no answer: %s", r.cfg.Ledger.Lead, a.fault.Text)
		}
		result.Answer = r.bestEffort()
	}
	if result.Answer == "" && len(r.task.Plan) == 0 {
		f := cmp.Or(r.exhausted, r.lastBad)
		if f.Kind == fault.Exhausted {
			r.fail(fault.Exceeded(f.Bound, "hub: a bound was reached before there was anything: %s", f.Text))
			return
		}
		r.fail(f.Kind.New("hub: %s led to nothing in %s: %s", r.cfg.Ledger.Lead, plural(len(r.rounds), "round"), clip(f.Text, noteMax)))
		return
	}
	r.copyRounds(&result)
	result.Notes = r.notes
	r.finish(result)
}

// copyRounds copies the rounds, with as many outputs as a result may hold.
func (r *magenticRun) copyRounds(result *MagenticResult) {
	total := 0
	for _, one := range r.rounds {
		if n := len(one.output); n <= outputMax && total+n <= outputsMax {
			total += n
			one.Output = one.output
		} else {
			one.OutputBytes = n
		}
		result.Rounds = append(result.Rounds, one.LedgerRound)
	}
}

// bestEffort is what can be said without the lead: what was verified, or what the specialist that answered last said.
func (r *magenticRun) bestEffort() string {
	if len(r.facts) > 0 {
		lines := []string{"What was found and verified, not put together by anybody:"}
		for _, f := range r.facts {
			lines = append(lines, f.line())
		}
		return strings.Join(lines, "\n")
	}
	for _, one := range slices.Backward(r.rounds) {
		if len(one.output) > 0 {
			return fmt.Sprintf("Nothing was verified. %s answered last: %s", one.Speaker, clip(gist(one.output), ledgerShown))
		}
	}
	return ""
}
