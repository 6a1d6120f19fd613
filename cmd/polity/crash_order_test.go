package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	orderCount = 20
	orderKills = 20
	orderPaced = 150 * time.Millisecond // between two orders
	orderEnd   = 4 * time.Minute        // for all of it
)

// warehouse packs what it is asked for, but for the last orders: these are not packed in time.
const warehouse = `polity: v1
name: warehouse
agents:
  packer: {command: [sh, ./packer.sh], effect: none}
on:
  - {topic: parcel.wanted, where: data.order < 116}
org:
  pattern: sequence
  stages: [{agent: packer}, {publish: {topic: parcel.packed}}]
`

const packer = `printf '{"order":%s}\n' "$(sed 's/.*"order": *\([0-9]*\).*/\1/')"` + "\n"

// lost has a program lose its answer the first time that it is asked for something about every third order.
const lost = `[ $((order % 3)) != 0 ] || [ "$(grep -c "^$did $order " "$BOOKED")" -gt 1 ] || { echo "the line is broken" >&2; exit 1; }` + "\n"

// TestKillOrders has the three organizations of examples/order, and a warehouse, each in a process of its own, work on orders that are placed twice
// each, while these processes are killed with SIGKILL at seeded moments. In the end every order is shipped and paid once, or what was done of it is undone
// once, the last first: so says the shop's book, which is not ours.
func TestKillOrders(t *testing.T) {
	t.Parallel() // it mostly waits
	bin := program(t)
	dir := t.TempDir()
	book := filepath.Join(dir, "booked")
	copyOrders(t, dir, book)
	ctx, cancel := context.WithTimeout(t.Context(), orderEnd)
	defer cancel()
	run := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, bin, append(args, "--state", filepath.Join(dir, "state"))...)
		cmd.Dir = dir
		return cmd
	}
	s := &shop{run: run, at: map[string]*exec.Cmd{}}
	for _, org := range []string{"orders", "payments", "shipping", "warehouse"} {
		if out, err := run("watch", org+".yaml", "--once").CombinedOutput(); err != nil { // it watches from now on
			t.Fatalf("%v\n%s", err, out)
		}
	}
	serving, leave := context.WithCancel(ctx)
	var around sync.WaitGroup
	for _, org := range []string{"orders", "payments", "shipping", "warehouse"} {
		around.Go(func() { s.serve(serving, org) })
	}
	var placing sync.WaitGroup
	placing.Go(func() { s.place(t) })
	rng := rand.New(rand.NewPCG(11, 11))
	for range orderKills {
		time.Sleep(time.Duration(200+rng.IntN(500)) * time.Millisecond)
		s.kill([]string{"orders", "payments", "shipping", "warehouse"}[rng.IntN(4)])
	}
	placing.Wait()
	kills := s.kills
	list := s.ended(ctx, t)
	leave()
	for _, org := range []string{"orders", "payments", "shipping", "warehouse"} {
		s.kill(org)
	}
	around.Wait()
	if n := list["orders"]; n != orderCount {
		t.Errorf("%d orders have %d runs", orderCount, n)
	}
	checkBook(t, book)
	t.Logf("%d kills, runs: %v", kills, list)
	if kills < orderKills/2 { // a process may just have ended
		t.Errorf("only %d of %d kills hit a process", kills, orderKills)
	}
}

// copyOrders copies the example, whose programs then note what they do and lose answers, and whose orders are packed within seconds or not at all.
func copyOrders(t *testing.T, dir, book string) {
	t.Helper()
	from := filepath.Join("..", "..", "examples", "order")
	files := map[string]string{"warehouse.yaml": warehouse, "packer.sh": packer}
	for _, name := range []string{"orders.yaml", "payments.yaml", "shipping.yaml", "book.sh", "bank.sh", "stock.sh", "carrier.sh"} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), "    effect: keyed\n", fmt.Sprintf("    effect: keyed\n    sandbox: {off: true}\n    env: [\"BOOKED=%s\"]\n", book))
		text = strings.Replace(text, "within: 24h", "within: 8s", 1)
		if strings.HasSuffix(name, ".sh") {
			noted := strings.Index(text, `>>"$BOOKED"`)
			if noted < 0 {
				t.Fatalf("%s notes nothing", name)
			}
			noted += strings.IndexByte(text[noted:], '\n') + 1
			text = text[:noted] + lost + text[noted:]
		}
		files[name] = text
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// shop is the processes of the organizations.
type shop struct {
	run func(args ...string) *exec.Cmd

	mu    sync.Mutex
	at    map[string]*exec.Cmd
	kills int
}

