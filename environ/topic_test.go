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
		Read: func(_ context.Context, _ string, after uint64) ([]environ.Published, uint64, error) {
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
		b.list = append(b.list, environ.Published{Topic: "orders.placed", ID: id, Data: []byte(`{"order":1}`), At: time.Unix(1, 0)})
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
