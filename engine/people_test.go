package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
)

// TestAQuestionSurvivesRestarts has a person answer only after the node was stopped and started again.
func TestAQuestionSurvivesRestarts(t *testing.T) {
	state := t.TempDir()
	release := &agent.Release{Name: "r", Main: "boss", Agents: []agent.Definition{{
		Name: "boss", Kind: agent.KindHuman, Skills: []polity.Skill{{Name: "decide", Output: json.RawMessage(`{"type":"boolean"}`)}},
		Human: &agent.Human{Ask: "May it?", Timeout: polity.Duration(time.Hour)},
	}}}
	var id polity.RunID
	for life := range 3 {
		e := open(t, state)
		digest, err := e.Install(release, nil)
		if err != nil {
			t.Fatal(err)
		}
		if id, err = e.Start(t.Context(), engine.Request{Release: digest, Input: json.RawMessage(`{"what":"fly"}`)}); err != nil {
			t.Fatal(err)
		}
		q := asked(t, e)
		if q.Ask != "May it?" || q.Run.Root() != id || string(q.Input) != `{"what":"fly"}` {
			t.Errorf("life %d: asked %+v", life, q)
		}
		if life == 2 {
			if err := e.Answer(t.Context(), q.Key, json.RawMessage(`"maybe"`)); !errors.Is(err, fault.Invalid) {
				t.Errorf("got %v", err)
			}
			if err := e.Answer(t.Context(), q.Key+"x", json.RawMessage(`true`)); !errors.Is(err, fault.NotFound) {
				t.Errorf("got %v", err)
			}
			if err := e.Answer(t.Context(), q.Key, json.RawMessage(`true`)); err != nil {
				t.Error(err)
			}
			out, err := e.Wait(t.Context(), id)
			if err != nil || string(out.Output) != "true" {
				t.Errorf("got %+v %v", out, err)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestACancelledQuestionIsGone has a run cancelled that waits for a person.
func TestACancelledQuestionIsGone(t *testing.T) {
	e := open(t, t.TempDir())
	defer e.Close()
	digest, err := e.Install(&agent.Release{Name: "r", Main: "boss", Agents: []agent.Definition{{
		Name: "boss", Kind: agent.KindHuman, Skills: []polity.Skill{{Name: "decide"}}, Human: &agent.Human{Timeout: polity.Duration(time.Hour)},
	}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := e.Start(t.Context(), engine.Request{Release: digest})
	if err != nil {
		t.Fatal(err)
	}
	q := asked(t, e)
	if err := e.Cancel(t.Context(), id, "enough"); err != nil {
		t.Fatal(err)
	}
	if out, err := e.Wait(t.Context(), id); err != nil || out.Status != polity.StatusCancelled {
		t.Errorf("got %+v %v", out, err)
	}
	if err := e.Answer(t.Context(), q.Key, json.RawMessage(`1`)); !errors.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
}

// asked waits for the one question that is asked.
func asked(t *testing.T, e *engine.Engine) polity.Question {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		open, err := e.Questions(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(open) == 1 {
			return open[0]
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatal("nobody is asked")
		}
	}
}
