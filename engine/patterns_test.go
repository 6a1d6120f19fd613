package engine_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/manifest"
	"polity.run/pattern"
	"polity.run/tool"
)

// cast answers for every agent of a manifest by "agent/duty", or "agent/" where no duty is meant. Who is asked for what stands in until is
// not answered; began is closed then.
type cast struct {
	answers map[string]string
	until   string
	began   chan struct{}
	once    sync.Once

	mu    sync.Mutex
	asked map[string]int
}

func (c *cast) agent() *agent.Agent {
	return &agent.Agent{
		Name: "cast", Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "any"}},
		Handle: func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
			var in struct {
				Duty string `json:"duty"`
			}
			_ = json.Unmarshal(m.Body, &in) // without a duty there is none
			key := string(m.To) + "/" + in.Duty
			if key == c.until {
				c.once.Do(func() { close(c.began) })
				<-ctx.Done()
				return nil, ctx.Err()
			}
			c.mu.Lock()
			c.asked[key]++
			c.mu.Unlock()
			out, ok := c.answers[key]
			if !ok {
				return nil, fault.Invalid.New("nobody said what %s answers to %s", key, m.Body)
			}
			return json.RawMessage(out), nil
		},
	}
}

// loadPatterns loads a manifest whose agents are all played by the cast.
func loadPatterns(t *testing.T, text string) *manifest.Manifest {
	t.Helper()
	path := filepath.Join(t.TempDir(), "polity.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tools, err := engine.Tools()
	if err != nil {
		t.Fatal(err)
	}
	env := manifest.Env{Tools: map[string]tool.Spec{}, Go: map[string]string{"cast": "1"}}
	for _, b := range tools {
		env.Tools[b.Spec().Name] = b.Spec()
	}
	m, err := manifest.Load(path, env)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const (
	satisfiedNo = `{"satisfied":{"reason":"r","answer":false},"in_loop":{"reason":"r","answer":false},"progress":{"reason":"r","answer":true},` +
		`"next_speaker":{"reason":"r","answer":"team"},"instruction":{"reason":"r","answer":"Look."}}`
	fact = `{"summary":"324 m","claims":[{"text":"It is 324 m high.","stance":"for","severity":"low","evidence":[{"file":"tower.txt","line":1,"text":"324 m"}]}]}`
)

// TestPatternsGoOn runs organizations of each pattern, with another organization as a member, stops the node while somebody is
// asked, and goes on with the next node. What was answered is not asked again, and the result is that of a run that was not stopped.
func TestPatternsGoOn(t *testing.T) {
	tests := map[string]struct {
		manifest string
		answers  map[string]string
		until    string
		check    func(t *testing.T, output json.RawMessage)
		once     []string // who is asked exactly once, over both lives
	}{
		"parallel": {
			manifest: `
agents:
  ada: {use: cast}
  bob: {use: cast}
  cyd: {use: cast}
  judge: {use: cast}
  pen: {use: cast}
  pair: {pattern: sequence, stages: [{agent: bob}, {agent: cyd}]}
org:
  pattern: parallel
  branches: [{agent: ada}, {agent: pair}]
  checker: judge
  merge: pen
`,
			answers: map[string]string{"ada/": `"324 m"`, "bob/": `"high"`, "cyd/": `"330 m"`, "judge/check": `{"valid":true}`, "pen/merge": `{"text":"324 or 330 m","used":["a1","a2"]}`},
			until:   "cyd/", once: []string{"bob/"}, // who answered before cyd was asked
			check: func(t *testing.T, output json.RawMessage) {
				r := decoded[pattern.ParallelResult](t, output)
				if !r.Met || len(r.Answers) != 2 || !r.Answers[1].Used || string(r.Output) != `{"text":"324 or 330 m","used":["a1","a2"]}` {
					t.Errorf("got %s", output)
				}
			},
		},
		"loop": {
			manifest: `
agents:
  ada: {use: cast}
  bob: {use: cast}
  judge: {use: cast}
  team: {pattern: parallel, branches: [{agent: ada}, {agent: bob}]}
org: {pattern: loop, generator: team, evaluator: judge, rounds: 2}
`,
			answers: map[string]string{"ada/generate": `"one"`, "bob/generate": `"two"`, "judge/evaluate": `{"score":0.5,"pass":false,"critique":"longer"}`},
			until:   "judge/evaluate", once: nil,
			check: func(t *testing.T, output json.RawMessage) {
				r := decoded[pattern.LoopResult](t, output)
				if r.Score == nil || *r.Score != 0.5 || r.Round != 1 || len(r.Rounds) != 2 || r.Stopped != "rounds" {
					t.Errorf("got %s", output)
				}
			},
		},
		"planned hub": {
			manifest: `
agents:
  ada: {use: cast}
  bob: {use: cast}
  chief: {use: cast}
  owner: {use: cast}
  pen: {use: cast}
  team: {pattern: hub, specialists: [ada], plan: [{id: look, agent: ada}]}
org: {pattern: hub, specialists: [team, bob], planner: chief, review: owner, synthesizer: pen}
`,
			answers: map[string]string{
				"chief/plan":         `{"steps":[{"id":"a","agent":"team","objective":"Look."},{"id":"b","agent":"bob","objective":"Read.","input":{"of":"$a.response"}}]}`,
				"owner/approve_plan": `{"approve":true}`, "ada/": fact, "bob/": `{"summary":"so it is"}`, "pen/synthesize": `{"text":"It is 324 m high.","used":["f1"]}`,
			},
			until: "owner/approve_plan", once: []string{"chief/plan", "ada/", "bob/"},
			check: func(t *testing.T, output json.RawMessage) {
				r := decoded[pattern.HubResult](t, output)
				if s := r.Response.Synthesis; s == nil || s.Text != "It is 324 m high." || len(r.Response.For) != 1 || len(r.Details.Staff) != 3 {
					t.Errorf("got %s", output)
				}
			},
		},
		"ledger": {
			manifest: `
agents:
  ada: {use: cast}
  lead: {use: cast}
  team: {pattern: hub, specialists: [ada], plan: [{id: look, agent: ada}]}
org: {pattern: hub, specialists: [team], ledger: {lead: lead, rounds: 2}}
`,
			answers: map[string]string{
				"lead/ledger": `{"given":[],"look_up":[],"derive":[],"guesses":[],"plan":["team looks"]}`, "lead/progress": satisfiedNo,
				"ada/work": fact, "lead/answer": `{"text":"324 m","rests_on":["f1"]}`,
			},
			until: "ada/work", once: []string{"lead/ledger", "lead/answer"},
			check: func(t *testing.T, output json.RawMessage) {
				r := decoded[pattern.MagenticResult](t, output)
				if r.Answer != "324 m" || len(r.Facts) != 1 || r.Stopped != "rounds" || r.Facts[0].Agent != "team" {
					t.Errorf("got %s", output)
				}
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := loadPatterns(t, "polity: v1\nname: main\n"+tt.manifest[1:])
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, "tower.txt"), []byte("324 m\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			state := t.TempDir()
			c := &cast{answers: tt.answers, until: tt.until, began: make(chan struct{}), asked: map[string]int{}}
			e := open(t, state, c.agent())
			digest, err := e.Install(&m.Release, m.Blobs)
			if err != nil {
				t.Fatal(err)
			}
			id, err := e.Start(t.Context(), engine.Request{Release: digest, Input: json.RawMessage(`{"question":"How high is it?"}`), Folder: folder})
			if err != nil {
				t.Fatal(err)
			}
			<-c.began
			stop(t, e)

			c.until = ""
			e = open(t, state, c.agent())
			defer stop(t, e)
			out, err := e.Wait(t.Context(), id)
			if err != nil || out.Status != polity.StatusCompleted {
				t.Fatalf("%+v %v", out, err)
			}
			tt.check(t, out.Output)
			for _, key := range tt.once {
				if c.asked[key] != 1 {
					t.Errorf("%s was asked %d times", key, c.asked[key])
				}
			}
		})
	}
}

func decoded[T any](t *testing.T, output json.RawMessage) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(output, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestPatternsAtABound gives runs fewer turns than they want: they end with the best that there is, and say at which bound.
func TestPatternsAtABound(t *testing.T) {
	tests := map[string]struct {
		manifest string
		answers  map[string]string
		want     func(output json.RawMessage) bool
	}{
		"loop": {
			"bounds: {turns: 3}\nagents: {ada: {use: cast}, judge: {use: cast}}\norg: {pattern: loop, generator: ada, evaluator: judge, rounds: 9}\n",
			map[string]string{"ada/generate": `{"text":"one"}`, "judge/evaluate": `{"score":0.5,"pass":false,"critique":"longer"}`},
			func(output json.RawMessage) bool {
				var r pattern.LoopResult
				return json.Unmarshal(output, &r) == nil && r.Stopped == "bound" && string(r.Best) == `{"text":"one"}`
			},
		},
		"parallel": {
			"bounds: {turns: 1}\nagents: {ada: {use: cast}, bob: {use: cast}}\norg: {pattern: parallel, branches: [{agent: ada}, {agent: bob}]}\n",
			map[string]string{"ada/": `"one"`, "bob/": `"two"`},
			func(output json.RawMessage) bool {
				var r pattern.ParallelResult
				return json.Unmarshal(output, &r) == nil && !r.Met && len(r.Answers) == 1
			},
		},
		"ledger": {
			"bounds: {turns: 3}\nagents: {ada: {use: cast}, lead: {use: cast}}\norg: {pattern: hub, specialists: [ada], ledger: {lead: lead}}\n",
			map[string]string{
				"lead/ledger": `{"given":[],"look_up":[],"derive":[],"guesses":[],"plan":["ada looks"]}`, "ada/work": `"324 m"`,
				"lead/progress": strings.ReplaceAll(satisfiedNo, `"team"`, `"ada"`),
			},
			func(output json.RawMessage) bool {
				var r pattern.MagenticResult
				return json.Unmarshal(output, &r) == nil && r.Stopped == "bound" && strings.Contains(r.Answer, "324 m")
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := loadPatterns(t, "polity: v1\nname: main\n"+tt.manifest)
			e := open(t, t.TempDir(), (&cast{answers: tt.answers, asked: map[string]int{}}).agent())
			defer stop(t, e)
			digest, err := e.Install(&m.Release, m.Blobs)
			if err != nil {
				t.Fatal(err)
			}
			out, err := e.Run(t.Context(), engine.Request{Release: digest, Input: json.RawMessage(`{"question":"How high is it?"}`)})
			if err != nil || out.Status != polity.StatusExhausted || out.Fault == nil || out.Fault.Bound != "turns" || !tt.want(out.Output) {
				t.Errorf("%v %+v: %s", err, out.Fault, out.Output)
			}
		})
	}
}
