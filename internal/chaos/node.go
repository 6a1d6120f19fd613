package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"polity.run"
	"polity.run/client"
)

const (
	readyMax = 60 * time.Second // a node that has begun answers within this time
	leaveMax = 30 * time.Second // a node that is asked to leave has left
	lookStep = 20 * time.Millisecond
)

// node is the real binary that serves the state folder: one process after the other. Faults end it, and start begins the next.
type node struct {
	polity   string // the binary
	sync     string // disk or os
	manifest string // what it watches
	dir      string // for what it prints
	state    string
	violate  func(v violation)
	opened   func(id polity.RunID, agent string) // a run that it says it has opened

	mu        sync.Mutex
	process   *process
	client    *client.Client // nil while it does not answer
	begun     int            // processes
	forgiving bool           // it may end by itself: its disk is full
}

// process is one process of the node.
type process struct {
	cmd      *exec.Cmd
	log      string
	gone     chan struct{} // closed when it has ended
	err      error         // then: how
	expected bool          // that it ends
}

// spawn starts a process that serves the state, or waits for it.
func (n *node) spawn() (*process, error) {
	n.mu.Lock()
	n.begun++
	log := filepath.Join(n.dir, fmt.Sprintf("node-%03d.log", n.begun))
	n.mu.Unlock()
	p := &process{log: log, gone: make(chan struct{})}
	p.cmd = exec.Command(n.polity, "watch", n.manifest, "--state", n.state, "--sync", n.sync, "-o", "json", "--at-once", "500")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours
	notes, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	p.cmd.Stderr = notes
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, notes.Close())
	}
	go func() {
		n.listen(out)
		p.err = errors.Join(p.cmd.Wait(), notes.Close())
		close(p.gone)
	}()
	return p, nil
}

// listen keeps which runs a process says it has opened. A line that was cut was not said.
func (n *node) listen(out interface{ Read([]byte) (int, error) }) {
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var said struct {
			Event string       `json:"event"`
			Run   polity.RunID `json:"run"`
			Agent string       `json:"agent"`
		}
		if json.Unmarshal(line, &said) == nil && said.Event == "opened" {
			n.opened(said.Run, said.Agent)
		}
	}
}

// lame is a node that does not begin. That is a promise broken, and ends its round.
type lame struct{ how string }

func (l *lame) Error() string { return "the node does not begin: " + l.how }

// start begins a process and returns when it answers. It returns a *lame if it does not.
func (n *node) start(ctx context.Context) error {
	p, err := n.spawn()
	if err != nil {
		return err
	}
	return n.serve(ctx, p)
}

// serve waits until a process answers, and takes it as the node.
func (n *node) serve(whole context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(whole, readyMax)
	defer cancel()
	for {
		c, err := client.Open(n.state)
		if err == nil && c.PID() == p.cmd.Process.Pid {
			if err = c.Alive(ctx); err == nil {
				n.mu.Lock()
				n.process, n.client = p, c
				n.mu.Unlock()
				go n.mind(p)
				return nil
			}
		}
		select {
		case <-p.gone:
			return &lame{fmt.Sprintf("it ended when it began (%v): %s", p.err, tail(p.log))}
		case <-ctx.Done():
			_ = p.cmd.Process.Kill() // it may have ended just now
			<-p.gone
			if whole.Err() != nil {
				return context.Cause(whole)
			}
			return &lame{fmt.Sprintf("it does not answer within %s (%v): %s", readyMax, err, tail(p.log))}
		case <-time.After(lookStep):
		}
	}
}

// mind notices that a process has ended. It is a violation where nothing made it end.
func (n *node) mind(p *process) {
	<-p.gone
	n.mu.Lock()
	if n.process == p {
		n.client = nil
	}
	expected := p.expected || n.forgiving
	n.mu.Unlock()
	if !expected {
		n.violate(violation{Expected: "the node serves until it is ended", Found: fmt.Sprintf("it ended by itself (%v): %s", p.err, tail(p.log))})
	}
}

// expect says that the process will end, and returns it. Nobody is sent to it any more.
func (n *node) expect() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.process.expected = true
	n.client = nil
	return n.process
}

// mayEnd says that the process may end, and that it serves until then.
func (n *node) mayEnd() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.process.expected = true
	return n.process
}

// stays takes that back.
func (n *node) stays(p *process) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p.expected = false
}

// current returns the client of the process that serves, or nil.
func (n *node) current() *client.Client {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.client
}

// running is the process that serves or served last.
func (n *node) running() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process
}

func (n *node) forgive(yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forgiving = yes
}

// kill ends the node at once.
func (n *node) kill() {
	p := n.expect()
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.gone
}

// stop asks the node to leave, and returns how it did.
func (n *node) stop() error {
	p := n.expect()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.gone:
		return p.err
	case <-time.After(leaveMax):
		_ = p.cmd.Process.Kill() // it may have ended just now
		<-p.gone
		return fmt.Errorf("it does not leave within %s of SIGTERM: %s", leaveMax, tail(p.log))
	}
}

const tailMax = 2 << 10 // bytes of a log that are shown

func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-tailMax):])
}
