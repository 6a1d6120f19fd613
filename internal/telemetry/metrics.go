package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"polity.run"
	"polity.run/internal/run"
)

// metrics are the instruments. Their attributes are names of the release (agents, models, tools) and words of Polity's own, never a run's ID: their
// number is bounded by what was installed.
type metrics struct {
	opened, ended      metric.Int64Counter
	effects            metric.Int64Counter
	commits, events    metric.Int64Counter
	exported, failures metric.Int64Counter
	cost               metric.Float64Counter
	runTime, toolTime  metric.Float64Histogram
	chatTime           metric.Float64Histogram
	commitTime         metric.Float64Histogram
	commitSize         metric.Int64Histogram
	tokens             metric.Int64Histogram
	live               metric.Int64Gauge
	lag                metric.Float64Gauge
}

func newMetrics(m metric.Meter) (*metrics, error) {
	var all metrics
	b := builder{m: m}
	all.opened = b.counter(metricRunsOpened, "{run}", "Runs that were opened")
	all.ended = b.counter(metricRunsEnded, "{run}", "Runs that ended, by status")
	all.effects = b.counter(metricEffects, "{effect}", "Things done outside of runs, by class and outcome")
	all.commits = b.counter(metricCommits, "{commit}", "Commits of the log")
	all.events = b.counter(metricEvents, "{event}", "Events in them")
	all.exported = b.counter(metricExported, "{span}", "Spans that were exported")
	all.failures = b.counter(metricFailures, "{export}", "Exports that failed, and are tried again")
	all.runTime = b.histogram(metricRunDuration, "s", "From a run's opening to its end", secondBuckets)
	all.toolTime = b.histogram(metricToolDuration, "s", "From asking for a tool to its result", secondBuckets)
	all.chatTime = b.histogram(metricChatDuration, "s", "From asking a model to its answer", secondBuckets)
	all.commitTime = b.histogram(metricCommitTime, "s", "From sending a commit to its acknowledgement", commitBuckets)
	var err error
	if all.commitSize, err = m.Int64Histogram(metricCommitSize, metric.WithUnit("{record}"), metric.WithDescription("Records of one commit"),
		metric.WithExplicitBucketBoundaries(recordBuckets...)); b.err == nil {
		b.err = err
	}
	if all.cost, err = m.Float64Counter(metricCost, metric.WithUnit("USD"), metric.WithDescription("What models cost")); b.err == nil {
		b.err = err
	}
	if all.tokens, err = m.Int64Histogram(metricTokens, metric.WithUnit("{token}"), metric.WithDescription("Tokens of one question to a model"),
		metric.WithExplicitBucketBoundaries(tokenBuckets...)); b.err == nil {
		b.err = err
	}
	if all.live, err = m.Int64Gauge(metricRunsLive, metric.WithUnit("{run}"), metric.WithDescription("Root runs that have not ended")); b.err == nil {
		b.err = err
	}
	if all.lag, err = m.Float64Gauge(metricLag, metric.WithUnit("s"), metric.WithDescription("How long ago the last commit was accepted that these figures tell of, when they were made")); b.err == nil {
		b.err = err
	}
	return &all, b.err
}

// builder keeps the first error.
type builder struct {
	m   metric.Meter
	err error
}

func (b *builder) counter(name, unit, text string) metric.Int64Counter {
	c, err := b.m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(text))
	if b.err == nil {
		b.err = err
	}
	return c
}

func (b *builder) histogram(name, unit, text string, buckets []float64) metric.Float64Histogram {
	h, err := b.m.Float64Histogram(name, metric.WithUnit(unit), metric.WithDescription(text), metric.WithExplicitBucketBoundaries(buckets...))
	if b.err == nil {
		b.err = err
	}
	return h
}

// gauge is a figure that is asked for when the page is, or an export is made.
type gauge struct {
	name, unit, text string
	of               func(*Gauges) float64
}

func gaugesOf() []gauge {
	return []gauge{
		{metricQueue, "{input}", "Inputs that wait for the partition's loop", func(g *Gauges) float64 { return float64(g.Queue) }},
		{metricAwake, "{run}", "Runs in memory, with those below roots", func(g *Gauges) float64 { return float64(g.Awake) }},
		{metricAsleep, "{run}", "Root runs that only wait, and are in no memory", func(g *Gauges) float64 { return float64(g.Asleep) }},
		{metricStopped, "{run}", "Root runs that are stopped, as their code decides otherwise than it did", func(g *Gauges) float64 { return float64(g.Stopped) }},
		{metricInFlight, "{effect}", "Effects that were begun and have not ended", func(g *Gauges) float64 { return float64(g.Effects) }},
		{metricCheckpoint, "{commit}", "Commits since the last checkpoint, which the next start folds", func(g *Gauges) float64 { return float64(g.Checkpoint) }},
		{metricViewBehind, "{commit}", "Commits that the view does not tell of yet; 0 while nobody asked for it", func(g *Gauges) float64 { return float64(g.ViewBehind) }},
		{metricViewLag, "s", "How old what the view tells of is; 0 where nothing is missing in it", func(g *Gauges) float64 { return g.ViewLag.Seconds() }},
		{metricModelWaiting, "{request}", "Questions to models that wait for the limits of their providers", func(g *Gauges) float64 { return float64(g.ModelsWaiting) }},
		{metricDiskFree, "By", "What is free for the state folder", func(g *Gauges) float64 { return float64(g.DiskFree) }},
		{metricReady, "", "Whether a new run would be admitted", func(g *Gauges) float64 {
			if g.Ready {
				return 1
			}
			return 0
		}},
	}
}

