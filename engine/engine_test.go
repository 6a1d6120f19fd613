package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/manifest"
	"polity.run/tool"
)

type question struct {
	N int `json:"n"`
}

type answer struct {
	N int `json:"n"`
}

func double(_ context.Context, q question) (answer, error) { return answer{2 * q.N}, nil }

func Example() {
	state, err := os.MkdirTemp("", "polity-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(state)
	doubler, err := agent.Func("doubler", "1", double)
	if err != nil {
		panic(err)
	}
	e, err := engine.Open(context.Background(), engine.Config{State: state, Agents: []*agent.Agent{doubler}})
	if err != nil {
		panic(err)
	}
	defer e.Close()
	out, err := e.Run(context.Background(), engine.Request{Agent: "doubler", Input: json.RawMessage(`{"n":21}`)})
	fmt.Println(out.Status, string(out.Output), err)
	_, err = e.Run(context.Background(), engine.Request{Agent: "doubler", Input: json.RawMessage(`{"n":"many"}`)})
	fmt.Println(err)
	// Output:
	// completed {"n":42} <nil>
	// run: input of doubler: at /n: got string, want integer
}

func open(t *testing.T, state string, agents ...*agent.Agent) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Config{State: state, Sync: engine.SyncOS, Agents: agents, Telemetry: true})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func stop(t *testing.T, e *engine.Engine) {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func function(t *testing.T, version string, fn func(context.Context, question) (answer, error)) *agent.Agent {
	t.Helper()
	a, err := agent.Func("doubler", version, fn)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestSpaceIsNoContent asks for the same run with an input that is written in another way.
func TestSpaceIsNoContent(t *testing.T) {
	e := open(t, t.TempDir(), function(t, "1", double))
	defer stop(t, e)
	id, err := e.Start(t.Context(), engine.Request{Agent: "doubler", Input: json.RawMessage("{ \"n\":\n21 }")})
	if err != nil {
		t.Fatal(err)
	}
	again := engine.Request{ID: id, Agent: "doubler", Input: json.RawMessage(`{"n":21}`)}
	if out, err := e.Run(t.Context(), again); err != nil || string(out.Output) != `{"n":42}` {
		t.Errorf("%+v %v", out, err)
	}
	again.Input = json.RawMessage(`{"n":22}`)
	if _, err := e.Run(t.Context(), again); !errors.Is(err, fault.Conflict) {
		t.Errorf("another input: %v", err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	state := t.TempDir()
	e := open(t, state)
	defer stop(t, e)
	_, err := engine.Open(t.Context(), engine.Config{State: state})
	if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Fatalf("got %v, want a conflict that names the process", err)
	}
	if err := os.Remove(filepath.Join(state, "lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Open(t.Context(), engine.Config{State: state}); !errors.Is(err, fault.Conflict) {
		t.Fatalf("without the lock's file: got %v, want a conflict", err)
	}
}

func TestStateFolderThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Open(t.Context(), engine.Config{State: filepath.Join(file, "state")}); !errors.Is(err, fault.Denied) {
		t.Fatalf("got %v", err)
	}
}

// TestRunGoesOn stops a node in the middle of an effect; the next one does it again and ends the run.
func TestRunGoesOn(t *testing.T) {
	state := t.TempDir()
	began := make(chan struct{})
	e := open(t, state, function(t, "1", func(ctx context.Context, q question) (answer, error) {
		close(began)
		<-ctx.Done()
		return answer{}, ctx.Err()
	}))
	id, err := e.Start(t.Context(), engine.Request{Agent: "doubler", Input: json.RawMessage(`{"n":4}`)})
	if err != nil {
		t.Fatal(err)
	}
	<-began
	stop(t, e)

	e = open(t, state, function(t, "1", double))
	defer stop(t, e)
	o, err := e.Wait(t.Context(), id)
	if err != nil || o.Status != polity.StatusCompleted || string(o.Output) != `{"n":8}` {
		t.Fatalf("%+v %v", o, err)
	}
}

// TestOtherCodeIsRefused continues a run with another version of its agent: it is stopped with a report, and goes on with
// the right one.
func TestOtherCodeIsRefused(t *testing.T) {
	state := t.TempDir()
	hang := func(ctx context.Context, _ question) (answer, error) {
		<-ctx.Done()
		return answer{}, ctx.Err()
	}
	e := open(t, state, function(t, "1", hang))
	id, err := e.Start(t.Context(), engine.Request{Agent: "doubler", Input: json.RawMessage(`{"n":4}`)})
	if err != nil {
		t.Fatal(err)
	}
	stop(t, e)
	e = open(t, state, function(t, "2", double))
	_, err = e.Wait(t.Context(), id)
	if !errors.Is(err, fault.Diverged) || !strings.Contains(err.Error(), "version 1") {
		t.Fatalf("got %v, want a divergence that names the version", err)
	}
	if s, err := e.Find(t.Context(), id); err != nil || s.Status != polity.StatusStopped {
		t.Fatalf("%+v %v", s, err)
	}
	stop(t, e)
	e = open(t, state, function(t, "1", double))
	defer stop(t, e)
	if o, err := e.Wait(t.Context(), id); err != nil || string(o.Output) != `{"n":8}` {
		t.Fatalf("%+v %v", o, err)
	}
}

func TestAnswerOfAnotherSchema(t *testing.T) {
	liar := &agent.Agent{
		Name: "liar", Version: "1", Effect: polity.EffectNone,
		Skills: []polity.Skill{{Name: "lie", Output: json.RawMessage(`{"type":"object","required":["truth"]}`)}},
		Handle: func(context.Context, polity.Message) (json.RawMessage, error) {
			return json.RawMessage(`{"lie":1}`), nil
		},
	}
	e := open(t, t.TempDir(), liar)
	defer stop(t, e)
	o, err := e.Run(t.Context(), engine.Request{Agent: "liar"})
	if err != nil || o.Status != polity.StatusFailed || !errors.Is(o.Fault, fault.Invalid) || !strings.Contains(o.Fault.Text, "truth") {
		t.Fatalf("%+v %v", o, err)
	}
}

func TestPanicOfAnAgent(t *testing.T) {
	e := open(t, t.TempDir(), function(t, "1", func(context.Context, question) (answer, error) { panic("oops") }))
	defer stop(t, e)
	o, err := e.Run(t.Context(), engine.Request{Agent: "doubler", Input: json.RawMessage(`{"n":4}`)})
	if err != nil || !errors.Is(o.Fault, fault.Internal) || !strings.Contains(o.Fault.Text, "oops") {
		t.Fatalf("%+v %v", o, err)
	}
}

// script makes a release of one program.
func script(t *testing.T, e *engine.Engine, text string, spec agent.Exec) engine.Digest {
	t.Helper()
	digest, files := pin(text)
	spec.Command = []string{"./program.sh"}
	spec.Files = map[string]agent.File{"program.sh": {Digest: digest, Executable: true}}
	r := agent.Release{Name: "script", Main: "program", Agents: []agent.Definition{{
		Name: "program", Kind: agent.KindExec, Skills: []polity.Skill{{Name: "work"}}, Exec: &spec,
	}}}
	d, err := e.Install(&r, files)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestPrograms(t *testing.T) {
	e := open(t, t.TempDir())
	defer stop(t, e)
	folder := t.TempDir()
	spec := agent.Exec{Effect: polity.EffectNone, OutputMax: 1 << 10, Timeout: polity.Duration(300 * time.Millisecond)}
	for name, c := range map[string]struct {
		text   string
		status polity.Status
		kind   fault.Kind
		want   string
	}{
		"answers":            {"#!/bin/sh\ncat\n", polity.StatusCompleted, "", `{"n":1}`},
		"sees folder":        {"#!/bin/sh\necho \"\\\"$POLITY_FOLDER\\\"\"\n", polity.StatusCompleted, "", folder},
		"no other variables": {"#!/bin/sh\necho \"\\\"$GOPATH$USER\\\"\"\n", polity.StatusCompleted, "", `""`},
		"fails":              {"#!/bin/sh\necho broken >&2\nexit 3\n", polity.StatusFailed, fault.Failed, "broken"},
		"prints for ever":    {"#!/bin/sh\nyes\n", polity.StatusExhausted, fault.Exhausted, "1024 bytes"},
		"never returns":      {"#!/bin/sh\nsleep 1000\n", polity.StatusFailed, fault.Timeout, "300ms"},
		"leaves a child":     {"#!/bin/sh\nsleep 1000 &\nsleep 1000\n", polity.StatusFailed, fault.Timeout, "300ms"},
		"no JSON":            {"#!/bin/sh\necho hello\n", polity.StatusFailed, fault.Invalid, "JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := spec
			if c.kind != fault.Timeout {
				spec.Timeout = polity.Duration(time.Minute) // a slow machine is no reason to fail
			}
			d := script(t, e, c.text, spec)
			o, err := e.Run(t.Context(), engine.Request{Release: d, Input: json.RawMessage(`{"n":1}`), Folder: folder})
			if err != nil || o.Status != c.status {
				t.Fatalf("%+v %v %v", o, o.Fault, err)
			}
			got := string(o.Output)
			if o.Fault != nil {
				got = o.Fault.Text
				if o.Fault.Kind != c.kind {
					t.Errorf("fault %s, want %s", o.Fault.Kind, c.kind)
				}
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q in it", got, c.want)
			}
		})
	}
}

// TestExternalProgramThatFails ends as unknown: it may have had its effect.
func TestExternalProgramThatFails(t *testing.T) {
	e := open(t, t.TempDir())
	defer stop(t, e)
	d := script(t, e, "#!/bin/sh\nexit 1\n", agent.Exec{Effect: polity.EffectExternal, OutputMax: 1 << 10})
	o, err := e.Run(t.Context(), engine.Request{Release: d})
	if err != nil || !errors.Is(o.Fault, fault.Unknown) {
		t.Fatalf("%+v %v", o, err)
	}
}

// TestUnknownEffectIsBooked stops the node while an external program runs. That nobody knows whether it did something is no reason to give its
// turn away again: the run would do more than it may.
func TestUnknownEffectIsBooked(t *testing.T) {
	state, mark := t.TempDir(), filepath.Join(t.TempDir(), "began")
	e := open(t, state)
	d := script(t, e, "#!/bin/sh\n: > "+mark+"\nexec sleep 60\n", agent.Exec{
		Effect: polity.EffectExternal, OutputMax: 1 << 10, Sandbox: &tool.Sandbox{Off: true},
	})
	id, err := e.Start(t.Context(), engine.Request{Release: d})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(mark); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the program does not begin")
		}
	}
	stop(t, e)
	e = open(t, state)
	defer stop(t, e)
	o, err := e.Wait(t.Context(), id)
	if err != nil || !errors.Is(o.Fault, fault.Unknown) || o.Usage.Turns != 1 {
		t.Fatalf("%+v %v, want unknown after 1 turn", o, err)
	}
}

// TestProgramThatRewritesItself changes nothing for the next request: each has a copy of its own.
func TestProgramThatRewritesItself(t *testing.T) {
	e := open(t, t.TempDir())
	defer stop(t, e)
	d := script(t, e, "#!/bin/sh\nrm program.sh\necho 'echo 2' > program.sh || exit 1\necho 1\nexit 0\n", agent.Exec{Effect: polity.EffectNone, OutputMax: 1 << 10})
	for i := range 2 {
		o, err := e.Run(t.Context(), engine.Request{Release: d, Seed: fmt.Sprint(i)})
		if err != nil || string(o.Output) != "1" {
			t.Fatalf("request %d: %s %v %v", i, o.Output, o.Fault, err)
		}
	}
	left, err := os.ReadDir(filepath.Join(e.State(), "exec"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestLaterAttemptsHaveTheSameKey asks a keyed program again after it failed: the destination sees one key.
func TestLaterAttemptsHaveTheSameKey(t *testing.T) {
	folder := t.TempDir()
	keys := filepath.Join(folder, "keys")
	for name, text := range map[string]string{
		"polity.yaml": "polity: v1\nname: twice\nagents:\n  w: {command: [./w.sh], effect: keyed, env: [\"KEYS=" + keys + "\"], sandbox: {write: [\"" + folder + "\"]}}\n" +
			"org:\n  pattern: hub\n  specialists: [w]\n  retries: 2\n  plan:\n    - {id: post, agent: w}\n",
		"w.sh": "#!/bin/sh\necho \"$POLITY_KEY\" >> \"$KEYS\"\n[ $(wc -l < \"$KEYS\") -ge 3 ] && echo '{\"summary\":\"done\"}'\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	e := open(t, t.TempDir())
	defer stop(t, e)
	m, err := manifest.Load(folder, pinnedEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	d, err := e.Install(&m.Release, m.Blobs)
	if err != nil {
		t.Fatal(err)
	}
	o, err := e.Run(t.Context(), engine.Request{Release: d, Input: json.RawMessage(`{"question":"?"}`)})
	if err != nil || o.Status != polity.StatusCompleted {
		t.Fatalf("%+v %v", o, err)
	}
	seen, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(seen))
	if len(lines) != 3 || lines[0] != lines[1] || lines[1] != lines[2] {
		t.Errorf("keys of three attempts: %q", lines)
	}
}
