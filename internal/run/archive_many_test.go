package run

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"

	"polity.run/internal/bus"
)

// endedRows is n runs that ran at once, as they are to be archived.
func endedRows(t testing.TB, n *node, runs int) []Ended {
	t.Helper()
	release, err := n.cfg.Blobs.Put([]byte("release"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, runs)
	for i := range runs {
		go func() {
			_, err := n.Run(t.Context(), Request{ID: rootID(i), Release: release, Agent: "five"})
			done <- err
		}()
	}
	for range runs {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	var all []Ended
	for from := uint64(0); ; {
		page, next, err := n.EndedPage(t.Context(), from)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
		if from = next; next == 0 {
			break
		}
	}
	slices.SortFunc(all, func(a, b Ended) int { return int(a.First) - int(b.First) })
	return all
}

// TestExporter wants runs that are exported together to be what they are alone, however little may be held at once.
func TestExporter(t *testing.T) {
	n := openNode(t, t.TempDir(), bus.SyncOS, damageConfig)
	defer n.close(t)
	runs := endedRows(t, n, 40)
	for _, most := range []int{1, 3000, manyMax} {
		e := n.Exporter(runs, noFiles)
		e.max = most
		for i, r := range runs {
			if i%7 == 3 {
				continue // it is in an archive already
			}
			var alone, together bytes.Buffer
			want, err := n.ExportStored(t.Context(), r.Run, noFiles, &alone)
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.Export(t.Context(), r.Run, &together)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) || !bytes.Equal(alone.Bytes(), together.Bytes()) {
				t.Fatalf("%d bytes at most, run %d: %v", most, i, err)
			}
		}
	}
}

// BenchmarkArchive measures what it takes to export runs that ran at once, together and each alone.
func BenchmarkArchive(b *testing.B) {
	n := openNode(b, b.TempDir(), bus.SyncOS, damageConfig)
	defer n.close(b)
	runs := endedRows(b, n, 5000)
	export := func(b *testing.B, some []Ended, one func(r Ended, w io.Writer) error) {
		for b.Loop() {
			for _, r := range some {
				if err := one(r, io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(len(some)*b.N)/b.Elapsed().Seconds(), "runs/s")
	}
	b.Run("together", func(b *testing.B) {
		var e *Exporter
		export(b, runs, func(r Ended, w io.Writer) error {
			if r.Run == runs[0].Run {
				e = n.Exporter(runs, noFiles)
			}
			_, err := e.Export(b.Context(), r.Run, w)
			return err
		})
	})
	b.Run("alone", func(b *testing.B) {
		export(b, runs[2000:2050], func(r Ended, w io.Writer) error {
			_, err := n.ExportStored(b.Context(), r.Run, noFiles, w)
			return err
		})
	})
}