// serve has an organization watched by one process after the other.
func (s *shop) serve(ctx context.Context, org string) {
	for ctx.Err() == nil {
		cmd := s.run("watch", org+".yaml", "--at-once", "100")
		s.mu.Lock()
		err := cmd.Start()
		s.at[org] = cmd
		s.mu.Unlock()
		if err == nil {
			_ = cmd.Wait() // it was killed, or somebody else's state was
		}
	}
}

func (s *shop) kill(org string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cmd := s.at[org]; cmd != nil && cmd.Process != nil && cmd.Process.Kill() == nil {
		s.kills++
	}
}

// place places every order twice, each until it is acknowledged.
func (s *shop) place(t *testing.T) {
	for n := range orderCount {
		data := fmt.Sprintf(`{"order":%d,"item":"lamp","euros":40}`, 100+n)
		switch n % 5 {
		case 3:
			data = fmt.Sprintf(`{"order":%d,"item":"lamp","euros":4000}`, 100+n)
		case 4:
			data = fmt.Sprintf(`{"order":%d,"item":"unicorn","euros":40}`, 100+n)
		}
		for range 2 {
			var out []byte
			err := os.ErrInvalid
			for try := 0; try < 100 && err != nil; try++ {
				out, err = s.run("topics", "publish", "shop.ordered", "--id", fmt.Sprint("order-", 100+n), "--data", data).CombinedOutput()
			}
			if err != nil {
				t.Errorf("order %d: %v\n%s", n, err, out)
			}
		}
		time.Sleep(orderPaced)
	}
}

// ended waits until nothing runs any more, and returns how many runs there are of each organization.
func (s *shop) ended(ctx context.Context, t *testing.T) map[string]int {
	for quiet := 0; ; time.Sleep(time.Second) {
		out, err := s.run("runs", "list", "--limit", "0", "-o", "json").Output()
		var list []struct{ Agent, Status string }
		if err == nil {
			err = json.Unmarshal(out, &list)
		}
		if ctx.Err() != nil {
			t.Fatalf("runs have not ended: %v\n%s", err, out)
		}
		of, open := map[string]int{}, err != nil
		for _, r := range list {
			of[r.Agent]++
			open = open || r.Status == "running"
		}
		if quiet++; open || of["orders"] < orderCount {
			quiet = 0
		}
		if quiet == 2 { // an event between two runs is handled by now
			return of
		}
	}
}

// checkBook holds the book against what must be.
func checkBook(t *testing.T, book string) {
	data, err := os.ReadFile(book)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]map[string]bool{} // of an operation of an order
	first := map[string]int{}            // line
	for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		op, key, _ := strings.Cut(strings.Replace(line, " ", "-", 1), " ")
		if keys[op] == nil {
			keys[op], first[op] = map[string]bool{}, i
		}
		keys[op][key] = true
	}
	repeated := len(strings.Split(strings.TrimSpace(string(data)), "\n")) - len(keys)
	shipped, undone := 0, 0
	for n := range orderCount {
		done := func(op string) int { return len(keys[fmt.Sprintf("%s-%d", op, 100+n)]) }
		line := func(op string) int { return first[fmt.Sprintf("%s-%d", op, 100+n)] }
		for _, op := range []string{"enter", "pay", "reserve", "ship", "release", "refund", "strike"} {
			if done(op) > 1 {
				t.Errorf("order %d: %s was done %d times", n, op, done(op))
			}
		}
		if done("enter") != 1 {
			t.Errorf("order %d was not entered", n)
		}
		undo := []string{"release", "refund", "strike"}
		if done("ship") == 1 {
			shipped++
			if done("pay") != 1 || done("reserve") != 1 || slices.ContainsFunc(undo, func(op string) bool { return done(op) > 0 }) {
				t.Errorf("order %d is shipped: paid %d, reserved %d, undone %d %d %d", n, done("pay"), done("reserve"), done("release"), done("refund"), done("strike"))
			}
			continue
		}
		undone++
		for i, did := range []string{"reserve", "pay", "enter"} {
			if done(did) != done(undo[i]) {
				t.Errorf("order %d is not shipped: %s %d, %s %d", n, did, done(did), undo[i], done(undo[i]))
			}
		}
		if done("release") > 0 && line("release") > line("refund") || done("refund") > 0 && line("refund") > line("strike") {
			t.Errorf("order %d was not undone in reverse", n)
		}
	}
	t.Logf("%d shipped, %d undone, %d effects asked for again", shipped, undone, repeated)
	if shipped == 0 || undone < orderCount*2/5 {
		t.Errorf("%d shipped, %d undone: that is too simple", shipped, undone)
	}
}
