package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"polity.run"
	"polity.run/agent"
	"polity.run/contract"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/schema"
)

// sides are what a party of the exchange of these tests is asked and answers.
type sides struct{ in, out string }

// The back's skill in two versions that fit each other, and in one that does not fit.
var (
	back1 = sides{
		`{"type":"object","properties":{"q":{"type":"string"}},"required":["q"]}`,
		`{"type":"object","properties":{"answer":{"type":"string"}},"required":["answer"]}`,
	}
	back2 = sides{
		`{"type":"object","properties":{"q":{"type":"string"},"style":{"enum":["short","long"]}},"required":["q"]}`,
		`{"type":"object","properties":{"answer":{"type":"string"},"sure":{"type":"number"}},"required":["answer"]}`,
	}
	back3 = sides{
		`{"type":"object","properties":{"question":{"type":"string"}},"required":["question"]}`,
		`{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}`,
	}
)

// party is one agent in a release of its own.
func party(name, code string, s sides) *agent.Release {
	return &agent.Release{Name: name, Main: name, Agents: []agent.Definition{{
		Name: polity.AgentName(name), Kind: agent.KindGo, Go: &agent.Go{Use: code, Version: "1"},
		Skills: []polity.Skill{{Name: "answer", Input: json.RawMessage(s.in), Output: json.RawMessage(s.out)}},
	}}}
}

// registerSides registers both sides of a party's skill, and returns the first error.
func registerSides(e *engine.Engine, r *agent.Release, p *schema.Policy) error {
	for _, q := range engine.Promises(r) {
		q.Policy = p
		if _, err := e.Register(context.Background(), q); err != nil {
			return err
		}
	}
	return nil
}

// pair is a front that asks a back, in whatever releases the two are at the moment.
type pair struct {
	t           *testing.T
	e           *engine.Engine
	front, back atomic.Pointer[engine.Digest]
	done        atomic.Int64
}

// newPair links the code of both parties in both versions into a node. The front of each version sends what its version of the
// back's schema says, and reads by it.
func newPair(t *testing.T) *pair {
	p := &pair{t: t}
	code := func(name string, handle func(ctx context.Context, m polity.Message) (json.RawMessage, error)) *agent.Agent {
		return &agent.Agent{Name: polity.AgentName(name), Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "answer"}}, Handle: handle}
	}
	says := func(text string) func(context.Context, polity.Message) (json.RawMessage, error) {
		return func(context.Context, polity.Message) (json.RawMessage, error) { return json.RawMessage(text), nil }
	}
	p.e = open(t, t.TempDir(),
		code("back1", says(`{"answer":"42"}`)), code("back2", says(`{"answer":"42","sure":0.9}`)), code("back3", says(`{"text":"42"}`)),
		code("front1", p.asks(`{"q":"why?"}`, back1.out)), code("front2", p.asks(`{"q":"why?","style":"short"}`, back2.out)))
	return p
}

// asks is the code of a front: it asks the back as its version knows it, and reads the answer by the schema that it knows.
func (p *pair) asks(sends, reads string) func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
	check, err := schema.Compile(json.RawMessage(reads))
	if err != nil {
		p.t.Fatal(err)
	}
	return func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
		out, err := p.e.Run(ctx, engine.Request{Release: *p.back.Load(), Input: json.RawMessage(sends), Seed: m.ID})
		if err != nil {
			return nil, err
		}
		if out.Status != polity.StatusCompleted {
			return nil, fault.Failed.New("the back ended %s: %v", out.Status, out.Fault)
		}
		return out.Output, check.Check(out.Output)
	}
}

func (p *pair) install(at *atomic.Pointer[engine.Digest], r *agent.Release) {
	p.t.Helper()
	d, err := p.e.Install(r, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	at.Store(&d)
}

// load keeps several requests to the front under way until it is ended.
func (p *pair) load() (end func()) {
	ctx, cancel := context.WithCancel(p.t.Context())
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				out, err := p.e.Run(context.Background(), engine.Request{
					Release: *p.front.Load(), Input: json.RawMessage(`{}`), Seed: fmt.Sprint(worker, n),
				})
				if err != nil || out.Status != polity.StatusCompleted {
					p.t.Errorf("request %d of %d: %s %v %v", n, worker, out.Status, out.Fault, err)
					return
				}
				p.done.Add(1)
			}
		})
	}
	return func() { cancel(); group.Wait() }
}

