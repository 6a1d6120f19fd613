// Package engine runs Polity inside a Go program: it composes one node out of its parts, starts
// them upward and stops them downward.
//
// It exists so that a dozen lines are enough:
//
//	e, err := engine.Open(ctx, engine.Config{State: dir, Agents: []*agent.Agent{greeter}})
//	defer e.Close()
//	out, err := e.Run(ctx, engine.Request{Agent: "greeter", Input: in})
//
// A run that was opened is durable: when the program dies in the middle, the next Open goes on where the log
// ends.
package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/internal/journal"
	"polity.run/internal/keyring"
	"polity.run/internal/outside"
	"polity.run/internal/run"
	"polity.run/internal/sandbox"
	"polity.run/internal/telemetry"
	"polity.run/model"
	"polity.run/tool"
	"polity.run/trace"
)

// Sync says when a commit is safe.
type Sync string

// The ways to sync.
const (
	SyncDisk Sync = "disk" // survives a power cut; the default
	SyncOS   Sync = "os"   // survives a killed process, not a power cut; faster
)

// Config says what a node is made of. The zero value is a node on the default state folder that knows the
// built-in tools and models.
type Config struct {
	// State is the folder that holds everything; default StateDir(). One process serves it at a time.
	State string
	Sync  Sync // default SyncDisk
	// NATS is where the log and all other streams are, in place of a server in this process; then Sync is about the state folder alone, which still holds
	// documents, keys and caches. See CheckNATS.
	NATS *NATS
	// Unenforced has the node start though the server of NATS lets in somebody who gets past all links.
	Unenforced bool
	// Agents are the Go agents that manifests may use, and that requests without a release go to.
	Agents []*agent.Agent
	Tools  []tool.Tool   // beside the built-in ones
	Models []model.Model // beside quote
	// Wrap, if set, is put around every model, and WrapTool around every tool, as to record, replay or disturb them. They keep the
	// name and the specification of what they are given.
	Wrap     func(model.Model) model.Model
	WrapTool func(tool.Tool) tool.Tool
	// Live, if set, is given a model's words as they come, from many goroutines. They are lossy: a repeated attempt says them again.
	Live func(run polity.RunID, command, text string)
	// Park leaves unfinished runs of an earlier process alone until they are opened again.
	Park bool
	// View has the node's view made from the start on; else it is when somebody asks for something of it.
	View bool
	// Archive is the folder for archives of finished runs; default the folder archive in State. Other nodes must not use it.
	Archive string
	// KeepLog keeps the whole log, until Engine.Trim is called. Without it a node with Retain drops the log's beginning when much of it is only about runs that were
	// archived or deleted.
	KeepLog bool
	// Retain has old runs archived or deleted as their releases say, some minutes after the start and then about once an hour. See Engine.Retain.
	Retain bool
	// ViewDSN is the PostgreSQL database that the view lies in, as in postgres://user@host/database; "" for a file in the state folder. The node has a
	// schema of its own there, unless the DSN names one with search_path, and goes on while the server cannot be reached.
	ViewDSN string
	// Now is the clock of runs, for tests that do not wait for what takes days; default time.Now. When it jumps forward, call Wake.
	Now func() time.Time
	// CheckpointEvery is how many bytes of log there are between two checkpoints, which a start reads in place of the log; default 32 MiB, or as many as the
	// last one had if that is more.
	CheckpointEvery uint64
	// Whole reads the whole log before it serves, and uses no checkpoint: every run that has not ended is held against the code of now, and every
	// commit against the one before it. Otherwise both is done later: a run when it is woken, the log behind the checkpoint while the node serves.
	Whole bool
	// Door lets agents in other processes in; nil: what they are asked waits.
	Door *Door
	Log  *slog.Logger // default: nothing is logged
	// Telemetry exports traces and metrics to where the variables OTEL_* of the environment say, if they do: see Engine.Metrics too.
	Telemetry bool
	Version   string // of the program, for telemetry
}

// LogHandler returns a handler that adds to each line which run, org, agent, step, attempt and trace it is about, and hands it to next. Config.Log has
// it already; a program's own logger needs it for what its tools and agents write with the context that they are given.
func LogHandler(next slog.Handler) slog.Handler { return journal.Handler(next) }

// Digest names a release: the SHA-256 of its JSON.
type Digest = run.Digest

// Engine is a running node. Its methods are safe for concurrent use.
type Engine struct {
	state   string
	lock    *stateLock
	bus     *bus.Bus
	log     *bus.Log
	blobs   *run.Blobs
	keys    *keyring.Ring
	catalog *catalog
	part    *run.Partition
	views   views
	topics  *stream
	gate    *outside.Gate // nil without Config.Door
	audit   *outside.Audit
	orgs    orgs
	live    *live
	answers *answers
	doors   doors
	figures figures

	dropping sync.RWMutex // held while the log's beginning is dropped, and read-locked by who reads the state's files
	old      *retainer
	own      Digest // the release of Config.Agents
	// contracts is nil until the store is open: what is installed before is looked at then.
	contracts *contracts

	timelines timelines // of runs that were asked for
}

