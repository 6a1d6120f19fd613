package schema_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polity.run/fault"
	"polity.run/schema"
)

func ExampleCompile() {
	s, err := schema.Compile(json.RawMessage(`{
		"type": "object",
		"properties": {
			"question": {"type": "string", "minLength": 1},
			"claims": {"type": "array", "items": {"properties": {"line": {"type": "integer"}}}}
		},
		"required": ["question"],
		"additionalProperties": false
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Check(json.RawMessage(`{"question":"Is it safe?"}`)))
	fmt.Println(s.Check(json.RawMessage(`{"qestion":"Is it safe?","claims":[{"line":"12"}]}`)))
	// Output:
	// <nil>
	// at /: missing property 'question'
	// at /: unknown property "qestion"; did you mean "question"?
	// at /claims/0/line: got string, want integer
}

func ExampleFor() {
	type Input struct {
		Question string `json:"question" jsonschema:"what to find out"`
		Depth    int    `json:"depth,omitempty"`
	}
	raw, err := schema.For[Input]()
	fmt.Println(string(raw), err)
	// Output:
	// {"type":"object","properties":{"question":{"type":"string","description":"what to find out"},"depth":{"type":"integer"}},"required":["question"],"additionalProperties":false} <nil>
}

// compile returns the schema, which the test needs to be one.
func compile(t testing.TB, raw string) *schema.Schema {
	t.Helper()
	s, err := schema.Compile(json.RawMessage(raw))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCheckNamesThePlace(t *testing.T) {
	tests := map[string]struct{ schema, data, want string }{
		"type":             {`{"type":"integer"}`, `"x"`, "at /: got string, want integer"},
		"nested":           {`{"properties":{"a":{"items":{"type":"string"}}}}`, `{"a":["x",2]}`, "at /a/1: got number, want string"},
		"pointer escape":   {`{"properties":{"a/b~c":{"type":"null"}}}`, `{"a/b~c":1}`, "at /a~1b~0c: got number, want null"},
		"enum":             {`{"enum":["for","against"]}`, `"or"`, "at /: value must be one of 'for', 'against'"},
		"unknown, far":     {`{"properties":{"name":{}},"additionalProperties":false}`, `{"zzz":1}`, `at /: unknown property "zzz"`},
		"unknown, swapped": {`{"properties":{"name":{}},"additionalProperties":false}`, `{"nmae":1}`, `at /: unknown property "nmae"; did you mean "name"?`},
		"unknown, by ref": {`{"$defs":{"d":{"properties":{"tests":{}},"additionalProperties":false}},"properties":{"x":{"$ref":"#/$defs/d"}}}`,
			`{"x":{"test":1}}`, `at /x: unknown property "test"; did you mean "tests"?`},
		"unknown, several":     {`{"additionalProperties":false}`, `{"b":1,"a":2}`, "at /: unknown property \"a\"\nat /: unknown property \"b\""},
		"unknown, not allowed": {`{"additionalProperties":{"not":{}}}`, `{"b":1}`, "at /b: 'not' failed"},
		"false":                {`{"properties":{"a":false}}`, `{"a":1}`, "at /a: nothing is allowed here"},
		"choice of types":      {`{"anyOf":[{"type":"integer"},{"type":"null"}]}`, `"x"`, "at /: got string, want integer or null"},
		"choice": {`{"oneOf":[{"required":["a"]},{"properties":{"b":{"type":"string"}},"required":["b"]}]}`, `{"b":1}`,
			"at /: fits no alternative: missing property 'a'; or /b got number, want string"},
		"two of oneOf":             {`{"oneOf":[{},{"type":"integer"}]}`, `1`, "at /: 'oneOf' failed, subschemas 0, 1 matched"},
		"order of places":          {`{"items":{"type":"null"}}`, `[null,1,null,null,null,null,null,null,null,2,3]`, "at /1: got number, want null\nat /9: got number, want null\nat /10: got number, want null"},
		"property name":            {`{"propertyNames":{"maxLength":2}}`, `{"abc":1}`, `at /: property name "abc" is not allowed`},
		"minimum":                  {`{"minimum":10}`, `9`, "at /: minimum: got 9, want 10"},
		"not JSON":                 {`{"type":"integer"}`, `{"a"`, "value: not JSON: unexpected end of JSON input"},
		"two values":               {`{"type":"integer"}`, `1 2`, "value: not JSON: invalid character '2' after top-level value"},
		"nothing":                  {`{"type":"integer"}`, ``, "value: not JSON: unexpected end of JSON input"},
		"no schema":                {``, `[1,]`, "value: not JSON: invalid character ']' looking for beginning of value"},
		"huge exponent":            {`{"type":"integer"}`, `1e1000000000`, "value: number 1e1000000000: the exponent is beyond 1024"},
		"huge exponent, no schema": {`{}`, `[-1E-99999]`, "value: number -1E-99999: the exponent is beyond 1024"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := compile(t, tt.schema).Check(json.RawMessage(tt.data))
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("got %v, want an invalid fault", err)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCheckAccepts(t *testing.T) {
	tests := map[string]struct{ schema, data string }{
		"nothing asked":         {``, `{"a":[1,"x",null]}`},
		"null asked for":        {`null`, `1`},
		"true":                  {` true `, `1`},
		"integer as 1.0":        {`{"type":"integer"}`, `1.0`},
		"exact beyond float":    {`{"const":9007199254740993}`, `9007199254740993`},
		"string like a number":  {`{"type":"string"}`, `"1e1000000000 [[[{{{"`},
		"escaped quote":         {`{"type":"string"}`, `"\"[\\"`},
		"recursive":             {`{"properties":{"next":{"$ref":"#"}},"required":["v"]}`, `{"v":1,"next":{"v":2,"next":{"v":3}}}`},
		"deepest":               {`{}`, strings.Repeat("[", schema.DepthMax) + strings.Repeat("]", schema.DepthMax)},
		"reference to the spec": {`{"$ref":"https://json-schema.org/draft/2020-12/schema"}`, `{"type":"object","properties":{"a":{"type":"string"}}}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if err := compile(t, tt.schema).Check(json.RawMessage(tt.data)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestExactNumbersAreKeptApart(t *testing.T) {
	s := compile(t, `{"const":9007199254740993}`)
	if err := s.Check(json.RawMessage(`9007199254740992`)); !errors.Is(err, fault.Invalid) {
		t.Errorf("a neighbour that a float64 takes for the same was accepted: %v", err)
	}
}

func TestCompileRefuses(t *testing.T) {
	deep := strings.Repeat(`{"not":`, schema.DepthMax+1) + "{}" + strings.Repeat("}", schema.DepthMax+1)
	tests := map[string]struct{ schema, want string }{
		"not JSON":      {`{"type"`, "schema: not JSON: unexpected end of JSON input"},
		"not a schema":  {`[]`, ""},
		"unknown type":  {`{"type":"sting"}`, "schema: at /type: fits no alternative: value must be one of 'array', 'boolean'"},
		"bad pattern":   {`{"pattern":"("}`, ""},
		"file":          {`{"$ref":"file:///etc/passwd"}`, "another document"},
		"relative file": {`{"$ref":"other.json"}`, "another document"},
		"address":       {`{"$ref":"https://example.com/s.json"}`, "another document"},
		"address as ID": {`{"$id":"https://example.com/a.json","$ref":"b.json"}`, "another document"},
		"dialect":       {`{"$schema":"https://example.com/mine"}`, "another document"},
		"nowhere":       {`{"$ref":"#/$defs/a"}`, "$defs/a"},
		"endless":       {`{"$ref":"#"}`, "without end"},
		"endless, long": {`{"$ref":"#/$defs/a","$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"}]},"b":{"anyOf":[{"$ref":"#/$defs/a"}]}}}`, "without end"},
		"too deep":      {deep, "deeper than 64"},
		"too large":     {`{"title":"` + strings.Repeat("x", schema.SchemaMax) + `"}`, "bytes; at most"},
		"huge number":   {`{"minimum":1e999999999}`, "exponent"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := schema.Compile(json.RawMessage(tt.schema))
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an invalid fault that says %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "root.json") {
				t.Errorf("the text shows an address of our own: %v", err)
			}
		})
	}
}

func TestCheckRefusesWhatIsTooMuch(t *testing.T) {
	// Forty references that double: 2^40 evaluations of one small value.
	var doubling strings.Builder
	doubling.WriteString(`{"$ref":"#/$defs/d0","$defs":{`)
	for i := range 40 {
		fmt.Fprintf(&doubling, `"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	doubling.WriteString(`"d40":{"type":"integer"}}}`)
	deep := strings.Repeat("[", schema.DepthMax+1) + strings.Repeat("]", schema.DepthMax+1)
	deepest := strings.Repeat("[", schema.DepthMax) + strings.Repeat("]", schema.DepthMax)
	tests := map[string]struct{ schema, data, want string }{
		"depth":               {`{"type":"array"}`, deep, "deeper than 64"},
		"depth, no schema":    {``, deep, "deeper than 64"},
		"size":                {``, `"` + strings.Repeat("x", schema.DataMax) + `"`, "bytes; at most"},
		"doubling references": {doubling.String(), `1`, "multiply"},
		"doubling by depth":   {`{"allOf":[{"items":{"$ref":"#"}},{"items":{"$ref":"#"}}]}`, deepest, "multiply"},
		"large enum":          {`{"items":{"enum":[` + strings.Repeat(`"x",`, 100_000) + `"y"]}}`, "[" + strings.Repeat(`"y",`, 10_000) + `"y"]`, "multiply"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := compile(t, tt.schema).Check(json.RawMessage(tt.data))
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an invalid fault that says %q", err, tt.want)
			}
		})
	}
}

func TestReportIsBounded(t *testing.T) {
	err := compile(t, `{"items":{"type":"null"}}`).Check(json.RawMessage("[" + strings.Repeat("1,", 100) + "1]"))
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 21 || lines[20] != "and 81 more" {
		t.Errorf("got %d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
	long := `{"enum":["` + strings.Repeat("é", 5000) + `"]}`
	if err := compile(t, long).Check(json.RawMessage(`1`)); len(err.Error()) > 400 {
		t.Errorf("the text of one place has %d bytes", len(err.Error()))
	}
}

func TestReportIsAlwaysTheSame(t *testing.T) {
	s := compile(t, `{"properties":{"a":{"type":"null"},"b":{"type":"null"},"c":{"type":"null"}},"additionalProperties":false}`)
	data := json.RawMessage(`{"c":1,"b":2,"a":3,"x":1,"y":2,"z":3}`)
	want := s.Check(data).Error()
	for range 50 {
		if got := s.Check(data).Error(); got != want {
			t.Fatal(cmp.Diff(want, got))
		}
	}
}

func FuzzSchema(f *testing.F) {
	f.Add(`{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}`, `{"a":1}`)
	f.Add(`{"$ref":"#/$defs/a","$defs":{"a":{"items":{"$ref":"#"}}}}`, `[[[]]]`)
	f.Add(`{"anyOf":[{"multipleOf":0.1},{"pattern":"^a+$"},{"enum":[1,"x",null]}],"unevaluatedItems":false}`, `["aaa",1e3]`)
	f.Add(`{"$dynamicRef":"#x","$dynamicAnchor":"x"}`, `{}`)
	f.Add(`{"$schema":"http://json-schema.org/draft-07/schema#","dependencies":{"a":["b"]}}`, `{"a":1}`)
	f.Add(`true`, "\"\\")
	f.Add(`{"uniqueItems":true,"contains":{"const":1}}`, `[1,1.0,1e0]`)
	f.Fuzz(func(t *testing.T, raw, data string) {
		s, err := schema.Compile(json.RawMessage(raw))
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Errorf("compile: %v is not invalid", err)
			}
			return
		}
		err = s.Check(json.RawMessage(data))
		if err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("check: %v is not invalid", err)
		}
		if err == nil && !json.Valid([]byte(data)) {
			t.Errorf("accepted %q, which is not JSON", data)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	values := map[string]struct{ schema, data string }{
		"any":    {``, `{"n":1}`},
		"tiny":   {`{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}`, `{"n":1}`},
		"string": {`{"type":"string"}`, `"What does the licence allow?"`},
	}
	for name, v := range values {
		s, data := compile(b, v.schema), json.RawMessage(v.data)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Check(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
