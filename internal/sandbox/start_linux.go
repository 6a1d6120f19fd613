package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"polity.run/fault"
	"polity.run/tool"
)

// addressSlack is how much more than its memory a program may have of addresses: runtimes reserve many that they never use.
const addressSlack = 16 << 30 // bytes

// openFiles is how many files a program may have open in each of its processes.
const openFiles = 1024

// niceness is by how much a program gives way to this process.
const niceness = 5

// kernel is what this kernel offers.
type kernel struct {
	landlock    int // version; 0 is none
	noLandlock  error
	seccomp     error // why there is no filter
	ptrace      error // why a program cannot be stopped at its start
	namespaces  uintptr
	noNamespace error
}

// probe looks once: what a kernel offers does not change while it runs.
var probe = sync.OnceValue(func() kernel {
	var k kernel
	k.landlock, k.noLandlock = landlockABI()
	k.seccomp = filterOffered()
	apart(func() { k.ptrace = starts(&syscall.SysProcAttr{Ptrace: true}) })
	const own = unix.CLONE_NEWPID | unix.CLONE_NEWIPC
	for _, flags := range []uintptr{own, own | unix.CLONE_NEWUSER} {
		if k.noNamespace = starts(&syscall.SysProcAttr{Cloneflags: flags}); k.noNamespace == nil {
			k.namespaces = flags
			break
		}
	}
	return k
})

// starts says whether a process can be started with the attributes, by a program that does not exist: the kernel looks for it last.
func starts(attr *syscall.SysProcAttr) error {
	p, err := os.StartProcess("/proc/self/no-such-program", nil, &os.ProcAttr{Sys: attr})
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(fault.Internal.New("a program that does not exist was started"), p.Kill())
	}
	return err
}

func (k kernel) offers() []Offer {
	files := Offer{tool.ProtectFiles, k.landlock > 0, fmt.Sprintf("landlock %d", k.landlock)}
	if !files.Offered {
		files.How = fmt.Sprintf("landlock: %v; it needs Linux 5.13, and lsm=landlock at boot", k.noLandlock)
	}
	network := Offer{tool.ProtectNetwork, k.seccomp == nil, "seccomp"}
	if k.seccomp != nil {
		network.How = fmt.Sprintf("seccomp: %v", k.seccomp)
	}
	limits := Offer{tool.ProtectLimits, k.ptrace == nil, "prlimit before the first instruction, and a look at all processes every " + watchEvery.String()}
	if k.ptrace != nil {
		limits.How = fmt.Sprintf("ptrace: %v", k.ptrace)
	}
	processes := Offer{tool.ProtectProcesses, k.namespaces != 0, "a process namespace"}
	switch {
	case k.namespaces == 0:
		processes.How = fmt.Sprintf("process namespace: %v", k.noNamespace)
	case k.namespaces&unix.CLONE_NEWUSER != 0:
		processes.How += " in a user namespace"
	}
	return []Offer{files, network, limits, processes}
}

// apart runs do on a thread of its own that ends with it, so that nothing else ever runs on what is left of the thread.
func apart(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // the main thread cannot end: keep it, and take another one
			defer runtime.UnlockOSThread()
			apart(do)
			return
		}
		do()
	}()
	<-done
}

// confined runs cmd in a sandbox. stop is called with the limit that it exceeds while it runs; it ends cmd's context.
func confined(cmd *exec.Cmd, c Command, k kernel, stop func(error)) error {
	if cmd.Err != nil {
		return cmd.Err
	}
	l := &launch{
		cmd: cmd, kernel: k, limits: orDefault(c.Sandbox), started: make(chan error), release: make(chan struct{}),
		begun: make(chan struct{}), ended: make(chan struct{}),
	}
	if k.landlock > 0 {
		rules, err := newRuleset(c, program(cmd), k.landlock)
		if err != nil {
			return err
		}
		defer rules.close()
		l.rules = rules
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, Pdeathsig: unix.SIGKILL, Cloneflags: k.namespaces, Ptrace: k.ptrace == nil,
	}
	var all sync.WaitGroup
	all.Go(func() { apart(l.thread) })
	err := <-l.started
	if err == nil {
		err = l.prepare()
	}
	if err != nil && cmd.Process != nil {
		err = errors.Join(err, cmd.Process.Kill())
	}
	close(l.release)
	<-l.begun
	if err == nil {
		w := watch{pid: cmd.Process.Pid, home: c.Home, limits: l.limits}
		all.Go(func() { w.run(l.ended, stop) })
	}
	if cmd.Process != nil {
		err = errors.Join(err, cmd.Wait())
	}
	close(l.ended)
	all.Wait()
	return err
}

// program returns the absolute path of what cmd starts.
func program(cmd *exec.Cmd) string {
	if filepath.IsAbs(cmd.Path) {
		return cmd.Path
	}
	return filepath.Join(cmd.Dir, cmd.Path)
}

