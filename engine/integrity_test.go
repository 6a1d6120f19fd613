package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"polity.run"
	"polity.run/agent"
	"polity.run/engine"
	"polity.run/fault"
	"polity.run/internal/zstd"
	"polity.run/tool"
)

// TestBackupUnderLoad backs up a node while runs flow, and restores it elsewhere: all that was acknowledged before is there, and what had not
// ended goes on.
func TestBackupUnderLoad(t *testing.T) {
	state := t.TempDir()
	gate := make(chan struct{})
	wait := func(ctx context.Context, q question) (answer, error) {
		if q.N%10 == 7 { // of these none ends while the backup is made
			select {
			case <-gate:
			case <-ctx.Done():
				return answer{}, ctx.Err()
			}
		}
		return double(ctx, q)
	}
	e := open(t, state, function(t, "1", wait))
	start := func(n int) polity.RunID {
		id, err := e.Start(t.Context(), engine.Request{Agent: "doubler", Input: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))})
		if err != nil {
			t.Error(err)
		}
		return id
	}
	before := map[polity.RunID]int{}
	for n := range 200 {
		before[start(n)] = n
	}
	done := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() {
		for n := 1000; ; n++ {
			select {
			case <-done:
				return
			default:
				start(n)
			}
		}
	})
	path := filepath.Join(t.TempDir(), "state.backup")
	b, err := e.Backup(t.Context(), path, nil)
	close(done)
	load.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Backup(t.Context(), path, nil); !errors.Is(err, fault.Conflict) {
		t.Errorf("a backup over another one: %v", err)
	}
	found, err := engine.Check(t.Context(), state, nil)
	if err != nil || len(found.Damage) > 0 {
		t.Errorf("a state that is served: %+v %v", found, err)
	}
	close(gate)
	stop(t, e)
	again, err := engine.VerifyBackup(t.Context(), path, nil)
	if err != nil || again.Digest != b.Digest {
		t.Errorf("verified: %+v %v, want %+v", again, err, b)
	}
	t.Logf("backed up: %d commits, %d runs of which %d live, %d documents, %d bytes", b.Commit, b.Runs, b.Live, b.Documents, b.Bytes)
	if b.Live < 20 || b.Runs < 200 {
		t.Errorf("%d runs, %d live", b.Runs, b.Live)
	}

	restored := filepath.Join(t.TempDir(), "new")
	if _, err := engine.Restore(t.Context(), path, restored, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Restore(t.Context(), path, restored, nil); !errors.Is(err, fault.Conflict) {
		t.Errorf("restored over a state: %v", err)
	}
	found, err = engine.Check(t.Context(), restored, nil)
	if err != nil || len(found.Damage) > 0 || found.Head != b.Head || found.Runs != b.Runs {
		t.Errorf("the restored state: %+v %v", found, err)
	}
	e = open(t, restored, padded(t))
	defer stop(t, e)
	for id, n := range before {
		o, err := e.Wait(t.Context(), id)
		if want := fmt.Sprintf(`{"n":%d}`, 2*n); err != nil || string(o.Output) != want {
			t.Errorf("%s: %s %v, want %s", id, o.Output, err, want)
		}
	}
}

