package schema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

// tiny is the schema of most values that an engine's steps carry.
const tiny = `{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}`

// compiled returns the schema as it is compiled, also where Compile makes it nil.
func compiled(t testing.TB, raw string) *Schema {
	t.Helper()
	s, err := Compile(json.RawMessage(raw))
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return s
}

// shortcut returns what Check uses for s.
func shortcut(s *Schema) *fast {
	if s == nil {
		return anything
	}
	return s.fast
}

// TestFastIsSure names what must not need the validator.
func TestFastIsSure(t *testing.T) {
	tests := map[string]struct{ schema, data string }{
		"tiny":                  {tiny, `{"n":1}`},
		"white space":           {tiny, "\n { \"n\" :\t-1 } \r\n"},
		"repeated":              {tiny, `{"n":1,"n":2}`},
		"any":                   {``, ` [ {"a":[1,-0.5e+3,"x\n\u00e9",true,false,null,{},[]]} , "é" ] `},
		"any, deepest":          {``, strings.Repeat("[", DepthMax) + strings.Repeat("]", DepthMax)},
		"type list":             {`{"type":["string","null"]}`, `null`},
		"boolean":               {`{"items":{"type":"boolean"}}`, `[true,false]`},
		"number":                {`{"type":"number"}`, `1.5e-7`},
		"integer is a number":   {`{"type":"number"}`, `-12`},
		"huge integer":          {`{"type":"integer"}`, strings.Repeat("9", 500)},
		"other order":           {`{"properties":{"a":{"type":"null"},"b":{"type":"integer"},"c":{}}}`, `{"c":1,"b":2,"a":null}`},
		"additional":            {`{"additionalProperties":{"type":"integer"}}`, `{"x":1,"y":2}`},
		"additional, not asked": {`{"properties":{"a":false},"additionalProperties":true}`, `{"x":"y"}`},
		"required, undeclared":  {`{"required":["b","a"]}`, `{"a":1,"x":2,"b":3}`},
		"required, additional":  {`{"required":["a"],"additionalProperties":{"type":"null"}}`, `{"a":null}`},
		"rules of others":       {`{"minLength":5,"minItems":2,"minimum":7,"required":["a"]}`, `true`},
		"enum":                  {`{"enum":["for","against",7,null,false]}`, `"against"`},
		"enum, integer":         {`{"enum":["for","against",7,null,false]}`, `7`},
		"enum, null":            {`{"enum":["for",null]}`, `null`},
		"enum, empty":           {`{"enum":["é",""]}`, `""`},
		"enum and type":         {`{"type":["string","integer"],"enum":["é",2]}`, `"é"`},
		"const":                 {`{"const":-3}`, `-3`},
		"const, false":          {`{"const":false}`, `false`},
		"const, null":           {`{"const":null}`, `null`},
		"minus zero":            {`{"const":0}`, `-0`},
		"bounds":                {`{"items":{"minimum":-2,"exclusiveMaximum":5}}`, `[-2,0,4]`},
		"fraction":              {`{"minimum":0,"maximum":1}`, `0.87`},
		"exclusive bounds":      {`{"exclusiveMinimum":-1,"maximum":3}`, `0`},
		"bounds of older times": {`{"$schema":"http://json-schema.org/draft-04/schema#","maximum":3,"exclusiveMaximum":true}`, `2`},
		"items of older times":  {`{"$schema":"http://json-schema.org/draft-07/schema#","items":{"type":"null"}}`, `[null]`},
		"length":                {`{"minLength":2,"maxLength":2}`, `"éé"`},
		"length, escaped":       {`{"minLength":1}`, `"a\nb\ud83d\ude00"`},
		"items":                 {`{"minItems":1,"maxItems":2,"items":{"type":"string"}}`, `["a","b"]`},
		"fields":                {`{"minProperties":1,"maxProperties":2}`, `{"a":1,"b":2}`},
		"nested":                {`{"properties":{"a":{"items":{"properties":{"b":{"enum":[1]}},"required":["b"]}}}}`, `{"a":[{"b":1},{"b":1}]}`},
		"annotations": {`{"$schema":"https://json-schema.org/draft/2020-12/schema","$id":"https://example.com/a","title":"t","description":"d",
			"$comment":"c","default":1,"examples":[1],"deprecated":true,"readOnly":true,"writeOnly":false,"format":"date-time","$defs":{"a":{"not":{}}},
			"contentEncoding":"base64","x-own":{"pattern":1},"type":"string"}`, `"yesterday"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := compiled(t, tt.schema)
			if !shortcut(s).surely([]byte(tt.data)) {
				t.Error("the shortcut was not taken")
			}
			if err := s.validate([]byte(tt.data)); err != nil {
				t.Errorf("the validator disagrees: %v", err)
			}
		})
	}
}

// TestFastAsks names values of which the shortcut must not be sure, right or wrong.
func TestFastAsks(t *testing.T) {
	tests := map[string]struct {
		schema, data string
		valid        bool
	}{
		"wrong type":             {tiny, `{"n":"1"}`, false},
		"unknown property":       {tiny, `{"n":1,"m":2}`, false},
		"missing property":       {tiny, `{}`, false},
		"repeated, one wrong":    {tiny, `{"n":"1","n":1}`, true},
		"repeated, last wrong":   {tiny, `{"n":1,"n":"1"}`, false},
		"escaped name":           {tiny, `{"\u006e":1}`, true},
		"escaped name, wrong":    {`{"properties":{"n":{"type":"integer"}}}`, `{"\u006e":"x"}`, false},
		"integer with fraction":  {tiny, `{"n":1.0}`, true},
		"integer with exponent":  {tiny, `{"n":1e2}`, true},
		"text behind":            {tiny, `{"n":1} 2`, false},
		"cut off":                {tiny, `{"n":1`, false},
		"no comma":               {tiny, `{"n":1 "n":2}`, false},
		"last comma":             {tiny, `{"n":1,}`, false},
		"last comma in an array": {``, `[1,]`, false},
		"only a comma":           {``, `[,]`, false},
		"no colon":               {``, `{"a" 1}`, false},
		"no name":                {``, `{1:1}`, false},
		"nothing":                {``, ``, false},
		"white space only":       {``, ` `, false},
		"other white space":      {``, "\f1", false},
		"zeros":                  {``, `01`, false},
		"minus":                  {``, `-`, false},
		"plus":                   {``, `+1`, false},
		"point":                  {``, `1.`, false},
		"no digit":               {``, `.5`, false},
		"empty exponent":         {``, `1e+`, false},
		"huge exponent":          {``, `1e9999`, false},
		"long number":            {``, strings.Repeat("1", numberMax+1), false},
		"half a word":            {``, `tru`, false},
		"more than a word":       {``, `nulll`, false},
		"other escape":           {``, `"\x"`, false},
		"short escape":           {``, `"\u12"`, false},
		"escape of the end":      {``, `"\`, false},
		"no hexadecimal":         {``, `"\u00eg"`, false},
		"control character":      {``, "\"a\nb\"", false},
		"broken UTF-8":           {``, "\"\xff\"", true},
		"broken UTF-8 in a name": {``, "{\"\xff\":1}", true},
		"zero byte":              {``, "1\x00", false},
		"too deep":               {``, strings.Repeat("[", DepthMax+1) + strings.Repeat("]", DepthMax+1), false},
		"too deep, objects":      {``, strings.Repeat(`{"a":`, DepthMax+1) + "1" + strings.Repeat("}", DepthMax+1), false},
		"enum, escaped":          {`{"enum":["a"]}`, `"\u0061"`, true},
		"enum of an escape":      {`{"enum":["\\n"]}`, `"\n"`, false},
		"enum, other":            {`{"enum":["a",1]}`, `"b"`, false},
		"enum, other kind":       {`{"enum":["a",1]}`, `true`, false},
		"enum, number":           {`{"enum":["a",1]}`, `1.0`, true},
		"enum, nothing":          {`{"type":"integer","enum":["a"]}`, `1`, false},
		"const of its text":      {`{"const":1}`, `"1"`, false},
		"const, overflow":        {`{"const":1}`, `18446744073709551617`, false},
		"below":                  {`{"minimum":0}`, `-0.5`, false},
		"at an exclusive bound":  {`{"exclusiveMaximum":3}`, `3`, false},
		"maximum with fraction":  {`{"maximum":3}`, `3.0`, true},
		"above by a fraction":    {`{"maximum":3}`, `3.5`, false},
		"bound and exponent":     {`{"maximum":3}`, `1e1`, false},
		"bound and overflow":     {`{"maximum":3}`, `18446744073709551617`, false},
		"bound, short overflow":  {`{"maximum":3}`, `9999999999999999999`, false},
		"older items":            {`{"$schema":"http://json-schema.org/draft-07/schema#","items":{"type":"null"}}`, `[1]`, false},
		"too short":              {`{"minLength":2}`, `"é"`, false},
		"too long":               {`{"maxLength":1}`, `"ab"`, false},
		"too short, escaped":     {`{"minLength":2}`, `"\ud83d\ude00"`, false},
		"long enough, escaped":   {`{"minLength":2}`, `"\n\n"`, true},
		"too few items":          {`{"minItems":1}`, `[]`, false},
		"too many items":         {`{"maxItems":1}`, `[1,2]`, false},
		"too few fields":         {`{"minProperties":2}`, `{"a":1,"a":2}`, false},
		"too many fields":        {`{"maxProperties":1}`, `{"a":1,"b":2}`, false},
		"as many as allowed":     {`{"maxProperties":1}`, `{"a":1,"a":2}`, true},
		"nothing is allowed":     {`{"additionalProperties":false}`, `{"":1}`, false},
		"false":                  {`false`, `1`, false},
		"dear":                   {`{"items":{"required":["` + strings.Join(names(1000), `","`) + `"]}}`, "[" + strings.Repeat("1,", 20_000) + "1]", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := compiled(t, tt.schema)
			if shortcut(s).surely([]byte(tt.data)) {
				t.Error("the shortcut was taken")
			}
			err := s.Check(json.RawMessage(tt.data))
			if diff := cmp.Diff(tt.valid, err == nil); diff != "" {
				t.Errorf("%v: %s", err, diff)
			}
		})
	}
}

// names returns n names, p0 first.
func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("p%d", i)
	}
	return out
}

