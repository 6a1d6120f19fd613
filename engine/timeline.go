package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/run"
)

// Steps returns the timeline of a run and those below it: the steps with a number above after, at most limit of them, and then, on the last
// page, what is under way and not in the log yet. more says that there is another page. id may be of a run below a root. It returns fault.NotFound if there
// is no such run.
func (e *Engine) Steps(ctx context.Context, id polity.RunID, after, limit int) (steps []polity.Step, more bool, err error) {
	var mu sync.Mutex
	var begun []polity.Notice
	stop, err := e.part.Watch(ctx, id.Root(), func(n polity.Notice) {
		mu.Lock()
		defer mu.Unlock()
		if n.Kind == "started" {
			begun = append(begun, n)
		}
	})
	if err != nil {
		return nil, false, err
	}
	stop()
	t, err := e.timeline(ctx, id)
	if err != nil {
		return nil, false, err
	}
	defer e.timelines.put(t)
	first := min(max(after, 0), len(t.steps))
	if last := first + limit; last < len(t.steps) {
		return slices.Clone(t.steps[first:last]), true, nil
	}
	steps = slices.Clone(t.steps[first:])
	mu.Lock()
	defer mu.Unlock()
	for i := range begun {
		if s, ok := t.underWay(&begun[i]); ok {
			steps = append(steps, s)
		}
	}
	return steps, false, nil
}

// timeline reads what the log tells of a run: what was read before is kept, and only what came since is read. Whoever has it gives it back.
func (e *Engine) timeline(ctx context.Context, id polity.RunID) (*timeline, error) {
	to, err := e.part.Reach(ctx, id.Root())
	if err != nil {
		return nil, err
	}
	t := e.timelines.take(id)
	if t == nil || !to.GoesOn(t.reach) {
		o, err := e.part.Opening(ctx, id)
		if err != nil {
			return nil, err
		}
		t = &timeline{root: id, at: map[string]int{}, agents: map[polity.RunID]string{}, person: func(name string) bool { return e.catalog.person(o.Release, name) }}
	}
	if err := e.part.Outline(ctx, id.Root(), t.reach, to, t.tell); err != nil {
		return nil, err
	}
	t.reach = to
	return t, nil
}

// What is kept of timelines that were read.
const (
	timelinesMax = 16
	keptStepsMax = 100_000 // of all of them; a longer one is kept alone
)

// timelines keeps those that were asked for last. It is safe for concurrent use; the zero one is empty.
type timelines struct {
	mu   sync.Mutex
	kept []*timeline // the latest last
}

// take returns a run's timeline, which is the caller's until it is put back, or nil.
func (k *timelines) take(id polity.RunID) *timeline {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.kept, func(t *timeline) bool { return t.root == id })
	if i < 0 {
		return nil
	}
	t := k.kept[i]
	k.kept = slices.Delete(k.kept, i, i+1)
	return t
}

// put keeps a timeline, and drops the oldest if there are too many.
func (k *timelines) put(t *timeline) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept = append(slices.DeleteFunc(k.kept, func(old *timeline) bool { return old.root == t.root }), t)
	steps := 0
	for i, t := range slices.Backward(k.kept) {
		if steps += len(t.steps); i < len(k.kept)-1 && (steps > keptStepsMax || len(k.kept)-i > timelinesMax) {
			k.kept = slices.Delete(k.kept, 0, i+1)
			return
		}
	}
}

// timeline folds what the log tells into steps.
type timeline struct {
	root   polity.RunID
	reach  run.Reach // how far it was read
	steps  []polity.Step
	at     map[string]int // by key
	agents map[polity.RunID]string
	person func(agent string) bool
}

func (t *timeline) tell(n *run.Outlined) error {
	if n.Run != t.root && !strings.HasPrefix(string(n.Run), string(t.root)+"/") {
		return nil
	}
	switch n.Kind {
	case "opened":
		t.opened(n)
	case "began", "result":
		t.effect(n)
	case "finished":
		if s := t.find(runKey(t.root, n.Run)); s != nil {
			s.End, s.Usage, s.Fault, s.Commit, s.Status = n.At, n.Usage, n.Fault, n.Commit, stepStatus(n)
		}
	case "reconciled":
		if s := t.find(polity.EffectKey(n.Run, n.Name, n.Attempt)); s != nil && n.Finding != nil {
			s.Verdict, s.Commit = n.Finding.Verdict, n.Commit
		}
	}
	return nil
}

