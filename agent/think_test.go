package agent_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"polity.run"
	"polity.run/agent"
	"polity.run/fault"
	"polity.run/model"
	"polity.run/schema"
)

var update = flag.Bool("update", false, "rewrite the commands in testdata")

// runID is the run in every transcript.
const runID = polity.RunID("0-mfrggzdf")

// TestThinkTranscripts plays whole runs: each archive has the definition, then events and the
// commands that answer them. The name of a file says what happened:
//
//	opened SKILL        the input
//	result COMMAND      what it answered
//	fault COMMAND KIND  how it failed
//	commands            what the decider wants (rewritten by -update)
func TestThinkTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/think-*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			played := play(t, archive)
			if *update {
				if err := os.WriteFile(file, txtar.Format(played), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(txtar.Format(archive)), string(txtar.Format(played))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// play returns the archive with the commands as they are decided now.
func play(t *testing.T, archive *txtar.Archive) *txtar.Archive {
	t.Helper()
	played := &txtar.Archive{Comment: archive.Comment}
	d := thinker(t, archive.Files[0].Data)
	var state any
	for i, f := range archive.Files {
		switch {
		case i == 0:
			played.Files = append(played.Files, f)
		case f.Name != "commands":
			var commands []polity.Command
			state, commands = d.Decide(state, event(t, f))
			played.Files = append(played.Files, f, txtar.File{Name: "commands", Data: show(t, commands)})
		}
	}
	return played
}

func thinker(t *testing.T, definition []byte) polity.Decider {
	t.Helper()
	var def agent.Definition
	if err := json.Unmarshal(definition, &def); err != nil {
		t.Fatal(err)
	}
	d, err := agent.NewThinker(&def)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// event reads an event from a file of a transcript.
func event(t *testing.T, f txtar.File) polity.Event {
	t.Helper()
	words := strings.Fields(f.Name)
	e := polity.Event{Run: runID, Data: bytes.TrimSpace(f.Data)}
	switch {
	case words[0] == "opened":
		e.Kind = polity.Opened
		e.Skill = strings.Join(words[1:], "")
		return e
	case words[0] == "result" && len(words) == 2:
	case words[0] == "fault" && len(words) == 3:
		e.Fault = &fault.Error{Kind: fault.Kind(words[2]), Text: string(e.Data)}
		e.Data = nil
	default:
		t.Fatalf("%q is no event", f.Name)
	}
	name, attempt, again := strings.Cut(words[1], "~")
	e.Kind, e.Name, e.Attempt = polity.Result, name, 1
	if again {
		n, err := strconv.Atoi(attempt)
		if err != nil {
			t.Fatal(err)
		}
		e.Attempt = n
	}
	return e
}

// show writes commands for a person to read.
func show(t *testing.T, commands []polity.Command) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, c := range commands {
		switch c.Do {
		case polity.DoCall:
			fmt.Fprintf(&b, "%s: call %s with %s\n", c.Key(), c.To, c.Input)
		case polity.DoAsk:
			fmt.Fprintf(&b, "%s: ask agent %s with %s\n", c.Key(), strings.TrimSpace(c.To+" "+c.Skill), c.Input)
		case polity.DoSleep:
			fmt.Fprintf(&b, "%s: wait %s\n", c.Key(), c.After)
		case polity.DoCancel:
			fmt.Fprintf(&b, "cancel %s\n", c.To)
		case polity.DoThink:
			fmt.Fprintf(&b, "%s: ask %s, at most %d output tokens\n", c.Key(), c.To, c.Reserve.OutputTokens)
			showRequest(t, &b, c)
		case polity.DoFinish:
			b.WriteString("finish ")
			if err := json.Indent(&b, c.Input, "", "  "); err != nil {
				t.Fatal(err)
			}
			b.WriteByte('\n')
		case polity.DoFail:
			fmt.Fprintf(&b, "fail %s: %s\n", c.Fault.Kind, c.Fault.Text)
		default:
			t.Fatalf("a thinker does not %s", c.Do)
		}
	}
	if len(commands) == 0 {
		b.WriteString("(none)\n")
	}
	return b.Bytes()
}

func showRequest(t *testing.T, b *bytes.Buffer, c polity.Command) {
	t.Helper()
	var r model.Request
	if err := json.Unmarshal(c.Input, &r); err != nil {
		t.Fatal(err)
	}
	if c.Reserve.InputTokens != int64(len(c.Input)) || r.OutputMax != c.Reserve.OutputTokens {
		t.Errorf("the request of %d bytes and %d tokens reserves %+v", len(c.Input), r.OutputMax, c.Reserve)
	}
	for _, m := range r.Messages {
		who := strings.TrimSpace(string(m.Role) + " " + m.Source)
		fmt.Fprintf(b, "  %s\n    %s\n", who, strings.ReplaceAll(m.Text, "\n", "\n    "))
	}
	fmt.Fprintf(b, "  schema %s\n", r.Schema)
}

func ExampleNewThinker() {
	d, err := agent.NewThinker(&agent.Definition{
		Name: "critic", Kind: agent.KindModel, Skills: []polity.Skill{{Name: "review"}},
		Model: &agent.Model{Model: "quote", Instructions: "Find what is missing.", Gather: []agent.ToolPin{{Name: "code.tests"}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	events := []polity.Event{
		{Kind: polity.Opened, Run: "0-abc", Data: json.RawMessage(`{"question":"Is it tested?"}`)},
		{Kind: polity.Result, Run: "0-abc", Name: "call.code.tests", Attempt: 1, Data: json.RawMessage(`{"claims":[{"text":"No tests."}]}`)},
		{Kind: polity.Result, Run: "0-abc", Name: "think", Attempt: 1, Data: json.RawMessage(`{"output":{"summary":"No."}}`)},
	}
	var state any
	for _, e := range events {
		var commands []polity.Command
		state, commands = d.Decide(state, e)
		for _, c := range commands {
			fmt.Println(c.Do, c.Key())
		}
		if len(commands) == 1 && commands[0].Do == polity.DoFinish {
			fmt.Println(string(commands[0].Input))
		}
	}
	// Output:
	// call call.code.tests
	// think think
	// finish finish
	// {"claims":[{"text":"No tests.","stance":"","severity":""}],"summary":"No."}
}

func TestNewThinkerRefuses(t *testing.T) {
	tools := func(names ...string) *agent.Model {
		m := &agent.Model{Model: "quote"}
		for _, n := range names {
			m.Gather = append(m.Gather, agent.ToolPin{Name: n})
		}
		return m
	}
	many := make([]string, agent.ToolsMax+1)
	for i := range many {
		many[i] = fmt.Sprintf("t%d", i)
	}
	review := []polity.Skill{{Name: "review"}}
	answers := func(schema string) []polity.Skill {
		return []polity.Skill{{Name: "review", Output: json.RawMessage(schema)}}
	}
	tests := map[string]struct {
		def  agent.Definition
		want string
	}{
		"another kind":       {agent.Definition{Kind: agent.KindExec, Skills: review}, `not "exec"`},
		"no model":           {agent.Definition{Kind: agent.KindModel, Skills: review}, "and a model"},
		"no skill":           {agent.Definition{Kind: agent.KindModel, Model: tools()}, "no skill"},
		"many tools":         {agent.Definition{Kind: agent.KindModel, Model: tools(many...), Skills: review}, "at most 64"},
		"long name":          {agent.Definition{Kind: agent.KindModel, Model: tools(strings.Repeat("a", 60)), Skills: review}, "longer than 59 bytes"},
		"calls alike":        {agent.Definition{Kind: agent.KindModel, Model: tools("a/b", "a b"), Skills: review}, `"call.a-b"`},
		"answers text":       {agent.Definition{Kind: agent.KindModel, Model: tools(), Skills: answers(`{"type":"string"}`)}, `want "type": "object"`},
		"answers nothing":    {agent.Definition{Kind: agent.KindModel, Model: tools(), Skills: answers(`false`)}, `want "type": "object"`},
		"answers a nonsense": {agent.Definition{Kind: agent.KindModel, Model: tools(), Skills: answers(`{"type":"x"}`)}, "output: schema"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := agent.NewThinker(&tt.def)
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an invalid fault that says %q", err, tt.want)
			}
		})
	}
}

// TestDerivedReportIsAccepted has a skill whose output allows only what it names, as schemas that are
// derived from a Go type do: what has no place in it is left out, or noted.
func TestDerivedReportIsAccepted(t *testing.T) {
	raw, err := schema.For[polity.Report]()
	if err != nil {
		t.Fatal(err)
	}
	def, err := json.Marshal(agent.Definition{
		Name: "critic", Kind: agent.KindModel, Skills: []polity.Skill{{Name: "review", Output: raw}},
		Model: &agent.Model{Model: "quote", Gather: []agent.ToolPin{{Name: "a"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := thinker(t, def)
	state, _ := d.Decide(nil, polity.Event{Kind: polity.Opened, Run: runID, Data: json.RawMessage(`"why?"`)})
	state, _ = d.Decide(state, polity.Event{Kind: polity.Result, Run: runID, Name: "call.a", Data: json.RawMessage(`{"claims":[]}`)})
	_, commands := d.Decide(state, polity.Event{
		Kind: polity.Result, Run: runID, Name: "think",
		Data: json.RawMessage(`{"output":{"summary":"x"},"extractive":"quoted"}`),
	})
	if diff := cmp.Diff(`{"claims":[],"notes":["quoted"],"summary":"x"}`, string(commands[0].Input)); diff != "" {
		t.Error(diff)
	}
	s, err := schema.Compile(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(commands[0].Input); err != nil {
		t.Error(err)
	}
}

func TestToolTextIsCut(t *testing.T) {
	def := []byte(`{"name":"a","kind":"model","skills":[{"name":"s"}],"model":{"model":"quote","instructions":"","gather":[{"name":"t","digest":""}]}}`)
	d := thinker(t, def)
	state, _ := d.Decide(nil, polity.Event{Kind: polity.Opened, Run: runID, Data: json.RawMessage(`"why?"`)})
	long, err := json.Marshal("x" + strings.Repeat("é", 100_000))
	if err != nil {
		t.Fatal(err)
	}
	state, commands := d.Decide(state, polity.Event{Kind: polity.Result, Run: runID, Name: "call.t", Data: long})
	var r model.Request
	if err := json.Unmarshal(commands[0].Input, &r); err != nil {
		t.Fatal(err)
	}
	if got := len(r.Messages[0].Text); got != 1<<16 {
		t.Errorf("the model sees %d bytes", got)
	}
	_, commands = d.Decide(state, polity.Event{Kind: polity.Result, Run: runID, Name: "think", Data: json.RawMessage(`{"output":{"summary":"x"}}`)})
	want := `{"claims":[],"notes":["t: the model saw only the first 65536 of 200003 bytes"],"summary":"x"}`
	if diff := cmp.Diff(want, string(commands[0].Input)); diff != "" {
		t.Error(diff)
	}
}

// FuzzDecide has a model that answers anything, and a tool that says anything: the decider never panics, answers the same each
// time, does only what is offered, and each run ends within its steps. What waits for approval is done only as somebody approved it.
func FuzzDecide(f *testing.F) {
	f.Add(`{"question":"why?"}`, `{"claims":[{"text":"a","evidence":[{"file":"f","line":1}]}]}`, `{"output":{"summary":"x"}}`, "refer")
	f.Add(`null`, `{"claims":null,"notes":3}`, `{"output":"text","extractive":"e"}`, "drop")
	f.Add(`[1`, `{"claims":[{"text":1}]}`, `{"output":[]}`, "summarise")
	f.Add("\"\xff\"", "\xff", `{`, "")
	f.Add(`"go on"`, `"`+strings.Repeat("x", 3000)+`"`, `{"output":"hm","calls":[{"id":"1","name":"t","input":{"a":1}},{"name":"context.open","input":{"reference":"r1"}}]}`, "refer")
	f.Add(`"go on"`, `"`+strings.Repeat("x", 3000)+`"`, `{"output":"hm","calls":[{"name":"t","input":"no"},{"name":"ask.b","input":{"objective":"x"}}]}`, "summarise")
	f.Add(`"go on"`, `"`+strings.Repeat("x", 3000)+`"`, `{"calls":[{"name":"bank.pay"}]}`, "drop")
	f.Add(`"go on"`, `{"approve":true,"hash":"HASH"}`, `{"calls":[{"name":"g","input":{"b":1,"a":"<"}},{"name":"g","input":{"a":"<","b":1}},{"name":"g"}]}`, "drop")
	f.Add(`"go on"`, `{"approve":true,"hash":"HASH","always_for_this_run":true}`, `{"calls":[{"name":"g","input":{"b":1}},{"name":"t"}]}`, "refer")
	f.Add(`"go on"`, `{"approve":true,"hash":"x"}`, `{"calls":[{"name":"g","input":1},{"name":"ask.c","input":{"objective":"x"}}]}`, "drop")
	f.Fuzz(func(t *testing.T, input, result, answer, compact string) {
		var logs [2]string
		for i := range logs {
			logs[i] = playFuzzed(t, input, result, answer, agent.Compaction(compact))
		}
		if diff := cmp.Diff(logs[0], logs[1]); diff != "" {
			t.Error(diff)
		}
	})
}

func playFuzzed(t *testing.T, input, result, answer string, compact agent.Compaction) string {
	d, err := agent.NewThinker(&agent.Definition{
		Name: "critic", Kind: agent.KindModel, Skills: []polity.Skill{{Name: "review"}},
		Model: &agent.Model{
			Model: "quote", Gather: []agent.ToolPin{{Name: "a"}}, Tools: []agent.ToolPin{{Name: "t"}, {Name: "g"}}, Agents: []agent.AgentPin{{Agent: "b"}, {Agent: "c"}},
			Approve: &agent.Approve{By: "boss", Skill: polity.ApproveSkill, Tools: []agent.Guard{{Name: "g"}}, Agents: []agent.Guard{{Name: "c"}}},
			Steps:   7, Context: agent.Context{Max: 700, Compact: compact},
		},
	})
	if err != nil {
		return err.Error() // of the compaction
	}
	var b strings.Builder
	events := []polity.Event{{Kind: polity.Opened, Run: runID, Data: json.RawMessage(input)}}
	var state any
	thoughts := 0
	approved := map[string]bool{}
	for len(events) > 0 {
		var commands []polity.Command
		state, commands = d.Decide(state, events[0])
		events = events[1:]
		for _, c := range commands {
			fmt.Fprintf(&b, "%s %s %s %s\n", c.Do, c.Key(), c.To, c.Input)
			e := polity.Event{Kind: polity.Result, Run: runID, Name: c.Name, Attempt: max(c.Attempt, 1), Data: json.RawMessage(result)}
			switch {
			case c.Do == polity.DoFinish || c.Do == polity.DoFail:
				return b.String()
			case c.Do == polity.DoThink:
				if thoughts++; thoughts > 14 {
					t.Fatalf("%d thoughts in 7 steps", thoughts)
				}
				e.Data = json.RawMessage(answer)
			case c.Do == polity.DoCall && (c.To == "a" || c.To == "t"), c.Do == polity.DoAsk && c.To == "b":
			case c.Do == polity.DoAsk && c.To == "boss" && c.Skill == polity.ApproveSkill:
				e.Data = decideFuzzed(t, c.Input, result, approved)
			case c.To == "g" || c.To == "c":
				a := polity.Action{Tool: c.To, Input: c.Input}
				if c.Do == polity.DoAsk {
					a = polity.Action{Agent: polity.AgentName(c.To), Skill: c.Skill, Input: c.Input}
				}
				if hash, err := a.Hash(); err != nil || !approved[hash] {
					t.Fatalf("nobody has approved %s with %s: %v", c.To, c.Input, err)
				}
			default:
				t.Fatalf("%s %s is not offered", c.Do, c.To)
			}
			events = append(events, e)
		}
	}
	t.Fatalf("the run waits for nothing:\n%s", b.String())
	return ""
}

// decideFuzzed is what a person answers, in which HASH stands for the hash that was shown. It keeps which hashes were approved.
func decideFuzzed(t *testing.T, question json.RawMessage, result string, approved map[string]bool) json.RawMessage {
	var a polity.Approval
	if err := json.Unmarshal(question, &a); err != nil || a.Check() != nil {
		t.Fatalf("a question shows another action than it asks about: %s %v %v", question, err, a.Check())
	}
	answer := strings.ReplaceAll(result, "HASH", a.Hash)
	var d polity.Decision
	if json.Unmarshal([]byte(answer), &d) == nil && d.Approves(a.Hash) == nil {
		approved[a.Hash] = true
	}
	return json.RawMessage(answer)
}
