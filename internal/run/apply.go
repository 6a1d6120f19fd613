package run

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/fault"
)

// apply folds one record into the state. It is the same for a record that was just written and for one that was
// read from the log; only what follows from it is queued in the first case, and comes next in the log in the
// second. A record that the state did not lead to means that a decider decides otherwise than it did: that
// tree is stopped, and the others go on.
func (c *core) apply(rec *record, seq uint64) {
	c.lastAt = c.recordTime()
	if rec.kind == recClaim {
		return
	}
	switch rec.kind {
	case recPublished:
		c.published(rec, seq)
		return
	case recImported:
		c.imported(rec, seq)
		return
	case recForked:
		c.forked(rec, seq)
		return
	case recErased:
		c.erased(rec.name, seq)
		return
	case recDeleted:
		c.deleted(rec, seq)
		return
	case recBased:
		c.based(rec)
		return
	case recAudited:
		c.audited(rec)
		return
	case recHeld, recReleased:
		c.held(rec)
		return
	}
	t := c.revive(rec.run.Root())
	if c.dead != nil {
		return
	}
	if rec.kind == recOpened && rec.run.Parent() == "" {
		if t != nil {
			c.giveUp(fault.Damaged.New("run: commit %d opens %s again", seq, rec.run))
			return
		}
		c.openRoot(rec, seq)
		return
	}
	if t == nil {
		c.giveUp(fault.Damaged.New("run: commit %d tells of %s, which no commit opened", seq, rec.run))
		return
	}
	c.wake(t)
	t.last = seq
	if rec.kind == recReconciled {
		c.reconciled(t, rec)
		return
	}
	if rec.kind == recSettled {
		if rec.name == Unanswered {
			c.paid(t.id, seq)
		}
		c.tell(t, polity.Notice{Kind: kindText[recSettled], Run: rec.run, Name: rec.name})
		return
	}
	if t.stopped != nil {
		if rec.kind == recFinished && rec.run == t.id {
			c.endStopped(t, rec)
		}
		return
	}
	f, err := c.vault.faultOf(rec)
	if err != nil {
		c.stop(t, fault.Of(err))
		return
	}
	rec.fault, rec.faultText = f, payload{}
	r := t.root
	if len(rec.run) != len(t.id) {
		r = c.runs[rec.run]
	}
	if r == nil && rec.kind != recOpened {
		c.diverge(t, "commit %d tells of %s, which this code did not open", seq, rec.run)
		return
	}
	switch rec.kind {
	case recOpened:
		c.openChild(t, rec)
	case recBegan:
		c.began(r, rec)
	case recResult:
		c.gotResult(r, rec)
	case recSignalled:
		c.signalled(r, rec)
	case recPaused:
		c.pausedRun(r, rec)
	case recResumed:
		c.resumedRun(r)
	case recCancel:
		if r.parent == nil && !t.paused.IsZero() { // it is to end, and may have to undo first
			c.unpause(t)
			c.rewall(r)
		}
		f := cancelFault(rec.reason)
		c.tell(t, polity.Notice{Kind: "cancel", Run: r.id, Fault: f})
		if o := (polity.Outcome{Status: polity.StatusCancelled, Fault: f}); rec.gently {
			c.halt(r, o)
		} else {
			c.kill(r, o)
		}
	case recExpired:
		c.tell(t, polity.Notice{Kind: "expired", Run: r.id})
		if t.queued {
			c.lapse(t)
		} else {
			c.expire(r)
		}
	case recFinished:
		c.finished(r, rec)
	}
}

// cancelFault is what a cancelled run ends with. A child is told its parent's reason.
func cancelFault(reason string) *fault.Error {
	return fault.Of(fault.Cancelled.New("cancelled: %s", strings.TrimPrefix(reason, "cancelled: ")))
}

// recordTime is the acceptance time of the record being applied.
func (c *core) recordTime() time.Time {
	if c.live {
		return c.gather.at
	}
	return c.now
}

