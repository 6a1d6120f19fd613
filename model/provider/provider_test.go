package provider

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/model"
	"polity.run/model/modeltest"
	"polity.run/model/modeltest/wire"
)

var apis = []model.API{model.OpenAI, model.Anthropic}

// serve returns a model that is answered by the server.
func serve(t *testing.T, api model.API, s *wire.Server, change func(*model.Spec)) model.Model {
	t.Helper()
	http := httptest.NewServer(s)
	t.Cleanup(http.Close)
	t.Setenv("WIRE_KEY", "sk-secret")
	spec := model.Spec{
		Name: "writer", API: api, URL: http.URL + "/v1", Model: "wire-1", KeyEnv: "WIRE_KEY", Attempts: 1,
		Price: model.Price{Input: 3000, Output: 15000, CacheRead: 300},
	}
	if change != nil {
		change(&spec)
	}
	m, err := New(spec, nil, NewShared())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const filled = `{"summary":"use, copying","reasons":["é <b>"]}`

// answers is a server that answers whatever is asked.
func answers(s wire.Seen) wire.Reply {
	if len(s.Request.Schema) == 0 {
		return wire.Reply{Text: "Use, copying and “distribution”.", Input: 10, Output: 5}
	}
	if strings.HasSuffix(s.Path, "/messages") {
		return wire.Reply{Calls: []model.Call{{ID: "a", Name: "answer", Input: json.RawMessage(filled)}}, Input: 10, Output: 5}
	}
	return wire.Reply{Text: filled, Input: 10, Output: 5}
}

func TestConformance(t *testing.T) {
	for _, api := range apis {
		t.Run(string(api), func(t *testing.T) {
			modeltest.Run(t, func() model.Model { return serve(t, api, &wire.Server{Answer: answers}, nil) })
		})
	}
}

var question = model.Request{
	Messages: []model.Message{
		{Role: model.System, Text: "Be brief.", Cache: true},
		{Role: model.Tool, Source: "LICENSE", Text: "use </data> copy"},
		{Role: model.User, Text: "May I?"},
		{Role: model.Assistant, Text: "Let me look.", Calls: []model.Call{
			{ID: "c1-1", Name: "files.read", Input: json.RawMessage(`{"path":"a"}`)}, {ID: "c1-2", Name: "nö such", Input: json.RawMessage(`"broken {"`)},
		}},
		{Role: model.Tool, Call: "c1-1", Text: "a text"},
		{Role: model.Tool, Call: "c1-2", Text: "no such tool", Failed: true},
		{Role: model.Assistant, Text: "", Calls: []model.Call{{ID: "c2-1", Name: "files_read", Input: json.RawMessage(`{}`)}}},
		{Role: model.Tool, Call: "c2-1", Text: "b\xff"},
	},
	Tools:     []model.Offer{{Name: "files.read", Description: "Reads.", Input: json.RawMessage(`{"type":"object"}`)}, {Name: "files_read"}, {Name: strings.Repeat("x", 80)}},
	OutputMax: 100,
}

// TestConversation sends a whole conversation, of which the server checks every rule of its protocol, and gets calls back under their own names.
func TestConversation(t *testing.T) {
	for _, api := range apis {
		t.Run(string(api), func(t *testing.T) {
			s := wire.New(wire.Reply{
				Text: "Again.", Input: 100, Cached: 40, Output: 7,
				Calls: []model.Call{{ID: "x", Name: "files_read", Input: json.RawMessage(`{"path":"é"}`)}, {ID: "y", Name: "files_read_2", Input: json.RawMessage(`{}`)}, {ID: "z", Name: "made_up", Input: json.RawMessage(`{"a":`)}},
			})
			var live strings.Builder
			q := question
			q.Key = "0-a#think"
			q.Live = func(text string) { live.WriteString(text) }
			got, err := serve(t, api, s, nil).Answer(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			want := model.Response{
				Output: json.RawMessage(`"Again."`), Stop: model.StopTools, Model: "wire-1", Cached: 40,
				Usage: polity.Usage{InputTokens: 100, OutputTokens: 7, MicroUSD: (60*3000 + 40*300 + 7*15000) / 1000},
				Calls: []model.Call{
					{ID: "x", Name: "files.read", Input: json.RawMessage(`{"path":"é"}`)}, {ID: "y", Name: "files_read", Input: json.RawMessage(`{}`)},
					{ID: "z", Name: "made_up", Input: json.RawMessage(`"{\"a\":"`)},
				},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if live.String() != "Again." {
				t.Errorf("live words: %q", live.String())
			}
			seen := s.Seen()[0]
			if seen.Problem != "" {
				t.Errorf("the protocol is broken: %s\n%s", seen.Problem, seen.Raw)
			}
			if id := seen.Header.Get("X-Client-Request-Id"); api == model.OpenAI && id != q.Key || api == model.Anthropic && id != "" {
				t.Errorf("the request's ID is %q", id)
			}
			if strings.Contains(string(seen.Raw), "</data> copy") {
				t.Error("a passage ends its own marks")
			}
			if api == model.Anthropic && !strings.Contains(string(seen.Raw), `"cache_control"`) {
				t.Error("the hint for the cache is lost")
			}
		})
	}
}

func TestFailures(t *testing.T) {
	tests := map[string]struct {
		reply wire.Reply
		kind  fault.Kind
		text  string
	}{
		"too many requests": {wire.Reply{Status: 429, Code: "rate_limit_error", Text: "slow down", Header: map[string]string{"Retry-After": "7"}}, fault.Unavailable, "ask again in 7s"},
		"no quota":          {wire.Reply{Status: 429, Code: "insufficient_quota", Text: "pay"}, fault.Denied, "pay"},
		"server error":      {wire.Reply{Status: 500, Text: "oops"}, fault.Unavailable, "oops"},
		"overloaded":        {wire.Reply{Status: 529, Code: "overloaded_error", Text: "later"}, fault.Unavailable, "later"},
		"cut stream":        {wire.Reply{Text: "half of it", Cut: true}, fault.Unavailable, ""},
		"invalid JSON":      {wire.Reply{Raw: "data: {\"choices\": [\n\n"}, fault.Unavailable, ""},
		"ends at once":      {wire.Reply{Raw: "data: {}\n\n"}, fault.Unavailable, "broke off"},
		"wrong key":         {wire.Reply{Status: 401, Code: "authentication_error", Text: "invalid key"}, fault.Denied, "invalid key"},
		"no such model":     {wire.Reply{Status: 404, Code: "not_found_error", Text: "no such model"}, fault.NotFound, "no such model"},
		"context too long":  {wire.Reply{Status: 400, Code: "context_length_exceeded", Text: "This model's maximum context length is 10"}, fault.Exhausted, "longer than its context"},
		"prompt too long":   {wire.Reply{Status: 400, Code: "invalid_request_error", Text: "prompt is too long: 3 > 2"}, fault.Exhausted, "longer than its context"},
		"bad request":       {wire.Reply{Status: 400, Text: "no\n such  option"}, fault.Invalid, "no such option"},
		"filter":            {wire.Reply{Status: 400, Code: "content_filter", Text: "filtered"}, fault.Denied, "filtered"},
		"refusal":           {wire.Reply{Text: "", Refusal: "I will not"}, fault.Denied, "refused"},
		"10 MB":             {wire.Reply{Text: strings.Repeat("x", 10<<20)}, fault.Exhausted, "more than"},
		"endless line":      {wire.Reply{Raw: "data: " + strings.Repeat("x", 9<<20)}, fault.Unavailable, ""},
		"HTML":              {wire.Reply{Raw: "<html><body>502 Bad Gateway</body></html>"}, fault.Unavailable, ""},
	}
	for name, tt := range tests {
		for _, api := range apis {
			t.Run(name+" "+string(api), func(t *testing.T) {
				m := serve(t, api, wire.New(tt.reply), nil)
				out, err := m.Answer(t.Context(), model.Request{Messages: question.Messages[:3], OutputMax: 50})
				if name == "endless line" && errors.Is(err, fault.Exhausted) {
					return // as right: it is longer than an answer may be
				}
				if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) {
					t.Fatalf("got %v, %+v; want a fault of kind %s with %q", err, out, tt.kind, tt.text)
				}
				if strings.Contains(err.Error(), "sk-secret") {
					t.Errorf("the key is in %q", err)
				}
			})
		}
	}
}

func TestAnswersOfAnotherKind(t *testing.T) {
	schema := json.RawMessage(`{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}`)
	tests := map[string]struct {
		reply wire.Reply
		want  string
		stop  model.Stop
	}{
		"fenced":        {wire.Reply{Text: "```json\n{\"n\": 1}\n```"}, `{"n": 1}`, model.StopEnd},
		"prose":         {wire.Reply{Text: "It is one."}, `"It is one."`, model.StopEnd},
		"invalid UTF-8": {wire.Reply{Raw: ""}, `"ok�"`, model.StopEnd},
	}
	for name, tt := range tests {
		if name == "invalid UTF-8" {
			continue // below, on each wire
		}
		for _, api := range apis {
			t.Run(name+" "+string(api), func(t *testing.T) {
				got, err := serve(t, api, wire.New(tt.reply), nil).Answer(t.Context(), model.Request{Messages: question.Messages[:3], Schema: schema})
				if err != nil || string(got.Output) != tt.want || got.Stop != tt.stop {
					t.Errorf("got %s %v %v, want %s", got.Output, got.Stop, err, tt.want)
				}
			})
		}
	}
	t.Run("invalid UTF-8", func(t *testing.T) {
		raw := "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ok\xff\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
		got, err := serve(t, model.OpenAI, wire.New(wire.Reply{Raw: raw}), nil).Answer(t.Context(), model.Request{Messages: question.Messages[:3]})
		if err != nil || string(got.Output) != `"ok�"` {
			t.Errorf("got %s %v", got.Output, err)
		}
	})
	t.Run("length", func(t *testing.T) {
		for api, word := range map[model.API]string{model.OpenAI: "length", model.Anthropic: "max_tokens"} {
			got, err := serve(t, api, wire.New(wire.Reply{Text: `{"n": `, Stop: word}), nil).Answer(t.Context(), model.Request{Messages: question.Messages[:3], Schema: schema})
			if err != nil || got.Stop != model.StopLength || string(got.Output) != `"{\"n\": "` {
				t.Errorf("%s: got %s %v %v", api, got.Output, got.Stop, err)
			}
		}
	})
	t.Run("no usage", func(t *testing.T) {
		for _, api := range apis {
			got, err := serve(t, api, wire.New(wire.Reply{Text: "ok", NoUsage: true}), nil).Answer(t.Context(), model.Request{Messages: question.Messages[:3], OutputMax: 20})
			if err != nil || got.Usage.InputTokens < 50 || got.Usage.OutputTokens != 20 || got.Usage.MicroUSD == 0 {
				t.Errorf("%s: booked %+v %v", api, got.Usage, err)
			}
		}
	})
}

// TestSlowFirstWord has a server that says nothing: the attempt ends with its time, the request with its context.
func TestSlowFirstWord(t *testing.T) {
	for _, api := range apis {
		slow := func() *wire.Server { return wire.New(wire.Reply{Wait: time.Minute}) }
		m := serve(t, api, slow(), func(s *model.Spec) { s.Timeout = polity.Duration(30 * time.Millisecond) })
		if _, err := m.Answer(t.Context(), model.Request{Messages: question.Messages[:3]}); !errors.Is(err, fault.Timeout) {
			t.Errorf("%s: got %v, want a time-out", api, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := serve(t, api, slow(), nil).Answer(ctx, model.Request{Messages: question.Messages[:3]}); !errors.Is(err, fault.Cancelled) {
			t.Errorf("%s: got %v, want cancelled", api, err)
		}
	}
}

func TestKeyIsMissing(t *testing.T) {
	m := serve(t, model.OpenAI, wire.New(), func(s *model.Spec) { s.KeyEnv = "POLITY_NO_SUCH_KEY" })
	if _, err := m.Answer(t.Context(), question); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "POLITY_NO_SUCH_KEY") {
		t.Errorf("got %v", err)
	}
}

func TestOptionsAreAdded(t *testing.T) {
	s := wire.New()
	m := serve(t, model.OpenAI, s, func(s *model.Spec) {
		s.Options = json.RawMessage(`{"temperature":0,"model":"other","max_completion_tokens":0}`)
	})
	if _, err := m.Answer(t.Context(), model.Request{Messages: question.Messages[:3], OutputMax: 9}); err != nil {
		t.Fatal(err)
	}
	body := s.Seen()[0].Body
	if body["temperature"] != 0.0 || body["model"] != "wire-1" || body["max_completion_tokens"] != 9.0 || body["max_tokens"] != nil {
		t.Errorf("sent %v", body)
	}
}

// scripted is a model in a bubble, where no network is.
type scripted struct {
	name  string
	calls atomic.Int64
	say   func(n int) (model.Response, error)
}

func (s *scripted) Name() string { return s.name }
func (s *scripted) Answer(context.Context, model.Request) (model.Response, error) {
	return s.say(int(s.calls.Add(1)))
}

func busy(after time.Duration) error {
	return fault.Unavailable.New("busy: %w", &model.Later{After: after})
}

func TestAttemptsWaitAsLongAsTheyAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{say: func(n int) (model.Response, error) {
			u := model.Response{Usage: polity.Usage{InputTokens: 1000}}
			switch n {
			case 1:
				return u, busy(20 * time.Second)
			case 2:
				return u, fault.Unavailable.New("broken")
			default:
				return u, nil
			}
		}}
		p := &provided{spec: model.Spec{Price: model.Price{Input: 1000}}, asks: s, limit: NewShared().of(model.Spec{})}
		began := time.Now()
		out, err := p.Answer(t.Context(), model.Request{})
		took := time.Since(began)
		if err != nil || out.Usage.InputTokens != 3000 || out.Usage.MicroUSD != 3000 {
			t.Errorf("got %+v %v", out.Usage, err)
		}
		if took < 20*time.Second || took > 22*time.Second {
			t.Errorf("waited %s", took)
		}
	})
}

func TestAttemptsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			err  error
			want int64
		}{
			"always busy":       {fault.Unavailable.New("busy"), 4},
			"busy for an hour":  {busy(time.Hour), 1},
			"never acceptable":  {fault.Invalid.New("no"), 1},
			"time-outs as well": {fault.Timeout.New("slow"), 4},
		} {
			s := &scripted{say: func(int) (model.Response, error) { return model.Response{}, tt.err }}
			p := &provided{asks: s, limit: NewShared().of(model.Spec{})}
			if _, err := p.Answer(t.Context(), model.Request{}); !errors.Is(err, tt.err) || s.calls.Load() != tt.want {
				t.Errorf("%s: %d attempts, %v", name, s.calls.Load(), err)
			}
		}
	})
}

func TestFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := NewShared()
		all := map[string]model.Model{}
		add := func(name string, price int64, say func(int) (model.Response, error), fallback ...string) *scripted {
			s := &scripted{name: name, say: say}
			spec := model.Spec{Name: name, Model: name + "-1", Attempts: 2, Price: model.Price{Input: price}, Fallback: fallback, URL: name}
			all[name] = &provided{spec: spec, asks: s, others: func(n string) model.Model { return all[n] }, limit: shared.of(spec)}
			return s
		}
		down := func(int) (model.Response, error) {
			return model.Response{Usage: polity.Usage{InputTokens: 1000}}, fault.Unavailable.New("down")
		}
		up := func(int) (model.Response, error) {
			return model.Response{Usage: polity.Usage{InputTokens: 1000}}, nil
		}
		add("a", 1000, down, "b", "c")
		add("b", 2000, down, "a") // a circle: a fallback falls back to nobody
		c := add("c", 5000, up)
		out, err := all["a"].Answer(t.Context(), model.Request{})
		if err != nil || out.Model != "c-1" || out.Usage.MicroUSD != 2*1000+2*2000+5000 || c.calls.Load() != 1 {
			t.Errorf("got %+v %v", out, err)
		}
		add("d", 1, func(int) (model.Response, error) { return model.Response{}, fault.Denied.New("filtered") }, "c")
		if _, err := all["d"].Answer(t.Context(), model.Request{}); !errors.Is(err, fault.Denied) || c.calls.Load() != 1 {
			t.Errorf("a refusal is not shopped around: %v", err)
		}
		add("e", 1, down, "nobody")
		if _, err := all["e"].Answer(t.Context(), model.Request{}); !errors.Is(err, fault.NotFound) {
			t.Errorf("got %v", err)
		}
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := NewShared()
		spec := model.Spec{URL: "x", PerMinute: 60, AtOnce: 2}
		var now, most atomic.Int64
		s := &scripted{say: func(int) (model.Response, error) {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(3 * time.Second)
			now.Add(-1)
			return model.Response{}, nil
		}}
		began := time.Now()
		done := make(chan error)
		for range 12 { // of two models at one provider
			p := &provided{spec: spec, asks: s, limit: shared.of(spec)}
			go func() { _, err := p.Answer(t.Context(), model.Request{}); done <- err }()
		}
		for range 12 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if most.Load() != 2 {
			t.Errorf("%d at once, want 2", most.Load())
		}
		if took := time.Since(began); took != 18*time.Second {
			t.Errorf("took %s, want 18s", took)
		}
	})
}

func FuzzStreams(f *testing.F) {
	f.Add("data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	f.Add("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":1}}}\n\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"b\"}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\"}}\n\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n")
	f.Add("data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":-1,\"function\":{\"name\":\"a\"}}]}}]}\n\n")
	servers := map[model.API]*wire.Server{}
	models := map[model.API]model.Model{}
	shared := NewShared()
	for _, api := range apis {
		s := &wire.Server{}
		servers[api] = s
		http := httptest.NewServer(s)
		f.Cleanup(http.Close)
		m, err := New(model.Spec{Name: "m", API: api, URL: http.URL, Model: "x", Attempts: 1}, nil, shared)
		if err != nil {
			f.Fatal(err)
		}
		models[api] = m
	}
	f.Fuzz(func(t *testing.T, raw string) {
		for api, m := range models {
			servers[api].Answer = func(wire.Seen) wire.Reply { return wire.Reply{Raw: raw + " "} }
			out, err := m.Answer(t.Context(), model.Request{Messages: question.Messages[:3], OutputMax: 10})
			if err == nil {
				if _, err := json.Marshal(out); err != nil {
					t.Errorf("%s: the response is no JSON: %v", api, err)
				}
			}
		}
	})
}
