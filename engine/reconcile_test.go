package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/tool"
	"polity.run/tool/mcp"
)

// register is a destination of every kind of tool: it keeps the keys of what it did, and never says that it did it.
type register struct {
	mu   sync.Mutex
	keys []string
}

func (r *register) pay(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = append(r.keys, key)
}

func (r *register) has(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.keys) == 1 && r.keys[0] == key
}

// buyer calls a tool once, and ends with what it answers.
type buyer string

func (b buyer) Decide(state any, e polity.Event) (any, []polity.Command) {
	switch {
	case e.Kind == polity.Opened:
		return nil, []polity.Command{polity.Call("pay", string(b), json.RawMessage(`{"sum":7}`))}
	case e.Fault != nil:
		return nil, []polity.Command{polity.Fail(e.Fault)}
	default:
		return nil, []polity.Command{polity.Finish(e.Data)}
	}
}

func (r *register) web(t *testing.T) tool.Source {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /pay", func(_ http.ResponseWriter, q *http.Request) {
		r.pay(q.Header.Get("Idempotency-Key"))
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("GET /payments", func(w http.ResponseWriter, q *http.Request) {
		if !r.has(q.URL.Query().Get("key")) {
			_, _ = io.WriteString(w, `{"data":[]}`)
			return
		}
		w.Header().Set("ETag", `"v1"`)
		_, _ = io.WriteString(w, `{"data":[{"id":"p-1"}]}`)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return tool.Source{Name: "bank", HTTP: &tool.HTTP{
		Allow: []string{strings.TrimPrefix(s.URL, "http://")}, Private: true, Tools: []tool.HTTPTool{
			{Name: "pay", Method: "POST", URL: s.URL + "/pay", Input: json.RawMessage(`{"type":"object"}`), Receipt: "$.id"},
			{Name: "find", URL: s.URL + "/payments", Input: json.RawMessage(`{"type":"object"}`)},
		},
	}, Reconcile: map[string]tool.Reconcile{"pay": {Ask: "find", Input: json.RawMessage(`{"key":"{key}"}`), Output: "$.data[0]"}}}
}

func (r *register) mcp(t *testing.T) tool.Source {
	server := sdk.NewServer(&sdk.Implementation{Name: "bank", Version: "1"}, nil)
	object := json.RawMessage(`{"type":"object"}`)
	server.AddTool(&sdk.Tool{Name: "pay", InputSchema: object}, func(_ context.Context, q *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		key, _ := q.Params.Meta["polity.run/key"].(string)
		r.pay(key)
		return &sdk.CallToolResult{StructuredContent: map[string]string{"id": "p-1"}}, nil
	})
	server.AddTool(&sdk.Tool{Name: "find", InputSchema: object, Annotations: &sdk.ToolAnnotations{ReadOnlyHint: true}}, func(_ context.Context, q *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		var in struct{ Key string }
		if err := json.Unmarshal(q.Params.Arguments, &in); err != nil {
			return nil, err
		}
		found := map[string]any{"verdict": "not_done"}
		if r.has(in.Key) {
			found = map[string]any{"verdict": "done", "output": map[string]string{"id": "p-1"}, "receipt": "line 1"}
		}
		return &sdk.CallToolResult{StructuredContent: found}, nil
	})
	handler := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, nil)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		q.Body = io.NopCloser(bytes.NewReader(body))
		if strings.Contains(string(body), `"name":"pay"`) {
			handler.ServeHTTP(httptest.NewRecorder(), q) // it is done, and the connection breaks
			panic(http.ErrAbortHandler)
		}
		handler.ServeHTTP(w, q)
	}))
	t.Cleanup(s.Close)
	src := tool.Source{
		Name: "bank", MCP: &tool.MCP{URL: s.URL, Private: true}, Receipts: map[string]string{"pay": "$.id"},
		Reconcile: map[string]tool.Reconcile{"pay": {Ask: "find"}},
	}
	asked, err := mcp.New(src, nil)
	if err != nil {
		t.Fatal(err)
	}
	if src.Specs, err = asked.Specs(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := asked.Close(); err != nil {
		t.Fatal(err)
	}
	return src
}

