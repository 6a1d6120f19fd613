// Package journey is a script for package chaos: a function that asks, calls, waits and undoes, linked into the program that is disturbed.
//
// It exists because only a program that has a script can run it, as a user's own program would.
package journey

import (
	"encoding/json"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/script"
)

const (
	// Name is the agent's.
	Name = "journey"
	// Version is that of the code.
	Version = "1"
	// Go is the signal that it awaits.
	Go = "go"

	live     = 3 // coroutines that are kept: fewer than there are runs, so that most are made again
	attempts = 4 // the destination answers two badly
	delay    = 20 * time.Millisecond
	rest     = 50 * time.Millisecond
	patience = 10 * time.Minute
)

// In is what is asked; Fail has the last step fail.
type In struct {
	Token polity.RunID `json:"token"`
	Fail  bool         `json:"fail,omitempty"`
}

// Out is what is answered: what the signal said, and the person.
type Out struct {
	N  int  `json:"n"`
	OK bool `json:"ok"`
}

// Agent is the script as an agent. A manifest that uses it has the agents seat, unseat, bed, unbed and printer, a person named boss, and the
// tool desk.note.
func Agent() (*agent.Agent, error) {
	a, err := script.New(Name, Version, travel, script.Config{LiveMax: live})
	if err == nil {
		a.Signals = map[string]json.RawMessage{Go: nil}
	}
	return a, err
}

// travel takes a seat and a bed side by side, waits for a time, a signal and a person, and then does what may fail.
func travel(c *script.Context, in In) (out Out, err error) {
	again := c.Retry(script.Retry{Attempts: attempts, Delay: delay})
	book := func(s *script.Steps, what, undo polity.AgentName) func() error {
		return func() error {
			return s.Do(string(what),
				func() error { return again.Ask(string(what), what, in, nil) },
				func(c *script.Context, _ script.Why) error { return c.Ask(string(undo), undo, in, nil) })
		}
	}
	err = script.Saga(c, script.Undoing{}, func(s *script.Steps) error {
		if err := c.Parallel(book(s, "seat", "unseat"), book(s, "bed", "unbed")); err != nil {
			return err
		}
		if err := c.Sleep("rest", rest); err != nil {
			return err
		}
		if err := c.Await("go", polity.Awaited{Signal: Go}, patience, &out); err != nil {
			return err
		}
		if err := c.Ask("may", "boss", in, &out); err != nil {
			return err
		}
		if err := again.Call("note", "desk.note", in, nil); err != nil {
			return err
		}
		return again.Ask("printer", "printer", in, nil)
	})
	return out, err
}
