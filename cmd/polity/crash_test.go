package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	crashSteps = 40
	crashKills = 20
	crashWidth = 4
)

// effect is done by a process of its own, which counts in a file that is not ours: when it begins, and when it has
// ended.
const effect = `#!/bin/sh
echo "begin $POLITY_KEY" >> "$COUNT"
sleep 0.03
echo "end $POLITY_KEY" >> "$COUNT"
echo '{"claims":[],"summary":"done"}'
`

// TestKill kills the program with SIGKILL at seeded moments and starts the same command again, until it has been killed often enough; then lets it finish.
func TestKill(t *testing.T) {
	t.Parallel() // it mostly waits
	polity := program(t)
	for name, class := range map[string]string{"keyed": "keyed", "external": "external"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kill(t, polity, class)
		})
	}
}

// program is this test under the name of the program, which it then is (see TestMain).
func program(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), programName)
	if err := os.Link(self, bin); err == nil {
		return bin
	}
	data, err := os.ReadFile(self) // the folder is on another disk
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bin, data, 0o700); err != nil {
		t.Fatal(err)
	}
	return bin
}

// tally is what the file says of each key.
type tally struct {
	begun, ended map[string]int
	order        []string // of beginning
}

func count(t *testing.T, file string) tally {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	c := tally{begun: map[string]int{}, ended: map[string]int{}}
	for line := range strings.Lines(string(data)) {
		what, key, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch what {
		case "begin":
			c.begun[key]++
			c.order = append(c.order, key)
		case "end":
			c.ended[key]++
		}
	}
	return c
}

type report struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Output struct {
		Response json.RawMessage `json:"response"`
		Details  struct {
			Steps []struct {
				ID     string `json:"id"`
				Status string `json:"status"`
				Fault  *struct {
					Kind string `json:"kind"`
				} `json:"fault"`
			} `json:"steps"`
		} `json:"details"`
	} `json:"output"`
}

func kill(t *testing.T, polity, class string) {
	rng := rand.New(rand.NewPCG(42, 42))
	var all struct{ kills, repeats, unknown int }
	for round := 0; all.kills < crashKills; round++ {
		dir := t.TempDir()
		manifest, counter := crashManifest(t, dir, class)
		state := filepath.Join(dir, "state")
		interrupted := map[string]bool{} // may have been under way when a kill came
		for all.kills < crashKills {
			cmd := command(polity, manifest, state, counter)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- cmd.Wait() }()
			over := false // the run came to its end before the kill
			working(t, counter, done)
			select {
			case err := <-done:
				over = true
				done <- err
			case <-time.After(time.Duration(rng.IntN(120)) * time.Millisecond):
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				<-done
				all.kills++
			}
			time.Sleep(60 * time.Millisecond) // the effects' own processes were not killed
			after := count(t, counter)
			for _, key := range after.order[max(0, len(after.order)-2*crashWidth):] {
				interrupted[key] = true
			}
			if over || len(after.ended) >= crashSteps-crashWidth {
				break
			}
		}
		got := finish(t, polity, manifest, state, counter)
		c := count(t, counter)
		want := undisturbed(t, polity, class)
		check(t, class, got, want, c)
		for key, n := range c.begun {
			all.repeats += n - 1
			if n > 1 && !interrupted[key] {
				t.Errorf("%s was repeated, and no kill interrupted it", key)
			}
		}
		for _, s := range got.Output.Details.Steps {
			if s.Fault != nil && s.Fault.Kind == "unknown" {
				all.unknown++
			}
		}
	}
	t.Logf("%s: %d kills, %d raw repeats, %d ended unknown", class, all.kills, all.repeats, all.unknown)
	if class == "external" && all.unknown == 0 {
		t.Error("no kill came between an external effect and its result: the test shows nothing")
	}
}

// working waits until an effect begins, however slow the machine is, or the program has ended.
func working(t *testing.T, counter string, done chan error) {
	t.Helper()
	before := len(count(t, counter).order)
	for deadline := time.Now().Add(time.Minute); len(count(t, counter).order) == before; {
		select {
		case err := <-done:
			done <- err
			return
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing begins")
		}
	}
}

func check(t *testing.T, class string, got, want report, c tally) {
	t.Helper()
	if class == "keyed" {
		if len(c.begun) != crashSteps {
			t.Errorf("%d distinct keys, want %d", len(c.begun), crashSteps)
		}
		if diff := cmp.Diff(string(want.Output.Response), string(got.Output.Response)); diff != "" {
			t.Errorf("the report differs from that of an undisturbed run: %s", diff)
		}
		return
	}
	for key, n := range c.begun {
		if n > 1 {
			t.Errorf("%s has no key and was done %d times", key, n)
		}
	}
	for _, s := range got.Output.Details.Steps {
		if s.Status != "ok" && (s.Fault == nil || s.Fault.Kind != "unknown") {
			t.Errorf("step %s is %s with fault %+v, want ok or unknown", s.ID, s.Status, s.Fault)
		}
	}
}

func undisturbed(t *testing.T, polity, class string) report {
	t.Helper()
	dir := t.TempDir()
	manifest, counter := crashManifest(t, dir, class)
	return finish(t, polity, manifest, filepath.Join(dir, "state"), counter)
}

// command runs the manifest. Where things lie is not told to the run, so that every copy of it is the same run.
func command(polity, manifest, state, counter string) *exec.Cmd {
	cmd := exec.Command(polity, "run", manifest, "--state", state, "-o", "json", "Do the work.")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func finish(t *testing.T, polity, manifest, state, counter string) report {
	t.Helper()
	cmd := command(polity, manifest, state, counter)
	var out, notes bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &notes
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, notes.String())
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	if r.Status != "completed" {
		t.Fatalf("the run is %s: %s", r.Status, notes.String())
	}
	return r
}

func crashManifest(t *testing.T, dir, class string) (manifest, counter string) {
	t.Helper()
	counter = filepath.Join(dir, "count")
	var plan strings.Builder
	for i := range crashSteps {
		fmt.Fprintf(&plan, "    - {id: s%02d, agent: worker}\n", i)
	}
	text := fmt.Sprintf(`polity: v1
name: crash
agents:
  worker:
    kind: exec
    command: [./effect.sh]
    sandbox: {off: true} # it goes on when polity is killed, as a service would
    env: ["COUNT=%s"]
    effect: %s
org:
  pattern: hub
  specialists: [worker]
  caps: {width: %d}
  join: {policy: best-effort}
  plan:
%s`, counter, class, crashWidth, plan.String())
	write(t, filepath.Join(dir, "polity.yaml"), text, 0o600)
	write(t, filepath.Join(dir, "effect.sh"), effect, 0o700)
	return filepath.Join(dir, "polity.yaml"), counter
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
