// Package bench measures the engine beside the limits of the machine it runs on, in one process and in turns.
//
// It exists because a figure without its limit, taken in the same minute on the same disk, says nothing.
package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/schema"
)

// Config says what to measure.
type Config struct {
	Dir    string        // a folder on the disk to measure; what is made there is removed
	Sync   []engine.Sync // default both
	At     []int         // runs at once; default 1, 16, 64, 256, 1024
	Rounds int           // turns of each system at each point; default 5
	Window time.Duration // of a turn; default 400 ms
	// Progress is told of each point as it begins; may be nil.
	Progress func(text string)
}

func (c Config) or() Config {
	if len(c.Sync) == 0 {
		c.Sync = []engine.Sync{engine.SyncDisk, engine.SyncOS}
	}
	if len(c.At) == 0 {
		c.At = []int{1, 16, 64, 256, 1024}
	}
	if c.Rounds == 0 {
		c.Rounds = 5
	}
	if c.Window == 0 {
		c.Window = 400 * time.Millisecond
	}
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	return c
}

// folder makes a folder on the disk to measure, and returns what removes it.
func (c Config) folder() (string, func() error, error) {
	dir, err := os.MkdirTemp(c.Dir, "polity-bench-")
	if err != nil {
		return "", nil, fault.Unavailable.New("bench: %w", err)
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}

// system is something that does runs.
type system interface {
	Name() string
	// worker returns a function that does one run with the given number; one goroutine uses it.
	worker(steps int) func(ctx context.Context, i int) error
	Close() error
}

// Point is one measurement: the median of the rounds.
type Point struct {
	System string      `json:"system"`
	Sync   engine.Sync `json:"sync"`
	At     int         `json:"at_once"`
	Rate   float64     `json:"runs_per_second"`
	P50    float64     `json:"p50_us"`
	P99    float64     `json:"p99_us"`
	Step   float64     `json:"us_per_step"`
	CPU    float64     `json:"cpu_us_per_step"` // of the whole process
	Allocs float64     `json:"allocs_per_step"`
	Ratio  float64     `json:"ratio,omitempty"` // to the first system at the same point: the median over the rounds
	Packed float64     `json:"ratio_packed,omitempty"`
	Fsync  float64     `json:"fsyncs_per_second"` // a probe in the same minute
}

const stepsPerRun = 5

// Runs measures runs of five no-op steps: the engine, hand-packed JetStream and a write-ahead log.
func Runs(ctx context.Context, cfg Config) ([]Point, error) {
	cfg = cfg.or()
	var points []Point
	for _, sync := range cfg.Sync {
		p, err := runsWith(ctx, cfg, sync)
		if err != nil {
			return nil, err
		}
		points = append(points, p...)
	}
	return points, nil
}

func runsWith(ctx context.Context, cfg Config, sync engine.Sync) (points []Point, err error) {
	for _, at := range cfg.At {
		cfg.Progress(fmt.Sprintf("five-step runs, sync %s, %d at once", sync, at))
		p, err := runsAt(ctx, cfg, sync, at)
		if err != nil {
			return nil, err
		}
		points = append(points, p...)
	}
	return points, nil
}

// runsAt measures one point, on systems that are new: none drags along what an earlier point left in it.
func runsAt(ctx context.Context, cfg Config, sync engine.Sync, at int) (points []Point, err error) {
	dir, remove, err := cfg.folder()
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, remove()) }()
	disk := sync != engine.SyncOS
	var systems []system
	defer func() {
		for _, s := range systems {
			err = first(err, s.Close())
		}
	}()
	wal, err := openWAL(dir, disk)
	if err != nil {
		return nil, err
	}
	systems = append(systems, wal)
	packed, err := openPacked(ctx, dir, disk)
	if err != nil {
		return nil, err
	}
	systems = append(systems, packed)
	eng, err := openEngine(ctx, filepath.Join(dir, "engine"), sync)
	if err != nil {
		return nil, err
	}
	systems = append(systems, eng)
	points, err = compare(ctx, cfg, systems, at, dir)
	for i := range points {
		points[i].Sync = sync
	}
	return points, err
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// compare measures systems in turns at one point.
func compare(ctx context.Context, cfg Config, systems []system, at int, dir string) ([]Point, error) {
	rounds := make([][]turn, len(systems))
	var probes []float64
	for range cfg.Rounds {
		probe, err := fsyncs(dir)
		if err != nil {
			return nil, err
		}
		probes = append(probes, probe)
		for i, s := range systems {
			t, err := measure(ctx, s, at, stepsPerRun, cfg.Window)
			if err != nil {
				return nil, err
			}
			rounds[i] = append(rounds[i], t)
		}
	}
	points := make([]Point, len(systems))
	for i, s := range systems {
		pick := func(f func(turn) float64) float64 {
			all := make([]float64, len(rounds[i]))
			for k, t := range rounds[i] {
				all[k] = f(t)
			}
			return median(all)
		}
		ratio := func(to int) float64 {
			all := make([]float64, len(rounds[i]))
			for k, t := range rounds[i] {
				all[k] = t.rate / rounds[to][k].rate
			}
			return median(all)
		}
		points[i] = Point{
			System: s.Name(), At: at, Rate: pick(func(t turn) float64 { return t.rate }), P50: pick(func(t turn) float64 { return t.p50 }),
			P99: pick(func(t turn) float64 { return t.p99 }), CPU: pick(func(t turn) float64 { return t.cpu }), Allocs: pick(func(t turn) float64 { return t.allocs }),
			Ratio: ratio(0), Packed: ratio(min(1, len(systems)-1)), Fsync: median(probes),
		}
		points[i].Step = 1e6 / points[i].Rate / stepsPerRun
	}
	return points, nil
}

