package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/pattern"
)

// WorkersMax is the most workers of a measured hierarchy.
const WorkersMax = 1_000_000

// spanMeasured is how many reports each manager of a measured hierarchy has.
const spanMeasured = 10

// Chart is what one request to a hierarchy of agents costs that do nothing.
type Chart struct {
	Workers  int           `json:"workers"`
	Managers int           `json:"managers"`
	Levels   int           `json:"levels"` // of managers
	Install  time.Duration `json:"install_ns"`
	Took     time.Duration `json:"took_ns"`
	PerAgent float64       `json:"us_per_agent"`
	CPU      float64       `json:"cpu_us_per_agent"` // of the whole process
	// Messages are the questions of a manager: to itself, to assign, review and integrate, and to its reports.
	Messages float64 `json:"messages_per_manager"`
	Most     int     `json:"messages_most"`
	// Resident is the heap that an installed agent takes, and Peak the most while they all ran, garbage included.
	Resident float64      `json:"heap_bytes_per_agent"`
	Peak     float64      `json:"heap_peak_bytes_per_agent"`
	Log      float64      `json:"log_bytes_per_agent"`
	Level    []ChartLevel `json:"by_level"`
	// Growth is the time per agent to that of the first hierarchy, and GrowthCPU the same of processor time.
	Growth    float64 `json:"growth"`
	GrowthCPU float64 `json:"growth_cpu"`
}

// ChartLevel is how long the managers of a level take, as the log tells.
type ChartLevel struct {
	Level    int           `json:"level"` // the executive's is 1
	Managers int           `json:"managers"`
	Decide   time.Duration `json:"decide_p50_ns"` // from being asked to having assigned
	Decide99 time.Duration `json:"decide_p99_ns"`
	Whole    time.Duration `json:"whole_p50_ns"` // from being asked to handing up
}

// Hierarchy measures one request to each of the hierarchies with so many workers. Every one has an engine of its own. It takes turns
// cfg.Rounds times (default 3) and keeps the median by time.
func Hierarchy(ctx context.Context, cfg Config, workers []int) ([]Chart, error) {
	if cfg.Rounds == 0 {
		cfg.Rounds = 3
	}
	cfg = cfg.or()
	rounds := make([][]Chart, len(workers))
	for range cfg.Rounds {
		for i, n := range workers {
			cfg.Progress(fmt.Sprintf("a hierarchy of %d workers", n))
			one, err := chartOf(ctx, cfg, n)
			if err != nil {
				return nil, err
			}
			rounds[i] = append(rounds[i], one)
		}
	}
	var all []Chart
	for _, same := range rounds {
		slices.SortFunc(same, func(a, b Chart) int { return cmp.Compare(a.PerAgent, b.PerAgent) })
		all = append(all, same[len(same)/2])
	}
	for i := range all {
		all[i].Growth, all[i].GrowthCPU = all[i].PerAgent/all[0].PerAgent, all[i].CPU/all[0].CPU
	}
	return all, nil
}

func chartOf(ctx context.Context, cfg Config, workers int) (c Chart, err error) {
	dir, remove, err := cfg.folder()
	if err != nil {
		return c, err
	}
	defer func() { err = first(err, remove()) }()
	state := filepath.Join(dir, "engine")
	sync := engine.SyncOS
	if len(cfg.Sync) == 1 {
		sync = cfg.Sync[0]
	}
	e, err := engine.Open(ctx, engine.Config{State: state, Sync: sync, Agents: []*agent.Agent{idleLead(), idleWorker()}})
	if err != nil {
		return c, err
	}
	defer func() { err = first(err, e.Close()) }()
	before := heapNow()
	begin := time.Now()
	r, err := generate(workers)
	if err != nil {
		return c, err
	}
	release, err := e.Install(r, nil)
	if err != nil {
		return c, err
	}
	c = Chart{Workers: workers, Install: time.Since(begin)}
	for _, d := range r.Agents {
		if d.Kind == agent.KindOrg {
			c.Managers++
		}
	}
	agents := float64(c.Workers + c.Managers)
	r = nil
	c.Resident = (heapNow() - before) / agents
	peak := watchHeap()
	cpu := cpuTime()
	begin = time.Now()
	id, o, err := ask(ctx, e, release)
	c.Took, cpu = time.Since(begin), cpuTime()-cpu
	c.Peak = (peak() - before) / agents
	if err != nil {
		return c, err
	}
	if want := c.Workers + 4*c.Managers - 1; o.Status != polity.StatusCompleted || o.Usage.Turns != want {
		return c, fault.Internal.New("bench: the hierarchy ended %s after %d of %d turns: %v", o.Status, o.Usage.Turns, want, o.Fault)
	}
	c.PerAgent, c.CPU = float64(c.Took.Microseconds())/agents, float64(cpu.Microseconds())/agents
	return c, c.read(ctx, e, id)
}

