package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

var damageConfig = Config{Do: noop, Catalog: programs{deciders: map[string]polity.Decider{"five": steps(5)}}}

// soundStore makes a store with some finished runs in it, and returns its log.
func soundStore(t *testing.T, dir string) []memEntry {
	t.Helper()
	n := openNode(t, dir, bus.SyncOS, damageConfig)
	defer n.close(t)
	for i := range 4 {
		if _, err := n.Run(t.Context(), Request{ID: rootID(i), Agent: "five", Input: json.RawMessage(fmt.Sprintf(`{"number":%d}`, i))}); err != nil {
			t.Fatal(err)
		}
	}
	return entries(t, n.log)
}

// block returns the one file that holds the log's messages.
func block(t *testing.T, dir string) string {
	t.Helper()
	var found []string
	if err := filepath.WalkDir(filepath.Join(dir, "store"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".blk") && strings.Contains(path, "LOG_p0") {
			found = append(found, path)
		}
		return err
	}); err != nil || len(found) != 1 {
		t.Fatalf("files of the log: %v %v", found, err)
	}
	return found[0]
}

// change rewrites a part of the block.
func change(t *testing.T, path string, f func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, f(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// flip changes one bit in the middle of a commit.
func flip(t *testing.T, dir string, commit memEntry) {
	t.Helper()
	change(t, block(t, dir), func(b []byte) []byte {
		i := bytes.Index(b, commit.data)
		if i < 0 {
			t.Fatal("the commit does not stand in the block")
		}
		b[i+len(commit.data)/2] ^= 4
		return b
	})
}

// forget removes what the server remembers beside the messages, as a restored backup or a check of the file system would.
func forget(t *testing.T, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(filepath.Dir(block(t, dir)), "index.db")); err != nil {
		t.Fatal(err)
	}
}

// append writes raw bytes to a log behind the kernel's back.
func appendRaw(t *testing.T, dir string, messages ...[]byte) {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Config{Dir: filepath.Join(dir, "store"), Sync: bus.SyncOS})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	acks := make(chan bus.Ack, 1)
	l, err := b.Log(t.Context(), "p0", func(a bus.Ack) { acks <- a })
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range messages {
		last, err := l.Last(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		id := hash(sha256.Sum256(m))
		if err := l.Append(m, id.id(), headHash(last).id(), last.Seq+1, uint64(i)); err != nil {
			t.Fatal(err)
		}
		if a := <-acks; a.Err != nil {
			t.Fatal(a.Err)
		}
	}
}

func TestDamageIsFound(t *testing.T) {
	const cut = 12 // the commit that is harmed
	last := func(log []memEntry) memEntry { return log[len(log)-1] }
	for name, tc := range map[string]struct {
		harm func(t *testing.T, dir string, log []memEntry)
		want fault.Kind
		says []string
	}{
		"a flipped bit": {
			func(t *testing.T, dir string, log []memEntry) { flip(t, dir, log[cut-1]) },
			fault.Damaged, []string{"commit 12", "up to commit 11 the log is sound"},
		},
		"a flipped bit, and the server reads the block anew": {
			func(t *testing.T, dir string, log []memEntry) { flip(t, dir, log[cut-1]); forget(t, dir) },
			fault.Damaged, []string{"commit 11", "commit 25", "anchor", "is gone"}, // it cuts the block there
		},
		"a flipped bit in the last commit": {
			func(t *testing.T, dir string, log []memEntry) { flip(t, dir, last(log)) },
			fault.Damaged, []string{"no last commit that can be read", "commit 25", "anchor"},
		},
		"a flipped bit in the last commit, and no anchor": {
			func(t *testing.T, dir string, log []memEntry) {
				flip(t, dir, last(log))
				if err := os.Remove(filepath.Join(dir, "anchor")); err != nil {
					t.Fatal(err)
				}
			},
			fault.Damaged, []string{"commit 25", "up to commit 24 the log is sound"},
		},
		"a cut end": {
			func(t *testing.T, dir string, log []memEntry) {
				change(t, block(t, dir), func(b []byte) []byte { return b[:bytes.Index(b, last(log).data)-40] })
				forget(t, dir)
			},
			fault.Damaged, []string{"commit 25", "anchor", "is gone"},
		},
		"a block cut in the middle": {
			func(t *testing.T, dir string, log []memEntry) {
				change(t, block(t, dir), func(b []byte) []byte { return b[:bytes.Index(b, log[cut-1].data)+10] })
				forget(t, dir)
			},
			fault.Damaged, []string{"commit 11", "commit 25", "anchor", "is gone"},
		},
		"an empty store": {
			func(t *testing.T, dir string, _ []memEntry) {
				if err := os.RemoveAll(filepath.Join(dir, "store")); err != nil {
					t.Fatal(err)
				}
			},
			fault.Damaged, []string{"commit 25", "anchor", "is gone"},
		},
		"another log": {
			func(t *testing.T, dir string, _ []memEntry) {
				other := t.TempDir()
				soundStore(t, other)
				soundStore(t, other)
				if err := errors.Join(os.RemoveAll(filepath.Join(dir, "store")), os.Rename(filepath.Join(other, "store"), filepath.Join(dir, "store"))); err != nil {
					t.Fatal(err)
				}
			},
			fault.Damaged, []string{"commit 25", "anchor", "was replaced"},
		},
		"a commit that does not follow": {
			func(t *testing.T, dir string, log []memEntry) {
				b := beginFrame(nil, [8]byte{9}, log[3].id, lastTime(t, log))
				appendRaw(t, dir, appendRecord(b, &record{kind: recClaim}))
			},
			fault.Damaged, []string{"commit 26", "up to commit 25 the log is sound"},
		},
		"a commit from before the one before": {
			func(t *testing.T, dir string, log []memEntry) {
				b := beginFrame(nil, [8]byte{9}, last(log).id, lastTime(t, log).Add(-time.Hour))
				appendRaw(t, dir, appendRecord(b, &record{kind: recClaim}))
			},
			fault.Damaged, []string{"commit 26", "from before", "up to commit 25 the log is sound"},
		},
		"a commit of a later version": {
			func(t *testing.T, dir string, log []memEntry) {
				b := bytes.Clone(last(log).data)
				b[0] = frameImports + 1
				appendRaw(t, dir, b)
			},
			fault.Invalid, []string{"commit 26", "unknown format", "newer version"},
		},
		"a commit that makes no sense": {
			func(t *testing.T, dir string, log []memEntry) {
				b := beginFrame(nil, [8]byte{}, last(log).id, lastTime(t, log))
				appendRaw(t, dir, append(b, 2, 99, 0))
			},
			fault.Damaged, []string{"commit 26", "does not make sense"},
		},
		"a run that nobody opened": {
			func(t *testing.T, dir string, log []memEntry) {
				b := beginFrame(nil, [8]byte{}, last(log).id, lastTime(t, log))
				appendRaw(t, dir, appendRecord(b, &record{kind: recExpired, run: "0-nobody"}))
			},
			fault.Damaged, []string{"commit 26", "no commit opened"},
		},
		"an anchor that is none": {
			func(t *testing.T, dir string, _ []memEntry) {
				if err := os.WriteFile(filepath.Join(dir, "anchor"), []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			fault.Damaged, []string{"anchor"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			log := soundStore(t, dir)
			if len(log) != 25 {
				t.Fatalf("the log has %d commits, and the table says 25", len(log))
			}
			tc.harm(t, dir, log)
			for try := range 2 { // it is not served the second time either
				n, err := tryNode(dir, bus.SyncOS, damageConfig)
				if err == nil {
					n.close(t)
					t.Fatal("the log was served")
				}
				if !errors.Is(err, tc.want) {
					t.Errorf("got %s, want %s", fault.Of(err).Kind, tc.want)
				}
				for _, word := range tc.says {
					if try == 0 && !strings.Contains(err.Error(), word) {
						t.Errorf("it does not say %q: %v", word, err)
					}
				}
				if try == 0 {
					t.Log(err)
				}
			}
		})
	}
}

func lastTime(t *testing.T, log []memEntry) time.Time {
	t.Helper()
	var f frame
	if err := f.decode(log[len(log)-1].data); err != nil {
		t.Fatal(err)
	}
	return f.at
}

func TestLogWithoutAnAnchorIsServed(t *testing.T) {
	dir := t.TempDir()
	log := soundStore(t, dir)
	if err := os.Remove(filepath.Join(dir, "anchor")); err != nil {
		t.Fatal(err)
	}
	n := openNode(t, dir, bus.SyncOS, damageConfig)
	defer n.close(t)
	if o, err := n.Wait(context.Background(), rootID(3)); err != nil || o.Status != polity.StatusCompleted {
		t.Errorf("%+v %v", o, err)
	}
	if again := entries(t, n.log); len(again) != len(log)+1 {
		t.Errorf("%d commits, before %d", len(again), len(log))
	}
}

// TestAnchorFollowsTheLog wants the file to name the last commit that was acknowledged before the end.
func TestAnchorFollowsTheLog(t *testing.T) {
	dir := t.TempDir()
	log := soundStore(t, dir)
	a, err := readAnchor(filepath.Join(dir, "anchor"))
	if err != nil || a.seq != uint64(len(log)) || a.head != log[len(log)-1].id {
		t.Errorf("anchor at %d (%v), the log ends with %d", a.seq, err, len(log))
	}
}
