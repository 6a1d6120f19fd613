package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// napper does some steps, sleeps, and does a last one.
func napper(before int, nap time.Duration) decideFunc {
	return func(n int, e polity.Event) []polity.Command {
		switch {
		case e.Fault != nil:
			return []polity.Command{polity.Fail(e.Fault)}
		case n < before:
			return []polity.Command{polity.Call(fmt.Sprintf("step.%d", n), "noop", json.RawMessage(`{"of":"some forty bytes, as those of a real one"}`))}
		case n == before:
			return []polity.Command{polity.Sleep("nap", nap)}
		case n == before+1:
			return []polity.Command{polity.Call("after", "noop", nil)}
		default:
			return []polity.Command{polity.Finish(json.RawMessage(`"slept"`))}
		}
	}
}

var napCatalog = programs{deciders: map[string]polity.Decider{
	"five": steps(5), "napper": napper(3, 30*time.Minute), "short": napper(1, 100*time.Millisecond),
	"parent": decideFunc(func(n int, e polity.Event) []polity.Command {
		if n == 0 && e.Kind == polity.Opened {
			child := polity.Ask("child", "napper", "", json.RawMessage(`{}`))
			child.Bounds = polity.Bounds{Turns: 10, Wall: polity.Duration(50 * time.Minute)}
			return []polity.Command{child, polity.Sleep("long", 40*time.Minute)}
		}
		if n < 2 {
			return nil
		}
		return []polity.Command{polity.Finish(json.RawMessage(`"both"`))}
	}),
	"stuck": decideFunc(func(n int, e polity.Event) []polity.Command {
		if n == 0 {
			return []polity.Command{polity.Call("for.ever", "stuck", nil)}
		}
		return []polity.Command{polity.Fail(e.Fault)}
	}),
}}

// napDo does every effect at once but the one that is stuck.
func napDo(ctx context.Context, e *Effect) (json.RawMessage, polity.Usage, error) {
	if e.To == "stuck" {
		<-ctx.Done()
		return nil, polity.Usage{}, ctx.Err()
	}
	return json.RawMessage(`{"ok":true,"text":"a result of some forty bytes"}`), polity.Usage{}, nil
}

func napConfig(dir string) Config {
	return Config{Do: napDo, Catalog: napCatalog, Anchor: filepath.Join(dir, "anchor"), Dormant: filepath.Join(dir, "dormant")}
}

// inside runs f in the partition's loop.
func inside(t testing.TB, p *Partition, f func(c *core)) {
	t.Helper()
	if err := p.call(context.Background(), func(c *core, done func(error)) { f(c); c.answer(done) }); err != nil {
		t.Fatal(err)
	}
}

