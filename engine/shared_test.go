package engine_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/bus/bustest"
	"polity.run/internal/keyring"
)

// masterKey has a master key come from the environment, as the one that is written in the file.
func masterKey(t *testing.T, digit string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "master")
	if err := os.WriteFile(file, []byte(strings.Repeat(digit, 64)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(keyring.MasterFileVariable, file)
	return file
}

// TestLostMachine has a node with its log on a NATS server lose its state folder, and another machine go on with everything: documents of several parts, the
// data of persons, who is erased.
func TestLostMachine(t *testing.T) {
	s := bustest.Start(t, "", "")
	ctx := t.Context()
	fn, err := agent.Func("clerk", "1", clerk)
	if err != nil {
		t.Fatal(err)
	}
	open := func(state string) *engine.Engine {
		t.Helper()
		e, err := engine.Open(ctx, engine.Config{State: state, NATS: onNATS(s), Agents: []*agent.Agent{fn}})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	first := filepath.Join(t.TempDir(), "a")
	e := open(first)
	asked := func(e *engine.Engine, subject, text, do string) engine.Request {
		input, _ := json.Marshal(letter{text, do})
		return engine.Request{Agent: "clerk", Input: input, Subject: subject, Seed: do}
	}
	if _, err := e.Start(ctx, asked(e, "ada", "x", "")); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), keyring.MasterFileVariable) {
		t.Fatalf("without a master key: %v", err)
	}
	masterKey(t, "1")
	sizes := map[polity.RunID]int{}
	ask := func(e *engine.Engine, subject, text, do string) polity.RunID {
		t.Helper()
		id, err := e.Start(ctx, asked(e, subject, text, do))
		if err != nil {
			t.Fatal(err)
		}
		out, err := e.Wait(ctx, id)
		if err != nil || out.Status != polity.StatusCompleted {
			t.Fatalf("%+v %v", out, err)
		}
		sizes[id] = len(out.Output)
		return id
	}
	long := strings.Repeat("l", 400)
	large, ada, eve := ask(e, "", long, "large"), ask(e, "ada", secret+long, "large"), ask(e, "eve", "hello", "")
	if sizes[large] < 3*512<<10 {
		t.Fatalf("a document of %d bytes has too few parts", sizes[large])
	}
	if _, err := e.Erase(ctx, "eve", "asked to", false); err != nil {
		t.Fatal(err)
	}
	stop(t, e)
	if found := holding(t, s.Store, secret); len(found) > 0 {
		t.Errorf("the server's files have the data of a person in %v", found)
	}
	if found := holding(t, s.Store, strings.Repeat("1", 64)); len(found) > 0 {
		t.Errorf("the server has the master key in %v", found)
	}
	if err := os.RemoveAll(first); err != nil {
		t.Fatal(err)
	}

	second := filepath.Join(t.TempDir(), "b")
	e = open(second)
	for _, id := range []polity.RunID{large, ada} {
		for range 2 { // from the server, and from the folder
			if out, err := e.Wait(ctx, id); err != nil || len(out.Output) != sizes[id] {
				t.Errorf("%s: %d bytes, want %d: %v", id, len(out.Output), sizes[id], err)
			}
		}
	}
	if _, err := e.Wait(ctx, eve); !errors.Is(err, fault.Erased) {
		t.Errorf("eve is back: %v", err)
	}
	documents, err := filepath.Glob(filepath.Join(second, "blobs", "??", "*"))
	if err != nil || len(documents) == 0 {
		t.Fatalf("no document is in the folder: %v", err)
	}
	for _, path := range documents { // damage to what is only a copy
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := e.Wait(ctx, large); err != nil || len(out.Output) != sizes[large] {
		t.Errorf("behind a damaged file: %d bytes: %v", len(out.Output), err)
	}
	again := ask(e, "ada", "again", "")
	stop(t, e)

	// Another master key opens nothing, until all keys are wrapped by it.
	right := os.Getenv(keyring.MasterFileVariable)
	next := masterKey(t, "2")
	third := filepath.Join(t.TempDir(), "c")
	e = open(third)
	if _, err := e.Wait(ctx, ada); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), keyring.MasterFileVariable) {
		t.Errorf("with another master key: %v", err)
	}
	stop(t, e)
	t.Setenv(keyring.MasterFileVariable, right)
	cfg := engine.Config{State: third, NATS: onNATS(s)}
	if _, err := engine.RotateKeys(ctx, cfg, ""); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "--to") {
		t.Errorf("rotated to no master key: %v", err)
	}
	if n, err := engine.RotateKeys(ctx, cfg, next); err != nil || n != 1 {
		t.Errorf("%d keys rotated: %v", n, err)
	}
	t.Setenv(keyring.MasterFileVariable, next)
	e = open(third)
	defer stop(t, e)
	if out, err := e.Wait(ctx, ada); err != nil || len(out.Output) != sizes[ada] {
		t.Errorf("after the rotation: %d bytes: %v", len(out.Output), err)
	}
	if _, err := e.Erase(ctx, "ada", "asked to", false); err != nil {
		t.Fatal(err)
	}
	for _, id := range []polity.RunID{ada, again} {
		if _, err := e.Wait(ctx, id); !errors.Is(err, fault.Erased) {
			t.Errorf("%s is not erased: %v", id, err)
		}
	}
}

// TestSharedLater has a folder of before there were buckets for documents and keys: what it has is put there.
func TestSharedLater(t *testing.T) {
	s := bustest.Start(t, "", "")
	ctx := t.Context()
	fn, err := agent.Func("clerk", "1", clerk)
	if err != nil {
		t.Fatal(err)
	}
	old := t.TempDir()
	keys, err := keyring.Open(filepath.Join(old, "keys")) // with a master key of its own
	if err != nil {
		t.Fatal(err)
	}
	id, err := keys.Key("ada")
	if err != nil {
		t.Fatal(err)
	}
	e := open(t, old, fn)
	stop(t, e)
	for _, name := range []string{"store", "anchor", "dormant"} {
		if err := os.RemoveAll(filepath.Join(old, name)); err != nil {
			t.Fatal(err)
		}
	}
	if e, err = engine.Open(ctx, engine.Config{State: old, NATS: onNATS(s), Agents: []*agent.Agent{fn}}); err != nil {
		t.Fatal(err)
	}
	stop(t, e)
	if left, _ := filepath.Glob(filepath.Join(old, "keys", "*")); len(left) != 1 || filepath.Base(left[0]) != "master" {
		t.Errorf("in the folder of keys: %v", left)
	}
	master, err := os.ReadFile(filepath.Join(old, "keys", "master"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(keyring.MasterVariable, string(master))
	if e, err = engine.Open(ctx, engine.Config{State: t.TempDir(), NATS: onNATS(s), Agents: []*agent.Agent{fn}}); err != nil {
		t.Fatal(err)
	}
	defer stop(t, e)
	if done, err := e.Erase(ctx, "ada", "", false); err != nil || done.Key != id {
		t.Errorf("the key of before: %+v %v", done, err)
	}
}