// TestFastKnowsItsLimits compiles schemas with a rule outside the subset, alone and deep inside.
func TestFastKnowsItsLimits(t *testing.T) {
	for _, rule := range []string{
		`{"$ref":"#/$defs/a","$defs":{"a":{}}}`, `{"properties":{"x":{"$dynamicRef":"#a"}},"$dynamicAnchor":"a"}`,
		`{"not":{"const":1}}`, `{"if":{},"then":false}`, `{"allOf":[{}]}`, `{"anyOf":[{}]}`, `{"oneOf":[{}]}`,
		`{"pattern":"^a"}`, `{"multipleOf":2}`, `{"propertyNames":{}}`, `{"patternProperties":{"a":{}}}`,
		`{"unevaluatedProperties":false}`, `{"unevaluatedItems":false}`, `{"dependentRequired":{"a":["b"]}}`,
		`{"dependentSchemas":{"a":false}}`, `{"uniqueItems":true}`, `{"contains":{}}`, `{"prefixItems":[{}]}`,
		`{"enum":[1.5]}`, `{"enum":[{}]}`, `{"const":[]}`, `{"const":1e2}`, `{"const":9223372036854775808}`,
		`{"const":1,"enum":[1]}`, `{"minimum":0.5}`, `{"maximum":1e300}`, `{"exclusiveMaximum":9007199254740993}`,
		`{"required":["` + strings.Join(names(namedMax+1), `","`) + `"]}`,
		`{"$schema":"http://json-schema.org/draft-07/schema#","format":"email"}`,
		`{"$schema":"http://json-schema.org/draft-07/schema#","items":[{}]}`,
		`{"$schema":"http://json-schema.org/draft-07/schema#","dependencies":{"a":["b"]}}`,
	} {
		if compiled(t, rule).fast != nil {
			t.Errorf("%s: has a shortcut", rule)
		}
		if !strings.Contains(rule, "#") {
			for _, around := range []string{`{"properties":{"a":%s}}`, `{"items":{"additionalProperties":%s}}`} {
				if schema := fmt.Sprintf(around, rule); compiled(t, schema).fast != nil {
					t.Errorf("%s: has a shortcut", schema)
				}
			}
		}
	}
	if compiled(t, `{"required":["`+strings.Join(names(namedMax), `","`)+`"]}`).fast == nil {
		t.Errorf("%d properties are too many", namedMax)
	}
}

