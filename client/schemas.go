package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"polity.run/contract"
)

// SchemaQuery asks for subjects of the registry of schemas, or for one more version of one.
type SchemaQuery struct {
	Names    []string               `json:"names,omitempty"` // that are wanted; none: all
	Register *contract.Registration `json:"register,omitempty"`
}

// Subjects answers a SchemaQuery: what was asked for, or the subject that was registered.
type Subjects struct {
	Subjects []contract.Subject `json:"subjects"`
}

// Schemas asks for subjects or registers a version. It returns what contract.Store returns.
func (c *Client) Schemas(ctx context.Context, q SchemaQuery) (Subjects, error) {
	var answer Subjects
	if q.Register == nil {
		path := "/v1/schemas"
		if len(q.Names) > 0 {
			path += "?name=" + url.QueryEscape(strings.Join(q.Names, ","))
		}
		var page Page[contract.Subject]
		err := c.call(ctx, http.MethodGet, path, nil, &page)
		return Subjects{Subjects: page.Items}, err
	}
	err := c.call(ctx, http.MethodPost, "/v1/schemas", q, &answer)
	return answer, err
}
