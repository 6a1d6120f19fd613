package engine_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/memory"
	"polity.run/memory/memorytest"
	"polity.run/model"
	"polity.run/model/modeltest/wire"
	"polity.run/tool"
)

// TestMemoryConformance checks the node's own memories, on JetStream.
func TestMemoryConformance(t *testing.T) {
	memorytest.Run(t, func(t *testing.T) func() memory.Store {
		state := t.TempDir()
		var e *engine.Engine
		t.Cleanup(func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
		return func() memory.Store {
			ctx := context.Background()
			if e != nil {
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
			}
			var err error
			if e, err = engine.Open(ctx, engine.Config{State: state}); err != nil {
				t.Fatal(err)
			}
			s, err := e.Memory(ctx, &agent.Release{Name: "m", Memory: &agent.Memories{Records: 40, Bytes: 4 << 10}})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
}

// rememberer is a release with an agent that thinks, recalls, notes and is remembered.
func rememberer(t *testing.T, url string) *agent.Release {
	t.Helper()
	builtin, err := engine.Tools()
	if err != nil {
		t.Fatal(err)
	}
	pin := func(name string) agent.ToolPin {
		i := slices.IndexFunc(builtin, func(x tool.Tool) bool { return x.Spec().Name == name })
		s := builtin[i].Spec()
		return agent.ToolPin{Name: name, Digest: s.Digest(), Description: s.Description, Schema: s.Offer}
	}
	price := model.Price{Input: 20, Output: 100}
	spec := func(name string) model.Spec {
		return model.Spec{Name: name, API: model.OpenAI, URL: url + "/v1", Model: name, Price: price, Attempts: 1}
	}
	return &agent.Release{
		Name: "desk", Main: "clerk", Models: []model.Spec{spec("embedder"), spec("writer")}, Memory: &agent.Memories{Embeddings: "embedder"},
		Agents: []agent.Definition{{
			Name: "clerk", Kind: agent.KindModel, Skills: []polity.Skill{{Name: "answer"}},
			Model: &agent.Model{
				Model: "writer", Instructions: "Answer.", Price: price, Tools: []agent.ToolPin{pin(memory.NoteTool)},
				Memory: &agent.Memory{
					Recall: 3, Episodes: true, Price: &price, Tools: []agent.ToolPin{pin(memory.SearchTool), pin(memory.KeepTool)},
				},
			},
		}},
	}
}

// TestAgentRemembers has an agent answer from what an earlier run of it noted, and unlearns it by event.
func TestAgentRemembers(t *testing.T) {
	provider := wire.New(
		wire.Reply{Calls: []model.Call{{ID: "1", Name: "memory_note", Input: json.RawMessage(`{"text":"Ada prefers letters.","share":true,"because":[{"memory":"x","id":"y"}]}`)}}},
		wire.Reply{Text: "Noted."}, wire.Reply{Text: "By letter."},
	)
	server := httptest.NewServer(provider)
	defer server.Close()
	ctx := context.Background()
	e, err := engine.Open(ctx, engine.Config{State: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	r := rememberer(t, server.URL)
	release, err := e.Install(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Memory(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Add(ctx, "desk", []memory.Record{{ID: "rule", Kind: memory.Passage, Text: "How Ada wants to be written to is asked of her once."}}); err != nil {
		t.Fatal(err)
	}
	ask := func(question string) polity.Outcome {
		t.Helper()
		input, err := json.Marshal(map[string]string{"question": question})
		if err != nil {
			t.Fatal(err)
		}
		o, err := e.Run(ctx, engine.Request{Release: release, Input: input})
		if err != nil || o.Status != polity.StatusCompleted {
			t.Fatalf("%+v %v", o, err)
		}
		return o
	}
	ask("Ada says that she prefers letters. Note it, please.")
	o := ask("How do we write to Ada?")
	var chats []string
	for _, seen := range provider.Seen() {
		if strings.HasSuffix(seen.Path, "/chat/completions") {
			chats = append(chats, string(seen.Raw))
		}
	}
	if last := chats[len(chats)-1]; !strings.Contains(last, "Ada prefers letters.") || !strings.Contains(last, "asked of her once") {
		t.Errorf("the model was not told: %s", last)
	}
	if strings.Contains(chats[0], `"share"`) {
		t.Errorf("the model is offered what is not its to say: %s", chats[0])
	}
	if o.Usage.MicroUSD == 0 || o.Usage.InputTokens != 2 { // one to recall, one to be remembered
		t.Errorf("the embeddings are booked otherwise: %+v", o.Usage)
	}
	records, _, err := s.List(ctx, "desk/clerk")
	if err != nil {
		t.Fatal(err)
	}
	var note memory.Record
	for _, x := range records {
		if x.Kind == memory.Note {
			note = x
		}
	}
	if len(records) != 3 || len(note.Origin.Because) != 1 || note.Origin.Because[0] != (memory.Ref{Memory: "desk", ID: "rule"}) || !strings.HasSuffix(note.Origin.Event, "#act.1.1") {
		t.Fatalf("remembered: %+v", records)
	}
	// The second run was told the note, so what was concluded from it goes with it.
	done, err := s.Forget(ctx, "desk/clerk", memory.Filter{Event: note.Origin.Event}, note.At)
	if err != nil || done.Records != 2 || done.Derived != 1 {
		t.Errorf("forgotten: %+v %v", done, err)
	}
}
