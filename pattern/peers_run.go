package pattern

import (
	"encoding/json"
	"fmt"
	"slices"

	"polity.run"
	"polity.run/fault"
)

// Limits of what peers say.
const (
	sendMax       = 64        // messages of one turn
	bodyMax       = 16 << 10  // bytes of a message's body
	stateMax      = 64 << 10  // bytes of a member's state
	mailMax       = 512 << 10 // bytes of the bodies that a member is given at once; what is more waits
	registerMax   = 20
	registeredMax = 100 // bytes
	conversMax    = 100 // bytes of a conversation's name
	peerFailures  = 2   // turns of a member that fail one after the other, after which it is taken out
)

// How peers ended.
const (
	endedQuiet = "quiet" // no mail, and nobody is at work
	endedGoal  = "goal"
)

// Kinds of messages that the office sends.
const (
	kindRequest       = "request"
	kindUndeliverable = "undeliverable"
	kindNoAnswer      = "no_answer"
	kindInvite        = "invite"
)

// asking are the kinds that want an answer, answering those that are one, and telling the others that a member may send.
var (
	asking    = [...]string{kindRequest, "query", "cfp"}
	answering = [...]string{"response", "propose", "refuse", "failure"}
	telling   = [...]string{"agree", "inform", "accept", "reject", "notify", "subscribe", "cancel", kindInvite}
)

// Mail is a message as its recipient is told of it.
type Mail struct {
	ID           string           `json:"id"` // as in ada.3, of her third message; names have no dots
	From         polity.AgentName `json:"from"`
	Kind         string           `json:"kind"`
	Conversation string           `json:"conversation,omitempty"`
	InReplyTo    string           `json:"in_reply_to,omitempty"`
	Body         json.RawMessage  `json:"body,omitempty"`
	Why          string           `json:"why,omitempty"` // why something could not be delivered or is not answered
}

// peer is a member in a run.
type peer struct {
	*Peer
	to       *Member
	present  bool
	left     string // why it is no longer there
	done     bool
	state    json.RawMessage
	topics   []string
	turns    int
	sent     int
	notices  int // messages of the office to it
	failures int // turns that failed one after the other
	queue    []Mail
	reading  []Mail   // what it is given in the turn that is under way
	told     []string // digests of what it was asked
}

func (m *peer) busy() bool { return m.reading != nil }

// request is a message with whom it was delivered to; most of them want an answer and have none yet.
type request struct {
	Mail
	to polity.AgentName
}

// peersRun is the state of one run.
type peersRun struct {
	*desk
	cfg       *Peers
	objective string
	members   []*peer
	waiting   []request          // for an answer
	sent      map[string]request // by ID, without its body, what was delivered; only looked up
	delivered int
	turns     int
	answers   int // turns that were answered
	said      []string
	stale     int // turns in a row that sent something and said nothing new
	last      *fault.Error
	result    PeersResult
	shown     int // bytes of answers in the result
}

func newPeersRun(d *desk, cfg *Peers) *peersRun {
	r := &peersRun{desk: d, cfg: cfg, sent: map[string]request{}, result: PeersResult{
		Pattern: "peers", Members: []PeerEnd{}, Answers: []PeerAnswer{}, Messages: []Message{}, Done: []Done{},
	}}
	for i := range cfg.Peers {
		p := &cfg.Peers[i]
		r.members = append(r.members, &peer{Peer: p, to: find(cfg.Members, p.Agent), present: !p.Later})
	}
	return r
}

func (r *peersRun) open(e polity.Event) {
	r.objective = objectiveOf(e.Data)
	for _, name := range r.cfg.begin() {
		to := r.member(name)
		m := Mail{ID: to.officeID(), From: office, Kind: kindRequest, Body: e.Data}
		m.Conversation = m.ID
		r.deliver(m, to)
	}
	r.dispatch()
}

// officeID is the ID of the next message of the office to a member. What a member is told does not depend on what others are told.
func (m *peer) officeID() string {
	m.notices++
	return fmt.Sprintf("%s.%s.%d", office, m.Agent, m.notices)
}

// member returns the member with the name, or nil.
func (r *peersRun) member(name polity.AgentName) *peer {
	i := slices.IndexFunc(r.members, func(m *peer) bool { return m.Agent == name })
	if i < 0 {
		return nil
	}
	return r.members[i]
}

// dispatch has every member take its turn that has mail and is not at it.
func (r *peersRun) dispatch() {
	for _, m := range r.members {
		if !m.present || m.busy() || len(m.queue) == 0 || r.result.Ended != "" || r.ended {
			continue
		}
		if r.turns == r.cfg.Limits.Turns {
			r.over(endedBound, "all of the %d turns are taken", r.turns)
			return
		}
		r.turn(m)
	}
}

// over says how it ends. Turns that are under way are waited for.
func (r *peersRun) over(ended, why string, args ...any) {
	if r.result.Ended == "" {
		r.result.Ended, r.result.Why = ended, fmt.Sprintf(why, args...)
	}
}

