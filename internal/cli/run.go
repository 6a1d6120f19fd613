package cli

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
)

const (
	takeoversMax = 100 // how often a run follows the state folder from process to process
	graceMax     = 5 * time.Second
)

const runHelp = `Run an organization on a question and print its report.

MANIFEST is a file, or a folder that holds polity.yaml. The question becomes the input
{"question": ...}, and with --in also the folder's name, as "folder_name".

The same command about the same content is the same run: if it was interrupted it goes
on, and if it has ended its report is printed again. --new starts another one.

Ctrl-C cancels the run; a second one leaves at once. SIGTERM leaves without cancelling:
the same command goes on.

A run that reaches a bound ends with its best effort, exit code 0 and a note. A run that
fails or is stopped ends with exit code 5, a cancelled one with 130.`

const runExample = `  polity run review.yaml "Is this ready for production?" --in ~/src/app
  polity run review.yaml --input '{"question": "Which licences?"}' -o json
  polity run review.yaml "Any secrets?" --in . --bounds turns=50,wall=2m --new`

// running is one invocation of run.
type running struct {
	*app
	asked   asked
	output  *choice
	timeout time.Duration

	request  client.Request
	deadline time.Time // by --timeout, from when the run was open; zero for none
}

func (a *app) newRun() *cobra.Command {
	c := &running{app: a}
	cmd := &cobra.Command{
		Use: "run MANIFEST [QUESTION...]", Short: "Run an organization on a question", Long: runHelp, Example: runExample,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.asked.manifest, c.asked.question = args[0], strings.Join(args[1:], " ")
			return c.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&c.asked.in, "in", "", "folder that the run may read, and no other")
	flags.StringVar(&c.asked.input, "input", "", "input as JSON, or @FILE, or @- for stdin, instead of a question")
	flags.StringVar(&c.asked.agent, "agent", "", "agent that is asked (default the manifest's organization)")
	flags.StringVar(&c.asked.skill, "skill", "", "skill that is asked of it (default its only one)")
	flags.StringVar(&c.asked.bounds, "bounds", "", "limits of the run, as in turns=100,tokens=50000,usd=0.50,wall=5m,depth=3,fan_out=8,retries=5")
	flags.BoolVar(&c.asked.fresh, "new", false, "start a new run, even if this very question was answered already")
	flags.DurationVar(&c.timeout, "timeout", 0, "wait this long for the run's end, then leave with exit code 7; the same command goes on (default no limit)")
	c.output = outputFlag(cmd, "markdown for the result of an organization, else json", "markdown", "json", "text")
	return cmd
}

func (c *running) run(ctx context.Context) error {
	if c.timeout < 0 {
		return usagef("--timeout is negative")
	}
	prepare, done := c.interruptible(ctx)
	var err error
	c.request, err = c.app.request(prepare, c.asked)
	done()
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := c.once(ctx)
		var gone processGone
		if !errors.As(err, &gone) || try == takeoversMax || ctx.Err() != nil {
			return err
		}
		c.screen.say("note: %s; going on here", clean(gone.Error()))
	}
}

// processGone is the end of the process that served the run. The run is not lost.
type processGone struct{ error }

func (p processGone) Unwrap() error { return p.error }

// once runs on the node that there is now.
func (c *running) once(ctx context.Context) (err error) {
	connecting, done := c.interruptible(ctx)
	n, err := c.connect(connecting)
	done()
	if err != nil {
		return err
	}
	defer closeInto(&err, n)
	switch n := n.(type) {
	case *local:
		n.serve(c.app)
	case *remote:
		c.screen.say("note: process %d serves the state folder; it does the work", n.PID())
	}
	err = c.on(ctx, n)
	switch n := n.(type) {
	case *local:
		if code, _ := exitCode(err); code == exitOK || code == exitRunFailed {
			c.linger(ctx, n)
		}
	case *remote:
		if errors.Is(err, fault.Unavailable) {
			return processGone{err}
		}
	}
	return err
}

// on opens the run on a node, follows it and reports how it ended.
func (c *running) on(ctx context.Context, n node) error {
	v := newView(c.screen, c.request.ID)
	earlier, err := c.before(ctx, n, v)
	if err != nil {
		return err
	}
	var o polity.Outcome
	if earlier.Status.Final() {
		o, err = n.Wait(ctx, c.request.ID)
	} else if _, err = n.Start(ctx, c.request); err == nil {
		o, err = c.follow(ctx, n, v)
	}
	if err != nil {
		return c.stopped(ctx, n, err)
	}
	return c.report(o)
}

// before says what is known of the run from earlier, and returns its summary; a zero one if it is new.
func (c *running) before(ctx context.Context, n node, v *view) (polity.Summary, error) {
	s, err := n.Find(ctx, c.request.ID)
	switch {
	case errors.Is(err, fault.NotFound):
		return polity.Summary{}, nil
	case err != nil:
		return polity.Summary{}, err
	case s.Status.Final():
		c.screen.say("note: finished earlier (run %s, %s); --new starts again", s.ID, moment(s.Ended))
		return s, nil
	case s.Status == polity.StatusStopped:
		return s, nil
	}
	v.silent = true
	err = n.History(ctx, s.ID, v.put)
	v.silent = false
	if err != nil {
		return s, err
	}
	word := "resuming"
	if _, ok := n.(*remote); ok {
		word = "joining"
	}
	at := ""
	if undone := v.tree.undone(); len(undone) > 0 {
		at = " at step " + undone[0].path()
	}
	c.screen.say("note: %s run %s%s; %s done", word, s.ID, at, count(v.tree.done(), "step"))
	return s, nil
}

