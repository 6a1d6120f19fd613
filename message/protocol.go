package message

import (
	"encoding/json"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
)

// The limits of what is asked of messages.
const (
	ListMax = 1000             // messages of one answer
	WaitMax = 30 * time.Second // for news
)

// Receipt says what became of a message for one of its recipients: before any work it was agreed to or refused.
type Receipt struct {
	To           Address             `json:"to"` // an agent or a topic
	Performative polity.Performative `json:"performative"`
	Run          polity.RunID        `json:"run,omitempty"` // that delivers it to an agent
	Fault        *fault.Error        `json:"fault,omitempty"`
	RetryAfter   int                 `json:"retry_after,omitempty"` // seconds after which a full mailbox may be tried again
}

// Join says how many answers are enough. What is still under way then is cancelled.
type Join struct {
	Policy string `json:"policy,omitempty"` // all (default), first or quorum; only answers without a failure count for the last two
	K      int    `json:"k,omitempty"`      // of a quorum
}

// Check returns nil, or fault.Invalid for a join of which nothing can come.
func (j Join) Check() error {
	switch j.Policy {
	case "", "all", "first":
		if j.K != 0 {
			return fault.Invalid.New("message: join %s: k belongs to a quorum", j.Policy)
		}
	case "quorum":
		if j.K < 1 {
			return fault.Invalid.New("message: join quorum: k %d; want at least 1", j.K)
		}
	default:
		return fault.Invalid.New("message: join %.40q: want all, first or quorum%s", j.Policy, meant(j.Policy, []string{"all", "first", "quorum"}))
	}
	return nil
}

// Enough returns how many answers without a failure are enough of those that come; 0 for no number: all are waited for.
func (j Join) Enough() int {
	if j.Policy == "first" {
		return 1
	}
	return j.K
}

// Entry is a message to one agent, in the history.
type Entry struct {
	Envelope Envelope         `json:"envelope"` // its data only where one message is asked for
	To       polity.AgentName `json:"to"`
	Run      polity.RunID     `json:"run"`
	At       time.Time        `json:"at"` // when it was accepted
	Status   polity.Status    `json:"status"`
	Ended    time.Time        `json:"ended,omitzero"`
	Fault    *fault.Error     `json:"fault,omitempty"`
	Answer   json.RawMessage  `json:"answer,omitempty"` // where one message is asked for
	// Dead is set on one that was not done: dead, and then replayed or dropped.
	Dead string `json:"dead,omitempty"`
	By   string `json:"by,omitempty"`       // who replayed or dropped it
	Seq  uint64 `json:"position,omitempty"` // of the commit that tells it
}

// What Entry.Dead says.
const (
	Dead     = "dead"
	Replayed = "replayed"
	Dropped  = "dropped"
)

// Filter chooses messages. Empty fields choose all.
type Filter struct {
	Run          polity.RunID        `json:"run,omitempty"` // this one, with its data and its answer
	From         string              `json:"from,omitempty"`
	To           string              `json:"to,omitempty"`
	Conversation string              `json:"conversation,omitempty"`
	Performative polity.Performative `json:"performative,omitempty"`
	Text         string              `json:"text,omitempty"` // words in the message or its answer
	Since        time.Time           `json:"since,omitzero"`
	Dead         bool                `json:"dead,omitempty"`    // those that were not done, and were neither replayed nor dropped
	Waiting      bool                `json:"waiting,omitempty"` // those that have not ended
	After        uint64              `json:"after,omitempty"`   // Done.Next of the page before; 0 begins with the newest
	Limit        int                 `json:"limit,omitempty"`   // of one page; default 100
	Orgs         []string            `json:"-"`                 // only to agents of these, if there are any: a node says it for who asks
}

// Matches says whether an entry of the tail is chosen. Text, Dead and Waiting do not count there.
func (f Filter) Matches(e *Entry) bool {
	return (f.Run == "" || f.Run == e.Run) && (f.From == "" || f.From == e.Envelope.From.String()) && (f.To == "" || f.To == string(e.To)) &&
		(f.Conversation == "" || f.Conversation == e.Envelope.Conversation) && (f.Performative == "" || f.Performative == e.Envelope.Performative)
}

// Check returns nil, or fault.Invalid for what no message can have, which would choose nothing.
func (f Filter) Check() error {
	if f.Performative != "" && TypeOf(f.Performative) == "" {
		return unknownAct(f.Performative)
	}
	if f.Limit < 0 || f.Limit > ListMax {
		return fault.Invalid.New("messages: limit %d: want 1 to %d", f.Limit, ListMax)
	}
	return nil
}

// Tail asks for messages as they are accepted.
type Tail struct {
	Filter Filter        `json:"filter"`
	After  uint64        `json:"after,omitempty"` // position; 0 is from now on
	Wait   time.Duration `json:"wait,omitempty"`  // nanoseconds for the first of them, up to WaitMax
}

