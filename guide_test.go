package polity_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/manifest"
	"polity.run/script"
	"polity.run/tool"
)

// greet is what the guide's Go function does.
func greet(_ context.Context, in struct {
	Name string `json:"name"`
}) (string, error) {
	return "Hello, " + in.Name + "!", nil
}

// The function of examples/embed may be wrapped for a manifest: an organization of a Go function and of what a
// manifest says.
func Example_manifest() {
	dir, err := os.MkdirTemp("", "polity-guide-")
	check(err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "polity.yaml")
	check(os.WriteFile(path, []byte("polity: v1\nname: desk\nagents:\n  host: {use: greeter}\n"), 0o600))

	ctx := context.Background()
	greeter, err := agent.Func("greeter", "1", greet)
	check(err)
	e, err := engine.Open(ctx, engine.Config{State: filepath.Join(dir, "state"), Agents: []*agent.Agent{greeter}})
	check(err)
	defer e.Close()
	m, err := manifest.Load(path, manifest.Env{Go: map[string]string{"greeter": greeter.Version}})
	check(err)
	release, err := e.Install(&m.Release, m.Blobs)
	check(err)
	out, err := e.Run(ctx, engine.Request{Release: release, Input: json.RawMessage(`{"name":"Ada"}`)})
	check(err)
	fmt.Println(out.Status, string(out.Output))
	// Output: completed "Hello, Ada!"
}

// patient asks the oracle, and again after a while if it cannot answer now, at most three times.
type patient struct{}

// asked is what patient remembers of one run.
type asked struct {
	question json.RawMessage
	attempt  int
}

func (patient) Decide(state any, e polity.Event) (any, []polity.Command) {
	s, _ := state.(*asked)
	switch {
	case e.Kind == polity.Opened:
		s = &asked{question: e.Data}
	case e.Name == "ask" && e.Fault == nil:
		return s, []polity.Command{polity.Finish(e.Data)}
	case e.Name == "ask" && s.attempt == 3:
		return s, []polity.Command{polity.Fail(e.Fault)}
	case e.Name == "ask":
		return s, []polity.Command{polity.Sleep(fmt.Sprintf("wait.%d", s.attempt), time.Millisecond)}
	}
	s.attempt++
	ask := polity.Ask("ask", "oracle", "", s.question)
	ask.Attempt = s.attempt
	return s, []polity.Command{ask}
}

func ExampleDecider() {
	state, err := os.MkdirTemp("", "polity-guide-")
	check(err)
	defer os.RemoveAll(state)
	calls := 0
	oracle := &agent.Agent{
		Name: "oracle", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "answer"}},
		Handle: func(_ context.Context, m polity.Message) (json.RawMessage, error) {
			if calls++; calls < 3 {
				return nil, fault.Unavailable.New("oracle: busy")
			}
			return json.RawMessage(`42`), nil
		},
	}
	asker := &agent.Agent{Name: "asker", Version: "1", Skills: []polity.Skill{{Name: "ask"}}, Decider: patient{}}
	e, err := engine.Open(context.Background(), engine.Config{State: state, Agents: []*agent.Agent{oracle, asker}})
	check(err)
	defer e.Close()
	out, err := e.Run(context.Background(), engine.Request{Agent: "asker", Input: json.RawMessage(`"why?"`)})
	check(err)
	fmt.Println(out.Status, string(out.Output), "after", calls, "calls")
	// Output: completed 42 after 3 calls
}

// trip is what is booked, and what has been.
type trip struct {
	City   string `json:"city"`
	Flight string `json:"flight,omitempty"`
	Hotel  string `json:"hotel,omitempty"`
}

// book books a flight and a hotel side by side, and gives the flight back if there is no bed.
func book(c *script.Context, in trip) (trip, error) {
	flight := c.Go(func() error { return c.Ask("flight", "airline", in, &in.Flight) })
	hotel := c.Go(func() error {
		return c.Retry(script.Retry{Attempts: 2, Delay: time.Millisecond}).Ask("hotel", "hotel", in, &in.Hotel)
	})
	err := c.Wait(2, flight, hotel)
	if err == nil {
		return in, c.Sleep("until.the.day.before", time.Millisecond)
	}
	flight.Cancel()
	if flight.Await() == nil {
		err = errors.Join(err, c.Ask("undo", "airline", in, nil))
	}
	return in, err
}

