// Package bustest runs NATS servers in processes of their own, for tests.
//
// It exists because a server that shares the test's process cannot be killed. The process is the test's program again: its TestMain calls [Main] first.
package bustest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	environ  = "POLITY_TEST_NATS_SERVER" // names the configuration of the server that a process is
	readyMax = 60 * time.Second
)

// Main is the server if the process was started to be one, and does not return then.
func Main() {
	file := os.Getenv(environ)
	if file == "" {
		return
	}
	opts, err := server.ProcessConfigFile(file)
	if err == nil {
		opts.LogFile, opts.NoSigs = file+".log", true
		var s *server.Server
		if s, err = server.NewServer(opts); err == nil {
			s.ConfigureLogger()
			s.Start()
			s.WaitForShutdown()
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// The users of every server: of the account that nodes have, of agents' in another account, and of the system's. Their password is Password.
const (
	User     = "node"
	Stranger = "agent"
	System   = "sys"
	Password = "secret"
)

const accounts = `
accounts {
  POLITY { jetstream: enabled, users: [{user: node, password: secret}%s] }
  AGENTS { users: [{user: agent, password: secret}] }
  SYS { users: [{user: sys, password: secret}] }
}
system_account: SYS
`

// Server is one server. It listens where it did when it is started again.
type Server struct {
	t     testing.TB
	Addr  string
	Store string
	file  string
	cmd   *exec.Cmd
}

// Start starts a server that is alone. users are more of the node's account, as the configuration has them; more is the rest of the configuration.
func Start(t testing.TB, users, more string) *Server {
	t.Helper()
	if users != "" {
		users = ", " + users
	}
	return start(t, "n1", Free(t), fmt.Sprintf(accounts, users)+more)
}

// Open starts a server that lets everybody in.
func Open(t testing.TB) *Server {
	t.Helper()
	return start(t, "n1", Free(t), "")
}

// Cluster starts n servers in a cluster. route, if not nil, says where a server reaches another one.
func Cluster(t testing.TB, n int, route func(from, to int, addr string) string) []*Server {
	t.Helper()
	var links []string
	for range n {
		links = append(links, Free(t))
	}
	var all []*Server
	for i := range n {
		var routes []string
		for j := range n {
			at := links[j]
			if route != nil && i != j {
				at = route(i, j, at)
			}
			if i != j {
				routes = append(routes, "nats://"+at)
			}
		}
		conf := fmt.Sprintf("cluster { name: c, listen: %s, no_advertise: true, pool_size: -1, routes: [%s] }\n", links[i], strings.Join(routes, ", "))
		all = append(all, prepare(t, fmt.Sprintf("n%d", i+1), Free(t), fmt.Sprintf(accounts, "")+conf))
	}
	for _, s := range all {
		s.begin()
	}
	for _, s := range all {
		s.await()
	}
	return all
}

func start(t testing.TB, name, addr, conf string) *Server {
	t.Helper()
	s := prepare(t, name, addr, conf)
	s.Start()
	return s
}

func prepare(t testing.TB, name, addr, conf string) *Server {
	t.Helper()
	dir := t.TempDir()
	s := &Server{t: t, Addr: addr, Store: filepath.Join(dir, "js"), file: filepath.Join(dir, name+".conf")}
	conf = fmt.Sprintf("server_name: %s\nlisten: %s\njetstream { store_dir: %q, max_file_store: 20GB }\n%s", name, addr, s.Store, conf)
	if err := os.WriteFile(s.file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.Kill()
		}
	})
	return s
}

// Start starts the server, and returns when it answers.
func (s *Server) Start() {
	s.t.Helper()
	s.begin()
	s.await()
}

func (s *Server) begin() {
	s.t.Helper()
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = append(os.Environ(), environ+"="+s.file)
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = dying()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) await() {
	s.t.Helper()
	for end := time.Now().Add(readyMax); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", s.Addr)
		if err == nil {
			_ = c.Close() // it was there
			return
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(s.file + ".log")
			s.t.Fatalf("%s does not listen: %v\n%s", s.file, err, log)
		}
	}
}

// Kill kills the server as kill -9 does.
func (s *Server) Kill() {
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Error(err)
	}
	_ = s.cmd.Wait() // it says that it was killed
	s.cmd = nil
}

// Signal sends the process a signal, as SIGSTOP.
func (s *Server) Signal(sig os.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Error(err)
	}
}

// URL is where clients connect to.
func (s *Server) URL() string { return "nats://" + s.Addr }

// Conn connects as a user.
func (s *Server) Conn(user string, more ...nats.Option) *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect(s.URL(), append(more, nats.UserInfo(user, Password))...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// Free is an address that nobody listens on.
func Free(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
