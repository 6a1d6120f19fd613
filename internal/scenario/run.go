package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"polity.run"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/manifest"
	"polity.run/model"
	"polity.run/model/replay"
	"polity.run/tool"
)

const (
	runMax      = 10 * time.Minute      // of one run
	answerEvery = 20 * time.Millisecond // between two looks for questions
)

// happened is what a run did.
type happened struct {
	mu       sync.Mutex
	outcome  polity.Outcome
	id       polity.RunID
	steps    []string       // results in the order of the log: RUN/COMMAND without the root
	agents   map[string]int // asked
	asked    map[string][]string
	calls    map[string]int // done, of tools; thoughts, of models
	wanted   map[string]int // tools that models asked for, done or not
	injected map[int]int    // faults, by their number
	under    int            // calls of tools under way
	told     int            // how many of Scenario.Told
}

// one does a scenario once.
// It returns what the run did, and what the runs did that events opened meanwhile.
func one(ctx context.Context, f *File, s *Scenario, m *manifest.Manifest, with []*manifest.Manifest) (h *happened, o *others, err error) {
	h = newHappened("")
	state, err := os.MkdirTemp("", "polity-test-")
	if err != nil {
		return nil, nil, fault.Denied.New("scenario: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(state)) }()
	var clock clock
	cfg := engine.Config{State: state, Sync: engine.SyncOS, Now: clock.now}
	var recording *replay.Recording
	if f.Replay != "" {
		if recording, err = replay.Open(filepath.Join(filepath.Dir(f.Path), f.Replay)); err != nil {
			return nil, nil, err
		}
	}
	cfg.Wrap = func(of model.Model) model.Model {
		if recording != nil && of.Name() != "quote" {
			of = recording.Wrap(of)
		}
		return &watchedModel{of, s, h}
	}
	cfg.WrapTool = func(of tool.Tool) tool.Tool { return &watchedTool{of, s, h} }
	e, err := engine.Open(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	q := engine.Request{Agent: s.Agent, Skill: s.Skill}
	if q.Release, err = e.Install(&m.Release, m.Blobs); err != nil {
		return nil, nil, err
	}
	if q.Input, err = s.input(); err != nil {
		return nil, nil, err
	}
	if s.Folder != "" {
		if q.Folder, err = filepath.Abs(filepath.Join(filepath.Dir(f.Path), s.Folder)); err != nil {
			return nil, nil, fault.Invalid.New("folder: %w", err)
		}
		if _, err := os.Stat(q.Folder); err != nil {
			return nil, nil, fault.NotFound.New("folder: %w", err)
		}
	}
	if o, err = newOthers(ctx, e, h, m, with); err != nil {
		return nil, nil, err
	}
	if h.id, err = e.Start(ctx, q); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, runMax, fault.Timeout.New("scenario: the run has not ended within %s", runMax))
	defer cancel()
	answering, stop := context.WithCancel(ctx)
	var people sync.WaitGroup
	people.Go(func() { h.answer(answering, e, s) })
	people.Go(func() { h.tell(answering, e, s, &clock, o) })
	people.Go(func() { o.serve(answering) })
	if h.outcome, err = e.Wait(ctx, h.id); err == nil {
		err = o.wait(ctx)
	}
	stop()
	people.Wait()
	if err != nil {
		return nil, nil, err
	}
	return h, o, e.History(ctx, h.id, h.note)
}

func newHappened(id polity.RunID) *happened {
	return &happened{id: id, agents: map[string]int{}, asked: map[string][]string{}, calls: map[string]int{}, wanted: map[string]int{}, injected: map[int]int{}}
}

// answer answers for people. Where the scenario has no answer, the run is cancelled and says so.
func (h *happened) answer(ctx context.Context, e *engine.Engine, s *Scenario) {
	told := map[string]bool{}
	tick := time.NewTicker(answerEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		open, err := e.Questions(ctx)
		if err != nil {
			return
		}
		for _, q := range open {
			if told[q.Key] {
				continue
			}
			told[q.Key] = true
			h.mu.Lock()
			h.agents[string(q.Agent)]++
			h.asked[string(q.Agent)] = append(h.asked[string(q.Agent)], string(q.Input))
			h.mu.Unlock()
			value, known := s.Answers[string(q.Agent)]
			data, err := json.Marshal(answerTo(q, value))
			switch {
			case !known:
				err = fault.NotFound.New("the scenario has no answer of %s (answers: {%s: ...})", q.Agent, q.Agent)
			case err == nil:
				err = e.Answer(ctx, q.Key, data)
			}
			if err != nil && ctx.Err() == nil {
				_ = e.Cancel(ctx, h.id, err.Error()) // a run that has ended meanwhile needs none
			}
		}
	}
}

// answerTo is what a person answers. One who approves an action approves the one that is shown, whose hash the scenario need not know.
func answerTo(q polity.Question, value any) any {
	d, ok := value.(map[string]any)
	if !ok || q.Approval == nil || d["approve"] != true || d["hash"] != nil {
		return value
	}
	d = maps.Clone(d)
	d["hash"] = q.Approval.Hash
	return d
}

func (h *happened) note(n polity.Notice) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch n.Kind {
	case "opened":
		h.agents[n.Agent]++
		if n.Run != h.id {
			h.asked[n.Agent] = append(h.asked[n.Agent], string(n.Data))
		}
	case "result":
		h.steps = append(h.steps, strings.TrimPrefix(strings.TrimPrefix(string(n.Run), string(h.id))+"/"+n.Name, "/"))
	case "finished":
		if n.Run != h.id {
			h.steps = append(h.steps, strings.TrimPrefix(string(n.Run), string(h.id)+"/"))
		}
	}
	return nil
}

// inject returns the fault that is to come instead, or nil.
func (h *happened) inject(s *Scenario, hits func(Fault) bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, x := range s.Faults {
		if hits(x) && (x.Times < 0 || h.injected[i] < x.Times) {
			h.injected[i]++
			return fault.Kind(x.Fault).New("injected by the scenario")
		}
	}
	return nil
}

// step is the command in an effect's key, without its attempt.
func step(key string) string {
	_, name, _ := strings.Cut(key, "#")
	name, _, _ = strings.Cut(name, "~")
	return name
}

type watchedModel struct {
	model.Model
	s *Scenario
	h *happened
}

// Unwrap returns the model itself.
func (w *watchedModel) Unwrap() model.Model { return w.Model }

func (w *watchedModel) Answer(ctx context.Context, r model.Request) (model.Response, error) {
	w.h.mu.Lock()
	w.h.calls[w.Name()]++
	w.h.mu.Unlock()
	if err := w.h.inject(w.s, func(x Fault) bool { return x.Model == w.Name() || x.At != "" && x.At == step(r.Key) }); err != nil {
		return model.Response{}, err
	}
	out, err := w.Model.Answer(ctx, r)
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	for _, c := range out.Calls {
		w.h.wanted[c.Name]++
	}
	return out, err
}

type watchedTool struct {
	tool.Tool
	s *Scenario
	h *happened
}

func (w *watchedTool) Call(ctx context.Context, c tool.Call) (json.RawMessage, error) {
	name := w.Spec().Name
	w.h.mu.Lock()
	w.h.calls[name]++
	w.h.under++
	w.h.mu.Unlock()
	defer func() {
		w.h.mu.Lock()
		w.h.under--
		w.h.mu.Unlock()
	}()
	if err := w.h.inject(w.s, func(x Fault) bool { return x.Tool == name || x.At != "" && x.At == step(c.Key) }); err != nil {
		return nil, err
	}
	return w.Tool.Call(ctx, c)
}