func Example_script() {
	state, err := os.MkdirTemp("", "polity-guide-")
	check(err)
	defer os.RemoveAll(state)
	airline, err := agent.Func("airline", "1", func(_ context.Context, in trip) (string, error) {
		if in.Flight != "" {
			fmt.Println(in.Flight, "is given back")
			return "", nil
		}
		return "seat 7 to " + in.City, nil
	})
	check(err)
	hotel, err := agent.Func("hotel", "1", func(_ context.Context, in trip) (string, error) {
		if in.City == "Hay" {
			return "", fault.Unavailable.New("hotel: no bed")
		}
		return "room 3", nil
	})
	check(err)
	booker, err := script.New("booker", "1", book, script.Config{})
	check(err)
	e, err := engine.Open(context.Background(), engine.Config{State: state, Agents: []*agent.Agent{airline, hotel, booker}})
	check(err)
	defer e.Close()
	for _, city := range []string{"Ulm", "Hay"} {
		input, err := json.Marshal(trip{City: city})
		check(err)
		out, err := e.Run(context.Background(), engine.Request{Agent: "booker", Input: input})
		check(err)
		if out.Fault != nil {
			fmt.Println(out.Status, out.Fault)
			continue
		}
		fmt.Println(out.Status, string(out.Output))
	}
	// Output:
	// completed {"city":"Ulm","flight":"seat 7 to Ulm","hotel":"room 3"}
	// seat 7 to Hay is given back
	// failed hotel: no bed
}

// offer is what a shop is asked for.
type offer struct {
	Shop string `json:"shop"`
	Item string `json:"item"`
}

// cheapest asks shops what an item costs, two at once and each for a minute at most.
func cheapest(c *script.Context, item string) (int, error) {
	prices, err := script.Map(c, 2, []string{"north", "south", "easter"}, func(i int, shop string) (price int, err error) {
		err = c.Timeout(c.Name("patience", i), time.Minute, func() error {
			return c.Ask(c.Name("ask", i), "shop", offer{shop, item}, &price)
		})
		return price, err
	})
	if err != nil {
		return 0, err
	}
	return slices.Min(prices), nil
}

// cheapestNow is cheapest as it was changed: what has just opened is asked as well.
func cheapestNow(c *script.Context, item string) (int, error) {
	price, err := cheapest(c, item)
	if err != nil || !c.Since("2") {
		return price, err
	}
	var outlet int
	err = c.Ask("outlet", "shop", offer{"new", item}, &outlet)
	return min(price, outlet), err
}