func ask(ctx context.Context, e *engine.Engine, release engine.Digest) (polity.RunID, polity.Outcome, error) {
	q := engine.Request{
		ID: polity.NewRunID(0, []byte("hierarchy")), Release: release, Input: json.RawMessage(`{"question":"What is to be done?"}`),
		Bounds: polity.Bounds{Turns: 10 * WorkersMax, Depth: pattern.LevelsMax, Wall: polity.Duration(6 * time.Hour)},
	}
	o, err := e.Run(ctx, q)
	return q.ID, o, err
}

// heapNow is the heap in use once it is cleaned up: the second time takes what pools kept over the first.
func heapNow() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// watchHeap looks at the heap until the returned function is called, which returns the most it has seen.
func watchHeap() func() float64 {
	stop, most := make(chan struct{}), make(chan float64)
	go func() {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		seen := 0.0
		for {
			metrics.Read(sample)
			seen = max(seen, float64(sample[0].Value.Uint64()))
			select {
			case <-tick.C:
			case <-stop:
				most <- seen
				return
			}
		}
	}()
	return func() float64 { close(stop); return <-most }
}

// life is what the log tells of one manager's run.
type life struct {
	opened, assigned, finished time.Time
	messages                   int
}

// read takes from the log what each manager did, and when.
func (c *Chart) read(ctx context.Context, e *engine.Engine, id polity.RunID) error {
	lives := map[polity.RunID]*life{}
	bytes := 0
	err := e.History(ctx, id, func(n polity.Notice) error {
		bytes += len(n.Data)
		switch n.Kind {
		case "opened":
			lives[n.Run] = &life{opened: n.At}
			if above := lives[n.Run.Parent()]; above != nil {
				above.messages++
			}
		case "result":
			one := lives[n.Run]
			one.messages++
			if n.Name == "assign" {
				one.assigned = n.At
			}
		case "finished":
			lives[n.Run].finished = n.At
		}
		return nil
	})
	if err != nil {
		return err
	}
	levels := map[int][]*life{}
	for run, one := range lives {
		level := 1 + strings.Count(string(run), "/")
		levels[level] = append(levels[level], one)
		c.Messages += float64(one.messages) / float64(len(lives))
		c.Most = max(c.Most, one.messages)
	}
	c.Levels, c.Log = len(levels), float64(bytes)/float64(c.Workers+c.Managers)
	for level := 1; level <= c.Levels; level++ {
		of := func(q float64, d func(*life) time.Duration) time.Duration {
			all := make([]time.Duration, len(levels[level]))
			for i, one := range levels[level] {
				all[i] = d(one)
			}
			slices.Sort(all)
			return all[int(q*float64(len(all)-1))]
		}
		decide := func(l *life) time.Duration { return l.assigned.Sub(l.opened) }
		c.Level = append(c.Level, ChartLevel{
			Level: level, Managers: len(levels[level]), Decide: of(.5, decide), Decide99: of(.99, decide),
			Whole: of(.5, func(l *life) time.Duration { return l.finished.Sub(l.opened) }),
		})
	}
	return nil
}