// exec keeps the keys in a file.
func (r *register) exec(file string) tool.Source {
	script := func(text string) []string { return []string{"sh", "-c", text} }
	return tool.Source{Name: "bank", Exec: &tool.Exec{
		Allow: []string{"sh"}, Sandbox: &tool.Sandbox{Off: true}, Env: []string{"BOOK=" + file}, Tools: []tool.ExecTool{
			{Name: "pay", Command: script(`echo "$POLITY_KEY" >> "$BOOK"; kill -9 $$`), Receipt: "$.id"},
			{Name: "find", Command: script(`grep -qxF "$POLITY_KEY" "$BOOK" && echo '{"verdict":"done","output":{"id":"p-1"}}'`), Effect: polity.EffectNone},
		},
	}, Reconcile: map[string]tool.Reconcile{"pay": {Ask: "find"}}}
}

// function is a tool of the program itself.
func (r *register) function(t *testing.T) tool.Tool {
	type paid struct {
		ID string `json:"id"`
	}
	made, err := tool.Func(tool.Spec{Name: "bank.pay", Version: "1", Description: "Pays.", Effect: polity.EffectExternal, Receipt: "$.id"},
		func(_ context.Context, c tool.Call, _ struct {
			Sum int `json:"sum"`
		}) (paid, error) {
			r.pay(c.Key)
			return paid{}, fault.Unavailable.New("it breaks off")
		})
	if err != nil {
		t.Fatal(err)
	}
	return tool.WithReconcile(made, func(_ context.Context, c tool.Call, since time.Time) (polity.Finding, error) {
		if !r.has(c.Key) || string(c.Input) != `{"sum":7}` || since.IsZero() {
			return polity.Finding{Verdict: polity.VerdictNotDone}, nil
		}
		return polity.Finding{Verdict: polity.VerdictDone, Output: json.RawMessage(`{"id":"p-1"}`)}, nil
	})
}

