package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
)

const signalHelp = `Tell a run, or one below it, something that its agent declares as a signal.

What is told before the run awaits it is kept until it does. DATA is JSON of the schema that the
signal is declared with, or a text where that is accepted; @FILE or @- reads it from a file or
from stdin.

The same --id again is the same signal: the run is told once. Without it, each call is a new one.`

func (a *app) newRunsSignal() *cobra.Command {
	var data, id string
	var version int
	cmd := &cobra.Command{
		Use: "signal RUN NAME", Short: "Tell a run something that it waits for, or will", Long: signalHelp, Args: args(cobra.ExactArgs(2)),
		Example: "  polity runs signal k3j2 paid --data '{\"amount\": 40}'\n  polity runs signal k3j2/ship stop --id stop-1",
	}
	sentFlags(cmd, &data, &id, "signal")
	cmd.Flags().IntVar(&version, "version", 0, "version of the signal's registered schema that the data is of (default what the run wants)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		raw, id, err := a.sent(data, id)
		if err != nil {
			return err
		}
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			s, run, err := find(ctx, n, args[0])
			if err != nil {
				return err
			}
			if err := n.Signal(ctx, run, args[1], id, version, raw); err != nil {
				return err
			}
			a.leftAlone(n, s)
			return a.outf("%s was told %s\n", run, clean(args[1]))
		})
	}
	return cmd
}

// leftAlone says of a run that nobody works on how it goes on.
func (a *app) leftAlone(n node, s polity.Summary) {
	if _, alone := n.(*local); alone || s.Parked {
		a.screen.say("note: no process goes on with run %s; polity runs resume %s does", s.ID, s.ID)
	} else if !s.Paused.IsZero() {
		a.screen.say("note: run %s is paused; polity runs resume %s goes on with it", s.ID, s.ID)
	}
}

func sentFlags(cmd *cobra.Command, data, id *string, what string) {
	cmd.Flags().StringVar(data, "data", "", "what is told: JSON, a text, or @FILE (default nothing)")
	cmd.Flags().StringVar(id, "id", "", "the "+what+"'s ID: the same again is the same "+what+" (default a new one)")
}

// sent is what --data and --id say.
func (a *app) sent(data, id string) (json.RawMessage, string, error) {
	if id == "" {
		id = rand.Text()
	}
	if data == "" {
		return json.RawMessage("null"), id, nil
	}
	text, err := a.inputText(data)
	if err != nil {
		return nil, "", fault.Invalid.New("--data: %w", err)
	}
	var v any
	err = json.Unmarshal(text, &v)
	if err == nil {
		return text, id, nil
	}
	if begins := bytes.TrimSpace(text); len(begins) > 0 && bytes.IndexByte([]byte(`{["`), begins[0]) >= 0 { // it was meant as JSON
		return nil, "", fault.Invalid.New("--data is not JSON: %w; a text that begins so is written as a JSON string", err)
	}
	text, err = json.Marshal(string(text))
	if err != nil {
		return nil, "", fault.Invalid.New("--data: %w", err)
	}
	return text, id, nil
}

const pauseHelp = `Let nothing new begin in a run until it is resumed: no tool, no model, no agent, no timer.

What is under way ends, and its result is kept. The run's time limit stands still. Signals and
events that come meanwhile are kept. A pause survives restarts; "polity runs resume" ends it, and
"polity runs cancel" ends the run.`

func (a *app) newRunsPause() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "pause RUN", Short: "Let nothing new begin in a run until it is resumed", Long: pauseHelp, Args: args(cobra.ExactArgs(1)),
		Example: "  polity runs pause k3j2 --reason \"the provider is down\"\n  polity runs resume k3j2",
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever looks at the run later")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			s, id, err := find(ctx, n, args[0])
			switch {
			case err != nil:
				return err
			case id != s.ID:
				return fault.Invalid.New("%s is a step; a run is paused as a whole: polity runs pause %s", id, s.ID)
			}
			if err := n.Pause(ctx, s.ID, reason); err != nil {
				return err
			}
			return a.outf("%s paused\n", s.ID)
		})
	}
	return cmd
}

const publishHelp = `Publish an event: every run that awaits it now gets it, and "polity watch" opens a run for
it where a manifest says so. Who begins to wait later does not.

A topic is tokens of a-z, 0-9, '-' and '_', joined by dots, as in orders.placed. DATA is as for
"polity runs signal". The same --id on the same topic again, among the last 10,000 events, is
the same event: it counts once.

If the topic has a registered schema, data that does not fit is refused, with the place. Who
writes an older version says which with --version: readers get it as the version that they read.`

func (a *app) newTopicsPublish() *cobra.Command {
	var data, id string
	var version int
	cmd := &cobra.Command{
		Use: "publish TOPIC", Short: "Publish an event on a topic", Long: publishHelp, Args: args(cobra.ExactArgs(1)),
		Example: "  polity topics publish orders.placed --data '{\"order\": 17}' --id order-17",
	}
	sentFlags(cmd, &data, &id, "event")
	output := outputFlag(cmd, "text", "text", "json")
	cmd.Flags().IntVar(&version, "version", 0, "version of the topic's registered schema that the data is of (default the newest that all who read it understand)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		raw, id, err := a.sent(data, id)
		if err != nil {
			return err
		}
		return a.with(cmd.Context(), func(ctx context.Context, n node) error {
			if err := n.Publish(ctx, args[0], id, version, raw); err != nil {
				return err
			}
			if output.value == "json" {
				return a.writeJSON(client.Event{Topic: args[0], ID: id, Version: version, Data: raw})
			}
			return a.outf("%s %s\n", clean(args[0]), clean(id))
		})
	}
	return cmd
}
