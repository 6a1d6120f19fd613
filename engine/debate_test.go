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
	"polity.run/tool"
)

// house is a debate in which one of those who debate is a debate itself.
const house = `
polity: v1
name: house
agents:
  ada: {use: ada}
  bob: {use: bob}
  cyd: {use: cyd}
  arbiter: {use: arbiter}
  panel:
    pattern: debate
    mode: deliberative
    debaters: [{agent: bob}, {agent: cyd}]
    judge: arbiter
    quorum: 1
org:
  pattern: debate
  mode: deliberative
  debaters: [{agent: ada}, {agent: bob}, {agent: panel}]
  judge: arbiter
  rounds: 2
  source: true
`

// tally counts what agents are asked, over all engines of a test.
type tally struct {
	mu    sync.Mutex
	names []string
}

func (a *tally) add(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.names = append(a.names, name)
}

// speaker is an agent of code that debates or judges as fn says.
func speaker(name polity.AgentName, a *tally, fn func(ctx context.Context, in heard) (string, error)) *agent.Agent {
	return &agent.Agent{
		Name: name, Version: "1", Effect: polity.EffectNone,
		Skills: []polity.Skill{{Name: string(name)}},
		Handle: func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
			var in heard
			if err := json.Unmarshal(m.Body, &in); err != nil {
				return nil, fault.Invalid.New("speaker: %w", err)
			}
			a.add(fmt.Sprintf("%s %s %d", name, in.Duty, in.Round))
			out, err := fn(ctx, in)
			return json.RawMessage(out), err
		},
	}
}

// heard is what a debate asks.
type heard struct {
	Duty       string
	Round      int
	Candidates []struct {
		Candidate string
		Answer    string
		Quotes    []struct{ Status string }
	}
}

// byQuotes judges as code can: it counts verified quotes.
func byQuotes(_ context.Context, in heard) (string, error) {
	verified := func(i int) int {
		n := 0
		for _, q := range in.Candidates[i].Quotes {
			if q.Status == "verified" {
				n++
			}
		}
		return n
	}
	order := make([]int, len(in.Candidates))
	var ranking []string
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return verified(b) - verified(a) })
	for _, i := range order {
		ranking = append(ranking, in.Candidates[i].Candidate)
	}
	out, err := json.Marshal(map[string]any{"verdict": ranking[0], "ranking": ranking, "reasons": "most verified quotes", "conclusion": "It is as it is written."})
	return string(out), err
}

func says(answer string) func(context.Context, heard) (string, error) {
	return func(context.Context, heard) (string, error) { return answer, nil }
}

// installed loads a manifest whose code is the agents' and installs it.
func installed(tb testing.TB, e *engine.Engine, text string, agents []*agent.Agent) engine.Digest {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "polity.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	env := manifest.Env{Tools: map[string]tool.Spec{}, Go: map[string]string{}, Models: []string{"quote"}, Specs: engine.Specs}
	tools, err := engine.Tools()
	if err != nil {
		tb.Fatal(err)
	}
	for _, b := range tools {
		env.Tools[b.Spec().Name] = b.Spec()
	}
	for _, a := range agents {
		env.Go[string(a.Name)] = a.Version
	}
	m, err := manifest.Load(path, env)
	if err != nil {
		tb.Fatal(err)
	}
	digest, err := e.Install(&m.Release, m.Blobs)
	if err != nil {
		tb.Fatal(err)
	}
	return digest
}

const (
	keepIt = `{"answer":"keep it","confidence":0.9,"arguments":[{"text":"It is known.","quotes":[{"file":"door.md","line":2,"text":"Everyone knows it."}]}]}`
	paint  = `{"answer":"paint it","confidence":0.9,"arguments":[{"text":"It is disliked.","quotes":[{"file":"door.md","line":1,"text":"Nobody likes it."}]}]}`
)

