package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	programName  = "polity"
	bankFile     = "POLITY_TEST_BANK" // the environment variable that makes this program a bank, and names its book
	payments     = 40                 // as many as a plan has
	paymentKills = 16
)

// TestMain is the program where it is called by its name, and a bank: a destination in a process of its own, which is not killed.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == programName {
		main()
	}
	if book := os.Getenv(bankFile); book != "" {
		if err := openBank(book); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// bank does what it is asked as often as it is asked: it knows keys, and does not look at them. It writes into its book what was begun and
// what was done, and answers late, or not at all.
type bank struct {
	book *os.File
	mu   sync.Mutex
	rng  *rand.Rand
	done map[string]string // key -> receipt
	open map[string]bool   // under way
	came map[string]bool   // once before
}

func openBank(book string) error {
	f, err := os.OpenFile(book, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	b := &bank{book: f, rng: rand.New(rand.NewPCG(7, 7)), done: map[string]string{}, open: map[string]bool{}, came: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /payments", b.pay)
	mux.HandleFunc("GET /payments/{key}", b.find)
	fmt.Println(l.Addr())
	go func() { // the bank closes with the test
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return http.Serve(l, mux)
}

// note writes a line into the book; b.mu is held.
func (b *bank) note(what, key string) {
	if _, err := fmt.Fprintln(b.book, what, key); err != nil {
		panic(err)
	}
}

func (b *bank) pay(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	b.mu.Lock()
	b.note("begin", key)
	b.open[key] = true
	fate := b.rng.IntN(8)
	if b.came[key] {
		fate += 2
	}
	b.came[key] = true
	pause := time.Duration(b.rng.IntN(60)) * time.Millisecond
	b.mu.Unlock()
	time.Sleep(pause)
	b.mu.Lock()
	delete(b.open, key)
	if fate > 0 { // else it breaks off before anything is done
		b.done[key] = fmt.Sprintf("receipt-%d", len(b.done))
		b.note("end", key)
	}
	receipt := b.done[key]
	b.mu.Unlock()
	time.Sleep(pause)
	if fate < 2 {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]string{"id": receipt})
}

func (b *bank) find(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch receipt := b.done[r.PathValue("key")]; {
	case receipt != "":
		_ = json.NewEncoder(w).Encode(map[string]string{"id": receipt})
	case b.open[r.PathValue("key")]:
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// startBank starts a bank in a process of its own, and returns its address.
func startBank(t *testing.T, book string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), bankFile+"="+book)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(address)
}

// TestKillBetweenEffectAndResult kills the program with SIGKILL at seeded moments of payments to a bank that answers late or not at all, and
// does twice what it is asked twice. Where the bank can be asked what became of a payment, each is made exactly once, and none ends
// unknown. Where it cannot, each is made at most once.
func TestKillBetweenEffectAndResult(t *testing.T) {
	t.Parallel() // it mostly waits
	polity := program(t)
	for name, asked := range map[string]bool{"asked": true, "not asked": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			book := filepath.Join(dir, "book")
			manifest := payManifest(t, dir, startBank(t, book), asked)
			state := filepath.Join(dir, "state")
			rng := rand.New(rand.NewPCG(3, 3))
			kills := 0
			for kills < paymentKills && killOnce(t, command(polity, manifest, state, ""), book, rng) {
				kills++
			}
			got := finish(t, polity, manifest, state, "")
			listed := effectsIn(t, polity, state)
			checkPayments(t, asked, got, listed, count(t, book), kills)
		})
	}
}

// killOnce starts the program and kills it soon after a payment has begun. It says whether the kill came before the end.
func killOnce(t *testing.T, cmd *exec.Cmd, book string, rng *rand.Rand) bool {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	working(t, book, done)
	select {
	case <-done:
		return false
	case <-time.After(time.Duration(rng.IntN(90)) * time.Millisecond):
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-done
		return true
	}
}

// listedEffect is an effect as polity effects list shows it.
type listedEffect struct {
	Key     string          `json:"key"`
	To      string          `json:"to"`
	Status  string          `json:"status"`
	Asked   bool            `json:"asked"`
	Receipt json.RawMessage `json:"receipt"`
}

func effectsIn(t *testing.T, polity, state string) []listedEffect {
	t.Helper()
	out, err := exec.Command(polity, "effects", "list", "--state", state, "--limit", "0", "-o", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Effects []listedEffect `json:"effects"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	return list.Effects
}

func checkPayments(t *testing.T, asked bool, got report, listed []listedEffect, book tally, kills int) {
	t.Helper()
	foundOut, unknown, paid := 0, 0, 0
	for _, e := range listed {
		if !strings.HasPrefix(e.To, "bank.pay") {
			continue
		}
		paid++
		times := book.ended[e.Key]
		switch {
		case times > 1:
			t.Errorf("%s was made %d times", e.Key, times)
		case e.Status == "done" && times != 1:
			t.Errorf("%s is done, and was made %d times", e.Key, times)
		case e.Status == "done" && !strings.Contains(string(e.Receipt), `"$.id": "receipt-`) && !strings.Contains(string(e.Receipt), `"$.id":"receipt-`):
			t.Errorf("%s has the receipt %s", e.Key, e.Receipt)
		case e.Status == "unknown":
			unknown++
		case e.Status != "done":
			t.Errorf("%s is %s", e.Key, e.Status)
		}
		if e.Asked {
			foundOut++
		}
	}
	if paid != payments {
		t.Errorf("%d payments are listed, want %d", paid, payments)
	}
	if asked && (unknown > 0 || len(book.ended) != payments) {
		t.Errorf("%d payments were made of %d, and %d ended unknown", len(book.ended), payments, unknown)
	}
	if asked && foundOut == 0 || !asked && unknown == 0 || kills == 0 {
		t.Errorf("%d kills, %d asked, %d unknown: the test shows nothing", kills, foundOut, unknown)
	}
	again := 0
	for _, n := range book.begun {
		again += n - 1
	}
	t.Logf("%d kills: %d payments made of %d, %d found out by asking, %d begun again, %d ended unknown", kills, len(book.ended), payments, foundOut, again, unknown)
}

// payManifest has an agent for each payment, of which some work at once.
func payManifest(t *testing.T, dir, address string, asked bool) string {
	t.Helper()
	var tools, hooks, agents, plan strings.Builder
	for i := range payments {
		fmt.Fprintf(&tools, "        - {name: pay%02d, method: POST, url: \"http://%s/payments\", input: {type: object}, receipt: $.id}\n", i, address)
		fmt.Fprintf(&agents, "  p%02d: {model: quote, instructions: Pay., gather: [bank.pay%02d]}\n", i, i)
		fmt.Fprintf(&plan, "    - {id: s%02d, agent: p%02d}\n", i, i)
	}
	if asked {
		hooks.WriteString("    reconcile:\n")
		for i := range payments {
			fmt.Fprintf(&hooks, "      pay%02d: {ask: find, output: $, absent: not_done, wait: 500ms, every: 100ms, attempts: 20}\n", i)
		}
	}
	text := fmt.Sprintf(`polity: v1
name: payments
tools:
  bank:
    http:
      allow: ["%s"]
      private: true
      tools:
%s        - {name: find, url: "http://%s/payments/{key}"}
%sagents:
%sorg:
  pattern: hub
  specialists: [%s]
  caps: {width: 4}
  join: {policy: best-effort}
  plan:
%s`, address, tools.String(), address, hooks.String(), agents.String(), specialists(), plan.String())
	write(t, filepath.Join(dir, "polity.yaml"), text, 0o600)
	return filepath.Join(dir, "polity.yaml")
}

func specialists() string {
	names := make([]string, payments)
	for i := range names {
		names[i] = fmt.Sprintf("p%02d", i)
	}
	return strings.Join(names, ", ")
}
