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
	"polity.run/manifest"
	"polity.run/pattern"
)

// stage is code that several agents of a manifest are made of, each by its name, with what it was asked.
type stage struct {
	mu    sync.Mutex
	asked map[string]int
	// hangs is the agent that does not answer until its process ends, and began says that it was asked.
	hangs string
	began chan struct{}
	say   func(name string, input json.RawMessage) string
}

func (s *stage) agents(names ...string) (agents []*agent.Agent) {
	for _, name := range names {
		agents = append(agents, &agent.Agent{
			Name: polity.AgentName(name), Version: "1", Effect: polity.EffectNone, Skills: []polity.Skill{{Name: "work"}},
			Handle: func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
				s.mu.Lock()
				s.asked[name]++
				hangs := s.hangs == name
				s.mu.Unlock()
				if hangs {
					close(s.began)
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return json.RawMessage(s.say(name, m.Body)), nil
			},
		})
	}
	return agents
}

// twice runs a manifest, stops the process while one agent is at work, and lets the next process end the run.
func twice(t *testing.T, text, hangs string, say func(name string, input json.RawMessage) string, names ...string) (polity.Outcome, map[string]int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "polity.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code := map[string]string{}
	for _, n := range names {
		code[n] = "1"
	}
	m, err := manifest.Load(path, manifest.Env{Go: code})
	if err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	s := &stage{asked: map[string]int{}, hangs: hangs, began: make(chan struct{}), say: say}
	e := open(t, state, s.agents(names...)...)
	digest, err := e.Install(&m.Release, m.Blobs)
	if err != nil {
		t.Fatal(err)
	}
	id, err := e.Start(t.Context(), engine.Request{Release: digest, Input: json.RawMessage(`{"question":"Who?"}`)})
	if err != nil {
		t.Fatal(err)
	}
	<-s.began
	stop(t, e)

	s.hangs = ""
	e = open(t, state, s.agents(names...)...)
	defer stop(t, e)
	out, err := e.Wait(t.Context(), id)
	if err != nil || out.Status != polity.StatusCompleted {
		t.Fatalf("%+v %v %v", out, out.Fault, err)
	}
	return out, s.asked
}

// TestPeersGoOn has peers, one of them an organization, whose process ends in the middle of a turn: messages that were delivered
// stay delivered, and no turn that was over is taken again.
func TestPeersGoOn(t *testing.T) {
	out, asked := twice(t, `
polity: v1
name: club
agents:
  host: {use: host}
  guest: {use: guest}
  one: {use: one, skills: [{name: work}]}
  team: {pattern: sequence, stages: [{agent: one}]}
org:
  pattern: peers
  peers: [host, guest, team]
  topology: {shape: star, center: host}
  start: [host]
  goal: {when: {member: host, field: state.answers, equals: 2}}
`, "guest", func(name string, input json.RawMessage) string {
		switch name {
		case "one":
			return `"from the team"`
		case "guest":
			return `{"send":[{"kind":"response","in_reply_to":"host.2","body":"from the guest"}]}`
		}
		var in struct {
			Messages []struct{ Kind string }
			State    struct{ Answers int }
		}
		if err := json.Unmarshal(input, &in); err != nil {
			return `{}`
		}
		switch {
		case in.Messages[0].Kind == "request":
			return `{"send":[{"to":"team","kind":"query","body":"Do you come?"}],"state":{"answers":0}}`
		case in.State.Answers == 0:
			return `{"send":[{"to":"guest","kind":"query","body":"And you?"}],"state":{"answers":1}}`
		default:
			return `{"send":[{"kind":"response","in_reply_to":"organization.host.1","body":"both"}],"state":{"answers":2}}`
		}
	}, "host", "guest", "one")
	var got pattern.PeersResult
	if err := json.Unmarshal(out.Output, &got); err != nil {
		t.Fatal(err)
	}
	if got.Ended != "goal" || len(got.Answers) != 1 || string(got.Answers[0].Body) != `"both"` || !strings.Contains(string(out.Output), "from the team") {
		t.Errorf("got %s", out.Output)
	}
	if asked["guest"] != 2 || asked["one"] != 1 {
		t.Errorf("asked %v; want the guest again, who had not answered, and nobody else", asked)
	}
}

// TestHandoffGoesOn has a conversation come to an organization, a router, whose agent is at work when the process ends.
func TestHandoffGoesOn(t *testing.T) {
	out, asked := twice(t, `
polity: v1
name: calls
agents:
  front: {use: front}
  sorter: {use: sorter}
  mender: {use: mender, skills: [{name: work}]}
  desk: {pattern: router, classifier: sorter, routes: [{agent: mender}]}
org:
  pattern: handoff
  owner: front
  links: [{from: front, to: [desk]}]
`, "mender", func(name string, _ json.RawMessage) string {
		return map[string]string{
			"front":  `{"handoff":{"to":"desk","reason":"it is broken","summary":"a door"}}`,
			"sorter": `{"route":"mender","confidence":0.9}`,
			"mender": `{"text":"mended"}`,
		}[name]
	}, "front", "sorter", "mender")
	var got pattern.HandoffResult
	if err := json.Unmarshal(out.Output, &got); err != nil {
		t.Fatal(err)
	}
	if got.Owner != "desk" || len(got.Hops) != 1 || string(got.Answer) != `{"text":"mended"}` {
		t.Errorf("got %s", out.Output)
	}
	if asked["front"] != 1 || asked["sorter"] != 1 || asked["mender"] != 2 {
		t.Errorf("asked %v; want the mender again, who had not answered, and nobody else", asked)
	}
}
