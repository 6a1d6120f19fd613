package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"polity.run"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/access"
	"polity.run/internal/gateway/rest"
	"polity.run/message"
)

const (
	connectMax  = 5 * time.Second       // a node that begins or ends is waited for this long
	connectStep = 50 * time.Millisecond // between two tries
)

// node is what serves the state folder: an engine in this process, or another process.
type node interface {
	List(ctx context.Context) ([]polity.Summary, error)
	Find(ctx context.Context, id polity.RunID) (polity.Summary, error)
	History(ctx context.Context, id polity.RunID, each func(polity.Notice) error) error
	Tail(ctx context.Context, id polity.RunID, each func(polity.Notice) error) error
	Wait(ctx context.Context, id polity.RunID) (polity.Outcome, error)
	Cancel(ctx context.Context, id polity.RunID, reason string) error
	Kill(ctx context.Context, id polity.RunID, reason string) error
	Install(ctx context.Context, q client.Install) (client.Installed, error)
	Start(ctx context.Context, q client.Request) (polity.RunID, error)
	Resume(ctx context.Context, id polity.RunID) error
	Pause(ctx context.Context, id polity.RunID, reason string) error
	Signal(ctx context.Context, id polity.RunID, name, signalID string, version int, data json.RawMessage) error
	Publish(ctx context.Context, topic, id string, version int, data json.RawMessage) error
	Topics(ctx context.Context, q polity.TopicsRequest) (polity.TopicsAnswer, error)
	Enlist(ctx context.Context, q client.Install) error
	Messages(ctx context.Context, q message.Do) (message.Done, error)
	Questions(ctx context.Context) ([]polity.Question, error)
	Answer(ctx context.Context, key string, answer json.RawMessage) error
	Memory(ctx context.Context, q client.Memory) (client.Remembered, error)
	Coordinate(ctx context.Context, q client.Coordination) (client.Coordinated, error)
	Schemas(ctx context.Context, q client.SchemaQuery) (client.Subjects, error)
	Hold(ctx context.Context, id polity.RunID, reason string) error
	Release(ctx context.Context, id polity.RunID, reason string) error
	Erase(ctx context.Context, q client.Erase) (polity.Erasure, error)
	Delete(ctx context.Context, id polity.RunID, reason string) (int, error)
	Replay(ctx context.Context, id polity.RunID, q client.Replay) (polity.Replay, error)
	Fork(ctx context.Context, id polity.RunID, q client.Fork) (polity.RunID, error)
	Reconcile(ctx context.Context, q client.Reconcile) (polity.Finding, error)
	Export(ctx context.Context, id polity.RunID, path string) (polity.Archive, error)
	Import(ctx context.Context, path string) (polity.Archive, error)
	Apply(ctx context.Context, q client.Apply) (client.Applied, error)
	Orgs(ctx context.Context, q client.OrgQuery) (client.Orgs, error)
	Remove(ctx context.Context, q client.Remove) error
	Keys(ctx context.Context) ([]client.AccessKey, error)
	CreateKey(ctx context.Context, q client.NewKey) (client.CreatedKey, error)
	RevokeKey(ctx context.Context, id string) (client.AccessKey, error)
	AccessLog(ctx context.Context, after uint64, most int) ([]client.AccessRecord, error)
	Bus(ctx context.Context, q client.Bus) (client.OnBus, error)
	Lookup(ctx context.Context, q polity.Lookup) (polity.Found, error)
	RebuildView(ctx context.Context) error
	Retain(ctx context.Context, q polity.Retain, tell func(polity.Progress)) (polity.Retained, error)
	RestoreArchived(ctx context.Context, id polity.RunID, path string) (polity.Restored, error)
	VerifyView(ctx context.Context, tell func(polity.Progress)) (polity.ViewCheck, error)
	Backup(ctx context.Context, path string, tell func(polity.Progress)) (polity.Backup, error)
	Close() error
}

var (
	_ node = (*local)(nil)
	_ node = (*remote)(nil)
)

// local is an engine in this process. It goes on with no run by itself.
type local struct {
	*engine.Engine
	door   *rest.Server // nil unless others are served
	served chan error
}

func (l *local) Tail(ctx context.Context, id polity.RunID, each func(polity.Notice) error) error {
	return rest.Follow(ctx, l.Engine, id, each)
}

// Install hides the engine's, which gives a digest.
func (l *local) Install(_ context.Context, q client.Install) (client.Installed, error) {
	return rest.Install(l.Engine, q)
}

