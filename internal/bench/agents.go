package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/model"
	"polity.run/pattern"
)

// instant is a model that answers at once: what is left is the engine.
type instant struct{}

func (instant) Name() string { return "instant" }

func (instant) Answer(context.Context, model.Request) (model.Response, error) {
	return model.Response{Output: json.RawMessage(`{"summary":"done"}`)}, nil
}

// Agents measures, on one node: a hub with three specialists that think once, and ten such agents in a row. A step
// is a command done: an ask or a thought.
func Agents(ctx context.Context, cfg Config) (points []Point, err error) {
	cfg.Sync = append([]engine.Sync{}, cfg.Sync...)
	if len(cfg.Sync) == 0 {
		cfg.Sync = []engine.Sync{engine.SyncOS}
	}
	if len(cfg.At) == 0 {
		cfg.At = []int{1, 64}
	}
	cfg = cfg.or()
	for _, sync := range cfg.Sync {
		p, err := agentsWith(ctx, cfg, sync)
		if err != nil {
			return nil, err
		}
		points = append(points, p...)
	}
	return points, nil
}

func agentsWith(ctx context.Context, cfg Config, sync engine.Sync) (points []Point, err error) {
	dir, remove, err := cfg.folder()
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, remove()) }()
	e, err := engine.Open(ctx, engine.Config{State: filepath.Join(dir, "engine"), Sync: sync, Models: []model.Model{instant{}}, Agents: []*agent.Agent{row()}})
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, e.Close()) }()
	release, err := organization(e)
	if err != nil {
		return nil, err
	}
	for _, at := range cfg.At {
		for _, s := range []*orgSystem{{e, release, "hub", 6}, {e, release, "row", 20}} {
			cfg.Progress(fmt.Sprintf("%s, sync %s, %d at once", s.Name(), sync, at))
			p, err := compare(ctx, cfg, []system{s}, at, dir)
			if err != nil {
				return nil, err
			}
			p[0].Sync = sync
			p[0].Step *= stepsPerRun / float64(s.steps)
			p[0].CPU *= stepsPerRun / float64(s.steps)
			p[0].Allocs *= stepsPerRun / float64(s.steps)
			p[0].Ratio, p[0].Packed = 0, 0
			points = append(points, p...)
		}
	}
	return points, nil
}

const workers = 10

func workerName(i int) polity.AgentName { return polity.AgentName(fmt.Sprintf("worker-%d", i)) }

// row is an agent that asks ten others one after the other.
func row() *agent.Agent {
	var names inARow
	for i := range workers {
		names = append(names, workerName(i))
	}
	return &agent.Agent{Name: "row", Version: "1", Skills: []polity.Skill{{Name: "row"}}, Decider: names}
}

func organization(e *engine.Engine) (engine.Digest, error) {
	r := agent.Release{Name: "bench", Main: "hub"}
	for i := range workers {
		r.Agents = append(r.Agents, agent.Definition{
			Name: workerName(i), Kind: agent.KindModel, Skills: []polity.Skill{{Name: "work"}},
			Model: &agent.Model{Model: "instant", Instructions: "Work."},
		})
	}
	hub := pattern.Hub{Plan: &pattern.Plan{}}
	for i := range 3 {
		hub.Specialists = append(hub.Specialists, pattern.Member{Name: workerName(i), Skills: []polity.Skill{{Name: "work"}}})
		hub.Plan.Steps = append(hub.Plan.Steps, pattern.Step{ID: fmt.Sprintf("s%d", i), Agent: workerName(i), Skill: "work"})
	}
	config, err := json.Marshal(hub)
	if err != nil {
		return engine.Digest{}, fault.Internal.New("bench: %w", err)
	}
	r.Agents = append(r.Agents,
		agent.Definition{Name: "hub", Kind: agent.KindOrg, Skills: []polity.Skill{{Name: "hub"}}, Org: &agent.Org{Pattern: "hub", Config: config}},
		agent.Definition{Name: "row", Kind: agent.KindGo, Skills: []polity.Skill{{Name: "row"}}, Go: &agent.Go{Use: "row", Version: "1"}})
	return e.Install(&r, nil)
}