// runKey is the key of the step that a run is: of the one whose timeline it is its ID, and else that of the command which opened it.
func runKey(root, id polity.RunID) string {
	if id == root {
		return string(id)
	}
	return string(id.Parent()) + "#" + strings.TrimPrefix(string(id), string(id.Parent())+"/")
}

func (t *timeline) find(key string) *polity.Step {
	if i, ok := t.at[key]; ok {
		return &t.steps[i]
	}
	return nil
}

func (t *timeline) add(s polity.Step) *polity.Step {
	s.Number = len(t.steps) + 1
	t.at[s.Key] = len(t.steps)
	t.steps = append(t.steps, s)
	return &t.steps[len(t.steps)-1]
}

func (t *timeline) opened(n *run.Outlined) {
	t.agents[n.Run] = n.Agent
	s := polity.Step{
		Key: runKey(t.root, n.Run), Run: n.Run, Agent: n.Agent, Kind: polity.StepRun, Skill: n.Skill, Status: polity.StepRunning, Start: n.At, Commit: n.Commit,
	}
	if n.Run != t.root {
		s.Kind, s.To, s.Child, s.Run, s.Agent = polity.StepAsk, n.Agent, n.Run, n.Run.Parent(), t.agents[n.Run.Parent()]
		_, s.Command, _ = strings.Cut(s.Key, "#")
	}
	t.add(s)
}

// effect takes the beginning or the result of a command that opened no run.
func (t *timeline) effect(n *run.Outlined) {
	s := t.find(polity.EffectKey(n.Run, n.Name, n.Attempt))
	if s == nil {
		s = t.add(polity.Step{
			Key: polity.EffectKey(n.Run, n.Name, n.Attempt), Run: n.Run, Command: polity.CommandKey(n.Name, n.Attempt), Agent: t.agents[n.Run],
			Kind: polity.StepRefused, Status: polity.StepRunning,
		})
		if f := n.Effect; f != nil {
			s.Kind, s.To, s.Class, s.Start = t.kind(f.Verb, f.To), f.To, f.Class, f.Since
		}
	}
	s.Commit = n.Commit
	s.Waits = waits(s.Kind)
	if n.Kind == "began" {
		return
	}
	if n.Effect == nil && (n.Fault == nil || n.Fault.Kind == fault.Cancelled) { // of all that is no effect only a sleep ends without a result
		s.Kind, s.Waits = polity.StepTimer, true
		if n.Data > 0 {
			s.Kind = polity.StepAwait
		}
	}
	s.End, s.Usage, s.Fault, s.Status = n.At, n.Usage, n.Fault, stepStatus(n)
}

// underWay makes a step of what has begun and of which the log tells nothing yet.
func (t *timeline) underWay(n *polity.Notice) (polity.Step, bool) {
	key := polity.EffectKey(n.Run, n.Name, n.Attempt)
	_, inside := t.agents[n.Run]
	if known := t.find(key); known != nil || !inside {
		return polity.Step{}, false
	}
	s := polity.Step{
		Key: key, Run: n.Run, Command: polity.CommandKey(n.Name, n.Attempt), Agent: t.agents[n.Run], Kind: t.kind(n.Verb, n.To), To: n.To,
		Status: polity.StepRunning, Start: n.At, Until: n.Until, Commit: n.Commit,
	}
	if s.Waits = waits(s.Kind); s.Waits {
		s.Status = polity.StepWaiting
	}
	return s, true
}

func (t *timeline) kind(verb, to string) polity.StepKind {
	switch verb {
	case polity.DoThink.String():
		return polity.StepModel
	case polity.DoCall.String():
		return polity.StepTool
	case polity.DoSleep.String():
		return polity.StepTimer
	case polity.DoAwait.String():
		return polity.StepAwait
	}
	if t.person(to) {
		return polity.StepQuestion
	}
	return polity.StepAsk
}

