package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polity.run"
	"polity.run/fault"
	"polity.run/saga"
)

const (
	takeoversMax = 100 // how often a run follows the state folder from process to process
	graceMax     = 5 * time.Second
)

// running is a run that one invocation opens or resumes, shows until it ends, and reports.
type running struct {
	*app
	aim     aim
	output  *choice
	timeout time.Duration

	id       polity.RunID // "" until a run that is resumed was found
	agent    string
	deadline time.Time // by --timeout, from when the run was open; zero for none
}

// aim is what an invocation does to have a run go on.
type aim interface {
	connect(ctx context.Context) (node, error)
	// find returns the summary of the run, a zero one if there is none yet.
	find(ctx context.Context, n node) (polity.Summary, error)
	// begin has the node work on the run.
	begin(ctx context.Context, n node) error
	// again words what goes on with the run if this invocation leaves it.
	again() string
	// flag words a flag of run.
	flag(name string) string
}

// flags adds the flags of commands that follow a run to its end.
func (c *running) flags(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&c.timeout, "timeout", 0,
		"wait this long for the run's end, then leave with exit code 7, without cancelling it (default no limit)")
	c.output = outputFlag(cmd, "markdown for the result of an organization, else json", "markdown", "json", "text")
}

// toEnd runs on whichever node there is, until the run has ended or is left.
func (c *running) toEnd(ctx context.Context) error {
	if c.timeout < 0 {
		return usagef("--timeout is negative")
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
	n, err := c.aim.connect(connecting)
	done()
	if err != nil {
		return err
	}
	defer closeInto(&err, n)
	switch n := n.(type) {
	case *local:
		n.serve(c.app)
	case *remote:
		c.screen.say("note: %s", n.serves())
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

// on has a node work on the run, follows it and reports how it ended.
func (c *running) on(ctx context.Context, n node) error {
	earlier, err := c.aim.find(ctx, n)
	if err != nil {
		return err
	}
	if earlier.ID != "" {
		c.id, c.agent = earlier.ID, earlier.Agent
	}
	v := newView(c.screen, c.id)
	if err := c.before(ctx, n, v, earlier); err != nil {
		return err
	}
	var o polity.Outcome
	if earlier.Status.Final() {
		o, err = n.Wait(ctx, c.id)
	} else if err = c.aim.begin(ctx, n); err == nil {
		o, err = c.follow(ctx, n, v)
	}
	if err != nil {
		return c.stopped(ctx, n, err)
	}
	return c.report(o)
}

// before says what is known of the run from earlier.
func (c *running) before(ctx context.Context, n node, v *view, s polity.Summary) error {
	switch {
	case s.ID == "" || s.Status == polity.StatusStopped:
		return nil
	case s.Status.Final():
		c.screen.say("note: finished earlier (run %s, %s); %s starts again", s.ID, moment(s.Ended), c.aim.flag("--new"))
		return nil
	}
	v.silent = true
	err := n.History(ctx, s.ID, v.put)
	v.silent = false
	if err != nil {
		return err
	}
	word := "resuming"
	if _, ok := n.(*remote); ok && !s.Parked {
		word = "joining"
	}
	at := ""
	if undone := v.tree.undone(); len(undone) > 0 {
		at = " at step " + undone[0].path()
	}
	c.screen.say("note: %s run %s%s; %s done", word, s.ID, at, count(v.tree.done(), "step"))
	return nil
}

// stopped tells the error of a run that is stopped from others.
func (c *running) stopped(ctx context.Context, n node, err error) error {
	if errors.Is(err, fault.Unavailable) || errors.Is(err, fault.Cancelled) || errors.Is(err, fault.Timeout) {
		return err
	}
	if s, e := n.Find(ctx, c.id); e == nil && s.Status == polity.StatusStopped {
		return ended{exitRunFailed, clean("run " + string(s.ID) + " is stopped: " + err.Error() + "; " + c.aim.flag("--new") + " starts another one")}
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
	go func() { o, err := n.Wait(ctx, c.id); waited <- end{o, err} }()
	go func() { tailed <- n.Tail(ctx, c.id, v.put) }()
	asking := make(chan struct{})
	go func() { defer close(asking); c.people(ctx, n) }()
	defer func() { cancel(nil); <-asking }()
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
		"run %s has not ended within %s; it is not cancelled: %s goes on with it", c.id, c.timeout, c.aim.again()))
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
				return end{err: ended{exitInterrupted, "left run " + string(c.id) + " (" + s.String() + "); " + c.aim.again() + " goes on with it"}}
			}
			interrupted = true
			c.screen.say("note: cancelling run %s; Ctrl-C again leaves at once", c.id)
			go func() { refused <- n.Cancel(ctx, c.id, "interrupted by the user") }()
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
	if err := c.print(o); err != nil {
		return err
	}
	run := "run " + string(c.id)
	switch {
	case o.Status == polity.StatusCompleted:
		return nil
	case o.Status == polity.StatusExhausted && nothing(o.Output):
		return ended{exitRunFailed, clean(run + " ended at " + boundOf(o.Fault) + " with nothing to show; " +
			c.aim.flag("--bounds") + " sets others; see: polity runs show " + string(c.id))}
	case o.Status == polity.StatusExhausted && saga.Of(o.Output) != nil:
		return ended{exitRunFailed, clean(run + " reached a bound, and what it did is " + saga.Of(o.Output).Status + ": " + faultText(o.Fault) + "; " +
			c.aim.flag("--bounds") + " sets others; see: polity runs show " + string(c.id))}
	case o.Status == polity.StatusExhausted:
		c.screen.say("note: %s reached a bound and ended with its best effort: %s; %s sets others", run, clean(faultText(o.Fault)), c.aim.flag("--bounds"))
		return nil
	case o.Status == polity.StatusCancelled:
		return ended{exitInterrupted, clean(run + " is " + faultText(o.Fault) + "; " + c.aim.flag("--new") + " starts it again")}
	default:
		return ended{exitRunFailed, clean(run + " " + o.Status.String() + ": " +
			strings.TrimPrefix(faultText(o.Fault), o.Status.String()+": ") + "; see: polity runs show " + string(c.id))}
	}
}

// nothing says whether an output is none.
func nothing(output json.RawMessage) bool {
	text := bytes.TrimSpace(output)
	return len(text) == 0 || string(text) == "null"
}

// boundOf words the bound that a fault tells of.
func boundOf(f *fault.Error) string {
	switch {
	case f == nil:
		return "a bound"
	case f.Bound == "":
		return "a bound (" + f.Text + ")"
	default:
		return "its bound " + f.Bound + " (" + f.Text + ")"
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
		return c.writeJSON(result{c.id, o.Status, o.Output, o.Fault, o.Usage})
	}
	if len(o.Output) == 0 || o.Status == polity.StatusExhausted && nothing(o.Output) {
		return nil
	}
	r := report{id: c.id, agent: c.agent, outcome: o}
	return c.app.printOutput(&r, c.output.value)
}
