package run

import (
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/trace"
)

// ofCallers are runs that continue a trace and messages, with what else an opening may end with and without.
func ofCallers() frame {
	place := trace.Context{Trace: trace.ID{1, 2}, Span: trace.SpanID{3, 4}, Flags: trace.Sampled}
	more := place
	more.State = "a=b"
	mail := &Mail{Priority: 2, Tries: 3, Expires: time.Date(2027, 1, 3, 0, 0, 0, 0, time.UTC), Envelope: json.RawMessage(`{"id":"m"}`)}
	return frame{at: time.Date(2027, 1, 2, 3, 4, 5, 6, time.UTC), records: []record{
		{kind: recOpened, run: "0-r", agent: "desk", caller: place},
		{kind: recOpened, run: "0-s", agent: "desk", origin: "0-o", bounds: polity.Bounds{UndoReserve: 9}, conversation: "ada", arrival: polity.ArrivalQueue, caller: more},
		{kind: recOpened, run: "0-t", agent: "desk", from: "scout", conversation: "bob", arrival: polity.ArrivalQueue, queued: true, mail: mail},
		{kind: recOpened, run: "0-u", agent: "desk", from: "scout", conversation: "bob", arrival: polity.ArrivalQueue, mail: mail, caller: more},
	}}
}

// callersFrame is ofCallers as it is written. A caller alone needs no newer version of frames: older programs skip it.
const callersFrame = "010000000000000000000000000000000000000000000000000000000000000000000000000000000018f6d4c54a39320683010203302d720000000000000000000000000000000000000000000000000000000000000000046465736b00000000000000000000000000000000000000000000000000000000000000003730302d30313032303030303030303030303030303030303030303030303030303030302d303330343030303030303030303030302d3031008c010203302d730000000000000000000000000000000000000000000000000000000000000000046465736b00000000000000000000000000000000000000000000000000000003302d6f090361646101003730302d30313032303030303030303030303030303030303030303030303030303030302d303330343030303030303030303030302d303103613d62730203302d740000000000000000000000000000000000000000000000000000000000000000046465736b000573636f757400000000000000000000000000000000000000000000000000000003626f6201010000020318f7194e3e3b0000000000000000000001000a7b226964223a226d227dad010203302d750000000000000000000000000000000000000000000000000000000000000000046465736b000573636f757400000000000000000000000000000000000000000000000000000003626f6201003730302d30313032303030303030303030303030303030303030303030303030303030302d303330343030303030303030303030302d303103613d62020318f7194e3e3b0000000000000000000001000a7b226964223a226d227d"

func mustHex(text string) []byte {
	data, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return data
}

// TestAnswersAreRead wants what was added to a message to be read as it was written.
func TestAnswersAreRead(t *testing.T) {
	want := ofCallers()
	want.records[2].mail.Answer, want.records[3].mail = true, &Mail{Priority: 2, Tries: 1, Expires: want.at, Answers: "0-t"}
	var got frame
	if err := got.decode(want.pack(hash{})); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, fields()...); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestGoldenCallers(t *testing.T) {
	want := ofCallers()
	if text := hex.EncodeToString(want.pack(hash{})); text != callersFrame {
		t.Errorf("it is written otherwise than it was: %s", text)
	}
	if want.records[0].newer() {
		t.Error("a caller makes a record that older programs cannot read")
	}
	var got frame
	if err := got.decode(mustHex(callersFrame)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, fields()...); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
