package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// beginWaits opens runs that wait for everything that there is.
func beginWaits(t *testing.T, n *node) {
	t.Helper()
	ctx := t.Context()
	for i, agent := range []string{"match", "order", "go", "two", "stuck"} {
		mustOpen(t, n, rootID(i), agent, longWall())
	}
	for i := range 3 { // the first works, the others are in a queue
		q := Request{ID: rootID(10 + i), Agent: "match", Skill: string(polity.ArrivalQueue), Conversation: "talk", Input: json.RawMessage(fmt.Sprint(i)), Bounds: longWall()}
		if err := n.Open(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	for id, data := range map[string]string{"early": `{"n":1}`, "again": `{"n":3}`} {
		if err := n.Signal(ctx, rootID(0), "go", id, 0, json.RawMessage(data)); err != nil { // it waits for another one
			t.Fatal(err)
		}
	}
	if err := n.Pause(ctx, rootID(2), "the test wants it"); err != nil {
		t.Fatal(err)
	}
	if err := publish(n, "other", "p1", `{"x":1}`); err != nil {
		t.Fatal(err)
	}
	until(t, n.Partition, "they sleep", func(c *core) bool {
		asleep := 0
		for _, tr := range c.roots {
			if tr.asleep {
				asleep++
			}
		}
		return asleep == 6 // not the paused one, nor the stuck one
	})
}

func publish(n *node, topic, id, data string) error {
	return n.call(n.ctx, func(c *core, done func(error)) {
		c.publish(&event{name: topic, id: id, data: json.RawMessage(data)}, done)
	})
}

func waitsConfig(dir string) Config {
	cfg := napConfig(dir)
	catalog := waiters()
	catalog.deciders["stuck"] = napCatalog.deciders["stuck"]
	catalog.deciders["two"] = decideFunc(func(n int, e polity.Event) []polity.Command { // it waits for two things at once
		if n == 0 {
			return []polity.Command{
				polity.Await("a", polity.Awaited{Topic: "orders.paid", Match: json.RawMessage(`{"order":{"id":17},"list":[1]}`)}, 0),
				polity.Await("b", polity.Awaited{Signal: "on"}, time.Hour),
			}
		}
		if n < 2 {
			return nil
		}
		return []polity.Command{polity.Finish(json.RawMessage(fmt.Sprintf("%q", e.Name)))}
	})
	cfg.Catalog = catalog
	return cfg
}

// TestCheckpointWithWaits starts a node from a checkpoint that was made while runs wait for everything that there is. They are told of as before, and what they wait for
// reaches them.
func TestCheckpointWithWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		cfg := waitsConfig(dir)
		n := openNode(t, dir, bus.SyncOS, cfg)
		beginWaits(t, n)
		before, err := n.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		checkpointNow(t, n)
		n.close(t)
		n = openNode(t, dir, bus.SyncOS, cfg)
		defer n.close(t)
		if n.keeper.restored.seq == 0 {
			t.Fatal("it began with the whole log")
		}
		after, err := n.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range before {
			if a, b := fmt.Sprintf("%+v", before[i]), fmt.Sprintf("%+v", after[i]); a != b {
				t.Errorf("told of as\n%s\nwas\n%s", b, a)
			}
		}
		inside(t, n.Partition, func(c *core) {
			if len(c.runs) != 2 { // the paused one and the stuck one
				t.Errorf("%d runs are in memory", len(c.runs))
			}
		})
		if err := publish(n, "other", "p1", `{"x":2}`); !errors.Is(err, fault.Conflict) {
			t.Errorf("an event's ID is not known: %v", err)
		}
		if err := n.Signal(t.Context(), rootID(0), "go", "early", 0, json.RawMessage(`{"n":5}`)); !errors.Is(err, fault.Conflict) {
			t.Errorf("a signal's ID is not known: %v", err)
		}
		if err := publish(n, "orders.paid", "p2", `{"order":{"id":17.0,"of":"x"},"list":[1]}`); err != nil {
			t.Fatal(err)
		}
		ends := func(i int, want string) {
			t.Helper()
			if o, err := n.Wait(t.Context(), rootID(i)); err != nil || o.Status != polity.StatusCompleted || want != "" && string(o.Output) != want {
				t.Errorf("%d: %+v %v", i, o, err)
			}
		}
		ends(1, "")
		if err := n.Signal(t.Context(), rootID(3), "on", "1", 0, json.RawMessage(`1`)); err != nil {
			t.Fatal(err)
		}
		ends(3, `"b"`)
		for i := range 3 { // the queue goes on, one after the other
			if err := n.Signal(t.Context(), rootID(10+i), "go", "1", 0, json.RawMessage(fmt.Sprintf(`{"n":2,"of":%d}`, i))); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 3 {
			ends(10+i, fmt.Sprintf(`{"n":2,"of":%d}`, i))
		}
		if err := n.Resume(t.Context(), rootID(2)); err != nil {
			t.Fatal(err)
		}
		ends(2, `"timeout"`)
	})
}

