package bus

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"polity.run/fault"
)

// TestJournal wants what comes while a write is under way to be written at once, and every entry to be read once, in pages of any size.
func TestJournal(t *testing.T) {
	b, err := Open(t.Context(), Config{Dir: t.TempDir(), Sync: SyncOS})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	j, err := b.Journal(t.Context(), AccessJournal, 1000, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Add(t.Context(), []byte("two\nlines")); !errors.Is(err, fault.Internal) {
		t.Errorf("two lines: %v", err)
	}
	if err := j.Add(t.Context(), []byte("first")); err != nil {
		t.Fatal(err)
	}
	const n = 50
	added := make(chan error, n)
	j.turn <- struct{}{} // a write is under way
	for i := range n {
		go func() { added <- j.Add(t.Context(), fmt.Appendf(nil, "entry %d", i)) }()
	}
	gathered := func() int {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.next == nil {
			return 0
		}
		return len(j.next.lines)
	}
	for whole := 10*len("entry 1\n") + 40*len("entry 10\n") - 1; gathered() < whole; {
		time.Sleep(time.Millisecond)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := j.Add(ended, []byte("nobody waits for it")); !errors.Is(err, fault.Unavailable) {
		t.Errorf("whose context has ended: %v", err)
	}
	<-j.turn
	for range n {
		if err := <-added; err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Add(t.Context(), []byte("last")); err != nil {
		t.Fatal(err)
	}
	for _, most := range []int{1, 7, n + 1, 1000} {
		seen := map[string]int{}
		var last Entry
		for {
			page, err := j.Read(t.Context(), last.Seq, most)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, e := range page {
				seen[string(e.Data)]++
			}
			last = page[len(page)-1]
		}
		if len(seen) != n+3 || string(last.Data) != "last" || last.Seq != 3 {
			t.Errorf("pages of %d: %d entries, the last %d %q", most, len(seen), last.Seq, last.Data)
		}
		for text, times := range seen {
			if times != 1 {
				t.Errorf("pages of %d: %q is there %d times", most, text, times)
			}
		}
	}
}
