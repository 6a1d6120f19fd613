package bus

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
)

// scanned is what a scan finds: the data of each sound record, and how many are damaged.
func scanned(t *testing.T, dir, stream string) (data []string, seqs []uint64, damage []error) {
	t.Helper()
	if err := Scan(t.Context(), dir, stream, func(r Record) error {
		if r.Damage != nil {
			damage = append(damage, r.Damage)
			return nil
		}
		data, seqs = append(data, string(r.Data)), append(seqs, r.Seq)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return data, seqs, damage
}

// filled makes a store with a log of n messages, and returns its folder and the data.
func filled(t *testing.T, n int) (string, []string) {
	t.Helper()
	dir := t.TempDir()
	b, err := Open(t.Context(), Config{Dir: dir, Sync: SyncOS})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	acks := make(chan Ack, 1)
	l, err := b.Log(t.Context(), "x", func(a Ack) { acks <- a })
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	prev := ""
	for i := range n {
		data := fmt.Sprintf("message %d %s", i, strings.Repeat("x", i%700))
		id := fmt.Sprint("id", i)
		if err := l.Append([]byte(data), id, prev, 0, uint64(i)); err != nil {
			t.Fatal(err)
		}
		if a := <-acks; a.Err != nil {
			t.Fatal(a.Err)
		}
		prev, want = id, append(want, data)
		if i == n/2 { // while the store is served
			if got, _, damage := scanned(t, dir, LogStream("x")); len(damage) > 0 || len(got) != i+1 {
				t.Errorf("a store that is served: %d of %d records, %v", len(got), i+1, damage)
			}
		}
	}
	return dir, want
}

func TestScanReadsWhatWasWritten(t *testing.T) {
	dir, want := filled(t, 500)
	got, seqs, damage := scanned(t, dir, LogStream("x"))
	if len(damage) > 0 || len(got) != len(want) {
		t.Fatalf("%d of %d records, damage %v", len(got), len(want), damage)
	}
	for i := range want {
		if got[i] != want[i] || seqs[i] != uint64(i+1) {
			t.Fatalf("record %d: %.40q at %d", i, got[i], seqs[i])
		}
	}
	if names, err := Streams(dir); err != nil || len(names) != 1 || names[0] != "LOG_x" {
		t.Errorf("streams: %v %v", names, err)
	}
	if err := Scan(t.Context(), dir, "LOG_y", nil); !errors.Is(err, fault.NotFound) {
		t.Errorf("a stream that is not there: %v", err)
	}
}

// TestScanLeavesOutWhatWasDeleted wants of a bucket at most what was put, and never what was deleted or replaced, unless it stands before
// what replaced it.
func TestScanOfABucket(t *testing.T) {
	dir := t.TempDir()
	b, err := Open(t.Context(), Config{Dir: dir, Sync: SyncOS})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	k, err := b.Bucket(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if err := k.Put(t.Context(), fmt.Sprint("key", i%5), fmt.Appendf(nil, "value %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Delete(t.Context(), "key3"); err != nil {
		t.Fatal(err)
	}
	got, _, damage := scanned(t, dir, "BUCKET_m")
	if len(damage) > 0 || len(got) < 4 {
		t.Errorf("%v, damage %v", got, damage)
	}
}

// TestScanFindsEveryFlippedBit changes each byte of a block, one at a time.
func TestScanFindsEveryFlippedBit(t *testing.T) {
	dir, want := filled(t, 4)
	path := filepath.Join(dir, streamsPath, "LOG_x", "msgs", "1.blk")
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range sound {
		bad := bytes.Clone(sound)
		bad[i] ^= 1 << (i % 8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		got, _, damage := scanned(t, dir, LogStream("x"))
		if len(damage) == 0 && len(got) == len(want) {
			t.Fatalf("byte %d of %d was changed, and nothing is said", i, len(sound))
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte("\x1e\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00abcdefgh"))
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Fuzz(func(t *testing.T, block []byte) {
		dir := t.TempDir()
		folder := filepath.Join(dir, streamsPath, "LOG_x", "msgs")
		if err := errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, "1.blk"), block, 0o600),
			os.WriteFile(filepath.Join(folder, "2.blk"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		size := 0
		if err := Scan(context.Background(), dir, "LOG_x", func(r Record) error { size += r.Size; return nil }); err != nil {
			t.Fatal(err)
		}
		if size > len(block) {
			t.Errorf("%d bytes of records in %d bytes", size, len(block))
		}
	})
}
