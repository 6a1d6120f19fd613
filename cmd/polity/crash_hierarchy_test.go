package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run/pattern"
)

const hierarchyKills = 10

// TestKillHierarchy kills the books of a shop with SIGKILL at seeded moments, and starts the same command again until it ends. What is handed
// up is what an undisturbed run hands up, and nothing was asked that is not asked there.
func TestKillHierarchy(t *testing.T) {
	t.Parallel() // it mostly waits
	polity := program(t)
	example := filepath.Join("..", "..", "examples", "hierarchy")
	command := func(state string) *exec.Cmd {
		return exec.Command(polity, "run", example, "--state", state, "-o", "json", "--in", filepath.Join(example, "data"), "How did May go?")
	}
	closed := func(state string) pattern.HierarchyResult {
		t.Helper()
		cmd := command(state)
		var out, notes bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &notes
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v\n%s", err, notes.String())
		}
		var r struct {
			Output pattern.HierarchyResult `json:"output"`
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("%v in %s", err, out.String())
		}
		return r.Output
	}
	want := handedUp(closed(t.TempDir()))
	rng := rand.New(rand.NewPCG(7, 7))
	kills := 0
	for kills < hierarchyKills {
		state := t.TempDir()
		for kills < hierarchyKills {
			cmd := command(state)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- cmd.Wait() }()
			over := false
			select {
			case <-done:
				over = true
			case <-time.After(time.Duration(40+rng.IntN(200)) * time.Millisecond):
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				<-done
				kills++
			}
			if over {
				break
			}
		}
		if diff := cmp.Diff(want, handedUp(closed(state))); diff != "" {
			t.Fatalf("after %d kills (-undisturbed +killed):\n%s", kills, diff)
		}
	}
}

// handedUp is a result without what depends on the time, and who was asked for what on each level.
func handedUp(r pattern.HierarchyResult) []string {
	all := append([]string{r.Status, r.Summary}, r.Results...)
	all = append(append(all, r.Recommendations...), r.Gaps...)
	for level := []pattern.HierarchyLevel{r.Details}; len(level) > 0; level = level[1:] {
		for _, w := range level[0].Reports {
			all = append(all, string(w.Report)+" "+w.Status+" "+w.Summary)
			if below := w.Under(); below != nil {
				level = append(level, *below)
			}
		}
		all = append(all, fmt.Sprintf("%d questions of %s", len(level[0].Asked), level[0].Lead))
	}
	return all
}
