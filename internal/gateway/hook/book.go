package hook

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"polity.run"
	"polity.run/fault"
)

// The limits of hooks.
const (
	hooksMax      = 1000 // of each direction
	nameMax       = 60   // bytes
	deliveriesMax = 100  // of one hook that are kept
	deadMax       = 400  // of one hook that are kept and did not arrive, beside those that did
)

// In is where another service sends signed requests, each of which opens a run or publishes an event.
type In struct {
	Name   string          `json:"name"`
	Org    string          `json:"org,omitempty"` // whose agent is asked
	Agent  string          `json:"agent,omitempty"`
	Skill  string          `json:"skill,omitempty"`
	Topic  string          `json:"topic,omitempty"` // or where it is published
	Window polity.Duration `json:"window,omitempty"`
	Secret string          `json:"secret,omitempty"`
}

// Check returns fault.Invalid for what can be no hook.
func (h In) Check() error {
	switch {
	case (h.Org == "") == (h.Topic == ""):
		return fault.Invalid.New("hook %s: want either an organization whose agent is asked, or a topic", h.Name)
	case h.Topic != "" && (h.Agent != "" || h.Skill != ""):
		return fault.Invalid.New("hook %s: an agent and a skill go with an organization", h.Name)
	case h.Window < 0 || time.Duration(h.Window) > WindowMax:
		return fault.Invalid.New("hook %s: window %s: the most is %s", h.Name, h.Window, WindowMax)
	case h.Topic != "":
		if err := polity.CheckTopic(h.Topic); err != nil {
			return err
		}
	}
	if err := checkName(h.Name); err != nil {
		return err
	}
	return CheckSecret(h.Secret)
}

// Out is where this node sends a signed request for each thing that happens.
type Out struct {
	Name    string `json:"name"`
	URL     string `json:"url"`
	Org     string `json:"org,omitempty"` // only what happens to its runs; "" for all
	Q       string `json:"q,omitempty"`
	Private bool   `json:"private,omitempty"` // the address may be of this machine or its networks
	Secret  string `json:"secret,omitempty"`
}

// Check returns fault.Invalid for what can be no hook.
func (h Out) Check() error {
	u, err := url.Parse(h.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || len(h.URL) > 2000:
		return fault.Invalid.New("webhook %s: url %.100q: want https://HOST/PATH", h.Name, h.URL)
	case u.Scheme == "http" && !h.Private:
		return fault.Invalid.New("webhook %s: url: http is for private addresses; want https", h.Name)
	}
	if err := checkName(h.Name); err != nil {
		return err
	}
	return CheckSecret(h.Secret)
}

func checkName(name string) error {
	wrong := func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_') }
	if name == "" || len(name) > nameMax || strings.ContainsFunc(name, wrong) {
		return fault.Invalid.New("hook: name %.80q: want up to %d of a-z, 0-9, '-' and '_'", name, nameMax)
	}
	return nil
}

// What became of a delivery.
const (
	Delivered = "delivered"
	Dead      = "dead"   // after the last attempt
	Queued    = "queued" // it was dead, and is to be sent again
)

// Delivery is what became of a message that was sent.
type Delivery struct {
	ID       string    `json:"id"`    // of the message
	Event    string    `json:"event"` // its place, as COMMIT.NUMBER
	At       time.Time `json:"at"`    // of the last attempt
	Status   string    `json:"status"`
	Attempts int       `json:"attempts"`
	Answer   int       `json:"answer,omitempty"`  // status of the last answer
	Problem  string    `json:"problem,omitempty"` // of the last attempt
}

// Progress is how far a hook's receiver has been told.
type Progress struct {
	Event      string     `json:"event"`      // the last one that is settled
	Deliveries []Delivery `json:"deliveries"` // the newest last
}

// Shelf keeps values by key, each whole or not at all. A bus.Bucket is one.
type Shelf interface {
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	Each(ctx context.Context, each func(key string, value []byte) error) error
}

// Book holds the hooks of a node. Its methods are safe for concurrent use.
type Book struct {
	shelf Shelf

	mu   sync.Mutex
	in   map[string]In
	out  map[string]Out
	done map[string]Progress
}

// Open reads the hooks of a shelf. It returns fault.Damaged for what is none.
func Open(ctx context.Context, shelf Shelf) (*Book, error) {
	b := &Book{shelf: shelf, in: map[string]In{}, out: map[string]Out{}, done: map[string]Progress{}}
	err := shelf.Each(ctx, func(key string, value []byte) error {
		kind, name, _ := strings.Cut(key, ".")
		var err error
		switch kind {
		case "in":
			err = read(b.in, name, value)
		case "out":
			err = read(b.out, name, value)
		case "done":
			err = read(b.done, name, value)
		}
		if err != nil {
			return fault.Damaged.New("hook: %s: %w", key, err)
		}
		return nil
	})
	return b, err
}

func read[T any](into map[string]T, name string, value []byte) error {
	var v T
	err := json.Unmarshal(value, &v)
	into[name] = v
	return err
}

func (b *Book) put(ctx context.Context, key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fault.Internal.New("hook: %w", err)
	}
	return b.shelf.Put(ctx, key, data)
}

// PutIn makes or changes a hook for what comes in.
func (b *Book) PutIn(ctx context.Context, h In) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := h.Check(); err != nil {
		return err
	}
	if _, known := b.in[h.Name]; !known && len(b.in) >= hooksMax {
		return fault.Full.New("hook: %d hooks, which is the most", hooksMax)
	}
	if err := b.put(ctx, "in."+h.Name, h); err != nil {
		return err
	}
	b.in[h.Name] = h
	return nil
}

