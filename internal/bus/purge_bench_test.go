package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// BenchmarkPurge measures how long the store takes to drop all but the last hundredth of a log of a thousand commits of 256 KiB, and what that frees.
func BenchmarkPurge(b *testing.B) {
	const commits, kept = 1000, 10
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		s, err := Open(b.Context(), Config{Dir: dir, Sync: SyncDisk})
		if err != nil {
			b.Fatal(err)
		}
		acks := make(chan Ack, 1)
		l, err := s.Log(b.Context(), "p0", func(a Ack) { acks <- a })
		if err != nil {
			b.Fatal(err)
		}
		data, prev := make([]byte, 256<<10), ""
		for i := range commits {
			data[0], data[1] = byte(i), byte(i>>8)
			sum := sha256.Sum256(data)
			id := hex.EncodeToString(sum[:])
			if err := l.Append(data, id, prev, uint64(i)); err != nil {
				b.Fatal(err)
			}
			if a := <-acks; a.Err != nil {
				b.Fatal(a.Err)
			}
			prev = id
		}
		before := sizeOf(b, dir)
		stream, err := s.js.Stream(b.Context(), "LOG_p0")
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := stream.Purge(b.Context(), jetstream.WithPurgeSequence(commits-kept+1)); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		time.Sleep(time.Second) // files are removed behind it
		b.ReportMetric(before, "MiB-before")
		b.ReportMetric(sizeOf(b, dir), "MiB-after")
		if e, err := l.Last(context.Background()); err != nil || e.Seq != commits {
			b.Fatal(e.Seq, err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		s.Close()
		b.StartTimer()
	}
}

func sizeOf(b *testing.B, dir string) float64 {
	size := int64(0)
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return float64(size) / (1 << 20)
}
