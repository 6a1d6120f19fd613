package scenario

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"polity.run"
	"polity.run/engine"
	"polity.run/environ"
	"polity.run/fault"
	"polity.run/manifest"
)

// quietLooks is how often nothing may be seen to go on before the clock jumps.
const quietLooks = 3

// others are the organizations that share the topics with the one that is tested. What they watch opens their runs, as polity watch does.
type others struct {
	e    *engine.Engine
	main *happened

	mu      sync.Mutex // around a look
	sources []watched
	runs    []opened
	quiet   int   // looks at which nothing went on
	failed  error // why no runs are opened any more
}

// watched is a source, and what becomes of what it sees.
type watched struct {
	environ.Source
	pattern string
	emit    environ.Emit
}

// opened is a run that an event opened.
type opened struct {
	organization string
	*happened
}

// newOthers has organizations watch the topics from now on. Without any the one that is tested watches nothing either.
func newOthers(ctx context.Context, e *engine.Engine, main *happened, m *manifest.Manifest, with []*manifest.Manifest) (*others, error) {
	o := &others{e: e, main: main}
	if len(with) == 0 {
		return o, nil
	}
	for _, one := range append([]*manifest.Manifest{m}, with...) {
		digest, err := e.Install(&one.Release, one.Blobs)
		if err != nil {
			return nil, err
		}
		for _, on := range one.On {
			if on.Topic == "" {
				continue
			}
			if err := o.watch(one.Release.Name, digest, on); err != nil {
				return nil, err
			}
		}
	}
	return o, o.look(ctx)
}

// watch adds a topic that an organization watches.
func (o *others) watch(organization string, release engine.Digest, on manifest.On) error {
	if on.In != "" {
		return fault.Invalid.New("%s watches %s with a folder (in: %s), which a scenario has not", organization, on.Topic, on.In)
	}
	source, err := environ.Topic{
		Pattern: on.Topic, Want: on.Wants(), Key: on.About, Batch: on.Batch, Within: on.Within, Read: o.read,
		Load: func() (uint64, bool, error) { return 0, true, nil },
		Keep: func(uint64) error { return nil },
	}.Open()
	if err != nil {
		return err
	}
	o.sources = append(o.sources, watched{source, on.Topic, func(ctx context.Context, seen environ.Observation) error {
		input, err := on.Ask(seen)
		if err != nil {
			return err
		}
		id, err := o.e.Start(ctx, engine.Request{
			ID: on.RunID(organization, seen), Release: release, Agent: on.Agent, Skill: on.Skill, Input: input, Conversation: on.Conversation(seen),
		})
		if err != nil {
			return fmt.Errorf("%s: %s: %w", organization, seen.ID, err)
		}
		if !slices.ContainsFunc(o.runs, func(r opened) bool { return r.id == id }) {
			o.runs = append(o.runs, opened{organization, newHappened(id)})
		}
		return nil
	}})
	return nil
}

func (o *others) read(ctx context.Context, pattern string, after uint64, wait time.Duration) (list []environ.Published, next uint64, err error) {
	a, err := o.e.Topics(ctx, polity.TopicsRequest{Read: &polity.TopicRead{Topic: pattern, After: after, Wait: wait}})
	for _, e := range a.Events {
		if e.Unread != nil {
			return nil, 0, e.Unread
		}
		list = append(list, environ.Published{Topic: e.Topic, ID: e.ID, Data: e.Data, At: e.At, Seq: e.Seq})
	}
	return list, a.Next, err
}

// look opens a run for each event that was published since the last look.
func (o *others) look(ctx context.Context) error {
	for _, s := range o.sources {
		if err := s.Once(ctx, s.emit); err != nil {
			return err
		}
	}
	return nil
}

// serve looks until ctx ends. What cannot be opened cancels the run that is tested, and says so.
func (o *others) serve(ctx context.Context) {
	tick := time.NewTicker(answerEvery)
	defer tick.Stop()
	for len(o.sources) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		o.mu.Lock()
		err := o.look(ctx)
		o.failed = err
		o.mu.Unlock()
		if err != nil {
			if ctx.Err() == nil {
				_ = o.e.Cancel(ctx, o.main.id, fault.Of(err).Text) // a run that has ended meanwhile needs none
			}
			return
		}
	}
}

// waiting lists what all runs wait for, and says whether nothing goes on but waiting.
func (o *others) waiting(ctx context.Context) (list []polity.Waiting, quiet bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := len(o.runs)
	if err := o.look(ctx); err != nil {
		return nil, false, err
	}
	o.main.mu.Lock()
	quiet = o.main.under == 0 && len(o.runs) == before
	o.main.mu.Unlock()
	ids := []polity.RunID{o.main.id}
	for _, r := range o.runs {
		ids = append(ids, r.id)
	}
	for _, id := range ids {
		run, err := o.e.Find(ctx, id)
		if err != nil {
			return nil, false, err
		}
		list = append(list, run.Waiting...)
		quiet = quiet && (run.Status.Final() || len(run.Waiting) > 0)
	}
	if o.quiet++; !quiet {
		o.quiet = 0
	}
	return list, len(o.sources) == 0 || o.quiet >= quietLooks, nil
}

// watched says whether events of a topic open runs.
func (o *others) watched(topic string) bool {
	return topic != "" && slices.ContainsFunc(o.sources, func(s watched) bool { return polity.MatchTopic(s.pattern, topic) })
}

// wait waits until every run that events opened has ended, and those that their events opened.
func (o *others) wait(ctx context.Context) error {
	for done := 0; ; done++ {
		o.mu.Lock()
		err := errors.Join(o.failed, o.look(ctx))
		more := done < len(o.runs)
		var r opened
		if more {
			r = o.runs[done]
		}
		o.mu.Unlock()
		if err != nil || !more {
			return err
		}
		if r.outcome, err = o.e.Wait(ctx, r.id); err != nil {
			return fmt.Errorf("%s: %w", r.organization, err)
		}
		if err := o.e.History(ctx, r.id, r.note); err != nil {
			return err
		}
	}
}

// expected returns what does not hold of the runs of the others.
func (o *others) expected(all map[string][]Expect) []string {
	if len(o.sources) == 0 {
		return nil
	}
	runs := map[string][]*happened{}
	for _, r := range o.runs {
		runs[r.organization] = append(runs[r.organization], r.happened)
	}
	names := slices.AppendSeq(slices.Collect(maps.Keys(all)), maps.Keys(runs))
	slices.Sort(names)
	var wrong []string
	for _, name := range slices.Compact(names) {
		if want, got := len(all[name]), len(runs[name]); want != got {
			wrong = append(wrong, fmt.Sprintf("others\n  - expected: %d runs of %s that events opened\n  + came:     %d", want, name, got))
			continue
		}
		for i := range all[name] {
			for _, w := range look(&all[name][i], runs[name][i]) {
				wrong = append(wrong, fmt.Sprintf("%s[%d]: %s", name, i, w))
			}
		}
	}
	return wrong
}