// more waits until so many more requests have been answered.
func (p *pair) more(n int64) {
	for until := p.done.Load() + n; p.done.Load() < until && !p.t.Failed(); {
		if _, err := p.e.List(p.t.Context()); err != nil { // which takes its turn behind what is under way
			p.t.Fatal(err)
		}
	}
}

// TestUpgradedOneAfterTheOther upgrades two parties under load, in either order, and then tries an upgrade that would break.
func TestUpgradedOneAfterTheOther(t *testing.T) {
	const each = 60 // requests in each state
	any := sides{`{}`, `{}`}
	for name, backFirst := range map[string]bool{"the back first": true, "the front first": false} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			defer stop(t, p.e)
			rule := &schema.Policy{Mode: schema.Full, Declared: true}
			first := party("back", "back1", back1)
			if err := registerSides(p.e, first, rule); err != nil {
				t.Fatal(err)
			}
			p.install(&p.back, first)
			p.install(&p.front, party("front", "front1", any))
			end := p.load()
			defer end()
			p.more(each)
			upgrades := []func(){
				func() {
					next := party("back", "back2", back2)
					if err := registerSides(p.e, next, nil); err != nil {
						t.Fatal(err)
					}
					p.install(&p.back, next)
				},
				func() { p.install(&p.front, party("front", "front2", any)) },
			}
			if !backFirst {
				upgrades[0], upgrades[1] = upgrades[1], upgrades[0]
			}
			for _, upgrade := range upgrades {
				upgrade()
				p.more(each)
			}
			broken := party("back", "back3", back3)
			_, err := p.e.Install(broken, nil)
			if !errors.Is(err, fault.Conflict) {
				t.Fatalf("the upgrade that breaks: %v", err)
			}
			for _, want := range []string{
				"release back breaks who relies on skill:back/answer/in (mode full)", "at /question: the new schema requires it, the old one does not (breaks new readers)",
				"release back breaks who relies on skill:back/answer/out (mode full)", "at /answer: the old schema requires it, the new one does not (breaks old readers)",
			} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the refusal does not say %q:\n%v", want, err)
				}
			}
			if err := registerSides(p.e, broken, nil); !errors.Is(err, fault.Conflict) {
				t.Errorf("registered: %v", err)
			}
			p.more(each)
			t.Logf("%d requests", p.done.Load())
		})
	}
}

// TestWithoutTheCheckItBreaks shows that the test above can fail: where nothing is registered the same upgrade goes through, and requests fail.
func TestWithoutTheCheckItBreaks(t *testing.T) {
	p := newPair(t)
	defer stop(t, p.e)
	p.install(&p.back, party("back", "back3", back3))
	p.install(&p.front, party("front", "front1", sides{`{}`, `{}`}))
	out, err := p.e.Run(t.Context(), engine.Request{Release: *p.front.Load(), Input: json.RawMessage(`{}`)})
	if err != nil || out.Status != polity.StatusFailed || !strings.Contains(out.Fault.Text, "question") {
		t.Errorf("got %s %v %v", out.Status, out.Fault, err)
	}
}

