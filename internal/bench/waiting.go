package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
)

// The limits of what can be asked for.
const (
	WaitingMax = 1_000_000 // runs
	StepsMax   = 100       // of each before it waits
)

const (
	napFor      = 10 * 24 * time.Hour // the runs of the crowd wait this long
	openersMax  = 256                 // runs that are opened at once
	napMin      = 3 * time.Second     // from the opening of those that are woken to their time
	wakeSpread  = 10 * time.Second    // over which they are spread, at most
	burstsMade  = 5
	burstsApart = 2 * time.Second       // at most
	callsApart  = 10 * time.Millisecond // at most, one after the other
	wakeTopic   = "bench.wake"
	wakeSignal  = "wake"
)

// What runs can wait for.
const (
	OnTimers  = "timers"
	OnSignals = "signals"
	OnEvents  = "events" // each for one with its own key, all on one topic
	OnPersons = "approvals"
)

// spreadOf is the time over which single wakes are spread, and apartOf that between two bursts: a few need less of it.
func spreadOf(wakes int) time.Duration { return min(wakeSpread, time.Duration(wakes)*callsApart) }
func apartOf(atOnce int) time.Duration {
	return min(burstsApart, 100*time.Millisecond+time.Duration(atOnce)*2*time.Millisecond)
}

// Waiters is what many runs cost that wait.
type Waiters struct {
	On     string        `json:"on"`
	Runs   int           `json:"runs"`
	Steps  int           `json:"steps"` // each did before it waited
	Opened time.Duration `json:"open_ns"`
	Rate   float64       `json:"opened_per_second"`
	Heap   float64       `json:"heap_bytes_per_run"`
	RSS    float64       `json:"rss_bytes"`      // of the whole process, while all wait
	RSSMax float64       `json:"rss_peak_bytes"` // until then
	Disk   float64       `json:"dormant_bytes_per_run"`
	Point  float64       `json:"checkpoint_bytes_per_run"` // of Disk
	Log    float64       `json:"store_bytes_per_run"`
	Wakes  []Wakes       `json:"wakes"`
	Close  time.Duration `json:"close_ns"`    // with the checkpoint
	Start  Started       `json:"start"`       // with the checkpoint that was written then
	Whole  Started       `json:"start_whole"` // without it
}

// Started is how long it took a node to start, until a new run had come to its end.
type Started struct {
	Took time.Duration `json:"took_ns"`
	CPU  time.Duration `json:"cpu_ns"` // of the whole process
}

// Wakes is how long it took from the time that a run waited for, or from the call that sent what it waited for, to its next decision being acknowledged.
type Wakes struct {
	At    int           `json:"at_once"` // how many are woken at the same time: by one event, or by a signal or an answer each
	Count int           `json:"count"`
	P50   time.Duration `json:"p50_ns"`
	P95   time.Duration `json:"p95_ns"`
	P99   time.Duration `json:"p99_ns"`
	Most  time.Duration `json:"most_ns"`
}

// WaitingOn measures runs that do some steps and then wait for days: what they cost, how long it takes from what they wait for to a run's next
// decision, and how long a node takes to start with them. spread is how many runs are woken one after the other, and bursts how many at once.
func WaitingOn(ctx context.Context, cfg Config, on string, runs, steps, spread int, bursts []int) (w Waiters, err error) {
	cfg = cfg.or()
	dir, remove, err := cfg.folder()
	if err != nil {
		return w, err
	}
	defer func() { err = first(err, remove()) }()
	n := &napping{cfg: cfg, on: on, state: filepath.Join(dir, "state"), sync: cfg.Sync[0]}
	if err := n.open(ctx, false); err != nil {
		return w, err
	}
	defer func() {
		if n.e != nil {
			err = first(err, n.e.Close())
		}
	}()
	w = Waiters{On: on, Runs: runs, Steps: steps}
	before := heapNow()
	if err := n.crowd(ctx, &w); err != nil {
		return w, err
	}
	w.Heap = (heapNow() - before) / float64(runs)
	w.RSS, w.RSSMax = memory("VmRSS:"), memory("VmHWM:")
	w.Log = size(filepath.Join(n.state, "store")) / float64(runs)
	if err := n.wakes(ctx, &w, spread, bursts); err != nil {
		return w, err
	}
	return w, n.starts(ctx, &w)
}

// napping is a node with runs that wait.
type napping struct {
	cfg   Config
	on    string
	state string
	sync  engine.Sync
	e     *engine.Engine
	use   engine.Digest // the release
	mu    sync.Mutex
	late  []time.Duration // of those that woke
}

