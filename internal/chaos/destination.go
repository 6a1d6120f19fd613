package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"polity.run"
	"polity.run/model"
	"polity.run/model/modeltest/wire"
)

// The limits of how badly the destination behaves.
const (
	askedBadly = 2                      // times that one effect is answered badly: the third attempt of the same is answered
	slowMax    = 900 * time.Millisecond // before an answer
	bodyMax    = 1 << 20                // bytes of a request
	padMax     = 100 << 10              // bytes that a reader answers with: more than a log keeps in itself
)

// counterName is what the desk counts with.
const counterName = "letters"

// count is what the destination knows of one effect: an operation of a run.
type count struct {
	Class string `json:"class"`
	Asked int    `json:"asked"` // times that it was asked for
	// Done is how often the effect is there: for a keyed one once for each key, for an idempotent one once, for an external one each time.
	Done int      `json:"done"`
	Keys []string `json:"keys,omitempty"` // distinct, of class keyed
	// First and Ended are when it was asked for and done for the first time, as numbers that only grow.
	First int `json:"first,omitempty"`
	Ended int `json:"ended,omitempty"`
}

// tally is what was done, by root run and operation.
type tally map[polity.RunID]map[string]*count

// destination is the world outside: it does effects, counts them, and speaks for a model. It behaves badly where its seed says so.
type destination struct {
	seed  uint64
	model *wire.Server

	mu     sync.Mutex
	counts tally
	time   int    // grows with everything that happens
	order  *order // the next effect that kills the node; nil for none
	killed int
}

// order has the destination kill the node when it is asked for an effect of a class.
type order struct {
	Class string `json:"class"`
	After bool   `json:"after"` // once it is done; else before
	PID   int    `json:"pid"`
}

// serveDestination is the program "destination": it prints its address and serves until its standard input ends.
func serveDestination(seedText string) error {
	seed, err := strconv.ParseUint(seedText, 10, 64)
	if err != nil {
		return fmt.Errorf("destination: seed: %w", err)
	}
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is that of whoever started this
		os.Exit(0)
	}()
	fmt.Println(door.Addr())
	return http.Serve(door, newDestination(seed))
}

func newDestination(seed uint64) http.Handler {
	d := &destination{seed: seed, model: wire.New(), counts: tally{}}
	d.model.Answer = answer
	mux := http.NewServeMux()
	mux.Handle("/v1/", d.model)
	mux.HandleFunc("/do/{class}/{op}", d.do)
	mux.HandleFunc("/part/{class}/{op}", d.do)
	mux.HandleFunc("POST /order", d.take)
	mux.HandleFunc("GET /counts", d.tell)
	return mux
}

// asked is what of a request's body is of interest: stages hand on what the one before answered, and who undoes is told the stage's input.
type asked struct {
	Token polity.RunID `json:"token,omitempty"`
	Fail  bool         `json:"fail,omitempty"`
	For   string       `json:"for,omitempty"`
	Input *asked       `json:"input,omitempty"`
	Pad   string       `json:"pad,omitempty"` // so that some answers are large
}

// do does an effect. Which run it is for is said by the one who asks, or, by a model's tool without a key, in the body.
func (d *destination) do(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyMax))
	if err != nil {
		return // the one who asks is gone
	}
	var in asked
	_ = json.Unmarshal(body, &in) // what is no such object has no token
	in.Pad = ""
	if in.Input != nil && in.Token == "" {
		in = *in.Input
	}
	root := in.Token
	for _, header := range []string{"Polity-Run", "Idempotency-Key"} {
		if text := r.Header.Get(header); text != "" {
			run, _, _ := strings.Cut(text, "#")
			root = polity.RunID(run).Root()
			break
		}
	}
	if strings.HasPrefix(r.URL.Path, "/part/") { // of a saga of several runs, which have the same token
		root = polity.RunID(tokenText.FindString(tokenField.FindString(string(body))))
		in = asked{Token: root, Fail: strings.Contains(string(body), `"fail":true`)}
	}
	class, op, key := r.PathValue("class"), r.PathValue("op"), r.Header.Get("Idempotency-Key")
	if root == "" {
		http.Error(w, "it says for no run", http.StatusBadRequest)
		return
	}
	times, kill := d.begin(root, class, op)
	if kill != nil && !kill.After {
		d.kill(w, kill)
		return
	}
	how := d.manner(root, op, times)
	switch how {
	case fails:
		http.Error(w, "try again", http.StatusServiceUnavailable)
		return
	case drops:
		hangUp(w)
		return
	case slow:
		time.Sleep(time.Duration(d.roll(root, op, times, "slow") % uint64(slowMax)))
	}
	if (op == "printer" || op == "ship") && in.Fail {
		http.Error(w, "no paper", http.StatusConflict)
		return
	}
	d.done(root, op, class, key)
	if op == "reader" {
		in.Pad = strings.Repeat("x", int(d.roll(root, op, 0, "pad")%padMax))
	}
	switch {
	case kill != nil:
		d.kill(w, kill)
	case how == doneFails:
		http.Error(w, "try again", http.StatusInternalServerError)
	case how == doneDrops:
		hangUp(w)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(in) // the one who asks may be gone
	}
}

