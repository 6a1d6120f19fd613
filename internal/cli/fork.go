package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
	"polity.run/manifest"
)

const forkHelp = `Begin a new run with what another one's log tells up to an event, and follow it to its end as
"polity run" does. "polity runs events" numbers the events.

What was answered up to the event is taken over, with its times and what it used, and not
done again; bounds count it. What had begun and not ended there goes on in the fork: runs
below it from where they were, and what was asked of tools, models and people is asked again.
Only an external effect that had begun ends as unknown: nobody knows whether it was done.

Effects of the classes keyed and external are simulated: they are not done, and end as
denied. --allow-effects has them done.

With --release the deciders of another manifest go on, if they ask for everything that is
taken over. With --input the run is asked something else, from its opening on.

The same command is the same fork; --new begins another one.`

// forking is the aim of a command that forks a run, or goes on with the fork that it opened earlier.
type forking struct {
	*running
	text    string // the origin's ID as it was typed
	release string // manifest; "" for the origin's release
	input   string
	fresh   bool
	fork    client.Fork
	origin  polity.RunID
	// event finds the event to fork at in what the origin's log tells, if none was given.
	event func(s polity.Summary, list []numbered) (int, error)
}

var _ aim = (*forking)(nil)

func (f *forking) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.release, "release", "", "manifest whose deciders go on (default the run's own release)")
	cmd.Flags().BoolVar(&f.fork.Effects, "allow-effects", false, "do keyed and external effects too")
	cmd.Flags().BoolVar(&f.fresh, "new", false, "begin another one, even if there is such a fork")
	f.running.flags(cmd)
}

func (a *app) newRunsFork() *cobra.Command {
	f := &forking{running: &running{app: a}}
	cmd := &cobra.Command{
		Use: "fork ID", Short: "Begin a new run with what another one did up to an event", Long: forkHelp, Args: args(cobra.ExactArgs(1)),
		Example: "  polity runs fork 0-k3j2 --at 12\n  polity runs fork k3j2 --at 12 --release review.yaml\n  polity runs fork k3j2 --input '{\"question\": \"Which licences?\"}'",
	}
	f.flags(cmd)
	cmd.Flags().IntVar(&f.fork.Event, "at", 0, "number of the last event that is taken over (with --input always 1)")
	cmd.Flags().StringVar(&f.input, "input", "", "input as JSON, or @FILE, or @- for stdin, in place of the run's")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.text = args[0]
		at := cmd.Flags().Changed("at")
		switch {
		case f.input != "" && at && f.fork.Event != 1:
			return usagef("--input asks something else from the opening on, and does not go with --at %d", f.fork.Event)
		case f.input != "":
			f.fork.Event = 1
			input, err := a.input(asked{input: f.input}, "")
			if err != nil {
				return err
			}
			f.fork.Input = input
		case !at:
			return usagef("--at is needed: the number of the last event that is taken over; see: polity runs events %s", args[0])
		case f.fork.Event < 1:
			return usagef("--at %d: events are counted from 1", f.fork.Event)
		}
		return f.begun(cmd.Context())
	}
	return cmd
}

const retryHelp = `Do the failed step of a run again: a fork at the event before the failure, which is followed to
its end as "polity run" does.

Without --from it is what the run failed of: the first of the faults that it ended with. The
run that failed stays as it is. See "polity runs fork" for what is taken over, and for
--allow-effects, without which keyed and external effects are not done.`

func (a *app) newRunsRetry() *cobra.Command {
	var from string
	f := &forking{running: &running{app: a}}
	cmd := &cobra.Command{
		Use: "retry ID", Short: "Do the failed step of a run again, and what follows", Long: retryHelp, Args: args(cobra.ExactArgs(1)),
		Example: "  polity runs retry 0-k3j2\n  polity runs retry k3j2 --from dependencies --allow-effects",
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&from, "from", "", "step that is done again, as \"runs show -o json\" names it below the run (default the failed one)")
	f.event = func(s polity.Summary, list []numbered) (int, error) {
		if from != "" {
			return eventBefore(s.ID, list, from)
		}
		return eventBeforeFault(s, list)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.text = args[0]
		return f.begun(cmd.Context())
	}
	return cmd
}

