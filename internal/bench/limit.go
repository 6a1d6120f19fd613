package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"polity.run/fault"
	"polity.run/internal/bus"
)

// The limits decide nothing: they write the events that the engine writes, in as many dependent commits, by the
// fastest road that is known. What the engine costs above them is its own.

// eventSize is about what the engine writes for an event of a five-step run, in bytes.
const eventSize = 100

// group is a committer that packs what comes while the write before is under way.
type group struct {
	mu      sync.Mutex
	waiting []chan error
	buf     []byte
	wake    chan struct{}
	quit    chan struct{}
	done    chan struct{}
}

func newGroup() *group {
	return &group{wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
}

// commit adds events and waits until they are written.
func (g *group) commit(events int, ack chan error) error {
	g.mu.Lock()
	for range events {
		g.buf = binary.AppendUvarint(g.buf, eventSize)
		g.buf = append(g.buf, event[:]...)
	}
	g.waiting = append(g.waiting, ack)
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
	return <-ack
}

var event [eventSize]byte

// run writes groups until quit.
func (g *group) run(write func(data []byte) error) {
	defer close(g.done)
	var buf []byte
	var waiting []chan error
	for {
		select {
		case <-g.wake:
		case <-g.quit:
			return
		}
		g.mu.Lock()
		buf, g.buf = g.buf, buf[:0]
		waiting, g.waiting = g.waiting, waiting[:0]
		g.mu.Unlock()
		if len(waiting) == 0 {
			continue
		}
		err := write(buf)
		for _, w := range waiting {
			w <- err
		}
	}
}

func (g *group) stop() {
	close(g.quit)
	<-g.done
}

// grouped does runs over a group committer.
type grouped struct {
	name  string
	g     *group
	close func() error
}

func (s *grouped) Name() string { return s.name }

// worker returns what does one run: an opening, n results, and the end with the last one.
func (s *grouped) worker(steps int) func(ctx context.Context, i int) error {
	ack := make(chan error, 1)
	return func(_ context.Context, _ int) error {
		for i := range steps + 1 {
			events := 1
			if i == steps {
				events = 2
			}
			if err := s.g.commit(events, ack); err != nil {
				return err
			}
		}
		return nil
	}
}

func (s *grouped) Close() error {
	s.g.stop()
	return s.close()
}

// openWAL is a hand-written write-ahead log with group commit.
func openWAL(dir string, sync bool) (*grouped, error) {
	f, err := os.OpenFile(filepath.Join(dir, "wal"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fault.Unavailable.New("bench: wal: %w", err)
	}
	s := &grouped{name: "write-ahead log", g: newGroup(), close: f.Close}
	go s.g.run(func(data []byte) error {
		if _, err := f.Write(data); err != nil || !sync {
			return err
		}
		return f.Sync()
	})
	return s, nil
}

// openPacked packs by hand into JetStream messages, each on the condition that the log ends with the one before: whoever
// packs by hand must keep a second writer out as well.
func openPacked(ctx context.Context, dir string, sync bool) (*grouped, error) {
	mode := bus.SyncOS
	if sync {
		mode = bus.SyncDisk
	}
	b, err := bus.Open(ctx, bus.Config{Dir: filepath.Join(dir, "packed"), Sync: mode})
	if err != nil {
		return nil, err
	}
	acks := make(chan bus.Ack, 1)
	l, err := b.Log(ctx, "packed", func(a bus.Ack) { acks <- a })
	if err != nil {
		b.Close()
		return nil, err
	}
	s := &grouped{name: "packed JetStream", g: newGroup(), close: func() error {
		err := l.Close()
		b.Close()
		return err
	}}
	var sent uint64
	prev := ""
	go s.g.run(func(data []byte) error {
		for len(data) > 0 {
			n := min(len(data), packMax)
			sent++
			id := strconv.FormatUint(1e15+sent, 36)
			if err := l.Append(data[:n], id, prev, sent, sent); err != nil {
				return err
			}
			if a := <-acks; a.Err != nil {
				return a.Err
			}
			prev = id
			data = data[n:]
		}
		return nil
	})
	return s, nil
}

// packMax is the size of a packed message, as the engine's.
const packMax = 256 << 10

var errUnexpected = errors.New("bench: a run did not end as it should")