// instead names what a run's code does where the log has the command with the key.
func (r *run) instead(key string) string {
	if r == nil {
		return ""
	}
	if p := r.find(key); p != nil {
		return fmt.Sprintf(": %s, with another input or a second time", p.cmd)
	}
	if r.closing != nil {
		return ": it has come to its end"
	}
	names := make([]string, 0, namedMax)
	for _, p := range r.pending[:min(len(r.pending), namedMax)] {
		names = append(names, p.cmd.String())
	}
	if len(r.pending) > namedMax {
		names = append(names, "…")
	}
	return ": " + strings.Join(names, ", ")
}

func (c *core) diverge(t *tree, format string, args ...any) {
	c.stop(t, fault.Of(fault.Diverged.New("run %s: %s; its decider or its agents changed since it was opened",
		t.id, fmt.Sprintf(format, args...))))
}

// stop keeps a tree as it is in the log, without a state: it can be neither continued nor trusted here.
func (c *core) stop(t *tree, f *fault.Error) {
	t.stopped = f
	c.alarm(t, 0)
	c.halted[t.id] = t
	t.summary.Status, t.summary.Fault = polity.StatusStopped, f
	if t.root != nil {
		c.drop(t.root)
	}
	t.root = nil
	for len(t.waits) > 0 { // it slept
		c.unwait(t.waits[0])
	}
	c.leave(t)
	for _, ended := range t.ended {
		ended(polity.Outcome{}, f)
	}
	t.ended = nil
}

// endStopped takes over how a tree ended although its state could not be folded.
func (c *core) endStopped(t *tree, rec *record) {
	t.stopped, t.end = nil, t.last
	delete(c.halted, t.id)
	t.summary.Status, t.summary.Fault, t.summary.Ended = rec.status, nil, c.lastAt
	t.summary.Usage = rec.usage
	c.owe(t)
}

func (c *core) drop(r *run) {
	delete(c.runs, r.id)
	r.forget()
	for _, p := range r.pending {
		if p.child != nil {
			c.drop(p.child)
		}
		if p.wait != nil {
			c.unwait(p.wait)
		}
		if p.started && !p.done {
			c.host.stop(p)
		}
		p.done = true
	}
	r.pending = nil
}

// --- opening

func (c *core) openRoot(rec *record, seq uint64) {
	t := &tree{
		id: rec.run, origin: rec.origin, key: rec.data.key, request: rec.request, first: seq, last: seq,
		parked: c.parks && !c.live, idle: !c.live,
		summary: polity.Summary{ID: rec.run, Agent: rec.agent, Opened: c.lastAt},
	}
	c.trees[rec.run] = t
	c.roots = append(c.roots, t)
	program, err := c.catalog.Program(rec.release, rec.agent)
	if err == nil && program.Decider == nil {
		program = &Program{Org: program.Org, Decider: solo{}, Input: program.Input, Output: program.Output}
	}
	if err == nil && rec.mail != nil {
		program = &Program{Org: program.Org, Decider: courier{rec.mail}, Input: program.Input, Output: program.Output}
	}
	t.mail = rec.mail
	if rec.mail != nil && rec.mail.Answers != "" {
		c.paid(rec.mail.Answers, seq)
	}
	c.join(t, rec)
	if err == nil {
		err = c.unlock(t)
	}
	if err != nil {
		c.stop(t, fault.Of(err))
		return
	}
	r := &run{
		id: rec.run, tree: t, release: rec.release, agent: rec.agent, skill: rec.skill, folder: rec.folder, caller: rec.caller, program: program,
	}
	r.ledger = &ledger{owner: r, limit: rec.bounds}
	t.root = r
	c.runs[r.id] = r
	c.tell(t, polity.Notice{Kind: "opened", Run: r.id, Agent: r.agent})
	t.input, t.from = rec.data, rec.from
	if !rec.queued {
		c.begin(t)
		return
	}
	t.queued = true
	t.input.data = bytes.Clone(t.input.data) // the record is used again
	c.setWall(r)
	if t.mail != nil && c.live {
		c.take(t)
	}
}

