package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

var fenceRounds = flag.Int("fence.rounds", 4, "takeovers under load in each test of fencing")

// Faults of the lossy log, in hundredths of all appends.
const (
	lostRequestShare = 3
	lostAckShare     = 5
	duplicateShare   = 20
	lateMax          = 20 * time.Millisecond
)

// lossy is a log whose ways to and from the store are bad: requests and acknowledgements are lost, and copies of requests
// arrive once more, late. What was lost and doubled follows from the seed, as far as the order of calls does.
type lossy struct {
	*bus.Log
	acks Acks

	mu     sync.Mutex
	rng    *rand.Rand
	counts *faultCounts
}

type faultCounts struct{ appends, requests, acks, duplicates atomic.Int64 }

func openLossy(b *bus.Bus, seed uint64, counts *faultCounts) (*lossy, error) {
	l := &lossy{acks: NewAcks(), rng: rand.New(rand.NewPCG(seed, 3)), counts: counts}
	var err error
	l.Log, err = b.Log(context.Background(), "p0", l.acked)
	return l, err
}

func (l *lossy) chance(percent int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rng.IntN(100) < percent
}

func (l *lossy) acked(a bus.Ack) {
	if l.chance(lostAckShare) {
		l.counts.acks.Add(1)
		return
	}
	l.acks.Put(a)
}

func (l *lossy) Append(data []byte, id, prev string, at, token uint64) error {
	l.counts.appends.Add(1)
	if l.chance(duplicateShare) {
		l.counts.duplicates.Add(1)
		l.mu.Lock()
		late := time.Duration(l.rng.Int64N(int64(lateMax)))
		l.mu.Unlock()
		again := bytes.Clone(data)
		time.AfterFunc(late, func() {
			// When the store has been closed in the meantime, the copy is lost too.
			_ = l.Log.Append(again, id, prev, at, token)
		})
	}
	if l.chance(lostRequestShare) {
		l.counts.requests.Add(1)
		return nil
	}
	return l.Log.Append(data, id, prev, at, token)
}

// owners is one partition that is served by one owner after the other.
type owners struct {
	bus     *bus.Bus
	cfg     Config
	current atomic.Pointer[reign]
	open    func() (log, Acks, error)
}

// reign is the time of one owner.
type reign struct {
	*Partition
	over chan struct{} // closed when there is a successor
}

