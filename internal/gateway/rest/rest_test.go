package rest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/agent"
	"polity.run/client"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/gateway/rest"
)

// wait is the most that a test waits for something that is to happen at once.
const wait = 20 * time.Second

func skill(name string) []polity.Skill { return []polity.Skill{{Name: name}} }

// echo answers what it is asked.
func echo() *agent.Agent {
	return &agent.Agent{
		Name: "echo", Version: "1", Skills: skill("echo"), Effect: polity.EffectNone,
		Handle: func(_ context.Context, m polity.Message) (json.RawMessage, error) { return m.Body, nil },
	}
}

// gate answers when it is let, or never if it is cancelled.
func gate(let <-chan struct{}) *agent.Agent {
	return &agent.Agent{
		Name: "gate", Version: "1", Skills: skill("gate"), Effect: polity.EffectNone,
		Handle: func(ctx context.Context, m polity.Message) (json.RawMessage, error) {
			select {
			case <-let:
				return m.Body, nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		},
	}
}

// counter asks gate once and then echo, so many times together, one after the other.
type counter int

func (c counter) Decide(state any, e polity.Event) (any, []polity.Command) {
	n, _ := state.(int)
	if n == int(c) {
		return n, []polity.Command{polity.Finish(e.Data)}
	}
	to := polity.AgentName("echo")
	if n == 0 {
		to = "gate"
	}
	return n + 1, []polity.Command{polity.Ask(fmt.Sprintf("ask.%d", n+1), to, "", json.RawMessage(`1`))}
}

// world is a node with an open door.
type world struct {
	t      *testing.T
	state  string
	engine *engine.Engine
	door   *rest.Server
	client *client.Client
	served chan error
	at     client.Address
}

func open(t *testing.T, agents ...*agent.Agent) *world {
	t.Helper()
	return openWith(t, engine.Config{State: t.TempDir(), Sync: engine.SyncOS, Agents: agents})
}

func openWith(t *testing.T, cfg engine.Config) *world {
	t.Helper()
	w := &world{t: t, state: cfg.State, served: make(chan error, 1)}
	var err error
	if w.engine, err = engine.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if w.door, err = rest.Open(w.engine, nil); err != nil {
		t.Fatal(err)
	}
	go func() { w.served <- w.door.Run(context.Background()) }()
	t.Cleanup(w.close)
	if w.client, err = client.Open(w.state); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(w.state, client.AddressFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &w.at); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) close() {
	if err := errors.Join(w.door.Close(), <-w.served, w.engine.Close()); err != nil {
		w.t.Error(err)
	}
	w.served <- nil
}

func (w *world) start(q client.Request) polity.RunID {
	w.t.Helper()
	id, err := w.client.Start(w.t.Context(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func TestClientSpeaksToNode(t *testing.T) {
	w := open(t, echo())
	if err := w.client.Alive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.client.PID() != os.Getpid() {
		t.Errorf("PID %d, want %d", w.client.PID(), os.Getpid())
	}
	q := client.Request{Agent: "echo", Input: json.RawMessage(`{"a":"<&>"}`), Seed: "one"}
	id := w.start(q)
	if again := w.start(q); again != id {
		t.Errorf("the same request again is %s, want %s", again, id)
	}
	o, err := w.client.Wait(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	want := polity.Outcome{Status: polity.StatusCompleted, Output: json.RawMessage(`{"a":"<&>"}`), Usage: polity.Usage{Turns: 1}}
	if diff := cmp.Diff(canonical(t, want), canonical(t, o)); diff != "" {
		t.Errorf("outcome (-want +got):\n%s", diff)
	}
	own, err := w.engine.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := w.client.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(canonical(t, own), canonical(t, list)); diff != "" || len(list) != 1 {
		t.Errorf("list (-engine +client):\n%s", diff)
	}
	found, err := w.client.Find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(canonical(t, own[0]), canonical(t, found)); diff != "" {
		t.Errorf("find (-engine +client):\n%s", diff)
	}
	if diff := cmp.Diff(canonical(t, history(t, w.engine.History, id)), canonical(t, history(t, w.client.History, id))); diff != "" {
		t.Errorf("history (-engine +client):\n%s", diff)
	}
}

// canonical is a value as it is on the wire.
func canonical(t *testing.T, v any) string {
	t.Helper()
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

type reader func(context.Context, polity.RunID, func(polity.Notice) error) error

func history(t *testing.T, read reader, id polity.RunID) []polity.Notice {
	t.Helper()
	var list []polity.Notice
	if err := read(t.Context(), id, func(n polity.Notice) error { list = append(list, n); return nil }); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestReleaseIsInstalled(t *testing.T) {
	w := open(t)
	script := []byte("#!/bin/sh\ncat\n")
	r := &agent.Release{Name: "cat", Main: "cat", Agents: []agent.Definition{{
		Name: "cat", Kind: agent.KindExec, Skills: skill("cat"),
		Exec: &agent.Exec{
			Command: []string{"./cat.sh"}, Effect: polity.EffectNone, Timeout: polity.Duration(wait), OutputMax: 1 << 10,
			Files: map[string]agent.File{"cat.sh": {Digest: digest(script), Executable: true}},
		},
	}}}
	id := w.start(client.Request{Release: r, Files: map[string][]byte{digest(script): script}, Input: json.RawMessage(`7`)})
	o, err := w.client.Wait(t.Context(), id)
	if err != nil || o.Status != polity.StatusCompleted || string(o.Output) != "7" {
		t.Errorf("got %v %s %v %v, want completed 7", o.Status, o.Output, o.Fault, err)
	}
	if err := w.door.Idle(t.Context()); err != nil {
		t.Errorf("Idle: %v", err)
	}
}

func TestFaultsComeBackEqual(t *testing.T) {
	w := open(t, echo())
	ctx := t.Context()
	tests := map[string]struct {
		kind         fault.Kind
		here, remote func() error
	}{
		"find": {
			fault.NotFound,
			func() error { _, err := w.engine.Find(ctx, "0-nobody"); return err },
			func() error { _, err := w.client.Find(ctx, "0-nobody"); return err },
		},
		"a child's ID is one segment": {
			fault.NotFound,
			func() error { _, err := w.engine.Find(ctx, "0-nobody/a/b~2"); return err },
			func() error { _, err := w.client.Find(ctx, "0-nobody/a/b~2"); return err },
		},
		"odd IDs": {
			fault.NotFound,
			func() error { _, err := w.engine.Find(ctx, "../%2f?x#"); return err },
			func() error { _, err := w.client.Find(ctx, "../%2f?x#"); return err },
		},
		"wait": {
			fault.NotFound,
			func() error { _, err := w.engine.Wait(ctx, "0-nobody"); return err },
			func() error { _, err := w.client.Wait(ctx, "0-nobody"); return err },
		},
		"history": {
			fault.NotFound,
			func() error { _, err := w.engine.Find(ctx, "0-nobody"); return err },
			func() error { return w.client.History(ctx, "0-nobody", nil) },
		},
		"tail": {
			fault.NotFound,
			func() error { _, err := w.engine.Find(ctx, "0-nobody"); return err },
			func() error { return w.client.Tail(ctx, "0-nobody", nil) },
		},
		"cancel": {
			fault.NotFound,
			func() error { return w.engine.Cancel(ctx, "0-nobody", "") },
			func() error { return w.client.Cancel(ctx, "0-nobody", "") },
		},
		"resume": {
			fault.NotFound,
			func() error { return w.engine.Resume(ctx, "0-nobody") },
			func() error { return w.client.Resume(ctx, "0-nobody") },
		},
		"start": {
			fault.NotFound,
			func() error { _, err := w.engine.Start(ctx, engine.Request{Agent: "ekho"}); return err },
			func() error { _, err := w.client.Start(ctx, client.Request{Agent: "ekho"}); return err },
		},
		"start with a bad bound": {
			fault.Invalid,
			func() error {
				_, err := w.engine.Start(ctx, engine.Request{Agent: "echo", Bounds: polity.Bounds{Turns: -1}})
				return err
			},
			func() error {
				_, err := w.client.Start(ctx, client.Request{Agent: "echo", Bounds: polity.Bounds{Turns: -1}})
				return err
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			here, remote := tt.here(), tt.remote()
			if !errors.Is(remote, tt.kind) || !errors.Is(remote, fault.Of(here)) {
				t.Errorf("the node says %v (%s), the client %v (%s)", here, fault.Of(here).Kind, remote, fault.Of(remote).Kind)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	w := open(t, gate(nil))
	id := w.start(client.Request{Agent: "gate"})
	if err := w.client.Cancel(t.Context(), id, "enough"); err != nil {
		t.Fatal(err)
	}
	o, err := w.client.Wait(t.Context(), id)
	if err != nil || o.Status != polity.StatusCancelled || !strings.Contains(o.Fault.Text, "enough") {
		t.Errorf("got %v %v %v, want cancelled with the reason", o.Status, o.Fault, err)
	}
}

func TestTailIsHistoryAndThenLife(t *testing.T) {
	let := make(chan struct{})
	w := open(t, gate(let))
	id := w.start(client.Request{Agent: "gate", Input: json.RawMessage(`1`)})
	var kinds []string
	first := make(chan struct{}, 1)
	tailed := make(chan error, 1)
	go func() {
		tailed <- w.client.Tail(t.Context(), id, func(n polity.Notice) error {
			if len(n.Data) > 0 {
				t.Errorf("%s has data", n.Kind)
			}
			if n.Kind == "started" {
				return nil
			}
			if kinds = append(kinds, n.Kind); len(kinds) == 1 {
				close(first)
			}
			return nil
		})
	}()
	receive(t, first)
	close(let)
	if err := receive(t, tailed); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"opened", "result", "finished"}, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	if again := history(t, w.client.Tail, id); len(again) != len(kinds) {
		t.Errorf("the tail of an ended run has %d notices, want %d", len(again), len(kinds))
	}
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(wait):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// A reader that is slower than the run still reads all that the log holds, once and in order: whether that
// is less or more than the queue holds, and whatever it hears first, the news or the end.
func TestFollowOfSlowReader(t *testing.T) {
	const many = 1500 // more notices than the queue holds
	let := make(chan struct{})
	w := open(t, echo(), gate(let),
		&agent.Agent{Name: "few", Version: "1", Skills: skill("few"), Decider: counter(3)},
		&agent.Agent{Name: "many", Version: "1", Skills: skill("many"), Decider: counter(many)})
	for i := range 20 {
		followSlowly(t, w, let, client.Request{Agent: "few", Input: json.RawMessage(`1`), Seed: fmt.Sprint(i)}, 3)
	}
	followSlowly(t, w, let, client.Request{Agent: "many", Input: json.RawMessage(`1`), Bounds: polity.Bounds{Turns: many}}, many)
}

// followSlowly hears one notice, and the next ones when the run has ended.
func followSlowly(t *testing.T, w *world, let chan<- struct{}, q client.Request, steps int) {
	t.Helper()
	id := w.start(q)
	var got []polity.Notice
	err := rest.Follow(t.Context(), w.engine, id, func(n polity.Notice) error {
		if n.Kind != "started" {
			got = append(got, n)
		}
		if len(got) == 1 && n.Kind == "opened" {
			let <- struct{}{}
			_, err := w.engine.Wait(t.Context(), id)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := history(t, w.engine.History, id)
	if len(want) != steps+2 {
		t.Fatalf("the log holds %d notices, want %d", len(want), steps+2)
	}
	for i := range want {
		want[i].Data, want[i].Effect = nil, nil
	}
	if diff := cmp.Diff(canonical(t, want), canonical(t, got)); diff != "" {
		t.Errorf("notices (-log +followed):\n%s", diff)
	}
}

func TestFollowEndsWithItsReader(t *testing.T) {
	w := open(t, gate(nil))
	id := w.start(client.Request{Agent: "gate"})
	enough := errors.New("enough")
	if err := rest.Follow(t.Context(), w.engine, id, func(polity.Notice) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("the reader's error: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := rest.Follow(ctx, w.engine, id, func(polity.Notice) error { cancel(); return nil })
	if !errors.Is(err, fault.Cancelled) {
		t.Errorf("the context's end: got %v", err)
	}
}

// Who waits for a run that has not ended when the door closes is told to ask again; the run is not lost.
func TestClosingDoor(t *testing.T) {
	w := open(t, gate(nil))
	id := w.start(client.Request{Agent: "gate"})
	waited, tailed, heard := make(chan error, 1), make(chan error, 1), make(chan struct{}, 8)
	go func() { _, err := w.client.Wait(t.Context(), id); waited <- err }()
	go func() {
		tailed <- w.client.Tail(t.Context(), id, func(polity.Notice) error { heard <- struct{}{}; return nil })
	}()
	receive(t, heard)
	if err := w.door.Close(); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, waited); !errors.Is(err, fault.Unavailable) {
		t.Errorf("Wait: %v, want unavailable", err)
	}
	if err := receive(t, tailed); !errors.Is(err, fault.Unavailable) {
		t.Errorf("Tail: %v, want unavailable", err)
	}
	if _, err := client.Open(w.state); !errors.Is(err, fault.NotFound) {
		t.Errorf("the address is still there: %v", err)
	}
	if s, err := w.engine.Find(t.Context(), id); err != nil || s.Status != polity.StatusRunning {
		t.Errorf("the run is %v, %v", s.Status, err)
	}
	if err := w.door.Idle(t.Context()); err != nil {
		t.Errorf("Idle after Close: %v", err)
	}
}

func TestIdleWaitsForWhatWasStarted(t *testing.T) {
	let := make(chan struct{})
	w := open(t, gate(let))
	w.start(client.Request{Agent: "gate", Input: json.RawMessage(`1`)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.door.Idle(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Idle says %v while a run is not done", err)
	}
	close(let)
	if err := w.door.Idle(t.Context()); err != nil {
		t.Error(err)
	}
}

// A run that a process left behind waits at the next one, goes on when it is asked for, and is worked for until it has ended.
func TestResume(t *testing.T) {
	let := make(chan struct{})
	cfg := engine.Config{State: t.TempDir(), Sync: engine.SyncOS, Park: true, Agents: []*agent.Agent{gate(let)}}
	first, err := engine.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	id, err := first.Start(t.Context(), engine.Request{Agent: "gate", Input: json.RawMessage(`1`)})
	if err := errors.Join(err, first.Close()); err != nil {
		t.Fatal(err)
	}
	w := openWith(t, cfg)
	if s, err := w.client.Find(t.Context(), id); err != nil || !s.Parked {
		t.Fatalf("before: %+v, %v, want parked", s, err)
	}
	for range 2 { // the second time changes nothing
		if err := w.client.Resume(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := w.client.Find(t.Context(), id); err != nil || s.Parked {
		t.Errorf("afterwards: %+v, %v, want it worked on", s, err)
	}
	idle := make(chan polity.Status, 1) // how the run stood when the door was idle
	go func() {
		err := w.door.Idle(t.Context())
		s, err2 := w.engine.Find(t.Context(), id)
		if err := errors.Join(err, err2); err != nil {
			t.Error(err)
		}
		idle <- s.Status
	}()
	for range 50 { // time enough to be idle, where nothing is waited for
		if err := w.client.Alive(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	close(let)
	if o, err := w.client.Wait(t.Context(), id); err != nil || o.Status != polity.StatusCompleted {
		t.Errorf("ended %v, %v", o.Status, err)
	}
	if s := receive(t, idle); s != polity.StatusCompleted {
		t.Errorf("the door was idle while the run was %s", s)
	}
	if err := w.client.Resume(t.Context(), id); err != nil {
		t.Errorf("resume what has ended: %v", err)
	}
}

func TestAddressIsForTheUserAlone(t *testing.T) {
	w := open(t)
	info, err := os.Stat(filepath.Join(w.state, client.AddressFile))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o, want 600", info.Mode().Perm())
	}
	if token, err := base64.RawURLEncoding.DecodeString(w.at.Token); err != nil || len(token) != 32 {
		t.Errorf("the token has %d bytes (%v), want 32", len(token), err)
	}
	if !strings.HasPrefix(w.at.URL, "http://127.0.0.1:") {
		t.Errorf("URL %s", w.at.URL)
	}
}

// A door that closes late does not take away the address of the next one.
func TestAddressOfAnother(t *testing.T) {
	w := open(t)
	next, err := rest.Open(w.engine, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.door.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Open(w.state); err != nil {
		t.Errorf("the next address is gone: %v", err)
	}
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Open(w.state); !errors.Is(err, fault.NotFound) {
		t.Errorf("the address is still there: %v", err)
	}
}

func TestGuard(t *testing.T) {
	w := open(t, echo())
	host := strings.TrimPrefix(w.at.URL, "http://")
	_, port, _ := strings.Cut(host, ":")
	good := "Bearer " + w.at.Token
	tests := map[string]struct {
		method, path, host, auth, body string
		status                         int
		kind                           fault.Kind
	}{
		"fine":                  {"GET", "/v1/runs", host, good, "", 200, ""},
		"by name":               {"GET", "/v1/runs", "localhost:" + port, good, "", 200, ""},
		"rebound name":          {"GET", "/v1/runs", "evil.example:" + port, good, "", 403, fault.Denied},
		"other port":            {"GET", "/v1/runs", "127.0.0.1:1", good, "", 403, fault.Denied},
		"no port":               {"GET", "/v1/runs", "127.0.0.1", good, "", 403, fault.Denied},
		"no token":              {"GET", "/v1/runs", host, "", "", 401, fault.Unauthenticated},
		"wrong token":           {"GET", "/v1/runs", host, good + "x", "", 401, fault.Unauthenticated},
		"token without scheme":  {"GET", "/v1/runs", host, w.at.Token, "", 401, fault.Unauthenticated},
		"alive":                 {"GET", "/livez", host, "", "", 200, ""},
		"ready":                 {"GET", "/readyz", host, "", "", 200, ""},
		"ready, rebound name":   {"GET", "/readyz", "evil.example:" + port, "", "", 403, fault.Denied},
		"health, wrong method":  {"POST", "/readyz", host, "", "", 401, fault.Unauthenticated},
		"no such route":         {"GET", "/v2", host, good, "", 404, fault.NotFound},
		"no such run":           {"GET", "/v1/runs/0-x%2Fy", host, good, "", 404, fault.NotFound},
		"wrong method":          {"DELETE", "/v1/runs/0-x", host, good, "", 404, fault.NotFound},
		"not JSON":              {"POST", "/v1/runs", host, good, "{", 400, fault.Invalid},
		"unknown field":         {"POST", "/v1/runs", host, good, `{"agnet":"echo"}`, 400, fault.Invalid},
		"described, no field":   {"POST", "/v1/releases/runs", host, good, `{"agnet":"echo"}`, 400, fault.Invalid},
		"unknown inner field":   {"POST", "/v1/releases/runs", host, good, `{"release":{"nmae":"x"}}`, 400, fault.Invalid},
		"two values":            {"POST", "/v1/runs", host, good, `{} {}`, 400, fault.Invalid},
		"files without release": {"POST", "/v1/releases/runs", host, good, `{"agent":"echo","files":{"00":"AA=="}}`, 400, fault.Invalid},
		"too large":             {"POST", "/v1/runs", host, good, `{"seed":"` + strings.Repeat("x", rest.BodyMax) + `"}`, 400, fault.Invalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, w.at.URL+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Host = tt.host
			if tt.auth != "" {
				req.Header.Set("Authorization", tt.auth)
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			data, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			var p client.Problem
			if tt.kind != "" {
				media := resp.Header.Get("Content-Type")
				if err := json.Unmarshal(data, &p); err != nil || p.Status != tt.status || p.Title == "" || p.Hint == "" || media != "application/problem+json" {
					t.Fatalf("answer %s %s: %v", media, data, err)
				}
			}
			if resp.StatusCode != tt.status || tt.kind != "" && p.Kind != tt.kind {
				t.Errorf("got %d %s, want %d %s", resp.StatusCode, bytes.TrimSpace(data), tt.status, tt.kind)
			}
		})
	}
}

func digest(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }
