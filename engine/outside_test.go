package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/manifest"
	"polity.run/message"
	"polity.run/remote"
)

// shop is an organization with agents in other processes: the front asks the desk, which is asked by the pricer as well; nobody asks the cellar.
const shop = `polity: v1
name: shop
agents:
  pricer:
    remote: {}
    skills:
      - name: price
        input: {type: object, properties: {n: {type: integer}}, required: [n]}
        output: {type: object, properties: {n: {type: integer}}, required: [n]}
  front: {remote: {agents: [desk]}}
  cellar: {remote: {timeout: 2s}}
  desk: {pattern: sequence, stages: [{agent: pricer}]}
org:
  pattern: sequence
  stages: [{agent: pricer}]
`

// outdoors is a node with a door.
type outdoors struct {
	*engine.Engine
	release engine.Digest
	dir     string
	org     string // whose agents get credentials; "" for the only one
}

func openOutdoors(t *testing.T, state, text string) *outdoors {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Config{State: state, Sync: engine.SyncOS, Door: &engine.Door{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	o := &outdoors{Engine: e, dir: t.TempDir()}
	o.link(t, text)
	return o
}

// link makes a manifest the one by whose links agents are let in.
func (o *outdoors) link(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(o.dir, "polity.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Load(path, manifest.Env{Models: []string{"quote"}})
	if err != nil {
		t.Fatal(err)
	}
	if o.release, err = o.Install(&m.Release, m.Blobs); err != nil {
		t.Fatal(err)
	}
	if err := o.Link(t.Context(), o.release); err != nil {
		t.Fatal(err)
	}
}

// creds writes a file of credentials for an agent.
func (o *outdoors) creds(t *testing.T, agent polity.AgentName, life time.Duration) string {
	t.Helper()
	seed, public, err := bus.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	c, err := o.Credentials(t.Context(), o.org, agent, public, life)
	if err != nil {
		t.Fatal(err)
	}
	c.Seed = seed
	path := filepath.Join(t.TempDir(), string(agent)+".creds")
	if err := c.Write(path); err != nil {
		t.Fatal(err)
	}
	return path
}

type number struct {
	N int `json:"n"`
}

// serve serves an agent until the test ends, or the returned function is called.
func serve(t *testing.T, path string, h remote.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- remote.Serve(ctx, path, h) }()
	stop = func() {
		if ctx.Err() == nil {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("serve: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

func doubles(_ context.Context, in number) (number, error) { return number{2 * in.N}, nil }

func TestAgentOutsideAnswers(t *testing.T) {
	o := openOutdoors(t, t.TempDir(), shop)
	serve(t, o.creds(t, "pricer", 0), remote.Func(doubles))
	out, err := o.Run(t.Context(), engine.Request{Release: o.release, Input: json.RawMessage(`{"n":21}`)})
	if err != nil || out.Status != polity.StatusCompleted || !strings.Contains(string(out.Output), `"output":{"n":42}`) {
		t.Fatalf("%s %s %v", out.Status, out.Output, err)
	}
}

// TestAgentOutsideSpeaks has an agent ask on its own: one that a link leads to, and one that none leads to.
func TestAgentOutsideSpeaks(t *testing.T) {
	o := openOutdoors(t, t.TempDir(), shop)
	serve(t, o.creds(t, "pricer", 0), remote.Func(doubles))
	front, err := remote.Connect(t.Context(), o.creds(t, "front", 0), remote.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	ask := message.Envelope{ID: "q1", To: []message.Address{message.To("desk")}, Performative: polity.Request, Data: []byte(`{"n":4}`)}
	for range 2 { // the second time it is the same run
		out, err := front.Ask(t.Context(), ask)
		if err != nil || !strings.Contains(string(out), `"output":{"n":8}`) {
			t.Fatalf("%s %v", out, err)
		}
	}
	runs, err := o.List(t.Context())
	if err != nil || len(runs) != 1 || runs[0].Agent != "desk" {
		t.Errorf("%+v %v", runs, err)
	}
	ask.To = []message.Address{message.To("pricer")}
	if _, err := front.Ask(t.Context(), ask); !errors.Is(err, fault.Denied) {
		t.Errorf("an agent without a link: %v", err)
	}
	var refused []string
	for len(refused) == 0 {
		list, err := o.Refused(t.Context(), 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			refused = append(refused, r.Name+" "+string(r.Verb)+" "+r.Subject)
		}
	}
	if refused[0] != "front publish msg.front.pricer.request" {
		t.Errorf("audited: %v", refused)
	}
}
