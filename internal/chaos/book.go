package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"polity.run"
)

// violation is a promise that was not kept.
type violation struct {
	Round    int          `json:"round"`
	Run      polity.RunID `json:"run,omitempty"`
	Expected string       `json:"expected"`
	Found    string       `json:"found"`
}

const violationsMax = 50 // that are kept; more are counted

// book is what the world outside was told, and what was done to the node. Its methods are safe for concurrent use.
type book struct {
	mu         sync.Mutex
	round      int
	entries    map[polity.RunID]*entry // acknowledged
	order      []*entry
	faults     map[string]int
	keys       map[string]string // of questions about actions, by run and hash
	ended      map[string]int    // by kind and status
	violations []violation
	more       int
}

func newBook(round int) *book {
	return &book{round: round, entries: map[polity.RunID]*entry{}, faults: map[string]int{}, keys: map[string]string{}, ended: map[string]int{}}
}

func (b *book) violate(v violation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v.Round = b.round
	if len(b.violations) >= violationsMax {
		b.more++
		return
	}
	b.violations = append(b.violations, v)
	fmt.Printf("  VIOLATION %s: expected %s; found %.200s\n", v.Run, v.Expected, v.Found)
}

func (b *book) injected(kind string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults[kind]++
}

func (b *book) acknowledge(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entries[e.id] == nil {
		b.entries[e.id] = e
		b.order = append(b.order, e)
	}
}

// end keeps how a run ended.
func (b *book) end(e *entry, o polity.Outcome) {
	e.mu.Lock()
	first := e.outcome == nil
	if first {
		e.outcome = &o
	}
	e.mu.Unlock()
	if first {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.ended[o.Status.String()]++
	}
}

// all returns what was acknowledged, in that order.
func (b *book) all() []*entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.order)
}

// total is the figures of several rounds.
type total struct {
	Acknowledged int            `json:"acknowledged"`
	Ended        map[string]int `json:"ended"`  // by status
	Faults       map[string]int `json:"faults"` // by kind
	Between      int            `json:"killed_between"`
	Effects      int            `json:"effects"` // that were done
	Asked        int            `json:"asked"`   // times that effects were asked for
	Replayed     int            `json:"replayed"`
	Verified     int            `json:"verified"`
	NoRoom       int            `json:"had_no_room"` // runs with steps that failed because the disk was full
	Violations   []violation    `json:"violations"`
	More         int            `json:"more_violations,omitempty"`
}

func (t *total) add(b *book) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t.Acknowledged += len(b.order)
	for k, n := range b.ended {
		t.Ended[k] += n
	}
	for k, n := range b.faults {
		t.Faults[k] += n
	}
	t.Violations = append(t.Violations, b.violations...)
	t.More += b.more
}

func (t *total) count(c counts) {
	t.Between += c.Killed
	for _, ops := range c.Counts {
		for _, one := range ops {
			t.Effects += one.Done
			t.Asked += one.Asked
		}
	}
}

// words writes counts by name.
func words(counts map[string]int) string {
	parts := []string{}
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[k], k))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
