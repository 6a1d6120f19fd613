package pattern_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/pattern"
)

// play opens a run with the request, answers each ask with the output and each verification with ok
// for all, and returns the last command and the sizes of the verification calls by name.
func play(t *testing.T, h pattern.Hub, request string, output json.RawMessage) (polity.Command, map[string]int) {
	t.Helper()
	d, err := h.Decider()
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]int{}
	state, todo := d.Decide(nil, polity.Event{Kind: polity.Opened, Run: testRun, Folder: "/src", Data: json.RawMessage(request)})
	for range 1000 {
		c := todo[0]
		e := polity.Event{Kind: polity.Result, Run: testRun, Name: c.Name, Attempt: max(c.Attempt, 1), Data: output}
		switch c.Do {
		case polity.DoFinish, polity.DoFail:
			return c, calls
		case polity.DoCall:
			var in struct{ Citations []polity.Evidence }
			if err := json.Unmarshal(c.Input, &in); err != nil {
				t.Fatal(err)
			}
			calls[c.Name] = len(in.Citations)
			e.Data = json.RawMessage(`{"results":[` + strings.TrimSuffix(strings.Repeat(`{"ok":true},`, len(in.Citations)), ",") + `]}`)
		}
		var more []polity.Command
		state, more = d.Decide(state, e)
		todo = append(todo[1:], more...)
	}
	t.Fatal("it does not end")
	return polity.Command{}, nil
}

func resultOf(t *testing.T, c polity.Command) pattern.HubResult {
	t.Helper()
	var result pattern.HubResult
	if c.Do != polity.DoFinish {
		t.Fatalf("it ended with %s", commandsText([]polity.Command{c}))
	}
	if err := json.Unmarshal(c.Input, &result); err != nil {
		t.Fatal(err)
	}
	return result
}

// claims returns a report with n claims, each with a line of its own.
func claims(n int, text string) json.RawMessage {
	var list []polity.Claim
	for i := range n {
		list = append(list, polity.Claim{Text: fmt.Sprint(text, i), Stance: polity.Against, Severity: polity.Low, Evidence: []polity.Evidence{{File: "a.go", Line: i + 1}}})
	}
	data, err := json.Marshal(polity.Report{Claims: list})
	if err != nil {
		panic(err)
	}
	return data
}

func ready(h pattern.Hub) pattern.Hub {
	h.Verdict = []pattern.Rule{{Verdict: "ready"}}
	return h
}

