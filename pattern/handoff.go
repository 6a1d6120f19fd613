package pattern

import (
	"encoding/json"
	"fmt"
	"slices"

	"polity.run"
	"polity.run/fault"
)

// Limits of a handoff.
const (
	HopsMax        = 100
	hopsDefault    = 10
	returnDefault  = 1
	staleHops      = 3         // hops in a row without anything new, after which whoever is in control must answer
	sameHandovers  = 3         // times that one agent says the same to one other, after which the same holds
	handReasonMax  = 500       // bytes
	handSummaryMax = 4 << 10   // bytes
	handWorkMax    = 32 << 10  // bytes of JSON
	historyWorkMax = 256 << 10 // bytes of the work that is told with all of the history; what is older is left out
)

// What of the conversation so far is told to whoever takes over.
const (
	historyLast    = "last"    // the last handover, with its work
	historySummary = "summary" // every handover without its work, but for that of the last
	historyAll     = "all"     // every handover with its work, up to historyWorkMax
)

// How a conversation ended.
const (
	endedAnswered = "answered" // by an agent that had a choice
	endedCap      = "cap"      // by the one in control at the cap of hops
	endedStall    = "stall"    // by the one in control when nothing new was said any more
	endedFallback = "fallback" // by the fallback
	endedBound    = "bound"    // a bound of the run was reached: there is no answer
)

// Handoff is the configuration of a handoff: the control of one conversation moves from agent to agent, until one of them answers.
//
//	request -> owner -> hands over to another, with reason and summary ... -> the one in control answers
//
// The conversation always has one owner. The hops of the whole conversation are capped, not those of an agent; at the cap, and when
// nothing new is said any more, whoever is in control is told to answer. A handover to somebody unknown, to whom no link leads, or back
// too soon is refused and the agent told, once; if it does not do better, the fallback takes over.
type Handoff struct {
	Owner polity.AgentName `json:"owner"` // the first one
	Links []Link           `json:"links"` // who may hand over to whom
	Hops  int              `json:"hops,omitempty"`
	// NoReturn is for how many hops after it handed over an agent cannot be handed the conversation again, but by a link with Back;
	// nil is 1.
	NoReturn *int             `json:"no_return,omitempty"`
	History  string           `json:"history,omitempty"`  // last, summary or all; "" is summary
	Fallback polity.AgentName `json:"fallback,omitempty"` // asked at most once, and has to answer
	Members  []Member         `json:"members,omitempty"`
}

// names are those between whom control moves, in order.
func (h *Handoff) names() []polity.AgentName {
	names := []polity.AgentName{h.Owner}
	for _, l := range h.Links {
		names = addNew(addNew(names, l.From), l.To...)
	}
	return names
}

const dutyTake = "take"

