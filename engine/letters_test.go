package engine_test

import (
	"bytes"
	"testing"
	"time"

	"polity.run"
	"polity.run/fault"
	"polity.run/message"
)

// scribe sends the letter that it is given, and ends with what messages.send says; of what is no letter it takes note.
type scribe struct{}

func (scribe) Decide(state any, e polity.Event) (any, []polity.Command) {
	switch {
	case e.Kind == polity.Opened && bytes.HasPrefix(e.Data, []byte(`{"to"`)):
		return state, []polity.Command{polity.Call("tell", "messages.send", e.Data)}
	case e.Fault != nil:
		return state, []polity.Command{polity.Fail(e.Fault)}
	default:
		return state, []polity.Command{polity.Finish(e.Data)}
	}
}

// TestAgentsSendLiveAndWithReply has an agent send from within: with a reply, which comes to its mailbox, live, and live with a reply, for which it waits.
func TestAgentsSendLiveAndWithReply(t *testing.T) {
	b := openBooth(t)
	defer stop(t, b.Engine)
	send := func(letter string) ([]message.Receipt, []message.Envelope, error) {
		t.Helper()
		return b.Ask(t.Context(), message.Envelope{
			ID: letter, From: message.Address{Kind: message.Outside, Name: "ada"}, To: []message.Address{message.To("scribe")}, Type: message.Task, Data: []byte(letter),
		}, message.Join{})
	}
	for _, c := range []struct{ letter, want string }{
		{`{"to":"quick","data":1,"live":true,"reply":true}`, `"answers":[{"from":"agent:quick","performative":"inform","data":1}]`},
		{`{"to":"group:both","data":2,"live":true,"reply":true}`, `"answers":[{"from":"agent:judge","performative":"inform","data":2},{"from":"agent:quick","performative":"inform","data":2}]`},
		{`{"to":"quick","data":3,"live":true}`, `"receipts":[{"to":"agent:quick","performative":"agree"}]`},
		{`{"to":"judge","data":4,"reply":true}`, `"receipts":[{"to":"agent:judge","performative":"agree","run":`},
	} {
		_, answers, err := send(c.letter)
		if err != nil || len(answers) != 1 || answers[0].Performative != polity.Inform || !bytes.Contains(answers[0].Data, []byte(c.want)) {
			t.Errorf("%s: %+v %v; want %s", c.letter, answers, err, c.want)
		}
	}
	for letter, want := range map[string]fault.Kind{
		`{"to":"payer","data":1,"live":true,"reply":true}`: fault.Invalid, // it has an effect that is recorded
		`{"to":"slow","data":1,"live":true}`:               fault.Denied,  // no link leads there
		`{"to":"quick","data":1,"lives":true}`:             fault.Invalid,
	} {
		_, answers, err := send(letter)
		if err != nil || len(answers) != 1 || answers[0].Performative == polity.Inform || !bytes.Contains(answers[0].Data, []byte(`"kind":"`+string(want)+`"`)) {
			t.Errorf("%s: %+v %v; want %s", letter, answers, err, want)
		}
	}
	for { // the answer to the only durable letter with a reply is a message to the scribe
		done, err := b.Messages(t.Context(), message.Do{List: &message.Filter{From: "agent:judge", To: "scribe"}})
		if err != nil {
			t.Fatal(err)
		}
		if len(done.Entries) == 1 && done.Entries[0].Status.Final() {
			if m := done.Entries[0].Envelope; m.Performative != polity.Inform || m.Correlation == "" {
				t.Errorf("the answer: %+v", m)
			}
			break
		}
		time.Sleep(time.Millisecond)
	}
	for to, want := range map[string]int{"quick": 0, "scribe": 8} {
		done, err := b.Messages(t.Context(), message.Do{List: &message.Filter{To: to}})
		if err != nil || len(done.Entries) != want {
			t.Errorf("%d messages to %s are kept, want %d: %v", len(done.Entries), to, want, err)
		}
	}
}
