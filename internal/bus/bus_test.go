package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"polity.run/fault"
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
	_ = l.Append([]byte("one"), "h1", "", 1, 1)
	want(1, 1, false)
	_ = l.Append([]byte("two"), "h2", "h1", 2, 2)
	want(2, 2, false)
	_ = l.Append([]byte("two"), "h2", "h1", 2, 3) // sent again inside the window
	want(3, 2, false)
	_ = l.Append([]byte("stale"), "hx", "h1", 2, 4)
	want(4, 0, true)
	_ = l.Append([]byte("first again"), "hy", "", 1, 5)
	want(5, 0, true)
	b.Close()

	b, l, acks = open(t, dir)
	defer b.Close()
	e, err := l.Last(ctx)
	if err != nil || e.Seq != 2 || string(e.Data) != "two" {
		t.Fatalf("after a restart: %+v %v", e, err)
	}
	_ = l.Append([]byte("stale"), "hz", "h1", 2, 6)
	want(6, 0, true)
	_ = l.Append([]byte("three"), "h3", "h2", 3, 7)
	want(7, 3, false)
	var got []string
	if err := l.Read(ctx, 1, 3, func(e bus.Entry) error { got = append(got, string(e.Data)); return nil }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != "[one two three]" {
		t.Fatalf("read %v", got)
	}
}

// TestRestart starts the server anew under a log, a bucket and their readers, which do not notice but for the time that it takes.
func TestRestart(t *testing.T) {
	b, l, acks := open(t, t.TempDir())
	defer b.Close()
	k, err := b.Bucket(t.Context(), "things")
	if err != nil {
		t.Fatal(err)
	}
	prev := ""
	for i := range uint64(5) {
		id := fmt.Sprintf("h%d", i)
		if err := l.Append([]byte(id), id, prev, i+1, i); err != nil {
			t.Fatal(err)
		}
		if a := <-acks; a.Err != nil || a.Seq != i+1 {
			t.Fatalf("commit %d: %+v", i, a)
		}
		prev = id
		if err := k.Put(t.Context(), id, []byte(id)); err != nil {
			t.Fatal(err)
		}
		if err := b.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		e, err := l.Last(t.Context())
		if err != nil || string(e.Data) != id {
			t.Fatalf("after a restart: %+v %v", e, err)
		}
		if v, _, err := k.Get(t.Context(), id); err != nil || string(v) != id {
			t.Fatalf("after a restart: %q %v", v, err)
		}
	}
}

// TestReadFindsAHole flips one bit of a message in the server's file.
func TestReadFindsAHole(t *testing.T) {
	dir := t.TempDir()
	b, l, acks := open(t, dir)
	for i, text := range []string{"first message", "second message", "third message"} {
		prev := ""
		if i > 0 {
			prev = fmt.Sprint("h", i-1)
		}
		if err := l.Append([]byte(text), fmt.Sprint("h", i), prev, uint64(i+1), uint64(i)); err != nil {
			t.Fatal(err)
		}
		if a := <-acks; a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	b.Close()
	files, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "LOG_p0", "msgs", "*.blk"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, []byte("second"))] ^= 1
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	b, l, _ = open(t, dir)
	defer b.Close()
	var got []string
	err = l.Read(t.Context(), 1, 3, func(e bus.Entry) error { got = append(got, string(e.Data)); return nil })
	if !errors.Is(err, fault.Damaged) || !strings.Contains(err.Error(), "message 2 is missing") || fmt.Sprint(got) != "[first message]" {
		t.Errorf("read %q: %v", got, err)
	}
	if e, err := l.Get(t.Context(), 3); err != nil || string(e.Data) != "third message" {
		t.Errorf("message 3: %q %v", e.Data, err)
	}
	if e, err := l.Get(t.Context(), 9); err != nil || e.Seq != 0 {
		t.Errorf("message 9: %+v %v", e, err)
	}
}

func TestReadStops(t *testing.T) {
	b, l, acks := open(t, t.TempDir())
	defer b.Close()
	_ = l.Append([]byte("one"), "h1", "", 1, 1)
	<-acks
	enough := errors.New("enough")
	if err := l.Read(t.Context(), 1, 1, func(bus.Entry) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("the reader's own error: %v", err)
	}
	if err := l.Read(t.Context(), 2, 1, func(bus.Entry) error { return enough }); err != nil {
		t.Errorf("nothing to read: %v", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Read(over, 1, 2, func(bus.Entry) error { return nil }); !errors.Is(err, fault.Cancelled) {
		t.Errorf("given up: %v", err)
	}
	if n, size, err := l.Size(t.Context()); err != nil || n != 1 || size == 0 {
		t.Errorf("size: %d %d %v", n, size, err)
	}
}

func TestOpenOfAFolderThatCannotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bus.Open(t.Context(), bus.Config{Dir: path}); !errors.Is(err, fault.Denied) {
		t.Errorf("%v", err)
	}
}
