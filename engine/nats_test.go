package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/bus/bustest"
	"polity.run/message"
	"polity.run/remote"
)

func TestMain(m *testing.M) {
	bustest.Main()
	os.Exit(m.Run())
}

func onNATS(s *bustest.Server) *engine.NATS {
	return &engine.NATS{URL: s.URL(), User: bustest.User, Password: bustest.Password}
}

// ask runs a request until it is answered, as whoever is told to come again does: with the same ID.
func ask(ctx context.Context, e *engine.Engine, q engine.Request) (polity.Outcome, error) {
	for {
		out, err := e.Run(ctx, q)
		if !errors.Is(err, fault.Unavailable) && !errors.Is(err, fault.Full) || ctx.Err() != nil || e.Err() != nil {
			return out, err
		}
	}
}

// TestNATS has a node on a server that is killed and started again while runs are under way, opens the node anew, and takes its account with a second one.
func TestNATS(t *testing.T) {
	s := bustest.Start(t, "", "")
	state := t.TempDir()
	var done atomic.Int32
	doubler := function(t, "1", func(ctx context.Context, q question) (answer, error) { done.Add(1); return double(ctx, q) })
	node := func(state string) *engine.Engine {
		e, err := engine.Open(t.Context(), engine.Config{State: state, Sync: engine.SyncOS, NATS: onNATS(s), Agents: []*agent.Agent{doubler}})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	request := func(n int) engine.Request {
		return engine.Request{Agent: "doubler", Input: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))}
	}
	const runs = 200
	e := node(state)
	var asking sync.WaitGroup
	for n := range runs {
		asking.Go(func() {
			if n == runs/2 {
				s.Kill()
				s.Start()
			}
			out, err := ask(t.Context(), e, request(n))
			if err != nil || string(out.Output) != fmt.Sprintf(`{"n":%d}`, 2*n) {
				t.Errorf("run %d: %+v %v", n, out, err)
			}
		})
	}
	asking.Wait()
	if err := e.Publish(t.Context(), "news", "n1", 0, json.RawMessage(`{}`)); err != nil {
		t.Error(err)
	}
	did := done.Load()
	stop(t, e)

	for _, other := range []bool{false, true} { // the same folder, and another node's
		dir := state
		if other {
			dir = t.TempDir()
			e = node(state)
		}
		again := node(dir)
		list, err := again.List(t.Context())
		if err != nil || len(list) != runs {
			t.Fatalf("%d runs, want %d: %v", len(list), runs, err)
		}
		for n := range runs {
			if out, err := again.Run(t.Context(), request(n)); err != nil || string(out.Output) != fmt.Sprintf(`{"n":%d}`, 2*n) {
				t.Fatalf("run %d: %+v %v", n, out, err)
			}
		}
		if n := done.Load(); n != did {
			t.Errorf("%d effects were done again", n-did)
		}
		if other {
			if _, err := e.Run(t.Context(), request(-1)); !errors.Is(err, fault.Fenced) {
				t.Errorf("the first owner: %v", err)
			}
			<-e.Down()
			stop(t, e)
		}
		stop(t, again)
	}
}

// TestNATSFolder wants a state folder to go with one log.
func TestNATSFolder(t *testing.T) {
	s := bustest.Start(t, "", "")
	refused := func(cfg engine.Config, kind fault.Kind, words string) {
		t.Helper()
		cfg.Sync = engine.SyncOS
		e, err := engine.Open(t.Context(), cfg)
		if err == nil {
			stop(t, e)
		}
		if !errors.Is(err, kind) || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %s", err, words)
		}
	}
	own, far := t.TempDir(), t.TempDir()
	stop(t, open(t, own))
	refused(engine.Config{State: own, NATS: onNATS(s)}, fault.Conflict, "has a log of its own in it")
	e, err := engine.Open(t.Context(), engine.Config{State: far, Sync: engine.SyncOS, NATS: onNATS(s)})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Ready(); err != nil {
		t.Error(err)
	}
	if _, err := e.Backup(t.Context(), filepath.Join(t.TempDir(), "b"), nil); err == nil || !strings.Contains(err.Error(), "on the NATS server "+s.URL()) {
		t.Errorf("backup: %v", err)
	}
	stop(t, e)
	refused(engine.Config{State: far}, fault.Invalid, "name it, as with --nats")

	everybody := bustest.Open(t)
	cfg := engine.Config{State: t.TempDir(), NATS: &engine.NATS{URL: everybody.URL()}}
	refused(cfg, fault.Denied, "links not enforced")
	cfg.Sync, cfg.Unenforced = engine.SyncOS, true
	if e, err = engine.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	stop(t, e)
}

// TestNATSOperator has a node on a server in operator mode with a certificate of a CA of one's own: set up, checked, run, and an agent held to its links.
func TestNATSOperator(t *testing.T) {
	ca := bustest.NewCA(t)
	s := bustest.StartOperator(t, ca.TLS(false))
	at := engine.NATS{URL: s.URL(), CA: ca.File, Creds: s.Creds(false, time.Hour, nil)}
	made, err := engine.SetupNATS(t.Context(), at, false)
	if err != nil {
		t.Fatal(err)
	}
	o := openOutdoorsOn(t, &at, t.TempDir(), outpost)
	points, err := engine.CheckNATS(t.Context(), at, &engine.NATS{URL: s.URL(), CA: ca.File, Creds: s.Creds(true, 0, nil)})
	if err != nil {
		t.Fatal(err)
	}
	streams := 0
	for _, p := range points {
		if strings.HasPrefix(p.What, "stream ") {
			streams++
		}
		if p.State != "ok" && p.What != "sync" && p.What != "master key" {
			t.Errorf("%+v", p)
		}
	}
	if streams != len(made) {
		t.Errorf("%d streams were made, and %d are checked", len(made), streams)
	}
	serve(t, o.creds(t, "pricer", 0), remote.Func(doubles))
	out, err := o.Run(t.Context(), engine.Request{Release: o.release, Input: json.RawMessage(`{"n":21}`)})
	if err != nil || !strings.Contains(string(out.Output), `"output":{"n":42}`) {
		t.Fatalf("%s %s %v", out.Status, out.Output, err)
	}
	front, err := remote.Connect(t.Context(), o.creds(t, "front", 0), remote.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	ask := message.Envelope{ID: "q1", To: []message.Address{message.To("pricer")}, Performative: polity.Request, Data: []byte(`{"n":4}`)}
	if _, err := front.Ask(t.Context(), ask); !errors.Is(err, fault.Denied) {
		t.Errorf("an agent without a link: %v", err)
	}
	if stream, err := s.Streams(at.Creds, ca.File); err != nil || stream != streams {
		t.Errorf("the server has %d streams, and %d are set up: %v", stream, streams, err)
	}
}
