package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/manifest"
	"polity.run/pattern"
)

// firm is a hierarchy of three levels, with an organization of another pattern as a worker.
const firm = `
polity: v1
name: firm
agents:
  ceo: {use: lead}
  head: {use: lead}
  foreman: {use: lead}
  ada: {use: worker}
  bob: {use: worker}
  cyd: {use: worker}
  eve: {use: worker, skills: [{name: do}]}
  fay: {use: worker, skills: [{name: do}]}
  pair: {pattern: sequence, stages: [{agent: eve}, {agent: fay}]}
org:
  pattern: hierarchy
  executive: ceo
  departments:
    - name: works
      manager: head
      bounds: {turns: 60}
      workers: [ada, pair]
      teams:
        - {name: shift, manager: foreman, workers: [bob]}
    - cyd
`

// company plays the agents of a firm. It keeps what each was asked, by its key.
type company struct {
	mu    sync.Mutex
	asked map[polity.AgentName][]string
	work  func(ctx context.Context, m polity.Message) (json.RawMessage, error)
	lead  func(duty string, m polity.Message) (json.RawMessage, error)
}

func (c *company) agents() []*agent.Agent {
	skill := []polity.Skill{{Name: "any"}}
	handle := func(do func(context.Context, polity.Message) (json.RawMessage, error)) func(context.Context, polity.Message) (json.RawMessage, error) {
		return func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
			c.mu.Lock()
			c.asked[m.To] = append(c.asked[m.To], m.ID)
			c.mu.Unlock()
			return do(ctx, m)
		}
	}
	return []*agent.Agent{
		{Name: "lead", Version: "1", Effect: polity.EffectIdempotent, Skills: skill, Handle: handle(c.leads)},
		{Name: "worker", Version: "1", Effect: polity.EffectIdempotent, Skills: skill, Handle: handle(c.works)},
	}
}

func (c *company) works(ctx context.Context, m polity.Message) (json.RawMessage, error) {
	if c.work != nil {
		if out, err := c.work(ctx, m); out != nil || err != nil {
			return out, err
		}
	}
	return json.Marshal(map[string]string{"summary": fmt.Sprintf("%s did it", m.To)})
}

func (c *company) leads(_ context.Context, m polity.Message) (json.RawMessage, error) {
	var in struct {
		Duty    string
		Reports []struct{ Report string }
		Results []struct{ Report, Summary string }
	}
	if err := json.Unmarshal(m.Body, &in); err != nil {
		return nil, err
	}
	if c.lead != nil {
		if out, err := c.lead(in.Duty, m); out != nil || err != nil {
			return out, err
		}
	}
	var list []map[string]any
	switch in.Duty {
	case "assign":
		for _, r := range in.Reports {
			list = append(list, map[string]any{"report": r.Report, "objective": "part of " + r.Report})
		}
		return json.Marshal(map[string]any{"assignments": list})
	case "review":
		for _, r := range in.Results {
			list = append(list, map[string]any{"report": r.Report, "accept": true})
		}
		return json.Marshal(map[string]any{"decisions": list})
	}
	all := []string{}
	for _, r := range in.Results {
		all = append(all, r.Summary)
	}
	return json.Marshal(map[string]any{"summary": strings.Join(all, ", "), "recommendations": []string{"go on"}, "results": all})
}

// hire loads a firm into a node.
func (c *company) hire(t *testing.T, state, text string) (*engine.Engine, engine.Digest) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "polity.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Load(path, manifest.Env{Go: map[string]string{"lead": "1", "worker": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Warnings) > 0 {
		t.Errorf("warnings: %v", m.Warnings)
	}
	c.asked = map[polity.AgentName][]string{}
	e := open(t, state, c.agents()...)
	d, err := e.Install(&m.Release, m.Blobs)
	if err != nil {
		t.Fatal(err)
	}
	return e, d
}

func resultOf(t *testing.T, o polity.Outcome) pattern.HierarchyResult {
	t.Helper()
	var r pattern.HierarchyResult
	if err := json.Unmarshal(o.Output, &r); err != nil {
		t.Fatalf("%s %v %s: %v", o.Status, o.Fault, o.Output, err)
	}
	return r
}

var anything = engine.Request{Input: json.RawMessage(`{"question":"What is to be done?"}`)}