// StateDir is the default state folder: $XDG_STATE_HOME/polity, or ~/.local/state/polity.
func StateDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "polity"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fault.Invalid.New("state folder: set XDG_STATE_HOME or name a folder: %w", err)
	}
	return filepath.Join(home, ".local", "state", "polity"), nil
}

// Open starts a node. It returns fault.Conflict if another process serves the state folder, fault.Denied if it
// cannot be written, fault.Full if there is no room, fault.Damaged if what it holds is not whole, and fault.Invalid for
// a bad Config, with all problems at once. Close it.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	e, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	if err := e.start(ctx, cfg); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// prepare checks the configuration and takes the state folder.
func prepare(cfg Config) (*Engine, error) {
	if cfg.Sync != "" && cfg.Sync != SyncDisk && cfg.Sync != SyncOS {
		return nil, fault.Invalid.New("engine: sync %q: want disk or os", cfg.Sync)
	}
	if cfg.State == "" {
		dir, err := StateDir()
		if err != nil {
			return nil, err
		}
		cfg.State = dir
	}
	state, err := filepath.Abs(cfg.State)
	if err != nil {
		return nil, fault.Invalid.New("engine: state folder: %w", err)
	}
	e := &Engine{state: state}
	if e.lock, err = lockState(state); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *Engine) start(ctx context.Context, cfg Config) error {
	disk := cfg.Sync != SyncOS
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Log = slog.New(LogHandler(cfg.Log.Handler()))
	var err error
	if e.old, err = newRetainer(e.state, cfg); err != nil {
		return err
	}
	exec := filepath.Join(e.state, "exec") // with what programs of a killed process left behind
	err = sandbox.EndLeft(exec)
	if err == nil {
		err = os.RemoveAll(exec)
	}
	if err != nil {
		return fault.Denied.New("engine: %w", err)
	}
	if e.bus, err = openBus(ctx, e.state, cfg); err != nil {
		return err
	}
	if e.blobs, err = openDocuments(ctx, e.bus, e.state, disk); err != nil {
		return err
	}
	if e.catalog, err = newCatalog(cfg, e.blobs, exec); err != nil {
		return err
	}
	if e.own, err = e.installOwn(cfg.Agents); err != nil {
		return err
	}
	e.catalog.memories = &memories{bus: e.bus, log: cfg.Log}
	e.catalog.facts = &facts{bus: e.bus}
	e.catalog.topics.ready = make(chan struct{})
	e.contracts = &contracts{bus: e.bus}
	e.catalog.contracts = e.contracts
	if err := e.contracts.load(ctx); err != nil {
		return err
	}
	if err := e.keepsOwn(ctx); err != nil {
		return err
	}
	if e.keys, err = openKeys(ctx, e.bus, e.state); err != nil {
		return err
	}
	e.answers = newAnswers()
	acks := run.NewAcks()
	if e.log, err = e.bus.Log(ctx, "p0", acks.Put); err != nil {
		return err
	}
	audits := &e.doors.audits
	audits.bus, audits.log = e.bus, cfg.Log
	e.part, err = run.Open(ctx, e.log, acks, run.Config{
		Catalog: e.catalog, Blobs: e.blobs, Keys: e.keys, Do: e.catalog.do, Ask: e.catalog.asked, Restart: e.bus.Restart, Anchor: filepath.Join(e.state, "anchor"),
		Archived: e.old.store.FileOf, Dormant: filepath.Join(e.state, "dormant"), CheckpointEvery: cfg.CheckpointEvery, Whole: cfg.Whole, Park: cfg.Park, Free: e.free, Owes: e.answers.owes, Now: cfg.Now, Log: cfg.Log,
		Exported: cfg.Telemetry && telemetry.TracesWanted(), Lags: lags(cfg), Auditor: audits,
	})
	if err != nil {
		return err
	}
	audits.serve()
	e.orgs.bus, e.orgs.catalog, e.orgs.log = e.bus, e.catalog, cfg.Log
	e.live = newLive(cfg.Log)
	e.audit = outside.NewAudit(e.bus, cfg.Log)
	e.topics = newStream(e.bus, e.part, e.catalog, cfg.Log)
	e.catalog.topics.open(e)
	if err := e.topics.resume(ctx); err != nil {
		return err
	}
	if cfg.Door != nil {
		if err := e.openGate(ctx, cfg); err != nil {
			return err
		}
	}
	e.answers.begin(e, !cfg.Park, cfg.Log)
	e.views.log, e.views.dsn = cfg.Log, cfg.ViewDSN
	e.figures.cfg = e.telemetry(cfg)
	if cfg.View {
		if _, err := e.view(); err != nil {
			return err
		}
	}
	if cfg.Retain {
		e.old.begin(e)
	}
	if cfg.Telemetry && telemetry.Wanted() {
		return e.figures.begin(ctx, e.part, true)
	}
	return nil
}

