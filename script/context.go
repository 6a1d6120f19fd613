package script

import (
	"crypto/sha256"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/model"
)

// Context is what a script has of the world. Its methods are called by the script itself and its branches (see Go), never
// from another goroutine: that is found, and fails the run as fault.Internal.
//
// Each command has a name, which says what it is for and is unique in the run; in a loop see Name. A name that is used twice is
// fault.Internal. Names are 1 to 64 of A-Z a-z 0-9 . _ -.
type Context struct {
	live  *live
	retry Retry
	undo  bool // what it asks for undoes something
}

// Run returns the run's ID.
func (c *Context) Run() polity.RunID { return c.live.opened.Run }

// Opened returns the event that opened the run: who asked for which skill, and the folder that the run may read. Its data is not to be changed.
func (c *Context) Opened() polity.Event { return *c.live.opened }

// Now returns when the event was accepted that the script runs for. It stands still until the script waits.
func (c *Context) Now() time.Time { return time.Unix(0, c.live.now).UTC() }

// Random returns the run's random numbers: the same each time it is run again.
func (c *Context) Random() *rand.Rand {
	if c.live.random == nil {
		h := fnv.New64a()
		_, _ = h.Write([]byte(c.live.opened.Run)) // a hash does not fail
		c.live.random = rand.New(rand.NewPCG(h.Sum64(), 0))
	}
	return c.live.random
}

