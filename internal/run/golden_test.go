package run

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/schema"
)

// What the present version writes is kept in testdata/golden-v2.log, and what that says, record by record, in golden-v2.txt. A change that
// only adds (a kind, a field at the end of a body) leaves both true of what they hold, and then they are made again, to hold it too:
//
//	go test ./internal/run -run GoldenV2 -golden
//
// Read the difference of the text: a line that changes, and is not new, is data that is read otherwise than it was written.
var writeGolden = flag.Bool("golden", false, "write the golden log of the present version anew")

// filled is a record of a kind with a value in every field that its kind may have. A field of a type that it does not know is left alone.
func filled(kind recordKind) record {
	r := record{kind: kind}
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		field := reflect.NewAt(v.Field(i).Type(), unsafe.Pointer(v.Field(i).UnsafeAddr())).Elem() // else it cannot be set, being unexported
		if name != "kind" {
			fill(field, name)
		}
	}
	return r
}

var goldenTime = time.Date(2027, 3, 4, 5, 6, 7, 890_123_456, time.UTC)

func fill(v reflect.Value, name string) {
	digest := Digest(sha256.Sum256([]byte(name)))
	switch into := v.Addr().Interface().(type) {
	case *polity.RunID:
		*into = polity.RunID("0-mfrggzdfmztwq2lkmfrggzdf").Child(name, 1)
	case *polity.Status:
		*into = polity.StatusExhausted
	case *time.Time:
		*into = goldenTime.Add(time.Duration(len(name)) * time.Hour)
	case *payload:
		*into = payload{key: "key-of-" + name, data: json.RawMessage(`{"` + name + `":[1,"é"]}`)}
	case **fault.Error:
		*into = fault.Exceeded("turns", "1 needed, 0 of 5 left")
	case *polity.Usage:
		*into = polity.Usage{Turns: 1, InputTokens: 1 << 40, OutputTokens: 300, MicroUSD: 127}
	case *polity.Bounds:
		*into = polity.Bounds{Turns: 1, Tokens: 200, MicroUSD: 30_000, Wall: polity.Duration(time.Hour), Depth: 5, FanOut: 6, Retries: 7, UndoReserve: 20}
	case *effect:
		*into = effect{polity.EffectKeyed, polity.DoCall, "mail.send", goldenTime}
	case *requestHash:
		copy(into[:], digest[:])
	case *Digest:
		*into = digest
	case **Mail:
		*into = &Mail{Priority: 3, Tries: 2, Expires: goldenTime.Add(time.Hour), Deadline: goldenTime.Add(2 * time.Hour), Envelope: json.RawMessage(`{"id":"m"}`)}
	case *polity.Arrival:
		*into = polity.ArrivalQueue
	case *polity.Verdict:
		*into = polity.VerdictDone
	case *json.RawMessage:
		*into = json.RawMessage(`"the ` + name + `"`)
	case *string:
		*into = "the " + name
	case *int:
		*into = 1 + len(name)
	case *bool:
		*into = true
	}
}

// kindsWritten are the kinds of record that this version writes.
func kindsWritten() []recordKind {
	var out []recordKind
	for k := recClaim; k < 100; k++ {
		func() {
			defer func() {
				if recover() == nil {
					out = append(out, k)
				}
			}()
			appendRecord(nil, &record{kind: k, run: "0-r"})
		}()
	}
	return out
}

// The forms in which a golden log has each kind of record.
const (
	plainRecord  = iota // all fields, nothing of it enciphered
	bareRecord          // as few fields as there can be
	sealedRecord        // all fields, everything enciphered that can be
)

// inForm is a record of a kind in a form.
func inForm(kind recordKind, form int) record {
	r := filled(kind)
	switch form {
	case plainRecord:
		r.faultText, r.sealedReceipt = payload{}, payload{}
	case bareRecord:
		r = record{kind: kind, run: r.run, status: r.status, opened: r.opened, ended: r.ended, verdict: r.verdict} // which must make sense
	case sealedRecord:
		r.fault.Text, r.receipt = "", nil
	}
	return r
}

