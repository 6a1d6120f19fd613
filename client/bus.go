package client

import (
	"context"
	"net/http"

	"polity.run"
)

// What is done with the door for agents in other processes.
const (
	BusAdmit   = "admit"
	BusRevoke  = "revoke"
	BusAgents  = "agents"
	BusRefused = "refused"
	BusRights  = "rights"
)

// Bus asks for something about agents in other processes.
type Bus struct {
	Do    string           `json:"do"`
	Org   string           `json:"org,omitempty"`   // of the agent; "" for the only one
	Agent polity.AgentName `json:"agent,omitempty"` // to admit or revoke, "" for operators; or whose rights
	Key   string           `json:"key,omitempty"`   // to admit: the public half
	Life  polity.Duration  `json:"life,omitempty"`  // to admit: default 1h
	After uint64           `json:"after,omitempty"` // refusals from there on
	Most  int              `json:"most,omitempty"`  // of them; default 100, at most 1000
}

// OnBus answers a Bus.
type OnBus struct {
	URL      string            `json:"url,omitempty"` // where agents connect
	Admitted *polity.Admission `json:"admitted,omitempty"`
	Revoked  int               `json:"revoked,omitempty"` // keys
	Agents   []polity.Presence `json:"agents,omitempty"`
	Refused  []polity.Refusal  `json:"refused,omitempty"` // in order
	Rights   string            `json:"rights,omitempty"`  // as nats-server's configuration has them
}

// Bus does something with the door for agents in other processes. It returns fault.Unavailable if the node has none.
func (c *Client) Bus(ctx context.Context, q Bus) (OnBus, error) {
	var answer OnBus
	err := c.call(ctx, http.MethodPost, "/v1/bus", q, &answer)
	return answer, err
}
