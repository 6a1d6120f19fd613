// Package store holds memories: every record in a shelf that is durable, and an index of each memory in the process.
//
// It exists so that a search needs no server beside the node's own: words are ranked by BM25, vectors by their angle where there are some, and
// both orders are joined. The life of a record:
//
//	Add -> a vector, if there is an embedder -> the shelf -> the index -> Search ... -> Forget, from both
package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/rank"
	"polity.run/memory"
	"polity.run/schema"
)

const (
	fusion   = 60.0 // of reciprocal rank fusion: Cormack, Clarke and Buettcher, SIGIR 2009
	pool     = 200  // the best of each order that are joined
	alike    = 0.9  // texts that have this part of their words in common say the same
	addBatch = 64   // texts that an embedder is given at once
)

// Shelf keeps values by key, durably. Its methods are safe for concurrent use.
type Shelf interface {
	// Put returns when the value is safe.
	Put(ctx context.Context, key string, value []byte) error
	// Delete returns when it is gone; what is not there is gone already.
	Delete(ctx context.Context, key string) error
	// Each gives all values, in the order of putting.
	Each(ctx context.Context, each func(key string, value []byte) error) error
}

// Limits bound one memory. A zero field is that of package memory.
type Limits struct {
	Records int
	Bytes   int
}

// Store is memories on a shelf. It is safe for concurrent use.
type Store struct {
	shelf    Shelf
	embedder memory.Embedder // nil: words alone
	limits   Limits
	log      *slog.Logger

	mu        sync.Mutex // also held while the shelf is written: what is found is safe
	books     map[string]*book
	forgotten []memory.Forgotten
}

var _ memory.Store = (*Store)(nil)

// book is one memory.
type book struct {
	entries []*entry // in the order of adding
	byID    map[string]*entry
	bytes   int
	index   *rank.Index // of entries; nil when it is to be made again
}

type entry struct {
	memory.Record
	size   int
	by     string // of the vector
	vector []float32
}

// item is what lies on the shelf.
type item struct {
	Memory    string            `json:"memory"`
	Record    *memory.Record    `json:"record,omitempty"`
	By        string            `json:"by,omitempty"`     // the embedder
	Vector    []byte            `json:"vector,omitempty"` // of length 1: little-endian numbers of 32 bits
	Forgotten *memory.Forgotten `json:"forgotten,omitempty"`
	Version   int               `json:"version,omitempty"` // of this form; 0 stands for 1
}

// itemUpcasts make items that older versions of this program kept into those of this one, each time they are read.
var itemUpcasts = schema.Upcasts[json.RawMessage]{}

// readItem reads what lies on the shelf. It returns fault.Invalid for what a newer version of this program put there.
func readItem(value []byte, upcasts schema.Upcasts[json.RawMessage]) (item, error) {
	i := item{Version: 1}
	if err := json.Unmarshal(value, &i); err != nil {
		return i, fault.Damaged.New("%w", err)
	}
	current, err := upcasts.Read(value, i.Version, schema.Range{From: 1, To: upcasts.Newest()})
	if err != nil || i.Version == upcasts.Newest() {
		return i, err
	}
	i = item{}
	return i, json.Unmarshal(current, &i)
}

// Open reads what is on the shelf. embedder and log may be nil. It returns fault.Damaged for what cannot be read.
func Open(ctx context.Context, shelf Shelf, limits Limits, embedder memory.Embedder, log *slog.Logger) (*Store, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	limits.Records, limits.Bytes = cmp.Or(limits.Records, memory.RecordsMax), cmp.Or(limits.Bytes, memory.BytesMax)
	s := &Store{shelf: shelf, embedder: embedder, limits: limits, log: log, books: map[string]*book{}}
	err := shelf.Each(ctx, func(key string, value []byte) error {
		i, err := readItem(value, itemUpcasts)
		if err != nil {
			return fault.Of(err).Kind.New("memory: %s: %w", key, err)
		}
		switch {
		case i.Forgotten != nil:
			s.forgotten = append(s.forgotten, *i.Forgotten)
		case i.Record != nil:
			s.book(i.Memory).put(&entry{Record: *i.Record, by: i.By, vector: floats(i.Vector)})
		}
		return nil
	})
	return s, err
}

// With returns the same memories with another embedder and other limits, for a caller whose organization declares them. It shares
// everything but those.
func (s *Store) With(limits Limits, embedder memory.Embedder) memory.Store {
	limits.Records, limits.Bytes = cmp.Or(limits.Records, memory.RecordsMax), cmp.Or(limits.Bytes, memory.BytesMax)
	return &seen{s, limits, embedder}
}