// generate makes a hierarchy with the span measured, as deep as the workers need.
func generate(workers int) (*agent.Release, error) {
	g := &generator{r: &agent.Release{Name: "hierarchy", Main: "u0"}}
	if err := g.unit("u0", workers); err != nil {
		return nil, err
	}
	g.r.Agents = append(g.r.Agents, agent.Definition{
		Name: "lead", Kind: agent.KindGo, Skills: []polity.Skill{{Name: "lead"}}, Go: &agent.Go{Use: "lead", Version: "1"},
	})
	return g.r, nil
}

type generator struct {
	r     *agent.Release
	units int
	hands int
}

// unit makes a unit of so many workers: they report to it, or are dealt out to units below.
func (g *generator) unit(name polity.AgentName, workers int) error {
	h := pattern.Hierarchy{
		Lead: "lead", Span: spanMeasured, Levels: pattern.LevelsMax,
		Members: []pattern.Member{{Name: "lead", Skills: []polity.Skill{{Name: "lead"}}}},
	}
	report := func(name polity.AgentName, unit bool) {
		h.Reports = append(h.Reports, pattern.DirectReport{Agent: name, Unit: unit})
		h.Members = append(h.Members, pattern.Member{Name: name, Skills: []polity.Skill{{Name: "work"}}, Repeatable: true})
	}
	g.units++
	if workers <= spanMeasured {
		for range workers {
			g.hands++
			hand := polity.AgentName(fmt.Sprintf("w%d", g.hands))
			report(hand, false)
			g.r.Agents = append(g.r.Agents, agent.Definition{
				Name: hand, Kind: agent.KindGo, Skills: []polity.Skill{{Name: "work"}}, Go: &agent.Go{Use: "worker", Version: "1"},
			})
		}
	} else {
		parts := min(spanMeasured, (workers+spanMeasured-1)/spanMeasured)
		for i := range parts {
			below := polity.AgentName(fmt.Sprintf("u%d", g.units))
			report(below, true)
			if err := g.unit(below, (workers+i)/parts); err != nil {
				return err
			}
		}
	}
	config, err := json.Marshal(h)
	if err != nil {
		return fault.Internal.New("bench: %w", err)
	}
	g.r.Agents = append(g.r.Agents, agent.Definition{
		Name: name, Kind: agent.KindOrg, Skills: []polity.Skill{{Name: "work"}}, Org: &agent.Org{Pattern: "hierarchy", Config: config},
	})
	return nil
}

// idleWorker does nothing.
func idleWorker() *agent.Agent {
	done := json.RawMessage(`{"summary":"done"}`)
	return &agent.Agent{
		Name: "worker", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "work"}},
		Handle: func(context.Context, polity.Message) (json.RawMessage, error) { return done, nil },
	}
}

// idleLead does what a manager is asked for, at once: everybody gets the objective, and everything is accepted.
func idleLead() *agent.Agent {
	return &agent.Agent{
		Name: "lead", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "lead"}},
		Handle: func(_ context.Context, m polity.Message) (json.RawMessage, error) {
			var in struct {
				Duty      string `json:"duty"`
				Objective string `json:"objective"`
				Reports   []struct {
					Report string `json:"report"`
				} `json:"reports"`
				Results []struct {
					Report string `json:"report"`
				} `json:"results"`
			}
			if err := json.Unmarshal(m.Body, &in); err != nil {
				return nil, fault.Invalid.New("lead: %w", err)
			}
			type entry map[string]any
			var list []entry
			switch in.Duty {
			case "assign":
				for _, r := range in.Reports {
					list = append(list, entry{"report": r.Report, "objective": in.Objective})
				}
				return json.Marshal(entry{"assignments": list})
			case "review":
				for _, r := range in.Results {
					list = append(list, entry{"report": r.Report, "accept": true})
				}
				return json.Marshal(entry{"decisions": list})
			default:
				return json.Marshal(entry{"summary": "done", "recommendations": []string{}})
			}
		},
	}
}
