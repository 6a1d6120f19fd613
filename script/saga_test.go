package script_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"polity.run"
	"polity.run/fault"
	"polity.run/saga"
	"polity.run/script"
)

// A saga undoes what was done when a later step fails, and says so.
func ExampleSaga() {
	d := script.Decider(func(c *script.Context, trip string) (string, error) {
		var seat, paid string
		err := script.Saga(c, script.Undoing{}, func(s *script.Steps) error {
			if err := s.Do("seat", func() error { return c.Call("seat", "seats.book", trip, &seat) },
				func(c *script.Context, _ script.Why) error { return c.Call("seat.undo", "seats.cancel", seat, nil) }); err != nil {
				return err
			}
			return s.Do("pay", func() error { return c.Call("pay", "bank.pay", seat, &paid) }, nil)
		})
		return paid, err
	}, script.Config{})

	state, commands := d.Decide(nil, polity.Event{Kind: polity.Opened, Data: json.RawMessage(`"Rome"`)})
	fmt.Println(commands[0], string(commands[0].Input))
	state, commands = d.Decide(state, polity.Event{Kind: polity.Result, Name: "seat", Data: json.RawMessage(`"12A"`)})
	fmt.Println(commands[0], string(commands[0].Input))
	state, commands = d.Decide(state, polity.Event{Kind: polity.Result, Name: "pay", Fault: fault.Of(fault.Denied.New("no money"))})
	fmt.Println(commands[0], string(commands[0].Input), commands[0].Undo)
	_, commands = d.Decide(state, polity.Event{Kind: polity.Result, Name: "seat.undo"})
	fmt.Println(commands[0].Fault, string(commands[0].Input))
	// Output:
	// seat (call seats.book) "Rome"
	// pay (call bank.pay) "12A"
	// seat.undo (call seats.cancel) "12A" true
	// no money; what was done is compensated {"saga":{"status":"compensated","why":"no money","undone":[{"name":"seat"}]}}
}

// trip is a saga of two steps side by side and a third one.
func trip(cfg script.Undoing) func(c *script.Context, in string) (string, error) {
	return func(c *script.Context, in string) (string, error) {
		err := script.Saga(c, cfg, func(s *script.Steps) error {
			step := func(name string) func() error {
				return func() error {
					return s.Do(name, func() error { return c.Ask(name, "agent", in, nil) }, func(c *script.Context, why script.Why) error {
						return c.Ask(name+".undo", "agent", why, nil)
					})
				}
			}
			if err := c.Parallel(step("seat"), step("room")); err != nil {
				return err
			}
			return step("pay")()
		})
		return "fine", err
	}
}

func TestSaga(t *testing.T) {
	stuck := script.Undoing{Stuck: func(c *script.Context, left saga.Left) (json.RawMessage, error) {
		var said json.RawMessage
		return said, c.Ask("mend."+left.Stage, "owner", left.Why, &said)
	}}
	for name, test := range map[string]struct {
		cfg    script.Undoing
		lines  []string
		status string // "" for none
		want   string // commands that undo, in order
	}{
		"all is well":         {lines: []string{"seat 1", "room 1", "pay 1"}},
		"the last one fails":  {lines: []string{"seat 1", "room 1", "pay !denied", "room.undo 1", "seat.undo 1"}, status: saga.Compensated, want: "room.undo seat.undo"},
		"order of completion": {lines: []string{"room 1", "seat 1", "pay !denied", "seat.undo 1", "room.undo 1"}, status: saga.Compensated, want: "seat.undo room.undo"},
		"at once": {
			cfg: script.Undoing{AtOnce: true}, lines: []string{"seat 1", "room 1", "pay !denied", "seat.undo 1", "room.undo 1"},
			status: saga.Compensated, want: "room.undo seat.undo",
		},
		"one of two fails, and the other is waited for": {lines: []string{"seat !denied", "room 1", "room.undo 1"}, status: saga.Compensated, want: "room.undo"},
		"cancelled in the middle":                       {lines: []string{"seat 1", "stop", "room !cancelled", "room.undo 1", "seat.undo 1"}, status: saga.Compensated, want: "room.undo seat.undo"},
		"cancelled, and the last step was done all the same": {
			lines: []string{"seat 1", "room 1", "stop", "pay 1", "pay.undo 1", "room.undo 1", "seat.undo 1"}, status: saga.Compensated, want: "pay.undo room.undo seat.undo",
		},
		"undoing is tried again": {
			lines:  []string{"seat 1", "room !denied", "seat.undo !unavailable", "seat.undo.wait 1", "seat.undo~2 1"},
			status: saga.Compensated, want: "seat.undo seat.undo.wait seat.undo~2",
		},
		"what cannot be undone is left": {lines: []string{"seat 1", "room 1", "pay !denied", "room.undo !denied", "seat.undo 1"}, status: saga.Partly, want: "room.undo seat.undo"},
		"or put in order by a person": {
			cfg: stuck, lines: []string{"seat 1", "room !denied", "seat.undo !denied", `mend.seat "called them"`}, status: saga.Mended, want: "seat.undo mend.seat",
		},
		"or by nobody": {cfg: stuck, lines: []string{"seat 1", "room !denied", "seat.undo !denied", "mend.seat !timeout", "mend.seat.wait 1", "mend.seat~2 !denied"},
			status: saga.Partly, want: "seat.undo mend.seat mend.seat.wait mend.seat~2"},
		"nobody knows": {lines: []string{"seat !unknown", "room !cancelled", "room.undo 1", "seat.undo 1"}, status: saga.Compensated, want: "room.undo seat.undo"},
	} {
		for _, pool := range []*script.Pool{nil, script.NewPool(-1)} {
			t.Run(fmt.Sprintf("%s, kept %t", name, pool == nil), func(t *testing.T) {
				p := newPlay(t, pool, trip(test.cfg))
				commands := p.open()
				var undoing []string
				for _, line := range test.lines {
					if line == "stop" {
						s, ok := p.decider.(polity.Stopper)
						if !ok || !s.Stops(p.state) {
							t.Fatal("a saga that is under way does not want to be told")
						}
						commands = p.tell(polity.Event{Kind: polity.Stopping, Fault: fault.Of(fault.Cancelled.New("enough"))})
					} else {
						commands = p.line(line)
					}
					for _, c := range commands {
						if c.Undo {
							undoing = append(undoing, c.Key())
						}
					}
				}
				if len(commands) == 0 {
					t.Fatalf("it has not ended:\n%s", &p.log)
				}
				end := commands[len(commands)-1]
				status := ""
				if r := saga.Of(end.Input); r != nil {
					status = r.Status
				}
				if status != test.status || (end.Do == polity.DoFail) != (status != "") || strings.Join(undoing, " ") != test.want {
					t.Errorf("ended %s with %q, undid %q; want %q, %q:\n%s", end.Do, status, undoing, test.status, test.want, &p.log)
				}
				if s, ok := p.decider.(polity.Stopper); ok && s.Stops(p.state) {
					t.Error("it would be told after its end")
				}
			})
		}
	}
}

func TestSagaMistakes(t *testing.T) {
	p := newPlay(t, nil, func(c *script.Context, _ string) (string, error) {
		return "", script.Saga(c, script.Undoing{}, func(s *script.Steps) error {
			nothing := func() error { return nil }
			return errors.Join(s.Do("x", nothing, nil), s.Do("x", nothing, nil))
		})
	})
	end := p.open()[0]
	if end.Do != polity.DoFail || !strings.Contains(end.Fault.Text, `the step "x" is done twice`) {
		t.Errorf("%s %v", end, end.Fault)
	}
}