func TestVerificationGoesInChunks(t *testing.T) {
	end, calls := play(t, ready(crew(step("x", ""))), `{}`, claims(4500, "claim "))
	if diff := cmp.Diff(map[string]int{"verify": 2000, "verify.2": 2000, "verify.3": 500}, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	result := resultOf(t, end)
	if v := result.Details.Verification; v.Verified != 4500 || result.Response.Verdict != "ready" {
		t.Errorf("verification %+v, verdict %q", v, result.Response.Verdict)
	}
	if n := len(result.Response.Against); n != 1000 {
		t.Errorf("%d findings in the result", n)
	}
	if diff := cmp.Diff([]string{"3500 findings left out, the lightest ones"}, result.Response.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

func TestClaimsBeyondTheLimitLeaveNoVerdict(t *testing.T) {
	end, _ := play(t, ready(crew(step("x", ""))), `{}`, claims(10_001, ""))
	result := resultOf(t, end)
	if result.Details.Verification.LeftOut != 1 || result.Response.Verdict != "" || result.Response.Reason != "no verdict can be given: 1 claim not looked at" {
		t.Errorf("left out %d, verdict %q, reason %q", result.Details.Verification.LeftOut, result.Response.Verdict, result.Response.Reason)
	}
}

func TestLargeOutputsAreReferredTo(t *testing.T) {
	output := json.RawMessage(`{"data":"` + strings.Repeat("x", 20<<10) + `"}`)
	end, _ := play(t, crew(step("x", "")), `{}`, output)
	result := resultOf(t, end)
	s := result.Details.Steps[0]
	if s.Output != nil || s.OutputBytes != len(output) || s.Run != "0-hub/x" || result.Response.Answers[0].Output != nil {
		t.Errorf("step %+v, answer %+v", s, result.Response.Answers[0])
	}
	if len(end.Input) > 2<<10 {
		t.Errorf("the result has %d bytes", len(end.Input))
	}
}

func TestManyOutputsAreCopiedUpToALimit(t *testing.T) {
	var steps []pattern.Step
	for i := range 40 {
		steps = append(steps, step(fmt.Sprintf("s%d", i), ""))
	}
	output := json.RawMessage(`"` + strings.Repeat("x", 15<<10) + `"`)
	end, _ := play(t, crew(steps...), `{}`, output)
	if len(end.Input) > 600<<10 {
		t.Errorf("the result has %d bytes", len(end.Input))
	}
	copied := 0
	for _, s := range resultOf(t, end).Details.Steps {
		if (s.Output == nil) != (s.OutputBytes > 0) {
			t.Errorf("step %s has %d bytes of output, and says %d", s.ID, len(s.Output), s.OutputBytes)
		}
		if s.Output != nil {
			copied++
		}
	}
	if copied != 17 { // of 15 KiB within 256 KiB
		t.Errorf("%d outputs are copied", copied)
	}
}

// TestReferencesCannotGrowWithoutEnd doubles an output with each step, which would be a gigabyte
// after twenty.
func TestReferencesCannotGrowWithoutEnd(t *testing.T) {
	steps := []pattern.Step{step("s0", "")}
	for i := range 9 {
		ref := fmt.Sprintf(`"$s%d"`, i)
		steps = append(steps, step(fmt.Sprintf("s%d", i+1), "["+strings.TrimSuffix(strings.Repeat(ref+",", 64), ",")+"]"))
	}
	end, _ := play(t, crew(steps...), `{}`, json.RawMessage(`"`+strings.Repeat("x", 100<<10)+`"`))
	if end.Do != polity.DoFail || end.Fault.Kind != fault.Failed || !strings.Contains(end.Fault.Text, "invalid: input: $s0: the input grows beyond 4194304 bytes") {
		t.Errorf("it ended with %.300s", commandsText([]polity.Command{end}))
	}
}

func TestLimitsOfTheRequestAndNotes(t *testing.T) {
	end, _ := play(t, crew(step("x", "")), `"`+strings.Repeat("x", 1<<20)+`"`, nil)
	if end.Do != polity.DoFail || end.Fault.Kind != fault.Invalid {
		t.Errorf("a request of a megabyte: %.200s", commandsText([]polity.Command{end}))
	}
	report, err := json.Marshal(map[string]any{"notes": strings.Split(strings.Repeat(strings.Repeat("é", 600)+",", 300), ","), "summary": strings.Repeat("s", 10_000)})
	if err != nil {
		t.Fatal(err)
	}
	end, _ = play(t, crew(step("x", "")), `{}`, report)
	response := resultOf(t, end).Response
	if n := len(response.Notes); n != 201 || response.Notes[200] != "101 more notes" || len(response.Notes[0]) > 510 || len(response.Answers[0].Summary) > 4100 {
		t.Errorf("%d notes, the last %q", n, response.Notes[n-1])
	}
}

func TestEvidenceThatIsTooMuch(t *testing.T) {
	evidence := make([]polity.Evidence, 65)
	for i := range evidence {
		evidence[i] = polity.Evidence{File: "a", Line: i + 1}
	}
	report, err := json.Marshal(polity.Report{Claims: []polity.Claim{
		{Text: "much", Stance: polity.For, Evidence: evidence},
		{Text: "long", Stance: polity.For, Evidence: []polity.Evidence{{File: "a", Text: strings.Repeat("x", 5000)}}},
		{Text: strings.Repeat("wordy ", 1000), Stance: polity.For, Evidence: evidence[:1]},
	}})
	if err != nil {
		t.Fatal(err)
	}
	end, calls := play(t, crew(step("x", "")), `{}`, report)
	response := resultOf(t, end).Response
	if len(response.Unverified) != 2 || len(response.For) != 1 || calls["verify"] != 1 {
		t.Fatalf("for %d, unverified %d, calls %v", len(response.For), len(response.Unverified), calls)
	}
	if len(response.For[0].Text) > 2100 || response.For[0].Severity != polity.Info {
		t.Errorf("finding of %d bytes, %s", len(response.For[0].Text), response.For[0].Severity)
	}
	for i, want := range []string{"evidence 1: its text or file name is too long to be looked at", "65 pieces of evidence are more than 64"} {
		if got := response.Unverified[i].Reason; got != want {
			t.Errorf("reason %q, want %q", got, want)
		}
	}
}

// TestKeepsNothingOfAnEvent overwrites each event's data after it was decided.
func TestKeepsNothingOfAnEvent(t *testing.T) {
	for _, path := range transcripts(t) {
		tr := readTranscript(t, path)
		want := tr.fold(t, tr.events)
		d, err := tr.config.Decider()
		if err != nil {
			t.Fatal(err)
		}
		var state any
		var got []string
		for _, e := range tr.events {
			e.Data = append(json.RawMessage(nil), e.Data...)
			var commands []polity.Command
			state, commands = d.Decide(state, e)
			got = append(got, commandsText(commands))
			for i := range e.Data {
				e.Data[i] = '#'
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

// TestOneDeciderServesManyRuns decides two runs in turns with one decider, while the caller's
// configuration changes.
func TestOneDeciderServesManyRuns(t *testing.T) {
	for _, path := range transcripts(t) {
		tr := readTranscript(t, path)
		want := tr.fold(t, tr.events)
		d, err := tr.config.Decider()
		if err != nil {
			t.Fatal(err)
		}
		hub, ok := tr.config.(*pattern.Hub)
		if !ok {
			hub = &pattern.Hub{}
		}
		for i := range hub.Specialists {
			hub.Specialists[i].Name = "changed"
		}
		if hub.Plan != nil {
			hub.Plan.Steps[0].Agent = "changed"
		}
		tr.config.Know(nil)
		var states [2]any
		for i, e := range tr.events {
			for run := range states {
				var commands []polity.Command
				states[run], commands = d.Decide(states[run], e)
				if diff := cmp.Diff(want[i], commandsText(commands)); diff != "" {
					t.Fatalf("%s: run %d, event %d (-want +got):\n%s", path, run, i, diff)
				}
			}
		}
	}
}

func TestEventBeforeTheOpening(t *testing.T) {
	d, err := crew().Decider()
	if err != nil {
		t.Fatal(err)
	}
	_, commands := d.Decide(nil, polity.Event{Kind: polity.Result, Name: "x"})
	if len(commands) != 1 || commands[0].Do != polity.DoFail || commands[0].Fault.Kind != fault.Internal {
		t.Errorf("it decides %s", commandsText(commands))
	}
}

// TestBackoffGrowsWithinItsLimits fails a step as often as allowed.
func TestBackoffGrowsWithinItsLimits(t *testing.T) {
	h := crew(step("x", ""))
	h.Retries = new(12)
	waits := func(run polity.RunID) (all []int64) {
		d, err := h.Decider()
		if err != nil {
			t.Fatal(err)
		}
		state, todo := d.Decide(nil, polity.Event{Kind: polity.Opened, Run: run, Data: json.RawMessage(`{}`)})
		for todo[0].Do != polity.DoFail {
			c := todo[0]
			e := polity.Event{Kind: polity.Result, Run: run, Name: c.Name, Attempt: c.Attempt}
			if c.Do == polity.DoAsk {
				e.Fault = &fault.Error{Kind: fault.Timeout, Text: "no answer"}
			} else {
				all = append(all, c.After.Milliseconds())
			}
			state, todo = d.Decide(state, e)
		}
		return all
	}
	got := waits("0-a")
	if len(got) != 12 {
		t.Fatalf("%d waits", len(got))
	}
	for i, ms := range got {
		most := min(int64(100)<<i, 10_000)
		if ms < most/2 || ms > most {
			t.Errorf("wait %d is %d ms, want %d to %d", i+1, ms, most/2, most)
		}
	}
	if cmp.Equal(got, waits("0-b")) {
		t.Error("two runs wait alike, so that their retries meet")
	}
}
