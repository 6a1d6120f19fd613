package engine_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/manifest"
	"polity.run/pattern"
	"polity.run/saga"
)

// outside is the world: what was done to it, by effect key.
type outside struct {
	mu   sync.Mutex
	done []string // agent and skill, each key once
	keys map[string]bool
}

func (w *outside) agent(name polity.AgentName, does func(ctx context.Context, m polity.Message) error) *agent.Agent {
	return &agent.Agent{
		Name: name, Version: "1", Skills: []polity.Skill{{Name: "do"}, {Name: "undo"}}, Effect: polity.EffectKeyed,
		Handle: func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
			if does != nil {
				if err := does(ctx, m); err != nil {
					return nil, err
				}
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if !w.keys[m.ID] {
				w.keys[m.ID] = true
				w.done = append(w.done, string(name)+" "+m.Skill)
			}
			return json.RawMessage(`{"ok":true}`), nil
		},
	}
}

const trip = `polity: v1
name: trip
agents:
  seat: {use: seat, skills: [{name: do}, {name: undo}]}
  bank: {use: bank, skills: [{name: do}, {name: undo}]}
  printer: {use: printer, skills: [{name: do}, {name: undo}]}
org:
  pattern: sequence
  stages:
    - {agent: seat, skill: do, undo: {agent: seat, skill: undo}}
    - {agent: bank, skill: do, undo: {agent: bank, skill: undo}}
    - {agent: printer, skill: do}
`

// TestSagaGoesOn stops the node while the payment is being undone. The next one goes on there: in the end everything is undone, once.
func TestSagaGoesOn(t *testing.T) {
	w := &outside{keys: map[string]bool{}}
	began := make(chan struct{})
	var once sync.Once
	first := true
	agents := func() []*agent.Agent {
		return []*agent.Agent{
			w.agent("seat", nil),
			w.agent("bank", func(ctx context.Context, m polity.Message) error {
				if m.Skill == "undo" && first {
					once.Do(func() { close(began) })
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}),
			w.agent("printer", func(context.Context, polity.Message) error { return fault.Denied.New("no paper") }),
		}
	}
	state := t.TempDir()
	e := open(t, state, agents()...)
	release := install(t, e, trip)
	id, err := e.Start(t.Context(), engine.Request{Release: release, Input: json.RawMessage(`{"to":"Rome"}`)})
	if err != nil {
		t.Fatal(err)
	}
	<-began
	stop(t, e)
	first = false
	e = open(t, state, agents()...)
	defer stop(t, e)
	o, err := e.Wait(t.Context(), id)
	if err != nil || o.Status != polity.StatusFailed || o.Fault.Kind != fault.Denied {
		t.Fatalf("%+v %v", o, err)
	}
	var got pattern.SequenceResult
	if err := json.Unmarshal(o.Output, &got); err != nil || got.Saga == nil || got.Saga.Status != saga.Compensated || len(got.Saga.Undone) != 2 {
		t.Errorf("%s %v", o.Output, err)
	}
	if want := []string{"seat do", "bank do", "bank undo", "seat undo"}; !slices.Equal(w.done, want) {
		t.Errorf("the world saw %v, want %v", w.done, want)
	}
}

// install loads a manifest of Go agents.
func install(t *testing.T, e *engine.Engine, text string) engine.Digest {
	t.Helper()
	path := filepath.Join(t.TempDir(), manifest.FileName)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Load(path, manifest.Env{Go: map[string]string{"seat": "1", "bank": "1", "printer": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := e.Install(&m.Release, m.Blobs)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
