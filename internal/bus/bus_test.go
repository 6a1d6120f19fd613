package bus_test

import (
	"context"
	"fmt"
	"testing"

	"polity.run/internal/bus"
)

func open(t testing.TB, dir string) (*bus.Bus, *bus.Log, chan bus.Ack) {
	t.Helper()
	b, err := bus.Open(context.Background(), bus.Config{Dir: dir, Sync: bus.SyncOS})
	if err != nil {
		t.Fatal(err)
	}
	acks := make(chan bus.Ack, 16)
	l, err := b.Log(context.Background(), "p0", func(a bus.Ack) { acks <- a })
	if err != nil {
		b.Close()
		t.Fatal(err)
	}
	return b, l, acks
}

func TestAppendIsConditional(t *testing.T) {
	dir := t.TempDir()
	b, l, acks := open(t, dir)
	ctx := context.Background()
	if e, err := l.Last(ctx); err != nil || e.Seq != 0 {
		t.Fatalf("empty log: %+v %v", e, err)
	}
	want := func(token, seq uint64, refused bool) {
		t.Helper()
		a := <-acks
		if a.Token != token || a.Seq != seq || (a.Err != nil) != refused {
			t.Fatalf("got %+v, want token %d, seq %d, refused %v", a, token, seq, refused)
		}
	}
	_ = l.Append([]byte("one"), "h1", "", 1)
	want(1, 1, false)
	_ = l.Append([]byte("two"), "h2", "h1", 2)
	want(2, 2, false)
	_ = l.Append([]byte("two"), "h2", "h1", 3) // sent again inside the window
	want(3, 2, false)
	_ = l.Append([]byte("stale"), "hx", "h1", 4)
	want(4, 0, true)
	_ = l.Append([]byte("first again"), "hy", "", 5)
	want(5, 0, true)
	b.Close()

	b, l, acks = open(t, dir)
	defer b.Close()
	e, err := l.Last(ctx)
	if err != nil || e.Seq != 2 || string(e.Data) != "two" {
		t.Fatalf("after a restart: %+v %v", e, err)
	}
	_ = l.Append([]byte("stale"), "hz", "h1", 6)
	want(6, 0, true)
	_ = l.Append([]byte("three"), "h3", "h2", 7)
	want(7, 3, false)
	var got []string
	if err := l.Read(ctx, 1, 3, func(e bus.Entry) error { got = append(got, string(e.Data)); return nil }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != "[one two three]" {
		t.Fatalf("read %v", got)
	}
}
