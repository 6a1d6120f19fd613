package message

import (
	"encoding/json"

	"polity.run/fault"
)

// Sender reads who sent a message from what MarshalJSON wrote, and looks at nothing else of it.
func Sender(raw []byte) (Address, error) {
	var m struct {
		Source string `json:"source"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return Address{}, fault.Invalid.New("message: %w", err)
	}
	return ParseAddress(m.Source)
}