// takeDuty is the duty of whoever is in control.
var takeDuty = polity.Skill{
	Name: dutyTake, Description: "Take a conversation over: answer, or hand it to somebody who can.", Input: dutyInput,
	Output: json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{` +
		`"answer":{"description":"the answer to the request; give it or hand over, never both"},` +
		`"handoff":{"type":"object","additionalProperties":false,"required":["to","reason"],"properties":{` +
		`"to":{"type":"string","description":"one of those to whom you may hand over"},` +
		`"reason":{"type":"string","description":"why it is for them and not for you"},` +
		`"summary":{"type":"string","description":"what is known so far, complete in itself"},` +
		`"work":{"description":"what you found, as data"}}}}}`),
}

// Roles lists the owner, everybody in the links and the fallback.
func (h Handoff) Roles() []Role {
	duties := []polity.Skill{takeDuty}
	roles := []Role{{Field: "owner", Name: "owner", Agent: h.Owner, Duties: duties}}
	for i, l := range h.Links {
		at := fmt.Sprintf("links[%d]", i)
		roles = append(roles, Role{Field: at + ".from", Name: "holder", Agent: l.From, Duties: duties})
		for j, to := range l.To {
			roles = append(roles, Role{Field: fmt.Sprintf("%s.to[%d]", at, j), Name: "holder", Agent: to, Duties: duties})
		}
	}
	if h.Fallback != "" {
		roles = append(roles, Role{Field: "fallback", Name: "fallback", Agent: h.Fallback, Duties: duties})
	}
	return roles
}

// Know fills the members in.
func (h *Handoff) Know(members []Member) { h.Members = known(h.Roles(), members) }

// Check returns all problems: see Config.
func (h Handoff) Check() error {
	var p problems
	checkLinks(h.Links, nil, "", &p)
	if len(h.Links) == 0 {
		p.add(in("links"), "nobody may hand over; add a link, or ask %s alone", h.Owner)
	}
	if h.Hops < 0 || h.Hops > HopsMax {
		p.add(in("hops"), "%d is not within 1 and %d", h.Hops, HopsMax)
	}
	if n := h.NoReturn; n != nil && (*n < 0 || *n > HopsMax) {
		p.add(in("no_return"), "%d is not within 0 and %d", *n, HopsMax)
	}
	if !slices.Contains([]string{"", historyLast, historySummary, historyAll}, h.History) {
		p.add(in("history"), "%q is unknown; want %s, %s or %s", h.History, historyLast, historySummary, historyAll)
	}
	if len(h.Links) <= LinksMax && h.Owner != "" {
		for _, n := range unreached(h.names(), []polity.AgentName{h.Owner}, h.linked) {
			p.add(in("links[%d].from", h.mentions(n)), "the conversation never comes to %s; add a link to it, or delete those from it", n)
		}
	}
	checkRoles(h.Roles(), h.Members, &p)
	return p.err()
}

// mentions returns the first link that an agent stands in.
func (h *Handoff) mentions(name polity.AgentName) int {
	return max(0, slices.IndexFunc(h.Links, func(l Link) bool { return l.From == name || slices.Contains(l.To, name) }))
}

// link returns the link by which an agent may hand over to another, or nil.
func (h *Handoff) link(from, to polity.AgentName) *Link {
	var found *Link
	for i := range h.Links {
		l := &h.Links[i]
		if l.From == from && slices.Contains(l.To, to) || l.Both && l.From == to && slices.Contains(l.To, from) {
			if l.Back {
				return l
			}
			found = l
		}
	}
	return found
}

func (h *Handoff) linked(from, to polity.AgentName) bool { return h.link(from, to) != nil }

// Decider returns what decides the runs. A run finishes with a HandoffResult, or fails with the kind of the agent that was in control.
func (h Handoff) Decider() (polity.Decider, error) {
	if err := h.Check(); err != nil {
		return nil, err
	}
	own := copied(h)
	if own.Hops == 0 {
		own.Hops = hopsDefault
	}
	if own.NoReturn == nil {
		own.NoReturn = new(returnDefault)
	}
	if own.History == "" {
		own.History = historySummary
	}
	return player{"handoff", func(d *desk) play { return &handoffRun{desk: d, cfg: own, owner: own.Owner} }}, nil
}

// HandoffResult is what a run of a handoff answers.
type HandoffResult struct {
	Pattern string           `json:"pattern"` // handoff
	Ended   string           `json:"ended"`   // answered, cap, stall, fallback or bound
	Owner   polity.AgentName `json:"owner"`   // who was in control at the end
	Answer  json.RawMessage  `json:"answer,omitempty"`
	Hops    []Hop            `json:"hops"`
	Done    []Done           `json:"done"`
}

// Hop is one handover.
type Hop struct {
	From    polity.AgentName `json:"from"`
	To      polity.AgentName `json:"to"`
	Reason  string           `json:"reason"`
	Summary string           `json:"summary,omitempty"`
	Work    json.RawMessage  `json:"work,omitempty"`
	Forced  bool             `json:"forced,omitempty"` // by the organization, because From could not go on
}

// handoffRun is the state of one run.
type handoffRun struct {
	*desk
	cfg     *Handoff
	request json.RawMessage
	owner   polity.AgentName
	hops    []Hop
	said    []string // what handovers said, to see whether there is anything new
	stale   int      // hops in a row without anything new
	must    string   // why the one in control must answer; "" while it may hand over
	ended   string   // how the conversation ends if the one in control answers
	done    []Done
}

func (r *handoffRun) open(e polity.Event) {
	r.request, r.ended = e.Data, endedAnswered
	r.hops, r.done = []Hop{}, []Done{}
	r.take()
}

// take asks who is in control.
func (r *handoffRun) take() {
	input, err := marshal(r.brief())
	if err != nil {
		r.desk.fail(err)
		return
	}
	r.ask(question{
		name: named(fmt.Sprintf("take%d", len(r.hops)+1), string(r.owner)), to: find(r.cfg.Members, r.owner), duty: dutyTake,
		input: input, accept: r.accept,
	})
}

// takeBrief is what whoever is in control is told.
type takeBrief struct {
	Duty      string           `json:"duty"`
	Objective string           `json:"objective"`
	Guidance  string           `json:"guidance"`
	Self      polity.AgentName `json:"self"`
	Request   json.RawMessage  `json:"request"`
	From      polity.AgentName `json:"from,omitempty"`
	Reason    string           `json:"reason,omitempty"`
	History   []Hop            `json:"history,omitempty"`
	May       []colleague      `json:"may_hand_to,omitempty"`
	HopsLeft  int              `json:"hops_left"`
	Must      string           `json:"must_answer,omitempty"` // why no more can be handed over
}

// colleague is an agent as another one is told of it.
type colleague struct {
	Name        polity.AgentName `json:"name"`
	Description string           `json:"description,omitempty"`
}

const (
	takeGuidance = "You are in control of this conversation. Give the answer, or hand over to one of may_hand_to if it is theirs, " +
		"with a summary that is complete in itself."
	mustGuidance = "You are in control of this conversation and have to answer now: it cannot be handed over any more. Say what is missing, if something is."
)

func (r *handoffRun) brief() takeBrief {
	b := takeBrief{
		Duty: dutyTake, Objective: objectiveOf(r.request), Guidance: takeGuidance, Self: r.owner, Request: r.request,
		History: r.history(), HopsLeft: max(0, r.cfg.Hops-len(r.hops)), Must: r.must,
	}
	if n := len(r.hops); n > 0 {
		b.From, b.Reason = r.hops[n-1].From, r.hops[n-1].Reason
	}
	if r.must != "" {
		b.Guidance, b.HopsLeft = mustGuidance, 0
		return b
	}
	for _, n := range r.cfg.names() {
		if r.refusal(n) == "" {
			b.May = append(b.May, colleague{n, find(r.cfg.Members, n).Description})
		}
	}
	return b
}

// objectiveOf is what a request is about, as text.
func objectiveOf(request json.RawMessage) string {
	_, text := questionOf(request)
	return text
}

// history is what whoever is in control is told of the handovers so far.
func (r *handoffRun) history() []Hop {
	last := len(r.hops) - 1
	switch {
	case last < 0:
		return nil
	case r.cfg.History == historyLast:
		return r.hops[last:]
	}
	short := slices.Clone(r.hops)
	room := historyWorkMax
	for i := last; i >= 0; i-- {
		if room -= len(short[i].Work); i < last && (room < 0 || r.cfg.History == historySummary) {
			short[i].Work = nil
		}
	}
	return short
}

// refusal says why the one in control cannot hand over to an agent; "" if it can.
func (r *handoffRun) refusal(to polity.AgentName) string {
	l := r.cfg.link(r.owner, to)
	switch {
	case r.must != "":
		return "nothing can be handed over any more: " + r.must
	case to == r.owner:
		return "you are in control already"
	case !slices.Contains(r.cfg.names(), to):
		return fmt.Sprintf("there is no %q%s", clip(string(to), nameMax), among(r.within(), string(to)))
	case l == nil:
		return fmt.Sprintf("you may not hand over to %s, only to %s", to, list(r.within()))
	case !l.Back && r.recently(to):
		return fmt.Sprintf("%s handed over within the last %s and would get it back", to, plural(*r.cfg.NoReturn, "hop"))
	default:
		return ""
	}
}

// recently says whether an agent handed over within as many hops as it may not be returned to.
func (r *handoffRun) recently(name polity.AgentName) bool {
	from := max(0, len(r.hops)-*r.cfg.NoReturn)
	return slices.ContainsFunc(r.hops[from:], func(h Hop) bool { return h.From == name })
}

// within lists those to whom a link leads from the one in control.
func (r *handoffRun) within() []polity.AgentName { return reach(r.cfg.names(), r.owner, r.cfg.linked) }

// taken is what whoever is in control answers.
type taken struct {
	Answer  json.RawMessage `json:"answer"`
	Handoff *handover       `json:"handoff"`
}

type handover struct {
	To      polity.AgentName `json:"to"`
	Reason  string           `json:"reason"`
	Summary string           `json:"summary"`
	Work    json.RawMessage  `json:"work"`
}

// read reads an answer. Of an agent that is asked by a skill of its own, as an organization is, any other JSON is the answer.
func (r *handoffRun) read(output json.RawMessage) (taken, error) {
	skill, _ := find(r.cfg.Members, r.owner).Can(dutyTake)
	if skill != dutyTake && !hasField(output, "answer", "handoff") {
		return taken{Answer: output}, nil
	}
	var t taken
	if err := readObject(output, &t); err != nil {
		return t, fault.Invalid.New("want {answer} or {handoff: {to, reason, summary}}: %w", err)
	}
	if string(t.Answer) == "null" {
		t.Answer = nil
	}
	if t.Handoff != nil && string(t.Handoff.Work) == "null" {
		t.Handoff.Work = nil
	}
	return t, nil
}

// accept says what is wrong with an answer.
func (r *handoffRun) accept(output json.RawMessage) error {
	t, err := r.read(output)
	h := t.Handoff
	switch {
	case err != nil:
		return err
	case len(t.Answer) > 0 == (h != nil):
		return fault.Invalid.New("give answer or handoff, one of them")
	case h == nil:
		return nil
	case h.Reason == "":
		return fault.Invalid.New("handoff.reason: say why")
	case len(h.Work) > handWorkMax:
		return fault.Invalid.New("handoff.work: %d bytes are more than %d; hand over less", len(h.Work), handWorkMax)
	}
	if why := r.refusal(h.To); why != "" {
		return fault.Invalid.New("handoff.to: %s; hand over to somebody else, or answer yourself", why)
	}
	return nil
}

func (r *handoffRun) answered(a *answer) {
	r.done = append(r.done, a.done())
	if !a.good() {
		if r.exhausted == nil { // else idle ends the run
			r.failed(a)
		}
		return
	}
	t, err := r.read(a.output)
	switch {
	case err != nil: // accept has read it
		r.desk.fail(err)
	case t.Handoff == nil:
		r.finish(r.result(t.Answer))
	default:
		h := t.Handoff
		r.hand(Hop{From: r.owner, To: h.To, Reason: clip(h.Reason, handReasonMax), Summary: clip(h.Summary, handSummaryMax), Work: h.Work})
	}
}

// failed gives the conversation of an agent that could not go on to the fallback, or ends it.
func (r *handoffRun) failed(a *answer) {
	if r.cfg.Fallback == "" || r.ended == endedFallback || r.owner == r.cfg.Fallback {
		r.desk.fail(because(a.fault, "handoff: %s, in control after %s (%s): %s",
			r.owner, plural(len(r.hops), "hop"), plural(a.tries, "attempt"), a.fault.Text))
		return
	}
	hop := Hop{From: r.owner, To: r.cfg.Fallback, Reason: clip(a.fault.Text, handReasonMax), Forced: true}
	if n := len(r.hops); n > 0 {
		hop.Summary, hop.Work = r.hops[n-1].Summary, r.hops[n-1].Work
	}
	r.must, r.ended = "you are the last one who is asked", endedFallback
	r.owner = hop.To
	r.hops = append(r.hops, hop)
	r.take()
}

// hand moves control.
func (r *handoffRun) hand(h Hop) {
	r.hops = append(r.hops, h)
	r.owner = h.To
	switch {
	case r.stalls(h):
		r.must, r.ended = "nothing new was said in the last hops", endedStall
	case len(r.hops) >= r.cfg.Hops:
		r.must, r.ended = fmt.Sprintf("this was the last of %s", plural(r.cfg.Hops, "hop")), endedCap
	}
	r.take()
}

// stalls keeps what a handover says, and says whether the conversation stalls: nothing new for staleHops hops, or the same said
// by one agent to another sameHandovers times.
func (r *handoffRun) stalls(h Hop) bool {
	what := digestOf(normalText(h.Summary), normalText(writtenText(h.Work)))
	whom := digestOf(string(h.From), string(h.To), what)
	if slices.Contains(r.said, what) {
		r.stale++
	} else {
		r.stale = 0
	}
	r.said = append(r.said, what, whom)
	same := 0
	for _, s := range r.said {
		if s == whom {
			same++
		}
	}
	return r.stale >= staleHops || same >= sameHandovers
}

// result is what there is now.
func (r *handoffRun) result(answer json.RawMessage) HandoffResult {
	return HandoffResult{Pattern: "handoff", Ended: r.ended, Owner: r.owner, Answer: answer, Hops: r.hops, Done: r.done}
}

// idle is called only at a bound: the handovers so far are all that there is.
func (r *handoffRun) idle() {
	switch {
	case r.exhausted == nil:
		r.desk.fail(fault.Internal.New("handoff: nobody is asked"))
	case len(r.hops) == 0:
		r.desk.fail(fault.Exceeded(r.exhausted.Bound, "handoff: a bound was reached before %s answered: %s", r.owner, r.exhausted.Text))
	default:
		r.ended = endedBound
		r.finish(r.result(nil))
	}
}