// TestFastKnowsEveryRule fails when the validator learns a rule that the translation would miss.
func TestFastKnowsEveryRule(t *testing.T) {
	harmless := []string{ // without a rule that beyond names
		"DraftVersion", "Location", "ID", "Anchor", "RecursiveAnchor", "DynamicAnchor", "Title", "Description",
		"Default", "Comment", "ReadOnly", "WriteOnly", "Examples", "Deprecated",
	}
	translated := []string{
		"Bool", "Types", "Enum", "Const", "MaxProperties", "MinProperties", "Required", "Properties",
		"AdditionalProperties", "MinItems", "MaxItems", "Items", "Items2020", "MinLength", "MaxLength",
		"Maximum", "Minimum", "ExclusiveMaximum", "ExclusiveMinimum",
	}
	for f := range reflect.TypeFor[validator.Schema]().Fields() {
		if !f.IsExported() || slices.Contains(harmless, f.Name) || slices.Contains(translated, f.Name) {
			continue
		}
		v := &validator.Schema{}
		set := reflect.ValueOf(v).Elem().FieldByIndex(f.Index)
		switch f.Type.Kind() {
		case reflect.Pointer:
			set.Set(reflect.New(f.Type.Elem()))
		case reflect.Slice:
			set.Set(reflect.MakeSlice(f.Type, 1, 1))
		case reflect.Map:
			one := reflect.MakeMap(f.Type)
			one.SetMapIndex(reflect.Zero(f.Type.Key()), reflect.Zero(f.Type.Elem()))
			set.Set(one)
		case reflect.Bool:
			set.SetBool(true)
		case reflect.Interface:
			if f.Name == "Pattern" {
				set.Set(reflect.ValueOf(noPattern{}))
				break
			}
			set.Set(reflect.ValueOf(true))
		default:
			t.Errorf("%s is of a kind that this test does not know", f.Name)
		}
		if !beyond(v) {
			t.Errorf("%s asks for something, and the translation does not see it", f.Name)
		}
	}
}

