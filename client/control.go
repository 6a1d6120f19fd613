package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"polity.run"
	"polity.run/agent"
)

// Replay asks for a run to be folded again.
type Replay struct {
	// Release is whose code is asked; nil for the run's own.
	Release *agent.Release `json:"release,omitempty"`
	// Files are the contents of the files that the release pins, by hex SHA-256.
	Files map[string][]byte `json:"files,omitempty"`
}

// Replay has the node fold a run again from its log, and say where the code first decides otherwise. Nothing of the run is
// touched. It returns fault.NotFound if there is no such run.
func (c *Client) Replay(ctx context.Context, id polity.RunID, q Replay) (polity.Replay, error) {
	var answer polity.Replay
	err := c.call(ctx, http.MethodPost, runPath(id, "/replay"), q, &answer)
	return answer, err
}

// File names a file of this machine that a node, which is another process of the same user, writes or reads.
type File struct {
	Path string `json:"path"` // absolute
}

// Export has the node write a run into a new file, as far as the log tells of it now. It returns fault.Conflict if there is such
// a file, and fault.NotFound if there is no such run.
func (c *Client) Export(ctx context.Context, id polity.RunID, path string) (polity.Archive, error) {
	var answer polity.Archive
	err := c.call(ctx, http.MethodPost, runPath(id, "/export"), File{path}, &answer)
	return answer, err
}

// Import has the node take over a run from a file that was exported. It returns fault.Conflict if there is such a run, fault.Invalid for
// one that has not ended and for what is no archive, and fault.Damaged for an archive that is not whole.
func (c *Client) Import(ctx context.Context, path string) (polity.Archive, error) {
	var answer polity.Archive
	err := c.call(ctx, http.MethodPost, "/v1/import", File{path}, &answer)
	return answer, err
}

// Backup has the node write everything that its state holds into a new file, while it goes on; tell, if not nil, is told of the
// progress. It returns fault.Conflict if there is such a file, and fault.Damaged if the state is damaged.
func (c *Client) Backup(ctx context.Context, path string, tell func(polity.Progress)) (polity.Backup, error) {
	var made polity.Backup
	err := c.lines(ctx, http.MethodPost, "/v1/backup", File{path}, func(l Line) error {
		switch {
		case l.Backup != nil:
			made = *l.Backup
		case l.Progress != nil && tell != nil:
			tell(*l.Progress)
		}
		return nil
	})
	return made, err
}

// Fork asks for a run that begins with what another one's log tells up to an event, and then goes on by itself.
type Fork struct {
	// ID is the fork's; "" derives it, so that the same fork is the same run.
	ID    polity.RunID `json:"id,omitempty"`
	Event int          `json:"event"` // the last that is taken over, from 1
	// Release is whose code goes on; nil for the origin's.
	Release *agent.Release `json:"release,omitempty"`
	// Files are the contents of the files that the release pins, by hex SHA-256.
	Files   map[string][]byte `json:"files,omitempty"`
	Input   json.RawMessage   `json:"input,omitempty"`   // in place of the origin's, with event 1
	Effects bool              `json:"effects,omitempty"` // keyed and external effects may be done
	Seed    string            `json:"seed,omitempty"`    // makes otherwise equal forks different runs
}

// Fork opens a fork of a run, or finds it, and returns its ID when that is durable. It returns fault.NotFound if there is no such run,
// fault.Invalid for an event that cannot be taken over, and fault.Conflict if the release asks for something else than was answered.
func (c *Client) Fork(ctx context.Context, id polity.RunID, f Fork) (polity.RunID, error) {
	var answer Started
	err := c.call(ctx, http.MethodPost, "/v1/releases/forks/"+url.PathEscape(string(id)), f, &answer)
	return answer.ID, err
}

// Reconcile asks for what became of an effect that ended as unknown.
type Reconcile struct {
	Key string `json:"key"`
	// Verdict is what a person found out; "" asks the effect's destination.
	Verdict polity.Verdict `json:"verdict,omitempty"`
	By      string         `json:"by,omitempty"`     // with Verdict: who says so
	Reason  string         `json:"reason,omitempty"` // with Verdict: why
}

// Reconcile finds out what became of an effect, and records it. A destination that does not know either is polity.VerdictUnknown, and nothing is
// recorded. It returns fault.NotFound if there is no such effect or its destination cannot be asked, and fault.Conflict for one that did not
// end as unknown.
func (c *Client) Reconcile(ctx context.Context, q Reconcile) (polity.Finding, error) {
	var f polity.Finding
	err := c.call(ctx, http.MethodPost, "/v1/reconcile", q, &f)
	return f, err
}
