package pattern

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/saga"
)

// Limits of what a pattern asks.
const (
	askRetries   = 2        // times that a question is asked again after a fault that may pass
	askRepairs   = 1        // times that a question is asked again after an answer that does not fit
	answerMax    = 1 << 20  // bytes of an answer
	problemMax   = 1 << 10  // bytes of what is said to be wrong with one
	hedgePrefix  = "hedge." // of the commands that wait before a question is asked a second time
	nameMax      = 44       // bytes of a question's name: the commands that wait for it have longer ones
	digestLen    = 8
	nestedMax    = 4 // organizations in each other whose results are looked into
	hedgePercent = 5 // most questions of a hundred that are asked a second time because the first answer is slow
)

// question is what one member is asked, or a tool. Its name says what for, as in opening.ada, and is unique in the run.
type question struct {
	name  string
	to    *Member
	tool  string          // if not "", a tool that is called, and to is nil
	duty  string          // "" asks for the member's only skill
	input json.RawMessage // an object, where accept may refuse the answer
	// accept says what is wrong with an answer. nil takes every JSON.
	accept func(json.RawMessage) error
	bounds polity.Bounds
	// hedge, if not 0, is how long an answer is waited for before the question is asked a second time, if its member is repeatable.
	hedge time.Duration
	// undo is the name of the act that it undoes or mends; "" for none. Such a question may use what the run's bounds keep for undoing.
	undo string
	// approve is who has to let it go before it is asked; nil for whom its skill names.
	approve *polity.Approver
	// retries is how often it is asked again after a fault that may pass; 0 for askRetries.
	retries int
}

// answer is what became of a question.
type answer struct {
	question
	output json.RawMessage // what was answered; with a fault the best effort, if there is one
	fault  *fault.Error    // why there is no answer, or only a best effort
	// partial is what a run that failed had done until then.
	partial json.RawMessage
	doubt   bool         // one of its attempts may have been done although it failed
	run     polity.RunID // of the last attempt
	usage   polity.Usage // of all attempts
	tries   int
	took    time.Duration
}

// good says whether there is something to go on with.
func (a *answer) good() bool { return len(a.output) > 0 }

// desk asks the members of a pattern and takes their answers: it tries again what may pass, has an answer corrected that does not fit,
// asks a second time where an answer is slow, and cancels what is no longer of interest. It is part of a run's state.
//
//	ask -> event ... event -> answer
type desk struct {
	run       polity.RunID
	now       time.Time // of the event that is being decided
	out       []polity.Command
	open      []*pending // in the order of asking
	late      []string   // keys of cancelled commands that are not answered yet
	asked     int
	hedged    int
	width     int          // most questions that are under way at once, as far as is known
	beside    int          // questions that are under way and not the desk's
	waits     string       // name of the pattern's own wait; "" for none
	awaiting  time.Time    // since when
	exhausted *fault.Error // the bound of this run that was reached: nothing more can be asked but what undoes
	spent     *fault.Error // nor that
	stopped   *fault.Error // the run is to end, and only what undoes is asked
	approver  approver
	ended     bool
}

// pending is a question that is not answered yet.
type pending struct {
	answer
	first    time.Time
	attempt  int   // of the newest command
	live     []int // attempts that are under way
	waiting  bool  // for the time of another attempt
	held     bool  // until another question has ended
	hedging  bool  // the clock of the second asking runs
	repairs  int
	failures int
	refused  int    // times that there was no room for it though nothing else was under way
	repair   string // what was wrong with the last answer
	guard    *guard // it waits until somebody lets it go, or was let go
}

func (d *desk) emit(c polity.Command) { d.out = append(d.out, c) }

// finish ends the run with an output.
func (d *desk) finish(output any) {
	data, err := marshal(output)
	if err != nil {
		d.fail(err)
		return
	}
	d.ended = true
	d.emit(polity.Finish(data))
}

// fail ends the run with a fault.
func (d *desk) fail(err error) {
	d.ended = true
	d.emit(failure(err))
}

