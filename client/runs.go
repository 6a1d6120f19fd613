package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"polity.run"
)

// Runs asks for a page of runs: those that a filter chooses, at most limit of them (0 for the default), behind the page whose Next is after.
func (c *Client) Runs(ctx context.Context, filter, after string, limit int) (page Page[polity.RunRow], err error) {
	q := url.Values{}
	if filter != "" {
		q.Set("q", filter)
	}
	if after != "" {
		q.Set("after", after)
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	err = c.call(ctx, http.MethodGet, "/v1/runs?"+q.Encode(), nil, &page)
	return page, err
}

// Run tells everything of a run, or of one below a root, or returns fault.NotFound.
func (c *Client) Run(ctx context.Context, id polity.RunID) (r Run, err error) {
	err = c.call(ctx, http.MethodGet, runPath(id, ""), nil, &r)
	return r, err
}

// Steps asks for a page of a run's timeline: the steps with a number above after.
func (c *Client) Steps(ctx context.Context, id polity.RunID, after int) (page Page[polity.Step], err error) {
	err = c.call(ctx, http.MethodGet, runPath(id, "/steps?after="+strconv.Itoa(after)), nil, &page)
	return page, err
}

// Organization tells who has to do with whom in an installed organization, or returns fault.NotFound.
func (c *Client) Organization(ctx context.Context, name string) (o OrgDetail, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/orgs/"+url.PathEscape(name), nil, &o)
	return o, err
}

// Decide answers an approval. It returns fault.Conflict if the decision is for another action than the one that is asked about.
func (c *Client) Decide(ctx context.Context, key string, d polity.Decision) error {
	return c.call(ctx, http.MethodPost, "/v1/questions/"+url.PathEscape(key)+"/answer", Reply{Decision: &d}, nil)
}
