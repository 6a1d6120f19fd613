package run

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"polity.run"
	"polity.run/fault"
)

// Opening is what a run was opened with.
type Opening struct {
	Release Digest
	Agent   string
	Skill   string
	From    string // the agent that asks, or the sender of a message; "" at any other root
	Folder  string
	Bounds  polity.Bounds   // of a child those that were delegated to it
	Input   json.RawMessage // nil if it was erased
	At      time.Time
	Sealed  bool // what it holds is enciphered with a person's key
}

// Opening reads what a run, or one below a root, was opened with. It returns fault.NotFound if there is no such run.
func (p *Partition) Opening(ctx context.Context, id polity.RunID) (Opening, error) {
	var o Opening
	err := p.events(ctx, id.Root(), func(at time.Time, _ uint64, r *record) error {
		if r.kind != recOpened || r.run != id {
			return nil
		}
		input, err := p.core.read(r.data)
		if err != nil && !errors.Is(err, fault.Erased) {
			return err
		}
		o = Opening{Release: r.release, Agent: r.agent, Skill: r.skill, From: r.from, Folder: r.folder, Bounds: r.bounds, Input: input, At: at, Sealed: r.sealed()}
		return errFound
	})
	switch {
	case errors.Is(err, errFound):
		return o, nil
	case err == nil:
		err = fault.NotFound.New("run: no run %q", id)
	}
	return Opening{}, err
}

// Outlined is a record of a run, without what lies in other places.
type Outlined struct {
	polity.Notice        // without Data
	Skill         string // opened: what is asked for
	From          string // opened: the agent that asks
	Data          uint64 // bytes of its input or output
}

// Reach says how far the log tells of a run, and which part of what it told can still be read. The zero one is before everything.
type Reach struct {
	at     span
	erased int // keys that were destroyed
}

// GoesOn says whether what was read up to from still holds, so that only what came after it is to be read: nothing was erased since, and the beginning of
// the log was not dropped.
func (r Reach) GoesOn(from Reach) bool {
	if from.at.last == 0 || from.at.last > r.at.last || from.erased != r.erased || from.at.base != r.at.base || from.at.gone != r.at.gone || from.at.log != r.at.log {
		return false
	}
	return r.at.log == nil || from.at.last == r.at.last // a log of its own counts commits by itself
}

// Reach returns how far the log tells of a root run and those below it, or fault.NotFound.
func (p *Partition) Reach(ctx context.Context, id polity.RunID) (Reach, error) {
	erased := p.vault.erasures()
	at, err := p.span(ctx, id)
	return Reach{at, erased}, err
}

// Outline gives what the log tells of a root run and the runs below it up to a reach, in order, as History does, but without reading inputs and outputs. If it
// goes on from another reach, only what came after that is given, and else everything.
func (p *Partition) Outline(ctx context.Context, id polity.RunID, from, to Reach, each func(*Outlined) error) error {
	at := to.at
	if to.GoesOn(from) {
		if from.at.last == at.last {
			return nil
		}
		at.first = from.at.last + 1
	}
	return p.read(ctx, id, at, func(at time.Time, seq uint64, r *record) error {
		o := Outlined{Notice: noticeOf(r, at, seq), Skill: r.skill, From: r.from, Data: max(r.data.size, uint64(len(r.data.data)))}
		p.vault.show(&o.Notice, r)
		return each(&o)
	})
}

// Load is what an agent of a release has to do now.
type Load struct {
	Release Digest
	Agent   string
	Roots   int // root runs among the following
	Running int // runs that work, or have others work
	Waiting int // runs that wait for a person, a signal, an event or a time, and for nothing else
}

// Loads says what agents have to do now: of runs that are in memory, those below roots too. Runs that only wait are put to sleep some time later, and
// then are not in memory: who counts them has to look elsewhere. person says who of a release is one.
func (p *Partition) Loads(ctx context.Context, person func(release Digest, agent string) bool) ([]Load, error) {
	return ask(ctx, p, func(c *core, reply func([]Load, error)) {
		type key struct {
			release Digest
			agent   string
		}
		at := map[key]int{}
		var all []Load
		for _, r := range c.runs {
			k := key{r.release, r.agent}
			i, ok := at[k]
			if !ok {
				i = len(all)
				at[k], all = i, append(all, Load{Release: k.release, Agent: k.agent})
			}
			if r.depth == 0 {
				all[i].Roots++
			}
			if r.waits(person) {
				all[i].Waiting++
			} else {
				all[i].Running++
			}
		}
		reply(all, nil)
	})
}

// waits says whether a run only waits.
func (r *run) waits(person func(release Digest, agent string) bool) bool {
	for _, p := range r.pending {
		switch {
		case p.cmd.Do == polity.DoSleep, p.cmd.Do == polity.DoAwait, p.cmd.Do == polity.DoAsk && p.child == nil && person(r.release, p.cmd.To):
		default:
			return false
		}
	}
	return len(r.pending) > 0
}
