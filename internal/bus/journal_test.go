package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// TestJournalOfALog wants what commits of a log bring to be copied once, whoever copies it and whatever was heard of it, and the journal to know how far it is.
func TestJournalOfALog(t *testing.T) {
	b, err := Open(t.Context(), Config{Dir: t.TempDir(), Sync: SyncOS})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var owners [2]*Journal
	for i := range owners {
		if owners[i], err = b.Journal(t.Context(), AccessJournal, 1000, time.Hour); err != nil {
			t.Fatal(err)
		}
		if at, err := owners[i].Copied(t.Context()); err != nil || at != 0 {
			t.Fatalf("a new one is copied up to %d: %v", at, err)
		}
	}
	one, other := owners[0], owners[1]
	copies := func(j *Journal, from, to, want uint64, lines ...string) {
		t.Helper()
		var data [][]byte
		for _, line := range lines {
			data = append(data, []byte(line))
		}
		if got, err := j.Copy(t.Context(), data, from, to); err != nil || got != want {
			t.Fatalf("copied up to %d, want %d: %v", got, want, err)
		}
	}
	add := func(j *Journal, line string) {
		t.Helper()
		if err := j.Add(t.Context(), []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	copies(one, 3, 5, 5, "of 3", "of 5")
	add(one, "beside")
	copies(other, 3, 5, 5, "of 3", "of 5") // it is told so by the journal
	add(one, "beside another")             // both write at once
	add(other, "beside both")
	copies(one, 5, 9, 5, "of 5", "of 9") // what is there is to be left out
	copies(one, 9, 9, 9, "of 9")
	if at, err := other.Copied(t.Context()); err != nil || at != 9 {
		t.Fatalf("copied up to %d: %v", at, err)
	}
	if err := other.SetBack(t.Context(), 6); err != nil { // the log ends there: it was restored
		t.Fatal(err)
	}
	if err := other.SetBack(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	copies(other, 7, 7, 7, "of another 7")
	list, err := one.Read(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, string(e.Data))
	}
	if want := []string{"of 3", "of 5", "beside", "beside another", "beside both", "of 9", "of another 7"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