// nap is what a run of the agent sleeper is asked for.
type nap struct {
	Steps int       `json:"steps,omitempty"`
	On    string    `json:"on,omitempty"`
	Key   string    `json:"key,omitempty"` // of the event
	Until time.Time `json:"until"`         // in a signal and in an event: when it was sent
}

// sleeper does its steps, waits, and says when it was to be woken.
type sleeper struct{}

// wait is the command that waits.
func (n *nap) wait(now time.Time) (polity.Command, error) {
	on := polity.Awaited{Signal: wakeSignal}
	switch n.On {
	case OnTimers:
		return polity.Sleep("nap", n.Until.Sub(now)), nil
	case OnPersons:
		about, err := n.approval()
		return polity.Ask("nap", "boss", polity.ApproveSkill, about), err
	case OnEvents:
		match, err := json.Marshal(struct {
			Key string `json:"key"`
		}{n.Key})
		if err != nil {
			return polity.Command{}, fault.Internal.New("sleeper: %w", err)
		}
		on = polity.Awaited{Topic: wakeTopic, Match: match}
	}
	return polity.Await("nap", on, 0), nil
}

// approval is what a person is asked to let go.
func (n *nap) approval() (json.RawMessage, error) {
	action := polity.Action{Tool: "bench.pay", Effect: polity.EffectExternal, Input: json.RawMessage(`{"to":` + strconv.Quote(n.Key) + `,"cents":100}`)}
	hash, err := action.Hash()
	if err != nil {
		return nil, err
	}
	about, err := json.Marshal(polity.Approval{Action: action, Hash: hash})
	if err != nil {
		return nil, fault.Internal.New("sleeper: %w", err)
	}
	return about, nil
}

// approved is what the clock is told of a person's answer, whose reason is when it was given.
func approved(data json.RawMessage) (json.RawMessage, error) {
	var d polity.Decision
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fault.Invalid.New("sleeper: %w", err)
	}
	at, err := time.Parse(time.RFC3339Nano, d.Reason)
	if err != nil {
		return nil, fault.Invalid.New("sleeper: %w", err)
	}
	if data, err = json.Marshal(nap{Until: at}); err != nil {
		return nil, fault.Internal.New("sleeper: %w", err)
	}
	return data, nil
}

type asleep struct {
	nap  nap
	done int
}

func (sleeper) Decide(state any, e polity.Event) (any, []polity.Command) {
	s, _ := state.(*asleep)
	switch {
	case s == nil:
		s = &asleep{}
		if err := json.Unmarshal(e.Data, &s.nap); err != nil {
			return s, []polity.Command{polity.Fail(fault.Of(fault.Invalid.New("sleeper: %w", err)))}
		}
	case e.Fault != nil:
		return s, []polity.Command{polity.Fail(e.Fault)}
	default:
		s.done++
	}
	switch {
	case s.done < s.nap.Steps:
		return s, []polity.Command{polity.Ask("step."+strconv.Itoa(s.done), "noop", "", e.Data)}
	case s.done == s.nap.Steps:
		wait, err := s.nap.wait(e.At)
		if err != nil {
			return s, []polity.Command{polity.Fail(fault.Of(err))}
		}
		return s, []polity.Command{wait}
	case s.done == s.nap.Steps+1:
		due, err := e.Data, error(nil)
		switch s.nap.On {
		case OnTimers:
			due, err = json.Marshal(s.nap)
		case OnPersons:
			due, err = approved(e.Data)
		}
		if err != nil {
			return s, []polity.Command{polity.Fail(fault.Of(err))}
		}
		return s, []polity.Command{polity.Ask("woken", "clock", "", due)}
	default:
		return s, []polity.Command{polity.Finish(e.Data)}
	}
}

func (n *napping) open(ctx context.Context, whole bool) (err error) {
	does := func(name string, handle func(context.Context, polity.Message) (json.RawMessage, error)) *agent.Agent {
		return &agent.Agent{
			Name: polity.AgentName(name), Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: name}}, Handle: handle,
		}
	}
	agents := []*agent.Agent{
		{Name: "sleeper", Version: "1", Skills: []polity.Skill{{Name: "sleep"}}, Decider: sleeper{}, Signals: map[string]json.RawMessage{wakeSignal: nil}},
		does("noop", func(_ context.Context, m polity.Message) (json.RawMessage, error) {
			return json.RawMessage(`{"ok":true}`), nil
		}),
		does("clock", n.woken),
	}
	if n.e, err = engine.Open(ctx, engine.Config{State: n.state, Sync: n.sync, Whole: whole, Agents: agents}); err != nil {
		return err
	}
	r := &agent.Release{Name: "waiting", Main: "sleeper", Agents: []agent.Definition{{
		Name: "boss", Kind: agent.KindHuman, Skills: []polity.Skill{{Name: "decide"}}, Human: &agent.Human{Timeout: polity.Duration(napFor)},
	}}}
	for _, a := range agents {
		r.Agents = append(r.Agents, a.Definition())
	}
	n.use, err = n.e.Install(r, nil)
	return err
}