// stopped tells the error of a run that is stopped from others.
func (c *running) stopped(ctx context.Context, n node, err error) error {
	if errors.Is(err, fault.Unavailable) || errors.Is(err, fault.Cancelled) || errors.Is(err, fault.Timeout) {
		return err
	}
	if s, e := n.Find(ctx, c.request.ID); e == nil && s.Status == polity.StatusStopped {
		return ended{exitRunFailed, clean("run " + string(s.ID) + " is stopped: " + err.Error() + "; --new starts another one")}
	}
	return err
}

// end is how waiting for a run ended.
type end struct {
	o   polity.Outcome
	err error
}

// follow shows the run until it ends, and does what signals ask for.
func (c *running) follow(ctx context.Context, n node, v *view) (polity.Outcome, error) {
	ctx, done := c.limited(ctx)
	defer done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	waited, tailed := make(chan end, 1), make(chan error, 1)
	v.begin()
	go func() { o, err := n.Wait(ctx, c.request.ID); waited <- end{o, err} }()
	go func() { tailed <- n.Tail(ctx, c.request.ID, v.put) }()
	e := c.await(ctx, n, waited)
	if e.err != nil {
		if ctx.Err() != nil {
			e.err = context.Cause(ctx)
		}
		cancel(e.err)
		<-tailed
	} else {
		c.drain(tailed, cancel)
	}
	v.close()
	return e.o, e.err
}

// limited is a context that ends with the time that the user gives the run.
func (c *running) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.timeout == 0 {
		return ctx, func() {}
	}
	if c.deadline.IsZero() {
		c.deadline = time.Now().Add(c.timeout)
	}
	return context.WithDeadlineCause(ctx, c.deadline, fault.Timeout.New(
		"run %s has not ended within %s; it is not cancelled: the same command goes on", c.request.ID, c.timeout))
}

// drain waits for the last notices, which are on their way.
func (c *running) drain(tailed <-chan error, cancel context.CancelCauseFunc) {
	grace := time.AfterFunc(graceMax, func() { cancel(fault.Timeout.New("they do not come")) })
	defer grace.Stop()
	if err := <-tailed; err != nil {
		c.screen.say("note: some of the last steps are not shown: %s", clean(err.Error()))
	}
}

// await waits for the run's end. The first Ctrl-C cancels the run; any other signal leaves it alone.
func (c *running) await(ctx context.Context, n node, waited <-chan end) end {
	refused := make(chan error, 1)
	for interrupted := false; ; {
		select {
		case e := <-waited:
			return e
		case s := <-c.signals:
			if s != os.Interrupt || interrupted {
				return end{err: ended{exitInterrupted, "left run " + string(c.request.ID) + " (" + s.String() + "); the same command goes on with it"}}
			}
			interrupted = true
			c.screen.say("note: cancelling run %s; Ctrl-C again leaves at once", c.request.ID)
			go func() { refused <- n.Cancel(ctx, c.request.ID, "interrupted by the user") }()
		case err := <-refused:
			if err != nil {
				c.screen.say("note: it cannot be cancelled: %s", clean(err.Error()))
			}
		}
	}
}

// linger serves the runs that other processes started here to their end, or to a signal: they count on it.
func (c *running) linger(ctx context.Context, l *local) {
	if l.door == nil {
		return
	}
	ctx, cancel := c.limited(ctx)
	defer cancel()
	idle := make(chan error, 1)
	go func() { idle <- l.door.Idle(ctx) }()
	told := time.NewTimer(frameEvery)
	defer told.Stop()
	for {
		select {
		case <-idle: // or out of time, which changes nothing about this run
			return
		case <-told.C:
			c.screen.say("note: this process serves runs of others until they end; Ctrl-C leaves, and they go on there")
		case <-c.signals:
			return
		}
	}
}

// result is a run's end as JSON.
type result struct {
	ID     polity.RunID    `json:"id"`
	Status polity.Status   `json:"status"`
	Output json.RawMessage `json:"output"`
	Fault  *fault.Error    `json:"fault"`
	Usage  polity.Usage    `json:"usage"`
}

// report prints how the run ended.
func (c *running) report(o polity.Outcome) error {
	id := c.request.ID
	if err := c.print(o); err != nil {
		return err
	}
	switch o.Status {
	case polity.StatusCompleted:
		return nil
	case polity.StatusExhausted:
		c.screen.say("note: run %s reached a bound and ended with its best effort: %s; --bounds sets others", id, clean(faultText(o.Fault)))
		return nil
	case polity.StatusCancelled:
		return ended{exitInterrupted, clean("run " + string(id) + " is " + faultText(o.Fault) + "; --new starts it again")}
	default:
		return ended{exitRunFailed, clean("run " + string(id) + " " + o.Status.String() + ": " +
			strings.TrimPrefix(faultText(o.Fault), o.Status.String()+": ") + "; see: polity runs show " + string(id))}
	}
}

// faultText words a fault, with its kind unless that is what the text begins with.
func faultText(f *fault.Error) string {
	switch {
	case f == nil:
		return "it does not say why"
	case strings.HasPrefix(f.Text, string(f.Kind)):
		return f.Text
	default:
		return string(f.Kind) + ": " + f.Text
	}
}

// print prints a run's output.
func (c *running) print(o polity.Outcome) error {
	if c.output.value == "json" {
		return c.writeJSON(result{c.request.ID, o.Status, o.Output, o.Fault, o.Usage})
	}
	if len(o.Output) == 0 {
		return nil
	}
	r := report{id: c.request.ID, agent: c.request.Agent, outcome: o}
	return c.app.printOutput(&r, c.output.value)
}
