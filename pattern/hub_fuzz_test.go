package pattern_test

import (
	"encoding/json"
	"testing"

	"polity.run"
	"polity.run/pattern"
)

// FuzzHubOutput proves that nothing that a specialist or the verification answers breaks the hub.
func FuzzHubOutput(f *testing.F) {
	f.Add([]byte(`{"claims":[{"text":"x","stance":"for","severity":"low","evidence":[{"file":"a"}]}]}`), []byte(`{"results":[{"ok":true}]}`))
	f.Add([]byte(`{"response":{"for":[{"text":"x"}],"against":[],"notes":["n"]}}`), []byte(`{"results":7}`))
	f.Add([]byte(`{"claims":[7,{"text":1},null],"summary":{},"notes":{},"extractive":[]}`), []byte(``))
	f.Add([]byte("\xff"), []byte("null"))
	f.Fuzz(func(t *testing.T, output, verified []byte) {
		d, err := with(crew(step("x", "")), func(h *pattern.Hub) { h.Verdict = []pattern.Rule{{Verdict: "yes"}} }).Decider()
		if err != nil {
			t.Fatal(err)
		}
		state, _ := d.Decide(nil, polity.Event{Kind: polity.Opened, Run: testRun, Folder: "/src", Data: json.RawMessage(`{}`)})
		state, commands := d.Decide(state, polity.Event{Kind: polity.Result, Run: testRun, Name: "x", Attempt: 1, Data: output})
		if len(commands) == 1 && commands[0].Do == polity.DoCall {
			_, commands = d.Decide(state, polity.Event{Kind: polity.Result, Run: testRun, Name: "verify", Attempt: 1, Data: verified})
		}
		if len(commands) == 0 || commands[0].Do == polity.DoFinish && !json.Valid(commands[0].Input) {
			t.Fatalf("commands: %s", commandsText(commands))
		}
	})
}
