package engine_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	trace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"polity.run"
	"polity.run/engine"
	"polity.run/internal/run"
)

// receiver is an OTLP receiver that keeps what it is sent.
type receiver struct {
	mu     sync.Mutex
	refuse bool
	spans  map[string]*tracepb.Span // by ID
	twice  int
	others []string // what is not as it was the first time
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{spans: map[string]*tracepb.Span{}}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", s.URL+"/v1/traces")
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	body := io.Reader(q.Body)
	if q.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(q.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	data, err := io.ReadAll(body)
	var m trace.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(data, &m)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, rs := range m.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				if before := r.spans[string(s.SpanId)]; before != nil {
					r.twice++
					if !proto.Equal(before, s) {
						r.others = append(r.others, s.Name)
					}
				}
				r.spans[string(s.SpanId)] = s
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// TestTraceOverACrash stops a node in the middle of a hierarchy, while nobody receives. The next one tells the whole trace: one, with no missing parent.
func TestTraceOverACrash(t *testing.T) {
	r := newReceiver(t)
	r.refuse = true
	state, began := t.TempDir(), make(chan struct{})
	var once sync.Once
	c := &company{work: func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
		if m.To != "bob" {
			return nil, nil
		}
		once.Do(func() { close(began) })
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	e, d := c.hire(t, state, firm)
	q := anything
	q.Release = d
	id, err := e.Start(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	<-began
	stop(t, e)
	if len(r.spans) > 0 {
		t.Error("something was received")
	}
	r.mu.Lock()
	r.refuse = false
	r.mu.Unlock()

	c = &company{}
	e, _ = c.hire(t, state, firm)
	if o, err := e.Wait(t.Context(), id); err != nil || o.Status != polity.StatusCompleted {
		t.Fatalf("%+v %v", o, err)
	}
	stop(t, e)

	traceID := run.TraceOf(id)
	var root, runs int
	for _, s := range r.spans {
		if string(s.TraceId) != string(traceID[:]) {
			t.Errorf("%s is of another trace", s.Name)
		}
		if s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("%s ends before it begins", s.Name)
		}
		if strings.HasPrefix(s.Name, "invoke_workflow ") {
			runs++
		}
		if len(s.ParentSpanId) == 0 {
			root++
			continue
		}
		up := r.spans[string(s.ParentSpanId)]
		switch {
		case up == nil:
			t.Errorf("%s: its parent is missing", s.Name)
		case s.StartTimeUnixNano < up.StartTimeUnixNano || s.EndTimeUnixNano > up.EndTimeUnixNano:
			t.Errorf("%s is not within its parent %s", s.Name, up.Name)
		}
	}
	asked := 0
	for _, keys := range c.asked {
		asked += len(keys)
	}
	t.Logf("%d spans, of which %d of organizations; %d were told twice", len(r.spans), runs, r.twice)
	if root != 1 || runs < 2 || len(r.spans) < 12 || asked == 0 {
		t.Errorf("%d roots, %d organizations, %d spans", root, runs, len(r.spans))
	}
	if len(r.others) > 0 {
		t.Errorf("told otherwise the second time: %v", r.others)
	}

	// Another start tells nothing again.
	before := r.twice
	e, _ = c.hire(t, state, firm)
	if _, err := e.Run(t.Context(), engine.Request{Release: d, Input: json.RawMessage(`{"question":"And now?"}`)}); err != nil {
		t.Fatal(err)
	}
	n := len(r.spans)
	stop(t, e)
	if r.twice != before || len(r.spans) <= n-1 {
		t.Errorf("%d spans were told again; %d in all", r.twice-before, len(r.spans))
	}
}

// TestMetrics reads the page of metrics.
func TestMetrics(t *testing.T) {
	e := open(t, t.TempDir(), function(t, "1", double))
	defer stop(t, e)
	page := func() string {
		t.Helper()
		h, err := e.Metrics()
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return w.Body.String()
	}
	page() // from here on it is counted
	if _, err := e.Run(t.Context(), engine.Request{Agent: "doubler", Input: json.RawMessage(`{"n":1}`)}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`polity_runs_ended_total{gen_ai_agent_name="doubler"`, "gen_ai_invoke_agent_duration_seconds_bucket", "polity_effects_total", "go_goroutines",
		"polity_log_commit_duration_seconds_count", "polity_log_commit_records_bucket", "\npolity_ready{", "polity_disk_free_bytes", "polity_queue_length", "polity_log_stalls_total"} {
		for try := 0; !strings.Contains(page(), want); try++ {
			if try == 200 {
				t.Fatalf("no %s in\n%s", want, page())
			}
			e.Find(t.Context(), "0-none") // the projection is a moment behind
		}
	}
}
