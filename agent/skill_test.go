package agent

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run"
	"polity.run/fault"
	"polity.run/model"
)

func TestAskedSchema(t *testing.T) {
	tests := map[string]struct{ output, want string }{
		"nothing declared":     {``, summaryOnly},
		"any object":           {`{"type":"object"}`, summaryOnly},
		"an empty object":      {`{"type":"object","additionalProperties":false}`, ``},
		"an empty one, by not": {`{"type":"object","additionalProperties":{"not":{}}}`, ``},
		"open in words":        {`{"type":"object","additionalProperties":{"type":"string"}}`, summaryOnly},
		"object or null":       {`{"type":["object","null"],"properties":{"a":{}}}`, `{"properties":{"a":{}},"type":["object","null"]}`},
		"the decider's own":    {`{"properties":{"claims":{},"notes":{},"extractive":{}}}`, ``},
		"required":             {`{"properties":{"a":{"const":1e0},"notes":{}},"required":["notes","a"]}`, `{"properties":{"a":{"const":1e0}},"required":["a"]}`},
		"own required":         {`{"properties":{"a":{},"claims":{}},"required":["claims"]}`, `{"properties":{"a":{}}}`},
		"definitions stay":     {`{"$defs":{"d":{}},"properties":{"a":{"$ref":"#/$defs/d"}}}`, `{"$defs":{"d":{}},"properties":{"a":{"$ref":"#/$defs/d"}}}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := newSkill(polity.Skill{Name: "review", Output: json.RawMessage(tt.output)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(s.ask)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAbstained(t *testing.T) {
	tests := map[string]struct {
		response string
		want     bool
	}{
		"no field":        {`{"output":{}}`, true},
		"empty fields":    {`{"output":{"a":"","b":[],"c":null,"d":{"e":" "},"f":["",null]}}`, true},
		"only claims":     {`{"output":{"claims":[{"text":"x"}]}}`, true},
		"a text":          {`{"output":{"a":"x"}}`, false},
		"a number":        {`{"output":{"a":0}}`, false},
		"a text within":   {`{"output":{"a":{"b":["x"]}}}`, false},
		"an empty text":   {`{"output":""}`, true},
		"no object":       {`{"output":[1]}`, true},
		"no output":       {`{}`, true},
		"null for object": {`{"output":null}`, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := answerOf(tt.response)
			if got := a.abstained(); got != tt.want {
				t.Errorf("got %v, want %v: %+v", got, tt.want, a)
			}
		})
	}
}

func TestAnswerThatIsNoneIsAFault(t *testing.T) {
	for _, response := range []string{`{}`, `{"output":null}`, `{"output":[1]}`, `{"output":7}`} {
		a := answerOf(response)
		if a.fault == nil || a.fault.Kind != fault.Invalid || a.fields != nil {
			t.Errorf("%q was read as %+v", response, a)
		}
	}
}

func answerOf(response string) answer {
	var r model.Response
	if err := json.Unmarshal([]byte(response), &r); err != nil {
		panic(err)
	}
	return readAnswer(&r, r.Output)
}

func TestQuestion(t *testing.T) {
	tests := map[string]struct{ input, want string }{
		"question":  {`{"question":"Why?","ref":"v1","folder_name":"src"}`, "Why?\nref: v1"},
		"objective": {`{"objective":"Find out why."}`, "Find out why."},
		"both":      {`{"objective":"Find out.","question":"Why?"}`, "Why?\nFind out."},
		"brief": {`{"objective":"Find out.","context":"It broke.","guidance":"Look in logs.","boundaries":"Change nothing.","acceptance":["a cause","a line"]}`,
			"Find out.\nContext: It broke.\nGuidance: Look in logs.\nBoundaries: Change nothing.\nThe answer is accepted if: a cause; a line"},
		"the rest by name": {`{"objective":"Choose.","duty":"judge","positions":[{"a":1}],"context":["x"],"none":null}`,
			"Choose.\ncontext: [\"x\"]\nduty: judge\npositions: [{\"a\":1}]"},
		"question, no text": {`{"question":["a","b"]}`, `["a","b"]`},
		"null question":     {`{"question":null,"a":1}`, `{"question":null,"a":1}`},
		"text":              {`"Why?"`, "Why?"},
		"other":             {`[1, 2]`, "[1, 2]"},
		"null":              {`null`, ""},
		"nothing":           {``, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, question(json.RawMessage(tt.input))); diff != "" {
				t.Error(diff)
			}
		})
	}
}
