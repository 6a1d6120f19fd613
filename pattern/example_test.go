package pattern_test

import (
	"encoding/json"
	"fmt"
	"strings"

	"polity.run"
	"polity.run/fault"
	"polity.run/pattern"
)

// A decider is a function: what happened goes in, what to do comes out. Here the events are given
// by hand; in a run the kernel reads them from the log.
func ExampleHub_Decider() {
	hub, err := pattern.Hub{
		Specialists: []pattern.Member{
			{Name: "licences", Skills: []polity.Skill{{Name: "review"}}},
			{Name: "tests", Skills: []polity.Skill{{Name: "review"}}},
		},
		Plan: &pattern.Plan{Steps: []pattern.Step{
			{ID: "licences", Agent: "licences"},
			{ID: "tests", Agent: "tests", Optional: true},
		}},
		Verdict: []pattern.Rule{
			{Verdict: "not ready", When: &pattern.When{Stance: polity.Against, Severity: polity.High, AtLeast: 1}},
			{Verdict: "ready"},
		},
	}.Decider()
	if err != nil {
		fmt.Println(err)
		return
	}
	const run = polity.RunID("0-example")
	var state any
	var commands []polity.Command
	for _, e := range []polity.Event{
		{Kind: polity.Opened, Folder: "/src", Data: json.RawMessage(`{"question":"Is it ready?"}`)},
		{Kind: polity.Result, Name: "tests", Fault: &fault.Error{Kind: fault.Invalid, Text: "no Go files"}},
		{Kind: polity.Result, Name: "licences", Data: json.RawMessage(`{"claims":[
			{"text":"There is no licence.","stance":"against","severity":"high",
			 "evidence":[{"file":"LICENSE","missing":true,"call":"0-example/licences#call.licence"}]}]}`)},
		{Kind: polity.Result, Name: "verify", Data: json.RawMessage(`{"results":[{"ok":true}]}`)},
	} {
		e.Run, e.Attempt = run, 1
		state, commands = hub.Decide(state, e)
		for _, c := range commands {
			fmt.Println(strings.TrimSpace(fmt.Sprint(c.Do, " ", c.Key(), " ", c.To)))
		}
	}
	var result pattern.HubResult
	if err := json.Unmarshal(commands[0].Input, &result); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Response.Verdict, result.Response.Decided)
	fmt.Println(result.Response.Reason)
	fmt.Println(result.Response.Against[0].Text, result.Response.Against[0].Provenance)
	// Output:
	// ask licences licences
	// ask tests tests
	// call verify files.cite
	// finish finish
	// not ready [f1]
	// rule 1 of 2, "not ready", needs at least 1 verified claim against, high or heavier (there is 1). Of 1 claim with evidence 1 verified and 0 refused. 1 of 2 steps gave no answer.
	// There is no licence. [{licences licences [0-example/licences#call.licence]}]
}
