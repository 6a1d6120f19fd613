package engine

import (
	"context"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"polity.run"
	"polity.run/internal/run"
	"polity.run/internal/telemetry"
)

// figures is the node's telemetry: begun at start if the environment asks for exports, or when the page of metrics is first asked for. Until then the
// log is read by nobody.
type figures struct {
	cfg telemetry.Config

	mu   sync.Mutex
	t    *telemetry.Telemetry
	stop context.CancelFunc
	done chan struct{}
}

// telemetry says what the node's telemetry knows of it.
func (e *Engine) telemetry(cfg Config) telemetry.Config {
	return telemetry.Config{
		Position: filepath.Join(e.state, "telemetry"), Version: cfg.Version, Log: cfg.Log, Gauges: e.gauges,
		Describe: func(d run.Digest, verb, agent, to string) telemetry.Subject { return e.catalog.describe(d, verb, to) },
	}
}

// gauges are the node's figures now. What cannot be found out is zero, and the rest is told.
func (e *Engine) gauges() telemetry.Gauges {
	g := telemetry.Gauges{Gauges: e.part.Gauges(), Ready: e.part.Ready() == nil, ModelsWaiting: e.catalog.shared.Waiting()}
	g.LiveTaken, g.LiveDropped = e.live.taken.Load(), e.live.dropped.Load()
	if free, err := e.free(); err == nil {
		g.DiskFree = free
	}
	e.views.mu.Lock()
	defer e.views.mu.Unlock()
	if v := e.views.view; v != nil {
		s := v.State()
		g.ViewBehind, g.ViewLag = s.Behind, time.Duration(s.Lag)
	}
	return g
}

// describe says what a release knows of an agent or a model; the zero Subject if it is not to be had.
func (c *catalog) describe(d Digest, verb, to string) telemetry.Subject {
	r, err := c.release(d)
	if err != nil {
		return telemetry.Subject{}
	}
	if verb == "think" {
		for _, m := range r.doc.Models {
			if m.Name == to {
				return telemetry.Subject{Provider: string(m.API), Model: m.Model}
			}
		}
		return telemetry.Subject{}
	}
	base, _ := polity.AgentName(to).Base()
	if a := r.agents[string(base)]; a != nil {
		return telemetry.Subject{Kind: string(a.def.Kind)}
	}
	return telemetry.Subject{}
}

func (f *figures) begin(ctx context.Context, p *run.Partition, export bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.t != nil {
		return nil
	}
	t, err := telemetry.Open(ctx, f.cfg, export)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.Background())
	f.t, f.stop, f.done = t, stop, make(chan struct{})
	since := p.Tip()
	go func() {
		defer close(f.done)
		if err := t.Run(running, p, since); err != nil && running.Err() == nil {
			t.Log().Error("telemetry has stopped", "error", err)
		}
	}()
	return nil
}

// end stops the telemetry. That a receiver is gone is no reason for a node to end badly: it is logged, and spans wait for the next start.
func (f *figures) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.t == nil {
		return
	}
	f.stop()
	<-f.done
	if err := f.t.Close(); err != nil {
		f.t.Log().Warn("telemetry", "error", err)
	}
}

// seen says that the telemetry, if there is one, goes on and has read a commit.
func (f *figures) seen(seq uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.t == nil {
		return true
	}
	select {
	case <-f.done:
		return true // it reads nothing any more
	default:
		return f.t.Seen() >= seq
	}
}

// Metrics is the page of the node's metrics in the text form of Prometheus. What happens is counted from the first call on, or from the start
// if the node exports. It returns fault.Invalid for variables OTEL_* that cannot be understood.
func (e *Engine) Metrics() (http.Handler, error) {
	if err := e.figures.begin(context.Background(), e.part, false); err != nil {
		return nil, err
	}
	return e.figures.t.Metrics(), nil
}
