package sandbox

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestEndLeft makes programs that are stopped before their first instruction, as those are that were just being started when polity was killed.
func TestEndLeft(t *testing.T) {
	runtime.LockOSThread() // who traces is a thread
	defer runtime.UnlockOSThread()
	dir := t.TempDir()
	begin := func(home string, traced bool) *exec.Cmd {
		cmd := exec.Command("/bin/sleep", "60")
		cmd.Env = []string{"PATH=/bin", "HOME=" + home}
		cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: traced, Pdeathsig: unix.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if traced {
			if err := stopped(cmd.Process.Pid); err != nil {
				t.Fatal(err)
			}
		}
		return cmd
	}
	ours, running := begin(filepath.Join(dir, "run-1"), true), begin(filepath.Join(dir, "run-2"), false)
	others := begin(dir+"-of-others/run-3", true)
	if err := EndLeft(dir); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		cmd  *exec.Cmd
		gone bool
	}{"left": {ours, true}, "running": {running, false}, "of others": {others, false}} {
		if !tt.gone {
			if err := tt.cmd.Process.Kill(); err != nil {
				t.Errorf("%s was ended: %v", name, err)
			}
		}
		if err := tt.cmd.Wait(); err == nil || tt.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
			t.Errorf("%s: %v", name, tt.cmd.ProcessState)
		}
	}
}