// seen is a store as one organization sees it.
type seen struct {
	*Store
	limits   Limits
	embedder memory.Embedder
}

func (v *seen) Add(ctx context.Context, name string, records []memory.Record) (polity.Usage, error) {
	return v.add(ctx, name, records, v.limits, v.embedder)
}

func (v *seen) Search(ctx context.Context, names []string, q memory.Query) ([]memory.Hit, polity.Usage, error) {
	return v.search(ctx, names, q, v.embedder)
}

func (s *Store) book(name string) *book {
	b := s.books[name]
	if b == nil {
		b = &book{byID: map[string]*entry{}}
		s.books[name] = b
	}
	return b
}

func (b *book) put(e *entry) {
	e.size = len(e.Text) + len(e.Title)
	b.entries = append(b.entries, e)
	b.byID[e.ID] = e
	b.bytes += e.size
	b.index = nil
}

func (b *book) remove(gone map[string]bool) {
	b.entries = slices.DeleteFunc(b.entries, func(e *entry) bool {
		if gone[e.ID] {
			b.bytes -= e.size
			delete(b.byID, e.ID)
		}
		return gone[e.ID]
	})
	b.index = nil
}

// key is where a record lies on the shelf: names are of any form, keys are not.
func key(name, id string) string {
	sum := sha256.Sum256([]byte(name))
	one := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:8]) + "." + hex.EncodeToString(one[:16])
}

// Add implements memory.Store.
func (s *Store) Add(ctx context.Context, name string, records []memory.Record) (polity.Usage, error) {
	return s.add(ctx, name, records, s.limits, s.embedder)
}

