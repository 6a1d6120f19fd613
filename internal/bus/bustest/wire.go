package bustest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Wire is the way to a server, which can be disturbed: whoever connects to Addr is connected to the server through it. Its methods are safe for concurrent use.
type Wire struct {
	Addr string
	to   string
	l    net.Listener

	mu    sync.Mutex
	cut   bool
	held  chan struct{} // not nil while nothing passes; closed when it does again
	delay time.Duration
	conns map[net.Conn]struct{}
}

// NewWire makes the way to an address, undisturbed.
func NewWire(t testing.TB, to string) *Wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{Addr: l.Addr().String(), to: to, l: l, conns: map[net.Conn]struct{}{}}
	go w.accept()
	t.Cleanup(func() {
		_ = l.Close() // nothing is written to it
		w.Cut()
	})
	return w
}

func (w *Wire) accept() {
	for {
		in, err := w.l.Accept()
		if err != nil {
			return
		}
		go w.join(in)
	}
}

func (w *Wire) join(in net.Conn) {
	if !w.hold(in) {
		return
	}
	out, err := net.Dial("tcp", w.to)
	if err != nil {
		w.drop(in)
		return
	}
	if !w.hold(out) {
		w.drop(in)
		return
	}
	go w.pump(in, out)
	w.pump(out, in)
}

// hold keeps a connection, unless the wire is cut.
func (w *Wire) hold(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		_ = c.Close() // as a cut wire does
		return false
	}
	w.conns[c] = struct{}{}
	return true
}

func (w *Wire) drop(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
	_ = c.Close() // likewise
}

func (w *Wire) pump(from, to net.Conn) {
	defer w.drop(from)
	defer w.drop(to)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		held, delay := w.held, w.delay
		w.mu.Unlock()
		if held != nil {
			<-held
		}
		time.Sleep(delay)
		if _, bad := to.Write(buf[:n]); bad != nil || err == io.EOF || err != nil {
			return
		}
	}
}

// Cut ends all connections, and refuses others.
func (w *Wire) Cut() {
	w.set(true, false, 0)
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.Close() // likewise
	}
}

// Hold lets nothing pass and ends nothing: neither side is told.
func (w *Wire) Hold() { w.set(false, true, 0) }

// Delay has everything take so much longer.
func (w *Wire) Delay(d time.Duration) { w.set(false, false, d) }

// Mend ends the disturbance. What was held passes.
func (w *Wire) Mend() { w.set(false, false, 0) }

func (w *Wire) set(cut, held bool, delay time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut, w.delay = cut, delay
	if held && w.held == nil {
		w.held = make(chan struct{})
	}
	if !held && w.held != nil {
		close(w.held)
		w.held = nil
	}
}
