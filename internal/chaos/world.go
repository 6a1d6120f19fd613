package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"polity.run"
	"polity.run/client"
	"polity.run/fault"
	"polity.run/manifest"
)

const (
	workers     = 10               // requests under way at once
	settleMax   = 90 * time.Second // after the last fault every run has ended within this time
	exportsEach = 5                // runs of a round that are exported and verified
	progressGap = 10 * time.Second
)

// world is one round: a state folder, the node that serves it, the destination, and those who ask.
type world struct {
	config
	round       int
	dir         string
	ctx         context.Context // ends with the round, however that ends
	book        *book
	node        *node
	disk        *disk // nil without faults that need one
	destination *far
	releases    map[string]client.Request
	watched     *manifest.Manifest // by the node
	followers   sync.WaitGroup
	probe       *rand.Rand // of the injector alone
	baseline    map[string]polity.Outcome
}

// runRound works, disturbs and checks for a while. Its error is of the machine, not of what is tested.
func runRound(ctx context.Context, cfg config, round int, dir string, load time.Duration, sum *total) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &world{config: cfg, round: round, dir: dir, ctx: ctx, book: newBook(round), probe: rand.New(rand.NewPCG(cfg.seed, uint64(round)^0xfeed))}
	defer func() { sum.add(w.book) }()
	if err := w.open(); err != nil {
		return errors.Join(err, w.close())
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.rehearse(); err != nil {
		return err
	}
	err = w.storm(load)
	if err == nil {
		err = w.judge(sum)
	}
	if l := (*lame)(nil); errors.As(err, &l) {
		w.book.violate(violation{Expected: "a node begins, whatever ended the one before", Found: l.how})
		return nil
	}
	return err
}

// open starts everything.
func (w *world) open() (err error) {
	if w.destination, err = startDestination(w.self, w.seed+uint64(w.round)); err != nil {
		return err
	}
	if err := w.load(); err != nil {
		return err
	}
	state := filepath.Join(w.dir, "state")
	if w.ownDisk() {
		if w.disk, err = newDisk(w.dir); err != nil {
			return err
		}
		state = filepath.Join(w.disk.at, "state")
	}
	w.node = &node{
		polity: w.polity, sync: w.sync, manifest: filepath.Join(w.dir, "organizations", "tick.yaml"), dir: w.dir, state: state,
		violate: w.book.violate, opened: w.ticked,
	}
	return w.node.start(w.ctx)
}

// ticked is told of a run that the watcher says it has opened: that is an acknowledgement, too.
func (w *world) ticked(id polity.RunID, agent string) {
	kind := "tick"
	switch agent {
	case "heard": // whoever published the event knows
		return
	case "payments", "shipping":
		kind = "part"
	}
	e := &entry{id: id, kind: kindByName(kind)}
	w.book.acknowledge(e)
	w.followers.Go(func() { w.follow(e) })
}

func (w *world) close() error {
	var all []error
	if w.node != nil && w.node.process != nil {
		w.node.kill()
	}
	if w.destination != nil {
		all = append(all, w.destination.stop())
	}
	if w.disk != nil {
		if len(w.book.violations) > 0 {
			all = append(all, command("cp", "-r", filepath.Join(w.disk.at, "state"), w.dir))
		}
		all = append(all, w.disk.unmount())
	}
	return errors.Join(all...)
}

// rehearse runs the examples once, undisturbed, for what they answer.
func (w *world) rehearse() error {
	w.baseline = map[string]polity.Outcome{}
	for i, name := range []string{"hierarchy", "debate"} {
		e := w.draw(kindByName(name), uint64(i))
		c := w.node.current()
		id, err := c.Start(w.ctx, e.request)
		if err == nil {
			w.baseline[name], err = c.Wait(w.ctx, id)
		}
		if err != nil || w.baseline[name].Status != polity.StatusCompleted {
			return fmt.Errorf("rehearse %s: %+v %w", name, w.baseline[name], err)
		}
	}
	return nil
}

// storm has everybody ask while faults are injected, for a while, and then waits for what is under way.
func (w *world) storm(load time.Duration) error {
	loading, done := context.WithTimeout(w.ctx, load)
	defer done()
	helpers, leave := context.WithCancel(w.ctx)
	var around, asking sync.WaitGroup
	around.Go(func() { w.people(helpers) })
	around.Go(func() { w.progress(helpers) })
	defer func() { leave(); around.Wait() }()
	for i := range workers {
		asking.Go(func() { w.work(loading, i) })
	}
	err := w.disturb(loading, newSchedule(w.seed, w.round, w.kinds))
	if err != nil {
		return err
	}
	settled := make(chan struct{})
	go func() { asking.Wait(); w.followers.Wait(); close(settled) }()
	select {
	case <-settled:
	case <-time.After(settleMax):
		for _, e := range w.book.all() {
			if !e.ended() {
				w.book.violate(violation{Run: e.id, Expected: e.kind.name + ": the run ends within " + settleMax.String() + " of the last fault", Found: w.standing(e.id)})
			}
		}
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
	return nil
}

// standing says where a run stands, for a report.
func (w *world) standing(id polity.RunID) string {
	var last []polity.Notice
	err := w.call(func(ctx context.Context, c *client.Client) error {
		return c.History(ctx, id, func(n polity.Notice) error { last = append(last, n); return nil })
	})
	data, _ := json.Marshal(last[max(0, len(last)-5):]) // plain fields
	return fmt.Sprintf("%d events, the last of them %s %v", len(last), data, err)
}

func (w *world) progress(ctx context.Context) {
	began := time.Now()
	tick := time.NewTicker(progressGap)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.book.mu.Lock()
		fmt.Printf("  round %d, %s: %d acknowledged; ended: %s; faults: %s; %d violations\n", w.round, time.Since(began).Round(time.Second),
			len(w.book.order), words(w.book.ended), words(w.book.faults), len(w.book.violations))
		w.book.mu.Unlock()
	}
}