// TestBackupHoldsMemoriesAndFacts wants what was remembered and counted back.
func TestBackupHoldsMemoriesAndFacts(t *testing.T) {
	state := t.TempDir()
	e := open(t, state, padded(t))
	call := func(e *engine.Engine, name, input string) string {
		t.Helper()
		out, err := e.Coordinate(t.Context(), name, tool.Call{Key: "k" + input, Org: "desk", Input: json.RawMessage(input)})
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	first := call(e, "counter.add", `{"name":"orders","by":41}`)
	path := filepath.Join(t.TempDir(), "b")
	b, err := e.Backup(t.Context(), path, nil)
	if err != nil || b.Records == 0 {
		t.Fatalf("%+v %v", b, err)
	}
	stop(t, e)
	restored := filepath.Join(t.TempDir(), "new")
	if _, err := engine.Restore(t.Context(), path, restored, nil); err != nil {
		t.Fatal(err)
	}
	e = open(t, restored, padded(t))
	defer stop(t, e)
	if second := call(e, "counter.add", `{"name":"orders","by":1}`); !strings.Contains(second, "42") {
		t.Errorf("counted %s, then in the restored node %s", first, second)
	}
}

// padded is a doubler whose inputs may be large.
func padded(t *testing.T) *agent.Agent {
	t.Helper()
	a, err := agent.Func("doubler", "1", func(_ context.Context, q struct {
		N   int    `json:"n"`
		Pad string `json:"pad,omitempty"`
	}) (answer, error) {
		return answer{2 * q.N}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// soundState makes a state with some runs in it, large documents among them, and returns its folder.
func soundState(t *testing.T, runs int) string {
	t.Helper()
	state := t.TempDir()
	e := open(t, state, padded(t))
	for n := range runs {
		input := fmt.Sprintf(`{"n":%d}`, n)
		if n%5 == 0 {
			input = fmt.Sprintf(`{"n":%d,"pad":"%s"}`, n, strings.Repeat("x", 40<<10))
		}
		if _, err := e.Run(t.Context(), engine.Request{Agent: "doubler", Input: json.RawMessage(input)}); err != nil {
			t.Fatal(err)
		}
	}
	stop(t, e)
	return state
}

func rewrite(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, f(data), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// file returns the one file, or the largest, below the state that the pattern matches.
func file(t *testing.T, state, pattern string) string {
	t.Helper()
	var largest string
	var size int64
	if err := filepath.WalkDir(state, func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(state, path)
		if ok, _ := filepath.Match(pattern, rel); ok && !e.IsDir() {
			if i, err := e.Info(); err == nil && i.Size() > size {
				largest, size = path, i.Size()
			}
		}
		return err
	}); err != nil || largest == "" {
		t.Fatalf("no file %s: %v", pattern, err)
	}
	return largest
}

const logBlock = "store/jetstream/ENGINE/streams/LOG_p0/msgs/*.blk"

// TestCheckFindsDamage harms the files of a state, one way after the other: each is found, and nothing is changed by looking.
func TestCheckFindsDamage(t *testing.T) {
	sound := soundState(t, 20)
	found, err := engine.Check(t.Context(), sound, nil)
	if err != nil || len(found.Damage) > 0 || found.Runs != 20 || found.Live != 0 || found.Documents < 5 {
		t.Fatalf("a sound state: %+v %v", found, err)
	}
	other := soundState(t, 42) // more commits than the sound one, however quick its functions were
	for name, tc := range map[string]struct {
		harm func(t *testing.T, state string)
		what string // of the first damage
		says string
	}{
		"a flipped bit in a commit": {func(t *testing.T, s string) {
			rewrite(t, file(t, s, logBlock), func(b []byte) []byte { b[len(b)/2] ^= 8; return b })
		}, "commit", "checksum"},
		"a block that was cut": {func(t *testing.T, s string) {
			rewrite(t, file(t, s, logBlock), func(b []byte) []byte { return b[:len(b)/2] })
		}, "commit", "is cut"},
		"a block that is gone": {func(t *testing.T, s string) {
			if err := os.Remove(file(t, s, logBlock)); err != nil {
				t.Fatal(err)
			}
		}, "anchor", "the end of the log is gone"},
		"an index that is gone": {func(t *testing.T, s string) {
			if err := os.Remove(file(t, s, "store/jetstream/ENGINE/streams/LOG_p0/msgs/index.db")); err != nil {
				t.Fatal(err)
			}
		}, "", ""}, // the server makes it anew
		"the log of another state": {func(t *testing.T, s string) {
			rewrite(t, file(t, s, logBlock), func([]byte) []byte { b, _ := os.ReadFile(file(t, other, logBlock)); return b })
		}, "anchor", "was replaced"},
		"an anchor of another log": {func(t *testing.T, s string) {
			var n int
			rewrite(t, filepath.Join(s, "anchor"), func(b []byte) []byte {
				at := bytes.Index(b, []byte("commit ")) + len("commit ")
				if _, err := fmt.Sscan(string(b[at:]), &n); err != nil {
					t.Fatal(err)
				}
				return bytes.Replace(b, fmt.Appendf(nil, "commit %d", n), fmt.Appendf(nil, "commit %d", n-1), 1)
			})
		}, "anchor", "not the one that the anchor remembers"},
		"an anchor that is none": {func(t *testing.T, s string) {
			rewrite(t, filepath.Join(s, "anchor"), func([]byte) []byte { return []byte("x") })
		}, "anchor", "not an anchor"},
		"a document that is gone": {func(t *testing.T, s string) {
			if err := os.Remove(file(t, s, "blobs/*/*")); err != nil {
				t.Fatal(err)
			}
		}, "document", "no document"},
		"a flipped bit in a document": {func(t *testing.T, s string) {
			rewrite(t, file(t, s, "blobs/*/*"), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}, "document", "does not hold what its name says"},
	} {
		t.Run(name, func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "state")
			if err := os.CopyFS(state, os.DirFS(sound)); err != nil {
				t.Fatal(err)
			}
			tc.harm(t, state)
			for range 2 {
				found, err := engine.Check(t.Context(), state, nil)
				if err != nil {
					t.Fatal(err)
				}
				if tc.what == "" {
					if len(found.Damage) > 0 {
						t.Errorf("it is sound, and found was %+v", found.Damage)
					}
					continue
				}
				if len(found.Damage) == 0 || found.Damage[0].What != tc.what || !strings.Contains(found.Damage[0].Text, tc.says) {
					t.Fatalf("found: %+v", found.Damage)
				}
			}
			if tc.what == "" {
				return
			}
			path := filepath.Join(t.TempDir(), "b")
			e, err := engine.Open(t.Context(), engine.Config{State: state})
			if err == nil { // a document is missed when it is needed
				if _, err := e.Backup(t.Context(), path, nil); !errors.Is(err, fault.Damaged) {
					t.Errorf("a backup of a damaged state: %v", err)
				}
				if err := e.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestSalvage wants the sound part of a damaged state back, and it to be served.
func TestSalvage(t *testing.T) {
	state := soundState(t, 20)
	rewrite(t, file(t, state, logBlock), func(b []byte) []byte { b[len(b)*3/4] ^= 8; return b })
	found, err := engine.Check(t.Context(), state, nil)
	if err != nil || len(found.Damage) == 0 || found.Sound == 0 || len(found.Damage[0].Runs) == 0 {
		t.Fatalf("%+v %v", found, err)
	}
	path := filepath.Join(t.TempDir(), "part")
	b, err := engine.Salvage(t.Context(), state, path, nil)
	if err != nil || b.Commit != found.Sound || len(b.Damage) == 0 {
		t.Fatalf("%+v %v", b, err)
	}
	restored := filepath.Join(t.TempDir(), "new")
	if _, err := engine.Restore(t.Context(), path, restored, nil); err != nil {
		t.Fatal(err)
	}
	e := open(t, restored, padded(t))
	defer stop(t, e)
	all, err := e.List(t.Context())
	if err != nil || len(all) != b.Runs || b.Runs < 5 {
		t.Errorf("%d runs, %v; %d were sound", len(all), err, b.Runs)
	}
	for _, s := range all {
		if _, err := e.Wait(t.Context(), s.ID); err != nil {
			t.Errorf("%s: %v", s.ID, err)
		}
	}
}

// TestDamagedBackupIsRefused changes a backup at many places: nothing of it is restored.
func TestDamagedBackupIsRefused(t *testing.T) {
	state := soundState(t, 6)
	e := open(t, state, padded(t))
	path := filepath.Join(t.TempDir(), "b")
	if _, err := e.Backup(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	stop(t, e)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(t.TempDir(), "new")
	unzipped := func(data []byte) ([]byte, error) {
		r, err := zstd.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	}
	says, err := unzipped(sound)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, data []byte) {
		t.Helper()
		if same, err := unzipped(data); err == nil && bytes.Equal(same, says) {
			return // a bit of the compression that says nothing
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := engine.Restore(t.Context(), path, restored, nil)
		if !errors.Is(err, fault.Damaged) && !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(restored); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s: something was restored", what)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		i := r.IntN(len(sound))
		bad := bytes.Clone(sound)
		bad[i] ^= 1 << r.IntN(8)
		refused(fmt.Sprintf("byte %d of %d was changed", i, len(sound)), bad)
	}
	for _, n := range []int{0, 1, 100, len(sound) / 2, len(sound) - 1} {
		refused(fmt.Sprintf("cut to %d bytes", n), sound[:n])
	}
	refused("something behind it", append(bytes.Clone(sound), 0))
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if err := os.WriteFile(path, sound, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Restore(ctx, path, restored, nil); err == nil {
		t.Error("restored after the context had ended")
	}
	if _, err := engine.Restore(t.Context(), path, restored, nil); err != nil {
		t.Errorf("the sound one: %v", err)
	}
}

// TestBackupOfPinnedFiles backs up a run of a program with many pinned files, which a backup holds in the order in which they are asked for.
func TestBackupOfPinnedFiles(t *testing.T) {
	program := &agent.Exec{Command: []string{"/bin/echo", "{}"}, Files: map[string]agent.File{}, OutputMax: 1 << 10}
	files := map[string][]byte{}
	for i := range 12 {
		d, one := pin(fmt.Sprint("file ", i))
		program.Files[fmt.Sprint("file-", i)] = agent.File{Digest: d}
		files[d] = one[d]
	}
	release := &agent.Release{Name: "r", Main: "echo", Agents: []agent.Definition{{Name: "echo", Kind: agent.KindExec, Skills: []polity.Skill{{Name: "do"}}, Exec: program}}}
	e := open(t, t.TempDir())
	defer stop(t, e)
	d, err := e.Install(release, files)
	if err != nil {
		t.Fatal(err)
	}
	id, err := e.Start(t.Context(), engine.Request{Release: d, Input: json.RawMessage(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	if o, err := e.Wait(t.Context(), id); err != nil || o.Status != polity.StatusCompleted {
		t.Fatalf("%+v %v", o, err)
	}
	path := filepath.Join(t.TempDir(), "state.backup")
	if _, err := e.Backup(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Restore(t.Context(), path, filepath.Join(t.TempDir(), "restored"), nil); err != nil {
		t.Error(err)
	}
}
