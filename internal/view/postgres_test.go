package view

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
)

var postgresBin = flag.String("postgres", "", "folder with initdb and pg_ctl of PostgreSQL: what is tested of views is tested on a server of that, too")

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if started != nil {
		err := started.stop()
		if err := errors.Join(err, os.RemoveAll(started.dir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// each runs a test with a view in a file and, where there is one, on a server.
func each(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "") })
	t.Run("postgres", func(t *testing.T) { test(t, postgres(t).dsn) })
}

// postgres is the server of these tests. It is started by the first that needs it.
func postgres(t *testing.T) *cluster {
	t.Helper()
	if *postgresBin == "" {
		t.Skip("DID NOT RUN: it needs -postgres DIR, a folder with initdb and pg_ctl")
	}
	c, err := start()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var (
	started *cluster
	start   = sync.OnceValues(func() (*cluster, error) {
		c, err := newCluster(*postgresBin)
		if err == nil {
			err = c.start()
		}
		started = c
		return c, err
	})
)

// cluster is a server with its folder. It listens on a socket there alone.
type cluster struct {
	bin, dir, dsn string
	as            *syscall.Credential // PostgreSQL does not run as root
}

func newCluster(bin string) (*cluster, error) {
	dir, err := os.MkdirTemp("/tmp", "polity-pg-") // a socket's path may not be long
	if err != nil {
		return nil, err
	}
	c := &cluster{bin: bin, dir: dir, dsn: "postgres://postgres@/postgres?host=" + dir}
	if os.Geteuid() == 0 {
		u, err := user.Lookup("nobody")
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		c.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
	}
	return c, c.run("initdb", "-D", c.data(), "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C", "--data-checksums")
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *cluster) run(name string, args ...string) error {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir = c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	out, err := os.Create(filepath.Join(c.dir, name+".log")) // a pipe would stay open as long as the server
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w: %s", name, err, text)
	}
	return nil
}

func (c *cluster) start() error {
	return c.run("pg_ctl", "-D", c.data(), "-w", "-o", "-c listen_addresses='' -c unix_socket_directories="+c.dir+" -c fsync=off", "start")
}

func (c *cluster) stop() error {
	return c.run("pg_ctl", "-D", c.data(), "-w", "-m", "immediate", "stop")
}

// TestServerGone stops the server and starts it again: the kernel goes on, the lag shows, and the view catches up.
func TestServerGone(t *testing.T) {
	c := postgres(t)
	p := openLog(t, t.TempDir())
	v, stop := openView(t, c.dsn, t.TempDir(), p)
	defer stop()
	runs(t, p, 0, 3)
	caughtUp(t, v, p)
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	runs(t, p, 3, 6)
	for v.State().Problem == "" {
		time.Sleep(time.Millisecond)
	}
	if s := v.State(); s.Behind == 0 || s.Lag == 0 {
		t.Errorf("nothing shows: %+v", s)
	}
	q := polity.Lookup{Of: polity.LookupRuns, Wait: polity.Duration(time.Millisecond)}
	if _, err := v.Lookup(t.Context(), q, Live{}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("asked without a server: %v", err)
	}
	late, stopLate := openView(t, c.dsn, t.TempDir(), p) // a node that starts meanwhile
	defer stopLate()
	if s := late.State(); s.Problem == "" {
		t.Errorf("begun without a server: %+v", s)
	}
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	runs(t, p, 6, 8)
	for _, v := range []*View{v, late} {
		caughtUp(t, v, p)
		if got := ids(ask(t, v, polity.Lookup{Of: polity.LookupRuns}).Runs); got != "7 6 5 4 3 2 1 0" {
			t.Errorf("afterwards: %s", got)
		}
		if s := v.State(); s.Problem != "" {
			t.Errorf("afterwards: %s", s.Problem)
		}
	}
}

// TestServerShared has two nodes use one database, and a third that is given the schema of the first.
func TestServerShared(t *testing.T) {
	dsn := postgres(t).dsn
	one, two := openLog(t, t.TempDir()), openLog(t, t.TempDir())
	runs(t, one, 0, 5)
	runs(t, two, 0, 2)
	v, stop := openView(t, dsn+"&search_path=acme", t.TempDir(), one)
	defer stop()
	w, stopW := openView(t, dsn, t.TempDir(), two)
	defer stopW()
	caughtUp(t, v, one)
	caughtUp(t, w, two)
	before := Content(t, v)
	third, stopThird := openView(t, dsn+"&search_path=acme", t.TempDir(), two)
	for !strings.Contains(third.State().Problem, "another node writes to schema acme") {
		time.Sleep(time.Millisecond)
	}
	stopThird()
	if d := cmp.Diff(before, Content(t, v)); d != "" {
		t.Error(d)
	}
	if got := ids(ask(t, w, polity.Lookup{Of: polity.LookupRuns}).Runs); got != "1 0" {
		t.Errorf("the other node: %s", got)
	}
}

// TestServerRefuses wants nobody's tables to be touched, and a DSN that cannot be used to be refused.
func TestServerRefuses(t *testing.T) {
	for _, dsn := range []string{"postgres://a b", "nonsense", "postgres:///x?search_path=a,b", `postgres:///x?search_path="$user"`} {
		if _, err := Open(Config{Dir: t.TempDir(), DSN: dsn}); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", dsn, err)
		}
	}
	c := postgres(t)
	s, err := openServer(c.dsn, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.each(t.Context(), "CREATE SCHEMA theirs", "CREATE TABLE theirs.runs (precious TEXT)"); err != nil {
		t.Fatal(err)
	}
	p := openLog(t, t.TempDir())
	v, stop := openView(t, c.dsn+"&search_path=theirs", t.TempDir(), p)
	defer stop()
	if got := v.State().Problem; !strings.Contains(got, "has a table runs that is no view's") {
		t.Errorf("problem %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = v.Rebuild(ctx) // which is not to drop it either
	if err := s.each(t.Context(), "SELECT precious FROM theirs.runs"); err != nil {
		t.Error(err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