// UUID returns a UUID (RFC 9562, version 8) that belongs to the run and the name: another one for each name, and the same each time, also in another version
// of the code.
func (c *Context) UUID(name string) string {
	u := sha256.Sum256([]byte(string(c.live.opened.Run) + "#" + name))
	u[6], u[8] = 0x80|u[6]&0x0f, 0x80|u[8]&0x3f
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// Since says whether the run was opened with that version of the script or a later one. What begins to behave otherwise stands behind it, so that older runs go
// on as they began; it is decided by the release that pins the run. The versions are those of New and Config.Older; with any
// other, the run is stopped as fault.Diverged, and goes on when that is mended.
func (c *Context) Since(version string) bool {
	d := c.live.decider
	i := slices.Index(d.versions, version)
	if i < 0 {
		panic(fault.Of(fault.Diverged.New("script: Since(%q): the script's versions are %s; name it in Config.Older, or take the older way out",
			version, strings.Join(d.versions, ", "))))
	}
	return d.version >= i
}

// Name returns the name of the i-th command of a loop, as in fetch.3.
func (c *Context) Name(base string, i int) string { return base + "." + strconv.Itoa(i) }

// Ask asks an agent for its only skill and waits for what it answers, which is written to out as Future.Decode does. It returns the answer's fault.
func (c *Context) Ask(name string, agent polity.AgentName, input, out any) error {
	cmd := polity.Ask(name, agent, "", nil)
	return c.with(&cmd, input, out)
}

// Call calls a tool and waits, as Ask does.
func (c *Context) Call(name, tool string, input, out any) error {
	cmd := polity.Call(name, tool, nil)
	return c.with(&cmd, input, out)
}

// Think asks a model and waits for its response. reserve is the most that the answer may consume, which the run's bounds must still allow.
func (c *Context) Think(name, by string, request model.Request, reserve polity.Usage) (model.Response, error) {
	var response model.Response
	cmd := polity.Think(name, by, nil, reserve)
	err := c.with(&cmd, request, &response)
	return response, err
}

// Sleep waits. A day is as good as a second: it survives restarts and costs nothing meanwhile. A failure is fault.Cancelled, or that a bound was
// reached.
func (c *Context) Sleep(name string, d time.Duration) error {
	return c.Start(polity.Sleep(name, d)).Await()
}

// SleepUntil waits until a time; one that is past is over at once.
func (c *Context) SleepUntil(name string, at time.Time) error {
	return c.Start(polity.SleepUntil(name, at)).Await()
}

// Await waits for a signal or an event on a topic, whose data is written to out as Future.Decode does. When the time is over it returns
// fault.Timeout; within 0 sets no time of its own. A signal must be one that the agent declares: see agent.Agent.Signals. For a latest
// time in place of a duration, and for more than one event at once, see Start and polity.AwaitUntil.
func (c *Context) Await(name string, on polity.Awaited, within time.Duration, out any) error {
	return c.Start(polity.Await(name, on, within)).Decode(out)
}

// with does a command with an input. Commands are large: they are handed on by pointer, so that a coroutine's first stack suffices.
func (c *Context) with(cmd *polity.Command, input, out any) error {
	var err error
	if cmd.Input, err = marshal(input); err != nil {
		return fault.Internal.New("script: input of %s: %w", cmd.Name, err)
	}
	return c.do(cmd, out)
}

// Start begins a command of any kind and does not wait: an ask with a skill or bounds of its own, many calls at once. A command that
// ends the run or cancels another is refused: return, or call Future.Cancel.
func (c *Context) Start(cmd polity.Command) *Future {
	cmd.Undo = cmd.Undo || c.undo
	return c.live.start(&cmd)
}

func (l *live) start(cmd *polity.Command) *Future {
	key := cmd.Key()
	t, err := l.enter("Context.Start")
	if err == nil {
		err = l.admit(t, cmd)
	}
	if err != nil {
		return &Future{live: l, key: key, done: true, refused: true, err: err}
	}
	f := l.futures.add(l, key)
	l.commands = append(l.commands, *cmd)
	if !cmd.Undo { // that is not cancelled with its branch
		t.keep(f)
	}
	return f
}

// admit says why a command cannot be begun.
func (l *live) admit(t *task, cmd *polity.Command) error {
	switch cmd.Do {
	case polity.DoAsk, polity.DoCall, polity.DoThink, polity.DoSleep, polity.DoAwait:
	default:
		return fault.Internal.New("script: a script does not begin a %s: it returns, or calls Future.Cancel", cmd.Do)
	}
	if key := cmd.Key(); l.futures.used(key) {
		return fault.Internal.New("script: the command name %q is used twice in a run; in a loop use Context.Name", key)
	}
	if t.cancelled && !cmd.Undo {
		return fault.Cancelled.New("script: the branch was cancelled")
	}
	return nil
}

// BranchesMax is how many branches of a run there may be at once.
const BranchesMax = 1024

// Go begins a branch: a function that runs beside the script whenever that waits. Branches never run at the same time, and
// always in the same order, so they may share variables. The future's fault is the function's error.
func (c *Context) Go(branch func() error) *Future {
	f := &Future{live: c.live}
	t, err := c.live.enter("Context.Go")
	switch {
	case err != nil:
	case t.cancelled && !c.undo:
		err = fault.Cancelled.New("script: the branch was cancelled")
	case len(c.live.tasks) > BranchesMax:
		err = fault.Internal.New("script: more than %d branches at once; begin many commands with Context.Start", BranchesMax)
	}
	if err != nil {
		f.done, f.err = true, err
		return f
	}
	f.task = c.live.begin(&task{}, func() { f.settle(fault.Of(branch())) })
	f.task.branch = true
	if !c.undo {
		t.keep(f)
	}
	return f
}

// Parallel runs branches side by side and waits for all. When one fails, the others are cancelled, and its error is returned once they have ended.
func (c *Context) Parallel(branches ...func() error) error {
	futures := make([]*Future, len(branches))
	for i, b := range branches {
		futures[i] = c.Go(b)
	}
	err := c.Wait(len(futures), futures...)
	if err == nil {
		return nil
	}
	if stopped := c.stop(futures); stopped != nil {
		return stopped
	}
	return err
}

// Race runs branches side by side until one succeeds, and returns its index. The others are cancelled, and have ended when it returns; one of them may have
// succeeded meanwhile. If all fail, it returns the error of the first one in the list.
func (c *Context) Race(branches ...func() error) (int, error) {
	futures := make([]*Future, len(branches))
	for i, b := range branches {
		futures[i] = c.Go(b)
	}
	first, err := c.First(futures...)
	if stopped := c.stop(futures); stopped != nil {
		return -1, stopped
	}
	return slices.Index(futures, first), err
}

// stop cancels futures and waits until all have ended.
func (c *Context) stop(futures []*Future) error {
	for _, f := range futures {
		f.Cancel()
	}
	for _, f := range futures {
		if err := c.live.wait(1, 0, f); err != nil {
			return err
		}
	}
	return nil
}

// Timeout runs a branch and waits for it until the time is over; then what it began is cancelled, and once it has ended the error is fault.Timeout, unless it
// has succeeded after all. The time is a sleep with that name. A branch may take in many calls, and others with times of their own.
func (c *Context) Timeout(name string, d time.Duration, branch func() error) error {
	work, timer := c.Go(branch), c.Start(polity.Sleep(name, d))
	if _, err := c.Next(work, timer); err != nil {
		return err
	}
	if work.done {
		timer.Cancel()
		return work.err
	}
	if err := c.stop([]*Future{work}); err != nil || work.err == nil {
		return err
	}
	if timer.err != nil {
		return timer.err
	}
	return fault.Timeout.New("script: %s: it was not done within %s", name, d)
}

// Map runs a function for each item, at most so many at once, and returns the results in the order of the items. When one fails, the others are cancelled, and its
// error is returned once they have ended. The commands of the i-th are named with Context.Name and i.
func Map[In, Out any](c *Context, atOnce int, items []In, do func(i int, item In) (Out, error)) ([]Out, error) {
	if atOnce < 1 {
		return nil, fault.Internal.New("script: Map with %d at once; want 1 or more", atOnce)
	}
	out, next := make([]Out, len(items)), 0
	worker := func() (err error) {
		for err == nil && next < len(items) {
			i := next
			next++
			out[i], err = do(i, items[i])
		}
		return err
	}
	if err := c.Parallel(slices.Repeat([]func() error{worker}, min(atOnce, len(items)))...); err != nil {
		return nil, err
	}
	return out, nil
}

// Wait waits until k of the futures have succeeded: all of them, a quorum, or the first. If that can no longer be, it returns the fault of
// the first one in the list that failed. It cancels nothing.
func (c *Context) Wait(k int, futures ...*Future) error {
	if k < 0 || k > len(futures) {
		return fault.Internal.New("script: wait for %d of %d futures", k, len(futures))
	}
	if err := c.live.wait(k, len(futures)-k, futures...); err != nil {
		return err
	}
	var first error
	for _, f := range futures {
		switch {
		case f.done && f.err == nil:
			k--
		case f.done && first == nil:
			first = f.err
		}
	}
	if k <= 0 {
		return nil
	}
	return first
}

// Next waits until one of the futures has ended, however it did, and returns it: the first one in the list if several have. It cancels nothing.
func (c *Context) Next(futures ...*Future) (*Future, error) {
	if err := c.live.wait(1, 0, futures...); err != nil {
		return nil, err
	}
	for _, f := range futures {
		if f.done {
			return f, nil
		}
	}
	return nil, fault.Internal.New("script: no future to wait for")
}

// First waits until one of the futures has succeeded, and returns it: the first one in the list if several have. It cancels nothing.
func (c *Context) First(futures ...*Future) (*Future, error) {
	if err := c.Wait(1, futures...); err != nil {
		return nil, err
	}
	for _, f := range futures {
		if f.done && f.err == nil {
			return f, nil
		}
	}
	return nil, fault.Internal.New("script: no future has succeeded")
}
