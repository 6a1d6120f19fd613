package engine

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/internal/bus"
	"polity.run/message"
)

const (
	instancesBucket = "instances"
	sheetMax        = 256 << 10 // bytes of one value of the bucket, which holds many names
)

// roll knows the instances of agents: names with mailboxes of their own, of which one definition does the work. The names stand on sheets, each a value of
// the bucket; an instance that was sent nothing costs its name.
type roll struct {
	writing sync.Mutex // held while sheets are written, which no reader waits for
	bucket  *bus.Bucket

	mu     sync.RWMutex
	agents map[polity.AgentName]*herd
}

// herd are the instances of one agent.
type herd struct {
	sheet map[string]uint32 // where each name stands
	last  uint32            // the sheet that is being filled
	text  string            // what stands on it: names, each with a line break
}

// load reads the roll.
func (r *roll) load(ctx context.Context, b *bus.Bus) error {
	bucket, err := b.Bucket(ctx, instancesBucket)
	if err != nil {
		return err
	}
	agents := map[polity.AgentName]*herd{}
	err = bucket.Each(ctx, func(key string, value []byte) error {
		name, number, _ := strings.Cut(key, ".")
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return fault.Damaged.New("instances: %s: it is no sheet of an agent", key)
		}
		h := agents[polity.AgentName(name)]
		if h == nil {
			h = &herd{sheet: map[string]uint32{}}
			agents[polity.AgentName(name)] = h
		}
		h.add(uint32(n), string(value))
		return nil
	})
	if err == nil {
		r.bucket, r.agents = bucket, agents
	}
	return err
}

// add enters the names of a text that was added to a sheet.
func (h *herd) add(sheet uint32, text string) {
	for name := range strings.Lines(text) {
		h.sheet[strings.TrimSuffix(name, "\n")] = sheet // a part of text, which is kept once
	}
	switch {
	case sheet > h.last:
		h.last, h.text = sheet, text
	case sheet == h.last:
		h.text += text
	}
}

// has says whether an agent has an instance.
func (r *roll) has(name polity.AgentName, instance string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	h := r.agents[name]
	if h == nil {
		return false
	}
	_, ok := h.sheet[instance]
	return ok
}

// roll returns the roll, which is read the first time.
func (e *Engine) roll(ctx context.Context) (*roll, error) {
	if err := e.orgs.ready(ctx); err != nil {
		return nil, err
	}
	e.orgs.mu.RUnlock()
	return &e.orgs.roll, nil
}

// AddInstances gives an agent instances, AGENT/NAME each: addresses with a mailbox of their own, whose messages the agent works on in their name. It
// returns how many there were not yet, when they are durable. Names are as those of agents are. It returns fault.NotFound for an agent without an address, and fault.Invalid for
// one in another process and for a name that is none; then none is added.
func (e *Engine) AddInstances(ctx context.Context, name polity.AgentName, names []string) (int, error) {
	r, err := e.roll(ctx)
	if err != nil {
		return 0, err
	}
	if err := e.mayHaveInstances(name); err != nil {
		return 0, err
	}
	for _, n := range names {
		if err := polity.AgentName(n).Check(); err != nil {
			return 0, fault.Invalid.New("instance of %s: %w", name, err)
		}
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	return r.add(ctx, name, names)
}

func (e *Engine) mayHaveInstances(name polity.AgentName) error {
	e.orgs.mu.RLock()
	defer e.orgs.mu.RUnlock()
	_, r, err := e.orgs.of(name)
	if err != nil {
		return err
	}
	if a := r.doc.Agent(string(name)); a == nil || a.Kind == agent.KindRemote {
		return fault.Invalid.New("agent %s works in another process, and has no instances here", name)
	}
	return nil
}

// add writes names on sheets. r.writing is held.
func (r *roll) add(ctx context.Context, name polity.AgentName, names []string) (added int, err error) {
	r.mu.Lock()
	h := r.agents[name]
	if h == nil {
		h = &herd{sheet: map[string]uint32{}}
		r.agents[name] = h
	}
	r.mu.Unlock()
	for len(names) > 0 {
		var page strings.Builder
		sheet, room := h.last, sheetMax-len(h.text)
		n := 0
		for ; n < len(names) && page.Len()+len(names[n]) < room; n++ {
			if _, known := h.sheet[names[n]]; !known {
				page.WriteString(names[n])
				page.WriteByte('\n')
			}
		}
		if n == 0 { // the sheet is full
			h.last, h.text = sheet+1, ""
			continue
		}
		names = names[n:]
		if page.Len() == 0 {
			continue
		}
		if err := r.bucket.Put(ctx, key(name, sheet), []byte(h.text+page.String())); err != nil {
			return added, err
		}
		r.mu.Lock()
		before := len(h.sheet)
		h.add(sheet, page.String())
		added += len(h.sheet) - before
		r.mu.Unlock()
	}
	return added, nil
}

func key(name polity.AgentName, sheet uint32) string {
	return string(name) + "." + strconv.FormatUint(uint64(sheet), 10)
}

// changeInstances does what a request says.
func (e *Engine) changeInstances(ctx context.Context, q message.Instances) (int, error) {
	if err := q.Check(); err != nil {
		return 0, err
	}
	if len(q.Add) > 0 {
		return e.AddInstances(ctx, q.Agent, q.Add)
	}
	return e.RemoveInstances(ctx, q.Agent, q.Remove)
}

// RemoveInstances takes instances of an agent away, and returns how many there were. What they were sent and have not done, is done; nothing new is taken.
func (e *Engine) RemoveInstances(ctx context.Context, name polity.AgentName, names []string) (int, error) {
	r, err := e.roll(ctx)
	if err != nil {
		return 0, err
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	h := r.agents[name]
	if h == nil {
		return 0, nil
	}
	gone, sheets := map[string]bool{}, map[uint32]*strings.Builder{}
	for _, n := range names {
		if sheet, ok := h.sheet[n]; ok {
			gone[n], sheets[sheet] = true, &strings.Builder{}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(h.sheet)) {
		if text := sheets[h.sheet[n]]; text != nil && !gone[n] {
			text.WriteString(n + "\n")
		}
	}
	for sheet, text := range sheets {
		if err := r.bucket.Put(ctx, key(name, sheet), []byte(text.String())); err != nil {
			return 0, err
		}
		if sheet == h.last {
			h.text = text.String()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := range gone {
		delete(h.sheet, n)
	}
	return len(gone), nil
}

// Instances returns how many instances agents have.
func (e *Engine) Instances(ctx context.Context) (map[polity.AgentName]int, error) {
	r, err := e.roll(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := map[polity.AgentName]int{}
	for name, h := range r.agents {
		if len(h.sheet) > 0 {
			all[name] = len(h.sheet)
		}
	}
	return all, nil
}