// until waits for something to be so in the partition's loop.
func until(t testing.TB, p *Partition, what string, so func(c *core) bool) {
	t.Helper()
	for range 2000 {
		yes := false
		inside(t, p, func(c *core) { yes = so(c) })
		if yes {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("it does not come to be that %s", what)
}

// beginNaps opens runs of several agents, and returns when the sleepers sleep.
func beginNaps(t testing.TB, n *node, each int) {
	t.Helper()
	naps := 0
	for i := range each {
		for k, agent := range []string{"five", "napper", "parent", "stuck"} {
			if agent == "napper" || agent == "parent" {
				naps++
			}
			if err := n.Open(context.Background(), Request{ID: rootID(10*i + k), Agent: agent, Input: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	until(t, n.Partition, "all sleep", func(c *core) bool {
		asleep, over := 0, 0
		for _, tr := range c.roots {
			if tr.asleep {
				asleep++
			}
			if tr.over() {
				over++
			}
		}
		return asleep == naps && over == each
	})
}

// checkpointNow has a checkpoint written of what is there.
func checkpointNow(t testing.TB, n *node) {
	t.Helper()
	var seq uint64
	inside(t, n.Partition, func(c *core) { n.keeper.logged = 1 << 40; seq = c.seq })
	until(t, n.Partition, "a checkpoint is written", func(*core) bool {
		k := n.keeper
		return k.writing == nil && len(k.kept) > 0 && k.kept[len(k.kept)-1].seq >= seq
	})
}

func TestWaitingRunsSleep(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := openNode(t, t.TempDir(), bus.SyncOS, napConfig(t.TempDir()))
		defer n.close(t)
		beginNaps(t, n, 5)
		inside(t, n.Partition, func(c *core) {
			if len(c.runs) != 5 { // those that are stuck
				t.Errorf("%d runs are in memory", len(c.runs))
			}
			for _, tr := range c.roots {
				if tr.asleep && (tr.root != nil || tr.trail != nil || tr.slot == 0) {
					t.Errorf("%s sleeps with %v and %v; alarm %d", tr.id, tr.root, tr.trail, tr.slot)
				}
			}
		})
		begin := time.Now()
		for i := range 5 { // they wake by themselves
			for k, want := range map[int]string{1: `"slept"`, 2: `"both"`} {
				o, err := n.Wait(t.Context(), rootID(10*i+k))
				if err != nil || string(o.Output) != want {
					t.Errorf("%s %v", o.Output, err)
				}
			}
		}
		if d := time.Since(begin); d < 35*time.Minute || d > 41*time.Minute {
			t.Errorf("they slept %s", d)
		}
	})
}

func TestSleepersAreWoken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := openNode(t, t.TempDir(), bus.SyncOS, napConfig(t.TempDir()))
		defer n.close(t)
		beginNaps(t, n, 3)
		s, err := n.Find(t.Context(), rootID(1))
		if err != nil || s.Status != polity.StatusRunning || s.Usage.Turns == 0 {
			t.Errorf("%+v %v", s, err)
		}
		var seen []string
		stop, err := n.Watch(t.Context(), rootID(2), func(o polity.Notice) { seen = append(seen, o.Kind+" "+o.Name) })
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"started child", "started nap", "started long"}; !slices.Equal(seen, want) {
			t.Errorf("under way: %q, want %q", seen, want)
		}
		stop()
		inside(t, n.Partition, func(c *core) {
			if !c.trees[rootID(2)].asleep {
				t.Error("who watches keeps it awake")
			}
		})
		if err := n.Cancel(t.Context(), rootID(2), "enough"); err != nil {
			t.Fatal(err)
		}
		if o, err := n.Wait(t.Context(), rootID(2)); err != nil || o.Status != polity.StatusCancelled {
			t.Errorf("%+v %v", o, err)
		}
		r, err := n.Replay(t.Context(), rootID(1), Digest{})
		if err != nil || r.Difference != nil {
			t.Errorf("%+v %v", r, err)
		}
	})
}

// TestWallOfSleepers wants the wall time to be over on time, in a run that sleeps longer.
func TestWallOfSleepers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := openNode(t, t.TempDir(), bus.SyncOS, napConfig(t.TempDir()))
		defer n.close(t)
		begin := time.Now()
		o, err := n.Run(t.Context(), Request{ID: rootID(1), Agent: "napper", Bounds: polity.Bounds{Wall: polity.Duration(10 * time.Minute)}})
		if err != nil || o.Status != polity.StatusExhausted || time.Since(begin).Round(time.Second) != 10*time.Minute {
			t.Errorf("%+v after %s, %v", o, time.Since(begin), err)
		}
	})
}

// memLog is a log in memory that is only read.
type memLog []memEntry

func (l memLog) Append([]byte, string, string, uint64) error { return errors.New("read only") }
func (l memLog) Last(context.Context) (bus.Entry, error) {
	return bus.Entry{Seq: uint64(len(l)), Data: l[len(l)-1].data}, nil
}

