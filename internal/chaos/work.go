package main

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"polity.run"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/examples"
	"polity.run/fault"
	"polity.run/internal/chaos/journey"
	"polity.run/manifest"
	"polity.run/tool"
)

//go:embed organizations
var organizations embed.FS

const (
	callMax   = 15 * time.Second // of one question to the node
	againStep = 50 * time.Millisecond
)

// kind is a kind of request, and what is expected of it.
type kind struct {
	name   string
	org    string // the organization; "" for a fork
	agent  string // of it; "" for its main one
	weight int
	bounds polity.Bounds
	folder string // of the examples: what the run may read
	steady bool   // it is never cancelled
	input  func(id polity.RunID, rng *rand.Rand) asked
	act    func(w *world, k *kind, rng *rand.Rand) // asks it; nil for one request that is followed
	check  func(k *checker)
}

func plain(id polity.RunID, _ *rand.Rand) asked { return asked{Token: id} }

func addressed(to string) func(polity.RunID, *rand.Rand) asked {
	return func(id polity.RunID, _ *rand.Rand) asked { return asked{Token: id, For: to} }
}

// kinds is everything that is asked.
var kinds = []kind{
	{name: "hub", org: "hub", weight: 5, input: plain, check: checkHub},
	{name: "bounded", org: "hub", weight: 2, bounds: polity.Bounds{Turns: 3}, input: plain, check: checkBounded},
	{name: "saga", org: "saga", weight: 6, check: checkSaga, input: func(id polity.RunID, rng *rand.Rand) asked {
		return asked{Token: id, Fail: rng.IntN(2) == 0}
	}},
	{name: "parallel", org: "parallel", weight: 3, input: plain, check: checkParallel},
	{name: "clerk", org: "desk", weight: 3, input: addressed("clerk"), check: checkClerk},
	{name: "careful", org: "desk", weight: 3, input: addressed("careful"), check: checkCareful},
	{name: "errand", org: "errand", weight: 2, steady: true, input: plain, check: checkErrand},
	{name: "hierarchy", org: "examples/hierarchy", weight: 1, folder: "data", check: checkExample},
	{name: "debate", org: "examples/debate", weight: 1, folder: "documents", check: checkExample},
	{name: "fork", check: checkFork},
	{name: "tick", check: checkTick},
	{name: "part", check: func(*checker) {}}, // of an order, by whose run it is judged
	{name: "signalled", org: "signalled", weight: 3, steady: true, input: plain, act: (*world).signalled, check: checkSignalled},
	{name: "paused", org: "paused", weight: 2, steady: true, input: plain, act: (*world).paused, check: checkPaused},
	{name: "journey", org: "journey", agent: journey.Name, weight: 5, act: (*world).journeys, check: checkJourney, input: func(id polity.RunID, rng *rand.Rand) asked {
		return asked{Token: id, Fail: rng.IntN(2) == 0}
	}},
	{name: "approved", org: "approved", agent: "approved", weight: 3, steady: true, input: plain, check: checkApproved},
	{name: "lapsed", org: "approved", agent: "lapsed", weight: 2, steady: true, input: plain, check: checkLapsed},
	{name: "told", weight: 2, steady: true, act: (*world).tells, check: checkTold},
	{name: "talk", org: "talk", weight: 4, steady: true, input: plain, act: (*world).talks, check: checkTalk},
	{name: "order", org: "order", weight: 5, steady: true, check: checkOrder, input: func(id polity.RunID, rng *rand.Rand) asked {
		return asked{Token: id, Fail: rng.IntN(2) == 0}
	}},
}

const (
	forkOf      = 4  // one hub in so many is forked when it has ended
	cancelledOf = 10 // one request in so many is cancelled
	cancelMax   = 700 * time.Millisecond
)

func kindByName(name string) *kind {
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i]
		}
	}
	panic("no kind " + name)
}

func drawKind(rng *rand.Rand) *kind {
	all := 0
	for _, k := range kinds {
		all += k.weight
	}
	n := rng.IntN(all)
	for i := range kinds {
		if n -= kinds[i].weight; n < 0 {
			return &kinds[i]
		}
	}
	panic("weights")
}