// read returns a payload's bytes, from its blob if it has one.
func (c *core) read(p payload) (json.RawMessage, error) {
	if p.data != nil || p.size == 0 {
		return c.vault.reveal(p, p.data)
	}
	data, err := c.host.load(p.blob)
	if err != nil {
		return nil, err
	}
	return c.vault.reveal(p, data)
}

func (c *core) openChild(t *tree, rec *record) {
	parent := c.runs[rec.run.Parent()]
	var p *pending
	if parent != nil {
		p = parent.find(string(rec.run[len(parent.id)+1:]))
	}
	if p == nil || p.cmd.Do != polity.DoAsk || p.request != rec.request || p.child != nil {
		c.diverge(t, "the log opens %s, and this code does not%s", rec.run, parent.instead(string(rec.run[len(rec.run.Parent())+1:])))
		return
	}
	program, err := c.catalog.Program(parent.release, rec.agent)
	if err == nil && program.Decider == nil {
		err = fault.Diverged.New("agent %q has no decider any more", rec.agent)
	}
	if err != nil {
		c.stop(t, fault.Of(err))
		return
	}
	r := &run{
		id: rec.run, tree: t, parent: parent, asked: p, depth: parent.depth + 1, release: parent.release,
		agent: rec.agent, skill: rec.skill, folder: parent.folder, caller: parent.caller, program: program, ledger: parent.ledger,
	}
	if p.cmd.Bounds != (polity.Bounds{}) {
		r.ledger = &ledger{owner: r, above: parent.ledger, limit: p.cmd.Bounds}
		r.ledger.limit.UndoReserve = cmp.Or(r.ledger.limit.UndoReserve, parent.ledger.limit.UndoReserve)
	}
	r.undoing = p.undoes()
	p.child, p.routed = r, true
	c.runs[r.id] = r
	r.opened, r.downtime = c.lastAt, c.downtime
	c.setWall(r)
	c.tell(t, polity.Notice{Kind: "opened", Run: r.id, Agent: r.agent})
	c.decide(r, polity.Event{
		Kind: polity.Opened, Data: p.cmd.Input, From: polity.AgentName(parent.agent),
		Agent: polity.AgentName(r.agent), Skill: r.skill, Folder: r.folder,
	})
	if p.why != nil && r.closing == nil { // cancelled between being asked and being opened
		c.routeStop(p)
	}
}

// --- deciding

func (c *core) decide(r *run, e polity.Event) {
	e.Run, e.At = r.told(), c.lastAt
	commands, err := r.decide(e)
	if errors.Is(err, fault.Diverged) {
		c.diverge(r.tree, "%s", err)
		return
	}
	if err == nil && len(commands) > commandsMax {
		err = fault.Internal.New("decider of %s: %d commands in one answer; the most is %d", r.agent, len(commands), commandsMax)
	}
	for i := 0; err == nil && r.closing == nil && i < len(commands); i++ {
		cmd := &commands[i]
		cmd.Attempt = max(cmd.Attempt, 1)
		if c.decided != nil {
			c.decided(r.id, cmd)
		}
		err = c.command(r, cmd)
	}
	if err == nil && r.closing == nil && len(r.pending) == 0 {
		err = fault.Internal.New("decider of %s: it neither finished nor waits for anything after %s %s", r.agent, kindWord(e.Kind), e.Name)
	}
	if err != nil {
		c.close(r, polity.Outcome{Status: polity.StatusFailed, Fault: fault.Of(err)}, requestHash{})
	}
}

// told is the ID that a run's decider is told: in a fork that of the run which it is a fork of, so that it decides the same.
func (r *run) told() polity.RunID {
	if r.tree.origin == "" {
		return r.id
	}
	return r.tree.origin + r.id[len(r.tree.id):]
}

func kindWord(k polity.EventKind) string {
	switch k {
	case polity.Opened:
		return "being opened"
	case polity.Stopping:
		return "being told to end"
	default:
		return "the result of"
	}
}

