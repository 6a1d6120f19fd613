package script_test

import (
	"encoding/json"
	"fmt"
	"time"

	"polity.run"
	"polity.run/script"
)

// A script is tested as any decider: tell it what happens and look at its commands.
func Example() {
	d := script.Decider(func(c *script.Context, url string) (string, error) {
		var page string
		if err := c.Call("fetch", "web.get", url, &page); err != nil {
			return "", err
		}
		if err := c.Sleep("rest", time.Hour); err != nil {
			return "", err
		}
		return "seen: " + page, nil
	}, script.Config{})

	state, commands := d.Decide(nil, polity.Event{Kind: polity.Opened, Data: json.RawMessage(`"example.org"`)})
	fmt.Println(commands[0], string(commands[0].Input))
	state, commands = d.Decide(state, polity.Event{Kind: polity.Result, Name: "fetch", Data: json.RawMessage(`"a page"`)})
	fmt.Println(commands[0])
	_, commands = d.Decide(state, polity.Event{Kind: polity.Result, Name: "rest"})
	fmt.Println(commands[0], string(commands[0].Input))
	// Output:
	// fetch (call web.get) "example.org"
	// rest (sleep 1h0m0s)
	// finish (finish) "seen: a page"
}

// Joins are made of futures: all, a quorum, the first.
func ExampleContext_First() {
	d := script.Decider(func(c *script.Context, question string) (json.RawMessage, error) {
		ada, bob := c.Start(polity.Ask("ada", "ada", "", nil)), c.Start(polity.Ask("bob", "bob", "", nil))
		first, err := c.First(ada, bob)
		if err != nil {
			return nil, err
		}
		var answer json.RawMessage
		return answer, first.Decode(&answer)
	}, script.Config{})

	state, commands := d.Decide(nil, polity.Event{Kind: polity.Opened, Data: json.RawMessage(`"who?"`)})
	fmt.Println(commands)
	_, commands = d.Decide(state, polity.Event{Kind: polity.Result, Name: "bob", Data: json.RawMessage(`"me"`)})
	fmt.Println(commands) // ada is cancelled by the end
	// Output:
	// [ada (ask ada) bob (ask bob)]
	// [finish (finish)]
}