// ask asks a question. Once a bound of the run was reached nothing more is asked: the pattern is told when it is idle.
func (d *desk) ask(q question) {
	if d.closedFor(&q) != nil {
		return
	}
	d.asked++
	p := &pending{answer: answer{question: q}, first: d.now}
	d.open = append(d.open, p)
	if rule := p.rule(); rule != nil {
		d.hold(p, rule)
		return
	}
	d.send(p)
}

// closedFor is why a question cannot be asked any more, or nil.
func (d *desk) closedFor(q *question) *fault.Error {
	switch {
	case q.undo != "":
		return d.spent
	case d.stopped != nil:
		return d.stopped
	default:
		return d.exhausted
	}
}

// send asks, or asks again.
func (d *desk) send(p *pending) {
	if d.width > 0 && d.underWay() >= d.width {
		p.held = true
		return
	}
	p.held, p.waiting = false, false
	p.attempt++
	p.tries++
	p.live = append(p.live, p.attempt)
	c := p.command()
	c.Attempt, c.Bounds, c.Undo = p.attempt, p.bounds, p.undo != ""
	d.emit(c)
	if p.hedge > 0 && p.attempt == 1 && p.to != nil && p.to.Repeatable {
		p.hedging = true
		d.emit(polity.Sleep(hedgePrefix+p.name, p.hedge))
	}
}

// command is what asks the question, without the attempt.
func (p *pending) command() polity.Command {
	if p.tool != "" {
		return polity.Call(p.name, p.tool, p.input)
	}
	skill, _ := p.to.Can(p.duty)
	input := p.input
	if p.repair != "" {
		input = withField(input, "problem", p.repair)
	}
	return polity.Ask(p.name, p.to.Name, skill, input)
}

// underWay counts the commands that members work on.
func (d *desk) underWay() int {
	n := 0
	for _, p := range d.open {
		n += len(p.live)
	}
	return n
}

// pausing says whether a command is pending that is no open question: a wait, one that was cancelled, or one of somebody else.
func (d *desk) pausing() bool {
	return d.beside > 0 || len(d.late) > 0 || slices.ContainsFunc(d.open, func(p *pending) bool { return p.waiting || p.hedging || p.guard.open() })
}

// take takes a result. It returns an answer if the event settles a question; a result of a command that is not the desk's own is left
// alone, and false.
func (d *desk) take(e polity.Event) (*answer, bool) {
	attempt := max(e.Attempt, 1)
	if i := slices.Index(d.late, polity.CommandKey(e.Name, e.Attempt)); i >= 0 {
		d.late = slices.Delete(d.late, i, i+1)
		d.release()
		return nil, false
	}
	for i, p := range d.open {
		switch {
		case p.guard.asks(e):
			if d.decided(p, e) {
				return nil, false
			}
			d.open = slices.Delete(d.open, i, i+1)
			d.settle(p)
			return &p.answer, true
		case e.Name == p.name && slices.Contains(p.live, attempt):
			p.live = slices.DeleteFunc(p.live, func(a int) bool { return a == attempt })
			if !d.answered(p, e, attempt) {
				return nil, false
			}
			d.open = slices.Delete(d.open, i, i+1)
			d.settle(p)
			return &p.answer, true
		case p.waiting && e.Name == backoffName(p.name, p.attempt):
			p.waiting = false
			if e.Fault != nil && e.Fault.Bound != boundFanOut { // no time for another attempt
				d.open = slices.Delete(d.open, i, i+1)
				d.note(p, e.Fault)
				d.settle(p)
				return &p.answer, true
			}
			d.send(p)
			return nil, false
		case p.hedging && e.Name == hedgePrefix+p.name:
			p.hedging = false
			d.second(p, e)
			d.release()
			return nil, false
		}
	}
	return nil, false
}

// settle ends a question: what else is under way for it is cancelled, and one that was held may go.
func (d *desk) settle(p *pending) {
	p.took = d.now.Sub(p.first)
	d.stop(p)
	d.release()
}

// stop cancels what is under way for a question.
func (d *desk) stop(p *pending) {
	for _, a := range p.live {
		d.cancel(polity.CommandKey(p.name, a))
	}
	if p.waiting {
		d.cancel(backoffName(p.name, p.attempt))
	}
	if p.hedging {
		d.cancel(hedgePrefix + p.name)
	}
	if p.guard.open() {
		for _, key := range p.guard.close("") {
			d.cancel(key)
		}
	}
	p.live, p.waiting, p.hedging = nil, false, false
}

