package bus

import (
	"strings"
	"testing"
	"time"
)

// TestSlowReader reads a log of more bytes than the client keeps by itself, and stops for a while at the beginning: nothing of it is missing.
func TestSlowReader(t *testing.T) {
	b, err := Open(t.Context(), Config{Dir: t.TempDir(), Sync: SyncOS})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	acks := make(chan Ack, 1)
	l, err := b.Log(t.Context(), "x", func(a Ack) { acks <- a })
	if err != nil {
		t.Fatal(err)
	}
	data, prev := []byte(strings.Repeat("x", 900<<10)), ""
	const n = 150
	for i := range n {
		id := strings.Repeat("i", i+1)
		if err := l.Append(data, id, prev, uint64(i+1), uint64(i)); err != nil {
			t.Fatal(err)
		}
		if a := <-acks; a.Err != nil {
			t.Fatal(a.Err)
		}
		prev = id
	}
	read := 0
	if err := l.Read(t.Context(), 1, n, func(Entry) error {
		if read++; read%50 == 1 {
			time.Sleep(400 * time.Millisecond)
		}
		return nil
	}); err != nil || read != n {
		t.Errorf("%d of %d messages: %v", read, n, err)
	}
}
