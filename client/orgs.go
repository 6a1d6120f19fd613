package client

import (
	"context"
	"net/http"

	"polity.run"
	"polity.run/agent"
)

// Apply asks a node to install an organization, or another release of it.
type Apply struct {
	Install
	Revision *uint64 `json:"revision,omitempty"` // only if it stands at this one, 0 for not at all; nil for whatever stands
}

// Applied is the answer.
type Applied struct {
	Org     polity.Org `json:"org"` // as it stands now
	Changed bool       `json:"changed"`
}

// OrgQuery asks for installed organizations.
type OrgQuery struct {
	Name    string `json:"name,omitempty"`    // "" for all
	Release bool   `json:"release,omitempty"` // with its release; needs a Name
}

// Orgs is the answer.
type Orgs struct {
	Orgs    []polity.Org   `json:"orgs"`
	Release *agent.Release `json:"release,omitempty"`
}

// Remove asks a node to remove an organization.
type Remove struct {
	Name     string  `json:"name"`
	Revision *uint64 `json:"revision,omitempty"` // as in Apply
}

// Apply installs an organization: see engine.Engine.Apply for what comes back.
func (c *Client) Apply(ctx context.Context, q Apply) (answer Applied, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/orgs/apply", q, &answer)
	return answer, err
}

// Orgs returns installed organizations.
func (c *Client) Orgs(ctx context.Context, q OrgQuery) (answer Orgs, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/orgs/ask", q, &answer)
	return answer, err
}

// Remove removes an organization: see engine.Engine.Remove.
func (c *Client) Remove(ctx context.Context, q Remove) error {
	return c.call(ctx, http.MethodPost, "/v1/orgs/remove", q, nil)
}
