package run

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"polity.run"
	"polity.run/fault"
)

// Fork asks for a run that begins with what another one's log tells up to an event, and then goes on by itself.
type Fork struct {
	ID     polity.RunID // of the new run
	Origin polity.RunID // the run that it is a fork of
	Event  int          // the last event that is taken over, from 1
	// Release is whose code goes on; zero for the origin's. It has to ask for everything that was answered up to Event.
	Release Digest
	// Input, if not nil, takes the place of the origin's. Then nothing but the opening can be taken over: Event is 1.
	Input json.RawMessage
	// Effects says that keyed and external effects may be done. Else they end with a Denied fault that says so.
	Effects bool
}

// Fork opens a fork and returns when that is durable; the same again finds it. What was answered up to the event is taken over as it is, with
// its times and what it used, and not done again. What had begun and not ended there:
//
//   - a child run is part of the fork, and goes on in it from where it was;
//   - an effect is done again, with a key of its own, but for external ones that had begun: they end as Unknown;
//   - keyed and external effects are done only with Effects.
//
// Deciders are told the origin's ID where they ask for their run's, so that they decide the same. It returns fault.NotFound if there is no such
// run, fault.Invalid for an event that it does not have or that ends it, fault.Conflict if the release asks for something else
// than what was answered, or the ID is taken.
func (p *Partition) Fork(ctx context.Context, f Fork) error {
	if n, err := f.ID.Partition(); err != nil || f.ID.Parent() != "" || n != 0 || len(f.ID) > idMax {
		return fault.Invalid.New("run: fork: %.80q is not the ID of a root run on partition 0", f.ID)
	}
	if f.Event < 1 {
		return fault.Invalid.New("run: fork: event %d: they are counted from 1", f.Event)
	}
	if f.Input != nil && f.Event != 1 {
		return fault.Invalid.New("run: fork: with another input nothing but event 1, the opening, can be taken over")
	}
	if len(f.Input) > inlineMax {
		return fault.Invalid.New("run: fork: input of %d bytes; the most is %d", len(f.Input), inlineMax)
	}
	if err := p.room(); err != nil {
		return err
	}
	rec, key, err := p.takeOver(ctx, &f)
	if err != nil {
		return err
	}
	return p.call(ctx, func(c *core, done func(error)) { c.fork(rec, key, done) })
}

// errTaken ends the reading of a log when the last event was taken over.
var errTaken = fault.Cancelled.New("run: taken over")

// takeOver makes the record that opens a fork, after it was folded once, and returns the key that its payloads are enciphered with.
func (p *Partition) takeOver(ctx context.Context, f *Fork) (rec *record, key string, err error) {
	rec = &record{kind: recForked, run: f.ID, release: f.Release, origin: f.Origin, event: f.Event, effects: f.Effects}
	try := &replay{now: p.newShadow(f.Release)}
	defer try.now.forget()
	var log []byte
	err = p.events(ctx, f.Origin, func(at time.Time, seq uint64, r *record) error {
		one := *r
		if try.out.Events == 0 {
			if rec.release == (Digest{}) {
				rec.release = r.release
			}
			if f.Input != nil {
				one.data = payload{key: r.data.key, data: f.Input, plain: true}
			}
			if err := p.checkInput(rec.release, &one); err != nil {
				return err
			}
			rec.agent, key = r.agent, r.data.key
			rec.request = hashRequest(&polity.Command{
				Do: polity.DoAsk, To: fmt.Sprintf("%x %s %d %t", rec.release, f.Origin, f.Event, f.Effects), Input: f.Input,
			})
			var err error
			if rec.request, err = p.vault.blind(r.data.key, rec.request); err != nil {
				return err
			}
		}
		if r.kind == recFinished && r.run == f.Origin {
			return fault.Invalid.New("run: fork: event %d ends %s; the last that can be taken over is %d", try.out.Events+1, f.Origin, try.out.Events)
		}
		if err := try.event(at, seq, &one); err != nil {
			return err
		}
		if one.data.plain && one.data.key != "" {
			data, err := p.vault.seal(one.data.key, one.data.data)
			if err != nil {
				return err
			}
			one.data = payload{key: one.data.key, data: data}
		}
		buf := appendRecord(beginFrame(nil, [8]byte{}, hash{}, at), &one)
		if one.newer() || one.sealed() {
			buf[0] = frameImports
		}
		log = append(binary.BigEndian.AppendUint32(log, uint32(len(buf))), buf...)
		if len(log) > archiveLogMax {
			return fault.Full.New("run: fork: the log up to event %d is larger than %d bytes", try.out.Events, archiveLogMax)
		}
		if try.out.Events == f.Event {
			return errTaken
		}
		return nil
	})
	d := try.out.Difference
	switch {
	case err == nil:
		return nil, "", fault.Invalid.New("run: fork: %s has no event %d; its last is %d", f.Origin, f.Event, try.out.Events)
	case errors.Is(err, errDiffers) && d != nil:
		return nil, "", fault.Conflict.New("run: fork: event %d cannot be taken over: the log has %s; the code: %s. Fork at an earlier event", d.Event, d.Log, d.Now)
	case errors.Is(err, fault.Erased):
		return nil, "", fault.Erased.New("run %s cannot be forked: its payloads were erased", f.Origin)
	case err != errTaken:
		return nil, "", err
	}
	blob, err := p.cfg.Blobs.Put(log)
	rec.data = payload{data: log, blob: blob, size: uint64(len(log))}
	return rec, key, err
}