func (l memLog) Get(_ context.Context, seq uint64) (bus.Entry, error) {
	if seq == 0 || seq > uint64(len(l)) {
		return bus.Entry{}, nil
	}
	return bus.Entry{Seq: seq, Data: l[seq-1].data}, nil
}

func (l memLog) Read(_ context.Context, from, to uint64, each func(bus.Entry) error) error {
	for seq := from; seq <= to; seq++ {
		if err := each(bus.Entry{Seq: seq, Data: l[seq-1].data}); err != nil {
			return err
		}
	}
	return nil
}

// cold folds a log as Open does, and says what it knows then. It returns how many commits came from the log and what was logged.
func cold(t *testing.T, cfg Config, l memLog) (state string, folded int, said string) {
	t.Helper()
	var text bytes.Buffer
	cfg.Log = slog.New(slog.NewTextHandler(&text, nil))
	blobs, err := OpenBlobs(filepath.Join(filepath.Dir(cfg.Anchor), "blobs"), false)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Blobs = blobs
	p := &Partition{cfg: cfg, log: l, ctx: context.Background()}
	p.core = newCore(p, cfg.Catalog, [8]byte{})
	if err := p.keep(t.Context(), uint64(len(l))); err != nil {
		t.Fatal(err)
	}
	folded = len(l) - int(p.core.seq)
	if err := p.fold(t.Context(), uint64(len(l)), anchor{}); err != nil {
		t.Fatal(err)
	}
	state = portrait(p.core)
	if err := p.shut(); err != nil {
		t.Fatal(err)
	}
	return state, folded, text.String()
}

// folder is what the files of a folder hold.
type folder map[string][]byte

