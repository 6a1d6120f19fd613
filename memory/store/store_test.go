package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/memory"
	"polity.run/memory/memorytest"
	"polity.run/memory/store"
)

// shelf is a shelf without a disk; that of the engine has tests of its own.
type shelf struct {
	mu     sync.Mutex
	keys   []string
	values map[string][]byte
	fails  error
}

func (s *shelf) Put(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return s.fails
	}
	s.keys = append(slices.DeleteFunc(s.keys, func(k string) bool { return k == key }), key)
	s.values[key] = slices.Clone(value)
	return nil
}

func (s *shelf) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = slices.DeleteFunc(s.keys, func(k string) bool { return k == key })
	delete(s.values, key)
	return s.fails
}

func (s *shelf) Each(_ context.Context, each func(string, []byte) error) error {
	for _, k := range s.keys {
		if err := each(k, s.values[k]); err != nil {
			return err
		}
	}
	return nil
}

func open(t *testing.T, s *shelf, e memory.Embedder) *store.Store {
	t.Helper()
	out, err := store.Open(context.Background(), s, store.Limits{Records: 40, Bytes: 4 << 10}, e, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestConformance(t *testing.T) {
	memorytest.Run(t, func(t *testing.T) func() memory.Store {
		s := &shelf{values: map[string][]byte{}}
		return func() memory.Store { return open(t, s, nil) }
	})
}

// meanings is an embedder that knows two subjects.
type meanings struct{ fails error }

func (meanings) Name() string { return "meanings" }

func (m meanings) Embed(_ context.Context, texts []string) ([][]float32, polity.Usage, error) {
	out := make([][]float32, len(texts))
	for i, t := range texts {
		count := func(words ...string) (n float32) {
			for _, w := range words {
				n += float32(strings.Count(strings.ToLower(t), w))
			}
			return n
		}
		out[i] = []float32{count("money", "euro", "debt"), count("door", "window"), 0.01}
	}
	return out, polity.Usage{InputTokens: int64(len(texts))}, m.fails
}

func TestMeaningFindsWhatWordsDoNot(t *testing.T) {
	ctx := context.Background()
	lying := &shelf{values: map[string][]byte{}}
	s := open(t, lying, meanings{})
	usage, err := s.Add(ctx, "m", []memory.Record{
		{ID: "a", Kind: memory.Note, Text: "He pays forty euros."}, {ID: "b", Kind: memory.Note, Text: "A window of oak."},
	})
	if err != nil || usage.InputTokens != 2 {
		t.Fatal(usage, err)
	}
	for range 2 { // the vectors survive a restart
		hits, usage, err := s.Search(ctx, []string{"m"}, memory.Query{Text: "debt", Limit: 1})
		if err != nil || len(hits) != 1 || hits[0].ID != "a" || usage.InputTokens != 1 {
			t.Fatalf("%+v %+v %v", hits, usage, err)
		}
		s = open(t, lying, meanings{})
	}
	down := open(t, lying, meanings{fails: fault.Unavailable.New("down")})
	hits, _, err := down.Search(ctx, []string{"m"}, memory.Query{Text: "window"})
	if err != nil || len(hits) != 1 || hits[0].ID != "b" {
		t.Errorf("by words alone: %+v %v", hits, err)
	}
	if _, err := down.Add(ctx, "m", []memory.Record{{ID: "c", Kind: memory.Note, Text: "noted all the same"}}); err != nil {
		t.Errorf("a note: %v", err)
	}
	if _, err := down.Add(ctx, "m", []memory.Record{{ID: "d", Kind: memory.Passage, Text: "a passage"}}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a document: %v", err)
	}
}

// TestNothingIsFoundThatIsNotSafe has the shelf fail.
func TestNothingIsFoundThatIsNotSafe(t *testing.T) {
	ctx := context.Background()
	full := &shelf{values: map[string][]byte{}, fails: fault.Full.New("no room")}
	s := open(t, full, nil)
	if _, err := s.Add(ctx, "m", []memory.Record{{ID: "a", Kind: memory.Note, Text: "x"}}); !errors.Is(err, fault.Full) {
		t.Errorf("got %v", err)
	}
	hits, _, err := s.Search(ctx, []string{"m"}, memory.Query{Text: "x"})
	if err != nil || len(hits) > 0 {
		t.Errorf("%+v %v", hits, err)
	}
}

func TestDamagedShelf(t *testing.T) {
	bad := &shelf{keys: []string{"k"}, values: map[string][]byte{"k": []byte("{")}}
	if _, err := store.Open(context.Background(), bad, store.Limits{}, nil, nil); !errors.Is(err, fault.Damaged) {
		t.Errorf("got %v", err)
	}
}

func TestPassages(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	doc := "Before.\n\n# One\n\nFirst.\n\nSecond.\n\n## Two\n\n```\n# no heading\n```\n\n# Three\n\n" + strings.Repeat("A sentence of some length. ", 200) + "\n"
	records, err := memory.Passages("book.md", []byte(doc), at)
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		Title string
		Line  int
		Text  string
	}
	var got []line
	for _, r := range records {
		if err := r.Check(); err != nil {
			t.Error(err)
		}
		text := r.Text
		if len(text) > 40 {
			text = text[:8] + "…"
		}
		got = append(got, line{r.Title, r.Origin.Line, text})
	}
	want := []line{
		{"book.md", 1, "Before."}, {"book.md: One", 5, "First.\n\nSecond."}, {"book.md: One > Two", 11, "```\n# no heading\n```"},
		{"book.md: Three", 17, "A senten…"}, {"book.md: Three", 17, "A senten…"}, {"book.md: Three", 17, "A senten…"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, bad := range map[string][]byte{"binary": {0xff, 0xfe}, "empty": []byte(" \n\n"), "zero": []byte("a\x00b"), "long": make([]byte, memory.DocumentMax+1)} {
		if _, err := memory.Passages("x", bad, at); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzPassages(f *testing.F) {
	f.Add([]byte("# a\n\nb\n```\n# c\n"))
	f.Add([]byte(strings.Repeat("é", 3000)))
	f.Add([]byte("###### \n####### x\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := memory.Passages("d", data, time.Time{})
		if err != nil {
			return
		}
		for _, r := range records {
			if err := r.Check(); err != nil {
				t.Error(err)
			}
		}
	})
}

// BenchmarkSearch searches a memory that is full, by words, and by words and vectors of 1,536 numbers.
func BenchmarkSearch(b *testing.B) {
	words := strings.Fields("door window debt euro letter monday boss ada bob clerk price handbook reminder year sign oak red late early paid")
	for name, e := range map[string]memory.Embedder{"words": nil, "vectors": wide{}} {
		s, err := store.Open(context.Background(), &shelf{values: map[string][]byte{}}, store.Limits{}, e, nil)
		if err != nil {
			b.Fatal(err)
		}
		var records []memory.Record
		for i := range memory.RecordsMax {
			text := fmt.Sprintf("number %d", i)
			for j := range 60 {
				text += " " + words[(i*7+j*j*(i%13))%len(words)]
			}
			records = append(records, memory.Record{ID: fmt.Sprint(i), Kind: memory.Note, Text: text})
		}
		for part := range slices.Chunk(records, memory.AddMax) {
			if _, err := s.Add(context.Background(), "m", part); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := s.Search(context.Background(), []string{"m"}, memory.Query{Text: "what does ada pay for the red door"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// wide is an embedder of wide vectors.
type wide struct{}

func (wide) Name() string { return "wide" }

func (wide) Embed(_ context.Context, texts []string) ([][]float32, polity.Usage, error) {
	out := make([][]float32, len(texts))
	for i, t := range texts {
		out[i] = make([]float32, 1536)
		for j := range out[i] {
			out[i][j] = float32((len(t)*31+j*17)%97) / 97
		}
	}
	return out, polity.Usage{}, nil
}