// draw makes a request of a kind from a number.
func (w *world) draw(k *kind, n uint64) *entry {
	id := polity.NewRunID(0, fmt.Appendf(nil, "chaos %d %d %d", w.seed, w.round, n))
	rng := rand.New(rand.NewPCG(w.seed, n))
	e := &entry{id: id, kind: k, request: w.releases[k.org]}
	if k.folder == "" {
		in := k.input(id, rng)
		e.fail = in.Fail
		e.request.Input, _ = json.Marshal(in) // plain fields
	} else {
		e.request.Input = json.RawMessage(`{"question":"How did May go?"}`)
		e.request.Folder = filepath.Join(w.dir, k.org, k.folder)
	}
	e.request.ID, e.request.Bounds, e.request.Agent = id, k.bounds, cmp.Or(k.agent, e.request.Agent)
	if k.folder == "" && !k.steady && rng.IntN(cancelledOf) == 0 {
		e.cancelAfter = time.Duration(1 + rng.Int64N(int64(cancelMax)))
	}
	e.forked = k.name == "hub" && rng.IntN(forkOf) == 0
	return e
}

// work asks one thing after the other until load ends, each until it has ended.
func (w *world) work(load context.Context, worker int) {
	rng := rand.New(rand.NewPCG(w.seed, uint64(w.round)<<32|uint64(worker+1)))
	for load.Err() == nil {
		k := drawKind(rng)
		if k.act != nil {
			k.act(w, k, rng)
			continue
		}
		e := w.draw(k, rng.Uint64())
		if !w.ask(e, func(ctx context.Context, c *client.Client) (polity.RunID, error) { return c.Start(ctx, e.request) }) {
			continue
		}
		if e.cancelAfter > 0 {
			w.followers.Go(func() { w.cancelLater(e) })
		}
		w.follow(e)
		if e.forked && e.ended() && load.Err() == nil {
			w.fork(e, rng)
		}
	}
}

// ask asks until it is acknowledged. A node that is not there, or cannot now, is asked again with the same ID.
func (w *world) ask(e *entry, start func(context.Context, *client.Client) (polity.RunID, error)) bool {
	for w.ctx.Err() == nil {
		var id polity.RunID
		err := w.call(func(ctx context.Context, c *client.Client) (err error) { id, err = start(ctx, c); return err })
		switch {
		case err == nil:
			if e.id == "" {
				e.id = id
			}
			w.book.acknowledge(e)
			if id != e.id {
				w.book.violate(violation{Run: e.id, Expected: "the request's own ID", Found: string(id)})
			}
			return true
		case !passing(err):
			w.book.violate(violation{Run: e.id, Expected: e.kind.name + ": the request is accepted", Found: err.Error()})
			return false
		}
		time.Sleep(againStep)
	}
	return false
}

// errAway is that no node answers at the moment.
var errAway = fault.Unavailable.New("no node answers")

// call asks the node that there is now.
func (w *world) call(question func(context.Context, *client.Client) error) error {
	c := w.node.current()
	if c == nil {
		return errAway
	}
	ctx, cancel := context.WithTimeout(w.ctx, callMax)
	defer cancel()
	return question(ctx, c)
}

