package archive_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/archive"
	"polity.run/internal/run"
)

type note struct {
	Text string `json:"text"`
	Many int    `json:"many,omitempty"`
}

// say answers with the text, many times if it is asked to: text that hardly compresses.
func say(_ context.Context, n note) (note, error) {
	r := rand.New(rand.NewPCG(1, uint64(n.Many)))
	var b strings.Builder
	for range n.Many {
		fmt.Fprintf(&b, "%x", r.Uint64())
	}
	return note{Text: n.Text + b.String()}, nil
}

// pinNothing is for releases without files.
func pinNothing([]byte) ([]run.Digest, error) { return nil, nil }

// exports runs so many runs on a node and exports them.
func exports(t testing.TB, n, many int) ([]archive.Run, archive.Export) {
	t.Helper()
	ctx := t.Context()
	fn, err := agent.Func("sayer", "1", say)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	e, err := engine.Open(ctx, engine.Config{State: filepath.Join(dir, "state"), Sync: engine.SyncOS, Agents: []*agent.Agent{fn}})
	if err != nil {
		t.Fatal(err)
	}
	files, heads := map[polity.RunID][]byte{}, map[polity.RunID]polity.Archive{}
	var runs []archive.Run
	for i := range n {
		input, _ := json.Marshal(note{fmt.Sprint("note ", i), many})
		id := polity.RunID(fmt.Sprintf("0-run%04d", i))
		if _, err := e.Run(ctx, engine.Request{ID: id, Agent: "sayer", Input: input}); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, string(id))
		if heads[id], err = e.Export(ctx, id, path); err != nil {
			t.Fatal(err)
		}
		if files[id], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		runs = append(runs, archive.Run{ID: id, First: uint64(3 * i), Last: uint64(3*i + 2)})
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return runs, func(_ context.Context, id polity.RunID, w io.Writer) (polity.Archive, error) {
		if files[id] == nil {
			return polity.Archive{}, fault.Damaged.New("there is nothing of %s", id)
		}
		_, err := w.Write(files[id])
		return heads[id], err
	}
}

