package polity

import (
	"encoding/json"
	"time"
)

// Performative is what a message does, in the words of FIPA's communicative acts (SC00037J).
type Performative string

// The performatives.
const (
	Request   Performative = "request"
	Query     Performative = "query"
	Agree     Performative = "agree"
	Refuse    Performative = "refuse"
	Inform    Performative = "inform"
	Failure   Performative = "failure"
	CFP       Performative = "cfp"
	Propose   Performative = "propose"
	Accept    Performative = "accept"
	Reject    Performative = "reject"
	Subscribe Performative = "subscribe"
	Notify    Performative = "notify"
)

// Message is the only thing that moves between agents: what an agent is asked arrives as one. Its fields are the attributes of a CloudEvents 1.0
// envelope and what agents need beside them.
type Message struct {
	ID           string          `json:"id"` // unique per sender; the same ID twice is one message
	From         AgentName       `json:"from"`
	To           AgentName       `json:"to"`
	Performative Performative    `json:"performative"`
	Skill        string          `json:"skill,omitempty"`
	Body         json.RawMessage `json:"body,omitempty"`
	Correlation  string          `json:"correlation,omitempty"` // the conversation
	Causation    string          `json:"causation,omitempty"`   // the message or command that caused it
	Deadline     time.Time       `json:"deadline,omitzero"`
	ReplyTo      bool            `json:"reply_required,omitempty"`
}