func (l *local) Start(ctx context.Context, q client.Request) (polity.RunID, error) {
	return rest.Start(ctx, l.Engine, q)
}

func (l *local) Memory(ctx context.Context, q client.Memory) (client.Remembered, error) {
	return rest.Memory(ctx, l.Engine, q)
}

// Enlist hides the engine's, which takes what is stored.
func (l *local) Enlist(ctx context.Context, q client.Install) error {
	return rest.Enlist(ctx, l.Engine, q)
}

// Messages only keeps what is sent, as long as nobody else is served: this process ends before the work is done.
func (l *local) Messages(ctx context.Context, q message.Do) (message.Done, error) {
	q.Hold = l.door == nil && q.Ask == nil
	return l.Engine.Messages(ctx, q)
}

// Coordinate hides the engine's, which calls tools alone.
func (l *local) Coordinate(ctx context.Context, q client.Coordination) (client.Coordinated, error) {
	return rest.Coordinate(ctx, l.Engine, q)
}

// Schemas hides the engine's, which lists alone.
func (l *local) Schemas(ctx context.Context, q client.SchemaQuery) (client.Subjects, error) {
	return rest.Schemas(ctx, l.Engine, q)
}

// owned is a context in which the one who asks is the user whose process this is.
func owned(ctx context.Context) context.Context {
	return access.With(ctx, access.TheOwner(userName()), nil)
}

func userName() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "owner"
}

// Apply hides the engine's, which takes what is stored.
func (l *local) Apply(ctx context.Context, q client.Apply) (client.Applied, error) {
	return rest.Apply(owned(ctx), l.Engine, q)
}

// Orgs hides the engine's, which lists alone.
func (l *local) Orgs(ctx context.Context, q client.OrgQuery) (client.Orgs, error) {
	return rest.Orgs(owned(ctx), l.Engine, q)
}

// Remove hides the engine's.
func (l *local) Remove(ctx context.Context, q client.Remove) error {
	return l.Engine.Remove(ctx, q.Name, q.Revision, userName())
}

func (l *local) Keys(ctx context.Context) ([]client.AccessKey, error) { return rest.Keys(ctx, l.Engine) }

func (l *local) CreateKey(ctx context.Context, q client.NewKey) (client.CreatedKey, error) {
	return rest.CreateKey(owned(ctx), l.Engine, q)
}

func (l *local) RevokeKey(ctx context.Context, id string) (client.AccessKey, error) {
	return rest.RevokeKey(ctx, l.Engine, id)
}

func (l *local) AccessLog(ctx context.Context, after uint64, most int) ([]client.AccessRecord, error) {
	return rest.AccessLog(ctx, l.Engine, after, most)
}

// Answer hides the engine's, which asks the context who answers.
func (l *local) Answer(ctx context.Context, key string, answer json.RawMessage) error {
	return l.Engine.Answer(owned(ctx), key, answer)
}

func (l *local) Bus(ctx context.Context, q client.Bus) (client.OnBus, error) {
	return rest.Bus(ctx, l.Engine, q)
}

// Erase hides the engine's.
func (l *local) Erase(ctx context.Context, q client.Erase) (polity.Erasure, error) {
	return l.Engine.Erase(ctx, q.Subject, q.Reason, q.Cancel)
}

func (l *local) Replay(ctx context.Context, id polity.RunID, q client.Replay) (polity.Replay, error) {
	return rest.Replay(ctx, l.Engine, id, q)
}

func (l *local) Fork(ctx context.Context, id polity.RunID, q client.Fork) (polity.RunID, error) {
	return rest.Fork(ctx, l.Engine, id, q)
}

// Reconcile hides the engine's, which is asked in its own words.
func (l *local) Reconcile(ctx context.Context, q client.Reconcile) (polity.Finding, error) {
	return rest.Reconcile(ctx, l.Engine, q)
}

// serve opens the door for other processes until Close.
func (l *local) serve(a *app) {
	door, err := rest.Open(l.Engine, a.logger())
	if err != nil { // the run itself needs none
		a.screen.say("note: other terminals cannot follow this run: %s", clean(err.Error()))
		return
	}
	l.begin(door)
}

// begin lets others in by a door until Close.
func (l *local) begin(door *rest.Server) {
	l.door, l.served = door, make(chan error, 1)
	go func() { l.served <- door.Run(context.Background()) }()
}

func (l *local) Close() error {
	var err error
	if l.door != nil {
		err = l.door.Close()
		err = errors.Join(err, <-l.served)
	}
	return errors.Join(err, l.Engine.Close())
}

// remote is another process.
type remote struct{ *client.Client }

