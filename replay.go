package polity

import "time"

// Replay is what folding a run again from its log found.
type Replay struct {
	Run RunID `json:"run"`
	// Release is the hex SHA-256 of the release whose code was asked; "" for the one that the run was opened with.
	Release  string `json:"release,omitempty"`
	Status   Status `json:"status"`   // of the run; one that is not final may have more events by now
	Events   int    `json:"events"`   // that were folded: up to the first difference, or all
	Commands int    `json:"commands"` // that were decided, and are the same
	// Difference is where the code first decides something else than the log tells; nil for nowhere.
	Difference *Difference `json:"difference,omitempty"`
}

// Difference is the first place where code and log do not agree.
type Difference struct {
	Event int       `json:"event"` // its number in the run's history, from 1
	At    time.Time `json:"at"`
	Run   RunID     `json:"run"` // the run, or the one below it, that decides
	Log   string    `json:"log"` // what the log has, in words
	Now   string    `json:"now"` // what the code decides, in words
}