// decide asks the decider. One that panics has a defect that it will have again on every replay, so the run fails
// and the partition lives.
func (r *run) decide(e polity.Event) (commands []polity.Command, err error) {
	defer func() {
		switch x := recover().(type) {
		case nil:
		case *fault.Error:
			commands, err = nil, x.Kind.New("decider of %s: %w", r.agent, x)
		default:
			commands, err = nil, fault.Internal.New("decider of %s: panic: %v", r.agent, x)
		}
	}()
	r.state, commands = r.program.Decider.Decide(r.state, e)
	return commands, nil
}

// forget tells the decider that it will not be asked again.
func (r *run) forget() {
	if f, ok := r.program.Decider.(polity.Forgetter); ok && r.state != nil {
		f.Forget(r.state)
	}
	r.state = nil
}

func (c *core) command(r *run, cmd *polity.Command) error {
	switch cmd.Do {
	case polity.DoFinish:
		c.close(r, r.asStopped(polity.Outcome{Status: polity.StatusCompleted, Output: nonNil(cmd.Input)}), r.tree.requestOf(cmd))
		return nil
	case polity.DoFail:
		f := cmd.Fault
		if f == nil {
			f = fault.Of(fault.Internal.New("decider of %s: failed without a fault", r.agent))
		}
		c.close(r, r.asStopped(polity.Outcome{Status: polity.StatusFailed, Output: cmd.Input, Fault: f}), r.tree.requestOf(cmd))
		return nil
	case polity.DoCancel:
		if p := r.find(cmd.To); p != nil {
			c.stopPending(p, fault.Of(fault.Cancelled.New("cancelled by %s", r.agent)))
		}
		return nil
	case polity.DoAsk, polity.DoCall, polity.DoThink, polity.DoSleep, polity.DoAwait:
		return c.pend(r, cmd)
	default:
		return fault.Internal.New("decider of %s: command %q does nothing that is known", r.agent, cmd.Name)
	}
}

func (c *core) pend(r *run, cmd *polity.Command) error {
	if err := checkName(cmd.Name); err != nil {
		return fault.Internal.New("decider of %s: %w", r.agent, err)
	}
	if err := cmd.Bounds.Check(); err != nil {
		return fault.Internal.New("decider of %s: command %q: %w", r.agent, cmd.Name, err)
	}
	if cmd.Do == polity.DoAwait {
		if cmd.Await == nil {
			return fault.Internal.New("decider of %s: command %q awaits nothing", r.agent, cmd.Name)
		}
		if err := cmd.Await.Check(); err != nil {
			return fault.Internal.New("decider of %s: command %q: %w", r.agent, cmd.Name, err)
		}
	}
	if len(cmd.To) > textMax || len(cmd.Skill) > textMax || len(r.id)+len(cmd.Name)+numberWidth > textMax {
		return fault.Internal.New("decider of %s: command %.64q: a name or the run's ID is longer than %d bytes", r.agent, cmd.Name, textMax)
	}
	p := c.used
	if p == nil {
		p = new(pending)
	}
	c.used = nil
	*p = pending{run: r, since: c.lastAt, cmd: *cmd, key: cmd.Key(), request: r.tree.requestOf(cmd)}
	if slices.Contains(r.names, p.key) {
		return fault.Internal.New("decider of %s: command %q is decided twice; its name and attempt must say which one it is", r.agent, p.key)
	}
	r.names = append(r.names, p.key)
	r.pending = append(r.pending, p)
	if r.stopping != nil && !cmd.Undo {
		c.refuse(p, r.stopping.Fault)
		return nil
	}
	if f, at := r.reserve(p); f != nil {
		r.hit(f, at, cmd.Name)
		c.refuse(p, f)
		return nil
	}
	if r.bound != nil && r.bound.Bound == "fan_out" && r.boundBy == cmd.Name {
		r.bound = nil // it was only too early, and is being done now
	}
	if cmd.Do == polity.DoSleep || cmd.Do == polity.DoAwait {
		p.due = ends(cmd, c.lastAt)
	}
	if cmd.Do == polity.DoAwait {
		c.await(p)
	}
	c.tell(r.tree, p.startedNotice(c.lastAt, 0))
	if c.live && !r.tree.held() {
		c.route(p)
	}
	return nil
}