// installOwn makes a release of the program's own agents.
func (e *Engine) installOwn(agents []*agent.Agent) (Digest, error) {
	r := agent.Release{Name: "go"}
	for _, a := range agents {
		r.Agents = append(r.Agents, a.Definition())
	}
	return e.Install(&r, nil)
}

// free returns the bytes that are free for the state folder.
func (e *Engine) free() (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(e.state, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// State is the node's folder.
func (e *Engine) State() string { return e.state }

// Close stops the node downward and waits for it. Runs that have not finished go on with the next Open.
func (e *Engine) Close() error {
	e.old.close()
	e.figures.end()
	if e.gate != nil {
		e.gate.Close()
	}
	if e.answers != nil {
		e.answers.close()
	}
	if e.live != nil {
		e.live.close()
	}
	err := e.views.close()
	if e.part != nil {
		err = errors.Join(err, e.part.Close())
	}
	e.doors.audits.close()
	if e.topics != nil {
		e.topics.close() // after the partition: no effect in flight ends because of it
	}
	if e.catalog != nil {
		err = errors.Join(err, e.catalog.servers.close())
	}
	if e.log != nil {
		err = errors.Join(err, e.log.Close())
	}
	if e.bus != nil {
		e.bus.Close()
	}
	return errors.Join(err, e.lock.Close())
}

// Down is closed when the node has stopped serving by itself; Err says why.
func (e *Engine) Down() <-chan struct{} { return e.part.Down() }

// Ready returns nil if the node would admit a new run now, and why not otherwise: fault.Full while the disk has too little room. Runs that
// are under way go on meanwhile.
func (e *Engine) Ready() error { return e.part.Ready() }

// Err returns why the node stopped serving by itself, or nil.
func (e *Engine) Err() error { return e.part.Err() }

// Install stores a release with the files that it pins (by the hex SHA-256 of their content), and returns its digest.
// It returns fault.Invalid if something in the release does not fit this node, with all problems at once, and fault.Conflict if it would
// break who relies on a registered schema: see Engine.Register.
func (e *Engine) Install(r *agent.Release, files map[string][]byte) (Digest, error) {
	for name, data := range files {
		sum := sha256.Sum256(data)
		if hex.EncodeToString(sum[:]) != name {
			return Digest{}, fault.Invalid.New("engine: install %s: file %s is not what its digest says", r.Name, name)
		}
		if _, err := e.blobs.Put(data); err != nil {
			return Digest{}, err
		}
	}
	doc, err := json.Marshal(r)
	if err != nil {
		return Digest{}, fault.Invalid.New("engine: install %s: %w", r.Name, err)
	}
	d, err := e.blobs.Put(doc)
	if err != nil {
		return Digest{}, err
	}
	if err := e.catalog.check(d); err != nil || e.contracts == nil {
		return d, err
	}
	return d, e.keeps(context.Background(), d, r)
}

// Request asks an agent for something.
type Request struct {
	// ID is the run's; "" derives it from everything below, so that the same request is the same run.
	ID      polity.RunID
	Release Digest // zero: the program's own agents
	Agent   string // "" is the release's main agent
	Skill   string
	Input   json.RawMessage
	// Version is that of the registered schema which Input was written for: it is then read as the version that the release has. 0: it is
	// what the release wants.
	Version int
	Folder  string // absolute path of the only folder that the run may read; "" for none
	Bounds  polity.Bounds
	// Seed makes otherwise equal requests different runs: the digest of the folder's content, a nonce.
	Seed string
	// Conversation is the key of the conversation with the agent that this is part of; "" for none. What becomes of the request while an
	// earlier one of it is at work the skill says: see polity.Arrival.
	Conversation string
	// Subject says whose data the run holds: what it reads and writes is enciphered with a key of that person, which Erase destroys. "" is who
	// stands in the field of the input that the skill names; if it names none, nothing is enciphered.
	Subject string
}

// fill completes a request.
func (e *Engine) fill(ctx context.Context, q Request) (run.Request, error) {
	if q.Release == (Digest{}) {
		q.Release = e.own
	}
	r, err := e.catalog.release(q.Release)
	if err != nil {
		return run.Request{}, err
	}
	if q.Agent == "" {
		q.Agent = r.doc.Main
	}
	if q.Version != 0 {
		if q.Input, err = e.upcast(ctx, r.doc.Agent(q.Agent), q); err != nil {
			return run.Request{}, err
		}
	}
	q.Input = dense(q.Input)
	key, err := e.seal(&q, &r.doc)
	if err != nil {
		return run.Request{}, err
	}
	if q.ID == "" {
		if q.ID, err = q.derive(); err != nil {
			return run.Request{}, err
		}
	}
	return run.Request{
		ID: q.ID, Release: q.Release, Agent: q.Agent, Skill: q.Skill, Input: q.Input, Folder: q.Folder,
		Bounds: q.Bounds.Or(r.doc.Bounds), Conversation: q.Conversation, Key: key, Caller: trace.From(ctx),
	}, nil
}

// dense is an input without space between its tokens: it is the same input then, whichever way it came. What is no JSON is returned as it is.
func dense(input json.RawMessage) json.RawMessage {
	if !bytes.ContainsAny(input, " \n\t\r") {
		return input
	}
	var b bytes.Buffer
	if json.Compact(&b, input) != nil {
		return input // whoever checks it says why
	}
	return b.Bytes()
}

func (q *Request) derive() (polity.RunID, error) {
	seed, err := json.Marshal(struct {
		Release      string
		Agent, Skill string
		Input        json.RawMessage
		Folder, Seed string
		Bounds       polity.Bounds
		Conversation string `json:",omitempty"`
	}{hex.EncodeToString(q.Release[:]), q.Agent, q.Skill, q.Input, q.Folder, q.Seed, q.Bounds, q.Conversation})
	if err != nil {
		return "", fault.Invalid.New("engine: input: %w", err)
	}
	return polity.NewRunID(0, seed), nil
}

// Start opens a run, or finds it, and returns its ID when that is durable. If ctx has a place in a trace (package trace) the run continues it. See run.Partition.Open for what comes back.
func (e *Engine) Start(ctx context.Context, q Request) (polity.RunID, error) {
	r, err := e.fill(ctx, q)
	if err != nil {
		return "", err
	}
	return r.ID, e.part.Open(ctx, r)
}

// Begin opens a run as Start does, and returns what waits for its end, which can be called until it has told that. Of a run that ends in the commit that opens it that is known
// already: it is not read from the log, and is told even if the context has ended.
func (e *Engine) Begin(ctx context.Context, q Request) (polity.RunID, func(context.Context) (polity.Outcome, error), error) {
	r, err := e.fill(ctx, q)
	if err != nil {
		return "", nil, err
	}
	wait, err := e.part.Begin(ctx, r)
	return r.ID, wait, err
}

// Run opens a run, or finds it, and returns how it ended.
func (e *Engine) Run(ctx context.Context, q Request) (polity.Outcome, error) {
	r, err := e.fill(ctx, q)
	if err != nil {
		return polity.Outcome{}, err
	}
	return e.part.Run(ctx, r)
}

// Wait returns how a run ended, as soon as it has.
func (e *Engine) Wait(ctx context.Context, id polity.RunID) (polity.Outcome, error) {
	return e.part.Wait(ctx, id)
}

// Resume goes on with a run that was paused, or left alone because of Config.Park.
func (e *Engine) Resume(ctx context.Context, id polity.RunID) error { return e.part.Resume(ctx, id) }

// Cancel asks a run and everything below it to end; what can be undone is undone first.
func (e *Engine) Cancel(ctx context.Context, id polity.RunID, reason string) error {
	return e.part.Cancel(ctx, id, reason)
}

// Kill ends a run and everything below it without undoing anything, also while it undoes.
func (e *Engine) Kill(ctx context.Context, id polity.RunID, reason string) error {
	return e.part.Kill(ctx, id, reason)
}

// List returns all root runs in the order of opening; those that one commit opened by their IDs.
func (e *Engine) List(ctx context.Context) ([]polity.Summary, error) { return e.part.List(ctx) }

// Find returns one root run's summary, or fault.NotFound.
func (e *Engine) Find(ctx context.Context, id polity.RunID) (polity.Summary, error) {
	return e.part.Find(ctx, id)
}

// Watch calls notice for what happens to a run from now on. notice must not block. The returned function ends that.
func (e *Engine) Watch(ctx context.Context, id polity.RunID, notice func(polity.Notice)) (func(), error) {
	return e.part.Watch(ctx, id, notice)
}

// History gives everything that the log tells of a run, in order.
func (e *Engine) History(ctx context.Context, id polity.RunID, each func(polity.Notice) error) error {
	return e.part.History(ctx, id, each)
}

// Census counts what the node's store holds: streams, consumers and connections. None of them grow with agents, instances, messages and runs.
func (e *Engine) Census() (streams, consumers, connections int, err error) {
	c, err := e.bus.Census()
	return c.Streams, c.Consumers, c.Connections, err
}
