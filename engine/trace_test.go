package engine_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/manifest"
	"polity.run/model"
	"polity.run/model/modeltest/wire"
	"polity.run/tool"
	"polity.run/trace"
)

// caller is where the runs of these tests are asked for.
const caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// placed is an organization that reaches outside in every way that there is.
const placed = `
polity: v1
name: placed
models:
  writer: {api: openai, url: "MODEL/v1", model: wire-1, price: {input: 0, output: 0}, attempts: 1}
tools:
  crm:
    http:
      allow: [CRM]
      private: true
      tools: [{name: find, url: "http://CRM/find", effect: none, input: {type: object}}]
  sums: {mcp: {url: "MCP", private: true}}
  shell:
    exec:
      allow: [sh]
      tools: [{name: place, command: [sh, -c, 'echo "{\"parent\":\"$TRACEPARENT\",\"state\":\"$TRACESTATE\"}"'], effect: none}]
agents:
  clerk:
    model: writer
    instructions: You look everything up.
    tools: [crm.find, sums.add, shell.place]
    agents: [books, program, helper, gate]
    steps: 3
  books: {http: {url: "http://CRM/books", private: true, effect: none}}
  program: {command: [sh, -c, 'echo "{\"parent\":\"$TRACEPARENT\"}"'], effect: none}
  helper: {model: writer, instructions: You help.}
  gate: {kind: go, use: gate}
org: {pattern: hub, specialists: [clerk], plan: [{id: clerk, agent: clerk}]}
`

// tracePlaces are where in a trace those were asked who are outside, by their names.
type tracePlaces struct {
	mu   sync.Mutex
	t    *testing.T
	seen map[string]trace.Context
}

func (p *tracePlaces) put(name, parent, state string) {
	c, err := trace.Parse(parent, state)
	if err != nil {
		p.t.Errorf("%s: %v", name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[name] = c
}

func (p *tracePlaces) header(name string, h http.Header) {
	p.put(name, h.Get("Traceparent"), h.Get("Tracestate"))
}

// surroundings are everything that the organization reaches, and the organization.
type surroundings struct {
	tracePlaces
	manifest string
	began    chan struct{} // closed when the first gate is asked
	waits    bool          // the gate waits for its end
	secret   string        // is in what everybody is told and answers
	once     sync.Once
}

func newSurroundings(t *testing.T) *surroundings {
	t.Helper()
	o := &surroundings{tracePlaces: tracePlaces{t: t, seen: map[string]trace.Context{}}, began: make(chan struct{}), secret: "hunter2"}
	serve := func(h http.Handler) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	crm := http.NewServeMux()
	for _, name := range []string{"find", "books"} {
		crm.HandleFunc("/"+name, func(w http.ResponseWriter, r *http.Request) {
			o.header(name, r.Header)
			_, _ = io.WriteString(w, `{"found":"hunter2"}`)
		})
	}
	m := sdk.NewServer(&sdk.Implementation{Name: "sums", Version: "1"}, nil)
	m.AddTool(&sdk.Tool{Name: "add", InputSchema: json.RawMessage(`{"type":"object"}`), Annotations: &sdk.ToolAnnotations{ReadOnlyHint: true}},
		func(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			parent, _ := r.Params.Meta["traceparent"].(string)
			state, _ := r.Params.Meta["tracestate"].(string)
			o.put("add", parent, state)
			return &sdk.CallToolResult{IsError: true, Content: []sdk.Content{&sdk.TextContent{Text: "hunter2 cannot be added"}}}, nil
		})
	answers := &wire.Server{Answer: func(s wire.Seen) wire.Reply {
		first := s.Request.Messages[0].Text
		switch {
		case strings.Contains(first, "You help"):
			o.header("helper's model", s.Header)
			return wire.Reply{Text: "Helped."}
		case len(s.Request.Messages) <= 3:
			o.header("model", s.Header)
			var calls []model.Call
			for i, name := range []string{"crm_find", "sums_add", "shell_place", "ask_books", "ask_program", "ask_helper", "ask_gate"} {
				calls = append(calls, model.Call{ID: fmt.Sprint(i), Name: name, Input: json.RawMessage(`{"objective":"hunter2"}`)})
			}
			return wire.Reply{Text: "Let me look.", Calls: calls}
		}
		for _, m := range s.Request.Messages {
			if _, told, ok := strings.Cut(m.Text, `{"parent":"`); ok { // what programs saw, shell.place first
				parent, rest, _ := strings.Cut(told, `"`)
				name := "program"
				if _, state, ok := strings.Cut(rest, `"state":"`); ok {
					name = "place"
					state, _, _ = strings.Cut(state, `"`)
					o.put(name, parent, state)
				} else {
					o.put(name, parent, "")
				}
			}
		}
		return wire.Reply{Text: "Done."}
	}}
	o.manifest = filepath.Join(t.TempDir(), "polity.yaml")
	sums := tool.Source{Name: "sums", MCP: &tool.MCP{Private: true, URL: serve(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return m }, nil))}}
	text := strings.NewReplacer("MODEL", serve(answers), "CRM", strings.TrimPrefix(serve(crm), "http://"), "MCP", sums.MCP.URL).Replace(placed)
	if err := os.WriteFile(o.manifest, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	specs, _, err := engine.Offered(t.Context(), sums)
	if err != nil {
		t.Fatal(err)
	}
	lock := manifest.Lock{Version: 1, Sources: map[string]manifest.Accepted{"sums": {From: manifest.From(sums), Tools: specs}}}
	if err := lock.Write(o.manifest); err != nil {
		t.Fatal(err)
	}
	return o
}

// node opens a node on the state that has the organization.
func (o *surroundings) node(state string, log *slog.Logger) (*engine.Engine, engine.Digest) {
	o.t.Helper()
	gate := &agent.Agent{
		Name: "gate", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "gate"}},
		Handle: func(ctx context.Context, _ polity.Message) (json.RawMessage, error) {
			c := trace.From(ctx)
			o.put("gate", c.Parent(), c.State)
			if log != nil {
				log.WarnContext(ctx, "the gate is asked")
			}
			o.once.Do(func() { close(o.began) })
			if o.waits {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return json.RawMessage(`{"text":"open"}`), nil
		},
	}
	e, err := engine.Open(o.t.Context(), engine.Config{State: state, Sync: engine.SyncOS, Telemetry: true, Log: log, Agents: []*agent.Agent{gate}})
	if err != nil {
		o.t.Fatal(err)
	}
	specs := map[string]tool.Spec{}
	m, err := manifest.Load(o.manifest, manifest.Env{Tools: specs, Models: []string{"quote"}, Specs: engine.Specs, Go: map[string]string{"gate": "1"}})
	if err != nil {
		o.t.Fatal(err)
	}
	d, err := e.Install(&m.Release, m.Blobs)
	if err != nil {
		o.t.Fatal(err)
	}
	return e, d
}

