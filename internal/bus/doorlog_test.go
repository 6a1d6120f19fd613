package bus

import (
	"fmt"
	"strings"
	"testing"

	"polity.run"
)

// FuzzDoorLog has a client choose its name, and what it subscribes to and in which group, as far as the protocol lets it. What is told of its refusal is
// its connection's, and that subject.
func FuzzDoorLog(f *testing.F) {
	f.Add("v1:go:x", "box.a", "")
	f.Add(`" - cid:1 - Subscription Violation - Subject "b"`, `a"b`, `- - Subject`)
	f.Add("%s%d%!", "%s", "%v")
	f.Fuzz(func(t *testing.T, name, subject, queue string) {
		if strings.ContainsAny(subject+queue, " \t\r\n\f\v") || strings.ToValidUTF8(subject, "") != subject || len(subject) > subjectShown || subject == "" {
			t.Skip() // the server's parser ends a word there
		}
		d := &Door{refusals: make(chan polity.Refusal, 2), guests: map[uint64]*guest{7: {Guest: Guest{Account: "o", Name: "a"}}, 1: {Guest: Guest{Name: "innocent"}}}}
		head := fmt.Sprintf("127.0.0.1:9 - cid:7 - %q", name)
		text := fmt.Sprintf("Subscription Violation - Subject %q, SID 1", subject)
		if queue != "" {
			text = fmt.Sprintf("Subscription Violation - Subject %q, Queue: %q, SID 1", subject, queue)
		}
		doorLog{d}.Errorf(head + " - " + text)
		doorLog{d}.Errorf(head+" - Publish Violation - Subject %q", []byte(subject))
		for _, verb := range []string{polity.RefusedSubscribe, polity.RefusedPublish} {
			if r := <-d.refusals; r.Verb != verb || r.Subject != subject || r.Agent != "a" || r.Org != "o" || r.From != "127.0.0.1:9" {
				t.Errorf("%s of %q as %q: told as %+v", verb, subject, name, r)
			}
		}
	})
}