// TestEveryKindIsAsked does an effect with a tool of each kind, which breaks off when it was done, and wants what its destination says to be its
// result: with the key that it was given, once, and with a receipt.
func TestEveryKindIsAsked(t *testing.T) {
	r := &register{}
	book := filepath.Join(t.TempDir(), "book")
	for name, tc := range map[string]struct {
		source  func() tool.Source
		tools   []tool.Tool
		receipt string
	}{
		"web":  {func() tool.Source { return r.web(t) }, nil, `{"$.id":"p-1"}`},
		"mcp":  {func() tool.Source { return r.mcp(t) }, nil, `{"$.id":"p-1","told":"line 1"}`},
		"exec": {func() tool.Source { return r.exec(book) }, nil, `{"$.id":"p-1"}`},
		"go":   {nil, []tool.Tool{r.function(t)}, `{"$.id":"p-1"}`},
	} {
		t.Run(name, func(t *testing.T) {
			r.keys = nil
			who := &agent.Agent{Name: "buyer", Version: "1", Skills: []polity.Skill{{Name: "buy"}}, Decider: buyer("bank.pay")}
			e, err := engine.Open(t.Context(), engine.Config{State: t.TempDir(), Sync: engine.SyncOS, Agents: []*agent.Agent{who}, Tools: tc.tools})
			if err != nil {
				t.Fatal(err)
			}
			defer stop(t, e)
			release := agent.Release{Name: "shop", Main: "buyer", Agents: []agent.Definition{who.Definition()}}
			if tc.source != nil {
				release.Sources = []tool.Source{tc.source()}
			}
			d, err := e.Install(&release, nil)
			if err != nil {
				t.Fatal(err)
			}
			id, err := e.Start(t.Context(), engine.Request{Release: d, Input: json.RawMessage(`{}`)})
			if err != nil {
				t.Fatal(err)
			}
			o, err := e.Wait(t.Context(), id)
			if err != nil || string(o.Output) != `{"id":"p-1"}` {
				t.Fatalf("%s %v %v", o.Output, o.Fault, err)
			}
			if name == "exec" {
				data, err := os.ReadFile(book)
				if err != nil {
					t.Fatal(err)
				}
				r.keys = strings.Fields(string(data))
			}
			if !r.has(string(id) + "#pay") {
				t.Errorf("it was done with the keys %q, want %s#pay once", r.keys, id)
			}
			if err := e.History(t.Context(), id, func(n polity.Notice) error {
				if n.Kind == "result" && (!n.Asked || string(n.Receipt) != tc.receipt) {
					t.Errorf("asked %t, receipt %s, want %s", n.Asked, n.Receipt, tc.receipt)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestAnswerThatCannotBeUsed has a destination say that it was done, with an answer that the tool's schema refuses: it is not done again.
func TestAnswerThatCannotBeUsed(t *testing.T) {
	r := &register{}
	made := r.function(t)
	pay := tool.WithReconcile(made, func(context.Context, tool.Call, time.Time) (polity.Finding, error) {
		return polity.Finding{Verdict: polity.VerdictDone, Output: json.RawMessage(`{"id":7}`)}, nil
	})
	who := &agent.Agent{Name: "buyer", Version: "1", Skills: []polity.Skill{{Name: "buy"}}, Decider: buyer("bank.pay")}
	e, err := engine.Open(t.Context(), engine.Config{State: t.TempDir(), Sync: engine.SyncOS, Agents: []*agent.Agent{who}, Tools: []tool.Tool{pay}})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, e)
	o, err := e.Run(t.Context(), engine.Request{Agent: "buyer", Input: json.RawMessage(`{}`)})
	if err != nil || o.Fault == nil || o.Fault.Kind != fault.Invalid || !strings.Contains(o.Fault.Text, "it was done") || len(r.keys) != 1 {
		t.Errorf("%+v %v; done %d times", o.Fault, err, len(r.keys))
	}
}

// ExampleEngine_Reconcile says by hand what became of an effect that ended as unknown.
func ExampleEngine_Reconcile() {
	state, err := os.MkdirTemp("", "polity-")
	check(err)
	defer os.RemoveAll(state)
	pay, err := tool.Func(tool.Spec{Name: "bank.pay", Version: "1", Description: "Pays.", Effect: polity.EffectExternal},
		func(context.Context, tool.Call, struct{}) (string, error) {
			return "", fault.Timeout.New("the bank does not answer")
		})
	check(err)
	who := &agent.Agent{Name: "buyer", Version: "1", Skills: []polity.Skill{{Name: "buy"}}, Decider: once("bank.pay")}
	e, err := engine.Open(context.Background(), engine.Config{State: state, Agents: []*agent.Agent{who}, Tools: []tool.Tool{pay}})
	check(err)
	defer e.Close()
	id, err := e.Start(context.Background(), engine.Request{Agent: "buyer", Input: json.RawMessage(`{}`)})
	check(err)
	_, err = e.Wait(context.Background(), id)
	check(err)
	key := polity.EffectKey(id, "pay", 1)
	_, err = e.Reconcile(context.Background(), engine.Reconcile{Key: key})
	fmt.Println(errors.Is(err, fault.NotFound), err)
	found, err := e.Reconcile(context.Background(), engine.Reconcile{
		Key: key, Verdict: polity.VerdictNotDone, By: "ada", Reason: "it is not in the statement",
	})
	fmt.Println(found.Verdict, found.By, err)
	// Output:
	// true bank.pay: nothing says how to ask what became of it
	// not_done ada <nil>
}

// once calls a tool without an input, once.
type once string

func (o once) Decide(_ any, e polity.Event) (any, []polity.Command) {
	if e.Kind == polity.Opened {
		return nil, []polity.Command{polity.Call("pay", string(o), json.RawMessage(`{}`))}
	}
	return nil, []polity.Command{polity.Finish(json.RawMessage(`{}`))}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
