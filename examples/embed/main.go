// Command embed runs Polity inside a Go program: one agent, one durable run.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"polity.run/agent"
	"polity.run/engine"
)

type name struct {
	Name string `json:"name"`
}

type greeting struct {
	Text string `json:"text"`
}

func greet(_ context.Context, in name) (greeting, error) {
	return greeting{"Hello, " + in.Name + "!"}, nil
}

func main() {
	state, err := os.MkdirTemp("", "polity-embed-")
	check(err)
	greeter, err := agent.Func("greeter", "1", greet)
	check(err)
	e, err := engine.Open(context.Background(), engine.Config{State: state, Agents: []*agent.Agent{greeter}})
	check(err)
	defer e.Close()
	out, err := e.Run(context.Background(), engine.Request{Agent: "greeter", Input: json.RawMessage(`{"name":"Ada"}`)})
	check(err)
	fmt.Println(out.Status, string(out.Output))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
