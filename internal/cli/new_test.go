package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"polity.run"
	"polity.run/model"
	"polity.run/model/modeltest/wire"
	"polity.run/pattern"
)

// Each template, and each pattern's example, is what its README.md says: every command that it shows first does what it should. People
// say yes to everything.
func TestStarters(t *testing.T) {
	names, _ := templateList()
	if len(names) < 3 {
		t.Fatalf("only %d templates", len(names))
	}
	if *update {
		record(t) // which this program does not have in it yet
		return
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) { tryStarter(t, "--template "+name, templateStarter(name)) })
	}
	for _, name := range pattern.Names() {
		t.Run(name, func(t *testing.T) { tryStarter(t, "--pattern "+name, patternStarter(name)) })
	}
}

func tryStarter(t *testing.T, flag string, s starter) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	state := t.TempDir()
	try(t, state, ".", "polity new "+dir+" "+flag)
	if _, err := os.Stat(filepath.Join(dir, schemaName)); err != nil {
		t.Error(err)
	}
	lines := s.next()
	for _, must := range []string{"polity validate", "polity run", "polity test"} {
		if !strings.Contains(strings.Join(lines, "\n"), must) {
			t.Errorf("its README.md does not show %s", must)
		}
	}
	if text := s.readme(); strings.Contains(text, "examples/") || strings.Contains(text, "](../") {
		t.Errorf("its README.md speaks of another place:\n%s", text)
	}
	for _, line := range lines {
		try(t, state, dir, line)
	}
}

// try runs a line of the shell with a state folder below one that is named, and answers what is asked meanwhile.
func try(t *testing.T, state, dir, line string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "XDG_STATE_HOME="+state)
	ctx, cancel := context.WithCancel(t.Context())
	var answering sync.WaitGroup
	if strings.HasPrefix(line, "polity run ") { // nothing else asks a person
		answering.Go(func() { sayYes(ctx, cmd) })
	}
	out, err := cmd.CombinedOutput()
	cancel()
	answering.Wait()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// sayYes answers what is asked where a command runs.
func sayYes(ctx context.Context, where *exec.Cmd) {
	tick := time.NewTicker(questionEvery)
	defer tick.Stop()
	polityIn := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, "polity", args...)
		cmd.Dir, cmd.Env = where.Dir, where.Env
		return cmd.Output()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var open struct {
			Questions []polity.Question `json:"questions"`
		}
		out, err := polityIn("runs", "questions", "-o", "json")
		if err != nil || json.Unmarshal(out, &open) != nil {
			continue // nobody serves the state folder at this moment
		}
		for _, q := range open.Questions {
			_, _ = polityIn("runs", "answer", q.Key, `{"approved": true}`) // else it is asked again
		}
	}
}

// record makes the recording of the template think, with a scripted server in the place of its provider.
func record(t *testing.T) {
	t.Helper()
	server := httptest.NewServer(wire.New(
		wire.Reply{Calls: []model.Call{{ID: "a", Name: "files_read", Input: json.RawMessage(`{"path":"meetings.md"}`)}}, Input: 310, Output: 18},
		wire.Reply{Text: `{"answer":"You meet on Tuesdays at ten, in the room with the piano.","files":["meetings.md"]}`, Input: 390, Output: 31},
	))
	defer server.Close()
	dir := t.TempDir()
	t.Setenv("OPENAI_API_KEY", "none")
	try(t, dir, ".", "polity new "+dir+" --template think")
	text, err := os.ReadFile(filepath.Join(dir, "polity.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	there := strings.Replace(string(text), "api: openai\n", fmt.Sprintf("api: openai\n    url: %s/v1\n", server.URL), 1)
	if err := os.WriteFile(filepath.Join(dir, "there.yaml"), []byte(there), 0o600); err != nil {
		t.Fatal(err)
	}
	recording, err := filepath.Abs("templates/think/calls.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(recording); err != nil {
		t.Fatal(err)
	}
	try(t, dir, dir, `polity run there.yaml "When do we meet?" --in notes --state `+filepath.Join(dir, "state")+" --record "+recording)
}