// TestOlderInputIsUpcast asks a skill in the words of an older version of it.
func TestOlderInputIsUpcast(t *testing.T) {
	echo := &agent.Agent{
		Name: "echo", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "answer"}},
		Handle: func(_ context.Context, m polity.Message) (json.RawMessage, error) { return m.Body, nil },
	}
	e := open(t, t.TempDir(), echo)
	defer stop(t, e)
	subject := contract.SkillSubject("back", "answer", false)
	for i, v := range []contract.Version{
		{Schema: json.RawMessage(back1.in), Golden: []json.RawMessage{json.RawMessage(`{"q":"why?"}`)}},
		{Schema: json.RawMessage(back2.in), Golden: []json.RawMessage{json.RawMessage(`{"q":"why?","style":"long"}`)}},
		{Schema: json.RawMessage(back3.in), Upcast: schema.Mapping{{Rename: "/q", To: "question"}}},
	} {
		s, err := e.Register(t.Context(), contract.Registration{Subject: subject, Policy: &schema.Policy{Mode: schema.Backward, Declared: true}, Version: v})
		if err != nil || s.Newest() != i+1 {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		reads         string
		version       int
		input         string
		output, fault string
	}{
		"as it is":        {"", 0, `{"question":"why?"}`, `{"question":"why?"}`, ""},
		"the newest":      {"", 3, `{"question":"why?"}`, `{"question":"why?"}`, ""},
		"the oldest":      {"", 1, `{"q":"why?"}`, `{"question":"why?"}`, ""},
		"one between":     {"2-3", 2, `{"q":"why?","style":"short"}`, `{"question":"why?","style":"short"}`, ""},
		"too old":         {"2-3", 1, `{"q":"why?"}`, "", "version 1 is older than what is read here, which is 2-3"},
		"too new":         {"", 4, `{}`, "", "version 4 is newer than what is read here, which is 1-3: upgrade the reader first"},
		"not what it is":  {"", 1, `{"question":"why?"}`, "", "skill:back/answer/in.v1: at /: missing property 'q'"},
		"without version": {"", 0, `{"q":"why?"}`, "", "missing property 'question'"},
		"another range":   {"1-2", 1, `{"q":"why?"}`, "", "reads versions 1-2, and its input is that of version 3"},
	} {
		t.Run(name, func(t *testing.T) {
			r := party("back", "echo", sides{back3.in, ""})
			r.Agents[0].Skills[0].Reads = tt.reads
			d, err := e.Install(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			out, err := e.Run(t.Context(), engine.Request{Release: d, Input: json.RawMessage(tt.input), Version: tt.version, Seed: name})
			if tt.fault != "" {
				if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.fault) {
					t.Errorf("got %v, want %q", err, tt.fault)
				}
				return
			}
			if err != nil || string(out.Output) != tt.output {
				t.Errorf("got %s %v", out.Output, err)
			}
		})
	}
}

// TestOwnAgentsKeepTheirSchemas wants a program that would break who relies on its agents not to start.
func TestOwnAgentsKeepTheirSchemas(t *testing.T) {
	state := t.TempDir()
	e := open(t, state, function(t, "1", double))
	if _, err := e.Register(t.Context(), contract.Registration{
		Subject: "skill:doubler/doubler/in", Version: contract.Version{Schema: function(t, "1", double).Skills[0].Input},
	}); err != nil {
		t.Fatal(err)
	}
	stop(t, e)
	stop(t, open(t, state, function(t, "2", double)))
	other, err := agent.Func("doubler", "3", func(_ context.Context, q struct {
		Number int `json:"number"`
	}) (answer, error) {
		return answer{q.Number}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = engine.Open(t.Context(), engine.Config{State: state, Agents: []*agent.Agent{other}})
	if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "at /number: the new schema requires it") {
		t.Fatalf("got %v", err)
	}
}

// TestRegisteredAtOnce registers versions that do not fit each other from many goroutines on a real store.
func TestRegisteredAtOnce(t *testing.T) {
	state := t.TempDir()
	e := open(t, state)
	var group sync.WaitGroup
	var won atomic.Int64
	for i := range 8 {
		group.Go(func() {
			raw := fmt.Appendf(nil, `{"type":"object","properties":{"n%d":{}},"required":["n%d"],"additionalProperties":false}`, i, i)
			_, err := e.Register(context.Background(), contract.Registration{Subject: "orders.placed", Version: contract.Version{Schema: raw}})
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, fault.Conflict):
				t.Error(err)
			}
		})
	}
	group.Wait()
	stop(t, e)
	e = open(t, state)
	defer stop(t, e)
	list, err := e.Schemas(t.Context())
	if err != nil || won.Load() != 1 || len(list) != 1 || list[0].Newest() != 1 {
		t.Errorf("%d won; %+v %v", won.Load(), list, err)
	}
	if _, err := e.Schemas(t.Context(), "orders.gone"); !errors.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
}
