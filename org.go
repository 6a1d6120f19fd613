package polity

import "time"

// Org is an organization that is installed in a node.
type Org struct {
	Name     string      `json:"name"`
	Revision uint64      `json:"revision"` // one more with each change; 0: it was installed before these were counted
	Release  string      `json:"release"`  // digest of its release
	Main     string      `json:"main,omitempty"`
	Agents   []AgentName `json:"agents"`
	Applied  time.Time   `json:"applied,omitzero"`
	By       string      `json:"by,omitempty"` // who applied it
}
