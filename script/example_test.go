package script_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"polity.run"
	"polity.run/fault"
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

// remind asks for the payment once more.
func remind(c *script.Context) (string, error) {
	return "reminded", c.Call("remind", "mail.send", "please pay", nil)
}

// A script waits for what it is told, for days if need be.
func ExampleContext_Await() {
	d := script.Decider(func(c *script.Context, order int) (string, error) {
		var paid struct{ Amount float64 }
		err := c.Await("payment", polity.Awaited{Signal: "paid"}, 72*time.Hour, &paid)
		if errors.Is(err, fault.Timeout) {
			return remind(c)
		}
		if err != nil {
			return "", err
		}
		return fmt.Sprint("paid ", paid.Amount), c.SleepUntil("christmas", time.Date(2026, 12, 24, 8, 0, 0, 0, time.UTC))
	}, script.Config{Pool: script.NewPool(-1)}) // its coroutine is made again at each event

	opened := polity.Event{Kind: polity.Opened, Data: json.RawMessage(`17`)}
	state, commands := d.Decide(nil, opened)
	fmt.Println(commands)
	state, commands = d.Decide(state, polity.Event{Kind: polity.Result, Name: "payment", Data: json.RawMessage(`{"Amount":40}`)})
	fmt.Println(commands)
	_, commands = d.Decide(state, polity.Event{Kind: polity.Result, Name: "christmas"})
	fmt.Println(commands[0], string(commands[0].Input))

	state, _ = d.Decide(nil, opened)
	_, commands = d.Decide(state, polity.Event{Kind: polity.Result, Name: "payment", Fault: fault.Of(fault.Timeout.New("too late"))})
	fmt.Println(commands)
	// Output:
	// [payment (await signal paid)]
	// [christmas (sleep until 2026-12-24T08:00:00Z)]
	// finish (finish) "paid 40"
	// [remind (call mail.send)]
}
