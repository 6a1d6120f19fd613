package run

import (
	"context"
	"errors"
	"time"

	"polity.run"
	"polity.run/fault"
)

// Reconcile records what was found out about an effect that ended as unknown, and returns when that is durable. It changes nothing of what the
// run's decider was told. It returns fault.NotFound if there is no such effect, fault.Conflict for one that did not end as unknown
// or is of a run that was imported, and fault.Invalid for a finding that says nothing.
func (p *Partition) Reconcile(ctx context.Context, run polity.RunID, name string, attempt int, f polity.Finding) error {
	if err := f.Check(); err != nil {
		return err
	}
	if f.Verdict == polity.VerdictUnknown {
		return fault.Invalid.New("run: reconcile: that it is unknown is recorded already")
	}
	if len(f.By) > textMax || len(f.Reason) > textMax || len(f.Output) > inlineMax {
		return fault.Invalid.New("run: reconcile: a reason of more than %d bytes, or an output of more than %d", textMax, inlineMax)
	}
	if err := p.Unknown(ctx, run, name, attempt); err != nil {
		return err
	}
	rec := &record{
		kind: recReconciled, run: run, name: name, attempt: attempt, verdict: f.Verdict, by: f.By, reason: f.Reason, receipt: f.Receipt,
		data: payload{data: f.Output},
	}
	return p.call(ctx, func(c *core, done func(error)) { c.reconcile(rec, done) })
}

// Unknown returns nil for an effect that ended as unknown, fault.NotFound if there is none, and fault.Conflict for any other.
func (p *Partition) Unknown(ctx context.Context, run polity.RunID, name string, attempt int) error {
	found, open := false, true
	err := p.events(ctx, run.Root(), func(_ time.Time, _ uint64, r *record) error {
		if r.run == run && r.name == name && r.attempt == attempt && (r.kind == recBegan || r.kind == recResult) {
			found = true
			open = r.kind == recResult && r.fault != nil && r.fault.Kind == fault.Unknown
		}
		return nil
	})
	switch key := polity.EffectKey(run, name, attempt); {
	case err != nil:
		return err
	case !found:
		return fault.NotFound.New("run: no effect %s", key)
	case !open:
		return fault.Conflict.New("run: effect %s did not end as unknown: there is nothing to be found out", key)
	}
	return nil
}

// reconcile writes a finding. answer is called when that is durable.
func (c *core) reconcile(rec *record, answer func(error)) {
	t := c.tree(rec.run.Root())
	switch {
	case c.dead != nil:
		answer(c.dead)
	case t == nil:
		answer(fault.NotFound.New("run: no run %q", rec.run))
	case t.log != nil:
		answer(fault.Conflict.New("run: %s was imported; reconcile it where it ran", rec.run))
	case c.vault.ready(t.key) != nil:
		err := fault.Of(c.vault.ready(t.key))
		answer(err.Kind.New("run: reconcile %s: %w", rec.run, err))
	default:
		c.write(rec)
		c.answer(answer)
	}
}

// reconciled folds a finding: nobody's state depends on it.
func (c *core) reconciled(t *tree, rec *record) {
	c.tell(t, polity.Notice{
		Kind: "reconciled", Run: rec.run, Name: rec.name, Attempt: rec.attempt,
		Finding: &polity.Finding{Verdict: rec.verdict, Output: rec.data.data, Receipt: rec.receipt, By: rec.by, Reason: rec.reason},
	})
}

// errFound ends the reading of a log when what was looked for has come.
var errFound = fault.Cancelled.New("run: found")

// Began returns an effect as it was begun, for somebody to ask what became of it: its command is decided again from the log. It
// returns fault.NotFound if there is no such effect, and fault.Diverged if the run's code decides otherwise now.
func (p *Partition) Began(ctx context.Context, run polity.RunID, name string, attempt int) (*Effect, error) {
	s := p.newShadow(Digest{})
	defer s.forget()
	var e *Effect
	err := p.events(ctx, run.Root(), func(at time.Time, seq uint64, r *record) error {
		s.apply(at, seq, *r)
		if f := s.fault(); f != nil {
			return f
		}
		for i := range s.decided {
			cmd := &s.decided[i].command
			if s.decided[i].run != run || cmd.Name != name || cmd.Attempt != attempt {
				continue
			}
			by := s.core.runs[run]
			if by == nil { // it was decided together with the run's end
				continue
			}
			e = &Effect{
				Run: run, Name: name, Attempt: attempt, Verb: cmd.Do, To: cmd.To, Agent: by.agent, Skill: cmd.Skill, Input: cmd.Input,
				Folder: by.folder, Release: by.release, Class: polity.EffectExternal, Since: at,
			}
			return errFound
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		return nil, err
	}
	if e == nil {
		return nil, fault.NotFound.New("run: no effect %s", polity.EffectKey(run, name, attempt))
	}
	return e, nil
}
