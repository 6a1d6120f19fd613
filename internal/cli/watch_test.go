package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"polity.run"
)

// The program notes each file that it is asked about before it answers, unless the request was cut off with the process that sent it. Its effect is external: it must never be begun twice.
const noting = `polity: v1
name: noting
agents:
  clerk:
    command: [sh, -c, 'name=$(sed "s/.*\"file\":\"\([^\"]*\)\".*/\1/"); [ -n "$name" ] && echo "$name" >> "$POLITY_FOLDER/../began"; echo null']
    sandbox: {off: true} # it notes outside of the folder that it began
on:
  - {folder: inbox}
`

// However often the watching process is killed: each file has one run that has ended, and none was begun twice.
func TestWatchIsKilled(t *testing.T) {
	const files = 24
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "inbox"), 0o700); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for i := range files {
		name := fmt.Sprintf("file-%02d", i)
		names[name] = true
		if err := os.WriteFile(filepath.Join(dir, "inbox", name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "polity.yaml"), []byte(noting), 0o600); err != nil {
		t.Fatal(err)
	}
	watch := func(args ...string) *exec.Cmd {
		cmd := exec.Command("polity", append([]string{"watch", dir, "--state", filepath.Join(dir, "state"), "-o", "json"}, args...)...)
		cmd.Stderr = os.Stderr
		return cmd
	}
	for _, lines := range []int{1, 2, 5, 9} {
		killAfter(t, watch("--at-once", "3"), lines)
	}
	out, err := watch("--once").Output()
	if _, failed := err.(*exec.ExitError); err != nil && !failed { // a run may have ended as unknown
		t.Fatal(err)
	}
	t.Logf("the last watcher said %d lines", strings.Count(string(out), "\n"))

	list := exec.Command("polity", "runs", "list", "--limit", "0", "--state", filepath.Join(dir, "state"), "-o", "json")
	if out, err = list.Output(); err != nil {
		t.Fatal(err)
	}
	var runs []polity.Summary
	if err := json.Unmarshal(out, &runs); err != nil {
		t.Fatal(err)
	}
	completed := 0
	for _, r := range runs {
		if !r.Status.Final() {
			t.Errorf("run %s is %s", r.ID, r.Status)
		}
		if r.Status == polity.StatusCompleted {
			completed++
		}
	}
	if len(runs) != files {
		t.Errorf("%d runs of %d files", len(runs), files)
	}
	began, err := os.ReadFile(filepath.Join(dir, "began"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for name := range strings.Lines(string(began)) {
		name = strings.TrimSpace(name)
		if seen[name]++; seen[name] > 1 || !names[name] {
			t.Errorf("%q was begun %d times", name, seen[name])
		}
	}
	if len(seen) < completed {
		t.Errorf("%d runs completed, and %d programs were begun", completed, len(seen))
	}
	if left, err := os.ReadDir(filepath.Join(dir, "state", "watch")); err != nil || len(left) > 0 {
		t.Errorf("%d files are left in the outbox: %v", len(left), err)
	}
	t.Logf("%d of %d runs completed, the others were interrupted where nobody knows how far they came", completed, files)
}

// An order publishes what another run does, and waits for it: with one slot both come to their end, as the order holds none while it waits.
func TestWatchWaitsWithoutASlot(t *testing.T) {
	const chained = `polity: v1
name: chained
agents:
  clerk: {command: [cat], effect: none}
  order: {pattern: sequence, stages: [{agent: clerk}, {publish: {topic: chain.wanted}, await: {topic: chain.done, within: 30m}}]}
  part: {pattern: sequence, stages: [{agent: clerk}, {publish: {topic: chain.done}}]}
on:
  - {topic: chain.placed, agent: order}
  - {topic: chain.wanted, agent: part}
org: {pattern: sequence, stages: [{agent: clerk}]}
`
	dir := t.TempDir()
	manifest, state := filepath.Join(dir, "polity.yaml"), filepath.Join(dir, "state")
	if err := os.WriteFile(manifest, []byte(chained), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"watch", manifest, "--once"}, {"topics", "publish", "chain.placed", "--data", `{"n":1}`}} {
		if out, err := exec.Command("polity", append(args, "--state", state)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	watch := exec.Command("polity", "watch", manifest, "--at-once", "1", "-o", "json", "--state", state, "--timeout", "1m")
	watch.Stderr = os.Stderr
	killAfter(t, watch, 4) // two are opened, and two end
}

// killAfter kills a process when it has written so many lines.
func killAfter(t *testing.T, cmd *exec.Cmd, lines int) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for in := bufio.NewScanner(out); lines > 0; lines-- {
		if !in.Scan() {
			t.Errorf("it ended by itself: %v", in.Err())
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it was not killed")
	}
}