func (o *owners) take(t *testing.T) *Partition {
	l, acks, err := o.open()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(context.Background(), l, acks, o.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if before := o.current.Swap(&reign{p, make(chan struct{})}); before != nil {
		close(before.over)
	}
	return p
}

func openOwners(t *testing.T, open func(b *bus.Bus) (log, Acks, error)) *owners {
	t.Helper()
	dir := t.TempDir()
	b, err := bus.Open(context.Background(), bus.Config{Dir: filepath.Join(dir, "store"), Sync: bus.SyncOS})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := OpenBlobs(filepath.Join(dir, "blobs"), false)
	if err != nil {
		t.Fatal(err)
	}
	o := &owners{bus: b, cfg: Config{Blobs: blobs, Do: noop, Catalog: programs{deciders: map[string]polity.Decider{"three": steps(3)}}}}
	o.open = func() (log, Acks, error) { return open(b) }
	return o
}

func (o *owners) close(t *testing.T) {
	t.Helper()
	if err := o.current.Load().Close(); err != nil {
		t.Error(err)
	}
	o.bus.Close()
}

func plainLog(b *bus.Bus) (log, Acks, error) {
	acks := NewAcks()
	l, err := b.Log(context.Background(), "p0", acks.Put)
	return l, acks, err
}

// load has clients open runs until told to stop, and ask again with the same ID whenever it is not known what became of one.
type load struct {
	stop  atomic.Bool
	wg    sync.WaitGroup
	mu    sync.Mutex
	acked map[polity.RunID]bool
	asked atomic.Int64 // answers that said to ask again
	next  atomic.Int64
	ticks chan struct{} // one for each run that ended, if somebody listens
	quit  chan struct{} // closed when there is nobody to ask any more
}

func (o *owners) load(t *testing.T, clients int) *load {
	l := &load{acked: map[polity.RunID]bool{}, ticks: make(chan struct{}), quit: make(chan struct{})}
	for range clients {
		l.wg.Go(func() {
			for !l.stop.Load() {
				id := rootID(int(l.next.Add(1)))
				if !l.one(t, o, id) {
					return
				}
				select {
				case l.ticks <- struct{}{}:
				default:
				}
			}
		})
	}
	return l
}

func (l *load) one(t *testing.T, o *owners, id polity.RunID) bool {
	request := Request{ID: id, Agent: "three"}
	retry := func(f func(p *Partition) error) bool {
		for {
			p := o.current.Load()
			err := f(p.Partition)
			switch {
			case err == nil:
				return true
			case errors.Is(err, fault.Fenced), errors.Is(err, fault.Unavailable):
				l.asked.Add(1)
				select {
				case <-p.over:
				case <-l.quit:
					return false
				}
			default:
				t.Errorf("%s: %v", id, err)
				return false
			}
		}
	}
	if !retry(func(p *Partition) error { return p.Open(context.Background(), request) }) {
		return false
	}
	l.mu.Lock()
	l.acked[id] = true
	l.mu.Unlock()
	return retry(func(p *Partition) error {
		out, err := p.Run(context.Background(), request)
		if err == nil && (out.Status != polity.StatusCompleted || string(out.Output) != `{"steps":3}`) {
			t.Errorf("%s ended %s with %s: %v", id, out.Status, out.Output, out.Fault)
		}
		return err
	})
}

// end stops the clients, each when its run has ended.
func (l *load) end(o *owners) {
	l.stop.Store(true)
	done := make(chan struct{})
	go func() { l.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-o.current.Load().Down():
		close(l.quit)
		<-done
	}
}

// some waits until runs have ended, and fails if their owner goes down meanwhile.
func (l *load) some(t *testing.T, p *Partition) {
	t.Helper()
	for range 200 {
		select {
		case <-l.ticks:
		case <-p.Down():
			close(l.quit)
			t.Fatalf("it went down without a successor: %v", p.Err())
		}
	}
}

// checkLog reads the log as an outsider would: a chain, in which what was acknowledged stands, and nothing twice.
func checkLog(t *testing.T, log []memEntry, acked map[polity.RunID]bool) (records int) {
	t.Helper()
	var f frame
	var prev hash
	opened, ended, results := map[polity.RunID]int{}, map[polity.RunID]int{}, map[string]int{}
	for i, e := range log {
		if err := f.decode(e.data); err != nil {
			t.Fatalf("commit %d: %v", i+1, err)
		}
		if f.prev != prev {
			t.Fatalf("commit %d breaks the chain", i+1)
		}
		prev = sha256.Sum256(e.data)
		records += len(f.records)
		for _, r := range f.records {
			switch r.kind {
			case recOpened:
				opened[r.run]++
			case recFinished:
				ended[r.run]++
			case recResult:
				results[polity.EffectKey(r.run, r.name, r.attempt)]++
			}
		}
	}
	lost, twice := 0, 0
	for id := range acked {
		if opened[id] == 0 || ended[id] == 0 {
			lost++
		}
	}
	for _, n := range opened {
		twice += n - 1
	}
	for _, n := range ended {
		twice += n - 1
	}
	for _, n := range results {
		twice += n - 1
	}
	if lost != 0 || twice != 0 {
		t.Errorf("%d acknowledged runs are lost, %d records stand twice", lost, twice)
	}
	if len(results) != 3*len(opened) {
		t.Errorf("%d results of %d runs", len(results), len(opened))
	}
	return records
}

func TestTakeoverUnderLoad(t *testing.T) {
	o := openOwners(t, plainLog)
	p := o.take(t)
	l := o.load(t, 16)
	for round := range *fenceRounds {
		l.some(t, p)
		next := o.take(t)
		<-p.Down()
		if err := p.Err(); !errors.Is(err, fault.Fenced) {
			t.Errorf("round %d: the owner before went down with %v", round, err)
		}
		if err := p.Open(context.Background(), Request{ID: rootID(1), Agent: "three"}); !errors.Is(err, fault.Fenced) {
			t.Errorf("round %d: the owner before answers %v", round, err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		p = next
	}
	l.end(o)
	select {
	case <-p.Down():
		t.Errorf("the last owner went down: %v", p.Err())
	default:
	}
	log := entries(t, o.bus0(t))
	o.close(t)
	records := checkLog(t, log, l.acked)
	t.Logf("%d takeovers, %d runs acknowledged, %d records in %d commits, %d times asked again", *fenceRounds, len(l.acked), records, len(log), l.asked.Load())
	if l.asked.Load() == 0 {
		t.Error("no takeover met a request")
	}
}

// bus0 opens the log once more, to read it.
func (o *owners) bus0(t *testing.T) *bus.Log {
	t.Helper()
	l, err := o.bus.Log(context.Background(), "p0", func(bus.Ack) {})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestIdleOwnerNoticesItsSuccessor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		o := openOwners(t, plainLog)
		first := o.take(t)
		time.Sleep(10 * time.Minute)
		select {
		case <-first.Down():
			t.Fatalf("it went down alone: %v", first.Err())
		default:
		}
		second := o.take(t)
		at := time.Now()
		<-first.Down()
		if took := time.Since(at); took > 2*idleCheck {
			t.Errorf("it noticed after %s", took)
		}
		if err := first.Err(); !errors.Is(err, fault.Fenced) {
			t.Errorf("it went down with %v", err)
		}
		if err := first.Close(); err != nil {
			t.Error(err)
		}
		if err := second.Open(t.Context(), Request{ID: rootID(1), Agent: "three"}); err != nil {
			t.Error(err)
		}
		o.close(t)
	})
}

// TestLossyLog wants nothing lost, nothing twice and nobody fenced without a successor, on a store to which the ways are bad.
func TestLossyLog(t *testing.T) {
	for _, rounds := range []int{0, *fenceRounds} {
		t.Run(fmt.Sprintf("%d takeovers", rounds), func(t *testing.T) {
			bubble(t, func(t *testing.T) { lossyRounds(t, rounds) })
		})
	}
}

func lossyRounds(t *testing.T, rounds int) {
	var counts faultCounts
	seed := uint64(0)
	o := openOwners(t, func(b *bus.Bus) (log, Acks, error) {
		seed++
		l, err := openLossy(b, seed, &counts)
		if err != nil {
			return nil, Acks{}, err
		}
		return l, l.acks, nil
	})
	p := o.take(t)
	l := o.load(t, 8)
	for range rounds + 1 {
		l.some(t, p)
		if rounds == 0 {
			break
		}
		next := o.take(t)
		<-p.Down()
		if err := p.Err(); !errors.Is(err, fault.Fenced) {
			t.Errorf("the owner before went down with %v", err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		p = next
	}
	l.end(o)
	if err := p.Err(); err != nil {
		t.Errorf("the last owner went down with %v", err)
	}
	log := entries(t, o.bus0(t))
	o.close(t)
	synctest.Wait()
	records := checkLog(t, log, l.acked)
	t.Logf("%d appends: %d requests and %d acknowledgements lost, %d copies late; %d runs acknowledged, %d records in %d commits",
		counts.appends.Load(), counts.requests.Load(), counts.acks.Load(), counts.duplicates.Load(), len(l.acked), records, len(log))
	if counts.requests.Load() == 0 || counts.acks.Load() == 0 || counts.duplicates.Load() == 0 {
		t.Error("a kind of fault never happened")
	}
}
