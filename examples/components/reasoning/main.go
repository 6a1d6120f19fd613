// Command reasoning is an agent whose reasoning is rules: it calls a tool and answers, and no model is ever asked. Everything else of the agent is
// as it is by default.
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

// rules look a thing up once, and answer with what was found.
type rules struct{}

func (rules) Reason(s agent.Situation) agent.Intent {
	last := s.Messages[len(s.Messages)-1]
	if last.Role == model.Tool {
		answer, err := json.Marshal(map[string]string{"summary": "The table says: " + last.Text})
		if err != nil {
			panic(err) // a text can be written
		}
		return agent.Intent{Answer: answer}
	}
	word := strings.Trim(strings.Fields(last.Text)[len(strings.Fields(last.Text))-1], "?")
	input, err := json.Marshal(map[string]string{"word": word})
	if err != nil {
		panic(err)
	}
	return agent.Intent{Calls: []model.Call{{Name: "table.find", Input: input}}}
}

type query struct {
	Word string `json:"word"`
}

func find(_ context.Context, _ tool.Call, q query) (string, error) {
	return map[string]string{"swift": "a bird that sleeps on the wing"}[q.Word], nil
}

func main() {
	table, err := tool.Func(tool.Spec{Name: "table.find", Version: "1", Effect: polity.EffectNone}, find)
	check(err)
	decider, err := agent.Assemble(&agent.Definition{
		Name: "clerk", Kind: agent.KindModel, Skills: []polity.Skill{{Name: "answer"}},
		Model: &agent.Model{Tools: []agent.ToolPin{{Name: "table.find"}}},
	}, agent.Parts{Reasoning: rules{}})
	check(err)
	clerk := &agent.Agent{Name: "clerk", Version: "1", Skills: []polity.Skill{{Name: "answer"}}, Decider: decider}
	state, err := os.MkdirTemp("", "polity-")
	check(err)
	defer os.RemoveAll(state)
	e, err := engine.Open(context.Background(), engine.Config{State: state, Agents: []*agent.Agent{clerk}, Tools: []tool.Tool{table}})
	check(err)
	defer e.Close()
	out, err := e.Run(context.Background(), engine.Request{Agent: "clerk", Input: json.RawMessage(`{"question":"What is a swift?"}`)})
	check(err)
	fmt.Println(out.Status, string(out.Output), out.Usage.Turns)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