// TestHierarchyGoesOn stops the node while somebody two levels down works. The next one goes on there: what was done is not asked again.
func TestHierarchyGoesOn(t *testing.T) {
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
	before := c.asked

	c = &company{}
	e, _ = c.hire(t, state, firm)
	defer stop(t, e)
	o, err := e.Wait(t.Context(), id)
	if err != nil || o.Status != polity.StatusCompleted {
		t.Fatalf("%+v %v", o, err)
	}
	r := resultOf(t, o)
	if r.Status != pattern.UnitCompleted || r.Summary != "ada did it, fay did it, bob did it, cyd did it" {
		t.Errorf("status %s, summary %q", r.Status, r.Summary)
	}
	if below := r.Details.Reports[0].Under(); below == nil || below.Lead != "head" || below.Reports[2].Under() == nil || below.Reports[2].Under().Level != 3 {
		t.Errorf("the levels below: %+v", r.Details)
	}
	for _, lead := range []polity.AgentName{"ceo", "head", "foreman"} { // all had assigned when bob began
		for _, key := range c.asked[lead] {
			if slices.Contains(before[lead], key) {
				t.Errorf("%s was asked %s again", lead, key)
			}
		}
	}
	if len(c.asked["bob"]) != 1 {
		t.Errorf("bob was asked %v", c.asked["bob"])
	}
}

// TestHierarchyEscalates has a worker refuse, its manager escalate, and the executive go on without it.
func TestHierarchyEscalates(t *testing.T) {
	c := &company{
		work: func(_ context.Context, m polity.Message) (json.RawMessage, error) {
			if m.To == "bob" {
				return nil, fault.Denied.New("bob has no key")
			}
			return nil, nil
		},
		lead: func(duty string, m polity.Message) (json.RawMessage, error) {
			if duty != "decide" {
				return nil, nil
			}
			if m.To == "ceo" {
				return json.RawMessage(`{"action":"drop"}`), nil
			}
			return json.RawMessage(`{"action":"escalate"}`), nil
		},
	}
	e, d := c.hire(t, t.TempDir(), firm)
	defer stop(t, e)
	q := anything
	q.Release = d
	o, err := e.Run(t.Context(), q)
	if err != nil || o.Status != polity.StatusCompleted {
		t.Fatalf("%+v %v", o, err)
	}
	r := resultOf(t, o)
	var ladder []string
	for l := &r.Details; l != nil; {
		next := (*pattern.HierarchyLevel)(nil)
		for _, x := range l.Escalations {
			ladder = append(ladder, fmt.Sprintf("%s about %s: %s", x.By, x.Report, x.Action))
		}
		for _, w := range l.Reports {
			if below := w.Under(); below != nil {
				next = below
			}
		}
		l = next
	}
	if diff := cmp.Diff([]string{"ceo about works: drop", "head about shift: escalate", "foreman about bob: escalate"}, ladder); diff != "" {
		t.Errorf("the ladder (-want +got):\n%s", diff)
	}
	if r.Status != pattern.UnitPartial || !strings.Contains(strings.Join(r.Gaps, "\n"), "bob has no key") {
		t.Errorf("%s %q", r.Status, r.Gaps)
	}
	if n := len(c.asked["bob"]); n != 1 {
		t.Errorf("bob was asked %d times", n)
	}
}

// TestHierarchyConservesBounds gives a department too few turns: it hands up what it has, and its sister goes on.
func TestHierarchyConservesBounds(t *testing.T) {
	c := &company{}
	e, d := c.hire(t, t.TempDir(), strings.Replace(firm, "turns: 60", "turns: 4", 1))
	defer stop(t, e)
	q := anything
	q.Release = d
	o, err := e.Run(t.Context(), q)
	if err != nil || len(o.Output) == 0 {
		t.Fatalf("%+v %v", o, err)
	}
	r := resultOf(t, o)
	works, cyd := r.Details.Reports[0], r.Details.Reports[1]
	if works.Usage.Turns > 4 || works.Fault == nil || works.Fault.Bound != "turns" || cyd.Status != "accepted" {
		t.Errorf("works: %+v; cyd: %+v", works, cyd)
	}
	if r.Summary == "" || r.Unreviewed != "" {
		t.Errorf("the executive did not finalize: %+v", r)
	}
}
