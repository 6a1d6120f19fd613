package environ

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run/fault"
)

// seen collects observations. It refuses the next ones while refuse is set.
type seen struct {
	mu     sync.Mutex
	list   []Observation
	notes  []string
	refuse error
	hold   time.Duration // how long each is held back
}

func (s *seen) emit(ctx context.Context, o Observation) error {
	if s.hold > 0 {
		if err := pause(ctx, "emit", s.hold); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return s.refuse
	}
	s.list = append(s.list, o)
	return nil
}

func (s *seen) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, text)
}

// take returns what was seen since the last time, as KEY of each input.
func (s *seen) take(t *testing.T, keys ...string) []string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, o := range s.list {
		var fields map[string]any
		if err := json.Unmarshal(o.Input, &fields); err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, k := range keys {
			words = append(words, fmt.Sprint(fields[k]))
		}
		out = append(out, strings.Join(words, " "))
	}
	s.list = nil
	return out
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// background runs a source in the bubble until the test ends.
func background(t *testing.T, s Source, emit Emit) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, emit) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, fault.Cancelled) {
			t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
}

// pass lets time pass and waits for what follows from it.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, f interface{ Open() (Source, error) }) Source {
	t.Helper()
	s, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a.eml", "first")
	synctest.Test(t, func(t *testing.T) {
		var s seen
		background(t, open(t, Folder{Path: dir, Files: "*.eml", Deleted: true, SizeMax: 100, Note: s.note}), s.emit)
		want(t, "before it stood still", s.take(t, "file"))
		pass(PollDefault)
		want(t, "what was there", s.take(t, "event", "file", "text"), "file.created a.eml first")

		put(t, dir, "b.eml", "growing")
		pass(PollDefault)
		put(t, dir, "b.eml", "growing, still")
		pass(PollDefault)
		want(t, "a file that grows", s.take(t, "file"))
		pass(PollDefault)
		want(t, "a file that has grown", s.take(t, "event", "file", "text"), "file.created b.eml growing, still")

		put(t, dir, "a.eml", "second!")
		put(t, dir, "other.txt", "no")
		put(t, dir, ".hidden.eml", "no")
		put(t, dir, "large.eml", strings.Repeat("x", 101))
		if err := errors.Join(os.Symlink("/etc/hostname", filepath.Join(dir, "link.eml")), os.Mkdir(filepath.Join(dir, "sub.eml"), 0o700)); err != nil {
			t.Fatal(err)
		}
		pass(3 * PollDefault)
		want(t, "what changed", s.take(t, "event", "file", "text"), "file.changed a.eml second!")
		want(t, "what was left out", s.notes, "file large.eml is left out: it has 101 bytes, which is more than 100")

		put(t, dir, "b.eml", "growing, still") // only its time is another one
		pass(3 * PollDefault)
		want(t, "what was only written", s.take(t, "file"))

		if err := os.Remove(filepath.Join(dir, "b.eml")); err != nil {
			t.Fatal(err)
		}
		pass(PollDefault)
		want(t, "before it was missed twice", s.take(t, "file"))
		pass(PollDefault)
		want(t, "what is gone", s.take(t, "event", "file"), "file.deleted b.eml")
	})
}

func TestFolderSameIDForWhoeverWatches(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a", "one")
	put(t, dir, "b", "binary\x00")
	ids := func() []string {
		var s seen
		synctest.Test(t, func(t *testing.T) {
			if err := open(t, Folder{Path: dir}).Once(t.Context(), s.emit); err != nil {
				t.Fatal(err)
			}
		})
		var ids []string
		for _, o := range s.list {
			ids = append(ids, o.ID)
			if strings.Contains(string(o.Input), "binary") {
				t.Errorf("text of what is not text: %s", o.Input)
			}
		}
		return ids
	}
	first := ids()
	if len(first) != 2 || !strings.HasPrefix(first[0], "a 7692c3ad3540bb80") {
		t.Errorf("IDs %q", first)
	}
	want(t, "IDs of the next watcher", ids(), first...)
}

// What emit did not accept comes again, and nothing else does.
func TestRefusedComesAgain(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a", "1")
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		tests := map[string]struct {
			source Source
			want   int
		}{
			"folder":   {open(t, Folder{Path: dir}), 1},
			"schedule": {open(t, Schedule{Every: time.Hour, CatchUp: CatchUpOne}), 1},
			"lines":    {Lines{From: strings.NewReader("one\ntwo\n")}.Open(), 2},
		}
		for name, tt := range tests {
			s := seen{refuse: broken}
			if err := tt.source.Once(t.Context(), s.emit); !errors.Is(err, broken) {
				t.Errorf("%s: got %v, want what emit returned", name, err)
			}
			s.refuse = nil
			for range 2 {
				if err := tt.source.Once(t.Context(), s.emit); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if len(s.list) != tt.want {
				t.Errorf("%s: %d observations, want %d", name, len(s.list), tt.want)
			}
		}
	})
}

