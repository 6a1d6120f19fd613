package run

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

const foldsWanted = 100

// decisionsOf folds a log, and writes down every command that its deciders decide.
func decisionsOf(t *testing.T, h host, catalog Catalog, log []memEntry) string {
	t.Helper()
	var b strings.Builder
	c := newCore(h, catalog, epochOfMemory)
	c.decided = note(&b)
	if err := foldLog(c, log); err != nil {
		t.Fatal(err)
	}
	for _, tree := range c.roots {
		if tree.stopped != nil {
			t.Fatalf("a fold stops %s: %v", tree.id, tree.stopped)
		}
	}
	return b.String()
}

// TestFoldDecidesTheSame records a log of runs with children, retries, sleeps and effects of every class on a real store that is closed and
// opened in between, and wants every fold of it, and of each of its prefixes, to decide the same commands, byte for byte.
func TestFoldDecidesTheSame(t *testing.T) {
	dir := t.TempDir()
	var log []memEntry
	var live [3]string
	m := &memory{t: t, blobs: map[Digest]json.RawMessage{Digest(headHash(bus.Entry{Seq: 1, Data: large(1)})): large(1)}}
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		did := map[string]int{}
		do := func(ctx context.Context, e *Effect) (json.RawMessage, polity.Usage, error) {
			mu.Lock()
			did[e.Key()]++
			first := did[e.Key()] == 1
			mu.Unlock()
			h := fnv.New32a()
			h.Write([]byte(e.Key()))
			switch n := h.Sum32() % 5; {
			case n == 0 && first && e.Class != polity.EffectExternal: // it is in flight when the node stops
				<-ctx.Done()
				return nil, polity.Usage{}, ctx.Err()
			case n == 1 && e.To == "none":
				return nil, polity.Usage{}, fault.Unavailable.New("not now")
			case n == 2:
				return large(1), polity.Usage{InputTokens: 7}, nil
			}
			return json.RawMessage(fmt.Sprintf("%q", e.Name)), polity.Usage{OutputTokens: 3}, nil
		}
		ask := func(_ context.Context, e *Effect) (polity.Finding, error) {
			if len(e.Key())%2 == 0 {
				return polity.Finding{Verdict: polity.VerdictNotDone}, nil
			}
			return polity.Finding{Verdict: polity.VerdictDone, Output: json.RawMessage(`"was done"`)}, nil
		}
		for round := range live {
			n := openNode(t, dir, bus.SyncOS, Config{Do: do, Ask: ask, Catalog: simCatalog})
			for i := range 20 {
				mustOpen(t, n, rootID(round*20+i), "branch", simBounds)
			}
			if round == len(live)-1 {
				for i := range len(live) * 20 {
					endOf(t, n, rootID(i))
				}
			}
			log = entries(t, n.log)
			n.close(t)
		}
	})
	kinds := map[recordKind]int{}
	children := 0
	m.log = log
	m.records(func(_ int, r *record) {
		kinds[r.kind]++
		if r.kind == recOpened && r.run.Parent() != "" {
			children++
		}
	})
	if kinds[recBegan] == 0 || kinds[recCancel] == 0 || kinds[recClaim] != len(live) || children == 0 {
		t.Fatalf("the log does not hold what it should: %v, %d children", kinds, children)
	}
	whole := decisionsOf(t, m, simCatalog, log)
	if !strings.Contains(whole, "~2 ") {
		t.Error("nothing was tried again")
	}
	for range foldsWanted {
		if decisionsOf(t, m, simCatalog, log) != whole {
			t.Fatal("a fold decides otherwise")
		}
	}
	before := ""
	for n := range log {
		part := decisionsOf(t, m, simCatalog, log[:n])
		if !strings.HasPrefix(part, before) || !strings.HasPrefix(whole, part) {
			t.Fatalf("a fold of the first %d commits decides otherwise", n)
		}
		before = part
	}
	t.Logf("%d commits, %d children, %d commands, %d bytes of decisions", len(log), children, strings.Count(whole, "\n"), len(whole))
}

// talk thinks and calls a tool in turn. Each thought is given everything that was heard so far.
type talk struct{ calls int }

type talkState struct {
	heard   []byte
	results int
}

func (d talk) Decide(state any, e polity.Event) (any, []polity.Command) {
	s, _ := state.(*talkState)
	if s == nil {
		s = &talkState{}
	} else {
		s.heard = append(s.heard, e.Data...)
		s.results++
	}
	n := s.results / 2
	switch {
	case n == d.calls:
		return s, []polity.Command{polity.Finish(json.RawMessage(fmt.Sprintf(`{"heard":%d}`, len(s.heard))))}
	case s.results%2 == 0:
		input := append(append([]byte(`"`), s.heard...), '"')
		return s, []polity.Command{polity.Think(fmt.Sprintf("think.%d", n), "model", input, polity.Usage{InputTokens: int64(len(input))})}
	default:
		return s, []polity.Command{polity.Call(fmt.Sprintf("call.%d", n), "tool", json.RawMessage(`{"path":"x"}`))}
	}
}

// TestConversationIsStoredOnce wants a long conversation, whose every thought is asked with all that was said before, to take little more room
// than what was said.
func TestConversationIsStoredOnce(t *testing.T) {
	for name, size := range map[string]int{"results in the log": 8 << 10, "results in blobs": 40 << 10} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var heard, asked int
			do := func(_ context.Context, e *Effect) (json.RawMessage, polity.Usage, error) {
				data := json.RawMessage(fmt.Sprintf(`{"tool":"tool","path":%q}`, e.Name))
				if e.Verb == polity.DoCall {
					data = json.RawMessage(fmt.Sprintf("%q", strings.Repeat(e.Name, size)[:size]))
				}
				heard += len(data)
				asked += len(e.Input)
				return data, polity.Usage{}, nil
			}
			n := openNode(t, dir, bus.SyncOS, Config{Do: do, Catalog: programs{deciders: map[string]polity.Decider{"talk": talk{100}}}})
			o, err := n.Run(t.Context(), Request{ID: rootID(1), Agent: "talk", Bounds: polity.Bounds{Tokens: 1 << 40}})
			if err != nil || string(o.Output) != fmt.Sprintf(`{"heard":%d}`, heard) {
				t.Fatalf("%+v %v", o, err)
			}
			_, stored, err := n.log.Size(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n.close(t)
			stored += sizeOf(t, filepath.Join(dir, "blobs"))
			ratio := float64(stored) / float64(heard)
			t.Logf("%d bytes were heard, %d asked with, %d stored: %.3f", heard, asked, stored, ratio)
			if ratio > 1.5 || ratio < 0.5 || asked < 20*heard {
				t.Errorf("%.3f bytes are stored for a byte heard; %d were asked with", ratio, asked)
			}
		})
	}
}

func sizeOf(t *testing.T, dir string) (sum uint64) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += uint64(info.Size())
		}
		return err
	}); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return sum
}
