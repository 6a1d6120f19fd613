package polity

import (
	"encoding/json"
	"time"
)

// Question is what a person is asked and has not answered.
type Question struct {
	Key    string          `json:"key"`   // the effect's key; what an answer names
	Run    RunID           `json:"run"`   // the run that asks
	Agent  AgentName       `json:"agent"` // the person, as the organization calls them
	From   AgentName       `json:"from,omitempty"`
	Skill  string          `json:"skill,omitempty"`
	Ask    string          `json:"ask,omitempty"`
	Input  json.RawMessage `json:"input,omitempty"`
	Output json.RawMessage `json:"output,omitempty"` // JSON Schema of the answer; empty accepts any
	Since  time.Time       `json:"since"`            // when it was asked first
	Until  time.Time       `json:"until,omitzero"`   // when its time is over, if the run does not end before
	// Approval is what is to be let go, if that is what is asked. The answer is then a Decision.
	Approval *Approval `json:"approval,omitempty"`
	Org      string    `json:"org,omitempty"` // the organization whose run asks; "" if its release is not to be had
}