// refuse answers a command with a fault in place of doing it. A run of which too many were refused is ended.
func (c *core) refuse(p *pending, f *fault.Error) {
	r := p.run
	p.refused, p.routed = f, true
	r.refusals++
	c.enqueue(p.result(result{fault: f}))
	switch o := (polity.Outcome{Status: polity.StatusFailed, Fault: f}); {
	case r.refusals > 2*refusalsMax:
		c.close(r, r.asStopped(o), requestHash{})
	case r.refusals > refusalsMax:
		c.halt(r, o)
	}
}

// hit remembers the first bound that a run met.
func (r *run) hit(f *fault.Error, at *ledger, command string) {
	if r.bound == nil {
		r.bound, r.boundAt, r.boundBy = f, at, command
	}
}

// numberWidth is room for the attempt in a child's ID.
const numberWidth = 24

func checkName(name string) error {
	if name == "" || len(name) > nameMax {
		return fault.Invalid.New("command name %q: want 1 to %d bytes", name, nameMax)
	}
	for _, b := range []byte(name) {
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '.', b == '_', b == '-':
		default:
			return fault.Invalid.New("command name %q: %q is not allowed", name, string(rune(b)))
		}
	}
	return nil
}

// route brings a pending command on its way: a child run, an effect, or a timer. What cannot be had is the
// command's result.
func (c *core) route(p *pending) {
	p.routed = true
	r := p.run
	var err error
	switch p.cmd.Do {
	case polity.DoSleep:
		c.arm(timer{due: p.due, run: r, wait: p})
		return
	case polity.DoAwait:
		c.routeAwait(p)
		return
	case polity.DoAsk:
		var program *Program
		program, err = c.catalog.Program(r.release, p.cmd.To)
		if err == nil && program.Decider != nil {
			err = c.ask(p, program)
			if err == nil {
				return
			}
		} else if err == nil {
			if p.work = program.Work; p.work.Person && program.Input != nil {
				if wrong := program.Input(p.cmd.Skill, nonNil(p.cmd.Input)); wrong != nil {
					err = fault.Invalid.New("input of %s: %w", p.cmd.To, wrong)
				}
			}
		}
	default:
		p.work, err = c.catalog.Work(r.release, r.agent, p.cmd.Do, p.cmd.To)
	}
	switch {
	case err != nil:
		p.refused = fault.Of(err)
		// It counts as a turn, or a decider could ask for what is not there for ever.
		c.enqueue(p.result(result{fault: p.refused, usage: polity.Usage{Turns: 1}}))
	case r.tree.simulates && (p.work.Class == polity.EffectKeyed || p.work.Class == polity.EffectExternal):
		p.refused = fault.Of(fault.Denied.New("%s: simulated: a fork does no %s effects unless it is allowed to", p.cmd.To, p.work.Class))
		c.enqueue(p.result(result{fault: p.refused, usage: polity.Usage{Turns: 1}}))
	case p.work.Person:
		c.pose(p)
	case p.work.Class == polity.EffectExternal:
		c.enqueue(p.beginning())
	default:
		if g := c.pack(); p.mayLead() {
			g.early = append(g.early, p)
		} else {
			g.starts = append(g.starts, p)
		}
	}
}

func (c *core) ask(p *pending, program *Program) error {
	if program.Input != nil {
		if err := program.Input(p.cmd.Skill, nonNil(p.cmd.Input)); err != nil {
			return fault.Invalid.New("input of %s: %w", p.cmd.To, err)
		}
	}
	c.enqueue(&record{
		kind: recOpened, run: p.run.id.Child(p.cmd.Name, p.cmd.Attempt), release: p.run.release, agent: p.cmd.To,
		skill: p.cmd.Skill, from: p.run.agent, request: p.request, bounds: p.cmd.Bounds,
	})
	return nil
}