// launch is the start of one program.
type launch struct {
	cmd     *exec.Cmd
	kernel  kernel
	limits  tool.Sandbox
	rules   *ruleset
	started chan error    // nil when the program is there, and stopped if it can be
	release chan struct{} // closed when it may begin, or was killed
	begun   chan struct{} // closed when it has: before, waiting for its end would find it stopped
	ended   chan struct{} // closed when it has ended
}

// thread is the life of the thread that the program is started from. It lasts as long as the program, which is killed when it ends: so a
// program does not outlive this process.
func (l *launch) thread() {
	err := l.restrict()
	if err == nil {
		err = l.cmd.Start()
	}
	traced := err == nil && l.kernel.ptrace == nil
	if traced {
		err = stopped(l.cmd.Process.Pid)
	}
	l.started <- err
	<-l.release
	if traced {
		_ = unix.PtraceDetach(l.cmd.Process.Pid) // it fails if the program was killed, and then nothing is left to be let go
	}
	close(l.begun)
	<-l.ended
}

// restrict restricts the calling thread, and what it will start, for good.
func (l *launch) restrict() error {
	if err := dropCapabilities(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fault.Unavailable.New("sandbox: no new privileges: %w", err)
	}
	if l.rules != nil {
		if err := l.rules.restrict(); err != nil {
			return err
		}
	}
	if arch, known := filterArch(); known && l.kernel.seccomp == nil {
		return install(filter(arch, l.limits.Network))
	}
	return nil
}

// dropCapabilities sees to it that what the calling thread starts has no capability, even if its user is root. The thread keeps its own:
// it needs them to make namespaces.
func dropCapabilities() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
			break // no user but root has any to give, and a root without the right to drop them has few; or it is a capability of later kernels
		}
		if err != nil {
			return fault.Unavailable.New("sandbox: capabilities: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fault.Unavailable.New("sandbox: capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fault.Unavailable.New("sandbox: capabilities: %w", err)
	}
	sets[0].Inheritable, sets[1].Inheritable = 0, 0
	if err := unix.Capset(&header, &sets[0]); err != nil {
		return fault.Unavailable.New("sandbox: capabilities: %w", err)
	}
	return nil
}

// stopped waits until a program that is traced has stopped before its first instruction, or has ended.
func stopped(pid int) error {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// prepare gives the program, which has not begun, its limits and its user.
func (l *launch) prepare() error {
	pid := l.cmd.Process.Pid
	for resource, most := range l.resources() {
		limit := unix.Rlimit{Cur: most, Max: most}
		if err := unix.Prlimit(pid, resource, &limit, nil); err != nil {
			return fault.Unavailable.New("sandbox: limits: %w", err)
		}
	}
	if err := stepBack(pid); err != nil {
		return err
	}
	if l.kernel.namespaces&unix.CLONE_NEWUSER == 0 {
		return nil
	}
	for _, m := range []struct{ file, text string }{ // in a user namespace it is who it was outside, and nobody else
		{"setgroups", "deny"},
		{"uid_map", fmt.Sprintf("%d %[1]d 1", os.Geteuid())},
		{"gid_map", fmt.Sprintf("%d %[1]d 1", os.Getegid())},
	} {
		if err := os.WriteFile(filepath.Join("/proc", strconv.Itoa(pid), m.file), []byte(m.text), 0); err != nil {
			return fault.Unavailable.New("sandbox: user namespace: %w", err)
		}
	}
	return nil
}

// stepBack has a program and all that it will start give way to this process where processors are short. Otherwise a thousand processes leave
// the watch no time to find them.
func stepBack(pid int) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, pid, niceness); err != nil {
		return fault.Unavailable.New("sandbox: priority: %w", err)
	}
	// Where the kernel shares time by sessions, what is nice within one is nice to nobody else.
	err := os.WriteFile(filepath.Join("/proc", strconv.Itoa(pid), "autogroup"), []byte(strconv.Itoa(niceness)), 0)
	if err == nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.EAGAIN) && os.Geteuid() != 0 {
		return nil // it does not share so, or lets others than root change this ten times a second only: their processes the kernel counts
	}
	return fault.Unavailable.New("sandbox: priority: %w", err)
}

// resources are the limits of each process.
func (l *launch) resources() map[int]uint64 {
	r := map[int]uint64{
		unix.RLIMIT_CORE:   0,
		unix.RLIMIT_NOFILE: openFiles,
		unix.RLIMIT_FSIZE:  uint64(l.limits.Disk),
		unix.RLIMIT_DATA:   uint64(l.limits.Memory),
		unix.RLIMIT_AS:     uint64(l.limits.Memory) + addressSlack,
	}
	if l.limits.CPU > 0 {
		r[unix.RLIMIT_CPU] = uint64((time.Duration(l.limits.CPU) + time.Second - 1) / time.Second)
	}
	// Elsewhere the kernel counts all processes of the user, and for root none: then the watch alone counts.
	if l.kernel.namespaces&unix.CLONE_NEWUSER != 0 && os.Geteuid() != 0 && l.kernel.landlock >= abiRefer {
		r[unix.RLIMIT_NPROC] = uint64(l.limits.Processes)
	}
	return r
}
