package script

import (
	"time"

	"polity.run"
	"polity.run/fault"
)

// The defaults of a Retry.
const (
	AttemptsDefault = 3
	DelayDefault    = time.Second
	DelayMaxDefault = time.Minute
)

// Retry says how often a command is tried whose fault may pass (fault.Kind.Retryable). Each attempt is a command of its own in the log, under
// the same name: a tool or service of effect class keyed is given the same key.
type Retry struct {
	Attempts int           // in all; 0 is AttemptsDefault
	Delay    time.Duration // before the second attempt, and twice as long before each further one; 0 is DelayDefault
	DelayMax time.Duration // 0 is DelayMaxDefault
}

// Retry returns a context of the same script whose Ask, Call, Think and Do try again.
func (c *Context) Retry(r Retry) *Context {
	if r.Attempts == 0 {
		r.Attempts = AttemptsDefault
	}
	if r.Delay == 0 {
		r.Delay = DelayDefault
	}
	if r.DelayMax == 0 {
		r.DelayMax = DelayMaxDefault
	}
	return &Context{live: c.live, retry: r, undo: c.undo}
}

// Do does any command that Start takes and waits for its result, which is written to out as Future.Decode does. Between attempts it
// sleeps under the command's name with .wait behind it.
func (c *Context) Do(cmd polity.Command, out any) error { return c.do(&cmd, out) }

func (c *Context) do(cmd *polity.Command, out any) error {
	delay := c.retry.Delay
	cmd.Undo = cmd.Undo || c.undo
	for {
		f := c.live.start(cmd)
		err := f.Decode(out)
		c.live.reuse(f)
		cmd.Attempt = max(cmd.Attempt, 1)
		if err == nil || cmd.Attempt >= c.retry.Attempts || !fault.Of(err).Kind.Retryable() {
			return err
		}
		wait := polity.Sleep(cmd.Name+".wait", min(delay, c.retry.DelayMax))
		wait.Attempt = cmd.Attempt
		if slept := c.Start(wait).Await(); slept != nil {
			return slept
		}
		cmd.Attempt++
		delay = min(delay*2, c.retry.DelayMax)
	}
}