// presentLog is a chain of frames of the present version: one of all kinds in each form.
func presentLog() []byte {
	var all []byte
	var prev hash
	for _, form := range []int{plainRecord, bareRecord, sealedRecord} {
		f := frame{epoch: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, at: goldenTime}
		for _, k := range kindsWritten() {
			f.records = append(f.records, inForm(k, form))
		}
		b := f.pack(prev)
		b[0] = frameImports
		prev = sha256.Sum256(b)
		all = append(binary.BigEndian.AppendUint32(all, uint32(len(b))), b...)
	}
	return all
}

// frames are the bytes of each frame of a log with their lengths before them.
func frames(t *testing.T, all []byte) [][]byte {
	t.Helper()
	var out [][]byte
	for len(all) >= 4 {
		n := int(binary.BigEndian.Uint32(all))
		if n > len(all)-4 {
			t.Fatal("the log is cut")
		}
		out = append(out, all[4:4+n])
		all = all[4+n:]
	}
	return out
}

// told is what a log says, a line for each record with the fields that it has.
func told(t *testing.T, all []byte) string {
	t.Helper()
	var b strings.Builder
	for i, data := range frames(t, all) {
		var f frame
		if err := f.decode(data); err != nil {
			t.Fatalf("frame %d: %v", i+1, err)
		}
		fmt.Fprintf(&b, "frame %d: version %d, epoch %x, after %.8x, at %s\n", i+1, data[0], f.epoch, f.prev, f.at.Format(time.RFC3339Nano))
		for _, r := range f.records {
			fmt.Fprintf(&b, "  kind %d\n", r.kind)
			v := reflect.ValueOf(&r).Elem()
			for k := range v.NumField() {
				name, field := v.Type().Field(k).Name, reflect.NewAt(v.Field(k).Type(), unsafe.Pointer(v.Field(k).UnsafeAddr())).Elem()
				if name != "kind" && !field.IsZero() {
					fmt.Fprintf(&b, "    %s: %s\n", name, tell(field.Interface()))
				}
			}
		}
	}
	return b.String()
}

func tell(v any) string {
	switch v := v.(type) {
	case payload:
		return fmt.Sprintf("key %q, inline %s, blob %.8x of %d bytes", v.key, v.data, v.blob, v.size)
	case effect:
		return fmt.Sprintf("%s, verb %d, %s, %s", v.class, v.verb, v.to, v.since.Format(time.RFC3339Nano))
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case *fault.Error:
		return fmt.Sprintf("%s, bound %q: %s", v.Kind, v.Bound, v.Text)
	case Digest, requestHash:
		return fmt.Sprintf("%.8x", v)
	case *Mail: // without what later programs added, where it is not said
		text := fmt.Sprintf("&%+v", *v)
		return strings.Replace(text, " Answer:false Answers:}", "}", 1)
	case polity.Bounds, polity.Usage, json.RawMessage: // without the fields that it has not
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return string(text)
	default:
		return fmt.Sprintf("%+v", v)
	}
}

