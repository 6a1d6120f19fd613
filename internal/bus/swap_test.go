package bus

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"polity.run/fault"
)

func openBucket(t *testing.T, dir string) (*Bus, *Bucket) {
	t.Helper()
	b, err := Open(t.Context(), Config{Dir: dir, Sync: SyncOS})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	k, err := b.Bucket(t.Context(), "facts")
	if err != nil {
		t.Fatal(err)
	}
	return b, k
}

func TestSwapIsConditional(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	b, k := openBucket(t, dir)
	must := func(revision uint64, err error) uint64 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return revision
	}
	want := func(key, value string, revision uint64) {
		t.Helper()
		got, at, err := k.Get(ctx, key)
		if err != nil || string(got) != value || at != revision {
			t.Fatalf("%s: %q at %d, %v; want %q at %d", key, got, at, err, value, revision)
		}
	}
	want("a.x", "", 0)
	first := must(k.Swap(ctx, "a.x", []byte("one"), 0))
	want("a.x", "one", first)
	for _, stale := range []uint64{0, first + 1} {
		if _, err := k.Swap(ctx, "a.x", []byte("no"), stale); !errors.Is(err, fault.Conflict) {
			t.Errorf("at %d: %v", stale, err)
		}
	}
	second := must(k.Swap(ctx, "a.x", []byte("two"), first))
	other := must(k.Swap(ctx, "b.y", []byte("other"), 0))
	if err := k.Remove(ctx, "a.x", first); err != nil {
		t.Fatal(err)
	}
	want("a.x", "two", second) // it was changed since
	if err := k.Remove(ctx, "b.y", other); err != nil {
		t.Fatal(err)
	}
	want("b.y", "", 0)
	b.Close()

	_, k = openBucket(t, dir)
	want("a.x", "two", second)
	if again := must(k.Swap(ctx, "b.y", []byte("again"), 0)); again <= other {
		t.Errorf("revision %d after a removal and a restart, and %d before", again, other)
	}
	for prefix, keys := range map[string][]string{"": {"a.x", "b.y"}, "a.": {"a.x"}, "c.": {}} {
		got, err := k.Keys(ctx, prefix)
		if diff := cmp.Diff(keys, got); err != nil || diff != "" {
			t.Errorf("keys of %q (-want +got)\n%s%v", prefix, diff, err)
		}
	}
	if _, err := k.Swap(ctx, "c", make([]byte, ValueMax+1), 0); !errors.Is(err, fault.Invalid) {
		t.Errorf("too long: %v", err)
	}
}

// TestSwapRaces has many add to one number, each on condition: none is lost.
func TestSwapRaces(t *testing.T) {
	const writers, each = 8, 25
	_, k := openBucket(t, t.TempDir())
	ctx := context.Background()
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for done := 0; done < each; {
				value, at, err := k.Get(ctx, "n")
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi("0" + string(value))
				switch _, err := k.Swap(ctx, "n", []byte(strconv.Itoa(n+1)), at); {
				case err == nil:
					done++
				case !errors.Is(err, fault.Conflict):
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if value, _, err := k.Get(ctx, "n"); err != nil || string(value) != strconv.Itoa(writers*each) {
		t.Errorf("%s, %v; want %d", value, err, writers*each)
	}
}

// TestSwapWithoutAcknowledgement loses acknowledgements, and has others write in between.
func TestSwapWithoutAcknowledgement(t *testing.T) {
	lost := errors.New("the acknowledgement is lost")
	for name, c := range map[string]struct {
		written bool // by the sending that is not acknowledged
		between bool // somebody else writes after it
		want    error
		value   string
	}{
		"written":                        {true, false, nil, "mine"},
		"not written":                    {false, false, nil, "mine"},
		"written, and changed since":     {true, true, fault.Unknown, "theirs"},
		"not written, and changed since": {false, true, fault.Unknown, "theirs"},
	} {
		t.Run(name, func(t *testing.T) {
			_, k := openBucket(t, t.TempDir())
			ctx := context.Background()
			publish := func(ctx context.Context, m *nats.Msg) (uint64, error) {
				ack, err := k.b.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(0))
				if err != nil {
					return 0, err
				}
				return ack.Sequence, nil
			}
			sent := 0
			at, err := k.swap(ctx, "x", []byte("mine"), 0, func(ctx context.Context, m *nats.Msg) (uint64, error) {
				if sent++; sent > 1 {
					return publish(ctx, m)
				}
				if c.written {
					if _, err := publish(ctx, m); err != nil {
						t.Fatal(err)
					}
				}
				if c.between {
					if err := k.Put(ctx, "x", []byte("theirs")); err != nil {
						t.Fatal(err)
					}
				}
				return 0, lost
			})
			if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			value, revision, got := k.Get(ctx, "x")
			if got != nil || string(value) != c.value || err == nil && at != revision {
				t.Errorf("%q at %d, and %d was said: %v", value, revision, at, got)
			}
		})
	}
	t.Run("never", func(t *testing.T) {
		_, k := openBucket(t, t.TempDir())
		sent := 0
		_, err := k.swap(t.Context(), "x", nil, 0, func(context.Context, *nats.Msg) (uint64, error) { sent++; return 0, lost })
		if !errors.Is(err, fault.Unavailable) || sent != swapsMax {
			t.Errorf("%v after %d", err, sent)
		}
	})
}