func readFolder(t *testing.T, dir string) folder {
	t.Helper()
	all := folder{}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if all[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func (f folder) write(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range f {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// only returns the name of the one file that begins so.
func (f folder) only(t *testing.T, prefix string) string {
	t.Helper()
	var found []string
	for name := range f {
		if strings.HasPrefix(name, prefix) {
			found = append(found, name)
		}
	}
	if len(found) != 1 {
		t.Fatalf("files %s: %q", prefix, found)
	}
	return found[0]
}

// TestDamageOfTheCache flips bytes of the checkpoint and of the spool, cuts them and takes them away. What a node knows in the end is
// what the log tells.
func TestDamageOfTheCache(t *testing.T) {
	dir := t.TempDir()
	cfg := napConfig(dir)
	n := openNode(t, dir, bus.SyncOS, cfg)
	beginNaps(t, n, 6)
	if err := n.Fork(t.Context(), Fork{ID: rootID(500), Origin: rootID(1), Event: 4}); err != nil {
		t.Fatal(err)
	}
	imported := &record{
		kind: recImported, run: rootID(600), agent: "elsewhere", status: polity.StatusFailed, data: payload{blob: Digest{1}, size: 9},
		opened: time.Unix(1_700_000_000, 0), ended: time.Unix(1_700_000_001, 0),
	}
	if err := n.call(t.Context(), func(c *core, done func(error)) { c.importRun(imported, done) }); err != nil {
		t.Fatal(err)
	}
	until(t, n.Partition, "the fork sleeps", func(c *core) bool { return c.trees[rootID(500)].asleep })
	checkpointNow(t, n)
	for i := range 3 { // the tail
		if err := n.Cancel(t.Context(), rootID(10*i+1), "in the tail"); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Wait(t.Context(), rootID(10*i+1)); err != nil {
			t.Fatal(err)
		}
		if err := n.Open(t.Context(), Request{ID: rootID(1000 + i), Agent: "napper"}); err != nil {
			t.Fatal(err)
		}
	}
	log := memLog(entries(t, n.log))
	whole := cfg
	whole.Dormant = ""
	want, folded, _ := cold(t, whole, log)
	if folded != len(log) || strings.Count(want, "of napper") < 9 {
		t.Fatalf("folded %d of %d:\n%s", folded, len(log), want)
	}
	n.close(t)
	saved := readFolder(t, cfg.Dormant)
	point, spool := saved.only(t, checkpointPrefix), saved.only(t, spoolPrefix)
	check := func(what string, wantWhole bool, damaged folder) string {
		t.Helper()
		damaged.write(t, cfg.Dormant)
		got, folded, said := cold(t, cfg, log)
		if got != want {
			t.Fatalf("%s: the state is another one:\n%s\nwant\n%s", what, got, want)
		}
		if (folded == len(log)) != wantWhole {
			t.Fatalf("%s: %d of %d commits are folded", what, folded, len(log))
		}
		return said
	}
	with := func(name string, data []byte) folder {
		f := folder{}
		for n, d := range saved {
			f[n] = d
		}
		f[name] = data
		return f
	}
	if said := check("nothing", false, saved); said != "" {
		t.Errorf("without damage it says %s", said)
	}
	flipped := func(b []byte, i int) []byte {
		b = slices.Clone(b)
		b[i] ^= 1 << (i % 8)
		return b
	}
	for i := range saved[point] {
		if _, err := readCheckpoint(bytes.NewReader(flipped(saved[point], i)), newVault(nil)); err == nil {
			t.Fatalf("byte %d of the checkpoint is another one, and it is read", i)
		}
	}
	for i := 0; i < len(saved[point]); i += len(saved[point])/40 + 1 {
		said := check(fmt.Sprintf("byte %d of the checkpoint", i), true, with(point, flipped(saved[point], i)))
		if !strings.Contains(said, "a checkpoint is not used") {
			t.Fatalf("byte %d of the checkpoint: it says %q", i, said)
		}
	}
	told := 0
	for i := 0; i < len(saved[spool]); i += len(saved[spool])/200 + 1 {
		if said := check(fmt.Sprintf("byte %d of the spool", i), false, with(spool, flipped(saved[spool], i))); strings.Contains(said, "is read from the log") {
			told++
		}
	}
	if told == 0 {
		t.Error("no damage of the spool was noticed")
	}
	for i := range 20 {
		check("a cut checkpoint", true, with(point, saved[point][:len(saved[point])*i/20]))
		check("a cut spool", false, with(spool, saved[spool][:len(saved[spool])*i/20]))
	}
	check("no spool", false, folder{point: saved[point]})
	check("no checkpoint", true, folder{spool: saved[spool]})
	check("nothing there", true, folder{})
	check("half a checkpoint that was being written", false, with(newPrefix+"1", saved[point][:100]))
}

// TestCheckpointOfAnotherLog wants a checkpoint not to be used with a log that has another commit there, or ends before.
func TestCheckpointOfAnotherLog(t *testing.T) {
	dir := t.TempDir()
	cfg := napConfig(dir)
	n := openNode(t, dir, bus.SyncOS, cfg)
	beginNaps(t, n, 2)
	checkpointNow(t, n)
	log := memLog(entries(t, n.log))
	n.close(t)
	saved := readFolder(t, cfg.Dormant)
	for name, l := range map[string]memLog{"shorter": log[:len(log)/2], "another": otherLog(t)} {
		saved.write(t, cfg.Dormant)
		if _, folded, said := cold(t, cfg, l); folded != len(l) || !strings.Contains(said, "a checkpoint is not used") {
			t.Errorf("%s: %d of %d are folded; it says %s", name, folded, len(l), said)
		}
	}
}

func otherLog(t *testing.T) memLog {
	dir := t.TempDir()
	n := openNode(t, dir, bus.SyncOS, napConfig(dir))
	defer n.close(t)
	beginNaps(t, n, 30)
	return memLog(entries(t, n.log))
}

// TestStartFromCheckpoint starts a node again and again, and wants the sleepers asleep, what was under way to go on, and all to come to its end.
func TestStartFromCheckpoint(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		cfg := napConfig(dir)
		for start := range 4 {
			cfg.Whole = start == 2
			n := openNode(t, dir, bus.SyncOS, cfg)
			if start == 0 {
				beginNaps(t, n, 3)
			} else {
				if with := n.keeper.restored.seq > 0; with == cfg.Whole {
					t.Errorf("start %d began with a checkpoint: %t", start, with)
				}
				inside(t, n.Partition, func(c *core) {
					if len(c.runs) != 3 { // those that are stuck
						t.Errorf("%d runs are in memory", len(c.runs))
					}
				})
			}
			if !cfg.Whole { // then the one before stays
				checkpointNow(t, n)
			}
			n.close(t)
			time.Sleep(7 * time.Minute) // the nap is not yet over
		}
		cfg.Park = true
		n := openNode(t, dir, bus.SyncOS, cfg)
		list, err := n.List(t.Context())
		if err != nil || len(list) != 12 || !list[1].Parked || list[0].Parked {
			t.Errorf("%+v %v", list, err)
		}
		for i := range 3 {
			for k, want := range map[int]string{1: `"slept"`, 2: `"both"`} {
				if err := n.Resume(t.Context(), rootID(10*i+k)); err != nil {
					t.Error(err)
				}
				if o, err := n.Wait(t.Context(), rootID(10*i+k)); err != nil || string(o.Output) != want {
					t.Errorf("%s %v", o.Output, err)
				}
			}
		}
		n.close(t)
	})
}

// TestDamageBehindTheCheckpoint wants a broken log to bring a node down that began with a checkpoint.
func TestDamageBehindTheCheckpoint(t *testing.T) {
	dir := t.TempDir()
	cfg := napConfig(dir)
	n := openNode(t, dir, bus.SyncOS, cfg)
	beginNaps(t, n, 3)
	checkpointNow(t, n)
	log := entries(t, n.log)
	n.close(t)
	flip(t, dir, log[len(log)/2])
	n, err := tryNode(dir, bus.SyncOS, cfg)
	if err != nil {
		t.Fatal(err)
	}
	<-n.Down()
	if err := n.Err(); !errors.Is(err, fault.Damaged) {
		t.Errorf("%v", err)
	}
	n.close(t)
	cfg.Whole = true
	if n, err := tryNode(dir, bus.SyncOS, cfg); !errors.Is(err, fault.Damaged) {
		t.Errorf("%v %v", n, err)
	}
}

// TestSpoolIsWrittenAnew wants the files of the spool to be gathered into one, and the sleepers to be found there.
func TestSpoolIsWrittenAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		cfg := napConfig(dir)
		n := openNode(t, dir, bus.SyncOS, cfg)
		beginNaps(t, n, 20)
		checkpointNow(t, n)
		inside(t, n.Partition, func(*core) {
			for range spoolFilesMax {
				if err := n.keeper.spool.begin(); err != nil {
					t.Error(err)
				}
			}
		})
		until(t, n.Partition, "the old files are gone", func(*core) bool { return len(n.keeper.spool.files) == 1 && len(n.keeper.kept) == 1 })
		inside(t, n.Partition, func(c *core) {
			s := n.keeper.spool
			if s.held != s.live {
				t.Errorf("%d bytes, of which %d are needed", s.held, s.live)
			}
		})
		for i := range 20 {
			if o, err := n.Wait(t.Context(), rootID(10*i+1)); err != nil || string(o.Output) != `"slept"` {
				t.Errorf("%s %v", o.Output, err)
			}
		}
		n.close(t)
	})
}

