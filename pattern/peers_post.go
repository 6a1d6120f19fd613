package pattern

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"polity.run"
)

// Limits of a result of peers.
const (
	messagesShown = 300 // of the transcript, those that came first
	bodyShown     = 512 // bytes of a body in it
	turnsShown    = 300
	stateShown    = 4 << 10   // bytes of a state
	answersShown  = 256 << 10 // bytes of all answers
)

// What became of a message.
const (
	statusDelivered     = "delivered"
	statusUndeliverable = "undeliverable" // returned to its sender
	statusDropped       = "dropped"       // nobody is told
	statusAnswer        = "answer"        // to whoever asked the organization
)

// PeersResult is what a run of peers answers.
type PeersResult struct {
	Pattern  string       `json:"pattern"` // peers
	Ended    string       `json:"ended"`   // quiet, goal, stall or bound
	Why      string       `json:"why"`
	Answers  []PeerAnswer `json:"answers"` // to the request
	Members  []PeerEnd    `json:"members"`
	Messages []Message    `json:"messages"` // the first ones, in the order in which they were sent
	// More and MoreDone are how many messages and turns are not listed.
	More     int    `json:"more,omitempty"`
	Waiting  int    `json:"waiting,omitempty"` // messages that nobody took any more
	Done     []Done `json:"done"`
	MoreDone int    `json:"more_done,omitempty"`
}

// PeerAnswer is an answer to the request.
type PeerAnswer struct {
	From polity.AgentName `json:"from"`
	Kind string           `json:"kind"`
	Body json.RawMessage  `json:"body,omitempty"`
}

// PeerEnd is how a member ended.
type PeerEnd struct {
	Name   polity.AgentName `json:"name"`
	State  json.RawMessage  `json:"state,omitempty"`
	Topics []string         `json:"topics,omitempty"`
	Turns  int              `json:"turns"`
	Done   bool             `json:"done,omitempty"`
	Absent bool             `json:"absent,omitempty"` // it never joined, or it left
	Left   string           `json:"left,omitempty"`   // why
}

// Message is a message in the transcript.
type Message struct {
	ID           string           `json:"id"`
	At           time.Time        `json:"at"`
	From         polity.AgentName `json:"from"`
	To           string           `json:"to"`
	Kind         string           `json:"kind"`
	Conversation string           `json:"conversation,omitempty"`
	InReplyTo    string           `json:"in_reply_to,omitempty"`
	Body         json.RawMessage  `json:"body,omitempty"` // cut, and then a text, if it is long
	Status       string           `json:"status"`         // delivered, undeliverable, dropped or answer
	Why          string           `json:"why,omitempty"`
}

// send sends what a member wants sent.
func (r *peersRun) send(from *peer, s *sending) {
	from.sent++
	m := Mail{ID: fmt.Sprintf("%s.%d", from.Agent, from.sent), From: from.Agent, Kind: s.Kind, Conversation: s.Conversation, InReplyTo: s.InReplyTo, Body: s.Body}
	q, about := r.asked(from, s.InReplyTo), r.sent[s.InReplyTo]
	if about.to != from.Agent {
		about = request{}
	}
	if m.Conversation == "" {
		m.Conversation = cmp.Or(about.Conversation, m.ID)
	}
	switch {
	case slices.Contains(answering[:], s.Kind):
		r.reply(from, m, s.To, q)
	case s.To == everyone:
		r.broadcast(from, m)
	case s.To == "" && about.ID == "":
		r.record(m, "", statusDropped, "it replies to nothing that "+string(from.Agent)+" was told, and names no recipient")
	default:
		to := cmp.Or(s.To, string(about.From))
		r.pass(from, m, to, q != nil && string(q.From) == to)
	}
}

// asked returns the open request with the ID that a member was asked, or nil.
func (r *peersRun) asked(m *peer, id string) *request {
	i := slices.IndexFunc(r.waiting, func(q request) bool { return q.ID == id && q.to == m.Agent })
	if i < 0 {
		return nil
	}
	return &r.waiting[i]
}

// reply delivers an answer to whoever asked, wherever links lead.
func (r *peersRun) reply(from *peer, m Mail, to string, q *request) {
	switch {
	case q == nil:
		r.record(m, to, statusDropped, "it answers no open request")
	case to != "" && to != string(q.From):
		r.bounce(from, m, to, fmt.Sprintf("it answers %s, which came from %s", q.ID, q.From))
	case q.From == office:
		r.settled(q.ID, from.Agent)
		r.record(m, office, statusAnswer, "")
		if r.shown += len(m.Body); r.shown > answersShown {
			m.Body = cutJSON(m.Body, bodyShown)
		}
		r.result.Answers = append(r.result.Answers, PeerAnswer{From: from.Agent, Kind: m.Kind, Body: m.Body})
	default:
		id := q.ID
		r.pass(from, m, string(q.From), true)
		r.settled(id, from.Agent)
	}
}

// settled closes a request.
func (r *peersRun) settled(id string, to polity.AgentName) {
	r.waiting = slices.DeleteFunc(r.waiting, func(q request) bool { return q.ID == id && q.to == to })
}