// outsiders are the names under which tracePlaces are kept, and of which spans they are.
func outsiders() map[string]string {
	return map[string]string{
		"find": "execute_tool crm.find", "add": "execute_tool sums.add", "place": "execute_tool shell.place",
		"books": "invoke_agent books", "program": "invoke_agent program", "gate": "invoke_agent gate",
		"model": "chat wire-1", "helper's model": "chat wire-1",
	}
}

// TestTraceGoesThrough asks from a place in a trace for a run that reaches outside in every way, and kills the node in its middle. It is one trace: its root
// is a child of the caller's span, nobody's parent is missing, and everybody outside was given the span of the step that they were asked by.
func TestTraceGoesThrough(t *testing.T) {
	r := newReceiver(t)
	o := newSurroundings(t)
	o.waits = true
	state := t.TempDir()
	e, d := o.node(state, nil)
	at, err := trace.Parse(caller, "vendor=1")
	if err != nil {
		t.Fatal(err)
	}
	id, err := e.Start(trace.With(t.Context(), at), engine.Request{Release: d, Input: json.RawMessage(`{"question":"?"}`)})
	if err != nil {
		t.Fatal(err)
	}
	<-o.began
	stop(t, e)

	o.waits = false
	e, _ = o.node(state, nil)
	if out, err := e.Wait(t.Context(), id); err != nil || out.Status != polity.StatusCompleted {
		t.Fatalf("%+v %v", out, err)
	}
	stop(t, e)

	root := 0
	for _, s := range r.spans {
		if hex.EncodeToString(s.TraceId) != at.Trace.String() || s.TraceState != "vendor=1" {
			t.Errorf("%s is of the trace %x, state %q", s.Name, s.TraceId, s.TraceState)
		}
		if hex.EncodeToString(s.ParentSpanId) == at.Span.String() {
			root++
		} else if r.spans[string(s.ParentSpanId)] == nil {
			t.Errorf("%s: its parent is missing", s.Name)
		}
	}
	if root != 1 {
		t.Errorf("%d spans are children of the caller's", root)
	}
	for name, want := range outsiders() {
		c, asked := o.seen[name]
		s := r.spans[string(c.Span[:])]
		switch {
		case !asked || !c.Valid():
			t.Errorf("%s was given no place", name)
		case c.Trace != at.Trace || !c.Sampled() || name != "program" && c.State != "vendor=1":
			t.Errorf("%s was given %+v", name, c)
		case s == nil || s.Name != want:
			t.Errorf("%s was given the span of %v, want %s", name, s, want)
		}
	}
	t.Logf("%d spans", len(r.spans))
}