func (remote) Close() error { return nil }

// connect returns the node that serves the state folder, or becomes it. A process that takes the folder at this
// moment, or gives it back, is waited for.
func (a *app) connect(ctx context.Context) (node, error) {
	dir, err := a.stateDir()
	if err != nil {
		return nil, err
	}
	deadline := time.NewTimer(connectMax)
	defer deadline.Stop()
	step := time.NewTicker(connectStep)
	defer step.Stop()
	for {
		e, busy := engine.Open(ctx, engine.Config{State: dir, Sync: engine.Sync(a.sync.value), Park: true, Archive: a.archives, Retain: true, Log: a.logger(), Wrap: a.wrap, Telemetry: true, Version: programVersion(), ViewDSN: a.dsn})
		if busy == nil {
			return &local{Engine: e}, nil
		}
		if !errors.Is(busy, fault.Conflict) {
			return nil, busy
		}
		if a.wrap != nil {
			return nil, fault.Conflict.New("%w; --record and --replay need a state folder of their own: name one with --state", busy)
		}
		c, err := ask(ctx, dir)
		if err == nil {
			return &remote{c}, nil
		}
		if !errors.Is(err, fault.NotFound) && !errors.Is(err, fault.Unavailable) && !errors.Is(err, fault.Unauthenticated) {
			return nil, err
		}
		select {
		case <-step.C:
		case <-deadline.C:
			return nil, fault.Conflict.New("%w, which does not answer: %w", busy, err)
		case <-ctx.Done():
			return nil, fault.Cancelled.New("connect: %w", context.Cause(ctx))
		}
	}
}

// ask returns a client of the process that serves the folder, if it answers.
func ask(ctx context.Context, dir string) (*client.Client, error) {
	c, err := client.Open(dir)
	if err != nil {
		return nil, err
	}
	return c, c.Alive(ctx)
}

// existing is connect for commands that only look: they do not make a state folder.
func (a *app) existing(ctx context.Context) (node, error) {
	dir, err := a.stateDir()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "store")); errors.Is(err, fs.ErrNotExist) {
		return nil, fault.NotFound.New("nothing ran yet with the state folder %s", dir)
	}
	return a.connect(ctx)
}

// find returns the run that an ID, or the beginning of one, means. A child is found by its root.
func find(ctx context.Context, n node, text string) (polity.Summary, polity.RunID, error) {
	id := polity.RunID(text)
	s, err := n.Find(ctx, id.Root())
	if err == nil || !errors.Is(err, fault.NotFound) {
		return s, id, err
	}
	all, err := n.List(ctx)
	if err != nil {
		return polity.Summary{}, "", err
	}
	var found []polity.Summary
	known := make([]string, len(all))
	for i, s := range all {
		known[i] = string(s.ID)
		if begins(s.ID, id.Root()) {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 1:
		return found[0], found[0].ID + id[len(id.Root()):], nil
	case 0:
		return polity.Summary{}, "", fault.NotFound.New("there is no run %q%s", text, suggestRun(text, known))
	default:
		return polity.Summary{}, "", fault.Invalid.New("%q is the beginning of %d runs, as of %s and %s; write more of it",
			text, len(found), found[0].ID, found[1].ID)
	}
}

// begins says whether an ID begins with the text, which may leave out the partition.
func begins(id, text polity.RunID) bool {
	if text == "" {
		return false
	}
	has := func(whole polity.RunID) bool { return len(whole) >= len(text) && whole[:len(text)] == text }
	for i := range id {
		if id[i] == '-' {
			return has(id) || has(id[i+1:])
		}
	}
	return has(id)
}

// shortMin is the least of an ID that is written where it is shortened: the partition and six more, as in 0-mfrggz.
const shortMin = 8

// shortID returns the beginning of an ID by which find finds it among all runs.
func shortID(id polity.RunID, all []polity.Summary) string {
	n := min(shortMin, len(id))
	for _, s := range all {
		for s.ID != id && n < len(id) && begins(s.ID, id[:n]) {
			n++
		}
	}
	return string(id[:n])
}

// suggestRun words which run could have been meant: a mistyped abbreviation is compared with as much of each ID.
func suggestRun(text string, known []string) string {
	short := make([]string, len(known))
	for i, k := range known {
		short[i] = k[:min(len(k), len(text))]
	}
	near := fault.Nearest(text, short)
	for i := range short {
		if near != "" && short[i] == near {
			return fmt.Sprintf("; did you mean %q?", known[i])
		}
	}
	return "; see: polity runs list"
}