// broadcast sends to everybody whom a member is linked to and who can be sent this, never to itself. Each copy has an ID of its own.
func (r *peersRun) broadcast(from *peer, m Mail) {
	n := 0
	for _, to := range r.members {
		if !r.cfg.linked(from.Agent, to.Agent) || to.present == (m.Kind == kindInvite) {
			continue
		}
		if n++; n > 1 {
			from.sent++
			m.ID = fmt.Sprintf("%s.%d", from.Agent, from.sent)
		}
		r.pass(from, m, string(to.Agent), false)
	}
	if n == 0 {
		r.bounce(from, m, everyone, "nobody to whom you are linked is there")
	}
}

// pass delivers a message, or returns it. invited says that the recipient asked for it, so that no link is needed.
func (r *peersRun) pass(from *peer, m Mail, name string, invited bool) {
	to := r.member(polity.AgentName(name))
	switch {
	case name == office:
		r.bounce(from, m, name, "the organization takes answers to its request only; use response with in_reply_to")
	case to == nil:
		r.bounce(from, m, clip(name, nameMax), fmt.Sprintf("there is no %q%s", clip(name, nameMax), among(r.cfg.names(), name)))
	case to == from:
		r.bounce(from, m, name, "nobody writes to themselves; keep it in your state")
	case !invited && !r.cfg.linked(from.Agent, to.Agent):
		r.bounce(from, m, name, "not linked: you may not write to "+name)
	case m.Kind == kindInvite && !to.present:
		to.present, to.left, to.failures = true, "", 0
		r.deliver(m, to)
	case to.left != "":
		r.bounce(from, m, name, name+" has left")
	case !to.present:
		r.bounce(from, m, name, name+" has not joined; send an invite first")
	case len(to.queue) >= r.cfg.Limits.Queue:
		r.bounce(from, m, name, fmt.Sprintf("%s already has %d messages waiting", name, len(to.queue)))
	default:
		r.deliver(m, to)
	}
}

// deliver puts a message into a member's queue.
func (r *peersRun) deliver(m Mail, to *peer) {
	if r.delivered >= r.cfg.Limits.Messages {
		r.over(endedBound, "all of the %d messages are delivered", r.delivered)
		r.record(m, string(to.Agent), statusDropped, "no more messages are delivered")
		return
	}
	r.delivered++
	to.queue = append(to.queue, m)
	r.sent[m.ID] = request{Mail{ID: m.ID, From: m.From, Conversation: m.Conversation}, to.Agent}
	if slices.Contains(asking[:], m.Kind) {
		r.waiting = append(r.waiting, request{m, to.Agent})
	}
	r.record(m, string(to.Agent), statusDelivered, "")
}

// bounce returns a message that cannot be delivered to its sender.
func (r *peersRun) bounce(from *peer, m Mail, to, why string) {
	r.record(m, to, statusUndeliverable, why)
	r.inform(from, m, to, kindUndeliverable, why)
}

// returned returns a message that was delivered and not read.
func (r *peersRun) returned(to *peer, m Mail, why string) {
	r.settled(m.ID, to.Agent)
	if m.From != office {
		r.tell(m, to.Agent, kindUndeliverable, why)
	}
}

// tell closes a request, if it is one, and tells its sender why.
func (r *peersRun) tell(m Mail, to polity.AgentName, kind, why string) {
	r.settled(m.ID, to)
	if from := r.member(m.From); from != nil && from.present {
		r.inform(from, m, string(to), kind, why)
	}
}

// inform sends a member a message of the office about one of its own.
func (r *peersRun) inform(from *peer, m Mail, to, kind, why string) {
	body, err := marshal(struct {
		To   string          `json:"to"`
		Kind string          `json:"kind"`
		Body json.RawMessage `json:"body,omitempty"`
	}{to, m.Kind, m.Body})
	if err != nil {
		r.desk.fail(err)
		return
	}
	notice := Mail{ID: from.officeID(), From: office, Kind: kind, Conversation: m.Conversation, InReplyTo: m.ID, Body: body, Why: why}
	if len(from.queue) >= r.cfg.Limits.Queue {
		r.record(notice, string(from.Agent), statusDropped, "too many messages are waiting")
		return
	}
	r.deliver(notice, from)
}

// record writes a message into the transcript.
func (r *peersRun) record(m Mail, to, status, why string) {
	if len(r.result.Messages) == messagesShown {
		r.result.More++
		return
	}
	if why == "" {
		why = m.Why
	}
	r.result.Messages = append(r.result.Messages, Message{
		ID: m.ID, At: r.now, From: m.From, To: to, Kind: m.Kind, Conversation: m.Conversation, InReplyTo: m.InReplyTo,
		Body: cutJSON(m.Body, bodyShown), Status: status, Why: why,
	})
}

// note keeps what became of a turn.
func (r *peersRun) note(d Done) {
	if len(r.result.Done) == turnsShown {
		r.result.MoreDone++
		return
	}
	r.result.Done = append(r.result.Done, d)
}

// end is the result.
func (r *peersRun) end() PeersResult {
	for _, m := range r.members {
		r.result.Waiting += len(m.queue)
		r.result.Members = append(r.result.Members, PeerEnd{
			Name: m.Agent, State: cutJSON(m.state, stateShown), Topics: m.topics, Turns: m.turns, Done: m.done, Absent: !m.present, Left: m.left,
		})
	}
	return r.result
}

// cutJSON returns JSON that is not too long as it is, and else the beginning of how it is written, as a text.
func cutJSON(raw json.RawMessage, most int) json.RawMessage {
	if len(raw) <= most {
		return raw
	}
	return json.RawMessage(quoted(clip(string(raw), most)))
}
