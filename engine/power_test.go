package engine_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
)

var (
	powerDir  = flag.String("power.dir", "", "a folder in which TestPowerCut may mount file systems; needs root")
	powerCuts = flag.Int("power.cuts", 4, "power cuts of TestPowerCut")
	powerSeed = flag.Uint64("power.seed", 1, "seed of TestPowerCut")
)

const (
	powerWriters = 8
	powerImage   = "8G"                 // of which next to nothing is used: topics want room for what they may hold
	powerState   = "POLITY_POWER_STATE" // set for the process that loses its power
	powerSync    = "POLITY_POWER_SYNC"
	powerTrims   = "POLITY_POWER_TRIMS" // it archives its runs and drops the beginning of the log all the time
	powerWaits   = "POLITY_POWER_WAITS" // its runs wait, and it writes a checkpoint every few commits
)

// TestPowerCut cuts the power under a node that opens and ends runs as fast as it can. The node's state lies on a file system in a file. The node is
// stopped in its tracks, and the file copied: it holds what had reached the disk, and nothing that only the operating system had. Then the node is killed, the copy is
// mounted, and a node on it must know every run that was acknowledged to the world outside, with the same answer.
//
// A node that leaves syncing to the operating system loses some of them, which shows that the test can fail.
func TestPowerCut(t *testing.T) {
	if *powerDir == "" {
		t.Skip("needs -power.dir and root, to mount file systems: .ci/run gives both")
	}
	rng := rand.New(rand.NewPCG(*powerSeed, 5))
	var cuts, opened, ended int
	for i := range *powerCuts {
		acked, lost := powerCut(t, engine.SyncDisk, time.Duration(300+rng.IntN(2500))*time.Millisecond, missing)
		cuts, opened, ended = cuts+1, opened+len(acked.opened), ended+len(acked.ended)
		if len(lost) > 0 {
			t.Fatalf("cut %d (seed %d): %d of %d acknowledged runs are lost, as %s", i+1, *powerSeed, len(lost), len(acked.opened), lost[0])
		}
	}
	t.Logf("%d power cuts; %d runs opened and %d ended were acknowledged; 0 lost", cuts, opened, ended)
	acked, lost := powerCut(t, engine.SyncOS, 1500*time.Millisecond, missing)
	t.Logf("left to the operating system: %d of %d acknowledged runs lost", len(lost), len(acked.opened))
	if len(lost) == 0 {
		t.Error("nothing is lost without syncing either: this test shows nothing")
	}
}

// acknowledged is what the world outside was told.
type acknowledged struct {
	opened map[polity.RunID]bool
	ended  map[polity.RunID]string // the output
}

// powerCut lets a node work for a while, cuts its power, and returns what it had acknowledged, and what of that is lost, as lost finds on the state that is left.
func powerCut(
	t *testing.T, sync engine.Sync, after time.Duration, lost func(*testing.T, string, acknowledged) []polity.RunID, env ...string,
) (acknowledged, []polity.RunID) {
	t.Helper()
	dir, err := os.MkdirTemp(*powerDir, "cut-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	disk, copied := filepath.Join(dir, "disk"), filepath.Join(dir, "copy")
	shell(t, "truncate", "-s", powerImage, disk)
	shell(t, "mkfs.ext4", "-q", "-F", disk)
	at := mount(t, disk, filepath.Join(dir, "at"))
	worker := exec.Command(os.Args[0], "-test.run", "^TestPowerWorker$", "-test.v")
	worker.Env = append(os.Environ(), powerState+"="+filepath.Join(at, "state"), powerSync+"="+string(sync))
	worker.Env = append(worker.Env, env...)
	out, err := worker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	told := make(chan acknowledged, 1)
	begun := make(chan struct{})
	go func() { told <- listen(out, begun) }()
	select {
	case <-begun:
	case <-time.After(time.Minute):
		t.Fatal("the node does not begin")
	}
	time.Sleep(after)
	if err := worker.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	shell(t, "cp", disk, copied)
	if err := worker.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	acked := <-told
	_ = worker.Wait() // it was killed
	shell(t, "umount", at)
	again := mount(t, copied, filepath.Join(dir, "again"))
	defer shell(t, "umount", again)
	return acked, lost(t, filepath.Join(again, "state"), acked)
}

func mount(t *testing.T, image, at string) string {
	t.Helper()
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	shell(t, "mount", "-o", "loop", image, at)
	return at
}

func shell(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// listen keeps what the node says that is whole: a line that was cut was not heard.
func listen(out interface{ Read([]byte) (int, error) }, begun chan struct{}) acknowledged {
	a := acknowledged{opened: map[polity.RunID]bool{}, ended: map[polity.RunID]string{}}
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return a
		}
		word := strings.SplitN(strings.TrimSpace(line), " ", 3)
		switch {
		case len(word) == 2 && word[0] == "opened":
			if len(a.opened) == 0 {
				close(begun)
			}
			a.opened[polity.RunID(word[1])] = true
		case len(word) == 3 && word[0] == "ended":
			a.ended[polity.RunID(word[1])] = word[2]
		}
	}
}

// missing opens a node on what is left, and returns the runs that it does not know, or knows otherwise.
func missing(t *testing.T, state string, a acknowledged) []polity.RunID {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Config{State: state, Agents: []*agent.Agent{function(t, "1", double)}})
	if err != nil {
		t.Logf("the state does not open: %v", err)
		return everything(a)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	var lost []polity.RunID
	for id := range a.opened {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		o, err := e.Wait(ctx, id)
		cancel()
		output, known := a.ended[id]
		switch {
		case errors.Is(err, fault.NotFound):
			lost = append(lost, id)
		case err != nil:
			t.Fatalf("%s: %v", id, err)
		case o.Status != polity.StatusCompleted, known && string(o.Output) != output:
			t.Fatalf("%s ended %s with %s; it was acknowledged with %s", id, o.Status, o.Output, output)
		}
	}
	return lost
}

func everything(a acknowledged) (all []polity.RunID) {
	for id := range a.opened {
		all = append(all, id)
	}
	return all
}

// TestPowerWorker is the process that loses its power: TestPowerCut starts it.
func TestPowerWorker(t *testing.T) {
	state := os.Getenv(powerState)
	if state == "" {
		t.Skip("is started by TestPowerCut")
	}
	if os.Getenv(powerWaits) != "" {
		waitForPower(t, state)
		return
	}
	e, err := engine.Open(t.Context(), engine.Config{State: state, Sync: engine.Sync(os.Getenv(powerSync)), Agents: []*agent.Agent{function(t, "1", double)}})
	if err != nil {
		t.Fatal(err)
	}
	var say sync.Mutex
	var wait sync.WaitGroup
	for w := range powerWriters {
		wait.Go(func() {
			for i := 0; ; i++ {
				q := engine.Request{Agent: "doubler", Input: json.RawMessage(fmt.Sprintf(`{"n":%d}`, w*1_000_000+i))}
				id, err := e.Start(t.Context(), q)
				if err != nil {
					return
				}
				tell(&say, "opened %s\n", id)
				o, err := e.Wait(t.Context(), id)
				if err != nil {
					return
				}
				tell(&say, "ended %s %s\n", id, o.Output)
			}
		})
	}
	if os.Getenv(powerTrims) != "" {
		wait.Go(func() { trimForPower(t, e) })
	}
	wait.Wait()
}

func tell(say *sync.Mutex, format string, args ...any) {
	say.Lock()
	defer say.Unlock()
	fmt.Fprintf(os.Stdout, format, args...)
}
