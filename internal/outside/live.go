package outside

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/message"
	"polity.run/remote"
)

// LiveMax is how many live questions one agent outside has at once.
const LiveMax = 1024

// liveRest is how many of an agent's tokens rest before one is used again. With the 64 of as many questions at once they are fewer than the 128 subjects of which
// the server remembers, for each connection, that it may publish there.
const liveRest = 32

// lives are the live questions that agents outside have and did not answer. A question is put once, and answered once or not at all. Its methods are safe for
// concurrent use; the zero value has no door.
type lives struct {
	mu    sync.Mutex
	put   func(org string, p bus.Parcel) error // nil without a door
	run   string                               // begins the tokens: those of another process of the node mean nothing here
	last  uint64
	open  map[string]*lively // by token
	rests map[ref][]*lively  // those of an agent whose last question was answered, the one that rests longest first

	usages map[ref]*usage // of all that agents are asked
}

// usage is where an agent's questions are counted.
func (l *lives) usage(at ref) *usage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counted(at)
}

// counted is usage with l.mu held.
func (l *lives) counted(at ref) *usage {
	u := l.usages[at]
	if u == nil {
		if l.usages == nil {
			l.usages = map[ref]*usage{}
		}
		u = &usage{}
		l.usages[at] = u
	}
	return u
}

// lively is a token with the live question that waits for its answer under it. It is used again for the same agent once that came, and given up if it did not: what
// comes late goes nowhere.
type lively struct {
	at    ref
	token string
	came  chan bus.Parcel // with room for the only one
	late  *time.Timer     // stopped while it rests
	count *usage
}

func (l *lives) attach(put func(org string, p bus.Parcel) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put = put
	if l.open == nil {
		l.run, l.open, l.rests = rand.Text()[:8], map[string]*lively{}, map[ref][]*lively{}
	}
}

// begin takes a token for a question to an agent; nil without a door.
func (l *lives) begin(at ref) (q *lively, put func(org string, p bus.Parcel) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.put == nil {
		return nil, nil
	}
	if rests := l.rests[at]; len(rests) > liveRest {
		q = rests[0]
		l.rests[at] = rests[1:]
	} else {
		l.last++
		q = &lively{at: at, token: l.run + strconv.FormatUint(l.last, 36), came: make(chan bus.Parcel, 1), late: time.NewTimer(time.Hour), count: l.counted(at)}
		q.late.Stop()
	}
	l.open[q.token] = q
	return q, l.put
}

// rest has a token rest whose question was answered.
func (l *lives) rest(q *lively) {
	q.late.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if rests := l.rests[q.at]; len(rests) < 2*liveRest {
		l.rests[q.at] = append(rests, q)
	}
}

// giveUp forgets a token whose question is not waited for any more: nobody knows whether an answer is on its way.
func (l *lives) giveUp(q *lively) {
	q.late.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, q.token)
}

// AskLive asks an agent outside of an organization, which e is to, a live question, and waits for its answer until a time at the latest. e, as Or fills it in, and its
// data have been checked. Nobody being there is fault.Unavailable, and no answer in time fault.Timeout.
func (l *lives) AskLive(ctx context.Context, org string, e message.Envelope, until time.Time) (json.RawMessage, error) {
	at := ref{org, polity.AgentName(e.To[0].Name)}
	if e.From.Kind != message.Agent {
		e.From = message.To(polity.AgentName(org))
	}
	e.Reply, e.Live, e.Time, e.Deadline = false, false, time.Time{}, until // the subject says that it is live, and the deadline how long
	q, put := l.begin(at)
	if q == nil {
		return nil, fault.Unavailable.New("agent %s: this process has no door for agents outside; polity bus serve has one", at.agent)
	}
	begun := q.count.ask(true)
	if err := put(org, bus.Parcel{Subject: remote.Box(at.agent, remote.Live), Reply: remote.Answers(at.agent, q.token), Header: e.CheckedHeader(), Data: e.Data}); err != nil {
		l.giveUp(q)
		q.count.fail()
		return nil, err
	}
	q.late.Reset(until.Sub(begun))
	select {
	case p := <-q.came:
		l.rest(q)
		if bus.Unreceived(p) {
			q.count.fail()
			return nil, fault.Unavailable.New("agent %s is not there, or takes no live messages", at.agent)
		}
		out, err := outcome(at.agent, remote.ToLive(p.Header, p.Data))
		q.count.answer(begun, err)
		return out, err
	case <-q.late.C:
		l.giveUp(q)
		q.count.fail()
		return nil, fault.Timeout.New("agent %s: no answer in time", at.agent)
	case <-ctx.Done():
		l.giveUp(q)
		q.count.fail()
		return nil, fault.Cancelled.New("agent %s: no longer asked: %w", at.agent, context.Cause(ctx))
	}
}

// answered takes what is an agent's answer by its subject, which the server has made sure of. What waits no longer was answered, or is late: that is fine.
func (l *lives) answered(at ref, token string, p bus.Parcel) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.open[token]
	if q == nil {
		return nil
	}
	if q.at != at {
		return fault.Denied.New("the question is %s's to answer", q.at.agent)
	}
	delete(l.open, token)
	q.came <- p
	return nil
}

// live has a live question of an agent outside answered, once, in the sender's inbox.
func (g *Gate) live(o *org, e message.Envelope, reply string) error {
	if reply == "" || e.To[0].Kind != message.Agent {
		return fault.Invalid.New("a live question is to one agent, as a request whose reply subject is below %s", remote.Inbox(polity.AgentName(e.From.Name)))
	}
	select {
	case g.lives <- struct{}{}:
	default:
		g.refuseLive(o, reply, fault.Full.New("%d live questions of agents outside are worked on, which is the most", cap(g.lives)))
		return nil
	}
	go func() { // Close does not wait: an agent that does not end its work with the node is left behind, with its answer
		defer func() { <-g.lives }()
		a, err := g.cfg.Ask(g.ctx, e)
		if err != nil {
			g.refuseLive(o, reply, err)
			return
		}
		g.say(o, bus.Parcel{Subject: reply, Header: remote.LiveHeader(a.Performative), Data: a.Data})
	}()
	return nil
}

// asksLive says whether headers, which may be no message's, are of a live question.
func asksLive(header map[string][]string) bool {
	said := map[string]bool{}
	for name, value := range header {
		if len(value) == 1 && value[0] == "true" {
			said[strings.ToLower(name)] = true
		}
	}
	return said["ce-live"] && said["ce-replyrequired"]
}

// refuseLive tells whoever asks live why nobody is asked.
func (g *Gate) refuseLive(o *org, reply string, reason error) {
	data, err := json.Marshal(fault.Of(reason))
	if err != nil {
		g.cfg.Log.Error("a fault cannot be written", "error", err)
		return
	}
	g.say(o, bus.Parcel{Subject: reply, Header: remote.LiveHeader(polity.Refuse), Data: data})
}

func (g *Gate) say(o *org, p bus.Parcel) {
	if err := o.desk.Put(p, ""); err != nil && g.ctx.Err() == nil {
		g.cfg.Log.Warn("answer", "org", o.name, "error", err)
	}
}