// judge lets the node leave, begins it again, and holds everything it tells then against what was told before, and against the destination.
func (w *world) judge(sum *total) error {
	// What the node opened a moment ago may end after the destination was asked what it counted: it is not judged.
	var ended []*entry
	for _, e := range w.book.all() {
		if e.ended() {
			ended = append(ended, e)
		}
	}
	if err := w.node.stop(); err != nil {
		w.book.violate(violation{Expected: "a node that gets SIGTERM leaves with exit code 0", Found: err.Error()})
	}
	if out, err := exec.Command(w.polity, "verify", "--state", w.node.state).CombinedOutput(); err != nil {
		w.book.violate(violation{Expected: "polity verify finds the state whole", Found: fmt.Sprintf("%v: %s", err, out)})
	}
	w.node.opened = func(polity.RunID, string) {} // what it opens from now on is not judged
	if err := w.node.start(w.ctx); err != nil {
		return err
	}
	if left := inside(w.node.state); len(left) > 0 {
		w.book.violate(violation{Expected: "no program outlives the node that started it", Found: fmt.Sprintf("processes %v", left)})
	}
	counted, err := w.destination.counts()
	if err != nil {
		return err
	}
	sum.count(counted)
	c := w.node.current()
	for _, e := range ended { // the others are reported as runs that do not end
		told := e.told()
		now, err := c.Wait(w.ctx, e.id)
		if err != nil {
			w.book.violate(violation{Run: e.id, Expected: e.kind.name + ": a run that was acknowledged is there", Found: err.Error()})
			continue
		}
		if before, after := text(*told), text(now); before != after {
			w.book.violate(violation{Run: e.id, Expected: "the outcome that was told, " + before, Found: after})
		}
		k := checker{e: e, o: now, ops: counted.Counts[e.id], all: counted.Counts, baseline: w.baseline, violate: w.book.violate}
		k.check()
		if k.hadNoRoom() {
			sum.NoRoom++
		}
		w.replay(c, e, sum)
	}
	all := w.book.all()
	w.strangers(all, counted)
	if err := w.countLetters(c, all); err != nil {
		return err
	}
	return w.export(all, sum)
}

func text(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// replay has a run folded again.
func (w *world) replay(c *client.Client, e *entry, sum *total) {
	r, err := c.Replay(w.ctx, e.id, client.Replay{})
	sum.Replayed++
	if err != nil || r.Difference != nil {
		w.book.violate(violation{Run: e.id, Expected: e.kind.name + ": the same decisions when it is folded again", Found: fmt.Sprintf("%+v %v", r.Difference, err)})
	}
}

// strangers finds effects of runs that nobody was told of. The watcher's last words may have been cut: those runs must be there all the same.
func (w *world) strangers(all []*entry, counted counts) {
	known := map[polity.RunID]bool{}
	for _, e := range all {
		known[e.id] = true
	}
	for id := range counted.Counts {
		if known[id] {
			continue
		}
		err := w.call(func(ctx context.Context, c *client.Client) error { _, err := c.Find(ctx, id); return err })
		if errors.Is(err, fault.NotFound) {
			w.book.violate(violation{Run: id, Expected: "no effect of a run that is not there", Found: text(counted.Counts[id])})
		}
	}
}

// countLetters holds the node's own counter against the runs that add one to it each.
func (w *world) countLetters(c *client.Client, all []*entry) error {
	least, most := int64(0), int64(0)
	for _, e := range all {
		if told := e.told(); e.kind.org == "desk" {
			most++
			if told != nil && told.Status == polity.StatusCompleted {
				least++
			}
		}
	}
	input := fmt.Appendf(nil, `{"name":%q}`, counterName)
	a, err := c.Coordinate(w.ctx, client.Coordination{Do: client.CoordinateCall, Org: "desk", Tool: "counter.get", Agent: "clerk", Key: "chaos", Input: input})
	if err != nil {
		return fmt.Errorf("counter: %w", err)
	}
	var count struct {
		Value int64 `json:"value"`
	}
	if err := json.Unmarshal(a.Output, &count); err != nil {
		return fmt.Errorf("counter: %w", err)
	}
	if count.Value < least || count.Value > most {
		w.book.violate(violation{Expected: fmt.Sprintf("the counter says %d to %d, once for each run", least, most), Found: fmt.Sprint(count.Value)})
	}
	return nil
}

// export writes some runs into files, and has them verified by the command.
func (w *world) export(all []*entry, sum *total) error {
	for i := range min(exportsEach, len(all)) {
		e := all[i*len(all)/exportsEach%len(all)]
		file := filepath.Join(w.dir, fmt.Sprintf("run-%d.polity", i))
		if _, err := w.node.current().Export(w.ctx, e.id, file); err != nil {
			return fmt.Errorf("export %s: %w", e.id, err)
		}
		sum.Verified++
		if out, err := exec.Command(w.polity, "runs", "verify", file).CombinedOutput(); err != nil {
			w.book.violate(violation{Run: e.id, Expected: "polity runs verify finds it whole", Found: fmt.Sprintf("%v: %s", err, out)})
		}
	}
	return nil
}

// startDestination starts the destination as a process of its own.
func startDestination(self string, seed uint64) (*far, error) {
	cmd := exec.Command(self, "destination", strconv.FormatUint(seed, 10))
	var notes bytes.Buffer
	cmd.Stderr = &notes
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the destination does not begin: %w: %s", err, notes.String())
	}
	return &far{url: "http://" + strings.TrimSpace(line), stop: func() error { return errors.Join(in.Close(), cmd.Wait()) }}, nil
}
