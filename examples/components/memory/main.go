// Command memory is an agent whose working memory keeps only the last three messages and says how many it forgot. Everything else of the agent is as it is
// by default.
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

// short is a memory of one run.
type short struct{ all []model.Message }

const keep = 3

func (s *short) Add(messages ...model.Message) { s.all = append(s.all, messages...) }

func (s *short) View(int64) (messages, sum []model.Message) {
	forgot := max(0, len(s.all)-keep)
	note := model.Message{Role: model.System, Text: fmt.Sprintf("%d messages are forgotten.", forgot)}
	return append([]model.Message{note}, s.all[forgot:]...), nil
}

func (s *short) Summed(string) {}

func (s *short) Recall(string) (string, bool) { return "", false }

func look(_ context.Context, _ tool.Call, in struct {
	Cage int `json:"cage"`
}) (string, error) {
	return fmt.Sprintf("cage %d is empty", in.Cage), nil
}

func main() {
	looking, err := tool.Func(tool.Spec{Name: "cage.look", Version: "1", Effect: polity.EffectNone}, look)
	check(err)
	n := 0
	curious := scripted(func(r model.Request) model.Response {
		if n++; n <= 3 {
			return model.Response{Calls: []model.Call{{ID: "1", Name: "cage.look", Input: json.RawMessage(fmt.Sprintf(`{"cage":%d}`, n))}}}
		}
		return says(fmt.Sprintf("%s I see %d: %s", r.Messages[0].Text, len(r.Messages)-1, strings.Trim(r.Messages[len(r.Messages)-1].Text, `"`)))
	})
	run(agent.Parts{Memory: func() agent.WorkingMemory { return &short{} }},
		agent.Model{Model: "scripted", Tools: []agent.ToolPin{{Name: "cage.look"}}}, `"Where are the birds?"`, []tool.Tool{looking}, []model.Model{curious})
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