func (s *Store) add(ctx context.Context, name string, records []memory.Record, limits Limits, embedder memory.Embedder) (polity.Usage, error) {
	if name == "" || len(name) > memory.NameMax {
		return polity.Usage{}, fault.Invalid.New("memory: a name of %d bytes; want 1 to %d", len(name), memory.NameMax)
	}
	if len(records) > memory.AddMax {
		return polity.Usage{}, fault.Invalid.New("memory: %d records at once; the most is %d", len(records), memory.AddMax)
	}
	var problems []error
	for _, r := range records {
		problems = append(problems, r.Check())
	}
	if err := errors.Join(problems...); err != nil {
		return polity.Usage{}, err
	}
	fresh, err := s.fresh(name, records)
	if err != nil || len(fresh) == 0 {
		return polity.Usage{}, err
	}
	usage, err := s.embed(ctx, fresh, embedder)
	if err != nil {
		return usage, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.book(name)
	for _, e := range fresh {
		if b.byID[e.ID] != nil {
			continue // somebody else was faster
		}
		if err := s.room(ctx, name, b, e, limits); err != nil {
			return usage, err
		}
		if err := s.put(ctx, key(name, e.ID), item{Memory: name, Record: &e.Record, By: e.by, Vector: packed(e.vector)}); err != nil {
			return usage, err
		}
		b.put(e)
	}
	return usage, nil
}

func (s *Store) put(ctx context.Context, key string, i item) error {
	data, err := json.Marshal(i)
	if err != nil {
		return fault.Invalid.New("memory: %w", err)
	}
	return s.shelf.Put(ctx, key, data)
}

// fresh returns what is not there yet.
func (s *Store) fresh(name string, records []memory.Record) ([]*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.book(name)
	var out []*entry
	for _, r := range records {
		r.Text, r.Title = strings.ToValidUTF8(r.Text, "\uFFFD"), strings.ToValidUTF8(r.Title, "\uFFFD")
		old := b.byID[r.ID]
		switch {
		case old == nil:
			out = append(out, &entry{Record: r})
		case old.Text != r.Text || old.Kind != r.Kind:
			return nil, fault.Conflict.New("memory %s: record %s says something else already", name, r.ID)
		}
	}
	return out, nil
}

// embed gives entries their vectors. A document without them is refused; what was noted is kept all the same, and found by its words.
func (s *Store) embed(ctx context.Context, entries []*entry, embedder memory.Embedder) (polity.Usage, error) {
	var total polity.Usage
	if embedder == nil {
		return total, nil
	}
	for part := range slices.Chunk(entries, addBatch) {
		texts := make([]string, len(part))
		for i, e := range part {
			texts[i] = strings.TrimSpace(e.Title + "\n" + e.Text)
		}
		vectors, usage, err := embedder.Embed(ctx, texts)
		total = total.Plus(usage)
		switch {
		case err != nil && part[0].Kind == memory.Passage:
			return total, err
		case err != nil:
			s.log.WarnContext(ctx, "memory: remembered without a vector", "error", err)
			return total, nil
		}
		for i, e := range part {
			e.by, e.vector = embedder.Name(), unit(vectors[i])
		}
	}
	return total, nil
}

// room forgets the oldest episodes and then the oldest notes until e fits.
func (s *Store) room(ctx context.Context, name string, b *book, e *entry, limits Limits) error {
	size := len(e.Text) + len(e.Title)
	for len(b.entries) >= limits.Records || b.bytes+size > limits.Bytes {
		oldest := -1
		for _, kind := range []memory.Kind{memory.Episode, memory.Note} {
			if oldest = slices.IndexFunc(b.entries, func(o *entry) bool { return o.Kind == kind }); oldest >= 0 {
				break
			}
		}
		if oldest < 0 {
			return fault.Full.New("memory %s: %d records of %d bytes are all that it holds; forget documents with: polity memory forget", name, len(b.entries), b.bytes)
		}
		id := b.entries[oldest].ID
		if err := s.shelf.Delete(ctx, key(name, id)); err != nil {
			return err
		}
		b.remove(map[string]bool{id: true})
	}
	return nil
}

// Search implements memory.Store.
func (s *Store) Search(ctx context.Context, names []string, q memory.Query) ([]memory.Hit, polity.Usage, error) {
	return s.search(ctx, names, q, s.embedder)
}

func (s *Store) search(ctx context.Context, names []string, q memory.Query, embedder memory.Embedder) ([]memory.Hit, polity.Usage, error) {
	var usage polity.Usage
	if len(q.Text) > memory.QueryMax {
		q.Text = strings.ToValidUTF8(q.Text[:memory.QueryMax], "")
	}
	if q.Limit < 0 {
		return nil, usage, fault.Invalid.New("memory: a limit of %d", q.Limit)
	}
	var meant []float32
	if embedder != nil && strings.TrimSpace(q.Text) != "" && s.vectors(names, embedder.Name()) {
		var vectors [][]float32
		var err error
		vectors, usage, err = embedder.Embed(ctx, []string{q.Text})
		if err != nil { // words find it too
			s.log.WarnContext(ctx, "memory: searched by words alone", "error", err)
		} else {
			meant = unit(vectors[0])
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []memory.Hit
	for _, name := range names {
		if b := s.books[name]; b != nil {
			for _, h := range b.search(q, meant, embedder) {
				h.Memory = name
				found = append(found, h)
			}
		}
	}
	slices.SortStableFunc(found, func(x, y memory.Hit) int {
		return cmp.Or(cmp.Compare(y.Score, x.Score), y.At.Compare(x.At), strings.Compare(x.ID, y.ID))
	})
	return different(found, min(cmp.Or(q.Limit, memory.HitsDefault), memory.HitsMax)), usage, nil
}

// different returns the first n hits without those that say what one before them said.
func different(found []memory.Hit, n int) []memory.Hit {
	out := []memory.Hit{}
	for _, h := range found {
		if len(out) == n {
			break
		}
		if !slices.ContainsFunc(out, func(o memory.Hit) bool { return rank.Similarity(o.Text, h.Text) >= alike }) {
			out = append(out, h)
		}
	}
	return out
}

// vectors says whether a memory has vectors that can be compared.
func (s *Store) vectors(names []string, by string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		if b := s.books[name]; b != nil && slices.ContainsFunc(b.entries, func(e *entry) bool { return e.by == by }) {
			return true
		}
	}
	return false
}

// search ranks a memory's records, by words and by meaning, and joins both orders.
func (b *book) search(q memory.Query, meant []float32, embedder memory.Embedder) []memory.Hit {
	if b.index == nil {
		texts := make([]string, len(b.entries))
		for i, e := range b.entries {
			texts[i] = e.Title + "\n" + e.Text
		}
		b.index = rank.New(texts)
	}
	joined := make([]float64, len(b.entries))
	add := func(scores []float64) {
		order := make([]int, 0, len(scores))
		for i, score := range scores {
			if score > 0 && (len(q.Kinds) == 0 || slices.Contains(q.Kinds, b.entries[i].Kind)) {
				order = append(order, i)
			}
		}
		slices.SortStableFunc(order, func(i, j int) int {
			return cmp.Or(cmp.Compare(scores[j], scores[i]), b.entries[j].At.Compare(b.entries[i].At), strings.Compare(b.entries[i].ID, b.entries[j].ID))
		})
		for at, i := range order[:min(len(order), pool)] {
			joined[i] += 1 / (fusion + float64(at+1))
		}
	}
	add(b.index.Score(q.Text))
	if len(meant) > 0 {
		near := make([]float64, len(b.entries))
		for i, e := range b.entries {
			if e.by == embedder.Name() && len(e.vector) == len(meant) {
				near[i] = dot(e.vector, meant)
			}
		}
		add(near)
	}
	var hits []memory.Hit
	for i, score := range joined {
		if score > 0 {
			hits = append(hits, memory.Hit{Record: b.entries[i].Record, Score: score})
		}
	}
	return hits
}

// Forget implements memory.Store.
func (s *Store) Forget(ctx context.Context, name string, f memory.Filter, at time.Time) (memory.Forgotten, error) {
	done := memory.Forgotten{At: at, Memory: name, Filter: f}
	if f.Empty() {
		return done, fault.Invalid.New("memory: nothing says what to forget")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := map[memory.Ref]bool{}
	if b := s.books[name]; b != nil {
		for _, e := range b.entries {
			if f.Matches(e.Record) {
				gone[memory.Ref{Memory: name, ID: e.ID}] = true
			}
		}
	}
	done.Records = len(gone)
	for more := len(gone) > 0; more; {
		more = s.derived(gone)
	}
	done.Derived = len(gone) - done.Records
	done.Records = len(gone)
	if done.Records == 0 {
		return done, nil
	}
	// What is forgotten is noted first: after a crash between, forgetting again is safe and finds the rest.
	if err := s.note(ctx, done); err != nil {
		return done, err
	}
	byBook := map[string]map[string]bool{}
	for r := range gone {
		if err := s.shelf.Delete(ctx, key(r.Memory, r.ID)); err != nil {
			return done, err
		}
		if byBook[r.Memory] == nil {
			byBook[r.Memory] = map[string]bool{}
		}
		byBook[r.Memory][r.ID] = true
	}
	for name, ids := range byBook {
		s.books[name].remove(ids)
	}
	return done, nil
}

// derived adds what was concluded from what is gone, one step further, and reports whether there was anything.
func (s *Store) derived(gone map[memory.Ref]bool) (more bool) {
	for name, b := range s.books {
		for _, e := range b.entries {
			r := memory.Ref{Memory: name, ID: e.ID}
			if !gone[r] && slices.ContainsFunc(e.Origin.Because, func(b memory.Ref) bool { return gone[b] }) {
				gone[r], more = true, true
			}
		}
	}
	return more
}

// note remembers that something was forgotten.
func (s *Store) note(ctx context.Context, f memory.Forgotten) error {
	if err := s.put(ctx, forgottenKey(f), item{Memory: f.Memory, Forgotten: &f}); err != nil {
		return err
	}
	s.forgotten = append(s.forgotten, f)
	if len(s.forgotten) <= memory.ForgottenMax {
		return nil
	}
	oldest := s.forgotten[0]
	s.forgotten = s.forgotten[1:]
	return s.shelf.Delete(ctx, forgottenKey(oldest))
}

func forgottenKey(f memory.Forgotten) string {
	return key("\x00forgotten", fmt.Sprintf("%s %s %+v", f.At.UTC().Format(time.RFC3339Nano), f.Memory, f.Filter))
}

// List implements memory.Store.
func (s *Store) List(_ context.Context, name string) ([]memory.Record, []memory.Forgotten, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	records := []memory.Record{}
	if b := s.books[name]; b != nil {
		for _, e := range b.entries {
			records = append(records, e.Record)
		}
	}
	var gone []memory.Forgotten
	for _, f := range s.forgotten {
		if f.Memory == name {
			gone = append(gone, f)
		}
	}
	return records, gone, nil
}

// Names lists the memories that hold something, sorted.
func (s *Store) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name, b := range s.books {
		if len(b.entries) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// unit returns a vector of length 1 in the same direction.
func unit(v []float32) []float32 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if sum == 0 || math.IsInf(sum, 0) || math.IsNaN(sum) {
		return nil
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(float64(x) / math.Sqrt(sum))
	}
	return out
}

func dot(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(float64(a[i]) * float64(b[i]))
	}
	return sum
}

// packed and floats write and read a vector.
func packed(v []float32) []byte {
	var out []byte
	for _, x := range v {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(x))
	}
	return out
}

func floats(data []byte) []float32 {
	var out []float32
	for ; len(data) >= 4; data = data[4:] {
		out = append(out, math.Float32frombits(binary.LittleEndian.Uint32(data)))
	}
	return out
}
