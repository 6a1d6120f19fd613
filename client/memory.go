package client

import (
	"context"
	"net/http"

	"polity.run/agent"
	"polity.run/memory"
)

// What is done with a memory.
const (
	MemoryAdd    = "add"
	MemorySearch = "search"
	MemoryForget = "forget"
	MemoryList   = "list"
)

// Memory asks for something about the memory of an organization, or of one of its agents.
type Memory struct {
	Do      string          `json:"do"`
	Release *agent.Release  `json:"release"` // of the organization: its name, its bounds and its embedder
	Agent   string          `json:"agent,omitempty"`
	Records []memory.Record `json:"records,omitempty"` // to add
	Query   memory.Query    `json:"query,omitzero"`
	Filter  memory.Filter   `json:"filter,omitzero"` // of what is forgotten
}

// Remembered answers a Memory.
type Remembered struct {
	Hits      []memory.Hit       `json:"hits,omitempty"`      // found
	Records   []memory.Record    `json:"records,omitempty"`   // listed
	Forgotten []memory.Forgotten `json:"forgotten,omitempty"` // listed, or what was just done
}

// Memory does something with a memory. It returns what memory.Store returns, and fault.Invalid for what it does not know.
func (c *Client) Memory(ctx context.Context, q Memory) (Remembered, error) {
	var answer Remembered
	err := c.call(ctx, http.MethodPost, "/v1/memory", q, &answer)
	return answer, err
}