// A script changes while a run of it waits: the run goes on as it began.
func Example_scriptVersions() {
	state, err := os.MkdirTemp("", "polity-guide-")
	check(err)
	defer os.RemoveAll(state)
	ctx := context.Background()
	request := engine.Request{Agent: "buyer", Input: json.RawMessage(`"a lamp"`)}
	shop, err := agent.Func("shop", "1", func(_ context.Context, in offer) (int, error) { return 10 * len(in.Shop), nil })
	check(err)
	asked := make(chan struct{}, 3)
	closed := *shop
	closed.Handle = func(ctx context.Context, _ polity.Message) (json.RawMessage, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	buyer, err := script.New("buyer", "1", cheapest, script.Config{})
	check(err)
	e, err := engine.Open(ctx, engine.Config{State: state, Agents: []*agent.Agent{&closed, buyer}})
	check(err)
	old, err := e.Start(ctx, request)
	check(err)
	<-asked // it waits for an answer
	check(e.Close())

	buyer, err = script.New("buyer", "2", cheapestNow, script.Config{Older: []string{"1"}})
	check(err)
	e, err = engine.Open(ctx, engine.Config{State: state, Agents: []*agent.Agent{shop, buyer}})
	check(err)
	defer e.Close()
	out, err := e.Wait(ctx, old)
	check(err)
	fmt.Println("began with version 1:", string(out.Output))
	out, err = e.Run(ctx, request)
	check(err)
	fmt.Println("began with version 2:", string(out.Output))
	// Output:
	// began with version 1: 50
	// began with version 2: 30
}

// An agent that answers later holds no goroutine while it waits.
func Example_later() {
	state, err := os.MkdirTemp("", "polity-guide-")
	check(err)
	defer os.RemoveAll(state)
	clock := &agent.Agent{
		Name: "clock", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "wait"}},
		Begin: func(ctx context.Context, m polity.Message, done func(json.RawMessage, error)) {
			time.AfterFunc(time.Millisecond, func() { done(m.Body, ctx.Err()) })
		},
	}
	e, err := engine.Open(context.Background(), engine.Config{State: state, Agents: []*agent.Agent{clock}})
	check(err)
	defer e.Close()
	out, err := e.Run(context.Background(), engine.Request{Agent: "clock", Input: json.RawMessage(`"later"`)})
	check(err)
	fmt.Println(out.Status, string(out.Output))
	// Output: completed "later"
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// payment is what the guide's bank is asked, and paid what it answers.
type (
	payment struct {
		Sum int `json:"sum"`
	}
	paid struct {
		ID string `json:"id"`
	}
)

// ledger is a bank that pays and does not say so.
type ledger map[string]paid

func (l ledger) pay(key string, _ payment) (paid, error) {
	l[key] = paid{fmt.Sprintf("p-%d", len(l)+1)}
	return paid{}, fault.Unavailable.New("bank: the connection broke off")
}

func (l ledger) find(key string) (polity.Finding, error) {
	p, ok := l[key]
	if !ok {
		return polity.Finding{Verdict: polity.VerdictNotDone}, nil
	}
	output, err := json.Marshal(p)
	return polity.Finding{Verdict: polity.VerdictDone, Output: output}, err
}

// payer pays once, and ends with what the bank says.
type payer struct{}

func (payer) Decide(_ any, e polity.Event) (any, []polity.Command) {
	switch {
	case e.Kind == polity.Opened:
		return nil, []polity.Command{polity.Call("pay", "bank.pay", e.Data)}
	case e.Fault != nil:
		return nil, []polity.Command{polity.Fail(e.Fault)}
	default:
		return nil, []polity.Command{polity.Finish(e.Data)}
	}
}

func Example_reconcile() {
	state, err := os.MkdirTemp("", "polity-guide-")
	check(err)
	defer os.RemoveAll(state)
	bank := ledger{}
	pay, err := tool.Func(tool.Spec{Name: "bank.pay", Version: "1", Description: "Pays.", Effect: polity.EffectExternal, Receipt: "$.id"},
		func(_ context.Context, c tool.Call, in payment) (paid, error) { return bank.pay(c.Key, in) })
	check(err)
	asked := tool.WithReconcile(pay, func(_ context.Context, c tool.Call, since time.Time) (polity.Finding, error) {
		return bank.find(c.Key)
	})
	cashier := &agent.Agent{Name: "cashier", Version: "1", Skills: []polity.Skill{{Name: "pay"}}, Decider: payer{}}
	ctx := context.Background()
	e, err := engine.Open(ctx, engine.Config{State: state, Agents: []*agent.Agent{cashier}, Tools: []tool.Tool{asked}})
	check(err)
	defer e.Close()
	id, err := e.Start(ctx, engine.Request{Agent: "cashier", Input: json.RawMessage(`{"sum":7}`)})
	check(err)
	out, err := e.Wait(ctx, id)
	check(err)
	fmt.Println(out.Status, string(out.Output), "paid", len(bank), "times")
	check(e.History(ctx, id, func(n polity.Notice) error {
		if n.Asked {
			fmt.Println("the bank was asked; receipt", string(n.Receipt))
		}
		return nil
	}))
	// Output:
	// completed {"id":"p-1"} paid 1 times
	// the bank was asked; receipt {"$.id":"p-1"}
}
