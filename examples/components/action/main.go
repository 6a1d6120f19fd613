// Command action is an agent whose action is a dry run: what its model calls is not done but told, as a person would look at a plan. Everything else of the
// agent is as it is by default.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/model"
	"polity.run/tool"
)

// dryRun offers a tool and calls another one in its place.
type dryRun struct{}

func (dryRun) Offers() []model.Offer {
	return []model.Offer{{Name: "birds.release", Description: "Opens a cage.", Input: json.RawMessage(`{"type":"object"}`)}}
}

func (dryRun) Act(name string, c model.Call) (polity.Command, error) {
	input, err := json.Marshal(map[string]any{"would": c.Name, "with": c.Input})
	if err != nil {
		return polity.Command{}, err
	}
	return polity.Call(name, "plan.note", input), nil
}

type plan struct {
	Would string          `json:"would"`
	With  json.RawMessage `json:"with"`
}

func note(_ context.Context, _ tool.Call, p plan) (string, error) {
	return "not done, only noted: " + p.Would + " " + string(p.With), nil
}

func main() {
	noting, err := tool.Func(tool.Spec{
		Name: "plan.note", Version: "1", Effect: polity.EffectNone, Input: json.RawMessage(`{"type":"object"}`),
	}, note)
	check(err)
	eager := scripted(func(r model.Request) model.Response {
		if last := r.Messages[len(r.Messages)-1]; last.Role == model.Tool {
			return says(strings.Trim(last.Text, `"`))
		}
		return model.Response{Calls: []model.Call{{ID: "1", Name: "birds.release", Input: json.RawMessage(`{"cage":7}`)}}}
	})
	run(agent.Parts{Action: dryRun{}}, agent.Model{Model: "scripted"}, `"Release the birds."`, []tool.Tool{noting}, []model.Model{eager})
}

// scripted is a model that answers by what it is told, so that this program needs no provider.
type scripted func(r model.Request) model.Response

func (scripted) Name() string { return "scripted" }

func (s scripted) Answer(_ context.Context, r model.Request) (model.Response, error) {
	return s(r), nil
}

func says(text string) model.Response {
	out, err := json.Marshal(map[string]string{"summary": text})
	check(err)
	return model.Response{Output: out}
}

func run(parts agent.Parts, def agent.Model, input string, tools []tool.Tool, models []model.Model, more ...*agent.Agent) {
	decider, err := agent.Assemble(&agent.Definition{
		Name: "clerk", Kind: agent.KindModel, Skills: []polity.Skill{{Name: "answer"}}, Model: &def,
	}, parts)
	check(err)
	clerk := &agent.Agent{Name: "clerk", Version: "1", Skills: []polity.Skill{{Name: "answer"}}, Decider: decider}
	state, err := os.MkdirTemp("", "polity-")
	check(err)
	defer os.RemoveAll(state)
	e, err := engine.Open(context.Background(), engine.Config{
		State: state, Agents: append(more, clerk), Tools: tools, Models: models,
	})
	check(err)
	defer e.Close()
	out, err := e.Run(context.Background(), engine.Request{Agent: "clerk", Input: json.RawMessage(input)})
	check(err)
	fmt.Println(out.Status, string(out.Output))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
