package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// attackEnv tells the test binary to be an attacker.
const attackEnv = "SANDBOX_ATTACK"

func TestMain(m *testing.M) {
	name := os.Getenv(attackEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	attack, known := attacks[name]
	if !known {
		fmt.Fprintln(os.Stderr, "no such attack")
		os.Exit(9)
	}
	attack(os.Args[1:])
}

// attacks are what a program may try, by name. Each prints "done: ..." for what it succeeded in, and for what it was refused the reason.
var attacks = map[string]func(args []string){
	"read": func(paths []string) {
		for _, p := range paths {
			_, err := os.ReadFile(p)
			tell("read "+p, err)
			_, err = os.ReadDir(filepath.Dir(p))
			tell("list "+filepath.Dir(p), err)
		}
	},
	"write": func(args []string) {
		dir := args[0]
		old := filepath.Join(dir, "old")
		tell("create", os.WriteFile(filepath.Join(dir, "new"), nil, 0o600))
		tell("append", appendTo(old))
		tell("truncate", os.Truncate(old, 0))
		tell("remove", os.Remove(old))
		tell("mkdir", os.Mkdir(filepath.Join(dir, "sub"), 0o700))
		tell("symlink", os.Symlink("/etc", filepath.Join(dir, "link")))
		tell("rename", os.Rename(old, filepath.Join(os.Getenv("HOME"), "stolen")))
		tell("hard link", os.Link(old, filepath.Join(os.Getenv("HOME"), "linked")))
		tell("chmod", os.Chmod(old, 0o777))
		tell("chown", os.Lchown(old, 1, 1))
		tell("times", os.Chtimes(old, time.Unix(1, 0), time.Unix(1, 0)))
		tell("xattr", unix.Setxattr(old, "user.x", []byte("y"), 0))
	},
	"connect": func(args []string) {
		for _, address := range args {
			network, where, _ := strings.Cut(address, "!")
			c, err := net.Dial(network, where)
			if err == nil {
				err = c.Close()
			}
			tell("connect "+address, err)
		}
		for name, family := range map[string]int{"packet": unix.AF_PACKET, "vsock": unix.AF_VSOCK, "bluetooth": unix.AF_BLUETOOTH, "netlink": unix.AF_NETLINK} {
			_, err := unix.Socket(family, unix.SOCK_RAW, 0)
			tell("socket "+name, err)
		}
		_, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0)
		tell("io_uring", asError(errno))
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil || pair[0] == 0 {
			fmt.Println("a pair of its own was refused:", err)
		}
	},
	"allocate": func(args []string) {
		size, _ := strconv.Atoi(args[0])
		data := make([]byte, size)
		for i := 0; i < size; i += 4096 {
			data[i] = 1
		}
		fmt.Println("done: allocated", len(data))
	},
	"shared memory": func([]string) {
		_, _, errno := unix.Syscall(unix.SYS_SHMGET, 0, 1<<20, 0o600)
		tell("shmget", asError(errno))
		_, err := unix.MemfdCreate("x", 0)
		tell("memfd", err)
		tell("/dev/shm", os.WriteFile("/dev/shm/x", nil, 0o600))
		tell("/tmp", os.WriteFile("/tmp/x", nil, 0o600))
	},
	"fill": func([]string) {
		block := make([]byte, 1<<20)
		for i := range 4096 {
			if err := os.WriteFile(filepath.Join(os.Getenv("HOME"), strconv.Itoa(i)), block, 0o600); err != nil {
				tell("file", err)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Println("done: filled")
	},
	"fill one": func([]string) {
		f, err := os.Create(filepath.Join(os.Getenv("HOME"), "one"))
		if err != nil {
			fmt.Println(err)
			return
		}
		for range 64 {
			if _, err = f.Write(make([]byte, 1<<20)); err != nil {
				break
			}
		}
		tell("64 MiB", err)
	},
	"parent": func(args []string) {
		pid, _ := strconv.Atoi(args[0])
		for _, p := range []int{pid, os.Getppid()} {
			if p == 0 {
				continue // in a namespace of its own it has none
			}
			tell("signal", syscall.Kill(p, 0))
			tell("kill", syscall.Kill(p, syscall.SIGKILL))
			runtime.LockOSThread()
			tell("attach", syscall.PtraceAttach(p))
			tell("seize", asError(errnoOf(unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(p), 0, 0, 0, 0))))
			_, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p))
			tell("environ", err)
			_, err = os.OpenFile(fmt.Sprintf("/proc/%d/mem", p), os.O_RDWR, 0)
			tell("mem", err)
			var local, remote unix.Iovec
			_, err = unix.ProcessVMReadv(p, []unix.Iovec{local}, []unix.RemoteIovec{{Base: uintptr(remote.Len), Len: 1}}, 0)
			tell("process_vm_readv", err)
			limit := unix.Rlimit{Cur: 1, Max: 1}
			tell("prlimit", unix.Prlimit(p, unix.RLIMIT_NOFILE, &limit, nil))
		}
	},
	"root": func([]string) {
		tell("mount", unix.Mount("none", os.Getenv("HOME"), "tmpfs", 0, ""))
		tell("chroot", unix.Chroot(os.Getenv("HOME")))
		tell("unshare", unix.Unshare(unix.CLONE_NEWUSER))
		tell("hostname", unix.Sethostname([]byte("x")))
		tell("module", unix.FinitModule(0, "", 0))
		tell("device", unix.Mknod(filepath.Join(os.Getenv("HOME"), "mem"), unix.S_IFCHR|0o600, 1<<8|1))
		tell("clock", unix.Settimeofday(&unix.Timeval{Sec: time.Now().Unix()}))
		tell("setuid", syscall.Setuid(1))
		tell("raise a limit", unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}))
	},
	"outlive": func(args []string) {
		// A child of a child, in a session of its own, without the pipes: it holds a lock as long as it lives.
		lock := filepath.Join(os.Getenv("HOME"), "lock")
		if len(args) > 1 {
			f, err := os.Create(lock)
			if err == nil {
				err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
			}
			if err == nil {
				err = os.WriteFile(lock+"ed", nil, 0o600)
			}
			tell("lock", err)
			select {}
		}
		cmd := exec.Command(args[0], args[0], "again")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		tell("start", cmd.Start())
		for {
			if _, err := os.Stat(lock + "ed"); err == nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	},
	"node": func(args []string) { // no attacker, but what runs one
		c := Command{Args: []string{args[0], args[0], "again"}, Home: args[1], Env: []string{attackEnv + "=outlive"}, OutputMax: 1 << 10}
		_, err := Run(context.Background(), c)
		tell("run", err)
	},
	"burn": func([]string) {
		for i := 0; ; i++ {
			runtime.KeepAlive(i)
		}
	},
	"tell": func([]string) { fmt.Println(os.Getuid(), os.Getpid(), os.Getenv("HOME"), len(os.Environ())) },
}

func tell(what string, err error) {
	if err == nil {
		fmt.Println("done:", what)
		return
	}
	fmt.Printf("refused: %s: %v\n", what, err)
}

func asError(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

func errnoOf(_, _ uintptr, errno syscall.Errno) syscall.Errno { return errno }

func appendTo(path string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
