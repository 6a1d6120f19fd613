package run

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"polity.run"
	"polity.run/fault"
)

var update = flag.Bool("update", false, "write the golden log anew: only with a new version of the format")

// golden is the log of testdata/golden-v1.log: every kind of record, and every form of payload.
func golden() []frame {
	digest := func(s string) Digest { return sha256.Sum256([]byte(s)) }
	request := func(s string) (h requestHash) { d := digest(s); copy(h[:], d[:]); return h }
	root := polity.RunID("0-mfrggzdfmztwq2lkmfrggzdf")
	child := root.Child("review", 1).Child("licences", 2)
	at := time.Date(2027, 1, 2, 3, 4, 5, 678_901_234, time.UTC)
	return []frame{
		{epoch: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, at: at, records: []record{{kind: recClaim}}},
		{epoch: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, at: at.Add(time.Second), records: []record{
			{
				kind: recOpened, run: root, release: digest("release"), agent: "critic", skill: "review", folder: "/srv/data",
				request: request("a"), data: payload{data: json.RawMessage(`{"question":"who wrote Faust?"}`)},
				bounds: polity.Bounds{Turns: 1, Tokens: 200, MicroUSD: 30_000, Wall: polity.Duration(time.Hour), Depth: 5, FanOut: 6, Retries: 7},
			},
			{kind: recOpened, run: child, release: digest("release"), agent: "writer", from: "critic", request: request("b")},
			{kind: recBegan, run: root, name: "send", attempt: 3, request: request("c")},
			{
				kind: recResult, run: root, name: "inline", attempt: 1, request: request("d"), data: payload{data: json.RawMessage(`"yes"`)},
				usage: polity.Usage{Turns: 1, InputTokens: 1 << 40, OutputTokens: 300, MicroUSD: 127},
			},
			{kind: recResult, run: root, name: "enciphered", attempt: 1, data: payload{key: "tenant-7/2027", data: json.RawMessage{0, 255, 1}}},
		}},
		{epoch: [8]byte{8, 7, 6, 5, 4, 3, 2, 1}, at: at.Add(time.Minute), records: []record{
			{kind: recClaim},
			{kind: recResult, run: root, name: "blob", attempt: 1, data: payload{blob: digest("blob"), size: payloadMax}},
			{kind: recResult, run: root, name: "enciphered-blob", attempt: 2, data: payload{key: "k", blob: digest("other"), size: 1}},
			{kind: recResult, run: root, name: "empty", attempt: 1, data: payload{data: json.RawMessage{}}},
			{kind: recResult, run: root, name: "nothing", attempt: 1, fault: fault.Of(fault.Timeout.New("tool %q: no <answer>\n within 1m0s", "x"))},
			{kind: recCancel, run: child, reason: "the client went away"},
			{kind: recExpired, run: root},
			{
				kind: recFinished, run: child, status: polity.StatusExhausted, request: request("e"), data: payload{data: json.RawMessage(`{}`)},
				fault: fault.Exceeded("turns", "1 needed, 0 of 5 left"), usage: polity.Usage{Turns: 5},
			},
			{kind: recFinished, run: root, status: polity.StatusCancelled, request: request("f")},
		}},
	}
}

// pack writes the frames as a chain.
func (f *frame) pack(prev hash) []byte {
	b := beginFrame(nil, f.epoch, prev, f.at)
	for i := range f.records {
		b = appendRecord(b, &f.records[i])
	}
	return b
}

// goldenLog is the frames' bytes, each with its length before it.
func goldenLog() []byte {
	var all []byte
	var prev hash
	for _, f := range golden() {
		b := f.pack(prev)
		prev = sha256.Sum256(b)
		all = binary.BigEndian.AppendUint32(all, uint32(len(b)))
		all = append(all, b...)
	}
	return all
}

func fields() []cmp.Option {
	return []cmp.Option{
		cmp.AllowUnexported(frame{}, record{}, payload{}, effect{}), cmpopts.IgnoreFields(frame{}, "raw"),
		cmp.Comparer(func(a, b *fault.Error) bool {
			return a == b || a != nil && b != nil && a.Kind == b.Kind && a.Text == b.Text && a.Bound == b.Bound
		}),
	}
}

