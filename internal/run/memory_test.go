package run

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// memory is the quiet counterpart of the simulated world: a kernel on one goroutine, whose log takes every commit
// and whose effects all end, in the order in which they began.
type memory struct {
	t       testing.TB
	core    *core
	now     time.Time
	log     []memEntry
	blobs   map[Digest]json.RawMessage
	appends []memAppend
	effects []*pending
	do      func(p *pending) result
	failed  error
	decided strings.Builder // every command, as the core decided it
}

type memAppend struct {
	pack  *pack
	token uint64
}

// epochOfMemory is the same for every owner, so that the same inputs make the same bytes.
var epochOfMemory = [8]byte{'m', 'e', 'm', 'o', 'r', 'y'}

func newMemory(t testing.TB, catalog Catalog) *memory {
	t.Helper()
	m := &memory{t: t, now: time.Unix(1_800_000_000, 0), blobs: map[Digest]json.RawMessage{}}
	m.do = func(*pending) result { return result{data: json.RawMessage(`{"ok":true}`)} }
	m.open(catalog, false)
	return m
}

// open begins with a new core on what the log holds, as a process does that starts again.
func (m *memory) open(catalog Catalog, park bool) {
	m.t.Helper()
	m.appends, m.effects = nil, nil
	m.core = newCore(m, catalog, epochOfMemory)
	m.core.parks = park
	m.decided.Reset()
	m.core.decided = note(&m.decided)
	if err := foldLog(m.core, m.log); err != nil {
		m.t.Fatal(err)
	}
	m.core.now = m.now
	m.core.serve()
	m.core.settle()
}

func (m *memory) append(p *pack, token uint64) {
	for _, b := range p.blobs {
		m.blobs[b.blob] = slices.Clone(b.data)
	}
	m.appends = append(m.appends, memAppend{p, token})
}

func (m *memory) readHead(uint64, int) { m.t.Error("the quiet log was in doubt") }
func (m *memory) acknowledged()        {}
func (m *memory) start(p *pending)     { m.effects = append(m.effects, p) }
func (m *memory) hold(seq uint64)      { m.core.letGo(seq) }
func (m *memory) stop(*pending)        {} // they all end by themselves
func (m *memory) down(err error)       { m.failed = err }

func (m *memory) load(d Digest) (json.RawMessage, error) {
	if b, ok := m.blobs[d]; ok {
		return b, nil
	}
	return nil, fault.NotFound.New("blob %x", d)
}

// acknowledge writes what is in flight, until nothing is.
func (m *memory) acknowledge() {
	for len(m.appends) > 0 {
		a := m.appends[0]
		m.appends = m.appends[1:]
		m.log = append(m.log, memEntry{slices.Clone(a.pack.buf), a.pack.id})
		m.core.appended(a.token, uint64(len(m.log)))
		m.core.settle()
	}
}

// run goes on until nothing can happen any more. When only timers are left, time jumps to the next.
func (m *memory) run() {
	m.t.Helper()
	for n := 0; m.failed == nil; n++ {
		if n > 20_000 {
			m.t.Fatal("the kernel comes to no end")
		}
		m.acknowledge()
		if len(m.effects) > 0 {
			p := m.effects[0]
			m.effects = m.effects[1:]
			m.core.now = m.now
			m.core.done(p, m.do(p))
			m.core.settle()
			continue
		}
		live := 0
		for _, r := range m.core.runs {
			if !r.tree.parked {
				live++
			}
		}
		if live == 0 {
			break
		}
		next := m.core.tick()
		m.core.settle()
		if len(m.appends) > 0 {
			continue
		}
		if next.IsZero() {
			m.t.Fatalf("%d runs wait for nothing", live)
		}
		m.now = maxTime(m.now, next)
		m.core.now = m.now
	}
	if m.failed != nil {
		m.t.Fatal(m.failed)
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// begin opens a root run without waiting for it.
func (m *memory) begin(i int, agent string, b polity.Bounds) *polity.Outcome {
	m.t.Helper()
	out := &polity.Outcome{}
	m.core.now = m.now
	m.core.open(&request{id: rootID(i), agent: agent, input: json.RawMessage(`{}`), bounds: b.Or(polity.DefaultBounds())},
		func(err error) {
			if err != nil {
				m.t.Errorf("open: %v", err)
			}
		},
		func(o polity.Outcome, err error) {
			if err != nil {
				m.t.Errorf("ended: %v", err)
			}
			*out = o
		})
	m.core.settle()
	return out
}

// ask opens a root run, and returns how it ended.
func (m *memory) ask(agent string, b polity.Bounds) polity.Outcome {
	m.t.Helper()
	out := m.begin(1, agent, b)
	m.run()
	return *out
}

// records gives every record of the log to each.
func (m *memory) records(each func(seq int, r *record)) {
	m.t.Helper()
	for i, e := range m.log {
		var f frame
		if err := f.decode(e.data); err != nil {
			m.t.Fatalf("commit %d: %v", i+1, err)
		}
		for j := range f.records {
			each(i+1, &f.records[j])
		}
	}
}

// note writes down commands as they are decided.
func note(b *strings.Builder) func(polity.RunID, *polity.Command) {
	return func(r polity.RunID, cmd *polity.Command) {
		request := hashRequest(cmd)
		fmt.Fprintf(b, "%s %s %s %s %q %d %+v %+v %x %s\n", r, cmd.Do, cmd.Key(), cmd.To, cmd.Skill, cmd.After, cmd.Reserve, cmd.Bounds, request, cmd.Input)
	}
}

// entries reads a whole log.
func entries(t testing.TB, l log) []memEntry {
	t.Helper()
	ctx := context.Background()
	last, err := l.Last(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var all []memEntry
	if err := l.Read(ctx, 1, last.Seq, func(e bus.Entry) error {
		all = append(all, memEntry{slices.Clone(e.Data), headHash(e)})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}
