package pattern_test

import (
	"encoding/json"
	"testing"
	"time"

	"polity.run"
	"polity.run/pattern"
	"polity.run/pattern/patterntest"
)

// FuzzAnswersOfMembers gives routers, handoffs and peers whatever a member may answer, twice: what they decide then is sound.
func FuzzAnswersOfMembers(f *testing.F) {
	for _, seed := range []string{
		`{"route":"bob","confidence":1}`, `{"handoff":{"to":"bob","reason":"x","work":[1]}}`, `{"answer":null}`, `{"send":[{"to":"*","kind":"cfp"}],"state":1}`,
		`{"send":[{"kind":"response","in_reply_to":"organization.ada.1"}],"leave":true,"register":["a"],"done":true}`, `null`, `[]`, `"`, "\xff", `{"send":null,"state":null}`,
	} {
		f.Add([]byte(seed), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		names := []polity.AgentName{"ada", "bob"}
		for _, c := range []pattern.Config{
			&pattern.Router{Routes: []pattern.Route{{Agent: "bob"}}, Classifier: "ada", Members: append(patterntest.Dutiful("classify", "ada"), patterntest.Team("bob")...)},
			&pattern.Handoff{Owner: "ada", Links: []pattern.Link{{From: "ada", To: names[1:], Both: true}}, Members: patterntest.Dutiful("take", names...)},
			patterntest.Gathering(names...),
		} {
			d, err := c.Decider()
			if err != nil {
				t.Fatal(err)
			}
			state, commands := d.Decide(nil, polity.Event{Kind: polity.Opened, Run: testRun, At: testTime, Data: json.RawMessage(`{"question":"?"}`)})
			for i, answer := range [][]byte{first, second} {
				var asks []polity.Command
				for _, c := range commands {
					if c.Do == polity.DoAsk {
						asks = append(asks, c)
					}
					if len(c.Input) > 0 && !json.Valid(c.Input) {
						t.Fatalf("%s is decided with what is no JSON: %q", c.Name, c.Input)
					}
				}
				if len(asks) == 0 {
					break
				}
				state, commands = d.Decide(state, polity.Event{
					Kind: polity.Result, Run: testRun, At: testTime.Add(time.Duration(i) * time.Second), Name: asks[0].Name, Attempt: asks[0].Attempt, Data: answer,
				})
			}
		}
	})
}