// TestGoldenV2 wants what version 2 wrote to be read for ever, and the golden log to hold every kind of record that there is.
func TestGoldenV2(t *testing.T) {
	logFile, textFile := filepath.Join("testdata", "golden-v2.log"), filepath.Join("testdata", "golden-v2.txt")
	if *writeGolden {
		all := presentLog()
		for file, data := range map[string][]byte{logFile: all, textFile: []byte(told(t, all))} {
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := os.ReadFile(logFile)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(textFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), told(t, all)); diff != "" {
		t.Errorf("the golden log is read otherwise than when it was written (-was +is):\n%s", diff)
	}
	var held []recordKind
	for _, data := range frames(t, all) {
		var f frame
		if err := f.decode(data); err != nil {
			t.Fatal(err)
		}
		for _, r := range f.records {
			held = append(held, r.kind)
		}
	}
	for _, k := range kindsWritten() {
		if !slices.Contains(held, k) {
			t.Errorf("no record of kind %d in the golden log; make it again with: go test ./internal/run -run GoldenV2 -golden", k)
		}
	}
}

// TestPresentLogIsReadBack wants every kind with all of its fields to be read as it was written.
func TestPresentLogIsReadBack(t *testing.T) {
	for i, data := range frames(t, presentLog()) {
		var f, again frame
		if err := f.decode(data); err != nil {
			t.Fatalf("frame %d: %v; a field that fill does not know?", i+1, err)
		}
		if err := again.decode(f.pack(f.prev)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(f, again, fields()...); diff != "" {
			t.Error(diff)
		}
	}
}

// The next version of the frame, as it might be: which node wrote a frame stands behind its header, and a cancellation says by whom.
//
//	frame  = 3  epoch:8  prev:32  time:8  node:text  record*
//	cancel = reason:text  by:text
const frameNext = frameImports + 1

type nextFrame struct {
	frame
	node string
	by   []string // of each record, who cancelled
}

// nextUpcasts read what versions 1 and 2 wrote: version 2 only has kinds that version 1 has not.
var nextUpcasts = schema.Upcasts[*nextFrame]{nil, func(f *nextFrame) (*nextFrame, error) {
	out := &nextFrame{frame: f.frame, node: "first", by: make([]string, len(f.records))}
	for i, r := range f.records {
		if r.kind == recCancel {
			out.by[i] = "unknown"
		}
	}
	return out, nil
}}

func readNext(data []byte, reads schema.Range) (*nextFrame, error) {
	f := &nextFrame{}
	version := first(data)
	if version != frameNext {
		if err := f.frame.decode(data); err != nil {
			return nil, err
		}
		return nextUpcasts.Read(f, version, reads)
	}
	r := reader{b: data[headerSize:]}
	f.node = r.text()
	old := slices.Concat(data[:headerSize], r.b)
	old[0] = frameImports
	if err := f.frame.decode(old); err != nil { // records are skipped by their length, so that by is left over
		return nil, err
	}
	for len(r.b) > 0 {
		body := reader{b: r.bytes(r.uvarint(frameMax))}
		by := ""
		if body.byte() == byte(recCancel) {
			_, _, by = body.text(), body.text(), body.text()
		}
		f.by = append(f.by, by)
	}
	return nextUpcasts.Read(f, version, reads)
}

// packNext writes a cancellation as the next version would.
func packNext(prev hash, node, by string) []byte {
	b := beginFrame(nil, [8]byte{9}, prev, goldenTime)
	b[0] = frameNext
	b = appendText(b, node)
	body := appendText(append([]byte{byte(recCancel)}, appendText(nil, "0-r")...), "enough")
	body = appendText(body, by)
	return append(binary.AppendUvarint(b, uint64(len(body))), body...)
}

// TestNextVersionReadsGoldenLogs reads the logs of all versions as the next version's, and wants this one to refuse that.
func TestNextVersionReadsGoldenLogs(t *testing.T) {
	var logs [][]byte
	for _, name := range []string{"golden-v1.log", "golden-v2.log"} {
		all, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, frames(t, all)...)
	}
	newest := packNext(hash{7}, "second", "ada")
	cancels := 0
	for i, data := range append(logs, newest) {
		before := slices.Clone(data)
		f, err := readNext(data, schema.Range{From: 1, To: frameNext})
		if err != nil {
			t.Fatalf("frame %d: %v", i+1, err)
		}
		var old frame
		err = old.decode(data)
		if data[0] == frameNext {
			if f.node != "second" || f.by[0] != "ada" || f.records[0].reason != "enough" || f.prev != (hash{7}) {
				t.Errorf("got %+v", f)
			}
			if err == nil || !strings.Contains(err.Error(), "a newer version of this program wrote it") {
				t.Errorf("this version says %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(old, f.frame, fields()...); diff != "" || f.node != "first" {
			t.Errorf("frame %d, of %q: %s", i+1, f.node, diff)
		}
		for k, r := range f.records {
			if want := r.kind == recCancel; want != (f.by[k] == "unknown") {
				t.Errorf("kind %d was cancelled by %q", r.kind, f.by[k])
			} else if want {
				cancels++
			}
		}
		if !slices.Equal(before, data) {
			t.Errorf("frame %d was changed by reading it", i+1)
		}
		if _, err := readNext(data, schema.Range{From: frameNext, To: frameNext}); err == nil || !strings.Contains(err.Error(), "is older than what is read here") {
			t.Errorf("a reader of the next version alone says %v", err)
		}
	}
	if cancels < 3 {
		t.Errorf("only %d cancellations were upcast", cancels)
	}
}