// count is a figure that only grows, and is asked for as a gauge is.
type count struct {
	name, unit, text string
	of               func(*Gauges) uint64
}

func countsOf() []count {
	return []count{
		{metricStalls, "{stall}", "Times that the store took nothing and was started anew", func(g *Gauges) uint64 { return g.Stalls }},
		{metricLiveTaken, "{message}", "Live messages that agents took", func(g *Gauges) uint64 { return g.LiveTaken }},
		{metricLiveDropped, "{message}", "Live messages that were dropped: for lack of room, or because they expired", func(g *Gauges) uint64 { return g.LiveDropped }},
	}
}

// watch has the figures of gauges asked for once whenever they are wanted, all together.
func watch(m metric.Meter, ask func() Gauges) error {
	list := gaugesOf()
	var observed []metric.Observable
	instruments := make([]metric.Float64ObservableGauge, len(list))
	for i, g := range list {
		var err error
		if instruments[i], err = m.Float64ObservableGauge(g.name, metric.WithUnit(g.unit), metric.WithDescription(g.text)); err != nil {
			return err
		}
		observed = append(observed, instruments[i])
	}
	counts := countsOf()
	counters := make([]metric.Int64ObservableCounter, len(counts))
	for i, c := range counts {
		var err error
		if counters[i], err = m.Int64ObservableCounter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.text)); err != nil {
			return err
		}
		observed = append(observed, counters[i])
	}
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now := ask()
		for i, g := range list {
			o.ObserveFloat64(instruments[i], g.of(&now))
		}
		for i, c := range counts {
			o.ObserveInt64(counters[i], int64(c.of(&now)))
		}
		return nil
	}, observed...)
	return err
}

// commit counts one commit.
func (m *metrics) commit(ctx context.Context, c *run.Commit) {
	m.commits.Add(ctx, 1)
	m.lag.Record(ctx, time.Since(c.At).Seconds())
}

// agentOf is an agent as an attribute. Its instances count as it: there may be a million.
func agentOf(name string) attribute.KeyValue {
	base, _ := polity.AgentName(name).Base()
	return attrAgent.String(string(base))
}

// fact counts one fact, once the projector knows those before it, of the same commit too, and before it takes this one: it forgets runs that end.
func (m *metrics) fact(ctx context.Context, p *projector, f *run.Fact) {
	if f.Kind == "claim" {
		return
	}
	m.events.Add(ctx, 1)
	switch f.Kind {
	case "opened", "forked":
		m.opened.Add(ctx, 1, metric.WithAttributes(agentOf(f.Agent)))
	case "finished":
		r, ok := p.runs[f.Run]
		if !ok {
			return
		}
		m.ended.Add(ctx, 1, metric.WithAttributes(agentOf(r.agent), attrStatus.String(f.Status)))
		m.runTime.Record(ctx, f.At.Sub(r.at).Seconds(), metric.WithAttributes(agentOf(r.agent), attrStatus.String(f.Status)))
	case "result":
		if f.Effect != nil {
			m.effect(ctx, p, f)
		}
	}
}

func (m *metrics) effect(ctx context.Context, p *projector, f *run.Fact) {
	e := f.Effect
	outcome := "done"
	var failed []attribute.KeyValue
	if f.Fault != nil {
		outcome = string(f.Fault.Kind)
		failed = append(failed, errorType(f.Fault))
	}
	m.effects.Add(ctx, 1, metric.WithAttributes(attrEffect.String(string(e.Class)), attribute.String("outcome", outcome)))
	took := f.At.Sub(e.Since).Seconds()
	switch e.Verb {
	case "call":
		m.toolTime.Record(ctx, took, metric.WithAttributes(append(failed, attrTool.String(e.To))...))
	case "think":
		r := p.runs[f.Run]
		about := p.describe(r.release, e.Verb, r.agent, e.To)
		on := append(failed, attrOperation.String(opChat), attrModel.String(model(about, e.To)), attrProvider.String(about.Provider))
		m.chatTime.Record(ctx, took, metric.WithAttributes(on...))
		with := func(extra ...attribute.KeyValue) metric.MeasurementOption {
			return metric.WithAttributes(append(extra, attrModel.String(model(about, e.To)), attrProvider.String(about.Provider))...)
		}
		if f.Usage.Tokens() > 0 {
			m.tokens.Record(ctx, f.Usage.InputTokens, with(attrOperation.String(opChat), attrTokenType.String("input")))
			m.tokens.Record(ctx, f.Usage.OutputTokens, with(attrOperation.String(opChat), attrTokenType.String("output")))
		}
		if f.Usage.MicroUSD > 0 {
			m.cost.Add(ctx, float64(f.Usage.MicroUSD)/1e6, with(agentOf(r.agent)))
		}
	}
}