// release asks what was held back, as far as there is room.
func (d *desk) release() {
	for _, p := range d.open {
		if p.held && (d.width == 0 || d.underWay() < d.width) {
			d.send(p)
		}
	}
}

// answered takes what came back, and reports whether the question is settled.
func (d *desk) answered(p *pending, e polity.Event, attempt int) bool {
	p.usage = p.usage.Plus(e.Usage)
	p.run = d.run.Child(p.name, attempt)
	f, output := e.Fault, e.Data
	if len(output) == 0 || string(output) == "null" && f != nil {
		output = nil
	}
	switch {
	case len(output) > answerMax:
		f, output = fault.Of(fault.Invalid.New("the answer of %d bytes is longer than %d", len(output), answerMax)), nil
	case f == nil && len(output) == 0:
		output = json.RawMessage("null")
	}
	if f != nil && saga.Of(output) == nil && saga.MayBeDone(f, e.Usage != polity.Usage{}) {
		p.doubt = true
	}
	if f != nil && (f.Kind != fault.Exhausted || saga.Of(output) != nil) { // what a run that failed had done, or undid, is no answer
		p.partial, output = slices.Clone(output), nil
	}
	output = essence(output)
	if len(output) > 0 {
		if wrong := p.wrong(output); wrong == nil {
			p.output, p.fault = slices.Clone(output), f
			return true
		} else if f == nil {
			f = fault.Of(fault.Invalid.New("the answer does not fit: %s", clip(wrong.Error(), problemMax)))
		}
	}
	p.fault = f
	return !d.again(p, e)
}

// essence is what an organization answers in the end, where its pattern has one answer: the output of a sequence, a parallel or a
// router, the best of a loop, the answer of a handoff or of a lead with ledgers. How it came to it stands in its own run. Anything else is
// as it is. So an organization may fill any role.
func essence(output json.RawMessage) json.RawMessage {
	for range nestedMax {
		var of struct {
			Pattern string          `json:"pattern"`
			Output  json.RawMessage `json:"output"`
			Best    json.RawMessage `json:"best"`
			Answer  json.RawMessage `json:"answer"`
		}
		if json.Unmarshal(output, &of) != nil || of.Pattern != ledgerResult && !slices.Contains(Names(), of.Pattern) {
			return output
		}
		found := false
		for _, part := range []json.RawMessage{of.Output, of.Best, of.Answer} {
			if !found && len(part) > 0 && string(part) != "null" {
				output, found = part, true
			}
		}
		if !found {
			return output
		}
	}
	return output
}

// wrong says what is wrong with an output.
func (p *pending) wrong(output json.RawMessage) error {
	if !json.Valid(output) {
		return fault.Invalid.New("it is not JSON")
	}
	if p.accept == nil {
		return nil
	}
	return p.accept(output)
}

// again asks again, at once or later, if that may help, and reports whether it does.
func (d *desk) again(p *pending, e polity.Event) bool {
	others := d.underWay()
	switch f := p.fault; {
	case len(p.live) > 0: // another attempt may still answer
		return true
	case f.Kind == fault.Exhausted && f.Bound == boundFanOut && (others > 0 || d.pausing()):
		d.width = max(others, 1)
		p.held, p.tries = true, p.tries-1 // it was never begun
		return true
	case f.Kind == fault.Exhausted && f.Bound == boundFanOut && p.refused < askRetries: // there was no room, and now there is
		p.refused++
		d.width, p.tries = 1, p.tries-1
		d.send(p)
		return true
	case f.Kind == fault.Exhausted:
		if f.Bound != boundOutput && (p.bounds == (polity.Bounds{}) || e.Usage == (polity.Usage{})) {
			d.note(p, f)
		}
		return false
	case d.closedFor(&p.question) != nil:
		return false
	case f.Kind == fault.Invalid && len(e.Data) > 0 && p.repairs < askRepairs && p.tool == "" && p.guard == nil:
		p.repairs++
		p.repair = f.Text
		d.send(p)
		return true
	case f.Kind.Retryable() && p.failures < cmp.Or(p.retries, askRetries):
		p.failures++
		p.waiting = true
		c := polity.Sleep(backoffName(p.name, p.attempt), backoff(d.run, p.name, p.attempt, p.failures))
		c.Undo = p.undo != ""
		d.emit(c)
		return true
	default:
		return false
	}
}