// Settle says what becomes of a message that was not done.
type Settle struct {
	Run polity.RunID `json:"run"`
	Do  string       `json:"do"` // Replayed or Dropped
	By  string       `json:"by,omitempty"`
}

// Asking is a message whose answers are waited for.
type Asking struct {
	Envelope Envelope `json:"envelope"`
	Join     Join     `json:"join,omitzero"`
}

// Box is what an agent was sent and has not done.
type Box struct {
	Agent   string `json:"agent"`
	Busy    int    `json:"busy"` // messages that it works on
	Waiting int    `json:"waiting"`
}

// Instances asks for the instances of an agent to be changed. Only one of both lists is said.
type Instances struct {
	Agent  polity.AgentName `json:"agent"`
	Add    []string         `json:"add,omitempty"` // names, without the agent's
	Remove []string         `json:"remove,omitempty"`
}

// InstancesMax is how many names one Instances may have.
const InstancesMax = 10_000

// Check returns nil, or fault.Invalid for what changes nothing, or too much.
func (i Instances) Check() error {
	if (len(i.Add) == 0) == (len(i.Remove) == 0) || len(i.Add)+len(i.Remove) > InstancesMax {
		return fault.Invalid.New("instances of %.80s: want 1 to %d names, to add or to remove", i.Agent, InstancesMax)
	}
	return nil
}

// Do asks for one thing to be done with messages: exactly one field is set, beside Hold.
type Do struct {
	Send      *Envelope `json:"send,omitempty"`      // Receipts
	Ask       *Asking   `json:"ask,omitempty"`       // Receipts, Answers
	List      *Filter   `json:"list,omitempty"`      // Entries, the newest first, and Next
	Tail      *Tail     `json:"tail,omitempty"`      // Entries, Next
	Settle    *Settle   `json:"settle,omitempty"`    // Receipts of a replay
	Mailboxes bool      `json:"mailboxes,omitempty"` // Boxes that hold something
	// Instances changes the instances of an agent: Count is how many that were. Without an agent nothing is changed: Counts.
	Instances *Instances `json:"instances,omitempty"`
	// Hold, with Send and Settle, has what is sent wait until its run is resumed: for a process that ends before the work is done.
	Hold bool `json:"hold,omitempty"`
}

// Reads says whether a Do changes nothing.
func (q *Do) Reads() bool {
	return q.Send == nil && q.Ask == nil && q.Settle == nil && (q.Instances == nil || q.Instances.Agent == "")
}

// Done is the answer to a Do.
type Done struct {
	Receipts []Receipt                `json:"receipts,omitempty"`
	Answers  []Envelope               `json:"answers,omitempty"`
	Entries  []Entry                  `json:"entries,omitempty"`
	Boxes    []Box                    `json:"boxes,omitempty"`
	Next     uint64                   `json:"next,omitempty"` // with Tail the position after Entries; with List where the next page begins, 0 for the end
	Count    int                      `json:"count,omitempty"`
	Counts   map[polity.AgentName]int `json:"counts,omitempty"` // of instances, by agent
}

// Answer returns what an agent answers a message when its run has ended: inform with what it gave, refuse if it was denied, failure
// with the fault if it was not done.
func Answer(e *Envelope, agent polity.AgentName, o polity.Outcome) Envelope {
	a := Envelope{
		ID: e.ID + ".answer." + string(agent), From: To(agent), To: []Address{e.From}, Performative: polity.Inform, Conversation: e.Conversation,
		Correlation: e.ID, Causation: e.ID, Priority: e.Priority, Hops: min(e.Hops+1, HopsMax), TraceParent: e.TraceParent, TraceState: e.TraceState,
		Data: o.Output,
	}
	if len(a.ID) > TextMax {
		a.ID = a.ID[len(a.ID)-TextMax:]
	}
	if o.Fault != nil && (o.Output == nil || o.Status != polity.StatusExhausted) {
		a.Performative = polity.Failure
		if o.Fault.Kind == fault.Denied {
			a.Performative = polity.Refuse
		}
		text, err := json.Marshal(o.Fault)
		if err != nil {
			panic("message: a fault that JSON cannot hold: " + err.Error())
		}
		a.Data = text
	}
	return a.Or()
}

// MarshalText writes what String does.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what ParseAddress does, and topics that are patterns, as links have them.
func (a *Address) UnmarshalText(text []byte) (err error) {
	if pattern, ok := strings.CutPrefix(string(text), string(Topic)+":"); ok {
		*a = Address{Topic, pattern}
		return polity.CheckPattern(pattern)
	}
	*a, err = ParseAddress(string(text))
	return err
}