// TestTraceOfOthers wants the place that the caller gave to be passed on as it is where no spans are exported, and where the caller records none.
func TestTraceOfOthers(t *testing.T) {
	for name, c := range map[string]struct {
		export bool
		parent string
	}{
		"not exported":       {false, caller},
		"caller records not": {true, caller[:len(caller)-2] + "00"},
		"nobody is told":     {false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var r *receiver
			if c.export {
				r = newReceiver(t)
			}
			o := newSurroundings(t)
			e, d := o.node(t.TempDir(), nil)
			at, err := trace.Parse(c.parent, "")
			if err != nil {
				t.Fatal(err)
			}
			out, err := e.Run(trace.With(t.Context(), at), engine.Request{Release: d, Input: json.RawMessage(`{"question":"?"}`)})
			if err != nil || out.Status != polity.StatusCompleted {
				t.Fatalf("%+v %v", out, err)
			}
			stop(t, e)
			for name := range outsiders() {
				if got, asked := o.seen[name]; !asked || got.Parent() != c.parent {
					t.Errorf("%s was given %q", name, got.Parent())
				}
			}
			if r != nil && len(r.spans) > 0 {
				t.Errorf("%d spans of what the caller does not record", len(r.spans))
			}
		})
	}
}

// TestLinesSayWhatTheyAreAbout reads every line that a node writes while it runs what succeeds and what fails, at every level: each about a run says
// which, and what runs are told and answer is in none but those of level debug.
func TestLinesSayWhatTheyAreAbout(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelInfo, slog.LevelDebug} {
		t.Run(level.String(), func(t *testing.T) {
			var text lines
			log := slog.New(engine.LogHandler(slog.NewJSONHandler(&text, &slog.HandlerOptions{Level: level})))
			o := newSurroundings(t)
			e, d := o.node(t.TempDir(), log)
			at, err := trace.Parse(caller, "")
			if err != nil {
				t.Fatal(err)
			}
			ctx := trace.With(t.Context(), at)
			if _, err := e.Run(ctx, engine.Request{Release: d, Input: json.RawMessage(`{"question":"hunter2"}`)}); err != nil {
				t.Fatal(err)
			}
			out, err := e.Run(ctx, engine.Request{Release: d, Input: json.RawMessage(`{"question":"hunter2"}`), Bounds: polity.Bounds{Turns: 2}, Seed: "again"})
			if err != nil || out.Status == polity.StatusCompleted {
				t.Fatalf("within two turns: %+v %v", out, err)
			}
			stop(t, e)
			kinds := map[string]int{}
			for raw := range bytes.Lines(text.b.Bytes()) {
				var l map[string]any
				if err := json.Unmarshal(raw, &l); err != nil {
					t.Fatalf("%s: %v", raw, err)
				}
				msg := l["msg"].(string)
				kinds[msg]++
				for _, key := range []string{"run", "org", "agent", "step", "attempt", "trace_id"} {
					if _, said := l[key]; !said {
						t.Errorf("no %s in %s", key, raw)
					}
				}
				step := strings.HasPrefix(msg, "step ") || msg == "the gate is asked"
				if l["run"] == "" || l["org"] != "placed" || l["agent"] == "" || l["trace_id"] != at.Trace.String() || step != (l["step"] != "") || step && l["attempt"] == 0.0 {
					t.Errorf("about what? %s", raw)
				}
				if l["level"] != "DEBUG" && level > slog.LevelDebug && bytes.Contains(raw, []byte(o.secret)) {
					t.Errorf("content is in %s", raw)
				}
			}
			for _, want := range []string{"run opened", "run finished", "step result", "the gate is asked"} {
				if kinds[want] == 0 {
					t.Errorf("no line %q in\n%s", want, text.b.String())
				}
			}
			if (kinds["step started"] > 0) != (level == slog.LevelDebug) {
				t.Errorf("%d lines of steps that started", kinds["step started"])
			}
			t.Logf("%v", kinds)
		})
	}
}

// lines keeps what is written, from many goroutines.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
