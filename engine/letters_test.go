package engine_test

import (
	"bytes"
	"fmt"
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

// TestFanOutKeepsToLinks sends to all, to groups and to a role, and wants each agent to be given only what a link leads to it for, by the links of the moment.
func TestFanOutKeepsToLinks(t *testing.T) {
	e := open(t, t.TempDir())
	defer stop(t, e)
	o := &outdoors{Engine: e, dir: t.TempDir()}
	const text = `polity: v1
name: shop
agents: {a: {command: [cat], effect: none}, b: {command: [cat], effect: none}, c: {command: [cat], effect: none}, d: {command: [cat], effect: none}, e: {command: [cat], effect: none}}
org: {pattern: sequence, stages: [{agent: d}, {agent: e}]}
messages:
  groups: {own: [b, c], whole: [c, d]}
  links: `
	sent := 0
	want := func(from, to, want string) {
		t.Helper()
		address, err := message.ParseAddress(to)
		if err != nil {
			t.Fatal(err)
		}
		sent++
		m := message.Envelope{ID: fmt.Sprint("m", sent), From: message.To(polity.AgentName(from)), To: []message.Address{address}, Type: message.Notification}
		done, err := e.Messages(t.Context(), message.Do{Send: &m, Hold: true})
		got := ""
		for _, r := range done.Receipts {
			if r.Fault == nil {
				got += r.To.Name
			}
		}
		if err != nil {
			got = string(fault.Of(err).Kind)
		}
		if got != want {
			t.Errorf("%s to %s reaches %s, want %s: %v", from, to, got, want, err)
		}
	}
	o.link(t, text+`[{from: a, to: [b, "group:whole"]}, {from: b, to: ["role:stages"]}]`)
	want("a", "all", "b")          // whom a group is for is not linked alone
	want("a", "group:own", "b")    // those of it that a link leads to
	want("a", "group:whole", "cd") // all of it
	want("a", "role:stages", "denied")
	want("b", "role:stages", "de")
	want("b", "group:own", "denied")
	want("c", "group:whole", "denied") // to be in it is no link
	want("c", "all", "not-found")
	want("d", "role:stages", "denied")
	refused, err := e.Refused(t.Context(), 0, 100)
	if err != nil || len(refused) != 4 || refused[0].Subject != "rol.a.stages.notify" {
		t.Errorf("refusals: %+v %v", refused, err)
	}
	o.link(t, text+`[{from: a, to: [c, e]}]`)
	want("a", "all", "ce")
	want("a", "group:own", "c")
	want("a", "group:whole", "c")
	want("a", "role:stages", "e")
	want("b", "role:stages", "denied")
}
