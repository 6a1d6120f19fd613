// Package client talks to a running node of this machine: it lists its runs, starts, follows,
// resumes and cancels them.
//
// It exists because one process at a time serves a state folder, and every other one that wants
// something of it has to ask. The life of a client:
//
//	Open(state folder) -> List, Find, Start, Resume, Tail, Wait, Cancel ... -> nothing to close
//
// Faults come back as the node returned them, so that errors.Is(err, fault.NotFound) holds here too.
// A run that is started from a context with a place in a trace (package trace) continues that trace.
// A node that cannot be reached is fault.Unavailable: it may have ended, and the state folder may be free.
package client

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"time"

	"polity.run"
	"polity.run/fault"
)

// The limits of what a node is asked and answers.
const (
	AnswerMax = 256 << 20        // bytes of an answer, and of one line of a stream
	idleMax   = 40 * time.Second // a node that says nothing for as long is taken to be gone
	dialMax   = 5 * time.Second
)

// Client talks to one node. Its methods are safe for concurrent use.
type Client struct {
	at   Address
	http *http.Client
}

// Open returns a client of the node that serves the state folder. It asks the node nothing yet. It
// returns fault.NotFound if no node says there how it is reached, fault.Denied if others than the
// user could have read or written that, and fault.Damaged if it cannot be understood.
func Open(stateDir string) (*Client, error) {
	at, err := readAddress(stateDir)
	if err != nil {
		return nil, err
	}
	return &Client{at: at, http: &http.Client{Transport: &http.Transport{
		Proxy:                 nil, // the node is on this machine, whatever the environment says
		DialContext:           (&net.Dialer{Timeout: dialMax}).DialContext,
		ResponseHeaderTimeout: idleMax,
		DisableCompression:    true,
	}}}, nil
}

// PID is the process ID of the node.
func (c *Client) PID() int { return c.at.PID }

// Alive returns nil if the node answers.
func (c *Client) Alive(ctx context.Context) error {
	var answer struct {
		PID int `json:"pid"`
	}
	return c.call(ctx, http.MethodGet, "/v1", nil, &answer)
}

// Ready returns nil if the node would admit a new run and is not about to stop; else fault.Unavailable.
func (c *Client) Ready(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "/readyz", nil, new(struct {
		Status string `json:"status"`
	}))
}

// List returns all root runs in the order of opening.
func (c *Client) List(ctx context.Context) ([]polity.Summary, error) {
	var answer Runs
	err := c.call(ctx, http.MethodGet, "/v1/summaries", nil, &answer)
	return answer.Runs, err
}

// Find returns one root run's summary, or fault.NotFound.
func (c *Client) Find(ctx context.Context, id polity.RunID) (polity.Summary, error) {
	var s polity.Summary
	err := c.call(ctx, http.MethodGet, runPath(id, "/summary"), nil, &s)
	return s, err
}

// History gives everything that the log tells of a run, in order, and ends early with each's error.
func (c *Client) History(ctx context.Context, id polity.RunID, each func(polity.Notice) error) error {
	return c.stream(ctx, runPath(id, "/history"), each)
}

// Tail gives everything that happened to a run and then what happens to it, in order and without
// Data, until the run has ended or is stopped; it ends early with each's error. Only notices of what
// was started may be missing or come late.
func (c *Client) Tail(ctx context.Context, id polity.RunID, each func(polity.Notice) error) error {
	return c.stream(ctx, runPath(id, "/tail"), each)
}

// Wait returns how a run ended, as soon as it has. It returns the reason as an error if the run is stopped.
func (c *Client) Wait(ctx context.Context, id polity.RunID) (polity.Outcome, error) {
	for {
		var o *polity.Outcome
		if err := c.call(ctx, http.MethodGet, runPath(id, "/wait"), nil, &o); err != nil {
			return polity.Outcome{}, err
		}
		if o != nil { // else it runs still
			return *o, nil
		}
	}
}

// Cancel asks a run and everything below it to end; what can be undone is undone first.
func (c *Client) Cancel(ctx context.Context, id polity.RunID, reason string) error {
	return c.call(ctx, http.MethodPost, runPath(id, "/cancel"), Cancellation{Reason: reason}, nil)
}

// Kill ends a run and everything below it without undoing anything, also while it undoes.
func (c *Client) Kill(ctx context.Context, id polity.RunID, reason string) error {
	return c.call(ctx, http.MethodPost, runPath(id, "/cancel"), Cancellation{Reason: reason, Now: true}, nil)
}

// Questions returns what people are asked by running runs, the oldest first, and at most 10,000. With runs it is what those and the ones below them ask.
func (c *Client) Questions(ctx context.Context, of ...polity.RunID) ([]polity.Question, error) {
	path := "/v1/questions"
	for i, id := range of {
		path += []string{"?", "&"}[min(i, 1)] + "run=" + url.QueryEscape(string(id))
	}
	var answer Page[polity.Question]
	err := c.call(ctx, http.MethodGet, path, nil, &answer)
	return answer.Items, err
}

// Answer answers a question. It returns fault.NotFound if nobody asks it, and fault.Invalid for an answer that is not accepted.
func (c *Client) Answer(ctx context.Context, key string, answer json.RawMessage) error {
	return c.call(ctx, http.MethodPost, "/v1/questions/"+url.PathEscape(key)+"/answer", Reply{Answer: answer}, nil)
}

// Install has the node keep a release, and the schemas of its topics, and if that is asked for give its agents addresses. It returns fault.Invalid if something in the release does not fit the node, and
// fault.Conflict if it would break who relies on a registered schema.
func (c *Client) Install(ctx context.Context, q Install) (answer Installed, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/releases", q, &answer)
	return answer, err
}

// Start opens a run, or finds it, and returns its ID when that is durable.
func (c *Client) Start(ctx context.Context, q Request) (polity.RunID, error) {
	var answer Started
	err := c.call(ctx, http.MethodPost, "/v1/releases/runs", q, &answer)
	return answer.ID, err
}

// Resume has the node go on with a run that nobody works on; one that is not parked stays as it is. It returns
// fault.NotFound if there is no such run, and the reason if it is stopped.
func (c *Client) Resume(ctx context.Context, id polity.RunID) error {
	return c.call(ctx, http.MethodPost, runPath(id, "/resume"), struct{}{}, nil)
}

// runPath is the path of a run. The slashes in a child's ID are escaped, so that it stays one segment.
func runPath(id polity.RunID, rest string) string {
	return "/v1/runs/" + url.PathEscape(string(id)) + rest
}

// unreachable words why nothing was heard of the node.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		if k := fault.Of(context.Cause(ctx)).Kind; k != fault.Internal {
			return k.New("client: ask %s: %w", c.Name(), context.Cause(ctx))
		}
		return fault.Cancelled.New("client: ask %s: %w", c.Name(), context.Cause(ctx))
	}
	return fault.Unavailable.New("client: %s cannot be reached: %w", c.Name(), err)
}