type orgSystem struct {
	e       *engine.Engine
	release engine.Digest
	agent   string
	steps   int
}

func (s *orgSystem) Name() string {
	if s.agent == "hub" {
		return "hub of three"
	}
	return "ten in a row"
}

func (s *orgSystem) Close() error { return nil }

func (s *orgSystem) worker(int) func(ctx context.Context, i int) error {
	return func(ctx context.Context, i int) error {
		id := polity.NewRunID(0, fmt.Appendf(nil, "bench %d", i))
		o, err := s.e.Run(ctx, engine.Request{ID: id, Release: s.release, Agent: s.agent, Input: json.RawMessage(`{"question":"What is to be done?"}`)})
		if err == nil && (o.Status != polity.StatusCompleted || o.Usage.Turns != s.steps) {
			err = fault.Internal.New("bench: %s ended %s after %d of %d steps: %v", s.agent, o.Status, o.Usage.Turns, s.steps, o.Fault)
		}
		return err
	}
}

// Waited is what many runs that wait at once cost.
type Waited struct {
	Runs       int           `json:"runs"`
	Effect     time.Duration `json:"effect_ns"`
	Took       time.Duration `json:"took_ns"`
	Ratio      float64       `json:"ratio_to_ideal"`
	Heap       float64       `json:"heap_bytes_per_run"`
	Stack      float64       `json:"stack_bytes_per_run"`
	Goroutines int           `json:"goroutines"`
}

// Waiting measures runs that all wait for an effect of two seconds.
func Waiting(ctx context.Context, cfg Config, runs int) (w Waited, err error) {
	cfg = cfg.or()
	dir, remove, err := cfg.folder()
	if err != nil {
		return w, err
	}
	defer func() { err = first(err, remove()) }()
	w = Waited{Runs: runs, Effect: 2 * time.Second}
	slow := &agent.Agent{
		Name: "slow", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "wait"}},
		Begin: func(_ context.Context, m polity.Message, done func(json.RawMessage, error)) {
			time.AfterFunc(w.Effect, func() { done(m.Body, nil) })
		},
	}
	e, err := engine.Open(ctx, engine.Config{State: dir, Sync: engine.SyncOS, Agents: []*agent.Agent{slow}})
	if err != nil {
		return w, err
	}
	defer func() { err = first(err, e.Close()) }()
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begin := time.Now()
	var wg sync.WaitGroup
	failed := make(chan error, 64)
	for k := range 64 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := k; i < runs; i += 64 {
				_, err := e.Start(ctx, engine.Request{Agent: "slow", Input: json.RawMessage(`{"n":1}`), Seed: fmt.Sprint(i)})
				if err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	wg.Wait()
	if time.Since(begin) < w.Effect {
		runtime.GC()
		runtime.ReadMemStats(&during)
		w.Goroutines = runtime.NumGoroutine()
		w.Heap = (float64(during.HeapAlloc) - float64(before.HeapAlloc)) / float64(runs)
		w.Stack = (float64(during.StackInuse) - float64(before.StackInuse)) / float64(runs)
	}
	select {
	case err := <-failed:
		return w, err
	default:
	}
	if err := allDone(ctx, e, runs); err != nil {
		return w, err
	}
	w.Took = time.Since(begin)
	w.Ratio = float64(w.Took) / float64(w.Effect)
	return w, nil
}

// allDone waits until the node has that many completed runs.
func allDone(ctx context.Context, e *engine.Engine, runs int) error {
	for {
		list, err := e.List(ctx)
		if err != nil {
			return err
		}
		done := 0
		for _, s := range list {
			if s.Status == polity.StatusCompleted {
				done++
			}
		}
		if done == runs {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}
