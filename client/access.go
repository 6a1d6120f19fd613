package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"polity.run"
)

// AccessKey is an API key, without its secret.
type AccessKey struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Grants  []Grant   `json:"grants"`
	By      string    `json:"by"` // who made it
	Made    time.Time `json:"made"`
	Until   time.Time `json:"until,omitzero"` // zero for ever
	Used    time.Time `json:"used,omitzero"`  // to within ten minutes
	Revoked time.Time `json:"revoked,omitzero"`
}

// Grant is a role in an organization, or everywhere for the organization "*".
type Grant struct {
	Org  string `json:"org"`
	Role string `json:"role"` // viewer, operator, approver or admin
}

// NewKey asks for an API key.
type NewKey struct {
	Name   string          `json:"name"`
	Grants []Grant         `json:"grants"`
	Life   polity.Duration `json:"life,omitempty"` // 0 for ever
}

// CreatedKey is the answer. Nobody is told the token again.
type CreatedKey struct {
	Key   AccessKey `json:"key"`
	Token string    `json:"token"`
}

// AccessKeys are all keys.
type AccessKeys struct {
	Keys []AccessKey `json:"keys"`
}

// AccessRecord is what is kept of a request that would change something.
type AccessRecord struct {
	Seq      uint64         `json:"seq"` // its place; records that were written together have the same
	At       time.Time      `json:"at"`
	Who      string         `json:"who"`
	Name     string         `json:"name"`
	Kind     string         `json:"kind"`
	Verb     string         `json:"verb"`
	Asked    string         `json:"asked"`
	Object   AccessObject   `json:"object"`
	Decision AccessDecision `json:"decision"`
	From     string         `json:"from,omitempty"`
}

// AccessObject is what a request is about.
type AccessObject struct {
	Org string `json:"org,omitempty"`
	Run string `json:"run,omitempty"`
	Key string `json:"key,omitempty"`
}

// AccessDecision is what was decided.
type AccessDecision struct {
	Allowed bool   `json:"allowed"`
	Why     string `json:"why"`
}

// AccessLog is a part of the records, in order.
type AccessLog struct {
	Records []AccessRecord `json:"records"`
}

// Keys returns all API keys, in the order of making.
func (c *Client) Keys(ctx context.Context) ([]AccessKey, error) {
	var answer AccessKeys
	err := c.call(ctx, http.MethodGet, "/v1/access", nil, &answer)
	return answer.Keys, err
}

// CreateKey makes an API key.
func (c *Client) CreateKey(ctx context.Context, q NewKey) (answer CreatedKey, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/access", q, &answer)
	return answer, err
}

// RevokeKey ends an API key, and the sessions that were begun with it.
func (c *Client) RevokeKey(ctx context.Context, id string) (answer AccessKey, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/access/"+url.PathEscape(id)+"/revoke", struct{}{}, &answer)
	return answer, err
}

// AccessLog returns up to most records after a place in the log, 0 for its beginning.
func (c *Client) AccessLog(ctx context.Context, after uint64, most int) ([]AccessRecord, error) {
	var answer AccessLog
	err := c.call(ctx, http.MethodGet, fmt.Sprintf("/v1/access/log?after=%d&limit=%d", after, most), nil, &answer)
	return answer.Records, err
}

// Link returns an address at which a browser becomes whoever this client is, once, within ten minutes.
func (c *Client) Link(ctx context.Context) (string, error) {
	var answer struct {
		Path string `json:"path"`
	}
	err := c.call(ctx, http.MethodPost, "/session/code", struct{}{}, &answer)
	return c.at.URL + answer.Path, err
}