// receiveBrief is what a member is asked.
type receiveBrief struct {
	Duty      string           `json:"duty"`
	Objective string           `json:"objective"`
	Guidance  string           `json:"guidance"`
	Self      polity.AgentName `json:"self"`
	Members   []neighbour      `json:"members"` // that it is linked to and have not left
	Messages  []Mail           `json:"messages"`
	State     json.RawMessage  `json:"state,omitempty"`
}

// neighbour is a member as another one is told of it.
type neighbour struct {
	colleague
	Topics []string `json:"topics,omitempty"`
	Absent bool     `json:"absent,omitempty"` // it joins if it is sent an invite
}

const receiveGuidance = "You are self, one of several members. Read your messages and say what you send to members that you are linked to. " +
	"Answer a request, query or cfp once, with in_reply_to. What you return as state you are told again. Send nothing if there is nothing to say."

// turn asks a member to take its mail.
func (r *peersRun) turn(m *peer) {
	r.turns++
	m.turns++
	size, n := 0, 0
	for n < len(m.queue) && (n == 0 || size+len(m.queue[n].Body) <= mailMax) {
		size += len(m.queue[n].Body)
		n++
	}
	m.reading, m.queue = slices.Clone(m.queue[:n]), slices.Clone(m.queue[n:])
	if r.same(m) {
		r.over(endedStall, "%s is told the very same, with the same state, for the third time", m.Agent)
		m.queue, m.reading = append(m.reading, m.queue...), nil
		r.turns--
		m.turns--
		return
	}
	input, err := marshal(receiveBrief{
		Duty: dutyReceive, Objective: r.objective, Guidance: receiveGuidance, Self: m.Agent, Members: r.neighbours(m),
		Messages: m.reading, State: m.state,
	})
	if err != nil {
		r.desk.fail(err)
		return
	}
	r.ask(question{
		name: named(fmt.Sprintf("turn%d", m.turns), string(m.Agent)), to: m.to, duty: dutyReceive, input: input,
		accept: func(output json.RawMessage) error { _, err := r.read(m, output); return err }, bounds: m.Bounds,
	})
}

// same says whether a member is asked the very same again, too often.
func (r *peersRun) same(m *peer) bool {
	parts := []string{string(canonical(m.state))}
	for _, one := range m.reading {
		parts = append(parts, string(one.From), one.Kind, string(canonical(one.Body)))
	}
	digest := digestOf(parts...)
	m.told = append(m.told, digest)
	n := 0
	for _, d := range m.told {
		if d == digest {
			n++
		}
	}
	return n >= sameTurns
}

func (r *peersRun) neighbours(m *peer) []neighbour {
	out := []neighbour{}
	for _, o := range r.members {
		if r.cfg.linked(m.Agent, o.Agent) && o.left == "" {
			out = append(out, neighbour{colleague{o.Agent, o.to.Description}, o.topics, !o.present})
		}
	}
	return out
}

// received is what a member answers.
type received struct {
	Send     []sending       `json:"send"`
	State    json.RawMessage `json:"state"`
	Register []string        `json:"register"`
	Done     *bool           `json:"done"`
	Leave    bool            `json:"leave"`
}

// sending is a message as its sender gives it.
type sending struct {
	To           string          `json:"to"`
	Kind         string          `json:"kind"`
	Body         json.RawMessage `json:"body"`
	InReplyTo    string          `json:"in_reply_to"`
	Conversation string          `json:"conversation"`
}

// read reads what a member answered. Of a member that is asked by a skill of its own, as an organization is, any other JSON is the answer
// to everything that it is asked and its state.
func (r *peersRun) read(m *peer, output json.RawMessage) (*received, error) {
	if skill, _ := m.to.Can(dutyReceive); skill != dutyReceive && !hasField(output, "send", "state", "done", "leave", "register") {
		return m.plain(output)
	}
	var got received
	if err := readObject(output, &got); err != nil {
		return nil, fault.Invalid.New("want {send: [{to, kind, body}], state}: %w", err)
	}
	switch {
	case len(got.Send) > sendMax:
		return nil, fault.Invalid.New("send: %d messages are more than %d", len(got.Send), sendMax)
	case len(got.State) > stateMax:
		return nil, fault.Invalid.New("state: %d bytes are more than %d", len(got.State), stateMax)
	case len(got.Register) > registerMax:
		return nil, fault.Invalid.New("register: %d words are more than %d", len(got.Register), registerMax)
	}
	for i := range got.Send {
		if err := got.Send[i].check(); err != nil {
			return nil, fault.Invalid.New("send[%d].%w", i, err)
		}
	}
	return &got, nil
}

// plain takes an answer that is none of the duty's.
func (m *peer) plain(output json.RawMessage) (*received, error) {
	if len(output) > bodyMax {
		return nil, fault.Invalid.New("the answer of %d bytes is longer than %d", len(output), bodyMax)
	}
	got := &received{State: output}
	for _, one := range m.reading {
		if slices.Contains(asking[:], one.Kind) && len(got.Send) < sendMax {
			got.Send = append(got.Send, sending{Kind: "response", InReplyTo: one.ID, Body: output})
		}
	}
	return got, nil
}

