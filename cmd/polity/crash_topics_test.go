package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	crashEvents    = 24
	crashCustomers = 3
)

// clerks is a manifest, but for the file that its calls are noted in. The program goes on when polity is killed, as a service would.
const clerks = `polity: v1
name: clerks
agents:
  clerk: {command: [sh, ./clerk.sh], effect: idempotent, sandbox: {off: true}, env: ["COUNT=%s"]}
on:
  - {topic: "orders.*", key: data.customer}
org:
  pattern: sequence
  skills: [{name: handle, arrival: queue}]
  stages: [{agent: clerk}]
`

// clerk notes which event of which customer it was asked about, in a file that is not ours.
const clerk = `in=$(cat)
echo "$in" | sed 's/.*"customer":"\([^"]*\)".*"n":\([0-9]*\).*/\1 \2/' >> "$COUNT"
sleep 0.02
echo '"done"'
`

// TestKillEvents publishes events, each by a process that tries again until it was acknowledged, while the process that serves the node and opens
// runs for them is killed with SIGKILL at seeded moments. Every event has one run, and those of one customer were handled in order.
func TestKillEvents(t *testing.T) {
	t.Parallel() // it mostly waits
	polity := program(t)
	rng := rand.New(rand.NewPCG(7, 7))
	dir := t.TempDir()
	counter := filepath.Join(dir, "count")
	for name, text := range map[string]string{"clerks.yaml": fmt.Sprintf(clerks, counter), "clerk.sh": clerk} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command(polity, append(args, "--state", filepath.Join(dir, "state"))...)
		cmd.Dir = dir
		return cmd
	}
	if out, err := run("watch", "clerks.yaml", "--once").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	published := make(chan error, 1)
	go func() {
		for n := range crashEvents {
			data := fmt.Sprintf(`{"customer":"c%d","n":%d}`, n%crashCustomers, n)
			var out []byte
			err := os.ErrInvalid
			for try := 0; try < 50 && err != nil; try++ {
				out, err = run("topics", "publish", "orders.placed", "--id", fmt.Sprint("e", n), "--data", data).CombinedOutput()
			}
			if err != nil {
				published <- fmt.Errorf("event %d: %w\n%s", n, err, out)
				return
			}
		}
		published <- nil
	}()
	kills, over := 0, false
	for !over {
		serve := run("watch", "clerks.yaml")
		if err := serve.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-published:
			if over = true; err != nil {
				t.Error(err)
			}
		case <-time.After(time.Duration(200+rng.IntN(500)) * time.Millisecond):
			kills++
		}
		if err := serve.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = serve.Wait() // it was killed
	}
	if out, err := run("watch", "clerks.yaml", "--once").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := run("runs", "list", "-o", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var list []struct{ Status string }
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(list) != crashEvents {
		t.Errorf("%d events have %d runs", crashEvents, len(list))
	}
	for _, r := range list {
		if r.Status != "completed" {
			t.Errorf("a run is %s", r.Status)
		}
	}
	repeats := checkOrder(t, counter)
	t.Logf("%d kills, %d repeated calls", kills, repeats)
	if kills == 0 { // how many there are is up to how fast the events are handled
		t.Error("it was never killed")
	}
}

// checkOrder wants every event in the file, for the first time after those of its customer that were published before. It returns how many
// calls were repeated, as is allowed.
func checkOrder(t *testing.T, counter string) (repeats int) {
	data, err := os.ReadFile(counter)
	if err != nil {
		t.Fatal(err)
	}
	seen, last := map[int]bool{}, map[string]int{}
	for line := range strings.Lines(string(data)) {
		if strings.TrimSpace(line) == "" {
			continue // what the program asked was killed, and it itself an instant later
		}
		var customer string
		var n int
		if _, err := fmt.Sscan(line, &customer, &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if seen[n] {
			repeats++
			continue
		}
		seen[n] = true
		if before, ok := last[customer]; ok && n < before {
			t.Errorf("event %d of %s came after %d", n, customer, before)
		}
		last[customer] = n
	}
	if len(seen) != crashEvents {
		t.Errorf("%d of %d events were handled", len(seen), crashEvents)
	}
	return repeats
}
