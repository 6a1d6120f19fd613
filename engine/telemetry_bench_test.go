package engine_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"polity.run/agent"
	"polity.run/engine"
	"polity.run/trace"
)

// BenchmarkTelemetry measures what telemetry costs: runs of one effect, in turns of nodes with nothing, with what costs nothing as long
// as nobody looks (a logger at warn, a caller's trace), and with traces and metrics exported to a receiver of this process. It prints the medians over the rounds of runs a second, of
// allocations of a run, and of the ratio to the first in the same round. The receiver's own work is in the last one. The first round, which warms up, does not count.
func BenchmarkTelemetry(b *testing.B) {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer receiver.Close()
	quiet := slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelWarn}))
	place, err := trace.Parse(caller, "")
	if err != nil {
		b.Fatal(err)
	}
	kinds := []struct {
		name   string
		export bool
		log    *slog.Logger
		at     trace.Context
	}{{name: "nothing"}, {name: "off", log: quiet, at: place}, {name: "on", export: true, at: place}}
	const rounds, runs, askers = 1 + 9, 38400, 64
	rate, allocs := map[string][]float64{}, map[string][]float64{}
	n := 0
	for b.Loop() {
		for round := range rounds {
			for i := range kinds {
				k := kinds[(i+round)%len(kinds)]
				if k.export {
					os.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
				} else {
					os.Unsetenv("OTEL_EXPORTER_OTLP_ENDPOINT")
				}
				doubler, err := agent.Func("doubler", "1", double)
				if err != nil {
					b.Fatal(err)
				}
				e, err := engine.Open(b.Context(), engine.Config{State: b.TempDir(), Sync: engine.SyncOS, Agents: []*agent.Agent{doubler}, Telemetry: true, Log: k.log})
				if err != nil {
					b.Fatal(err)
				}
				ctx := trace.With(b.Context(), k.at)
				runtime.GC()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				start := time.Now()
				var wg sync.WaitGroup
				for range askers {
					first := n
					n += runs / askers
					wg.Go(func() {
						for j := range runs / askers {
							if _, err := e.Run(ctx, engine.Request{Agent: "doubler", Input: json.RawMessage(fmt.Sprintf(`{"n":%d}`, first+j))}); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				took := time.Since(start)
				runtime.ReadMemStats(&after)
				rate[k.name] = append(rate[k.name], float64(runs)/took.Seconds())
				allocs[k.name] = append(allocs[k.name], float64(after.Mallocs-before.Mallocs)/runs)
				if err := e.Close(); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	os.Unsetenv("OTEL_EXPORTER_OTLP_ENDPOINT")
	median := func(list []float64) float64 { list = slices.Sorted(slices.Values(list[1:])); return list[len(list)/2] }
	for _, k := range kinds {
		var ratio []float64
		for i, r := range rate[k.name] {
			ratio = append(ratio, r/rate["nothing"][i])
		}
		b.ReportMetric(median(rate[k.name]), k.name+"-runs/s")
		b.ReportMetric(median(ratio), k.name+"-ratio")
		b.ReportMetric(median(allocs[k.name]), k.name+"-allocs/run")
	}
	b.ReportMetric(0, "ns/op")
}