func (c *core) began(r *run, rec *record) {
	p := r.find(polity.CommandKey(rec.name, rec.attempt))
	if p == nil || p.request != rec.request {
		c.diverge(r.tree, "the log began %s of %s, and this code does not%s", rec.name, r.id, r.instead(polity.CommandKey(rec.name, rec.attempt)))
		return
	}
	p.began, p.routed, p.work.Class = true, true, polity.EffectExternal
	p.begins++
	switch {
	case p.why != nil: // cancelled while this record waited: it does not even start
		c.enqueue(p.result(result{fault: p.why}))
	case c.live:
		c.gather.starts = append(c.gather.starts, p)
	}
	c.tell(r.tree, polity.Notice{Kind: "began", Run: r.id, Name: rec.name, Attempt: rec.attempt})
}

// --- results

func (r *run) find(key string) *pending {
	for _, p := range r.pending {
		if p.key == key {
			return p
		}
	}
	return nil
}

func (r *run) remove(p *pending) {
	p.done = true
	i := slices.Index(r.pending, p)
	r.pending = slices.Delete(r.pending, i, i+1)
}

func (c *core) gotResult(r *run, rec *record) {
	p := r.find(polity.CommandKey(rec.name, rec.attempt))
	if p == nil || p.request != rec.request || p.child != nil {
		c.diverge(r.tree, "the log has a result of %s of %s, and this code asks for something else there%s", rec.name, r.id, r.instead(polity.CommandKey(rec.name, rec.attempt)))
		return
	}
	data, err := c.read(rec.data)
	if err != nil {
		c.stop(r.tree, fault.Of(err))
		return
	}
	r.remove(p)
	r.book(p, rec.usage)
	if p.wait != nil {
		c.unwait(p.wait)
	}
	if !c.live { // then nobody else knows it
		c.used = p
	}
	c.tell(r.tree, polity.Notice{
		Kind: "result", Run: r.id, Name: rec.name, Attempt: rec.attempt, Fault: rec.fault, Usage: rec.usage, Receipt: rec.receipt, Asked: rec.asked,
	})
	c.deliver(r, polity.Event{
		Kind: polity.Result, Name: rec.name, Attempt: rec.attempt, Data: data, Fault: rec.fault, Usage: rec.usage,
	})
}

// book books what a command used, with its run and in the ledger.
func (r *run) book(p *pending, used polity.Usage) {
	r.usage = r.usage.Plus(used)
	r.unhold(p, used)
}

// deliver gives an event to the decider, or ends a run that was only waiting for it.
func (c *core) deliver(r *run, e polity.Event) {
	if r.closing == nil {
		c.decide(r, e)
		return
	}
	c.finishIfIdle(r)
}

// --- ending

// close ends a run as soon as nothing beneath it is pending: what is, is asked to end now.
func (c *core) close(r *run, o polity.Outcome, request requestHash) {
	if r.closing != nil {
		return
	}
	r.closing, r.closeHash = &o, request
	r.forget()
	for _, p := range slices.Clone(r.pending) {
		why := fault.Of(fault.Cancelled.New("%s ended", r.agent))
		if o.Status == polity.StatusCancelled {
			why = o.Fault
		}
		c.stopPending(p, why)
	}
	c.finishIfIdle(r)
}

// stopPending asks a pending command to end, for the first reason that there is.
func (c *core) stopPending(p *pending, why *fault.Error) {
	if p.why != nil || p.refused != nil {
		return
	}
	if w := p.wait; w != nil {
		if w.got != nil {
			c.deliverEvent(w) // it ends by itself
			return
		}
		c.shut(w)
	}
	p.why = why
	if c.live && !p.run.tree.idle {
		c.routeStop(p)
	}
}

