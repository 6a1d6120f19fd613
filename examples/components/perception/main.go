// Command perception is an agent that sees its input otherwise: telegrams in capitals, with STOP for the end of a sentence, reach its model as plain sentences. Everything
// else of the agent is as it is by default.
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

// telegrams reads what arrives.
type telegrams struct{}

func (telegrams) Perceive(p agent.Percept) []model.Message {
	text := strings.Trim(string(p.Event.Data), `"`)
	var sentences []string
	for part := range strings.SplitSeq(text, " STOP") {
		if part = strings.TrimSpace(strings.ToLower(part)); part != "" {
			sentences = append(sentences, strings.ToUpper(part[:1])+part[1:]+".")
		}
	}
	return []model.Message{{Role: model.User, Text: strings.Join(sentences, " "), Pinned: true}}
}

func main() {
	echo := scripted(func(r model.Request) model.Response { return says("I was told: " + r.Messages[len(r.Messages)-1].Text) })
	run(agent.Parts{Perception: telegrams{}}, agent.Model{Model: "scripted"}, `"ARRIVE MONDAY STOP BRING BIRDS STOP"`, nil, []model.Model{echo})
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
