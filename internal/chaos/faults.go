package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"polity.run/client"
	"polity.run/fault"
)

// The kinds of faults. A destination behaves badly all the time, besides.
const (
	faultKill     = "kill"     // kill -9
	faultBetween  = "between"  // kill -9 by the destination, before or after it does an effect, and never with a result
	faultStop     = "stop"     // SIGSTOP, and SIGCONT some time later
	faultTakeover = "takeover" // a second process, while the first is stopped: it may not serve until the first is gone
	faultLeave    = "leave"    // SIGTERM, and a new process
	faultStumble  = "stumble"  // kill -9, and again while the next ones begin
	faultBackup   = "backup"   // no fault: a backup under load, restored elsewhere
	faultPower    = "power"    // only what had reached the disk is there for the next process
	faultFull     = "full"     // a full disk, and room again
)

var (
	everyFault = []string{faultKill, faultBetween, faultStop, faultTakeover, faultLeave, faultStumble, faultBackup, faultPower, faultFull}
	diskFaults = []string{faultPower, faultFull} // that need a disk of their own
)

const (
	pauseMin, pauseMax = 200 * time.Millisecond, 1500 * time.Millisecond // between a recovery and the next fault
	holdMin, holdMax   = 200 * time.Millisecond, 2 * time.Second         // that a node is stopped, and a disk full
	fallMax            = 400 * time.Millisecond                          // that a process has for beginning
	orderMax           = 5 * time.Second                                 // that the destination has for killing the node
	secondLook         = 500 * time.Millisecond                          // that a second process has for doing wrong
	downMax            = 20 * time.Second                                // that a node has for noticing that it cannot write
)

// injection is one fault, wholly drawn from the seed.
type injection struct {
	Kind  string
	After time.Duration    // since the recovery from the one before
	Hold  time.Duration    // of stop, takeover and full
	Class string           // of the effect, with between
	Done  bool             // between: kill once it is done; takeover: the first process never wakes up
	Bare  bool             // takeover: somebody removes the lock's file
	Falls [3]time.Duration // stumble: how far each process comes
}

// schedule draws faults of the given kinds, without end: the same seed and round, the same faults.
type schedule struct {
	rng   *rand.Rand
	kinds []string
}

func newSchedule(seed uint64, round int, kinds []string) *schedule {
	return &schedule{rng: rand.New(rand.NewPCG(seed, uint64(round))), kinds: kinds}
}

func (s *schedule) next() injection {
	between := func(lo, hi time.Duration) time.Duration { return lo + time.Duration(s.rng.Int64N(int64(hi-lo))) }
	return injection{
		Kind:  s.kinds[s.rng.IntN(len(s.kinds))],
		After: between(pauseMin, pauseMax),
		Hold:  between(holdMin, holdMax),
		Class: []string{"keyed", "external", "idempotent", "none"}[s.rng.IntN(4)],
		Done:  s.rng.IntN(2) == 0,
		Bare:  s.rng.IntN(2) == 0,
		Falls: [3]time.Duration{between(0, fallMax), between(0, fallMax), between(0, fallMax)},
	}
}

// disturb injects faults until ctx ends. It returns an error where the world itself does not work; the node serves again when it returns nil.
func (w *world) disturb(ctx context.Context, s *schedule) error {
	for {
		i := s.next()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(i.After):
		}
		did, err := w.inject(i)
		if err != nil {
			return fmt.Errorf("%s: %w", i.Kind, err)
		}
		if did {
			w.book.injected(i.Kind)
		}
	}
}

// inject does one fault and waits until the node serves again. It says whether the fault could be done.
func (w *world) inject(i injection) (bool, error) {
	switch i.Kind {
	case faultKill:
		w.node.kill()
		return true, w.node.start(w.ctx)
	case faultBetween:
		return w.killBetween(i)
	case faultStop:
		if err := w.signal(syscall.SIGSTOP); err != nil {
			return false, err
		}
		time.Sleep(i.Hold)
		return true, w.signal(syscall.SIGCONT)
	case faultTakeover:
		return true, w.takeover(i)
	case faultLeave:
		if err := w.node.stop(); err != nil {
			w.book.violate(violation{Expected: "a node that gets SIGTERM leaves with exit code 0", Found: err.Error()})
		}
		return true, w.node.start(w.ctx)
	case faultStumble:
		return true, w.stumble(i)
	case faultBackup:
		return true, w.backup()
	case faultPower:
		return true, w.cutPower()
	case faultFull:
		return true, w.fillDisk(i)
	}
	return false, fmt.Errorf("there is no such fault")
}

func (w *world) signal(s syscall.Signal) error { return w.node.running().cmd.Process.Signal(s) }

// killBetween orders the destination to kill the node, and waits until it has: nothing may ask for such an effect for a while.
func (w *world) killBetween(i injection) (bool, error) {
	p := w.node.mayEnd()
	if err := w.destination.order(order{Class: i.Class, After: i.Done, PID: p.cmd.Process.Pid}); err != nil {
		return false, err
	}
	select {
	case <-p.gone:
		return true, w.node.start(w.ctx)
	case <-time.After(orderMax):
	}
	if err := w.destination.order(order{}); err != nil {
		return false, err
	}
	select {
	case <-p.gone: // it was just in time
		return true, w.node.start(w.ctx)
	default:
		w.node.stays(p)
		return false, nil
	}
}

