// Package sandbox runs programs that reach only what they are given.
//
// It exists so that a program which an agent starts, or which a model talked into something, can neither read the user's keys nor send
// them away, and takes nothing of the machine that it was not given. The life of a program:
//
//	Command -> a thread of its own, restricted for good (landlock, seccomp, no capabilities)
//	  -> forked from it into its own process namespace, stopped before its first instruction
//	  -> resource limits -> it runs, watched -> it ends, and all that it started with it
//
// What a kernel does not offer is left out: [Support] says what this one offers, and a Sandbox may require it.
package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"polity.run/fault"
	"polity.run/tool"
)

const (
	complaintsMax = 4 << 10         // bytes of a program's complaints that go into a fault
	killGrace     = 2 * time.Second // pipes of a killed program are waited for this long
	defaultPath   = "/usr/local/bin:/usr/bin:/bin"
)

// Command is a program to run.
type Command struct {
	Name string // in faults; "" is the program
	// Args are the program and its arguments. No shell reads them. A name without a slash is looked up in PATH.
	Args []string
	// Home is the program's own folder: it may read, write and execute there. It is its HOME and TMPDIR.
	Home string
	// Folder is the run's folder, which it may read; "" for none.
	Folder string
	// Dir is where it starts; "" is Home.
	Dir string
	// Env lists NAME=value pairs. Nothing else of the environment reaches the program but PATH, HOME and TMPDIR.
	Env       []string
	Stdin     []byte
	OutputMax int // bytes of standard output
	Sandbox   tool.Sandbox
}

// Run runs a program to its end and returns what it printed. When ctx ends, the program is killed with all that it started, and
// the fault is ctx's cause. A program that does not exist is fault.NotFound; one that may not be started, or not as its Sandbox requires it,
// fault.Denied; one that exceeds a limit, fault.Exhausted; one that exits with another code than 0, fault.Failed with the
// end of its complaints.
func Run(ctx context.Context, c Command) ([]byte, error) { return c.run(ctx, probe()) }

// Support says what this kernel offers, one Offer for each protection.
func Support() []Offer { return probe().offers() }

func (c Command) run(ctx context.Context, k kernel) ([]byte, error) {
	name := cmp.Or(c.Name, c.Args[0])
	if err := c.Sandbox.Check(); err != nil {
		return nil, err
	}
	if err := missing(c.Sandbox, k.offers()); err != nil {
		return nil, fault.Denied.New("%s: %w", name, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir = c.Dir
	if cmd.Dir == "" {
		cmd.Dir = c.Home
	}
	cmd.Env = append([]string{"PATH=" + path(), "HOME=" + c.Home, "TMPDIR=" + c.Home}, c.Env...)
	cmd.Stdin = bytes.NewReader(c.Stdin)
	out := &limited{max: c.OutputMax, full: func() {
		cancel(fault.Exceeded("output", "%s: more than %d bytes of output", name, c.OutputMax))
	}}
	complaints := &tail{max: complaintsMax}
	cmd.Stdout, cmd.Stderr = out, complaints
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killGrace
	var err error
	if c.Sandbox.Off {
		err = cmd.Run()
	} else {
		err = confined(cmd, c, k, func(why error) {
			e := fault.Of(why)
			cancel(&fault.Error{Kind: e.Kind, Text: name + ": " + e.Text, Bound: e.Bound})
		})
	}
	var known *fault.Error
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, &known):
		return nil, known.Kind.New("%s: %w", name, err)
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist):
		return nil, fault.NotFound.New("%s: no such program: %w", name, err)
	case errors.Is(err, os.ErrPermission):
		return nil, fault.Denied.New("%s: cannot be started: %w", name, err)
	case err != nil && overCPU(cmd, c.Sandbox):
		return nil, fault.Exceeded("cpu", "%s: more than %s of processor time", name, time.Duration(c.Sandbox.CPU))
	case err != nil:
		return nil, fault.Failed.New("%s: %w: %s%s", name, err, strings.TrimSpace(string(complaints.buf)), c.hint(complaints.buf))
	}
	return bytes.TrimSpace(out.buf.Bytes()), nil
}

// hint points at the sandbox where a program complains as one does that was refused something.
func (c Command) hint(complaints []byte) string {
	if c.Sandbox.Off {
		return ""
	}
	for _, sign := range []string{"ermission denied", "not permitted", "EACCES", "EPERM"} {
		if bytes.Contains(complaints, []byte(sign)) {
			return " (it may be the sandbox that refused it: see sandbox in docs/guide/programs.md)"
		}
	}
	return ""
}

// overCPU says whether the kernel killed a program for its processor time. It counts that by its ticks and reports it precisely, and so the
// two differ.
func overCPU(cmd *exec.Cmd, s tool.Sandbox) bool {
	if cmd.ProcessState == nil || s.CPU <= 0 {
		return false
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return ok && status.Signaled() && (status.Signal() == syscall.SIGXCPU || status.Signal() == syscall.SIGKILL) && 2*used >= time.Duration(s.CPU)
}

// Offer is one protection, and what this kernel has for it.
type Offer struct {
	Protection tool.Protection
	Offered    bool
	How        string // what it is made of, or why it is missing
}

// missing returns nil, or the first protection that is required and not offered.
func missing(s tool.Sandbox, offers []Offer) error {
	for _, o := range offers {
		if !o.Offered && slices.Contains(s.Require, o.Protection) {
			return fault.Denied.New("sandbox: %s cannot be protected here: %s", o.Protection, o.How)
		}
	}
	return nil
}

// orDefault returns s with its limits set.
func orDefault(s tool.Sandbox) tool.Sandbox {
	if s.Memory == 0 {
		s.Memory = tool.SandboxMemory
	}
	if s.Disk == 0 {
		s.Disk = tool.SandboxDisk
	}
	if s.Processes == 0 {
		s.Processes = tool.SandboxProcesses
	}
	return s
}

func path() string {
	if p := os.Getenv("PATH"); p != "" {
		return p
	}
	return defaultPath
}