// TestQueuedRunsSleep wants runs that wait for those before them in a conversation to be asleep, and to begin in their turn.
func TestQueuedRunsSleep(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := openNode(t, t.TempDir(), bus.SyncOS, waitsConfig(t.TempDir()))
		defer n.close(t)
		for i := range 10 {
			q := Request{ID: rootID(i), Agent: "go", Skill: string(polity.ArrivalQueue), Conversation: "talk", Bounds: longWall()}
			if err := n.Open(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		until(t, n.Partition, "all sleep", func(c *core) bool { return len(c.runs) == 0 })
		for i := range 10 { // each waits for an hour, and then the next one begins
			begin := time.Now()
			if o, err := n.Wait(t.Context(), rootID(i)); err != nil || o.Status != polity.StatusCompleted || time.Since(begin).Round(time.Minute) != time.Hour {
				t.Errorf("%d: %+v %v after %s", i, o, err, time.Since(begin))
			}
		}
	})
}

// TestDamagedCheckpointIsNotServed flips every byte of a small checkpoint, and cuts it at every length; with some of these, and with damaged spools and files of other moments, it starts. What a
// node knows is always what the log tells, and it says once that it does not use a checkpoint.
func TestDamagedCheckpointIsNotServed(t *testing.T) {
	dir := t.TempDir()
	cfg := waitsConfig(dir)
	n := openNode(t, dir, bus.SyncOS, cfg)
	beginWaits(t, n)
	checkpointNow(t, n)
	first := readFolder(t, cfg.Dormant)
	if err := publish(n, "orders.paid", "p2", `{"order":{"id":17},"list":[1]}`); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, n, rootID(100), "order", longWall())
	until(t, n.Partition, "it sleeps again", func(c *core) bool { return c.trees[rootID(100)].asleep && c.trees[rootID(3)].asleep })
	checkpointNow(t, n)
	mustOpen(t, n, rootID(101), "order", longWall())
	log := memLog(entries(t, n.log))
	n.close(t)
	second := readFolder(t, cfg.Dormant)
	point1, spool := first.only(t, checkpointPrefix), first.only(t, spoolPrefix)
	maps.DeleteFunc(second, func(name string, _ []byte) bool { return name == point1 })
	point2 := second.only(t, checkpointPrefix)
	whole := cfg
	whole.Dormant = ""
	want, _, _ := cold(t, whole, log)
	if n := strings.Count(want, " for ") + strings.Count(want, "signals "); n < 8 {
		t.Fatalf("the state has only %d things in it:\n%s", n, want)
	}
	check := func(what string, files folder) (folded int, said string) {
		t.Helper()
		files.write(t, cfg.Dormant)
		got, folded, said := cold(t, cfg, log)
		if d := difference(got, want); d != "" {
			t.Fatalf("%s: the state is another one: %s", what, d)
		}
		return folded, said
	}
	unused := func(what string, files folder) {
		t.Helper()
		if folded, said := check(what, files); folded != len(log) || strings.Count(said, "a checkpoint is not used") != 1 {
			t.Fatalf("%s: %d of %d commits are folded; it says %q", what, folded, len(log), said)
		}
	}
	if folded, said := check("as it was", second); folded == len(log) || said != "" {
		t.Fatalf("without damage %d of %d commits are folded; it says %q", folded, len(log), said)
	}
	data := second[point2]
	for i := range data {
		other := slices.Clone(data)
		other[i] ^= 1 << (i % 8)
		for _, bad := range [][]byte{other, data[:i]} {
			if _, err := readCheckpoint(bytes.NewReader(bad), newVault(nil)); err == nil {
				t.Fatalf("%d: a damaged checkpoint is read", i)
			}
		}
		if i%37 != 0 {
			continue
		}
		unused(fmt.Sprintf("byte %d of the checkpoint", i), folder{point2: other, spool: second[spool]})
		unused(fmt.Sprintf("%d bytes of the checkpoint", i), folder{point2: data[:i], spool: second[spool]})
	}
	unused("a checkpoint with more behind it", folder{point2: append(slices.Clone(data), 0), spool: second[spool]})
	unused("a checkpoint of an unknown version", folder{point2: bytes.Replace(data, []byte(checkpointLine), []byte("polity checkpoint 9\n"), 1), spool: second[spool]})
	unused("a checkpoint by the name of another", folder{point1: data, spool: second[spool]})
	told, tried := 0, 0
	for i := 0; i < len(second[spool]); i += 5 {
		tried++
		other := slices.Clone(second[spool])
		other[i] ^= 1 << (i % 8)
		_, said := check(fmt.Sprintf("byte %d of the spool", i), folder{point2: data, spool: other})
		told += min(1, strings.Count(said, "is read from the log"))
		check(fmt.Sprintf("%d bytes of the spool", i), folder{point2: data, spool: second[spool][:i]})
	}
	if told < tried/2 {
		t.Errorf("of %d changes of the spool %d are noticed", tried, told)
	}
	check("the spool of before", folder{point2: data, spool: first[spool]})
	check("the checkpoint of before", folder{point1: first[point1], spool: second[spool]})
	check("both", folder{point1: first[point1], point2: data, spool: second[spool]})
	check("no spool", folder{point2: data})
}

