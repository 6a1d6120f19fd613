// Package telemetry tells OpenTelemetry what the log tells: traces and metrics as projections of events. It is the only package that knows
// OpenTelemetry.
//
// It exists so that a run is one trace, whatever crashed in between: nothing is measured where it happens, so nothing is lost there. A span is made
// when the log tells that it ended, with IDs that follow from the run's. The life of a [Telemetry]:
//
//	Open (environment variables say where to) -> Run: read the log from where the last export ended, project, export, remember -> Close
//
// The log is pulled: an exporter that is slow or gone makes the export late, and never the node slow. After a restart some spans are exported again, as
// the same spans.
package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/run"
)

const (
	pace        = 250 * time.Millisecond // between two readings of the log
	batchMax    = 512                    // spans of one export
	flushEvery  = time.Second            // spans that wait are exported after this
	retryFirst  = time.Second            // between two tries of an export that failed; doubled up to
	retryMax    = time.Minute            //
	exportMax   = 30 * time.Second       // one try
	closeMax    = 3 * time.Second        // for what still waits when the node stops
	scopeName   = "polity.run"
	serviceName = "polity"
)

// Source is a partition, as far as it is read.
type Source interface {
	Feed(ctx context.Context, from uint64, each func(*run.Commit) error) error
	Tip() uint64
	Measure(func(took time.Duration, records int))
	Data(*run.Fact) (json.RawMessage, error)
}

// Config says what is told to whom.
type Config struct {
	// Position is the file that remembers how far was exported; "" for none: then every Run begins with what is new.
	Position string
	// Describe says what a release knows of the target of a verb; the zero Subject for nothing. It is called from one goroutine.
	Describe func(release run.Digest, verb, agent, to string) Subject
	// Gauges returns figures of the node as they are now; nil for none. It is called from any goroutine.
	Gauges  func() Gauges
	Version string // of the program
	Log     *slog.Logger
}

// Gauges are figures of a node at a moment, which no log tells.
type Gauges struct {
	run.Gauges
	ViewBehind    uint64
	ViewLag       time.Duration
	ModelsWaiting int
	LiveTaken     uint64 // live messages that agents took
	LiveDropped   uint64 // and those that were dropped
	DiskFree      uint64 // bytes
	Ready         bool
}

// Telemetry projects one log.
type Telemetry struct {
	cfg      Config
	exporter sdk.SpanExporter // nil: spans go nowhere
	traces   *sdk.TracerProvider
	meters   *metric.MeterProvider
	scrape   http.Handler

	mu        sync.Mutex
	project   *projector
	metrics   *metrics
	spans     collector
	seen      uint64 // the last commit that was projected
	exported  uint64 // up to here everything was exported
	lastFlush time.Time
}

// Wanted says whether the environment asks for exports, by the variables that OpenTelemetry's specification names.
func Wanted() bool {
	return TracesWanted() || metricsWanted()
}

// TracesWanted says whether it asks for exports of traces.
func TracesWanted() bool { return endpoint("TRACES") && os.Getenv("OTEL_TRACES_EXPORTER") != "none" }

func metricsWanted() bool { return endpoint("METRICS") && os.Getenv("OTEL_METRICS_EXPORTER") != "none" }

func endpoint(signal string) bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
}

// Open makes the exporters that the environment asks for, if export is wanted, and the page of metrics. It returns fault.Invalid for variables that
// cannot be understood. Nothing is sent before Run.
func Open(ctx context.Context, cfg Config, export bool) (*Telemetry, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	t := &Telemetry{cfg: cfg}
	res, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", serviceName), attribute.String("service.version", cfg.Version)),
		resource.WithFromEnv(), resource.WithTelemetrySDK(), resource.WithHost())
	if err != nil {
		return nil, fault.Invalid.New("telemetry: resource: %w", err)
	}
	if export && TracesWanted() {
		if protocol := os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
			return nil, fault.Invalid.New("telemetry: OTEL_EXPORTER_OTLP_PROTOCOL=%s: this program speaks http/protobuf", protocol)
		}
		if t.exporter, err = otlptracehttp.New(ctx); err != nil {
			return nil, fault.Invalid.New("telemetry: traces: %w", err)
		}
	}
	t.traces = sdk.NewTracerProvider(sdk.WithIDGenerator(fixedIDs{}), sdk.WithSampler(sdk.AlwaysSample()), sdk.WithResource(res), sdk.WithSpanProcessor(&t.spans))
	if err := t.openMeters(ctx, res, export && metricsWanted()); err != nil {
		return nil, err
	}
	t.project = &projector{
		tracer:   t.traces.Tracer(scopeName, trace.WithInstrumentationVersion(cfg.Version), trace.WithSchemaURL(schemaURL)),
		describe: cfg.Describe, runs: map[polity.RunID]live{},
	}
	return t, nil
}

