package run

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// sick is a log whose store takes nothing while it is stuck.
type sick struct {
	*bus.Log
	stuck atomic.Bool
}

func (s *sick) Append(data []byte, id, prev string, at, token uint64) error {
	if s.stuck.Load() {
		return nil
	}
	return s.Log.Append(data, id, prev, at, token)
}

// stalling is a partition on such a log, with runs that wait for the gate and answer more than one pack holds.
type stalling struct {
	*Partition
	log      *sick
	gate     chan struct{}
	free     atomic.Uint64
	restarts atomic.Int64
	cures    atomic.Bool // a restart does
	ended    chan error
}

const stallingRuns = 40

func openStalling(t *testing.T) *stalling {
	t.Helper()
	dir := t.TempDir()
	b, err := bus.Open(t.Context(), bus.Config{Dir: dir, Sync: bus.SyncOS})
	if err != nil {
		t.Fatal(err)
	}
	acks := NewAcks()
	l, err := b.Log(t.Context(), "p0", acks.Put)
	if err != nil {
		t.Fatal(err)
	}
	s := &stalling{log: &sick{Log: l}, gate: make(chan struct{}), ended: make(chan error, stallingRuns)}
	s.free.Store(1 << 40)
	large := json.RawMessage(`"` + strings.Repeat("x", 20<<10) + `"`)
	cfg := Config{
		Catalog: programs{deciders: map[string]polity.Decider{"one": steps(1)}},
		Do: func(ctx context.Context, _ *Effect) (json.RawMessage, polity.Usage, error) {
			select {
			case <-s.gate:
				return large, polity.Usage{}, nil
			case <-ctx.Done():
				return nil, polity.Usage{}, ctx.Err()
			}
		},
		Free: func() (uint64, error) { return s.free.Load(), nil },
		Restart: func(context.Context) error {
			s.restarts.Add(1)
			if s.cures.Load() {
				s.log.stuck.Store(false)
			}
			return nil
		},
	}
	if cfg.Blobs, err = OpenBlobs(dir+"/blobs", false); err != nil {
		t.Fatal(err)
	}
	if s.Partition, err = Open(t.Context(), s.log, acks, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), l.Close()); err != nil {
			t.Error(err)
		}
		b.Close()
	})
	for i := range stallingRuns {
		if err := s.Open(t.Context(), Request{ID: rootID(i), Agent: "one"}); err != nil {
			t.Fatal(err)
		}
		go func() {
			o, err := s.Wait(context.Background(), rootID(i))
			if err == nil && o.Status != polity.StatusCompleted {
				err = fault.Failed.New("ended %s", o.Status)
			}
			s.ended <- err
		}()
	}
	return s
}

// fall has the store take nothing, and then the runs end. It returns what somebody is told who had asked before that was noticed.
func (s *stalling) fall(t *testing.T) error {
	t.Helper()
	s.log.stuck.Store(true)
	close(s.gate)
	time.Sleep(time.Second) // the commit in flight is in doubt soon, and the next is full
	_, err := s.Find(t.Context(), rootID(0))
	return err
}

// TestStoreIsStartedAnew has a store that takes nothing while its disk is full, and begins again only when it is started anew.
func TestStoreIsStartedAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := openStalling(t)
		s.free.Store(0)
		s.cures.Store(true)
		if err := s.fall(t); !errors.Is(err, fault.Full) {
			t.Errorf("who asked before is told %v", err)
		}
		for what, err := range map[string]error{
			"ready":       s.Ready(),
			"a new run":   s.Open(t.Context(), Request{ID: rootID(1000), Agent: "one"}),
			"cancelling":  s.Cancel(t.Context(), rootID(1), "x"),
			"a question":  func() error { _, err := s.List(t.Context()); return err }(),
			"run to wait": func() error { _, err := s.Run(t.Context(), Request{ID: rootID(1001), Agent: "one"}); return err }(),
		} {
			if !errors.Is(err, fault.Full) || what != "ready" && !strings.Contains(err.Error(), "free") {
				t.Errorf("%s while the store takes nothing: %v", what, err)
			}
		}
		time.Sleep(time.Hour)
		if n := s.restarts.Load(); n != 0 || s.Err() != nil || len(s.ended) > 0 {
			t.Errorf("without room: %d restarts, down %v, %d ended", n, s.Err(), len(s.ended))
		}
		s.free.Store(1 << 40)
		for range stallingRuns {
			if err := <-s.ended; err != nil {
				t.Errorf("who waited: %v", err)
			}
		}
		if n := s.restarts.Load(); n != 1 || s.Ready() != nil {
			t.Errorf("%d restarts, ready %v", n, s.Ready())
		}
		if err := s.Open(t.Context(), Request{ID: rootID(1000), Agent: "one"}); err != nil {
			t.Error(err)
		}
	})
}

// TestStoreThatStaysStuck gives up a store that takes nothing though there is room and it was started anew.
func TestStoreThatStaysStuck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := openStalling(t)
		if err := s.fall(t); !errors.Is(err, fault.Full) {
			t.Errorf("who asked before is told %v", err)
		}
		<-s.Down()
		if n := s.restarts.Load(); n != revivesMax || !errors.Is(s.Err(), fault.Full) {
			t.Errorf("%d restarts, down with %v", n, s.Err())
		}
		for range stallingRuns {
			if err := <-s.ended; !errors.Is(err, fault.Full) {
				t.Errorf("who waited is told %v", err)
			}
		}
	})
}

// TestDoubtBehindAFullPack loses an append while the next pack is full: what became of it is heard, and everything goes on.
func TestDoubtBehindAFullPack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := openStalling(t)
		s.log.stuck.Store(true)
		close(s.gate)
		time.Sleep(time.Second)
		s.log.stuck.Store(false)
		for range stallingRuns {
			if err := <-s.ended; err != nil {
				t.Error(err)
			}
		}
		if s.restarts.Load() > 0 {
			t.Error("the store was started anew")
		}
	})
}