// TestRepairedRun has a run stopped by code that decides otherwise, while a checkpoint is made and an event comes that it waits for. With its own code again it
// has the event: the checkpoint cannot tell of that, so the log is read.
func TestRepairedRun(t *testing.T) {
	dir := t.TempDir()
	cfg := waitsConfig(dir)
	n := openNode(t, dir, bus.SyncOS, cfg)
	beginWaits(t, n)
	n.close(t)
	broken := cfg
	catalog := waiters()
	maps.DeleteFunc(catalog.deciders, func(name string, _ polity.Decider) bool { return name == "order" })
	broken.Catalog = catalog
	broken.Whole = true
	n = openNode(t, dir, bus.SyncOS, broken)
	if err := publish(n, "orders.new", "p3", `{"came":"meanwhile"}`); err != nil {
		t.Fatal(err)
	}
	checkpointNow(t, n)
	n.close(t)
	broken.Whole = false
	n = openNode(t, dir, bus.SyncOS, broken) // still stopped
	if stopped, err := n.Stopped(t.Context()); err != nil || !slices.Contains(stopped, rootID(1)) || n.keeper.restored.seq == 0 {
		t.Errorf("stopped %v, began with commit %d, %v", stopped, n.keeper.restored.seq, err)
	}
	n.close(t)
	n = openNode(t, dir, bus.SyncOS, cfg)
	defer n.close(t)
	if n.keeper.restored.seq != 0 {
		t.Error("it began with a checkpoint")
	}
	if o, err := n.Wait(t.Context(), rootID(1)); err != nil || string(o.Output) != `{"came":"meanwhile"}` {
		t.Errorf("%+v %v", o, err)
	}
}