// takeover starts a second process while the first is stopped. As long as the first lives, however still, the second must not serve.
func (w *world) takeover(i injection) error {
	first := w.node.running()
	if err := w.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	if i.Bare {
		if err := os.RemoveAll(filepath.Join(w.node.state, "lock")); err != nil {
			return err
		}
	}
	second, err := w.node.spawn()
	if err != nil {
		return err
	}
	time.Sleep(max(i.Hold, secondLook))
	if c, err := client.Open(w.node.state); err != nil || c.PID() != first.cmd.Process.Pid {
		w.book.violate(violation{Expected: "a second process leaves the state to the first, which is stopped and lives", Found: fmt.Sprintf("%+v %v", c, err)})
	}
	if i.Done {
		w.node.kill()
		return w.node.serve(w.ctx, second)
	}
	if err := w.signal(syscall.SIGCONT); err != nil {
		return err
	}
	_ = second.cmd.Process.Kill() // it may have left
	<-second.gone
	return nil
}

func (w *world) stumble(i injection) error {
	w.node.kill()
	for _, after := range i.Falls {
		p, err := w.node.spawn()
		if err != nil {
			return err
		}
		time.Sleep(after)
		_ = p.cmd.Process.Kill() // it may have ended, and then the next one says why
		<-p.gone
	}
	return w.node.start(w.ctx)
}

// backup makes a backup while the node serves, and a state folder of it, which has to hold what was acknowledged before.
func (w *world) backup() error {
	all := w.book.all()
	all = slices.DeleteFunc(all, func(e *entry) bool { return e.opens && !e.ended() }) // only its event was acknowledged, and a backup has no events
	dir, err := os.MkdirTemp(w.dir, "backup-")
	if err != nil {
		return err
	}
	file, state := filepath.Join(dir, "backup"), filepath.Join(dir, "state")
	for _, args := range [][]string{{"backup", file, "--state", w.node.state}, {"restore", file, "--state", state}, {"verify", "--state", state}} {
		if out, err := exec.Command(w.polity, args...).CombinedOutput(); err != nil {
			w.book.violate(violation{Expected: "polity " + args[0] + " succeeds", Found: fmt.Sprintf("%v: %s", err, out)})
			return nil
		}
	}
	out, err := exec.Command(w.polity, "runs", "list", "--limit", "0", "-o", "json", "--state", state).Output()
	if err != nil {
		return err
	}
	for _, e := range all {
		if !bytes.Contains(out, []byte(`"`+e.id+`"`)) {
			w.book.violate(violation{Run: e.id, Expected: "a backup has what was acknowledged before it began", Found: fmt.Sprintf("it is not in %s", file)})
		}
	}
	return os.RemoveAll(dir)
}

func (w *world) cutPower() error {
	p := w.node.expect()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	copied, err := w.disk.freeze()
	if err != nil {
		return err
	}
	w.node.kill()
	if err := w.disk.cut(copied); err != nil {
		return err
	}
	return w.node.start(w.ctx)
}

// fillDisk fills the disk for a while. The node may give up: then the next one goes on, once there is room.
func (w *world) fillDisk(i injection) error {
	w.node.forgive(true)
	defer w.node.forgive(false)
	p := w.node.running()
	room, err := w.disk.fill()
	if err != nil {
		return err
	}
	time.Sleep(i.Hold)
	if err := room(); err != nil {
		return err
	}
	for deadline := time.Now().Add(downMax); time.Now().Before(deadline); time.Sleep(lookStep) {
		select {
		case <-p.gone:
			return w.node.start(w.ctx)
		default:
		}
		if w.writes(p) {
			return nil
		}
	}
	w.book.violate(violation{Expected: "a node whose disk was full serves again or ends within " + downMax.String(), Found: "it does neither: " + tail(p.log)})
	w.node.kill()
	return w.node.start(w.ctx)
}

// writes says whether a node takes a new run.
func (w *world) writes(p *process) bool {
	c := w.node.current()
	if c == nil || c.PID() != p.cmd.Process.Pid {
		return false
	}
	ctx, cancel := context.WithTimeout(w.ctx, time.Second)
	defer cancel()
	e := w.draw(kindByName("parallel"), w.probe.Uint64())
	id, err := c.Start(ctx, e.request)
	if err == nil {
		w.book.acknowledge(e)
		w.followers.Go(func() { w.follow(e) })
	}
	return err == nil && id == e.id
}

// far is the process of the destination, as it is reached.
type far struct {
	url  string
	stop func() error
}

func (f *far) order(o order) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	a, err := http.Post(f.url+"/order", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return errors.New("order: " + a.Status)
	}
	return nil
}

func (f *far) counts() (c counts, err error) {
	a, err := http.Get(f.url + "/counts")
	if err != nil {
		return c, err
	}
	defer a.Body.Close()
	return c, json.NewDecoder(a.Body).Decode(&c)
}

// parseFaults reads a list of kinds.
func parseFaults(text string) ([]string, error) {
	var kinds []string
	for k := range strings.SplitSeq(text, ",") {
		if k = strings.TrimSpace(k); !slices.Contains(everyFault, k) {
			return nil, fault.Invalid.New("-faults: %q is no fault%s; known are %s", k, didYouMean(k), strings.Join(everyFault, ", "))
		}
		kinds = append(kinds, k)
	}
	return kinds, nil
}

func didYouMean(word string) string {
	if near := fault.Nearest(word, everyFault); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}