// woken notes how late it is. It is called once the decision to ask for it is acknowledged.
func (n *napping) woken(_ context.Context, m polity.Message) (json.RawMessage, error) {
	now := time.Now()
	var one nap
	if err := json.Unmarshal(m.Body, &one); err != nil {
		return nil, fault.Invalid.New("clock: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.late = append(n.late, now.Sub(one.Until))
	return m.Body, nil
}

func (n *napping) start(ctx context.Context, seed string, one nap) (polity.RunID, error) {
	in, err := json.Marshal(one)
	if err != nil {
		return "", fault.Internal.New("bench: %w", err)
	}
	return n.e.Start(ctx, engine.Request{
		ID: polity.NewRunID(0, []byte(seed)), Release: n.use, Agent: "sleeper", Input: in, Bounds: polity.Bounds{Wall: polity.Duration(30 * 24 * time.Hour)},
	})
}

// many starts runs from many goroutines.
func (n *napping) many(ctx context.Context, count int, start func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for from := range min(openersMax, count) {
		all.Go(func() {
			for i := from; i < count && ctx.Err() == nil; i += openersMax {
				if err := start(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// crowd opens the runs, and waits until all of them wait.
func (n *napping) crowd(ctx context.Context, w *Waiters) error {
	n.cfg.Progress(fmt.Sprintf("opening %d runs", w.Runs))
	begin := time.Now()
	until := begin.Add(napFor)
	err := n.many(ctx, w.Runs, func(i int) error {
		_, err := n.start(ctx, fmt.Sprintf("nap %d", i), nap{w.Steps, n.on, strconv.Itoa(i), until})
		return err
	})
	if err == nil {
		err = n.quiet(ctx)
	}
	w.Opened = time.Since(begin)
	w.Rate = float64(w.Runs) / w.Opened.Seconds()
	return err
}

// quiet waits until nothing goes on any more.
func (n *napping) quiet(ctx context.Context) error {
	for quiet := 0; quiet < 3 && ctx.Err() == nil; quiet++ { // their steps go on
		before := cpuTime()
		time.Sleep(200 * time.Millisecond)
		if cpuTime()-before > 20*time.Millisecond {
			quiet = -1
		}
	}
	return ctx.Err()
}

// wakes has runs woken while the crowd sleeps.
func (n *napping) wakes(ctx context.Context, w *Waiters, spread int, bursts []int) error {
	if n.on != OnTimers {
		return n.calls(ctx, w, spread, bursts)
	}
	n.cfg.Progress(fmt.Sprintf("waking %d runs, one after the other", spread))
	begin := time.Now().Add(napMin + time.Duration(spread)*100*time.Microsecond)
	if err := n.wake(ctx, w, 1, spread, func(i int) time.Time { return begin.Add(spreadOf(spread) * time.Duration(i) / time.Duration(spread)) }); err != nil {
		return err
	}
	for _, at := range bursts {
		n.cfg.Progress(fmt.Sprintf("waking %d runs at once", at))
		begin := time.Now().Add(napMin + time.Duration(at)*burstsMade*100*time.Microsecond)
		if err := n.wake(ctx, w, at, at*burstsMade, func(i int) time.Time { return begin.Add(apartOf(at) * time.Duration(i%burstsMade)) }); err != nil {
			return err
		}
	}
	return nil
}

func (n *napping) wake(ctx context.Context, w *Waiters, at, count int, until func(i int) time.Time) error {
	n.late = nil
	err := n.many(ctx, count, func(i int) error {
		_, err := n.start(ctx, fmt.Sprintf("wake %d of %d at once", i, at), nap{0, OnTimers, "", until(i)})
		return err
	})
	if err != nil {
		return err
	}
	return n.woke(ctx, w, at, count)
}

// calls has runs woken by signals or events while the crowd sleeps.
func (n *napping) calls(ctx context.Context, w *Waiters, spread int, bursts []int) error {
	n.cfg.Progress(fmt.Sprintf("waking %d runs, one after the other", spread))
	if err := n.called(ctx, w, 1, spread, min(wakeSpread/time.Duration(spread), callsApart)); err != nil {
		return err
	}
	for _, at := range bursts {
		n.cfg.Progress(fmt.Sprintf("waking %d runs at once", at))
		if err := n.called(ctx, w, at, burstsMade, apartOf(at)); err != nil {
			return err
		}
	}
	return nil
}

// called opens runs, and wakes at of them at once, so many times, apart from each other.
func (n *napping) called(ctx context.Context, w *Waiters, at, times int, apart time.Duration) error {
	n.late = nil
	ids := make([]polity.RunID, at*times)
	key := func(time int) string { return fmt.Sprintf("%d at once, %d", at, time) }
	err := n.many(ctx, len(ids), func(i int) (err error) {
		ids[i], err = n.start(ctx, fmt.Sprintf("call %d of %d at once", i, at), nap{0, n.on, key(i / at), time.Time{}})
		return err
	})
	if err == nil {
		err = n.quiet(ctx)
	}
	begin := time.Now()
	for i := 0; i < times && err == nil; i++ {
		time.Sleep(time.Until(begin.Add(apart * time.Duration(i))))
		err = n.call(ctx, key(i), ids[i*at:(i+1)*at])
	}
	if err != nil {
		return err
	}
	return n.woke(ctx, w, at, len(ids))
}

// call wakes those that wait for a key, or each of them by a signal.
func (n *napping) call(ctx context.Context, key string, ids []polity.RunID) error {
	data, err := json.Marshal(nap{Key: key, Until: time.Now()})
	if err != nil {
		return fault.Internal.New("bench: %w", err)
	}
	if n.on == OnEvents {
		return n.e.Publish(ctx, wakeTopic, key, 0, data)
	}
	if n.on == OnPersons {
		return n.approve(ctx, key, ids)
	}
	return n.many(ctx, len(ids), func(i int) error { return n.e.Signal(ctx, ids[i], wakeSignal, key, 0, data) })
}

// approve has a person let go what each run asks for.
func (n *napping) approve(ctx context.Context, key string, ids []polity.RunID) error {
	about, err := (&nap{Key: key}).approval()
	if err != nil {
		return err
	}
	var a polity.Approval
	if err := json.Unmarshal(about, &a); err != nil {
		return fault.Internal.New("bench: %w", err)
	}
	answer, err := json.Marshal(polity.Decision{Approve: true, Hash: a.Hash, Reason: time.Now().Format(time.RFC3339Nano)})
	if err != nil {
		return fault.Internal.New("bench: %w", err)
	}
	return n.many(ctx, len(ids), func(i int) error { return n.e.Answer(ctx, polity.EffectKey(ids[i], "nap", 1), answer) })
}

// woke waits until so many have woken, and notes how late they were.
func (n *napping) woke(ctx context.Context, w *Waiters, at, count int) (err error) {
	var all []time.Duration
	for err == nil && len(all) < count {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-n.e.Down():
			err = n.e.Err()
		case <-time.After(100 * time.Millisecond):
			n.mu.Lock()
			all = slices.Clone(n.late)
			n.mu.Unlock()
		}
	}
	if err != nil {
		return err
	}
	slices.Sort(all)
	of := func(q float64) time.Duration { return all[int(q*float64(len(all)-1))] }
	w.Wakes = append(w.Wakes, Wakes{At: at, Count: count, P50: of(.5), P95: of(.95), P99: of(.99), Most: of(1)})
	return nil
}

// starts closes the node, and starts it again in both ways.
func (n *napping) starts(ctx context.Context, w *Waiters) error {
	n.cfg.Progress("stopping and starting")
	close := func() (time.Duration, error) {
		begin := time.Now()
		err := n.e.Close()
		n.e = nil
		return time.Since(begin), err
	}
	start := func(whole bool) (Started, error) {
		begin, cpu := time.Now(), cpuTime()
		if err := n.open(ctx, whole); err != nil {
			return Started{}, err
		}
		id, err := n.start(ctx, fmt.Sprintf("ready %t", whole), nap{On: OnTimers, Until: begin})
		if err == nil {
			_, err = n.e.Wait(ctx, id)
		}
		return Started{time.Since(begin), cpuTime() - cpu}, err
	}
	var err error
	if w.Close, err = close(); err != nil {
		return err
	}
	w.Disk = size(filepath.Join(n.state, "dormant")) / float64(w.Runs)
	points, err := filepath.Glob(filepath.Join(n.state, "dormant", "checkpoint-*"))
	if err != nil {
		return fault.Internal.New("bench: %w", err)
	}
	for _, p := range points {
		w.Point = max(w.Point, size(p)/float64(w.Runs))
	}
	if w.Start, err = start(false); err != nil {
		return err
	}
	if _, err = close(); err != nil {
		return err
	}
	w.Whole, err = start(true)
	return err
}

// memory reads a figure of this process, in bytes; 0 where the system does not tell.
func memory(field string) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), field)
	number, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	kb, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0
	}
	return kb * 1024
}

// size is how many bytes the files of a folder hold.
func size(dir string) (all float64) {
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all += float64(info.Size())
		}
		return err
	})
	if err != nil {
		return 0
	}
	return all
}
