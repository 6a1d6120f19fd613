package environ_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"polity.run/environ"
	"polity.run/fault"
)

// board is where events are published; the position is how many there are.
type board struct {
	list     []environ.Published
	position uint64
	known    bool
	keeps    int
}

func (b *board) topic() environ.Topic {
	return environ.Topic{
		Pattern: "orders.*",
		Read: func(_ context.Context, _ string, after uint64, _ time.Duration) ([]environ.Published, uint64, error) {
			n := min(after, uint64(len(b.list)))
			next := min(n+2, uint64(len(b.list))) // two at a time
			return slices.Clone(b.list[n:next]), next, nil
		},
		Load: func() (uint64, bool, error) { return b.position, b.known, nil },
		Keep: func(at uint64) error { b.position, b.known = at, true; b.keeps++; return nil },
	}
}

func (b *board) publish(ids ...string) {
	for _, id := range ids {
		n := len(b.list)
		at := time.Unix(int64(n), 0)
		b.list = append(b.list, environ.Published{Topic: "orders.placed", ID: id, Data: []byte(`{"order":1}`), At: at, Seq: uint64(n + 1)})
	}
}

// TestTopic sees what is published since it was first watched, each once, also over a new beginning, and what emit refused again.
func TestTopic(t *testing.T) {
	b := &board{}
	b.publish("before")
	var seen []string
	refuse := ""
	emit := func(_ context.Context, o environ.Observation) error {
		if o.ID == refuse {
			return fault.Unavailable.New("no room")
		}
		seen = append(seen, o.ID+" "+string(o.Input))
		return nil
	}
	open := func() environ.Source {
		s, err := b.topic().Open()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	look := func(s environ.Source, want error) {
		t.Helper()
		if err := s.Once(t.Context(), emit); !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
	s := open()
	look(s, nil)
	b.publish("a", "b", "c")
	look(s, nil)
	kept := b.keeps
	look(s, nil)
	if b.keeps != kept {
		t.Error("nothing came, and it is kept again how far was read")
	}
	b.publish("d", "e", "f")
	refuse = "orders.placed e"
	look(open(), fault.Unavailable)
	refuse = ""
	look(open(), nil)
	want := []string{"a", "b", "c", "d", "d", "e", "f"} // d again: whoever accepts it knows it
	for i, id := range want {
		want[i] = "orders.placed " + id + ` {"event":"topic.published","topic":"orders.placed","id":"` + id + `","data":{"order":1}}`
	}
	if !slices.Equal(seen, want) {
		t.Errorf("saw %q, want %q", seen, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := open().Run(ctx, emit); !errors.Is(err, fault.Cancelled) {
		t.Errorf("at its end: %v", err)
	}
	if _, err := (environ.Topic{Pattern: "x"}).Open(); !errors.Is(err, fault.Invalid) {
		t.Errorf("a topic that nobody reads: %v", err)
	}
}

// TestTopicBatches sees the same batches however often it begins anew, by time and by number, of what is wanted.
func TestTopicBatches(t *testing.T) {
	b := &board{known: true}
	b.publish("a", "b", "c", "no", "d", "e", "f", "g", "h") // a second apart
	topic := b.topic()
	topic.Batch, topic.Within = 3, 5*time.Second
	topic.Want = func(e environ.Published) bool { return e.ID != "no" }
	var seen []string
	refuse := 0
	emit := func(_ context.Context, o environ.Observation) error {
		if refuse--; refuse == 0 {
			return fault.Unavailable.New("no room")
		}
		seen = append(seen, o.ID)
		return nil
	}
	want := []string{"orders.* 1-3", "orders.* 5-7", "orders.* 8-9"}
	for refuse = range 5 {
		seen, b.position = nil, 0
		for range 2 {
			s, err := topic.Open()
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Once(t.Context(), emit); err == nil {
				break
			}
		}
		slices.Sort(seen)
		if seen = slices.Compact(seen); !slices.Equal(seen, want) || b.position != 9 {
			t.Errorf("saw %q up to %d", seen, b.position)
		}
	}
	topic.Batch, topic.Within = 100, 2*time.Second
	b.position, seen, refuse = 0, nil, 0
	s, err := topic.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Once(t.Context(), emit); err != nil {
		t.Fatal(err)
	}
	if want := []string{"orders.* 1-2", "orders.* 3-3", "orders.* 5-6", "orders.* 7-8", "orders.* 9-9"}; !slices.Equal(seen, want) {
		t.Errorf("by time: %q", seen)
	}
	topic.Within = 0
	if _, err := topic.Open(); !errors.Is(err, fault.Invalid) {
		t.Errorf("batches without a time: %v", err)
	}
}
