package sandbox

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"polity.run"
	"polity.run/fault"
	"polity.run/tool"
)

// attacker returns the command of an attack.
func attacker(t *testing.T, name string, args ...string) Command {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Command{Args: append([]string{self}, args...), Home: t.TempDir(), Env: []string{attackEnv + "=" + name, "GORACE=atexit_sleep_ms=0"}, OutputMax: 1 << 16}
}

// secret makes a file outside of all that a program is given.
func secret(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "old")
	if err := os.WriteFile(file, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// refusedAll runs an attack that must succeed in nothing, and try something at least.
func refusedAll(t *testing.T, c Command, k kernel) {
	t.Helper()
	out, err := c.run(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "done: ") || !strings.Contains(string(out), "refused: ") {
		t.Errorf("the attack succeeded:\n%s", out)
	}
	t.Logf("%s", out)
}

// kernels are this kernel, and what it would be without some of its protections.
func kernels() map[string]kernel {
	whole := probe()
	alone := whole
	alone.namespaces, alone.noNamespace = 0, unix.EPERM
	late := whole
	late.ptrace = unix.EPERM
	all := map[string]kernel{"whole": whole, "no namespaces": alone, "no ptrace": late}
	if os.Geteuid() == 0 {
		user := whole
		user.namespaces |= unix.CLONE_NEWUSER
		all["user namespace"] = user
	}
	return all
}

func TestAttacks(t *testing.T) {
	file := secret(t)
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range kernels() {
		for what, c := range map[string]Command{
			"read":          attacker(t, "read", "/etc/shadow", filepath.Join(home, ".profile"), file, "/proc/1/environ", "/proc/self/environ", "/run/x", "/var/x"),
			"write":         attacker(t, "write", filepath.Dir(file)),
			"connect":       attacker(t, "connect", "tcp!169.254.169.254:80", "udp!169.254.169.254:53", "tcp!"+tcp.Addr().String(), "unix!"+socket, "unix!@abstract"),
			"parent":        attacker(t, "parent", strconv.Itoa(os.Getpid())),
			"root":          attacker(t, "root"),
			"shared memory": attacker(t, "shared memory"),
		} {
			t.Run(name+"/"+what, func(t *testing.T) { refusedAll(t, c, k) })
		}
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "secret" {
		t.Errorf("the file is %q, %v", data, err)
	}
}

// TestFolder is the run's folder: to read, and to write where that is declared.
func TestFolder(t *testing.T) {
	file := secret(t)
	c := attacker(t, "write", filepath.Dir(file))
	c.Folder = filepath.Dir(file)
	refusedAll(t, c, probe())
	c = attacker(t, "read", file)
	c.Folder = filepath.Dir(file)
	if out, err := Run(t.Context(), c); err != nil || strings.Contains(string(out), "refused") {
		t.Errorf("reading was refused: %s %v", out, err)
	}
	for _, s := range []tool.Sandbox{{Folder: tool.AccessWrite}, {Write: []string{filepath.Dir(file)}}} {
		if err := os.WriteFile(file, []byte("secret"), 0o644); err != nil {
			t.Fatal(err)
		}
		c = attacker(t, "write", filepath.Dir(file))
		c.Sandbox = s
		if s.Folder != "" {
			c.Folder = filepath.Dir(file)
		}
		out, err := Run(t.Context(), c)
		for _, want := range []string{"done: create", "done: append", "done: truncate", "done: remove", "done: mkdir", "done: symlink"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%+v: got %s %v, want %q", s, out, err, want)
			}
		}
		for _, made := range []string{"new", "link", "sub"} {
			if err := os.Remove(filepath.Join(filepath.Dir(file), made)); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestNetworkIsAllowed(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := tcp.Addr().String()
	c := attacker(t, "connect", "tcp!"+address, "unix!"+socket)
	c.Sandbox.Network = true
	out, err := Run(t.Context(), c)
	if err != nil || !strings.Contains(string(out), "done: connect tcp!"+address) || !strings.Contains(string(out), "refused: connect unix!") {
		t.Errorf("got %s %v", out, err)
	}
}

// TestLimits: what takes too much is stopped.
func TestLimits(t *testing.T) {
	const mib = 1 << 20
	grow := `BEGIN { s = "0123456789abcdef"; while (length(s) < 50000000) s = s s; while (1); }`
	together := Command{Args: []string{"sh", "-c", `for i in 1 2 3 4 5 6 7 8; do awk "$GROW" & done; wait`}, Home: t.TempDir(), Env: []string{"GROW=" + grow}, OutputMax: 100}
	bomb := Command{Args: []string{"sh", "-c", "f() { f | f & }; f; sleep 5"}, Home: t.TempDir(), OutputMax: 100}
	for name, test := range map[string]struct {
		c     Command
		s     tool.Sandbox
		kind  fault.Kind
		bound string
	}{
		"2 GB":                  {attacker(t, "allocate", strconv.Itoa(2000*mib)), tool.Sandbox{}, fault.Failed, ""},
		"more than it may have": {attacker(t, "allocate", strconv.Itoa(200*mib)), tool.Sandbox{Memory: 128 * mib}, fault.Failed, ""},
		"a little by many":      {together, tool.Sandbox{Memory: 256 * mib}, fault.Exhausted, "memory"},
		"many files":            {attacker(t, "fill"), tool.Sandbox{Disk: 16 * mib}, fault.Exhausted, "disk"},
		"processor time":        {attacker(t, "burn"), tool.Sandbox{CPU: polity.Duration(time.Second)}, fault.Exhausted, "cpu"},
		"fork bomb":             {bomb, tool.Sandbox{Processes: 64}, fault.Exhausted, "processes"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("nothing stopped it"))
			defer cancel()
			test.c.Sandbox = test.s
			out, err := Run(ctx, test.c)
			if name == "fork bomb" && os.Geteuid() != 0 && (err == nil || errors.Is(err, fault.Failed)) {
				return // the kernel refused to fork, and so the watch found no more
			}
			if !errors.Is(err, test.kind) || fault.Of(err).Bound != test.bound || strings.Contains(string(out), "done: ") {
				t.Errorf("got %q %v (bound %q), want %s %s", out, err, fault.Of(err).Bound, test.kind, test.bound)
			}
		})
	}
	one := attacker(t, "fill one")
	one.Sandbox.Disk = 16 * mib
	if out, err := Run(t.Context(), one); strings.Contains(string(out), "done: ") || err != nil && !errors.Is(err, fault.Exhausted) {
		t.Errorf("one large file: got %s %v", out, err)
	}
}

// TestNothingOutlives: what a program started ends with it, whatever it did to be forgotten.
func TestNothingOutlives(t *testing.T) {
	if !probe().offers()[3].Offered {
		t.Fatal("this kernel has no process namespaces for this user: the test needs one that has")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := attacker(t, "outlive", self)
	if out, err := Run(t.Context(), c); err != nil || !strings.Contains(string(out), "done: start") {
		t.Fatalf("got %s %v", out, err)
	}
	f, err := os.Open(filepath.Join(c.Home, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("the lock is still held: %v", err)
	}
}

// TestNothingOutlivesTheNode kills a process that runs a program: the program ends.
func TestNothingOutlivesTheNode(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	node := exec.Command(self, self, home)
	node.Env = []string{attackEnv + "=node"}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(home, "lock")
	for {
		if _, err := os.Stat(lock + "ed"); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := node.Wait(); err == nil {
		t.Error("the node was not killed")
	}
	f, err := os.Open(lock)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil { // it waits for whoever has it
		t.Error(err)
	}
}

func TestRequire(t *testing.T) {
	none := kernel{noLandlock: unix.ENOSYS, seccomp: unix.EINVAL, ptrace: unix.EPERM, noNamespace: unix.EPERM}
	for _, p := range tool.Protections() {
		c := attacker(t, "tell")
		c.Sandbox.Require = []tool.Protection{p}
		if _, err := c.run(t.Context(), none); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), string(p)) {
			t.Errorf("%s: got %v", p, err)
		}
	}
	if out, err := attacker(t, "tell").run(t.Context(), none); err != nil {
		t.Errorf("without any protection: %s %v", out, err)
	}
	for _, o := range Support() {
		if !o.Offered || o.How == "" {
			t.Logf("this kernel lacks %+v", o)
		}
	}
}

func TestEnvironmentIsWhatIsGiven(t *testing.T) {
	t.Setenv("SECRET", "x")
	c := attacker(t, "tell")
	out, err := Run(t.Context(), c)
	want := strconv.Itoa(os.Getuid()) + " 1 " + c.Home + " 5"
	if err != nil || string(out) != want {
		t.Errorf("got %s %v, want %s", out, err, want)
	}
}

// TestManyAtOnce: each has its own thread, and its own answer.
func TestManyAtOnce(t *testing.T) {
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			text := strconv.Itoa(i)
			out, err := Run(t.Context(), Command{Args: []string{"cat"}, Home: t.TempDir(), Stdin: []byte(text), OutputMax: 10})
			if err != nil || string(out) != text {
				t.Errorf("got %q %v, want %q", out, err, text)
			}
		})
	}
	all.Wait()
	if data, err := os.ReadFile("/proc/self/status"); err != nil || !strings.Contains(string(data), "NoNewPrivs:\t0") || !strings.Contains(string(data), "Seccomp:\t0") {
		t.Errorf("this process is restricted itself: %s %v", data, err)
	}
	if err := os.WriteFile(filepath.Join(t.TempDir(), "free"), nil, 0o600); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeStarted(t *testing.T) {
	plain := secret(t)
	for name, test := range map[string]struct {
		c    Command
		kind fault.Kind
	}{
		"no such program":   {Command{Args: []string{"no-such-program"}}, fault.NotFound},
		"no such file":      {Command{Args: []string{"/no/such/program"}}, fault.NotFound},
		"not executable":    {Command{Args: []string{plain}}, fault.Denied},
		"no such path":      {Command{Args: []string{"true"}, Sandbox: tool.Sandbox{Read: []string{"/no/such/path"}}}, fault.Invalid},
		"relative path":     {Command{Args: []string{"true"}, Sandbox: tool.Sandbox{Read: []string{"x"}}}, fault.Invalid},
		"off, and required": {Command{Args: []string{"true"}, Sandbox: tool.Sandbox{Off: true, Require: tool.Protections()}}, fault.Invalid},
	} {
		test.c.Home = t.TempDir()
		if _, err := Run(t.Context(), test.c); !errors.Is(err, test.kind) {
			t.Errorf("%s: got %v, want %s", name, err, test.kind)
		}
	}
}

// BenchmarkRun is what a program costs that does nothing.
func BenchmarkRun(b *testing.B) {
	for name, s := range map[string]tool.Sandbox{"off": {Off: true}, "on": {}} {
		b.Run(name, func(b *testing.B) {
			c := Command{Args: []string{"true"}, Home: b.TempDir(), OutputMax: 10, Sandbox: s}
			for b.Loop() {
				if _, err := Run(b.Context(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzStat(f *testing.F) {
	f.Add("1 (a b) S 0 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 3 0 1 1 7 1")
	f.Add("1 (a) b) R")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if s, ok := parseStat(text); !ok && s.threads != 0 && s.memory != 0 && s.parent != 0 && s.session != 0 {
			t.Errorf("%q was read in part: %+v", text, s)
		}
	})
}