// routeStop asks a pending command to end: its result says that it did.
func (c *core) routeStop(p *pending) {
	switch {
	case p.child != nil:
		c.enqueue(&record{kind: recCancel, run: p.child.id, reason: p.why.Text, gently: !p.now})
	case p.cmd.Do == polity.DoSleep, p.cmd.Do == polity.DoAwait, p.posed:
		c.enqueue(p.result(result{fault: p.why}))
	case p.routed && p.cmd.Do == polity.DoAsk && p.work.Class == "":
		// Its opening is queued: openChild cancels it.
	case !p.routed: // it was found in the log, and not begun again
		c.enqueue(p.result(result{fault: p.why}))
	default:
		g := c.pack()
		g.stops = append(g.stops, p)
	}
}

func (c *core) finishIfIdle(r *run) {
	if r.closing == nil || len(r.pending) > 0 || r.finishing {
		return
	}
	r.finishing = true
	if c.live && !r.tree.idle {
		c.finish(r)
	}
}

// finish queues the end of a run. An output that its skill's schema refuses is a failure; a run that met a bound
// on its way is exhausted, with its output as the best effort.
func (c *core) finish(r *run) {
	o := *r.closing
	if o.Status == polity.StatusCompleted && r.program.Output != nil {
		if err := r.program.Output(r.skill, o.Output); err != nil {
			o = polity.Outcome{Status: polity.StatusFailed, Fault: fault.Of(fault.Invalid.New("output of %s: %w", r.agent, err))}
		}
	}
	if len(o.Output) > payloadMax {
		o = polity.Outcome{Status: polity.StatusFailed, Fault: fault.Exceeded("output", "output of %d bytes; the most is %d", len(o.Output), payloadMax)}
	}
	if o.Status == polity.StatusCompleted && r.bound != nil {
		o.Status, o.Fault = polity.StatusExhausted, r.bound
	}
	if o.Fault != nil && o.Fault.Kind == fault.Exhausted {
		o.Status = polity.StatusExhausted
	}
	c.enqueue(&record{
		kind: recFinished, run: r.id, status: o.Status, request: r.closeHash, usage: r.usage,
		data: payload{data: o.Output}, fault: o.Fault,
	})
}

func (c *core) finished(r *run, rec *record) {
	if r.closing == nil || len(r.pending) > 0 || r.closeHash != rec.request {
		c.diverge(r.tree, "the log ends %s otherwise than this code does%s", r.id, r.instead("finish"))
		return
	}
	c.tell(r.tree, polity.Notice{Kind: "finished", Run: r.id, Status: rec.status.String(), Fault: rec.fault, Usage: rec.usage})
	delete(c.runs, r.id)
	output := r.closing.Output
	if rec.data.data == nil && rec.data.size == 0 {
		output = nil // it was refused
	}
	if r.parent == nil {
		c.rootFinished(r, rec, output)
		return
	}
	parent, p := r.parent, r.asked
	parent.remove(p)
	parent.usage = parent.usage.Plus(rec.usage).Plus(polity.Usage{Turns: 1})
	parent.unhold(p, p.spentByChild(r))
	if rec.status == polity.StatusExhausted && (r.boundAt == nil || r.boundAt.owner != r) {
		parent.hit(rec.fault, r.boundAt, "") // it was not the child's own, so there is less for the parent too
	}
	f := rec.fault
	if p.why != nil && f != nil && f.Kind == fault.Cancelled {
		f = p.why
	}
	c.deliver(parent, polity.Event{
		Kind: polity.Result, Name: p.cmd.Name, Attempt: p.cmd.Attempt, Data: output, Fault: f, Usage: rec.usage,
	})
}

func (c *core) rootFinished(r *run, rec *record, output json.RawMessage) {
	t := r.tree
	t.root, t.salt, t.end = nil, nil, t.last
	t.input = payload{}
	c.alarm(t, 0)
	t.summary.Status, t.summary.Ended, t.summary.Usage = rec.status, c.lastAt, rec.usage
	c.leave(t)
	c.owe(t)
	ended := t.ended
	t.ended = nil
	if !c.live || len(ended) == 0 {
		return
	}
	o := polity.Outcome{Status: rec.status, Output: output, Fault: rec.fault, Usage: rec.usage}
	c.acknowledge(func(err error) {
		for _, f := range ended {
			f(o, err)
		}
	})
}
