package run

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/internal/bus"
)

// homes is what runs are exported from and imported into.
var homes = household(`{}`, 3)

// noFiles is Pinned for releases that pin nothing.
func noFiles([]byte) ([]Digest, error) { return nil, nil }

// exported runs a few runs with children and large results on a node of its own, and exports one.
func exported(t testing.TB, dir string) (polity.Archive, []byte, []polity.Notice, polity.Outcome) {
	t.Helper()
	do := func(_ context.Context, _ *Effect) (json.RawMessage, polity.Usage, error) {
		return large(1), polity.Usage{InputTokens: 7}, nil
	}
	n := openNode(t, dir, bus.SyncOS, Config{Catalog: homes, Do: do})
	defer n.close(t)
	release, err := n.cfg.Blobs.Put([]byte(`{"name":"release"}`))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := n.Open(t.Context(), Request{ID: rootID(i), Release: release, Agent: "parent"}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		endOf(t, n, rootID(i))
	}
	var b bytes.Buffer
	id := rootID(1)
	a, err := n.Export(t.Context(), id, noFiles, &b)
	if err != nil {
		t.Fatal(err)
	}
	return a, b.Bytes(), toldOf(t, n, id), endOf(t, n, id)
}

// toldOf is what a node tells of a run, without the positions in its log.
func toldOf(t testing.TB, n *node, id polity.RunID) []polity.Notice {
	t.Helper()
	var all []polity.Notice
	if err := n.History(t.Context(), id, func(e polity.Notice) error {
		e.Commit = 0
		all = append(all, e)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestArchive exports a run, imports it on another node among runs of its own, and wants it there as it was here: at once, and after
// every start.
func TestArchive(t *testing.T) {
	a, file, history, outcome := exported(t, t.TempDir())
	id := a.Run
	if a.Status != outcome.Status || a.Events != len(history) || len(a.Blobs) < 2 || a.Usage != outcome.Usage {
		t.Fatalf("%+v", a)
	}
	verified, err := Verify(bytes.NewReader(file), noFiles)
	if diff := cmp.Diff(a, verified); diff != "" || err != nil {
		t.Fatalf("%v (-exported +verified):\n%s", err, diff)
	}

	dir := t.TempDir()
	n := openNode(t, dir, bus.SyncOS, Config{Catalog: homes, Do: noop})
	for i := range 3 {
		mustOpen(t, n, rootID(100+i), "parent", polity.Bounds{})
	}
	if _, err := n.Import(t.Context(), bytes.NewReader(file), noFiles); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s, err := n.Find(t.Context(), id)
		want := polity.Summary{ID: id, Agent: a.Agent, Status: a.Status, Opened: a.Opened, Ended: a.Ended, Usage: a.Usage}
		if diff := cmp.Diff(want, s); diff != "" || err != nil {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
		if diff := cmp.Diff(history, toldOf(t, n, id), cmp.Comparer(sameFault)); diff != "" {
			t.Errorf("its history (-here +there):\n%s", diff)
		}
		if got := endOf(t, n, id); !cmp.Equal(got, outcome, cmp.Comparer(sameFault)) {
			t.Errorf("it ended with %+v, and here with %+v", got, outcome)
		}
		if r, err := n.Replay(t.Context(), id, Digest{}); err != nil || r.Difference != nil || r.Events != a.Events {
			t.Errorf("replay: %+v %v", r, err)
		}
		var again bytes.Buffer
		if b, err := n.Export(t.Context(), id, noFiles, &again); err != nil || b.Head != a.Head || !bytes.Equal(again.Bytes(), file) {
			t.Errorf("exported again it is another: %v", err)
		}
		if _, err := n.Import(t.Context(), bytes.NewReader(file), noFiles); !errors.Is(err, fault.Conflict) {
			t.Errorf("imported twice: %v", err)
		}
		if err := n.Open(t.Context(), Request{ID: id, Agent: "parent", Input: json.RawMessage(`7`)}); !errors.Is(err, fault.Conflict) {
			t.Errorf("opened with something else: %v", err)
		}
		if err := n.Cancel(t.Context(), id, "too late"); err != nil {
			t.Errorf("cancelled after its end: %v", err)
		}
		n.close(t)
		n = openNode(t, dir, bus.SyncOS, Config{Catalog: homes, Do: noop})
	}
	for i := range 3 {
		endOf(t, n, rootID(100+i))
	}
	n.close(t)
}

func sameFault(a, b *fault.Error) bool {
	return a == b || a != nil && b != nil && a.Kind == b.Kind && a.Text == b.Text && a.Bound == b.Bound
}

// TestImportRaisesPack imports a run while a pack is gathered whose beginning is hashed already, and wants the log to be whole.
func TestImportRaisesPack(t *testing.T) {
	catalog := programs{deciders: map[string]polity.Decider{"five": steps(5)}}
	m := newMemory(t, catalog)
	m.begin(1, "five", polity.Bounds{}) // in flight
	m.begin(2, "five", polity.Bounds{}) // gathered, and hashed
	if m.core.gather == nil || m.core.gather.hashed == 0 {
		t.Fatal("nothing is gathered")
	}
	var answered error = fault.Internal.New("not answered")
	rec := &record{kind: recImported, run: rootID(3), agent: "old", status: polity.StatusFailed, opened: m.now, ended: m.now, data: payload{size: 1}}
	m.core.importRun(rec, func(err error) { answered = err })
	m.core.settle()
	m.run()
	if answered != nil {
		t.Fatal(answered)
	}
	versions := map[byte]int{}
	for _, e := range m.log {
		versions[e.data[0]]++
	}
	if versions[frameImports] != 1 || versions[frameVersion] != len(m.log)-1 {
		t.Errorf("frames by version: %v", versions)
	}
	m.open(catalog, false) // which checks the chain
	if tree := m.core.trees[rootID(3)]; tree == nil || tree.summary.Status != polity.StatusFailed || len(m.core.roots) != 3 {
		t.Errorf("%+v", tree)
	}
	m.core.importRun(rec, func(err error) { answered = err })
	if !errors.Is(answered, fault.Conflict) {
		t.Errorf("imported twice: %v", answered)
	}
}

// importedFrame is how version 2 writes an imported run, for good.
const importedFrame = "020000000000000000" + "0000000000000000000000000000000000000000000000000000000000000000" + "18fae27693b40000" +
	"750806302d61626364" + "02" + "0100000000000000000000000000000000000000000000000000000000000000" + "046e616d65" +
	"09000000000000000000000000000000" + "01020304" + "0000000000000001" + "0000000000000002" + "0200" +
	"0200000000000000000000000000000000000000000000000000000000000000" + "05"

func TestImportedRecord(t *testing.T) {
	want := record{
		kind: recImported, run: "0-abcd", status: polity.StatusExhausted, release: Digest{1}, agent: "name", request: requestHash{9},
		usage: polity.Usage{Turns: 1, InputTokens: 2, OutputTokens: 3, MicroUSD: 4}, opened: time.Unix(0, 1).UTC(), ended: time.Unix(0, 2).UTC(),
		data: payload{blob: Digest{2}, size: 5},
	}
	b := appendRecord(beginFrame(nil, [8]byte{}, hash{}, time.Unix(1_800_000_000, 0)), &want)
	b[0] = frameImports
	if got := hex.EncodeToString(b); got != importedFrame {
		t.Errorf("version 2 is written otherwise than it was:\n%s\n%s", got, importedFrame)
	}
	var f frame
	if err := f.decode(b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]record{want}, f.records, fields()...); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// part is a file of an archive.
type part struct {
	name string
	data []byte
}

func unpack(t testing.TB, file []byte) (list []part) {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, part{h.Name, data})
	}
}

func repack(t testing.TB, list []part) []byte {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	w := tar.NewWriter(zip)
	for _, p := range list {
		if err := w.WriteHeader(&tar.Header{Name: p.name, Mode: 0o600, Size: int64(len(p.data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(p.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestArchiveThatIsNotWhole changes each part of an archive in turn, and wants every change to be found and nothing to be taken over.
func TestArchiveThatIsNotWhole(t *testing.T) {
	_, file, _, _ := exported(t, t.TempDir())
	n := openNode(t, t.TempDir(), bus.SyncOS, Config{Catalog: homes, Do: noop})
	defer n.close(t)
	refused := func(name string, file []byte, kind fault.Kind) {
		t.Helper()
		if _, err := Verify(bytes.NewReader(file), noFiles); !errors.Is(err, kind) {
			t.Errorf("%s: got %v, want %s", name, err, kind)
		}
		if _, err := n.Import(t.Context(), bytes.NewReader(file), noFiles); !errors.Is(err, kind) {
			t.Errorf("%s: imported: got %v, want %s", name, err, kind)
		}
	}
	whole := unpack(t, file)
	if _, err := Verify(bytes.NewReader(repack(t, whole)), noFiles); err != nil {
		t.Fatal(err)
	}
	change := func(name string, kind fault.Kind, do func(list []part) []part) {
		t.Helper()
		list := slices.Clone(whole)
		for i := range list {
			list[i].data = bytes.Clone(list[i].data)
		}
		refused(name, repack(t, do(list)), kind)
	}
	for i, p := range whole {
		change("without "+p.name, map[bool]fault.Kind{true: fault.Invalid, false: fault.Damaged}[i == 0], func(l []part) []part { return slices.Delete(l, i, i+1) })
		if i > 0 {
			change("a byte of "+p.name, fault.Damaged, func(l []part) []part { l[i].data[len(l[i].data)/2] ^= 1; return l })
		}
	}
	change("one more document", fault.Damaged, func(l []part) []part {
		d := sha256.Sum256([]byte("more"))
		return append(l, part{"blobs/" + hex.EncodeToString(d[:]), []byte("more")})
	})
	change("another head", fault.Damaged, func(l []part) []part {
		l[0].data = bytes.Replace(l[0].data, []byte(`"turns"`), []byte(`"micro_usd"`), 1)
		return l
	})
	change("a later version", fault.Invalid, func(l []part) []part {
		l[0].data = bytes.Replace(l[0].data, []byte(`"version": 1`), []byte(`"version": 2`), 1)
		return l
	})
	change("a path that leads out", fault.Damaged, func(l []part) []part { l[2].name = "../../x"; return l })
	for n := 0; n < len(file); n += max(1, len(file)/50) {
		if _, err := Verify(bytes.NewReader(file[:n]), noFiles); err == nil {
			t.Errorf("cut to %d of %d bytes it is whole", n, len(file))
		}
	}
	refused("empty", nil, fault.Invalid)
	refused("text", []byte("polity: v1\n"), fault.Invalid)
	refused("twice", append(bytes.Clone(file), file...), fault.Damaged)
	if all, err := n.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%d runs were taken over: %v", len(all), err)
	}
}

// FuzzArchiveLog wants any log of an archive to be refused or understood, and what is understood to be a run with an opening.
func FuzzArchiveLog(f *testing.F) {
	whole := unpack(f, func() []byte { _, file, _, _ := exported(f, f.TempDir()); return file }())[1].data
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(goldenLog())
	f.Add([]byte{0, 0, 0, 1, 1})
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, log []byte) {
		told := newTelling()
		if err := eachFrame(log, told.frame); err != nil {
			if k := fault.Of(err).Kind; k != fault.Damaged && k != fault.Invalid {
				t.Errorf("got %v", err)
			}
			return
		}
		if len(log) > 0 && (told.head.Run == "" || told.head.Events == 0) {
			t.Errorf("%+v", told.head)
		}
		if strings.Contains(string(told.head.Run), "/") {
			t.Errorf("run %q", told.head.Run)
		}
	})
}

// FuzzArchive wants no file to be more than refused.
func FuzzArchive(f *testing.F) {
	_, file, _, _ := exported(f, f.TempDir())
	f.Add(file)
	f.Add(repack(f, []part{{archiveHead, []byte(`{"format":"polity run archive","version":1}`)}, {archiveLog, nil}}))
	f.Add([]byte("polity"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := Verify(bytes.NewReader(data), noFiles); err != nil && fault.Of(err).Kind == fault.Internal {
			t.Errorf("got %v", err)
		}
	})
}