func (t *Telemetry) openMeters(ctx context.Context, res *resource.Resource, export bool) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	page, err := otelprom.New(otelprom.WithRegisterer(registry))
	if err != nil {
		return fault.Internal.New("telemetry: metrics: %w", err)
	}
	options := []metric.Option{metric.WithResource(res), metric.WithReader(page)}
	if export {
		out, err := otlpmetrichttp.New(ctx)
		if err != nil {
			return fault.Invalid.New("telemetry: metrics: %w", err)
		}
		options = append(options, metric.WithReader(metric.NewPeriodicReader(out)))
	}
	t.meters = metric.NewMeterProvider(options...)
	t.scrape = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	meter := t.meters.Meter(scopeName)
	t.metrics, err = newMetrics(meter)
	if err == nil && t.cfg.Gauges != nil {
		err = watch(meter, t.cfg.Gauges)
	}
	if err != nil {
		return fault.Internal.New("telemetry: metrics: %w", err)
	}
	return nil
}

// Metrics is the page of metrics in the text form of Prometheus.
func (t *Telemetry) Metrics() http.Handler { return t.scrape }

// Seen is the last commit that was projected.
func (t *Telemetry) Seen() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen
}

// Log is where it says what goes wrong.
func (t *Telemetry) Log() *slog.Logger { return t.cfg.Log }

// Run projects the log until ctx ends or the source goes down. It begins where the last one ended, and the first time with what comes after the commit since.
func (t *Telemetry) Run(ctx context.Context, s Source, since uint64) error {
	if strings.EqualFold(os.Getenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"), "true") {
		t.project.data = s.Data
	}
	began := ctx // ctx becomes another one below, while commits are measured
	s.Measure(func(took time.Duration, records int) {
		t.metrics.commitTime.Record(began, took.Seconds())
		t.metrics.commitSize.Record(began, int64(records))
	})
	at, err := t.position()
	if err != nil {
		return err
	}
	if at.from == 0 {
		at = position{from: 1, exported: since} // what is open is remembered, and nothing of the past exported
		if t.exporter != nil {
			if err := t.remember(at); err != nil {
				return err
			}
		}
	}
	t.mu.Lock()
	t.exported, t.seen = at.exported, at.exported
	t.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var flusher sync.WaitGroup
	flusher.Go(func() { t.flushSometimes(ctx) })
	until := uint64(0)
	err = s.Feed(ctx, at.from, func(c *run.Commit) error {
		if err := t.commit(ctx, c); err != nil {
			return err
		}
		if c.Seq >= until {
			rest(ctx)
			until = s.Tip()
		}
		return nil
	})
	stopped := ctx.Err() != nil
	cancel()
	flusher.Wait()
	last, done := context.WithTimeout(context.Background(), closeMax)
	defer done()
	if stopped {
		t.catchUp(last, s)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.export(last); e != nil {
		t.cfg.Log.Warn("telemetry: spans wait for the next start", "error", e, "spans", len(t.spans.ended))
	}
	if stopped {
		return nil
	}
	return err
}

// rest leaves the log alone for a moment, so that it is read in few large pieces: to begin reading costs its writer more than what is read.
func rest(ctx context.Context) {
	select {
	case <-time.After(pace):
	case <-ctx.Done():
	}
}

// catchUp projects what the log has by now.
func (t *Telemetry) catchUp(ctx context.Context, s Source) {
	enough := errors.New("enough")
	tip := s.Tip()
	if t.seen >= tip {
		return
	}
	err := s.Feed(ctx, t.seen+1, func(c *run.Commit) error {
		if err := t.commit(ctx, c); err != nil {
			return err
		}
		if c.Seq >= tip {
			return enough
		}
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		t.cfg.Log.Warn("telemetry: the rest waits for the next start", "error", err)
	}
}

// commit projects one commit.
func (t *Telemetry) commit(ctx context.Context, c *run.Commit) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	news := c.Seq > t.seen
	if news {
		t.metrics.commit(ctx, c)
	}
	for i := range c.Facts {
		f := &c.Facts[i]
		if f.Taken {
			continue
		}
		if news {
			t.metrics.fact(ctx, t.project, f)
		}
		t.project.fact(f, news && t.exporter != nil)
	}
	if !news {
		return nil
	}
	t.metrics.live.Record(ctx, int64(t.project.roots))
	t.seen = c.Seq
	if len(t.spans.ended) < batchMax {
		return nil
	}
	return t.exportUntil(ctx)
}

// exportUntil exports what waits, however long it takes: meanwhile the log waits to be read, and nobody else.
func (t *Telemetry) exportUntil(ctx context.Context) error {
	for pause := retryFirst; ; pause = min(2*pause, retryMax) {
		err := t.export(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		t.cfg.Log.Warn("telemetry: export", "error", err, "again in", pause, "spans", len(t.spans.ended))
		t.mu.Unlock()
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		t.mu.Lock()
	}
}

// export sends what waits and remembers that it did.
func (t *Telemetry) export(ctx context.Context) error {
	if t.exporter == nil {
		return nil
	}
	t.lastFlush = time.Now()
	for len(t.spans.ended) > 0 {
		batch := t.spans.ended[:min(len(t.spans.ended), batchMax)]
		ctx, done := context.WithTimeout(ctx, exportMax)
		err := t.exporter.ExportSpans(ctx, batch)
		done()
		if err != nil {
			t.metrics.failures.Add(ctx, 1)
			return err
		}
		t.metrics.exported.Add(ctx, int64(len(batch)))
		t.spans.ended = append(t.spans.ended[:0], t.spans.ended[len(batch):]...)
	}
	if t.exported == t.seen {
		return nil
	}
	t.exported = t.seen
	return t.remember(position{from: t.project.oldest(t.seen + 1), exported: t.seen})
}

func (t *Telemetry) flushSometimes(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	pause := retryFirst
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		t.mu.Lock()
		var err error
		if time.Since(t.lastFlush) >= pause {
			err = t.export(ctx)
		}
		t.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			t.cfg.Log.Warn("telemetry: export", "error", err)
			pause = min(2*pause, retryMax)
		} else if err == nil {
			pause = retryFirst
		}
	}
}