// PutOut makes or changes a hook for what goes out. A new one begins with what happens after a place.
func (b *Book) PutOut(ctx context.Context, h Out, from string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := h.Check(); err != nil {
		return err
	}
	_, known := b.out[h.Name]
	if !known && len(b.out) >= hooksMax {
		return fault.Full.New("hook: %d webhooks, which is the most", hooksMax)
	}
	if !known {
		p := Progress{Event: from, Deliveries: []Delivery{}}
		if err := b.put(ctx, "done."+h.Name, p); err != nil {
			return err
		}
		b.done[h.Name] = p
	}
	if err := b.put(ctx, "out."+h.Name, h); err != nil {
		return err
	}
	b.out[h.Name] = h
	return nil
}

// In returns a hook for what comes in.
func (b *Book) In(name string) (In, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h, ok := b.in[name]
	return h, ok
}

// Out returns a hook for what goes out, and how far it is.
func (b *Book) Out(name string) (Out, Progress, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h, ok := b.out[name]
	return h, b.done[name], ok
}

// Ins lists the hooks for what comes in, by name, without their secrets.
func (b *Book) Ins() []In {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []In{}
	for _, name := range slices.Sorted(maps.Keys(b.in)) {
		h := b.in[name]
		h.Secret = ""
		list = append(list, h)
	}
	return list
}

// Outs lists the hooks for what goes out, by name, without their secrets.
func (b *Book) Outs() []Out {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []Out{}
	for _, name := range slices.Sorted(maps.Keys(b.out)) {
		h := b.out[name]
		h.Secret = ""
		list = append(list, h)
	}
	return list
}

// DropIn removes a hook. It returns fault.NotFound if there is none.
func (b *Book) DropIn(ctx context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.in[name]; !ok {
		return fault.NotFound.New("hook: there is no hook %.80q", name)
	}
	err := b.shelf.Delete(ctx, "in."+name)
	if err == nil {
		delete(b.in, name)
	}
	return err
}

// DropOut removes a hook and what is kept of its deliveries. It returns fault.NotFound if there is none.
func (b *Book) DropOut(ctx context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.out[name]; !ok {
		return fault.NotFound.New("hook: there is no webhook %.80q", name)
	}
	for _, key := range []string{"out.", "done."} {
		if err := b.shelf.Delete(ctx, key+name); err != nil {
			return err
		}
	}
	delete(b.out, name)
	delete(b.done, name)
	return nil
}

// Settle keeps that everything up to a place is settled, and what became of the last message, if one was sent.
func (b *Book) Settle(ctx context.Context, name, event string, d *Delivery) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.out[name]; !ok {
		return fault.NotFound.New("hook: there is no webhook %.80q any more", name)
	}
	p := Progress{Event: event, Deliveries: slices.Clone(b.done[name].Deliveries)}
	if d != nil {
		p.Deliveries = kept(append(p.Deliveries, *d))
	}
	return b.settle(ctx, name, p)
}

// kept are the newest of deliveries: so many that arrived, and so many that did not.
func kept(list []Delivery) []Delivery {
	arrived, not := deliveriesMax, deadMax
	for i := len(list) - 1; i >= 0; i-- {
		room := &not
		if list[i].Status == Delivered {
			room = &arrived
		}
		if *room--; *room < 0 {
			list = slices.Delete(list, i, i+1)
		}
	}
	return list
}

// Requeue has dead messages of a hook sent again, or with ids those, dead or not, and returns how many are queued by that. It returns fault.NotFound if a message, or the
// hook, is not known.
func (b *Book) Requeue(ctx context.Context, name string, ids ...string) (queued int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.out[name]; !ok {
		return 0, fault.NotFound.New("hook: there is no webhook %.80q", name)
	}
	p := b.done[name]
	p.Deliveries = slices.Clone(p.Deliveries)
	known := map[string]bool{}
	for i := range p.Deliveries {
		d := &p.Deliveries[i]
		known[d.ID] = true
		if len(ids) == 0 && d.Status != Dead || len(ids) > 0 && !slices.Contains(ids, d.ID) || d.Status == Queued {
			continue
		}
		d.Status = Queued
		queued++
	}
	for _, id := range ids {
		if !known[id] {
			return 0, fault.NotFound.New("hook: webhook %s: no message %.200q is known: the newest %d are that arrived, and %d that did not", name, id, deliveriesMax, deadMax)
		}
	}
	if queued == 0 {
		return 0, nil
	}
	return queued, b.settle(ctx, name, p)
}

// Queued returns the oldest message of a hook that is to be sent again.
func (b *Book) Queued(name string) (Delivery, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.done[name].Deliveries {
		if d.Status == Queued {
			return d, true
		}
	}
	return Delivery{}, false
}

// Resettle keeps what became of a message that was sent again. Of one that is not kept any more it keeps nothing.
func (b *Book) Resettle(ctx context.Context, name string, d *Delivery) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.done[name]
	i := slices.IndexFunc(p.Deliveries, func(was Delivery) bool { return was.ID == d.ID })
	if i < 0 {
		return nil
	}
	p.Deliveries = slices.Clone(p.Deliveries)
	p.Deliveries[i] = *d
	return b.settle(ctx, name, p)
}

// settle keeps how far a hook's receiver has been told. b.mu is held.
func (b *Book) settle(ctx context.Context, name string, p Progress) error {
	if err := b.put(ctx, "done."+name, p); err != nil {
		return err
	}
	b.done[name] = p
	return nil
}