func waits(k polity.StepKind) bool {
	return slices.Contains([]polity.StepKind{polity.StepQuestion, polity.StepTimer, polity.StepAwait}, k)
}

func stepStatus(n *run.Outlined) string {
	switch {
	case n.Status == polity.StatusExhausted.String():
		return polity.StepExhausted
	case n.Status == polity.StatusCancelled.String(), n.Fault != nil && n.Fault.Kind == fault.Cancelled:
		return polity.StepCancelled
	case n.Fault == nil:
		return polity.StepDone
	case n.Fault.Kind == fault.Unknown:
		return polity.StepUnknown
	}
	return polity.StepFailed
}

// Opening returns what a run, or one below a root, was opened with, or fault.NotFound.
func (e *Engine) Opening(ctx context.Context, id polity.RunID) (run.Opening, error) {
	return e.part.Opening(ctx, id)
}

// Installed returns the releases that can be asked by name: those of installed organizations, and the program's own agents as "go".
func (e *Engine) Installed(ctx context.Context) (map[string]Digest, error) {
	all, err := e.Enlisted(ctx)
	if err != nil {
		return nil, err
	}
	if own, err := e.Described(e.own); err == nil && len(own.Agents) > 0 && all[own.Name] == (Digest{}) {
		all[own.Name] = e.own
	}
	return all, nil
}

// Described returns a stored release. Nobody may change it. It returns fault.NotFound if there is none.
func (e *Engine) Described(d Digest) (*agent.Release, error) {
	r, err := e.catalog.release(d)
	if err != nil {
		return nil, err
	}
	return &r.doc, nil
}

// Loads says what agents have to do now. A root run that only waits, and was put to sleep, counts as one that waits, as soon as the view knows of it; what
// lies below it does not count.
func (e *Engine) Loads(ctx context.Context) ([]polity.Load, error) {
	all, err := e.part.Loads(ctx, e.catalog.person)
	if err != nil {
		return nil, err
	}
	list := map[worker]*polity.Load{}
	awake := map[worker]int{} // root runs
	for _, l := range all {
		w := worker{e.catalog.name(l.Release), l.Agent} // releases of one name are the same organization
		one := w.load(list)
		one.Running, one.Waiting = one.Running+l.Running, one.Waiting+l.Waiting
		awake[w] += l.Roots
	}
	if err := e.addSleepers(ctx, list, awake); err != nil {
		return nil, err
	}
	out := make([]polity.Load, 0, len(list))
	for _, l := range list {
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, b polity.Load) int { return cmp.Or(cmp.Compare(a.Org, b.Org), cmp.Compare(a.Agent, b.Agent)) })
	return out, nil
}

// worker is an agent of an organization.
type worker struct{ org, agent string }

// load is what a worker has to do, in a list that it is added to.
func (w worker) load(list map[worker]*polity.Load) *polity.Load {
	if list[w] == nil {
		list[w] = &polity.Load{Org: w.org, Agent: w.agent}
	}
	return list[w]
}

// addSleepers adds the root runs of which the kernel holds no state: of those that the view knows, the ones that are not awake.
func (e *Engine) addSleepers(ctx context.Context, list map[worker]*polity.Load, awake map[worker]int) error {
	asleep := e.part.Gauges().Asleep
	if asleep == 0 {
		return nil
	}
	v, err := e.view()
	if err != nil {
		return err
	}
	going, err := v.Going(ctx)
	if errors.Is(err, fault.Unavailable) { // which GET /v1/view tells
		return nil
	}
	for _, g := range going {
		w := worker{g.Org, g.Agent}
		n := min(g.Running-awake[w], asleep) // the view may not know yet what has ended
		if n > 0 {
			asleep -= n
			w.load(list).Waiting += n
		}
	}
	return err
}

// Feed gives every acknowledged commit from a position on, and then each as it is acknowledged. See run.Partition.Feed.
func (e *Engine) Feed(ctx context.Context, from uint64, each func(*run.Commit) error) error {
	return e.part.Feed(ctx, from, each)
}

// OrgName is what a release is called; "" if it is not to be had.
func (e *Engine) OrgName(d Digest) string { return e.catalog.name(d) }
