package polity

// Erasure says what became of a person's data: see engine.Erase.
type Erasure struct {
	Key       string  `json:"key"`                 // that was destroyed
	Runs      []RunID `json:"runs"`                // whose payloads are erased
	Cancelled []RunID `json:"cancelled,omitempty"` // of them, those that had to be cancelled for it
	Records   int     `json:"records"`             // of memories, that these runs wrote or that were concluded from what they wrote
}
