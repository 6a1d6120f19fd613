package client

import (
	"context"
	"encoding/json"
	"net/http"

	"polity.run/coordinate"
)

// What is done with the facts by which agents coordinate.
const (
	CoordinateCall    = "call"    // one of their tools, by hand
	CoordinateList    = "list"    // locks and leaders
	CoordinateRelease = "release" // a lock, by force
)

// Coordination asks for something about the facts by which agents coordinate.
type Coordination struct {
	Do  string `json:"do"`
	Org string `json:"org,omitempty"` // whose; "" with list: of all

	Kind coordinate.Kind `json:"kind,omitempty"` // of what is released
	Name string          `json:"name,omitempty"` // of what is released

	Tool  string          `json:"tool,omitempty"`  // that is called
	Agent string          `json:"agent,omitempty"` // for whom
	Key   string          `json:"key,omitempty"`   // the same key is the same call
	Input json.RawMessage `json:"input,omitempty"`
}

// Coordinated answers a Coordination.
type Coordinated struct {
	Locks  []coordinate.Lock `json:"locks,omitempty"`  // listed, or the one that was released
	Output json.RawMessage   `json:"output,omitempty"` // of the tool
}

// Coordinate does something with the facts by which agents coordinate. It returns what coordinate.Store returns, fault.NotFound for another
// tool, and fault.Invalid for what it does not know.
func (c *Client) Coordinate(ctx context.Context, q Coordination) (Coordinated, error) {
	var answer Coordinated
	err := c.call(ctx, http.MethodPost, "/v1/coordinate", q, &answer)
	return answer, err
}
