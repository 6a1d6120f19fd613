package outside

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/message"
	"polity.run/remote"
)

// ref is an agent of an organization.
type ref struct {
	org   string
	agent polity.AgentName
}

// Boxes hold what agents outside are asked, whether there is a gate or not. The zero value is empty. Its methods are safe for concurrent use.
type Boxes struct{ boxes }

type boxes struct {
	lives  // beside them, and with a lock of its own
	mu     sync.Mutex
	all    map[ref]*box
	tokens map[string]*question               // by token
	put    func(org string, q *question) bool // false if it could not be
}

// attach has questions put from now on; nil has them wait.
func (b *boxes) attach(put func(org string, q *question) bool) {
	b.mu.Lock()
	b.put = put
	b.mu.Unlock()
	b.pump()
}

func (b *boxes) box(at ref) *box {
	if b.all == nil {
		b.all, b.tokens = map[ref]*box{}, map[string]*question{}
	}
	x := b.all[at]
	if x == nil {
		x = &box{}
		b.all[at] = x
	}
	return x
}

// Ask asks an agent outside of an organization, and returns at once: done is called once, when it has answered, or when ctx ends.
func (b *boxes) Ask(ctx context.Context, org string, m polity.Message, done func(json.RawMessage, error)) {
	q, err := newQuestion(org, m, done)
	if err != nil {
		done(nil, err)
		return
	}
	b.mu.Lock()
	x := b.box(q.at)
	if len(b.tokens) >= openMax {
		b.mu.Unlock()
		done(nil, fault.Unavailable.New("agent %s: %d questions wait for agents outside already", m.To, openMax))
		return
	}
	x.open = append(x.open, q)
	b.tokens[q.token] = q
	count := b.usage(q.at)
	count.ask(false)
	q.leave = context.AfterFunc(ctx, func() {
		if b.take(q) {
			count.fail()
			done(nil, fault.Cancelled.New("agent %s: no longer asked", m.To))
		}
	})
	b.mu.Unlock()
	b.pump()
}

func newQuestion(org string, m polity.Message, done func(json.RawMessage, error)) (*question, error) {
	from := m.From
	if from == m.To { // asked by a person, not by an agent: whoever answers answers the organization
		from = polity.AgentName(org)
	}
	e := message.Envelope{
		ID: wireID(m.ID), From: message.To(from), To: []message.Address{message.To(m.To)}, Performative: polity.Request, Skill: m.Skill,
		Conversation: wireID(m.Correlation), Causation: wireID(m.Causation), Reply: true, Deadline: m.Deadline, Time: time.Now(),
		TTL: message.TTLMax, Data: m.Body,
	}
	header, err := e.Header()
	if err != nil {
		return nil, fault.Of(err).Kind.New("agent %s: %w", m.To, err)
	}
	return &question{
		id: e.ID, token: token(org, e.ID), at: ref{org, m.To}, from: from, done: done,
		parcel: bus.Parcel{Subject: remote.Box(m.To, polity.Request), Header: header, Data: m.Body},
	}, nil
}

// token stands for a question where only a token of a subject does.
func token(org, id string) string {
	sum := sha256.Sum256([]byte(org + "\n" + id))
	return hex.EncodeToString(sum[:16])
}

// wireID is an ID as a message may have it: the ID of a run far down in a tree is longer.
func wireID(id string) string {
	if len(id) <= message.TextMax {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// take removes a question, and says whether it was there.
func (b *boxes) take(q *question) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens[q.token] != q {
		return false
	}
	b.box(q.at).remove(q)
	delete(b.tokens, q.token)
	return true
}

// pump puts what is due.
func (b *boxes) pump() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.put == nil {
		return
	}
	now := time.Now()
	for at, x := range b.all {
		for _, q := range x.due(now) {
			if !b.put(at.org, q) {
				q.put, q.sign = time.Time{}, time.Time{}
			}
		}
		if len(x.open) == 0 && x.state(now) == remote.Away {
			delete(b.all, at)
		}
	}
}

// missed notes that what was put had no receiver.
func (b *boxes) missed(token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q := b.tokens[token]; q != nil {
		b.box(q.at).missed(q, time.Now())
	}
}

// hear notes what an agent says of itself, and puts what waits for it.
func (b *boxes) hear(at ref, h remote.Here) error {
	b.mu.Lock()
	err := b.box(at).hear(h, time.Now())
	b.mu.Unlock()
	b.pump()
	return err
}

// answer takes what an agent answers to. A question that is not open any more was answered, or nobody wants to know: that is fine.
func (b *boxes) answer(at ref, to polity.AgentName, e message.Envelope, reply func(remote.Taken)) error {
	b.mu.Lock()
	q := b.tokens[token(at.org, e.Correlation)]
	switch {
	case q == nil:
		b.mu.Unlock()
		reply(remote.Taken{})
		return nil
	case q.at != at:
		b.mu.Unlock()
		return fault.Denied.New("%.80s asks %s, and not whoever answers", e.Correlation, q.at.agent)
	case q.from != to:
		b.mu.Unlock()
		return fault.Denied.New("%.80s is asked by %s, and %s is answered", e.Correlation, q.from, to)
	}
	x := b.box(at)
	x.away = false
	if e.Performative == polity.Agree {
		q.taken, q.sign = true, time.Now()
		b.mu.Unlock()
		reply(remote.Taken{})
		return nil
	}
	x.remove(q)
	delete(b.tokens, q.token)
	put := q.put
	b.mu.Unlock()
	q.leave()
	out, err := outcome(at.agent, e)
	b.usage(at).answer(put, err)
	q.done(out, err)
	reply(remote.Taken{})
	b.pump()
	return nil
}

// outcome is what an answer means to the run that asked. A failure's data may be a fault, which says whether asking again may help.
func outcome(agent polity.AgentName, e message.Envelope) (json.RawMessage, error) {
	if e.Performative == polity.Inform {
		if !e.IsJSON() || e.Data == nil {
			return nil, fault.Invalid.New("agent %s answered with %s, which is not JSON", agent, e.DataType)
		}
		return e.Data, nil
	}
	kind, text, did := fault.Failed, "it says no reason", "failed"
	if e.Performative == polity.Refuse {
		kind, did = fault.Denied, "refuses"
	}
	var said fault.Error
	var words string
	switch {
	case e.IsJSON() && json.Unmarshal(e.Data, &said) == nil && said.Kind != "":
		if text = said.Text; e.Performative == polity.Failure {
			kind = said.Kind
		}
	case e.IsJSON() && json.Unmarshal(e.Data, &words) == nil:
		text = words
	}
	if kind == fault.Exhausted { // of a bound that is not ours
		kind = fault.Failed
	}
	return nil, kind.New("agent %s %s: %.*s", agent, did, reasonMax, text)
}

const reasonMax = 1000 // letters of an agent's words in a fault

// describe adds to p what its agent last said of itself.
func (b *boxes) describe(p *polity.Presence) {
	b.usage(ref{p.Org, p.Agent}).describe(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.all[ref{p.Org, p.Agent}]
	if x == nil {
		return
	}
	p.State, p.Waiting = string(x.state(time.Now())), len(x.open)
	for _, i := range x.instances {
		p.Processes++
		if i.heard.After(p.Heard) {
			p.Heard = i.heard
		}
		if i.Version != "" && !slices.Contains(p.Versions, i.Version) {
			p.Versions = append(p.Versions, i.Version)
		}
	}
	slices.Sort(p.Versions)
}
