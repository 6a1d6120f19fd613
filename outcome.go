package polity

import (
	"encoding/json"
	"time"

	"polity.run/fault"
)

// Status is where a run stands.
type Status byte

// The statuses. StatusCompleted, StatusExhausted, StatusFailed and StatusCancelled are final.
const (
	StatusRunning   Status = 0
	StatusCompleted Status = 1
	StatusExhausted Status = 2 // ended at a bound, with its best effort
	StatusFailed    Status = 3
	StatusCancelled Status = 4
	// StatusStopped is a run that cannot be continued here, because what it was opened with is not to be had or its
	// decider decides otherwise than the log says. It is not lost and not final: with the right release it goes on.
	StatusStopped Status = 5
)

var statusText = [...]string{"running", "completed", "exhausted", "failed", "cancelled", "stopped"}

// String returns the status's word.
func (s Status) String() string {
	if !s.Known() {
		return "unknown"
	}
	return statusText[s]
}

// MarshalText writes the status as its word.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word.
func (s *Status) UnmarshalText(text []byte) error {
	for i, w := range statusText {
		if w == string(text) {
			*s = Status(i)
			return nil
		}
	}
	return fault.Invalid.New("status %q is unknown", text)
}

// Known says whether s is one of the statuses.
func (s Status) Known() bool { return int(s) < len(statusText) }

// Final says whether nothing more will happen to the run.
func (s Status) Final() bool { return s >= StatusCompleted && s <= StatusCancelled }

// Outcome is how a run ended.
type Outcome struct {
	Status Status `json:"status"`
	// Output comes with StatusCompleted, as the best effort with StatusExhausted, and with StatusFailed and StatusCancelled as what was done
	// until then, where the agent says so.
	Output json.RawMessage `json:"output,omitempty"`
	Fault  *fault.Error    `json:"fault,omitempty"` // with every other status
	Usage  Usage           `json:"usage"`
}

// WaitingMax is how many things a Summary says that a run waits for.
const WaitingMax = 8

// Summary is a root run at a glance.
type Summary struct {
	ID     RunID  `json:"id"`
	Agent  string `json:"agent"`
	Status Status `json:"status"`
	// Parked marks a running run that nobody works on: it waits to be asked for again.
	Parked bool `json:"parked,omitempty"`
	// Paused marks a running run in which nothing new begins until it is resumed, and says since when.
	Paused time.Time `json:"paused,omitzero"`
	// Idle marks a running run of which nothing is being done: it and those below it only wait.
	Idle bool `json:"idle,omitempty"`
	// Waiting is what the run and those below it wait for, the earliest first, as far as it is more than work that is being done; at most
	// WaitingMax of them.
	Waiting      []Waiting    `json:"waiting,omitempty"`
	Conversation string       `json:"conversation,omitempty"`
	Opened       time.Time    `json:"opened"`
	Ended        time.Time    `json:"ended,omitzero"`
	Usage        Usage        `json:"usage"`
	Fault        *fault.Error `json:"fault,omitempty"` // with StatusStopped
	// Fork says of a fork where it began.
	Fork *ForkOf `json:"fork,omitempty"`
	// Held says why the run must not be erased; "" if it may.
	Held string `json:"held,omitempty"`
}

// ForkOf is where a fork began: it took over what the log of a run tells up to an event.
type ForkOf struct {
	Run   RunID `json:"run"`
	Event int   `json:"event"` // the last that was taken over, from 1
}

// Notice is one thing that happened to a run, for people: what tail and the live view show. Notices of
// a running run are sent when what they say is durable, and may be lost to a slow reader.
type Notice struct {
	At      time.Time       `json:"at"`
	Commit  uint64          `json:"commit"` // position in the log
	Kind    string          `json:"kind"`   // opened, started, began, result, cancel, expired, finished, reconciled, signalled, paused, resumed
	Run     RunID           `json:"run"`
	Name    string          `json:"name,omitempty"`    // the command
	Attempt int             `json:"attempt,omitempty"` // of the command
	Verb    string          `json:"verb,omitempty"`    // with started
	To      string          `json:"to,omitempty"`      // with started; with signalled the signal
	Until   time.Time       `json:"until,omitzero"`    // with started: when a wait is over at the latest
	Reason  string          `json:"reason,omitempty"`  // with paused
	Agent   string          `json:"agent,omitempty"`   // with opened
	Status  string          `json:"status,omitempty"`  // with finished
	Fault   *fault.Error    `json:"fault,omitempty"`
	Usage   Usage           `json:"usage,omitzero"`
	Data    json.RawMessage `json:"data,omitempty"`   // with opened, result and finished, in a history
	Erased  bool            `json:"erased,omitempty"` // there was data, and it was erased
	// Effect, with began and result in a history, says what was done outside; nil if nothing was, and in logs of versions that did not
	// keep it.
	Effect *EffectNotice `json:"effect,omitempty"`
	// Receipt, with result, is what the effect's destination gave as proof.
	Receipt json.RawMessage `json:"receipt,omitempty"`
	// Asked, with result, says that the effect was in doubt, and that this is what its destination said when it was asked.
	Asked bool `json:"asked,omitempty"`
	// Finding, with reconciled, is what was found out about an effect after it had ended as unknown.
	Finding *Finding `json:"finding,omitempty"`
}

// EffectNotice says what a command did outside of its run.
type EffectNotice struct {
	Key     string    `json:"key"` // as its destination was given it
	Class   Effect    `json:"class"`
	Verb    string    `json:"verb"`    // ask, call or think
	To      string    `json:"to"`      // the agent, tool or model
	Since   time.Time `json:"since"`   // when it was decided; it begins no earlier
	Request string    `json:"request"` // hex: the beginning of the SHA-256 of what was asked for
}