type noPattern struct{}

func (noPattern) MatchString(string) bool { return false }
func (noPattern) String() string          { return "" }

// TestFastAllocatesNothing holds Check to what it is for.
func TestFastAllocatesNothing(t *testing.T) {
	tests := map[string]struct{ schema, data string }{
		"tiny":   {tiny, `{"n":1}`},
		"any":    {``, `{"a":[1,2.5,"x\n",{"b":null}]}`},
		"string": {`{"type":"string","minLength":1,"maxLength":4000}`, `"What does the licence allow?\nSay it with an é."`},
		"report": {reportSchema, reportData},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, data := compiled(t, tt.schema), json.RawMessage(tt.data)
			if n := testing.AllocsPerRun(100, func() {
				if err := s.Check(data); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

// A larger value, as an agent's answer is.
const (
	reportSchema = `{"type":"object","properties":{"summary":{"type":"string","minLength":1},"verdict":{"enum":["for","against"]},
		"confidence":{"type":"number","minimum":0,"maximum":1},"claims":{"type":["null","array"],"items":{"type":"object",
		"properties":{"text":{"type":"string"},"line":{"type":"integer","minimum":1}},"required":["text"],"additionalProperties":false}}},
		"required":["summary","verdict"],"additionalProperties":false}`
	reportData = `{"summary":"It is safe.\nMostly.","verdict":"for","confidence":0.87,
		"claims":[{"text":"the lock is held","line":12},{"text":"nobody waits"}]}`
)

func BenchmarkFast(b *testing.B) {
	values := map[string]struct{ schema, data string }{
		"any":    {``, `{"n":1}`},
		"tiny":   {tiny, `{"n":1}`},
		"report": {reportSchema, reportData},
		"long":   {`{"type":"string"}`, `"` + strings.Repeat("x", 10_000) + `"`},
	}
	for name, v := range values {
		s, data := compiled(b, v.schema), json.RawMessage(v.data)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Check(data); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/validator", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.validate(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