// check says what is wrong with the form of a message.
func (s *sending) check() error {
	kinds := slices.Concat(asking[:], answering[:], telling[:])
	switch {
	case !slices.Contains(kinds, s.Kind):
		return fault.Invalid.New("kind: %q is no kind of message%s", clip(s.Kind, nameMax), among(kinds, s.Kind))
	case slices.Contains(answering[:], s.Kind) && s.InReplyTo == "":
		return fault.Invalid.New("in_reply_to: a %s answers something; name its id", s.Kind)
	case s.To == "" && s.InReplyTo == "":
		return fault.Invalid.New("to: name a member, or %s for all that you are linked to", everyone)
	case len(s.Body) > bodyMax:
		return fault.Invalid.New("body: %d bytes are more than %d", len(s.Body), bodyMax)
	case len(s.Conversation) > conversMax:
		return fault.Invalid.New("conversation: the name is longer than %d bytes", conversMax)
	default:
		return nil
	}
}

func (r *peersRun) answered(a *answer) {
	m := r.member(a.to.Name)
	r.note(a.done())
	if !a.good() && r.exhausted != nil {
		m.queue, m.reading = append(m.reading, m.queue...), nil
		return // idle ends the run
	}
	if !a.good() {
		r.last = a.fault
		r.turnFailed(m, a.fault)
		r.dispatch()
		return
	}
	got, err := r.read(m, a.output)
	if err != nil { // accept has read it
		r.desk.fail(err)
		return
	}
	m.reading, m.failures = nil, 0
	r.answers++
	r.act(m, got)
	if r.cfg.Goal.reached(r.members) {
		r.over(endedGoal, "after a turn of %s", m.Agent)
		r.drop()
		return // idle ends the run
	}
	r.dispatch()
}

// act does what a member wants.
func (r *peersRun) act(m *peer, got *received) {
	if len(got.State) > 0 && string(got.State) != "null" {
		m.state = got.State
	}
	if got.Done != nil {
		m.done = *got.Done
	}
	if got.Register != nil {
		m.topics = nil
		for _, word := range got.Register {
			m.topics = append(m.topics, clip(word, registeredMax))
		}
	}
	for i := range got.Send {
		r.send(m, &got.Send[i])
	}
	r.progress(m, got)
	if got.Leave {
		r.leave(m, "it left")
	}
}

// progress sees whether a turn said anything new.
func (r *peersRun) progress(m *peer, got *received) {
	if len(got.Send) == 0 {
		return
	}
	parts := []string{string(m.Agent)}
	for i := range got.Send {
		s := &got.Send[i]
		parts = append(parts, s.To, s.Kind, normalText(writtenText(s.Body)))
	}
	digest := digestOf(parts...)
	if !slices.Contains(r.said, digest) {
		r.said = append(r.said, digest)
		r.stale = 0
		return
	}
	if r.stale++; r.stale >= r.cfg.Limits.Stall {
		r.over(endedStall, "the last %d turns that sent something said nothing new", r.stale)
	}
}

// turnFailed tells those who wrote to a member that its turn failed, and takes it out if that happens again.
func (r *peersRun) turnFailed(m *peer, f *fault.Error) {
	mail := m.reading
	m.reading = nil
	m.failures++
	for _, one := range mail {
		r.returned(m, one, fmt.Sprintf("%s failed: %s", m.Agent, clip(f.Text, problemMax)))
	}
	if m.failures >= peerFailures {
		r.leave(m, "it failed twice in a row: "+clip(f.Text, problemMax))
	}
}

// leave takes a member out. What waits for it is returned, and whoever waits for an answer of it is told.
func (r *peersRun) leave(m *peer, why string) {
	m.present, m.left = false, why
	mail := m.queue
	m.queue = nil
	for _, one := range mail {
		r.returned(m, one, fmt.Sprintf("%s has left", m.Agent))
	}
	for _, q := range slices.Clone(r.waiting) {
		if q.to == m.Agent {
			r.returned(m, q.Mail, fmt.Sprintf("%s has left without an answer", m.Agent))
		}
	}
}

// idle asks on, or ends the run.
func (r *peersRun) idle() {
	switch {
	case r.exhausted != nil && r.answers == 0:
		r.desk.fail(fault.Exceeded(r.exhausted.Bound, "peers: a bound was reached before any member answered: %s", r.exhausted.Text))
		return
	case r.exhausted != nil:
		r.over(endedBound, "%s", r.exhausted.Text)
	case r.result.Ended == "":
		r.unanswered()
		r.dispatch()
		if r.busy() || r.ended {
			return
		}
		r.over(endedQuiet, "no message is left")
	}
	if r.answers == 0 && r.last != nil {
		r.desk.fail(because(r.last, "peers: no member answered: %s", r.last.Text))
		return
	}
	r.finish(r.end())
}

// unanswered tells those who wait for an answer, once, that none will come.
func (r *peersRun) unanswered() {
	for _, q := range slices.Clone(r.waiting) {
		if q.From != office {
			r.tell(q.Mail, q.to, kindNoAnswer, "all is quiet and there is no answer")
		}
	}
}