// TestSpoolWithoutRoom wants trees that the spool does not take to stay awake, and to sleep when it does again.
func TestSpoolWithoutRoom(t *testing.T) {
	m := newMemory(t, napCatalog)
	s := &simSpool{full: true}
	m.core.spool = s
	begin := func(i int) {
		m.begin(i, "napper", polity.Bounds{})
		for range 10 {
			m.core.settle()
			m.acknowledge()
			for _, p := range m.effects {
				m.core.done(p, m.do(p))
			}
			m.effects = nil
		}
	}
	begin(1)
	if m.core.trees[rootID(1)].asleep || len(m.core.runs) != 1 {
		t.Error("it sleeps nowhere")
	}
	s.full = false
	begin(2)
	if !m.core.trees[rootID(2)].asleep || len(m.core.runs) != 1 {
		t.Error("it does not sleep")
	}
	m.run()
	for i := 1; i < 3; i++ {
		if s := m.core.trees[rootID(i)].summary; s.Status != polity.StatusCompleted {
			t.Errorf("%+v", s)
		}
	}
}

// TestAlarmsHoldNoRuns wants a tree to be among the alarms once, and not at all when it has ended.
func TestAlarmsHoldNoRuns(t *testing.T) {
	m := newMemory(t, napCatalog)
	m.core.spool = &simSpool{}
	for i := range 50 {
		m.begin(i, "short", polity.Bounds{})
	}
	m.run()
	if len(m.core.alarms) != 0 {
		t.Errorf("%d alarms are left", len(m.core.alarms))
	}
}