// note keeps the bound that ended the run's asking, or its undoing.
func (d *desk) note(p *pending, f *fault.Error) {
	if f.Kind != fault.Exhausted {
		return
	}
	d.exhausted = cmp.Or(d.exhausted, f)
	if p.undo != "" {
		d.spent = cmp.Or(d.spent, f)
	}
}

// halt takes that the run is to end: what is under way is being cancelled by the kernel, and what was not begun is dropped.
func (d *desk) halt(why *fault.Error) {
	d.stopped = why
	d.open = slices.DeleteFunc(d.open, func(p *pending) bool { return p.held && p.undo == "" && len(p.live) == 0 })
}

// second asks a question a second time whose answer is slow, within the budget.
func (d *desk) second(p *pending, e polity.Event) {
	if e.Fault != nil || len(p.live) != 1 || d.exhausted != nil || !mayHedge(d.asked, d.hedged) {
		return
	}
	d.hedged++
	d.send(p)
}

// mayHedge says whether one more of the questions that were asked may be asked a second time: one in the first few may, then hedgePercent.
func mayHedge(asked, hedged int) bool {
	return hedged*100 < max(asked, 100/hedgePercent)*hedgePercent
}

// cancel cancels a pending command. What it is answered yet is of no interest.
func (d *desk) cancel(key string) {
	d.late = append(d.late, key)
	d.emit(polity.Cancel(key))
}

// drop cancels everything that is under way.
func (d *desk) drop() {
	for _, p := range d.open {
		d.stop(p)
	}
	d.open = nil
}

// dropOne cancels one question, by its name.
func (d *desk) dropOne(name string) {
	if i := slices.IndexFunc(d.open, func(p *pending) bool { return p.name == name }); i >= 0 {
		p := d.open[i]
		d.open = slices.Delete(d.open, i, i+1)
		d.settle(p)
	}
}

// busy says whether something is under way.
func (d *desk) busy() bool { return len(d.open) > 0 || d.waits != "" }

// await waits for a time or an event, unless nothing can be asked any more. The play is an awaiter.
func (d *desk) await(c polity.Command) {
	if d.closedFor(&question{}) != nil {
		return
	}
	d.waits, d.awaiting = c.Name, d.now
	d.emit(c)
}

// waited takes that the wait has ended, and keeps the bound that ended it.
func (d *desk) waited(f *fault.Error) {
	d.waits = ""
	if f != nil && f.Kind == fault.Exhausted {
		d.exhausted = cmp.Or(d.exhausted, f)
	}
}

// withField returns an object with a text added, and anything else as it is.
func withField(input json.RawMessage, name, text string) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(input, &fields) != nil || fields == nil {
		return input
	}
	quoted, err := marshal(text)
	if err != nil {
		return input
	}
	fields[name] = quoted
	out, err := marshal(fields)
	if err != nil {
		return input
	}
	return out
}

// named joins words to the name of a command, and cuts what is too long: the end is then a digest, so that names stay different.
func named(words ...string) string {
	name := strings.Join(words, ".")
	if len(name) <= nameMax {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:nameMax-digestLen] + hex.EncodeToString(sum[:digestLen/2])
}

// Done is what became of a question, as a result tells it.
type Done struct {
	Name     string           `json:"name"` // of the command
	Agent    polity.AgentName `json:"agent"`
	Run      polity.RunID     `json:"run"` // of the last attempt
	Attempts int              `json:"attempts"`
	Took     polity.Duration  `json:"took,omitempty"`
	Usage    polity.Usage     `json:"usage,omitzero"`
	Fault    *fault.Error     `json:"fault,omitempty"` // why there is no answer, or only a best effort
}

func (a *answer) done() Done {
	d := Done{Name: a.name, Run: a.run, Attempts: a.tries, Took: polity.Duration(a.took), Usage: a.usage, Fault: a.fault}
	if a.to != nil {
		d.Agent = a.to.Name
	}
	return d
}