// checkInput says whether a release's agent takes what the run is opened with.
func (p *Partition) checkInput(release Digest, opened *record) error {
	program, err := p.cfg.Catalog.Program(release, opened.agent)
	if err != nil {
		return err
	}
	data, err := p.core.read(opened.data)
	if err == nil && program.Input != nil {
		if e := program.Input(opened.skill, data); e != nil {
			err = fault.Invalid.New("run: input of %s: %w", opened.agent, e)
		}
	}
	return err
}

// fork opens a fork whose payloads are enciphered with a key, or finds it. answer is called when that is durable.
func (c *core) fork(rec *record, key string, answer func(error)) {
	t := c.tree(rec.run)
	switch {
	case c.dead != nil:
		answer(c.dead)
		return
	case c.vault.ready(key) != nil: // it was erased since it was taken over
		err := fault.Of(c.vault.ready(key))
		answer(err.Kind.New("run: fork: %w", err))
		return
	case t == nil:
		c.write(rec)
		if t = c.trees[rec.run]; t.stopped != nil {
			answer(t.stopped)
			return
		}
	case t.request != rec.request:
		answer(fault.Conflict.New("run: %s exists with another input", rec.run))
		return
	case t.stopped != nil:
		answer(t.stopped)
		return
	default:
		c.unpark(t)
	}
	c.answer(answer)
}

// forked folds what a fork takes over, as it was folded in its origin: at its time, and with nothing begun. Then the fork goes on like a
// run that was found in the log. Neither the time until the fork nor that before it counts for what waits.
func (c *core) forked(rec *record, seq uint64) {
	if c.tree(rec.run) != nil {
		c.giveUp(fault.Damaged.New("run: commit %d opens %s again", seq, rec.run))
		return
	}
	live, now, at := c.live, c.now, c.lastAt
	c.live = false
	err := c.unfold(rec, func(f *frame, r *record) error {
		c.now = f.at
		c.apply(r, seq)
		return c.dead
	})
	taken := c.lastAt
	c.live, c.now, c.lastAt = live, now, at
	t := c.trees[rec.run]
	if c.dead != nil {
		return
	}
	if t == nil {
		t = &tree{id: rec.run, first: seq, last: seq}
		c.trees[rec.run] = t
		c.roots = append(c.roots, t)
	}
	t.request, t.parked, t.idle, t.simulates = rec.request, c.parks && !live, !live, !rec.effects
	t.paused = time.Time{} // a fork goes on by itself
	t.summary.ID, t.summary.Agent, t.summary.Opened, t.summary.Fork = rec.run, rec.agent, at, &polity.ForkOf{Run: rec.origin, Event: rec.event}
	if err != nil {
		c.stop(t, fault.Of(err))
	}
	if t.root == nil {
		return
	}
	t.root.delay(at.Sub(taken))
	t.root.disown()
	if live {
		c.resume(t.root, false)
	}
}

// unfold gives what a fork takes over, as what happened to the fork. A record is given for the time of the call.
func (c *core) unfold(rec *record, each func(f *frame, r *record) error) error {
	log, err := c.read(rec.data)
	if err != nil {
		return err
	}
	var f frame
	return eachFrame(log, func(data []byte) error {
		if err := f.decode(data); err != nil {
			return err
		}
		for i := range f.records {
			r := &f.records[i]
			if r.kind == recForked || r.kind == recImported || r.kind == recClaim {
				return fault.Damaged.New("run: %s takes over what is no event", rec.run)
			}
			if r.kind == recOpened && r.run.Parent() == "" {
				r.release = rec.release
				if r.origin == "" {
					r.origin = r.run
				}
				r.conversation = "" // it is no part of that
			}
			r.run = rec.run + r.run[len(r.run.Root()):]
			if err := each(&f, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// delay puts off what a run and those below it wait for.
func (r *run) delay(d time.Duration) {
	r.downtime -= d
	for _, p := range r.pending {
		if !p.due.IsZero() && p.cmd.At.IsZero() {
			p.due = p.due.Add(d)
		}
		if p.child != nil {
			p.child.delay(d)
		}
	}
}