func FuzzCheckpoint(f *testing.F) {
	catalog := waiters()
	for name, d := range napCatalog.deciders {
		catalog.deciders[name] = d
	}
	m := newMemory(f, catalog)
	m.core.spool = &simSpool{}
	for i, agent := range []string{"five", "napper", "parent", "order", "go", "match"} {
		m.begin(i, agent, polity.Bounds{})
	}
	m.core.publish(&event{name: "orders.x", id: "1", data: json.RawMessage(`{"n":1}`)}, func(error) {})
	m.core.settle()
	m.acknowledge()
	k, b := m.core.newCapture(1)
	b, err := k.more(b, 100)
	if err != nil {
		f.Fatal(err)
	}
	m.core.vault.erase("0123456789abcdefghijklmn", 1)
	f.Add(k.end(b))
	f.Fuzz(func(t *testing.T, data []byte) {
		sum := sha256.Sum256(data)
		p, err := readCheckpoint(bytes.NewReader(append(slices.Clone(data), sum[:]...)), newVault(nil))
		if err != nil {
			if k := fault.Of(err).Kind; k != fault.Damaged && k != fault.Invalid {
				t.Errorf("%v", err)
			}
			return
		}
		c := newCore(m, catalog, [8]byte{})
		c.spool = &simSpool{}
		c.restore(p)
		again, b := c.newCapture(p.oldest)
		for !again.done() {
			if b, err = again.more(b, 1); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again.end(b), data) && len(c.skips) == 0 {
			q, err := readCheckpoint(bytes.NewReader(withSum(again.end(b))), newVault(nil))
			if err != nil || len(q.trees) > len(p.trees) {
				t.Errorf("what was read is written as something else: %v", err)
			}
		}
	})
}

func withSum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(slices.Clone(b), sum[:]...)
}

func FuzzSegment(f *testing.F) {
	var t trail
	t.add(3, time.Unix(1_800_000_000, 5), appendRecord(nil, &record{kind: recCancel, run: rootID(1), reason: "x"}))
	t.add(9, time.Unix(1_800_000_001, 5), appendRecord(nil, &record{kind: recExpired, run: rootID(1)}))
	f.Add(appendSegment(nil, place{1, 2, 3}, rootID(1), t.buf)[digestSize:])
	f.Fuzz(func(t *testing.T, data []byte) {
		sum := sha256.Sum256(data)
		part, _, err := readSegment(append(sum[:digestSize:digestSize], data...), rootID(1))
		if err == nil {
			var again trail
			err = eachEntry(part, func(e entry) error {
				again.add(e.seq, time.Unix(0, e.at), e.raw)
				return nil
			})
		}
		if err != nil && fault.Of(err).Kind != fault.Damaged {
			t.Errorf("%v", err)
		}
	})
}