func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at midnight
		time.Sleep(90 * time.Second)
		var none, one, slow seen
		background(t, open(t, Schedule{Every: time.Hour}), none.emit)
		background(t, open(t, Schedule{Every: time.Hour, CatchUp: CatchUpOne}), one.emit)
		slow.hold = 150 * time.Minute
		background(t, open(t, Schedule{Every: time.Hour}), slow.emit)
		want(t, "without catching up", none.take(t, "planned"))
		want(t, "with it", one.take(t, "event", "planned"), "time.due 2000-01-01T00:00:00Z")
		pass(2*time.Hour - 90*time.Second)
		want(t, "after two hours", none.take(t, "planned"), "2000-01-01T01:00:00Z", "2000-01-01T02:00:00Z")
		pass(6*time.Hour - time.Minute)
		want(t, "held back", slow.take(t, "planned"), "2000-01-01T01:00:00Z", "2000-01-01T03:00:00Z")
	})
}

func TestLines(t *testing.T) {
	const text = "What is it?\n\n  {\"question\": \"as it is\"}  \r\n[1]\n{broken\nbad \xff\nlast"
	var s, again seen
	if err := (Lines{From: strings.NewReader(text)}).Open().Run(t.Context(), s.emit); err != nil {
		t.Fatal(err)
	}
	if err := (Lines{From: strings.NewReader(text)}).Open().Run(t.Context(), again.emit); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, o := range append(s.list, again.list...) {
		ids[o.ID] = true
	}
	if len(ids) != 12 {
		t.Errorf("%d IDs of 2 times 6 lines: %v", len(ids), ids)
	}
	want(t, "questions", s.take(t, "question"), "What is it?", "as it is", "[1]", "{broken", "bad \ufffd", "last")
}

func TestLongLine(t *testing.T) {
	var s seen
	text := strings.Repeat("x", LineMax) + "\n" + strings.Repeat("y", 3*LineMax) + "\nshort\n" + strings.Repeat("z", LineMax+1)
	l := Lines{From: strings.NewReader(text), Note: s.note}.Open()
	if err := l.Run(t.Context(), s.emit); err != nil {
		t.Fatal(err)
	}
	if len(s.list) != 2 || len(s.list[0].Input) < LineMax {
		t.Errorf("%d lines", len(s.list))
	}
	want(t, "notes", s.notes, "line 2 is left out: it is longer than 1048576 bytes", "line 4 is left out: it is longer than 1048576 bytes")
}

// A line that arrives while nobody runs the source is there for the next one who does.
func TestLineBetweenTwoRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := io.Pipe()
		l := Lines{From: in}.Open()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var s seen
		if err := l.Run(ctx, s.emit); !errors.Is(err, fault.Cancelled) {
			t.Fatalf("got %v, want cancelled", err)
		}
		if _, err := io.WriteString(out, "kept\n"); err != nil {
			t.Fatal(err)
		}
		go out.Close()
		if err := l.Run(t.Context(), s.emit); err != nil {
			t.Fatal(err)
		}
		want(t, "lines", s.take(t, "question"), "kept")
	})
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	put(t, filepath.Dir(file), "file", "")
	tests := map[string]struct {
		source interface{ Open() (Source, error) }
		kind   fault.Kind
	}{
		"no such folder":     {Folder{Path: file + ".not"}, fault.NotFound},
		"not a folder":       {Folder{Path: file}, fault.Invalid},
		"not a pattern":      {Folder{Path: filepath.Dir(file), Files: "["}, fault.Invalid},
		"pattern of folders": {Folder{Path: filepath.Dir(file), Files: "a/*"}, fault.Invalid},
		"negative size":      {Folder{Path: filepath.Dir(file), SizeMax: -1}, fault.Invalid},
		"too often":          {Schedule{Every: time.Millisecond}, fault.Invalid},
		"unknown policy":     {Schedule{Every: time.Hour, CatchUp: "some"}, fault.Invalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := tt.source.Open(); !errors.Is(err, tt.kind) {
				t.Errorf("got %v, want %s", err, tt.kind)
			}
		})
	}
}

// Whatever comes in, each line is one JSON object at most.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\n{\"b\":1}\n\n{\x00"))
	f.Add([]byte("{\"a\":1} {\"b\":2}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s seen
		if err := (Lines{From: strings.NewReader(string(data))}).Open().Run(t.Context(), s.emit); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(data), "\n") + 1; len(s.list) > n {
			t.Errorf("%d observations of %d lines", len(s.list), n)
		}
		for _, o := range s.list {
			var fields map[string]any
			if err := json.Unmarshal(o.Input, &fields); err != nil {
				t.Errorf("%s: %v", o.Input, err)
			}
		}
	})
}