// Close ends the exporters.
func (t *Telemetry) Close() error {
	ctx, done := context.WithTimeout(context.Background(), closeMax)
	defer done()
	err := errors.Join(t.meters.Shutdown(ctx), t.traces.Shutdown(ctx))
	if t.exporter != nil {
		err = errors.Join(err, t.exporter.Shutdown(ctx))
	}
	if err != nil {
		return fault.Unavailable.New("telemetry: close: %w", err)
	}
	return nil
}

// collector keeps spans that ended until they are exported.
type collector struct{ ended []sdk.ReadOnlySpan }

var _ sdk.SpanProcessor = (*collector)(nil)

func (c *collector) OnStart(context.Context, sdk.ReadWriteSpan) {}
func (c *collector) OnEnd(s sdk.ReadOnlySpan)                   { c.ended = append(c.ended, s) }
func (c *collector) Shutdown(context.Context) error             { return nil }
func (c *collector) ForceFlush(context.Context) error           { return nil }

// position is how far was exported, and from where the log has to be read to know what was open then.
type position struct{ from, exported uint64 }

func (t *Telemetry) position() (p position, err error) {
	if t.cfg.Position == "" || t.exporter == nil {
		return p, nil
	}
	text, err := os.ReadFile(t.cfg.Position)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fault.Denied.New("telemetry: %w", err)
	}
	if _, err := fmt.Sscanf(string(text), "polity telemetry 1\nfrom %d\nexported %d\n", &p.from, &p.exported); err != nil || p.from == 0 || p.from > p.exported+1 {
		return position{}, fault.Damaged.New("telemetry: %s is not a position: remove it, and the export begins with what is new", t.cfg.Position)
	}
	return p, nil
}

func (t *Telemetry) remember(p position) error {
	if t.cfg.Position == "" {
		return nil
	}
	work := t.cfg.Position + ".new"
	text := fmt.Sprintf("polity telemetry 1\nfrom %d\nexported %d\n", p.from, p.exported)
	if err := os.WriteFile(work, []byte(text), 0o600); err != nil {
		return fault.Denied.New("telemetry: %w", err)
	}
	if err := os.Rename(work, filepath.Clean(t.cfg.Position)); err != nil {
		return fault.Denied.New("telemetry: %w", err)
	}
	return nil
}
