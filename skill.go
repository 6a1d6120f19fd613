package polity

import "encoding/json"

// Skill is something an agent declares that it can do. What is asked of it is checked against
// Input and what it answers against Output, both ways and at every door.
type Skill struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	// Input and Output are JSON Schemas (draft 2020-12); empty means any JSON value.
	Input  json.RawMessage `json:"input,omitempty"`
	Output json.RawMessage `json:"output,omitempty"`
	// Type is the registered type that Input is of, as orders.placed.v3; "" is what is registered for the skill, if anything is.
	Type string `json:"type,omitempty"`
	// Reads are the versions of it that are read, as in "1-3"; "" is all up to the one that Input is.
	Reads string `json:"reads,omitempty"`
	// Undo is how what it did is undone; nil if it leaves nothing behind, or nobody can. Patterns hub and sequence undo.
	Undo *Undo `json:"undo,omitempty"`
	// Approve is who has to let each use of it go that an organization makes; nil for nobody.
	Approve *Approver `json:"approve,omitempty"`
	// Arrival says what becomes of a message of a conversation whose run before it has not ended; "" is ArrivalReject.
	Arrival Arrival `json:"arrival,omitempty"`
	// Subject is the field of the input that says whose data a root run holds, which is then enciphered with that person's key; "" for none.
	Subject string `json:"subject,omitempty"`
}

// Undo is how what a skill did is undone: by another skill of the same agent, which must do no harm if it is asked twice, or if nothing was done.
type Undo struct {
	Skill string `json:"skill"`
	// Input is what the skill is asked with. A text such as $input.trip stands for a value of what was asked, $output.seat for one of what was
	// answered. Empty for a saga.Brief.
	Input json.RawMessage `json:"input,omitempty"`
}

// Stance is which side of the question a claim supports.
type Stance string

// The stances.
const (
	For     Stance = "for"
	Against Stance = "against"
	Neutral Stance = "neutral"
)

// Severity says how much a claim weighs.
type Severity string

// The severities, heaviest first.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
	Info     Severity = "info"
)

// Weight orders severities: Critical is 4, Info and anything else 0.
func (s Severity) Weight() int {
	switch s {
	case Critical:
		return 4
	case High:
		return 3
	case Medium:
		return 2
	case Low:
		return 1
	default:
		return 0
	}
}

// Claim is a statement with what supports it. A claim without evidence is an opinion, and is
// shown as such.
type Claim struct {
	Text     string     `json:"text"`
	Stance   Stance     `json:"stance"`
	Severity Severity   `json:"severity"`
	Evidence []Evidence `json:"evidence,omitempty"`
}

// Evidence is a place that can be looked at again.
type Evidence struct {
	File string `json:"file,omitempty"` // slash-separated, relative to the folder under review
	Line int    `json:"line,omitempty"` // from 1; 0 for the file as a whole
	Text string `json:"text,omitempty"` // the line as it stood, without surrounding white space
	// Missing marks evidence of absence: File is what was looked for and is not there.
	Missing bool `json:"missing,omitempty"`
	// Call is the effect key of the tool call that found it. The agent's decider fills it in.
	Call string `json:"call,omitempty"`
}

// Report is what a reviewing tool or agent answers.
type Report struct {
	Summary string  `json:"summary,omitempty"`
	Claims  []Claim `json:"claims"`
	// Notes say what could not be looked at and why.
	Notes []string `json:"notes,omitempty"`
}