// TestGoldenLog wants what version 1 wrote to be read for ever, and to be written the same.
func TestGoldenLog(t *testing.T) {
	path := filepath.Join("testdata", "golden-v1.log")
	if *update {
		if err := os.WriteFile(path, goldenLog(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(all, goldenLog()) {
		t.Error("version 1 is written otherwise than it was: an old program could not read it")
	}
	want := golden()
	var prev hash
	kinds, forms := map[recordKind]bool{}, map[string]bool{}
	for i := range want {
		n := binary.BigEndian.Uint32(all)
		data := all[4 : 4+n]
		all = all[4+n:]
		var got frame
		if err := got.decode(data); err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		want[i].prev = prev
		if diff := cmp.Diff(want[i], got, fields()...); diff != "" {
			t.Errorf("frame %d (-want +got):\n%s", i, diff)
		}
		prev = sha256.Sum256(data)
		for _, r := range got.records {
			kinds[r.kind] = true
			forms[fmt.Sprint(r.data.key != "", r.data.size > 0, r.data.data != nil, r.fault != nil)] = true
		}
	}
	if len(all) != 0 {
		t.Errorf("%d bytes are left", len(all))
	}
	for k := recClaim; k <= recFinished; k++ {
		if !kinds[k] {
			t.Errorf("no record of kind %d", k)
		}
	}
	if len(forms) < 7 {
		t.Errorf("only %d forms of payload: %v", len(forms), forms)
	}
}

// withEffects are records that say what was done outside, as the golden log's do not.
func withEffects() frame {
	at := time.Date(2027, 1, 2, 3, 4, 5, 6, time.UTC)
	return frame{at: at, records: []record{
		{kind: recBegan, run: "0-r", name: "send", attempt: 1, effect: effect{polity.EffectExternal, polity.DoCall, "mail.send", at}},
		{kind: recResult, run: "0-r", name: "think", attempt: 2, effect: effect{polity.EffectIdempotent, polity.DoThink, "quote", at}},
		{kind: recResult, run: "0-r", name: "old", attempt: 1, fault: fault.Of(fault.Failed.New("no"))},
		{
			kind: recResult, run: "0-r", name: "pay", attempt: 1, effect: effect{polity.EffectExternal, polity.DoCall, "bank.pay", at},
			receipt: json.RawMessage(`{"id":7}`),
		},
		{kind: recResult, run: "0-r", name: "pay", attempt: 2, effect: effect{polity.EffectExternal, polity.DoCall, "bank.pay", at}, asked: true},
		{
			kind: recReconciled, run: "0-r/child", name: "pay", attempt: 3, verdict: polity.VerdictUndone, by: "ada", reason: "paid back",
			receipt: json.RawMessage(`"r-1"`), data: payload{data: json.RawMessage(`1`)},
		},
		{kind: recReconciled, run: "0-r", name: "pay", attempt: 1, verdict: polity.VerdictDone},
	}}
}

func TestEffectsAreRead(t *testing.T) {
	want := withEffects()
	data := want.pack(hash{})
	var got frame
	if err := got.decode(data); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, fields()...); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for what, at := range map[string]int{
		"class":   bytes.Index(data, []byte("mail.send")) - 3,
		"receipt": bytes.Index(data, []byte(`{"id":7}`)),
		"verdict": bytes.Index(data, []byte("paid back")) - len("v_ada_"),
	} {
		broken := bytes.Clone(data)
		broken[at] = 9
		if err := got.decode(broken); !errors.Is(err, fault.Damaged) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// ofWaiting are the records of version 2 by which runs wait, are paused and talked to.
func ofWaiting() frame {
	at := time.Date(2027, 1, 2, 3, 4, 5, 6, time.UTC)
	return frame{at: at, records: []record{
		{kind: recOpened, run: "0-r", agent: "desk", conversation: "ada", arrival: polity.ArrivalReject},
		{kind: recOpened, run: "0-s", agent: "desk", conversation: "ada", arrival: polity.ArrivalRollback, queued: true, data: payload{data: json.RawMessage(`1`)}},
		{kind: recSignalled, run: "0-r/ship", name: "paid", id: "p1", data: payload{data: json.RawMessage(`{"amount":40}`)}},
		{kind: recPublished, name: "orders.placed", id: "0-x#tell", data: payload{data: json.RawMessage(`null`)}},
		{kind: recPaused, run: "0-r", reason: "the provider is down"},
		{kind: recResumed, run: "0-r"},
	}}
}

// waitingFrame is ofWaiting as it is written.
const waitingFrame = "020000000000000000000000000000000000000000000000000000000000000000000000000000000018f6d4c54a3932064d0203302d720000000000000000000000000000000000000000000000000000000000000000046465736b0000000000000000000000000000000000000000000000000000000000036164610000500203302d730000000000000000000000000000000000000000000000000000000000000000046465736b0000000000000000000000000000000000000000000000000000010001310000036164610301220a08302d722f73686970047061696402703101000d7b22616d6f756e74223a34307d200b000d6f72646572732e706c6163656408302d782374656c6c0100046e756c6c1a0c03302d72147468652070726f766964657220697320646f776e050d03302d72"

func TestGoldenWaiting(t *testing.T) {
	want := ofWaiting()
	data := want.pack(hash{})
	data[0] = frameImports
	if text := hex.EncodeToString(data); text != waitingFrame {
		t.Errorf("it is written otherwise than it was: %s", text)
	}
	stored, err := hex.DecodeString(waitingFrame)
	if err != nil {
		t.Fatal(err)
	}
	var got frame
	if err := got.decode(stored); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, fields()...); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func FuzzDecode(f *testing.F) {
	withEffects, ofWaiting := withEffects(), ofWaiting()
	f.Add(withEffects.pack(hash{}))
	f.Add(ofWaiting.pack(hash{}))
	f.Add(mustHex(callersFrame))
	var prev hash
	for _, g := range golden() {
		b := g.pack(prev)
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add(append(slices.Clone(b), 0))
	}
	for _, text := range []string{importedFrame, forkedFrame} {
		b, err := hex.DecodeString(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	sealed := sealedRecords()
	f.Add(sealed.pack(hash{}))
	f.Add([]byte{})
	f.Add(beginFrame(nil, [8]byte{}, hash{}, time.Unix(0, 0)))
	f.Add(append(beginFrame(nil, [8]byte{}, hash{}, time.Unix(0, 0)), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := slices.Clone(data)
		var got frame
		err := got.decode(data)
		if !bytes.Equal(before, data) {
			t.Fatal("decoding changed the bytes")
		}
		if err != nil {
			if k := fault.Of(err).Kind; k != fault.Damaged && k != fault.Invalid {
				t.Fatalf("neither damaged nor invalid: %v", err)
			}
			return
		}
		// A later version may have added fields, which are skipped; what this one writes of it is read as the same.
		once := got.pack(got.prev)
		var again frame
		if err := again.decode(once); err != nil {
			t.Fatalf("it does not read what it wrote: %v", err)
		}
		if diff := cmp.Diff(got, again, fields()...); diff != "" {
			t.Fatalf("read, written and read (-first +second):\n%s", diff)
		}
		if twice := again.pack(again.prev); !bytes.Equal(once, twice) {
			t.Fatalf("written as\n%x\nand as\n%x", once, twice)
		}
	})
}

func TestEveryCutIsFound(t *testing.T) {
	g := golden()[1]
	whole := g.pack(hash{})
	ends := map[int]bool{headerSize: true} // a frame may end behind each record
	b := slices.Clone(whole[:headerSize])
	for i := range g.records {
		b = appendRecord(b, &g.records[i])
		ends[len(b)] = true
	}
	for n := range whole {
		var f frame
		if err := f.decode(whole[:n]); (err == nil) != ends[n] {
			t.Errorf("cut to %d of %d bytes: %v", n, len(whole), err)
		}
	}
}

func TestLaterFieldsAreSkipped(t *testing.T) {
	r := record{kind: recExpired, run: "0-x"}
	b := appendRecord(beginFrame(nil, [8]byte{}, hash{}, time.Unix(0, 0)), &r)
	b[headerSize] += 3
	b = append(b, "new"...)
	b = appendRecord(b, &record{kind: recExpired, run: "0-y"})
	var f frame
	if err := f.decode(b); err != nil || len(f.records) != 2 || f.records[0].run != "0-x" || f.records[1].run != "0-y" {
		t.Errorf("%+v %v", f.records, err)
	}
}

func TestUndecodable(t *testing.T) {
	body := func(b ...byte) []byte {
		f := beginFrame(nil, [8]byte{}, hash{}, time.Unix(0, 0))
		return append(append(f, byte(len(b))), b...)
	}
	result := func(r record) []byte {
		r.kind, r.run, r.name, r.attempt = recResult, "0-x", "a", 1
		return appendRecord(beginFrame(nil, [8]byte{}, hash{}, time.Unix(0, 0)), &r)
	}
	badFault := result(record{fault: &fault.Error{Kind: "gremlin", Text: "x"}})
	badStatus := appendRecord(beginFrame(nil, [8]byte{}, hash{}, time.Unix(0, 0)), &record{kind: recFinished, run: "0-x", status: 77})
	for name, tc := range map[string]struct {
		data []byte
		want fault.Kind
	}{
		"nothing":            {nil, fault.Invalid},
		"version 0":          {[]byte{0}, fault.Invalid},
		"version 3":          {append([]byte{frameImports + 1}, make([]byte, headerSize)...), fault.Invalid},
		"half a header":      {[]byte{frameVersion, 1, 2}, fault.Damaged},
		"an empty record":    {body(), fault.Damaged},
		"an unknown kind":    {body(99, 0), fault.Damaged},
		"kind 0":             {body(0, 0), fault.Damaged},
		"a long name":        {body(byte(recExpired), 0xff, 0xff, 0x7f), fault.Damaged},
		"an unknown fault":   {badFault, fault.Damaged},
		"an unknown status":  {badStatus, fault.Damaged},
		"a blob of no bytes": {result(record{data: payload{size: 0, blob: Digest{1}, key: "k"}})[:headerSize+2], fault.Damaged},
	} {
		t.Run(name, func(t *testing.T) {
			var f frame
			if err := f.decode(tc.data); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

// TestRecordLengths wants the length before a record right where it takes one more byte.
func TestRecordLengths(t *testing.T) {
	var f frame
	for _, n := range []int{0, 1, 100, 110, 120, 127, 128, 129, 16_000, 16_383 - 60, 16_384, 20_000, 2_097_151, 2_097_152} {
		for d := range 60 {
			r := record{kind: recResult, run: "0-x", name: "a", attempt: 1, data: payload{data: bytes.Repeat([]byte{'x'}, n+d)}}
			b := appendRecord(beginFrame(nil, [8]byte{}, hash{}, time.Unix(0, 0)), &r)
			b = appendRecord(b, &record{kind: recExpired, run: "0-y"})
			err := f.decode(b)
			if n+d > frameMax {
				if !errors.Is(err, fault.Damaged) {
					t.Fatalf("%d bytes, more than any frame: %v", n+d, err)
				}
				break
			}
			if err != nil || len(f.records) != 2 || len(f.records[0].data.data) != n+d || f.records[1].run != "0-y" {
				t.Fatalf("payload of %d bytes: %v", n+d, err)
			}
			if n > 1000 && d > 2 {
				break
			}
		}
	}
}

// TestLogGivesBackWhatItTook lets effects and deciders say what they should not, and wants every decision to be the same when
// the log is folded again.
func TestLogGivesBackWhatItTook(t *testing.T) {
	for name, res := range map[string]result{
		"text that is not UTF-8":   {fault: fault.Of(fault.Failed.New("exit 1: \xff\xfe bad"))},
		"text for HTML":            {fault: fault.Of(fault.Failed.New("<b>&\u2028</b>"))},
		"text without end":         {fault: fault.Of(fault.Failed.New("%s", strings.Repeat("é\xff", 1<<20)))},
		"a kind of its own":        {fault: &fault.Error{Kind: "gremlin", Text: "x"}},
		"no kind":                  {fault: &fault.Error{Text: "x"}},
		"a bound without end":      {fault: &fault.Error{Kind: fault.Exhausted, Bound: strings.Repeat("b", 1<<20)}},
		"a fault with a cause":     {fault: fault.Of(fault.Failed.New("x: %w", os.ErrClosed))},
		"usage below nothing":      {usage: polity.Usage{Turns: -5, InputTokens: -1, OutputTokens: -1, MicroUSD: -1}},
		"usage beyond all numbers": {usage: polity.Usage{Turns: 1<<63 - 2, InputTokens: 1<<63 - 1, OutputTokens: 1<<63 - 1, MicroUSD: 1<<63 - 1}},
		"data that is not JSON":    {data: json.RawMessage("\xff{")},
		"data of no bytes":         {data: json.RawMessage{}},
		"no data":                  {},
		"large data":               {data: large(1)},
	} {
		t.Run(name, func(t *testing.T) {
			teller := decideFunc(func(n int, e polity.Event) []polity.Command {
				if n == 3 {
					return did(n)
				}
				told := fmt.Sprintf("%d %q %v %+v %s", len(e.Data), e.Data, e.Data == nil, e.Usage, e.At)
				if e.Fault != nil {
					told += fmt.Sprintf(" %q %q %q", e.Fault.Kind, e.Fault.Text, e.Fault.Bound)
				}
				return []polity.Command{polity.Call(fmt.Sprintf("c%d", n), "tool", json.RawMessage(told))}
			})
			catalog := programs{deciders: map[string]polity.Decider{"teller": teller, "root": plan(askWith("a", "teller", polity.Bounds{}))}}
			m := newMemory(t, catalog)
			m.now = m.now.In(time.FixedZone("elsewhere", 3600))
			m.do = func(*pending) result { return res }
			o := m.ask("root", polity.Bounds{})
			if o.Status != polity.StatusCompleted && o.Status != polity.StatusExhausted {
				t.Errorf("ended %s: %v", o.Status, o.Fault)
			}
			replayed(t, m)
			m.records(func(seq int, r *record) {
				if r.fault != nil && len(r.fault.Text) > faultMax {
					t.Errorf("commit %d holds a fault of %d bytes", seq, len(r.fault.Text))
				}
			})
			for i, e := range m.log {
				if len(e.data) > packSoft {
					t.Errorf("commit %d has %d bytes", i+1, len(e.data))
				}
			}
		})
	}
}

func TestOutputWithoutEnd(t *testing.T) {
	huge := decideFunc(func(int, polity.Event) []polity.Command {
		return []polity.Command{polity.Finish(make(json.RawMessage, payloadMax+1))}
	})
	m := newMemory(t, programs{deciders: map[string]polity.Decider{"huge": huge}})
	if o := m.ask("huge", polity.Bounds{}); o.Status != polity.StatusExhausted || o.Fault.Bound != "output" || o.Output != nil {
		t.Errorf("ended %s with %d bytes: %v", o.Status, len(o.Output), o.Fault)
	}
	replayed(t, m)
}

// TestRunTooDeepToName wants recursion to end before an ID is longer than what is read again.
func TestRunTooDeepToName(t *testing.T) {
	name := strings.Repeat("n", nameMax)
	down := decideFunc(func(n int, e polity.Event) []polity.Command {
		if e.Kind == polity.Opened {
			return []polity.Command{askWith(name, "down", polity.Bounds{})}
		}
		return did(n)
	})
	m := newMemory(t, programs{deciders: map[string]polity.Decider{"down": down}})
	if o := m.ask("down", polity.Bounds{Depth: 1000}); o.Status != polity.StatusCompleted {
		t.Errorf("ended %s: %v", o.Status, o.Fault)
	}
	failed := 0
	m.records(func(_ int, r *record) {
		if len(r.run) > textMax {
			t.Errorf("an ID of %d bytes", len(r.run))
		}
		if r.kind == recFinished && r.status == polity.StatusFailed {
			failed++
			if !strings.Contains(r.fault.Text, "ID is longer than 4096 bytes") {
				t.Errorf("%s failed: %v", r.run, r.fault)
			}
		}
	})
	if failed != 1 {
		t.Errorf("%d runs failed, and the deepest one should", failed)
	}
	replayed(t, m)
}

// TestPlaceOfEvent has the position in the stream of topics, and the version, at the end of a record, and not there in older ones.
func TestPlaceOfEvent(t *testing.T) {
	for _, place := range []uint64{0, 1, 1 << 40, 1<<64 - 1} {
		for _, version := range []int{0, 1, 999_999} {
			rec := record{kind: recPublished, name: "orders.placed", id: "17", data: payload{data: json.RawMessage(`1`)}, place: place, version: version}
			var f frame
			if err := f.decode(appendRecord(beginFrame(nil, [8]byte{}, hash{}, time.Unix(0, 0)), &rec)); err != nil {
				t.Fatal(err)
			}
			if got := f.records[0]; got.place != place || got.version != version || got.id != "17" || string(got.data.data) != "1" {
				t.Errorf("%d %d: %+v", place, version, got)
			}
		}
	}
}
