// Command communication is an agent that speaks otherwise to the agents it asks: it adds who asks and until when, and signs its own answer. Everything else of
// the agent is as it is by default.
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

// formal words what is said to others.
type formal struct{}

func (formal) Ask(name string, to agent.AgentPin, input json.RawMessage) (polity.Command, error) {
	var brief agent.Brief
	if err := json.Unmarshal(input, &brief); err != nil {
		return polity.Command{}, err
	}
	brief.Objective = "Dear " + string(to.Agent) + ", " + brief.Objective + " By Monday, please. The clerk"
	out, err := json.Marshal(brief)
	if err != nil {
		return polity.Command{}, err
	}
	return polity.Ask(name, to.Agent, to.Skill, out), nil
}

func (formal) Reply(output json.RawMessage) polity.Command {
	return polity.Finish(json.RawMessage(strings.Replace(string(output), `"summary":"`, `"summary":"Sir or Madam, `, 1)))
}

func main() {
	keeper, err := agent.Func("keeper", "1", func(_ context.Context, b agent.Brief) (string, error) {
		return "I was asked: " + b.Objective, nil
	})
	check(err)
	busy := scripted(func(r model.Request) model.Response {
		if last := r.Messages[len(r.Messages)-1]; last.Role == model.Tool {
			return says(strings.Trim(last.Text, `"`))
		}
		return model.Response{Calls: []model.Call{{ID: "1", Name: "ask.keeper", Input: json.RawMessage(`{"objective":"count the birds."}`)}}}
	})
	run(agent.Parts{Communication: formal{}}, agent.Model{Model: "scripted", Agents: []agent.AgentPin{{Agent: "keeper"}}},
		`"How many birds are there?"`, nil, []model.Model{busy}, keeper)
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
