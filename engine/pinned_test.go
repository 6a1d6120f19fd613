package engine_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/manifest"
	"polity.run/model"
	"polity.run/tool"
)

const pinnedManifest = `polity: v1
name: pinned
agents:
  gate: {kind: go, use: gate}
  program:
    command: [./program.sh]
    effect: none
  thinker:
    model: echo
    instructions_file: prompt.md
org:
  pattern: hub
  specialists: [gate, program, thinker]
  plan:
    - {id: gate, agent: gate}
    - {id: program, agent: program, depends_on: [gate], input: {question: $gate.text}}
    - {id: thinker, agent: thinker, depends_on: [gate], input: {question: $gate.text}}
`

// echo is a model that answers with its instructions, so that one sees which it was given.
type echo struct{}

func (echo) Name() string { return "echo" }

func (echo) Answer(_ context.Context, r model.Request) (model.Response, error) {
	out, err := json.Marshal(map[string]string{"summary": r.Messages[0].Text})
	return model.Response{Output: out}, err
}

// TestEditedFilesDoNotReachARun stops a run in its first step, edits its manifest, its prompt and its program, and lets it
// go on: it ends with what it was opened with.
func TestEditedFilesDoNotReachARun(t *testing.T) {
	folder, state := t.TempDir(), t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write("polity.yaml", pinnedManifest)
	write("prompt.md", "the first prompt")
	write("program.sh", "#!/bin/sh\necho '{\"summary\":\"the first program\"}'\n")

	began := make(chan struct{})
	e := openPinned(t, state, func(ctx context.Context) (json.RawMessage, error) {
		close(began)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	m, err := manifest.Load(folder, pinnedEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	d, err := e.Install(&m.Release, m.Blobs)
	if err != nil {
		t.Fatal(err)
	}
	id, err := e.Start(t.Context(), engine.Request{Release: d, Input: json.RawMessage(`{"question":"?"}`)})
	if err != nil {
		t.Fatal(err)
	}
	<-began
	stop(t, e)

	write("polity.yaml", "polity: v1\nname: other\n")
	write("prompt.md", "the second prompt")
	write("program.sh", "#!/bin/sh\necho '{\"summary\":\"the second program\"}'\n")

	e = openPinned(t, state, func(context.Context) (json.RawMessage, error) { return json.RawMessage(`{"text":"open"}`), nil })
	defer stop(t, e)
	o, err := e.Wait(t.Context(), id)
	if err != nil || o.Status != polity.StatusCompleted {
		t.Fatalf("%+v %v", o, err)
	}
	for _, want := range []string{"the first prompt", "the first program"} {
		if !strings.Contains(string(o.Output), want) {
			t.Errorf("the resumed run has not seen %q", want)
		}
	}
	if strings.Contains(string(o.Output), "the second") {
		t.Error("the resumed run has seen an edited file")
	}
}

func openPinned(t *testing.T, state string, gate func(context.Context) (json.RawMessage, error)) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Config{State: state, Sync: engine.SyncOS, Models: []model.Model{echo{}}, Agents: []*agent.Agent{{
		Name: "gate", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "gate"}},
		Handle: func(ctx context.Context, _ polity.Message) (json.RawMessage, error) { return gate(ctx) },
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func pinnedEnv(t *testing.T) manifest.Env {
	t.Helper()
	tools, err := engine.Tools()
	if err != nil {
		t.Fatal(err)
	}
	specs := map[string]tool.Spec{}
	for _, x := range tools {
		specs[x.Spec().Name] = x.Spec()
	}
	return manifest.Env{Tools: specs, Models: []string{"echo", "quote"}, Go: map[string]string{"gate": "1"}}
}

// TestChangedToolStopsARun pins a tool, changes what it declares, and continues the run: it is stopped with a report that
// names the tool.
func TestChangedToolStopsARun(t *testing.T) {
	state := t.TempDir()
	hang := make(chan struct{})
	lookup := func(version string, call func(context.Context) (answer, error)) tool.Tool {
		x, err := tool.Func(tool.Spec{Name: "test.lookup", Version: version, Description: "Looks up.", Effect: polity.EffectNone},
			func(ctx context.Context, _ tool.Call, _ struct{}) (answer, error) { return call(ctx) })
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	first := lookup("1", func(ctx context.Context) (answer, error) {
		close(hang)
		<-ctx.Done()
		return answer{}, ctx.Err()
	})
	e := openWith(t, state, first)
	r := agent.Release{Name: "tools", Main: "asker", Agents: []agent.Definition{{
		Name: "asker", Kind: agent.KindModel, Skills: []polity.Skill{{Name: "ask"}},
		Model: &agent.Model{Model: "echo", Instructions: "Look up.", Gather: []agent.ToolPin{{Name: "test.lookup", Digest: first.Spec().Digest()}}},
	}}}
	d, err := e.Install(&r, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := e.Start(t.Context(), engine.Request{Release: d, Input: json.RawMessage(`{"question":"?"}`)})
	if err != nil {
		t.Fatal(err)
	}
	<-hang
	stop(t, e)

	e = openWith(t, state, lookup("2", func(context.Context) (answer, error) { return answer{2}, nil }))
	defer stop(t, e)
	_, err = e.Wait(t.Context(), id)
	if fault.Of(err) == nil || fault.Of(err).Kind != fault.Diverged || !strings.Contains(err.Error(), "test.lookup") {
		t.Fatalf("got %v, want a divergence that names the tool", err)
	}
}

func openWith(t *testing.T, state string, x tool.Tool) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Config{State: state, Sync: engine.SyncOS, Models: []model.Model{echo{}}, Tools: []tool.Tool{x}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}