// TestDebate stops a node in the middle of a round. The next one goes on: who has answered is not asked again, the quotes are looked up in the
// folder, and the judge decides for the answer whose quote stands there. The member that is a debate itself answers with its verdict.
func TestDebate(t *testing.T) {
	state, folder := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "door.md"), []byte("The door is red.\nEveryone knows it.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var before, after tally
	began := make(chan struct{})
	agents := func(a *tally, bob func(context.Context, heard) (string, error)) []*agent.Agent {
		return []*agent.Agent{
			speaker("ada", a, says(keepIt)), speaker("bob", a, bob), speaker("cyd", a, says(paint)), speaker("arbiter", a, byQuotes),
		}
	}
	first := agents(&before, func(ctx context.Context, in heard) (string, error) {
		if in.Round == 0 {
			return paint, nil
		}
		close(began)
		<-ctx.Done()
		return "", ctx.Err()
	})
	e := open(t, state, first...)
	id, err := e.Start(t.Context(), engine.Request{
		Release: installed(t, e, house, first), Input: json.RawMessage(`{"question":"What is to be done about the door?"}`), Folder: folder,
	})
	if err != nil {
		t.Fatal(err)
	}
	<-began
	stop(t, e)

	e = open(t, state, agents(&after, says(paint))...)
	defer stop(t, e)
	out, err := e.Wait(t.Context(), id)
	if err != nil || out.Status != polity.StatusCompleted {
		t.Fatalf("%+v %v", out, err)
	}
	for _, name := range after.names {
		if strings.Contains(name, " open 0") && !strings.HasPrefix(name, "bob") && !strings.HasPrefix(name, "cyd") { // the panel opens anew for each question
			t.Errorf("%s is asked again", name)
		}
	}
	var r pattern.DebateResult
	if err := json.Unmarshal(out.Output, &r); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%s %q by %s, %d of %d quotes verified, openings %q, stopped by %s after %d rounds, dissent %v",
		r.Verdict.Outcome, r.Verdict.Answer, r.Verdict.By, r.Quotes.Verified, r.Quotes.Verified+r.Quotes.Refused, r.Openings.Winner, r.Stopped,
		len(r.History)-1, r.Verdict.Dissent[0].Agents)
	want := `winner "keep it" by judge, 2 of 4 quotes verified, openings "paint it", stopped by stable after 1 rounds, dissent [bob panel]`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%s", diff, out.Output)
	}
}

// crowd is a deliberative debate of so many, who are never of one mind.
func crowd(n int) (text string, agents []*agent.Agent) {
	var b strings.Builder
	var names []string
	b.WriteString("polity: v1\nname: crowd\nbounds: {turns: 10000, fan_out: 100}\nagents:\n  arbiter: {use: arbiter}\n")
	a := &tally{}
	agents = append(agents, speaker("arbiter", a, byQuotes))
	for i := range n {
		name := fmt.Sprintf("d%d", i)
		fmt.Fprintf(&b, "  %s: {use: %s}\n", name, name)
		names = append(names, "{agent: "+name+"}")
		agents = append(agents, speaker(polity.AgentName(name), a, func(_ context.Context, in heard) (string, error) {
			return fmt.Sprintf(`{"answer":"answer %d","arguments":[{"text":"because of %d"}]}`, (i+in.Round)%3, i), nil
		}))
	}
	fmt.Fprintf(&b, "org: {pattern: debate, mode: deliberative, degree: 2, rounds: 2, judge: arbiter, debaters: [%s]}\n", strings.Join(names, ", "))
	return b.String(), agents
}

// BenchmarkDebate measures debates whose agents answer at once: openings, two rounds in which each is shown two others, and the judge.
func BenchmarkDebate(b *testing.B) {
	for _, n := range []int{3, 8, 64} {
		b.Run(fmt.Sprintf("%d debaters", n), func(b *testing.B) {
			text, agents := crowd(n)
			e, err := engine.Open(b.Context(), engine.Config{State: b.TempDir(), Sync: engine.SyncOS, Agents: agents})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			digest := installed(b, e, text, agents)
			turns, i := 0, 0
			for b.Loop() {
				i++
				out, err := e.Run(b.Context(), engine.Request{Release: digest, Input: json.RawMessage(fmt.Sprintf(`{"question":"What is it? %d"}`, i))})
				if err != nil || out.Status != polity.StatusCompleted {
					b.Fatalf("%+v %v", out, err)
				}
				turns += out.Usage.Turns
			}
			b.ReportMetric(float64(turns)/float64(i), "asked/op")
		})
	}
}