// begun reads the manifest, if there is one, and runs the fork to its end.
func (f *forking) begun(ctx context.Context) error {
	if f.release != "" {
		m, err := f.load(f.release)
		if err != nil {
			return err
		}
		f.fork.Release, f.fork.Files = &m.Release, m.Blobs
	}
	if f.fresh {
		f.fork.Seed = "new " + rand.Text()
	}
	f.aim = f
	return f.toEnd(ctx)
}

func (f *forking) connect(ctx context.Context) (node, error) { return f.existing(ctx) }

func (f *forking) find(ctx context.Context, n node) (polity.Summary, error) {
	if f.id == "" {
		if err := f.choose(ctx, n); err != nil {
			return polity.Summary{}, err
		}
	}
	s, err := n.Find(ctx, f.id)
	if errors.Is(err, fault.NotFound) {
		return polity.Summary{}, nil
	}
	return s, err
}

// choose finds the origin and the event, and with them the fork's ID.
func (f *forking) choose(ctx context.Context, n node) error {
	origin, err := findRoot(ctx, n, f.text, "is forked")
	if err != nil {
		return err
	}
	s, err := n.Find(ctx, origin)
	if err != nil {
		return err
	}
	if f.event != nil {
		list, err := history(ctx, n, origin)
		if err != nil {
			return err
		}
		if f.fork.Event, err = f.event(s, list); err != nil {
			return err
		}
	}
	f.origin, f.agent = origin, s.Agent
	f.id, err = forkID(origin, f.fork)
	f.fork.ID = f.id
	return err
}

// forkID names a fork, so that it can be looked for before it is opened.
func forkID(origin polity.RunID, q client.Fork) (polity.RunID, error) {
	release := ""
	if q.Release != nil {
		var err error
		if release, _, err = manifest.Digest(q.Release); err != nil {
			return "", err
		}
	}
	q.ID, q.Release, q.Files = "", nil, nil // the digest covers the files
	rest, err := json.Marshal(q)
	if err != nil {
		return "", fault.Invalid.New("input: %w", err)
	}
	return polity.NewRunID(0, []byte(strings.Join([]string{"fork", string(origin), release, string(rest)}, "\n"))), nil
}

func (f *forking) begin(ctx context.Context, n node) error {
	if _, err := n.Fork(ctx, f.origin, f.fork); err != nil {
		return err
	}
	f.screen.say("note: run %s is a fork of %s at event %d", f.id, f.origin, f.fork.Event)
	return nil
}

func (f *forking) again() string { return "polity runs resume " + string(f.id) }

func (f *forking) flag(name string) string {
	if name == "--new" {
		return name
	}
	return "polity run " + name
}

// eventBefore is the last event before a step began.
func eventBefore(root polity.RunID, list []numbered, step string) (int, error) {
	id := root + "/" + polity.RunID(strings.Trim(step, "/"))
	var known []string
	for i, e := range list {
		switch at := stepOf(e.Notice); {
		case at == id && i > 0:
			return i, nil
		case at != root:
			known = append(known, strings.TrimPrefix(string(at), string(root)+"/"))
		}
	}
	return 0, fault.NotFound.New("run %s has no step %q%s", root, step, suggest(step, known))
}

// stepOf is the step that an event is about.
func stepOf(n polity.Notice) polity.RunID {
	if n.Name != "" {
		return n.Run.Child(n.Name, n.Attempt)
	}
	return n.Run
}

// eventBeforeFault is the last event before what a run failed of: the first of the faults that its log ends with. A fault that is
// not a result's is of a run's own deciding, which would be the same again: then all of that run is done again.
func eventBeforeFault(s polity.Summary, list []numbered) (int, error) {
	if s.Status != polity.StatusFailed {
		return 0, fault.Invalid.New("run %s has not failed: it is %s; polity runs fork %s --at EVENT begins at any event", s.ID, s.Status, s.ID)
	}
	at := len(list) - 1
	for at > 0 && list[at-1].Fault != nil {
		at--
	}
	failed := list[at].Notice
	if failed.Kind == "finished" && failed.Run == s.ID {
		return 0, fault.Invalid.New("run %s failed of no step, but by its own decision; polity runs fork %s --at EVENT begins at any event", s.ID, s.ID)
	}
	first := slices.IndexFunc(list, func(e numbered) bool { return stepOf(e.Notice) == stepOf(failed) })
	return min(at, first), nil
}