// passing says whether a fault is one of a node that is ended, stopped or full.
func passing(err error) bool {
	for _, k := range []fault.Kind{fault.Unavailable, fault.Full, fault.Fenced, fault.Cancelled, fault.Timeout, fault.Unauthenticated} {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}

// follow waits until a run has ended, and has each new node go on with it.
func (w *world) follow(e *entry) {
	for w.ctx.Err() == nil {
		c := w.node.current()
		if c == nil {
			time.Sleep(againStep)
			continue
		}
		err := w.call(func(ctx context.Context, c *client.Client) error { return c.Resume(ctx, e.id) })
		var o polity.Outcome
		if err == nil {
			o, err = c.Wait(w.ctx, e.id)
		}
		switch {
		case err == nil:
			w.book.end(e, o)
			return
		case e.opens && errors.Is(err, fault.NotFound): // the event was stored, and its run follows
		case !passing(err):
			w.book.violate(violation{Run: e.id, Expected: e.kind.name + ": a run that was acknowledged is there and goes on", Found: err.Error()})
			return
		}
		time.Sleep(againStep)
	}
}

func (w *world) cancelLater(e *entry) {
	time.Sleep(e.cancelAfter)
	for w.ctx.Err() == nil && !e.ended() {
		err := w.call(func(ctx context.Context, c *client.Client) error { return c.Cancel(ctx, e.id, "it was cancelled") })
		if err == nil || !passing(err) { // it has ended
			return
		}
		time.Sleep(againStep)
	}
}

// fork forks a run that has ended, at an event that the seed chooses.
func (w *world) fork(of *entry, rng *rand.Rand) {
	draw := rng.Uint64()
	f := &entry{kind: kindByName("fork")}
	w.ask(f, func(ctx context.Context, c *client.Client) (polity.RunID, error) {
		events := 0
		err := c.History(ctx, of.id, func(polity.Notice) error { events++; return nil })
		if err != nil {
			return "", err
		}
		f.fork = client.Fork{Event: 1 + int(draw%uint64(events-1)), Seed: "chaos"}
		return c.Fork(ctx, of.id, f.fork)
	})
	if f.id != "" {
		w.follow(f)
	}
}

// entry is what the world outside knows of a run.
type entry struct {
	id          polity.RunID
	kind        *kind
	request     client.Request
	fork        client.Fork
	fail        bool          // the last stage of a saga fails
	forked      bool          // when it has ended
	cancelAfter time.Duration // 0 for never
	opens       bool          // an event opens it, some time after it was acknowledged
	before      []*entry      // that this one comes after: in its conversation, or with its key
	arrival     string        // of its conversation
	overtaken   bool          // a message came after it

	mu      sync.Mutex
	outcome *polity.Outcome // as it was told first
}

func (e *entry) ended() bool { return e.told() != nil }

func (e *entry) told() *polity.Outcome {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.outcome
}

// load writes the organizations and the examples below the world's folder, and reads them as releases.
func (w *world) load() error {
	place := strings.NewReplacer("$DESTINATION", w.destination.url, "$HOST", strings.TrimPrefix(w.destination.url, "http://"), "$PROGRAM", w.self, "$FOLDER", filepath.Dir(w.self))
	if err := copyOut(organizations, "organizations", filepath.Join(w.dir, "organizations"), place.Replace); err != nil {
		return err
	}
	for _, name := range []string{"hierarchy", "debate"} {
		if err := copyOut(examples.Files, name, filepath.Join(w.dir, "examples", name), func(s string) string { return s }); err != nil {
			return err
		}
	}
	tools, err := engine.Tools()
	if err != nil {
		return err
	}
	env := manifest.Env{Tools: map[string]tool.Spec{}, Specs: engine.Specs, Go: map[string]string{journey.Name: journey.Version}}
	for _, t := range tools {
		env.Tools[t.Spec().Name] = t.Spec()
	}
	watched, err := manifest.Load(filepath.Join(w.dir, "organizations", "tick.yaml"), env)
	if err != nil {
		return fmt.Errorf("tick: %w", err)
	}
	w.watched = watched
	w.releases = map[string]client.Request{}
	for _, k := range kinds {
		if k.org == "" {
			continue
		}
		path := filepath.Join(w.dir, "organizations", k.org+".yaml")
		if k.folder != "" {
			path = filepath.Join(w.dir, k.org)
		}
		m, err := manifest.Load(path, env)
		if err != nil {
			return fmt.Errorf("%s: %w", k.org, err)
		}
		w.releases[k.org] = client.Request{Release: &m.Release, Files: m.Blobs, Agent: m.Release.Main}
	}
	return nil
}

func copyOut(from fs.FS, root, to string, change func(string) string) error {
	return fs.WalkDir(from, root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		under, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, under), 0o755)
		}
		data, err := fs.ReadFile(from, path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, under), []byte(change(string(data))), 0o755)
	})
}
