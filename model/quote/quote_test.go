package quote_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run/fault"
	"polity.run/model"
	"polity.run/model/modeltest"
	"polity.run/model/quote"
)

func Example() {
	out, err := quote.Model{}.Answer(context.Background(), model.Request{
		Messages: []model.Message{
			{Role: model.System, Text: "You review what a project may be used for."},
			{Role: model.Tool, Source: "code.licences", Text: "The licence of the project is MIT.\n" +
				"The licence of a dependency forbids selling.\nlicences found: 2"},
			{Role: model.Tool, Source: "code.tests", Text: "All tests pass."},
			{Role: model.User, Text: "Which licence forbids what?"},
		},
		Schema: json.RawMessage(`{"type":"object","required":["summary"],"properties":{
			"summary": {"type": "string"},
			"licences_found": {"type": "integer"},
			"verdict": {"enum": ["for", "against"]}}}`),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(out.Output))
	for _, q := range out.Sources {
		fmt.Printf("%s is line %d of %s\n", q.Field, q.Line, q.Source)
	}
	// Output:
	// {"licences_found":2,"summary":"The licence of a dependency forbids selling."}
	// /licences_found is line 3 of code.licences
	// /summary is line 2 of code.licences
}

func TestModel(t *testing.T) {
	modeltest.Run(t, func() model.Model { return quote.Model{} })
}

// about is what the tables below ask about.
const about = `The parser has no tests.
The parser reads untrusted input.
coverage: 12
"go_version": "1.26.0"
Retries = 3, then it stops
signed: false
Risk: High.
Nothing is written about birds.
- The parser was never fuzzed`

func ask(t *testing.T, question, schema string, tools ...string) (model.Response, error) {
	t.Helper()
	r := model.Request{Schema: json.RawMessage(schema)}
	for i, text := range tools {
		r.Messages = append(r.Messages, model.Message{Role: model.Tool, Source: fmt.Sprintf("t%d", i), Text: text})
	}
	r.Messages = append(r.Messages, model.Message{Role: model.User, Text: question})
	return quote.Model{}.Answer(context.Background(), r)
}

func TestFill(t *testing.T) {
	object := func(properties, required string) string {
		return `{"type":"object","properties":{` + properties + `},"required":[` + required + `]}`
	}
	tests := map[string]struct{ question, schema, want string }{
		"text without a schema":                 {"Is the parser fuzzed?", ``, `"The parser was never fuzzed\nThe parser has no tests.\nThe parser reads untrusted input."`},
		"text that is asked for":                {"parser tests", `{"type":"string"}`, `"The parser has no tests."`},
		"nothing about it":                      {"whales", ``, `""`},
		"list":                                  {"parser", `{"type":"array","items":{"type":"string"},"maxItems":2}`, `["The parser has no tests.","The parser was never fuzzed"]`},
		"list of nothing":                       {"whales", `{"type":"array","items":{"type":"string"}}`, `[]`},
		"list of numbers":                       {"coverage", `{"type":"array","items":{"type":"integer"}}`, `[]`},
		"fields by name":                        {"whales", object(`"fuzzed":{"type":"string"},"birds":{"type":"string"}`, ``), `{"birds":"Nothing is written about birds.","fuzzed":"The parser was never fuzzed"}`},
		"fields by description":                 {"whales", object(`"x":{"type":"string","description":"what is written about birds"}`, ``), `{"x":"Nothing is written about birds."}`},
		"a second field quotes another passage": {"parser", object(`"a":{"type":"string"},"b":{"type":"string"}`, ``), `{"a":"The parser has no tests.","b":"The parser was never fuzzed"}`},
		"nested":                                {"whales", object(`"o":`+object(`"birds":{"type":"string"},"x":{"type":"string"}`, ``), ``), `{"o":{"birds":"Nothing is written about birds."}}`},
		"nothing to nest":                       {"whales", object(`"o":`+object(`"x":{"type":"string"}`, ``), ``), `{}`},
		"required and not there":                {"whales", object(`"a":{"type":"string"},"b":{"type":"array"},"c":{"type":["integer","null"]},"d":{"type":"object"}`, `"a","b","c","d"`), `{"a":"","b":[],"c":null,"d":{}}`},
		"integer":                               {"whales", object(`"coverage":{"type":"integer"}`, ``), `{"coverage":12}`},
		"integer, joined otherwise":             {"whales", object(`"Retries":{"type":["null","integer"]}`, ``), `{"Retries":3}`},
		"a version is no number":                {"whales", object(`"goVersion":{"type":"number"}`, ``), `{}`},
		"a version is text":                     {"whales", object(`"goVersion":{"type":"string","pattern":"version"}`, ``), `{"goVersion":"\"go_version\": \"1.26.0\""}`},
		"boolean":                               {"whales", object(`"signed":{"type":"boolean"},"parser":{"type":"boolean"}`, ``), `{"signed":false}`},
		"enum":                                  {"whales", object(`"risk":{"enum":["low","high",null]}`, ``), `{"risk":"high"}`},
		"enum that is only a word":              {"the parser", object(`"stance":{"enum":["no","has","parser"]}`, ``), `{}`},
		"enum, null allowed":                    {"whales", object(`"stance":{"enum":["for","against",null]}`, `"stance"`), `{"stance":null}`},
		"constant":                              {"whales", object(`"kind":{"const":"report"},"other":{"const":1}`, `"kind"`), `{"kind":"report"}`},
		"length":                                {"parser", object(`"a":{"type":"string","maxLength":25}`, ``), `{"a":"The parser has no tests."}`},
		"too short for all":                     {"parser", object(`"a":{"type":"string","maxLength":3}`, `"a"`), `{"a":""}`},
		"reference":                             {"whales", `{"$defs":{"b":{"type":"string"}},"type":"object","properties":{"birds":{"$ref":"#/$defs/b"}}}`, `{"birds":"Nothing is written about birds."}`},
		"recursive":                             {"birds", `{"type":"object","properties":{"a":{"type":"string"},"next":{"$ref":"#"}}}`, `{"a":"Nothing is written about birds.","next":{"a":"Nothing is written about birds."}}`},
		"choice":                                {"whales", object(`"coverage":{"anyOf":[{"type":"boolean"},{"type":"integer"}]}`, ``), `{"coverage":12}`},
		"true accepts a text":                   {"birds", object(`"a":true`, ``), `{"a":"Nothing is written about birds."}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := ask(t, tt.question, tt.schema, about)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(out.Output)); diff != "" {
				t.Error(diff)
			}
			if out.Extractive != quote.Notice {
				t.Errorf("extractive is %q", out.Extractive)
			}
			if diff := cmp.Diff(model.Response{}.Usage, out.Usage); diff != "" {
				t.Errorf("usage: %s", diff)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	many := strings.Repeat("a b\n", quote.PassagesMax+1)
	var fields strings.Builder
	for i := range quote.FieldsMax {
		fmt.Fprintf(&fields, `"f%d":{"type":"null"},`, i)
	}
	tests := map[string]struct{ schema, text, want string }{
		"a number that is not there":   {`{"type":"object","properties":{"count":{"type":"integer"}},"required":["count"]}`, about, "model: ..."},
		"a stance":                     {`{"enum":["for","against"]}`, about, "quote: abstains"},
		"a text that may not be empty": {`{"type":"object","properties":{"a":{"type":"string","minLength":1}},"required":["a"]}`, "", "at /a: minLength"},
		"many passages":                {``, many, "20000 passages"},
		"large input":                  {``, strings.Repeat("x", quote.InputMax+1), "8388608 bytes"},
		"many fields":                  {`{"properties":{` + fields.String() + `"z":{}}}`, about, "1000 fields"},
		"reference by anchor":          {`{"$defs":{"b":{"$anchor":"b","type":"string"}},"properties":{"a":{"$ref":"#b"}}}`, about, "not a path"},
		"reference to the spec":        {`{"properties":{"a":{"$ref":"https://json-schema.org/draft/2020-12/schema"}}}`, about, "not a path"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ask(t, "whales", tt.schema, tt.text)
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an invalid fault that says %q", err, tt.want)
			}
		})
	}
}

func TestOnlyInputIsQuoted(t *testing.T) {
	out, err := quote.Model{}.Answer(context.Background(), model.Request{Messages: []model.Message{
		{Role: model.System, Text: "Whales are said to sing."},
		{Role: model.Assistant, Text: "Whales sing, I think."},
		{Role: model.User, Source: "notes.txt", Text: "Whales were heard singing."},
		{Role: model.Tool, Source: "log", Text: "heard: whales"},
		{Role: model.User, Text: "Do whales sing?"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`"Whales were heard singing.\nheard: whales"`, string(out.Output)); diff != "" {
		t.Error(diff)
	}
}

func TestSystemTextSteers(t *testing.T) {
	r := model.Request{Messages: []model.Message{
		{Role: model.System, Text: "You look after the tests."},
		{Role: model.Tool, Text: "The licence is MIT.\nThe tests take an hour."},
		{Role: model.User, Text: "May it be released?"},
	}}
	out, err := quote.Model{}.Answer(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`"The tests take an hour."`, string(out.Output)); diff != "" {
		t.Error(diff)
	}
}

func TestJSONIsQuotedByItsLeaves(t *testing.T) {
	text := "{\n \"licence\": \"MIT\",\n \"files\": [{\"name\": \"pay.go\", \"lines\": 12,\n \"note\":\"has \\\"no\\\" tests\"}],\n \"signed\" : true}"
	out, err := ask(t, "Which licence has it, and what about tests?", `{"type":"object","properties":{
		"licence":{"enum":["MIT","Apache-2.0"]},"lines":{"type":"integer"},"signed":{"type":"boolean"},"tests":{"type":"string"}}}`, text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"licence":"MIT","lines":12,"signed":true,"tests":"has \"no\" tests"}`, string(out.Output)); diff != "" {
		t.Error(diff)
	}
	var got []string
	for _, q := range out.Sources {
		got = append(got, fmt.Sprintf("%s %s:%d %s", q.Field, q.Source, q.Line, q.Text))
	}
	want := []string{`/licence t0:2 MIT`, `/lines t0:3 "lines": 12`, `/signed t0:5 "signed" : true`, `/tests t0:4 has "no" tests`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLongLinesAreCut(t *testing.T) {
	sentence := "The whale sang for the " + strings.Repeat("very ", 60) + "long night."
	out, err := ask(t, "whale", ``, strings.Repeat(sentence+" ", 5)+strings.Repeat("é", 5000))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sentence, out.Sources[0].Text); diff != "" || len(out.Sources) != 1 {
		t.Errorf("%d sources: %s", len(out.Sources), diff)
	}
}

func TestOutputMaxLimitsWhatIsQuoted(t *testing.T) {
	r := model.Request{OutputMax: 7, Messages: []model.Message{
		{Role: model.Tool, Text: "whales and whales in the deep blue sea\nwhales sing in the night"},
		{Role: model.User, Text: "whales"},
	}}
	out, err := quote.Model{}.Answer(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`"whales sing in the night"`, string(out.Output)); diff != "" {
		t.Error(diff)
	}
}

func TestSameRequestSameAnswer(t *testing.T) {
	schema := `{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"array"},"coverage":{"type":"integer"}}}`
	want, err := ask(t, "What about the parser?", schema, about, about)
	if err != nil {
		t.Fatal(err)
	}
	for range 30 {
		got, err := ask(t, "What about the parser?", schema, about, about)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatal(err, diff)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(about, "What about the parser?", `{"type":"object","properties":{"coverage":{"type":"integer"},"a":{"type":"string"}}}`)
	f.Add(`{"a":[1,{"b":"c d"},null,"x\ny"],"é\n":2}`, "b", `{"type":"array","items":{"type":"string"}}`)
	f.Add("\xff\xfe\n[", "é", ``)
	f.Add("a: 1", "a", `{"$ref":"#/$defs/a","$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"},{"type":"null"}]},"b":{"type":"number"}}}`)
	f.Add("", "", `{"type":"object","required":["x"]}`)
	f.Fuzz(func(t *testing.T, text, question, schema string) {
		out, err := ask(t, question, schema, text)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Errorf("%v is not invalid", err)
			}
			return
		}
		if !json.Valid(out.Output) {
			t.Errorf("the output is no JSON: %s", out.Output)
		}
		for _, q := range out.Sources {
			if json.Valid([]byte(text)) {
				continue // a text of a JSON value may stand there escaped
			}
			if !strings.Contains(strings.ToValidUTF8(text, "\uFFFD"), q.Text) {
				t.Errorf("quotes %q, which is not in %q", q.Text, text)
			}
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	var text strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&text, "finding %d: the parser of part %d has no tests\n", i, i%97)
	}
	r := model.Request{
		Schema: json.RawMessage(`{"type":"object","properties":{"summary":{"type":"string"},"risks":{"type":"array"},"count":{"type":"integer"}}}`),
		Messages: []model.Message{
			{Role: model.Tool, Text: text.String()},
			{Role: model.User, Text: "Which parser has no tests?"},
		},
	}
	for b.Loop() {
		if _, err := (quote.Model{}).Answer(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}