// begin counts that an effect is asked for, and takes the order that waits for one of its class.
func (d *destination) begin(root polity.RunID, class, op string) (int, *order) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.count(root, op, class)
	c.Asked++
	d.time++
	if c.First == 0 {
		c.First = d.time
	}
	kill := d.order
	if kill == nil || kill.Class != class {
		return c.Asked, nil
	}
	d.order = nil
	return c.Asked, kill
}

// count returns what is known of an effect. d.mu is held.
func (d *destination) count(root polity.RunID, op, class string) *count {
	if d.counts[root] == nil {
		d.counts[root] = map[string]*count{}
	}
	if d.counts[root][op] == nil {
		d.counts[root][op] = &count{Class: class}
	}
	return d.counts[root][op]
}

func (d *destination) done(root polity.RunID, op, class, key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.count(root, op, class)
	d.time++
	if c.Ended == 0 {
		c.Ended = d.time
	}
	switch class {
	case "keyed":
		for _, k := range c.Keys {
			if k == key {
				return
			}
		}
		c.Keys = append(c.Keys, key)
		c.Done = len(c.Keys)
	case "idempotent":
		c.Done = 1
	case "external":
		c.Done++
	}
}

// The manners of answering.
const (
	well      = iota
	slow      // it answers late
	fails     // it refuses for now
	drops     // it hangs up
	doneFails // it does it, and says that it failed
	doneDrops // it does it, and hangs up
)

// manner is how an effect is answered when it is asked for the nth time.
func (d *destination) manner(root polity.RunID, op string, n int) int {
	if n > askedBadly {
		return well
	}
	switch roll := d.roll(root, op, n, "manner") % 100; {
	case roll < 10:
		return slow
	case roll < 14:
		return fails
	case roll < 17:
		return drops
	case roll < 21:
		return doneFails
	case roll < 26:
		return doneDrops
	default:
		return well
	}
}

func (d *destination) roll(root polity.RunID, op string, n int, what string) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %s %d %s", d.seed, root, op, n, what)
	return h.Sum64() >> 7 // the low bits of FNV differ least
}

// kill ends the node while it waits for the answer, which never comes.
func (d *destination) kill(w http.ResponseWriter, o *order) {
	if err := syscall.Kill(o.PID, syscall.SIGKILL); err == nil {
		d.mu.Lock()
		d.killed++
		d.mu.Unlock()
	}
	hangUp(w)
}

// hangUp breaks the connection without an answer.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_ = conn.Close() // that is what is wanted, however it goes
}

// take takes an order, or with an empty one takes it back.
func (d *destination) take(w http.ResponseWriter, r *http.Request) {
	var o order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.order = nil
	if o.PID > 1 {
		d.order = &o
	}
}

// counts is what a destination tells.
type counts struct {
	Counts tally `json:"counts"`
	Killed int   `json:"killed"` // times that it killed the node
}

func (d *destination) tell(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(counts{d.counts, d.killed}) // the one who asks finds it cut
}

var (
	tokenText  = regexp.MustCompile(`0-[a-z2-7]{24}`)
	tokenField = regexp.MustCompile(`"token":"0-[a-z2-7]{24}"`)
)

// answer is the model: it has what it is asked about noted, indexed, sent and counted, in that order, and then says so. What fails is not asked for again.
func answer(s wire.Seen) wire.Reply {
	told, token := 0, ""
	for _, m := range s.Request.Messages {
		if m.Call != "" {
			told++
		} else if token == "" && m.Role == model.User {
			token = tokenText.FindString(m.Text)
		}
	}
	names := []string{"note", "index", "send", "add"}
	if told >= len(names) {
		return wire.Reply{Text: "It is done.", Input: 10, Output: 5}
	}
	for _, o := range s.Request.Tools {
		if strings.HasSuffix(o.Name, names[told]) {
			input := fmt.Appendf(nil, `{"token":%q}`, token)
			if names[told] == "add" {
				input = fmt.Appendf(nil, `{"name":%q,"by":1}`, counterName)
			}
			return wire.Reply{Calls: []model.Call{{ID: fmt.Sprintf("c%d", told), Name: o.Name, Input: input}}, Input: 10, Output: 5}
		}
	}
	return wire.Reply{Status: http.StatusBadRequest, Text: "there is no tool " + names[told]}
}

// doEffect is the program "effect": an agent of kind exec that has the destination do something under its key.
func doEffect(class, op string) error {
	body, err := io.ReadAll(io.LimitReader(os.Stdin, bodyMax))
	if err != nil {
		return err
	}
	r, err := http.NewRequest(http.MethodPost, os.Getenv("DESTINATION")+"/do/"+class+"/"+op, bytes.NewReader(body))
	if err != nil {
		return err
	}
	key := os.Getenv("POLITY_KEY")
	r.Header.Set("Polity-Run", key)
	if class == "keyed" {
		r.Header.Set("Idempotency-Key", key)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	data, err := io.ReadAll(io.LimitReader(a.Body, bodyMax))
	if err != nil {
		return err
	}
	if a.StatusCode != http.StatusOK {
		return errors.New(a.Status)
	}
	_, err = os.Stdout.Write(data)
	return err
}