var made = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func write(t testing.TB, s *archive.Store, runs []archive.Run, export archive.Export) []polity.ArchiveFile {
	t.Helper()
	files, err := s.Write(t.Context(), "desk", made, runs, export, func(l polity.LeftRun) { t.Errorf("left: %+v", l) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// whole wants each run in exactly one file, every file whole, and nothing else in the folder.
func whole(t *testing.T, dir string, runs []archive.Run) {
	t.Helper()
	files, err := archive.NewStore(dir).Files()
	if err != nil {
		t.Fatal(err)
	}
	in := map[polity.RunID]int{}
	for _, f := range files {
		if f.Damage != "" {
			t.Errorf("%s: %s", f.Path, f.Damage)
			continue
		}
		found, err := archive.Check(t.Context(), f.Path, pinNothing, nil)
		if err != nil || len(found.Damage) > 0 || found.Sound != f.Runs {
			t.Errorf("%s: %+v %v", f.Path, found, err)
		}
		file, err := archive.Open(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range file.Runs {
			in[r.Run]++
		}
		file.Close()
	}
	for _, r := range runs {
		if in[r.ID] != 1 {
			t.Errorf("%s is in %d files", r.ID, in[r.ID])
		}
	}
	if len(in) != len(runs) {
		t.Errorf("%d runs are archived, of %d", len(in), len(runs))
	}
	entries, err := os.ReadDir(filepath.Join(dir, "desk"))
	if err != nil || len(entries) != len(files) {
		t.Errorf("%d files and %d entries: %v", len(files), len(entries), err)
	}
}

// TestStore archives runs into files of several blocks, finds each again, and archives none twice.
func TestStore(t *testing.T) {
	runs, export := exports(t, 25, 20_000)
	dir := t.TempDir()
	s := archive.NewStore(dir)
	if s.Archived(runs[0].ID) {
		t.Error("found before it was archived")
	}
	s.Disturb(12, nil)
	if files := write(t, s, runs, export); len(files) != 3 || files[0].Runs != 12 || files[2].Runs != 1 || files[1].First != 36 || files[1].Last != 71 {
		t.Errorf("wrote %+v", files)
	}
	if files := write(t, s, runs, export); len(files) > 0 {
		t.Errorf("wrote once more: %+v", files)
	}
	whole(t, dir, runs)
	for _, s := range []*archive.Store{s, archive.NewStore(dir)} {
		if s.Archived("0-other") {
			t.Error("another run is archived")
		}
		blocks := 0
		for _, r := range runs {
			f, entry, err := s.Find(r.ID)
			if err != nil || !s.Archived(r.ID) {
				t.Fatalf("%s is not found: %v", r.ID, err)
			}
			blocks = max(blocks, entry.Block+1)
			var want, got bytes.Buffer
			if _, err := export(t.Context(), r.ID, &want); err != nil {
				t.Fatal(err)
			}
			if err := f.Export(entry, func(in io.Reader) error { _, err := io.Copy(&got, in); return err }); err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Errorf("%s came back as %d bytes of %d: %v", r.ID, got.Len(), want.Len(), err)
			}
			f.Close()
		}
		if blocks < 2 {
			t.Errorf("everything is in one block")
		}
	}
	if _, _, err := s.Find("0-other"); !errors.Is(err, fault.NotFound) {
		t.Errorf("another run: %v", err)
	}
}

// TestRunThatCannotBeExported leaves one run and archives the others; an error of the node itself ends it and leaves no half of a file.
func TestRunThatCannotBeExported(t *testing.T) {
	runs, export := exports(t, 3, 0)
	s := archive.NewStore(t.TempDir())
	var left []polity.LeftRun
	files, err := s.Write(t.Context(), "desk", made, append(runs[:2:2], archive.Run{ID: "0-gone"}), export, func(l polity.LeftRun) { left = append(left, l) }, nil)
	if err != nil || len(files) != 1 || files[0].Runs != 2 || len(left) != 1 || left[0].Run != "0-gone" {
		t.Errorf("%+v %+v %v", files, left, err)
	}
	down := func(context.Context, polity.RunID, io.Writer) (polity.Archive, error) {
		return polity.Archive{}, fault.Unavailable.New("the node is stopping")
	}
	if files, err := s.Write(t.Context(), "desk", made, runs, down, nil, nil); !errors.Is(err, fault.Unavailable) || len(files) > 0 {
		t.Errorf("%+v %v", files, err)
	}
	whole(t, s.Dir(), runs[:2])
	if _, err := s.Write(t.Context(), "../desk", made, runs, export, nil, nil); !errors.Is(err, fault.Invalid) {
		t.Errorf("an organization that leads out of the folder: %v", err)
	}
}

// TestKilled kills the writing between any two steps, again and again: in the end each run is in exactly one file, and nothing else is there.
func TestKilled(t *testing.T) {
	runs, export := exports(t, 12, 0)
	killed := fault.Internal.New("killed")
	at := map[string]int{}
	for seed := range uint64(20) {
		dir := t.TempDir()
		r := rand.New(rand.NewPCG(seed, 1))
		done := false
		for try := 0; !done; try++ {
			s := archive.NewStore(dir)
			steps := r.IntN(12) + try/10 // in the end it comes through
			s.Disturb(5, func(what string) error {
				if steps--; steps < 0 {
					at[what]++
					return killed
				}
				return nil
			})
			_, err := s.Write(t.Context(), "desk", made, runs[:r.IntN(len(runs)+1)], export, nil, nil)
			if err != nil && !errors.Is(err, fault.Internal) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if err == nil && try > 3 {
				s.Disturb(5, nil)
				write(t, s, runs, export)
				done = true
			}
		}
		whole(t, dir, runs)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	for _, step := range []string{"create", "add", "rename", "finished", "end"} {
		if at[step] == 0 {
			t.Errorf("never killed at %s: %v", step, at)
		}
	}
}

// small is a file of a few runs in three blocks, and its runs.
func small(t testing.TB) ([]byte, []archive.Run) {
	t.Helper()
	runs, export := exports(t, 6, 80_000)
	s := archive.NewStore(t.TempDir())
	files := write(t, s, runs, export)
	data, err := os.ReadFile(files[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	return data, runs
}

// TestDamage changes a file: it is always found, and what is said to be sound is.
func TestDamage(t *testing.T) {
	data, runs := small(t)
	found, f, err := archive.CheckBytes(data, pinNothing)
	if err != nil || len(found.Damage) > 0 || found.Sound != len(runs) {
		t.Fatalf("%+v %v", found, err)
	}
	blocks := f.Runs[len(runs)-1].Block + 1
	if blocks < 3 {
		t.Fatalf("%d blocks", blocks)
	}
	heads := map[polity.RunID]string{}
	for _, r := range f.Runs {
		heads[r.Run] = r.Head
	}
	check := func(name string, data []byte, atLeast int) {
		t.Helper()
		found, f, err := archive.CheckBytes(data, pinNothing)
		if err != nil {
			if !errors.Is(err, fault.Invalid) || atLeast > 0 {
				t.Errorf("%s: %v", name, err)
			}
			return
		}
		if len(found.Damage) == 0 || found.Sound < atLeast {
			t.Errorf("%s: %d of %d runs are sound: %+v", name, found.Sound, len(runs), found.Damage)
		}
		for _, r := range f.Runs {
			if heads[r.Run] != r.Head {
				t.Errorf("%s: %s is said to be sound with head %s", name, r.Run, r.Head)
			}
			if err := f.Export(r, func(in io.Reader) error { _, err := run.Verify(in, pinNothing); return err }); err != nil {
				t.Errorf("%s: %s is said to be sound: %v", name, r.Run, err)
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	flip := func(at int) {
		changed := bytes.Clone(data)
		changed[at] ^= 1 << r.IntN(8)
		if err := archive.LoadBytes(changed); at >= len(data)-100 && err == nil {
			t.Errorf("byte %d: it opens", at)
		}
		least := len(runs) - len(runs)/blocks // a damage takes one block along
		if at < 1024 {
			least = 0 // or it may be no archive any more
		}
		check(fmt.Sprintf("byte %d", at), changed, least)
	}
	for range 25 {
		flip(r.IntN(len(data)))
	}
	for _, at := range []int{0, 1, 700, 1022, 1023, 1024, 1030, 1040, 1110, len(data) - 1, len(data) - 20, len(data) - 90, len(data) - 300} {
		flip(at)
	}
	for range 12 {
		at := r.IntN(len(data))
		check(fmt.Sprintf("cut at %d", at), data[:at], 0)
	}
	end := bytes.LastIndex(data, []byte("index "))
	check("no index", data[:end], len(runs))
	check("no end", data[:len(data)-10], len(runs))
	check("more", append(bytes.Clone(data), 'x'), len(runs))
	if _, _, err := archive.CheckBytes([]byte("polity: v1\nname: desk\n"), pinNothing); !errors.Is(err, fault.Invalid) {
		t.Errorf("a manifest: %v", err)
	}
}

// TestDamagedFileDoesNotCount archives again what was in a file that cannot be opened any more, beside it.
func TestDamagedFileDoesNotCount(t *testing.T) {
	runs, export := exports(t, 4, 0)
	dir := t.TempDir()
	files := write(t, archive.NewStore(dir), runs, export)
	if err := os.Truncate(files[0].Path, files[0].Size-1); err != nil {
		t.Fatal(err)
	}
	s := archive.NewStore(dir)
	if s.Archived(runs[0].ID) {
		t.Error("a run in a damaged file is archived")
	}
	if again := write(t, s, runs, export); len(again) != 1 || again[0].Path == files[0].Path {
		t.Errorf("wrote %+v", again)
	}
	listed, err := s.Files()
	if err != nil || len(listed) != 2 || listed[0].Damage == "" || listed[1].Damage != "" {
		t.Errorf("%+v %v", listed, err)
	}
	f, err := archive.Salvage(t.Context(), files[0].Path, pinNothing, nil)
	if err != nil || len(f.Runs) != len(runs) {
		t.Fatalf("%+v %v", f, err)
	}
	f.Close()
}

// TestSet holds a Set against a map.
func TestSet(t *testing.T) {
	set, want := &archive.Set{}, map[polity.RunID]uint32{}
	r := rand.New(rand.NewPCG(3, 1))
	for round := range uint32(20) {
		var b archive.Batch
		for range r.IntN(200) {
			id := polity.RunID(fmt.Sprint("0-", r.IntN(3000)))
			b.Put(id, round)
			want[id] = round
		}
		set = set.With(&b)
	}
	if set.Len() != len(want) {
		t.Errorf("%d runs, want %d", set.Len(), len(want))
	}
	for i := range 3000 {
		id := polity.RunID(fmt.Sprint("0-", i))
		n, found := set.Get(id)
		if was, there := want[id]; found != there || n != was {
			t.Errorf("%s: %d %t, want %d %t", id, n, found, was, there)
		}
	}
}

// FuzzCheck reads any bytes as a file: it is found whole only if everything in it is.
func FuzzCheck(f *testing.F) {
	runs, export := exports(f, 3, 0)
	s := archive.NewStore(f.TempDir())
	files := write(f, s, runs, export)
	data, err := os.ReadFile(files[0].Path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-40])
	f.Add(bytes.Replace(data, []byte("\nblock"), []byte("\nblocx"), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		opened := archive.LoadBytes(data)
		found, file, err := archive.CheckBytes(data, pinNothing)
		if err != nil {
			if opened == nil {
				t.Fatalf("it opens, and: %v", err)
			}
			return
		}
		if len(found.Damage) == 0 && (opened != nil || found.Sound != found.File.Runs) {
			t.Fatalf("whole: %+v, and: %v", found, opened)
		}
		for _, r := range file.Runs {
			if err := file.Export(r, func(in io.Reader) error { _, err := run.Verify(in, pinNothing); return err }); err != nil {
				t.Fatal(err)
			}
		}
	})
}