// turn is one system's result in one round.
type turn struct{ rate, p50, p99, allocs, cpu float64 }

var numbers struct {
	sync.Mutex
	next int
}

// block hands out run numbers: no two runs of a process have the same one.
func block(n int) int {
	numbers.Lock()
	defer numbers.Unlock()
	from := numbers.next
	numbers.next += n
	return from
}

func measure(ctx context.Context, s system, at, steps int, window time.Duration) (turn, error) {
	const ids = 1 << 20
	type part struct {
		times []time.Duration
		err   error
	}
	parts := make([]part, at)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cpu := cpuTime()
	begin := time.Now()
	var wg sync.WaitGroup
	for w := range at {
		wg.Add(1)
		go func() {
			defer wg.Done()
			do := s.worker(steps)
			from := block(ids)
			for i := 0; i < ids && time.Since(begin) < window; i++ {
				t := time.Now()
				if err := do(ctx, from+i); err != nil {
					parts[w].err = err
					return
				}
				parts[w].times = append(parts[w].times, time.Since(t))
			}
		}()
	}
	wg.Wait()
	took := time.Since(begin)
	cpu = cpuTime() - cpu
	runtime.ReadMemStats(&after)
	var all []time.Duration
	for _, p := range parts {
		if p.err != nil {
			return turn{}, fmt.Errorf("bench: %s: %w", s.Name(), p.err)
		}
		all = append(all, p.times...)
	}
	slices.Sort(all)
	micro := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))]) / 1e3 }
	return turn{
		rate: float64(len(all)) / took.Seconds(), p50: micro(.5), p99: micro(.99),
		allocs: float64(after.Mallocs-before.Mallocs) / float64(len(all)*steps),
		cpu:    float64(cpu.Microseconds()) / float64(len(all)*steps),
	}, nil
}

// cpuTime is what the process has used of all cores.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // not to be had here: the column shows zeros
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// fsyncs probes how many small synced writes the disk takes in a second.
func fsyncs(dir string) (float64, error) {
	f, err := os.CreateTemp(dir, "probe-")
	if err != nil {
		return 0, fault.Unavailable.New("bench: probe: %w", err)
	}
	n := 0
	begin := time.Now()
	for time.Since(begin) < 50*time.Millisecond {
		if _, err := f.Write(event[:]); err != nil {
			return 0, fault.Unavailable.New("bench: probe: %w", err)
		}
		if err := f.Sync(); err != nil {
			return 0, fault.Unavailable.New("bench: probe: %w", err)
		}
		n++
	}
	rate := float64(n) / time.Since(begin).Seconds()
	return rate, first(f.Close(), os.Remove(f.Name()))
}

// engineSystem does runs on a real node: bounds, schemas both ways, logging.
type engineSystem struct {
	e     *engine.Engine
	agent string
	name  string
}

func (s *engineSystem) Name() string { return s.name }
func (s *engineSystem) Close() error { return s.e.Close() }

func (s *engineSystem) worker(int) func(ctx context.Context, i int) error {
	return func(ctx context.Context, i int) error {
		id := polity.NewRunID(0, fmt.Appendf(nil, "bench %d", i))
		o, err := s.e.Run(ctx, engine.Request{ID: id, Agent: s.agent, Input: json.RawMessage(`{"n":1}`)})
		if err == nil && o.Status != polity.StatusCompleted {
			err = errUnexpected
		}
		return err
	}
}

type number struct {
	N int `json:"n"`
}

// inARow asks the given agents one after the other, each for what the one before answered.
type inARow []polity.AgentName

func (a inARow) Decide(state any, e polity.Event) (any, []polity.Command) {
	n, _ := state.(int)
	switch {
	case e.Fault != nil:
		return n, []polity.Command{polity.Fail(e.Fault)}
	case n == len(a):
		return n, []polity.Command{polity.Finish(e.Data)}
	default:
		return n + 1, []polity.Command{polity.Ask(stepNames[n], a[n], "", e.Data)}
	}
}

var stepNames = [...]string{"s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10"}

func openEngine(ctx context.Context, dir string, sync engine.Sync) (*engineSystem, error) {
	return openNode(ctx, dir, sync, false)
}

// openNode opens an engine, which follows its log with a view if that is wanted.
func openNode(ctx context.Context, dir string, sync engine.Sync, view bool) (*engineSystem, error) {
	of, err := schema.For[number]()
	if err != nil {
		return nil, err
	}
	noop := &agent.Agent{
		Name: "noop", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "noop", Input: of, Output: of}},
		Handle: func(_ context.Context, m polity.Message) (json.RawMessage, error) { return m.Body, nil },
	}
	five := &agent.Agent{
		Name: "five", Version: "1", Skills: []polity.Skill{{Name: "five", Input: of, Output: of}},
		Decider: inARow{"noop", "noop", "noop", "noop", "noop"},
	}
	e, err := engine.Open(ctx, engine.Config{State: dir, Sync: sync, Agents: []*agent.Agent{noop, five}, View: view})
	if err != nil {
		return nil, err
	}
	return &engineSystem{e, "five", "polity"}, nil
}
