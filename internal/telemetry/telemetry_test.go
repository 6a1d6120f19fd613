package telemetry

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/run"
)

// story is a log that tells of a run with a tool and a model in it, which fails.
type story []run.Commit

func (s story) Feed(ctx context.Context, from uint64, each func(*run.Commit) error) error {
	for i := range s {
		if s[i].Seq >= from {
			if err := each(&s[i]); err != nil {
				return err
			}
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s story) Measure(func(time.Duration, int))      {}
func (s story) Tip() uint64                           { return uint64(len(s)) }
func (story) Data(*run.Fact) (json.RawMessage, error) { return json.RawMessage(`{"secret":1}`), nil }
func describe(run.Digest, string, string, string) Subject {
	return Subject{Kind: "model", Provider: "openai", Model: "m-1"}
}

func told() story {
	at := time.Unix(1_800_000_000, 0).UTC()
	commit := func(seq uint64, after time.Duration, f run.Fact) run.Commit {
		f.At, f.Commit, f.Run = at.Add(after), seq, "0-a"
		return run.Commit{Seq: seq, At: f.At, Facts: []run.Fact{f}}
	}
	effect := func(verb, to string) *polity.EffectNotice {
		return &polity.EffectNotice{Key: "0-a#" + to, Class: polity.EffectKeyed, Verb: verb, To: to, Since: at}
	}
	return story{
		commit(1, 0, run.Fact{Notice: polity.Notice{Kind: "opened", Agent: "desk"}}),
		commit(2, time.Second, run.Fact{Notice: polity.Notice{Kind: "result", Name: "look", Attempt: 1, Effect: effect("call", "files.read")}}),
		commit(3, 2*time.Second, run.Fact{Notice: polity.Notice{Kind: "result", Name: "think", Attempt: 2, Effect: effect("think", "writer"),
			Usage: polity.Usage{Turns: 1, InputTokens: 100, OutputTokens: 20, MicroUSD: 1500}, Fault: fault.Of(fault.Timeout.New("slow"))}}),
		commit(4, 3*time.Second, run.Fact{Notice: polity.Notice{Kind: "finished", Status: "failed", Fault: fault.Of(fault.Failed.New("no"))}}),
	}
}

// page projects the story, and returns the page of metrics.
func page(t *testing.T) string {
	t.Helper()
	tel, err := Open(t.Context(), Config{Describe: describe, Gauges: func() Gauges { return Gauges{Ready: true, DiskFree: 1 << 30} }}, false)
	if err != nil {
		t.Fatal(err)
	}
	tel.metrics.commitTime.Record(t.Context(), 0.001)
	tel.metrics.commitSize.Record(t.Context(), 3)
	for i := range told() {
		c := told()[i]
		if err := tel.commit(t.Context(), &c); err != nil {
			t.Fatal(err)
		}
	}
	tel.metrics.exported.Add(t.Context(), 1)
	tel.metrics.failures.Add(t.Context(), 1)
	w := httptest.NewRecorder()
	tel.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if err := tel.Close(); err != nil {
		t.Error(err)
	}
	return w.Body.String()
}

func TestPage(t *testing.T) {
	text := page(t)
	for _, want := range []string{
		`polity_runs_ended_total{gen_ai_agent_name="desk",`,
		`gen_ai_client_operation_duration_seconds_count{error_type="timeout",gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="m-1",`,
		`gen_ai_execute_tool_duration_seconds_sum{gen_ai_tool_name="files.read",`,
		`gen_ai_client_token_usage_sum{gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="m-1",gen_ai_token_type="input",`,
		"polity_runs_live{",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in the page:\n%s", want, text)
		}
	}
	if strings.Contains(text, "0-a") || strings.Contains(text, "secret") {
		t.Error("a run's ID or content is on the page")
	}
}

// TestPageIsAsPrometheusWantsIt asks what "promtool check metrics" asks.
func TestPageIsAsPrometheusWantsIt(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(page(t))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

var metricName = regexp.MustCompile(`\b(?:polity|gen_ai)_[A-Za-z_]+`)

// TestDashboardNamesWhatIsThere wants every metric that the dashboard and the alerts speak of to be on the page.
func TestDashboardNamesWhatIsThere(t *testing.T) {
	text := page(t)
	labels := []string{"gen_ai_agent_name", "gen_ai_tool_name", "gen_ai_request_model", "gen_ai_token_type", "gen_ai_provider_name", "polity_run_status", "gen_ai_operation_name", "polity_effect"}
	for _, file := range []string{"alerts.yaml", "dashboard.json"} {
		data, err := os.ReadFile(filepath.Join("..", "..", "docs", "telemetry", file))
		if err != nil {
			t.Fatal(err)
		}
		names := metricName.FindAllString(string(data), -1)
		if len(names) < 5 {
			t.Errorf("%s names only %v", file, names)
		}
		for _, name := range names {
			if !slices.Contains(labels, name) && !strings.Contains(text, name+"{") && !strings.Contains(text, name+" ") {
				t.Errorf("%s speaks of %s, which is not there", file, name)
			}
			if slices.Contains(labels, name) && !strings.Contains(text, name+"=") {
				t.Errorf("%s speaks of the label %s, which is not there", file, name)
			}
		}
	}
}

// TestSpansFollowFromIDs wants the same story to be the same spans, and their content only where it is asked for.
func TestSpansFollowFromIDs(t *testing.T) {
	spansOf := func(content bool) string {
		tel, err := Open(t.Context(), Config{Describe: describe}, false)
		if err != nil {
			t.Fatal(err)
		}
		if content {
			tel.project.data = told().Data
		}
		var all strings.Builder
		for _, c := range told() {
			for i := range c.Facts {
				tel.project.fact(&c.Facts[i], true)
			}
		}
		for _, s := range tel.spans.ended {
			all.WriteString(s.Name() + " " + s.SpanContext().SpanID().String() + " < " + s.Parent().SpanID().String() + " " + s.EndTime().Sub(s.StartTime()).String() + " " + s.Status().Code.String())
			for _, a := range s.Attributes() {
				all.WriteString(" " + string(a.Key) + "=" + a.Value.String())
			}
			all.WriteString("\n")
		}
		return all.String()
	}
	first := spansOf(false)
	if again := spansOf(false); again != first {
		t.Errorf("told twice it is\n%s and\n%s", first, again)
	}
	lines := strings.Split(strings.TrimSpace(first), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "execute_tool files.read ") || !strings.HasPrefix(lines[1], "chat m-1 ") || !strings.HasPrefix(lines[2], "invoke_agent desk ") {
		t.Errorf("spans:\n%s", first)
	}
	for _, want := range []string{"gen_ai.usage.input_tokens=100", "polity.cost_usd=0.0015", "error.type=timeout", "polity.attempt=2"} {
		if !strings.Contains(lines[1], want) {
			t.Errorf("no %s in %s", want, lines[1])
		}
	}
	if strings.Contains(first, "secret") {
		t.Error("there is content that nobody asked for")
	}
}

// TestPositionIsRefusedIfItIsNone wants damage to be said, and not to be taken for a beginning.
func TestPositionIsRefusedIfItIsNone(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	path := filepath.Join(t.TempDir(), "telemetry")
	tel, err := Open(t.Context(), Config{Position: path, Describe: describe}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := tel.remember(position{from: 3, exported: 9}); err != nil {
		t.Fatal(err)
	}
	if p, err := tel.position(); err != nil || p != (position{3, 9}) {
		t.Errorf("%+v %v", p, err)
	}
	for _, text := range []string{"", "x", "polity telemetry 1\nfrom 9\nexported 3\n", "polity telemetry 2\nfrom 1\nexported 3\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := tel.position(); err == nil {
			t.Errorf("%q is taken for %+v", text, p)
		}
	}
}

func TestWanted(t *testing.T) {
	for _, name := range []string{"OTEL_SDK_DISABLED", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"} {
		t.Setenv(name, "")
	}
	if Wanted() {
		t.Error("wanted without a variable")
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
	if !Wanted() {
		t.Error("not wanted with an endpoint")
	}
	t.Setenv("OTEL_SDK_DISABLED", "true")
	if Wanted() {
		t.Error("wanted though it is disabled")
	}
	t.Setenv("OTEL_SDK_DISABLED", "")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	if _, err := Open(t.Context(), Config{Describe: describe}, true); err == nil {
		t.Error("a protocol that is not spoken was taken")
	}
}
