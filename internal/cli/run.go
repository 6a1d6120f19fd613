package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
	"polity.run/model"
	"polity.run/model/replay"
	"polity.run/trace"
)

const runHelp = `Run an organization on a question and print its report.

MANIFEST is a file, or a folder that holds polity.yaml. The question becomes the input
{"question": ...}, and with --in also the folder's name, as "folder_name".

The same command about the same content is the same run: if it was interrupted it goes
on, and if it has ended its report is printed again. --new starts another one; if that is
interrupted, "polity runs resume" goes on with it.

Ctrl-C cancels the run; a second one leaves at once. SIGTERM leaves without cancelling:
the same command goes on, and after --new "polity runs resume".

A run that reaches a bound ends with its best effort, exit code 0 and a note; with nothing
to show for it, with exit code 5. A run that fails or is stopped ends with exit code 5, a
cancelled one with 130.`

const runExample = `  polity run review.yaml "Is this ready for production?" --in ~/src/app
  polity run review.yaml --input '{"question": "Which licences?"}' -o json
  polity run review.yaml "Any secrets?" --in . --bounds turns=50,wall=2m --new`

func (a *app) newRun() *cobra.Command {
	var q asked
	var record, play, parent, state string
	c := &running{app: a}
	cmd := &cobra.Command{
		Use: "run MANIFEST [QUESTION...]", Short: "Run an organization on a question", Long: runHelp, Example: runExample,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.manifest, q.question = args[0], strings.Join(args[1:], " ")
			stop, err := a.recording(record, play)
			if err != nil {
				return err
			}
			q.fresh = q.fresh || a.wrap != nil // what was answered earlier says nothing of the models
			ctx := cmd.Context()
			if parent != "" {
				place, err := trace.Parse(parent, state)
				ctx = a.placed(ctx, place, err)
			}
			return errors.Join(c.open(ctx, q), stop())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&q.in, "in", "", "folder that the run may read, and no other")
	flags.StringVar(&q.input, "input", "", "input as JSON, or @FILE, or @- for stdin, instead of a question")
	flags.StringVar(&q.agent, "agent", "", "agent that is asked (default the manifest's organization)")
	flags.StringVar(&q.skill, "skill", "", "skill that is asked of it (default its only one)")
	flags.IntVar(&q.version, "input-version", 0, "version of the registered schema that --input was written for, if that is an older one")
	flags.StringVar(&q.bounds, "bounds", "", "limits of the run, as in turns=100,tokens=50000,usd=0.50,wall=5m,depth=3,fan_out=8,retries=5")
	flags.StringVar(&q.conversation, "conversation", "", "key of the conversation that this is part of: what becomes of it in mid-run the skill says")
	flags.BoolVar(&q.fresh, "new", false, "start a new run, even if this very question was answered already")
	flags.StringVar(&q.subject, "subject", "", "whose data this is: it is enciphered with that person's key, which polity erase destroys; implies --new")
	flags.StringVar(&record, "record", "", "write what the models are asked and answer into this new file; implies --new")
	flags.StringVar(&play, "replay", "", "answer for all models but quote from this recording; implies --new")
	flags.StringVar(&parent, "traceparent", "", "place in a trace that a new run continues, as W3C Trace Context writes it (default $TRACEPARENT)")
	flags.StringVar(&state, "tracestate", "", "what goes with --traceparent (default $TRACESTATE)")
	c.flags(cmd)
	return cmd
}

// recording has models recorded or replayed. Call the function when the run has ended.
func (a *app) recording(record, play string) (stop func() error, err error) {
	stop = func() error { return nil }
	switch {
	case record != "" && play != "":
		return stop, usagef("--record and --replay do not go together")
	case record != "":
		r, err := replay.Record(record)
		if err != nil {
			return stop, err
		}
		a.wrap, stop = r.Wrap, r.Close
	case play != "":
		r, err := replay.Open(play)
		if err != nil {
			return stop, err
		}
		a.wrap = func(m model.Model) model.Model {
			if m.Name() == "quote" {
				return m
			}
			return r.Wrap(m)
		}
	}
	return stop, nil
}

// open runs what is asked for to its end.
func (c *running) open(ctx context.Context, q asked) error {
	prepare, done := c.interruptible(ctx)
	r, err := c.request(prepare, q)
	done()
	if err != nil {
		return err
	}
	c.id, c.agent = r.ID, r.Agent
	c.aim = &opening{app: c.app, request: r, fresh: strings.HasPrefix(r.Seed, freshSeed)}
	return c.toEnd(ctx)
}

// opening is the aim of a command that opens a run, or finds the one that it opened earlier.
type opening struct {
	*app
	request client.Request
	fresh   bool
	short   string // the beginning of the run's ID by which it can be resumed, if it is new
}

var _ aim = (*opening)(nil)

func (o *opening) connect(ctx context.Context) (node, error) { return o.app.connect(ctx) }

func (o *opening) find(ctx context.Context, n node) (polity.Summary, error) {
	s, err := n.Find(ctx, o.request.ID)
	if !errors.Is(err, fault.NotFound) {
		return s, err
	}
	all, err := n.List(ctx)
	if err != nil {
		return polity.Summary{}, err
	}
	if o.short == "" { // else it was said already, and the process that was asked then is gone
		o.sayParked(all)
		o.short = shortID(o.request.ID, all)
	}
	return polity.Summary{}, nil
}

func (o *opening) begin(ctx context.Context, n node) error {
	_, err := n.Start(ctx, o.request)
	return err
}

func (o *opening) again() string {
	if o.fresh {
		return "polity runs resume " + o.short
	}
	return "the same command"
}

func (o *opening) flag(name string) string { return name }

// sayParked names a run of the same agent that waits to be gone on with: perhaps it is the one that is meant.
func (o *opening) sayParked(all []polity.Summary) {
	var last polity.Summary
	more := -1
	for _, s := range all {
		if s.Parked && s.Agent == o.request.Agent {
			last, more = s, more+1
		}
	}
	if more < 0 {
		return
	}
	others := ""
	if more > 0 {
		others = fmt.Sprintf(" (and %d more: polity runs list --status running)", more)
	}
	o.screen.say("note: run %s of %s is parked: polity runs resume %s%s", last.ID, moment(last.Opened), shortID(last.ID, all), others)
}
