package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"polity.run/fault"
)

// object makes the schema of a closed object.
func object(properties string, required ...string) string {
	for i := range required {
		required[i] = quote(required[i])
	}
	return `{"type":"object","properties":{` + properties + `},"required":[` + strings.Join(required, ",") + `],"additionalProperties":false}`
}

// TestCompatible names the changes that people make, and whom each breaks.
func TestCompatible(t *testing.T) {
	order := object(`"id":{"type":"string"},"lines":{"type":"array","items":{"type":"integer"}}`, "id")
	for name, tt := range map[string]struct {
		old, new          string
		backward, forward string // what is said; "" if it is compatible
	}{
		"the same":                 {old: order, new: order},
		"other words":              {old: order, new: `{"title":"Order",` + order[1:]},
		"an optional property":     {order, object(`"id":{"type":"string"},"lines":{"type":"array","items":{"type":"integer"}},"note":{"type":"string"}`, "id"), "", "at /note: the new schema has this property, the old one allows no further properties"},
		"a required property":      {order, object(`"id":{"type":"string"},"lines":{"type":"array","items":{"type":"integer"}},"vat":{"type":"string"}`, "id", "vat"), "at /vat: the new schema requires it, the old one does not", "at /vat: the new schema has this property"},
		"a property taken away":    {order, object(`"id":{"type":"string"}`, "id"), "at /lines: the old schema has this property, the new one allows no further properties", ""},
		"no longer required":       {order, object(`"id":{"type":"string"},"lines":{"type":"array","items":{"type":"integer"}}`), "", "at /id: the old schema requires it, the new one does not"},
		"items of another type":    {order, object(`"id":{"type":"string"},"lines":{"type":"array","items":{"type":"string"}}`, "id"), "at /lines/*: old data may be integer, the new schema wants string", "at /lines/*: new data may be string, the old schema wants integer"},
		"an integer made a number": {`{"type":"integer"}`, `{"type":"number"}`, "", "at /: new data may be a number that is no integer, the old schema wants integer"},
		"null allowed":             {`{"type":"string"}`, `{"type":["string","null"]}`, "", "at /: new data may be null"},
		"null allowed, as anyOf":   {`{"type":"string"}`, `{"anyOf":[{"type":"string"},{"type":"null"}]}`, "", "at /: new data may be null"},
		"one more value":           {`{"enum":["a","b"]}`, `{"enum":["a","b","c"]}`, "", `at /: new data may be "c", the old schema does not accept that`},
		"longer texts":             {`{"type":"string","maxLength":5}`, `{"type":"string","maxLength":9}`, "", "the old schema allows at most 5 characters, the new one more"},
		"a narrower range":         {`{"type":"integer","minimum":0}`, `{"type":"integer","exclusiveMinimum":-1}`, "", ""},
		"a range of numbers":       {`{"type":"number","minimum":0}`, `{"type":"number","exclusiveMinimum":0}`, "at /: the new schema wants numbers above 0, the old one allows those from 0", ""},
		"one item fewer":           {`{"type":"array","maxItems":3}`, `{"type":"array","maxItems":2}`, "the new schema allows at most 2 items, the old one more", ""},
		"closed but for a pattern": {
			`{"type":"object","patternProperties":{"^x":{"type":"integer"}},"additionalProperties":false}`,
			`{"type":"object","properties":{"x1":{"type":"string"}}}`, "at /x1: old data may be integer, the new schema wants string", "at /*: the new schema allows further properties, the old one none",
		},
		"multiples":                 {`{"type":"integer","multipleOf":6}`, `{"type":"integer","multipleOf":3}`, "", "multiples of 6"},
		"an open object grows":      {`{"type":"object","properties":{"a":{"type":"string"}}}`, `{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}}}`, "at /b: the new schema says what it is, the old one allows further properties, and this one with any value", ""},
		"closed":                    {`{"type":"object","properties":{"a":{"type":"string"}}}`, object(`"a":{"type":"string"}`), "at /*: the old schema allows further properties, the new one none", ""},
		"a pattern":                 {`{"type":"string"}`, `{"type":"string","pattern":"^a"}`, "patterns are compared by their text alone", ""},
		"by reference":              {`{"$ref":"#/$defs/a","$defs":{"a":{"type":"string"}}}`, `{"type":"string"}`, "", ""},
		"in parts":                  {`{"allOf":[{"minimum":1},{"maximum":3},{"type":"integer"}]}`, `{"type":"integer","minimum":1,"maximum":3}`, "", ""},
		"recursive":                 {`{"type":"object","properties":{"next":{"$ref":"#"}},"additionalProperties":false}`, `{"type":"object","properties":{"next":{"$ref":"#"},"n":{"type":"integer"}},"additionalProperties":false}`, "", "at /n: the new schema has this property"},
		"recursive, deeper":         {`{"anyOf":[{"type":"null"},{"type":"array","items":{"$ref":"#"}}]}`, `{"anyOf":[{"type":"array","items":{"$ref":"#"}},{"type":"null"},{"type":"string"}]}`, "", "at /"},
		"one of two":                {`{"oneOf":[{"type":"string"},{"type":"integer"}]}`, `{"oneOf":[{"type":"integer"},{"type":"string"},{"type":"null"}]}`, "", "exactly one of the 2 alternatives"},
		"told apart by a field":     {`{"oneOf":[` + object(`"k":{"const":1}`, "k") + `,` + object(`"k":{"const":2}`, "k") + `]}`, `{"oneOf":[` + object(`"k":{"const":1}`, "k") + `,` + object(`"k":{"const":2}`, "k") + `,` + object(`"k":{"const":3}`, "k") + `]}`, "", "at /"},
		"overlapping, unchanged":    {`{"title":"a","oneOf":[{"minimum":1},{"maximum":3}]}`, `{"oneOf":[{"minimum":1},{"maximum":3}]}`, "", ""},
		"if and then":               {`{"title":"a","if":{"required":["a"]},"then":{"required":["b"]}}`, `{"if":{"required":["a"]},"then":{"required":["b"]}}`, "", ""},
		"then dropped":              {`{"if":{"required":["a"]},"then":{"required":["b"]}}`, `{}`, "", "at /b: the old schema requires it"},
		"not":                       {`{"not":{"type":"string"},"minimum":2}`, `{"not":{"enum":["a"]}}`, "", "is not shown to be without what the old schema excludes"},
		"a tuple":                   {`{"prefixItems":[{"type":"string"}],"items":false,"type":"array"}`, `{"prefixItems":[{"type":"string"},{"type":"integer"}],"items":false,"type":"array"}`, "", "at /1: new data may have a value here, the old schema allows none"},
		"brings with it":            {`{"dependentRequired":{"a":["b","c"]}}`, `{"dependentRequired":{"a":["b"]}}`, "", `at /a: with it the old schema requires "c"`},
		"contains":                  {`{"type":"array","contains":{"const":1},"minContains":2}`, `{"type":"array","contains":{"type":"integer"}}`, "", "counts items of a kind"},
		"pattern properties":        {`{"type":"object","patternProperties":{"^x-":{"type":"integer"}},"additionalProperties":false}`, `{"type":"object","patternProperties":{"^x-":{"type":"number"}}}`, "", "at /*: new data may be a number that is no integer"},
		"names":                     {`{"propertyNames":{"maxLength":3}}`, `{"propertyNames":{"maxLength":4}}`, "", "at /*: the old schema allows at most 3 characters"},
		"what nobody compares":      {`{"type":"object"}`, `{"type":"object","unevaluatedProperties":false}`, "which is not compared", ""},
		"another draft":             {`{"$schema":"http://json-schema.org/draft-07/schema#","type":"string"}`, `{"type":"string"}`, "only draft 2020-12 is compared", "only draft 2020-12 is compared"},
		"everything":                {`{"type":"string"}`, `true`, "", "at /: new data may be null or boolean or number or array or object, the old schema wants string"},
		"nothing":                   {`{"type":"string"}`, `false`, "at /: old data may have a value here, the new schema allows none", ""},
		"a nullable object, closed": {`{"anyOf":[{"type":"null"},{"type":"object","properties":{"a":{"type":"string"}}}]}`, `{"anyOf":[{"type":"null"},{"type":"object","properties":{"a":{"type":"string"},"b":{}},"additionalProperties":false}]}`, "at /*", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, side := range []struct {
				mode Mode
				want string
			}{{Backward, tt.backward}, {Forward, tt.forward}} {
				list, err := Compatible([]json.RawMessage{json.RawMessage(tt.old)}, json.RawMessage(tt.new), Policy{Mode: side.mode})
				if err != nil {
					t.Fatal(err)
				}
				if got := fmt.Sprint(list); (side.want == "") != (len(list) == 0) || !strings.Contains(got, side.want) {
					t.Errorf("%s: got %s\nwant %q", side.mode, got, side.want)
				}
			}
		})
	}
}

// TestDeclared names what is compatible only where writers write what is declared.
func TestDeclared(t *testing.T) {
	for name, tt := range map[string]struct {
		old, new string
		want     bool
	}{
		"a new property":              {`{"type":"object","properties":{"a":{}}}`, `{"type":"object","properties":{"a":{},"b":{"type":"string"}}}`, true},
		"a new one, in an item":       {`{"items":{"type":"object","properties":{"a":{}}}}`, `{"items":{"type":"object","properties":{"a":{},"b":{"type":"string"}}}}`, true},
		"nullable":                    {`{"anyOf":[{"type":"null"},{"type":"object","properties":{"a":{}}}]}`, `{"anyOf":[{"type":"null"},{"type":"object","properties":{"a":{},"b":{"type":"string"}}}]}`, true},
		"declared by an alternative":  {`{"type":"object","anyOf":[{"properties":{"a":{}}},{"properties":{"b":{}}}]}`, `{"type":"object","properties":{"b":{"type":"string"}}}`, false},
		"any object":                  {`{"type":"object"}`, `{"type":"object","properties":{"b":{"type":"string"}}}`, false},
		"declared by what it carries": {`{"type":"object","properties":{"a":{}},"dependentSchemas":{"a":{"properties":{"b":{}}}}}`, `{"type":"object","properties":{"a":{},"b":{"type":"string"}}}`, false},
		"open by word":                {`{"type":"object","properties":{"a":{}},"additionalProperties":true}`, `{"type":"object","properties":{"a":{},"b":{"type":"string"}}}`, false},
		"an item declares more":       {`{"items":{"properties":{"a":{}}},"contains":{"properties":{"b":{}}}}`, `{"items":{"properties":{"b":{"type":"string"}}}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := Compatible([]json.RawMessage{json.RawMessage(tt.old)}, json.RawMessage(tt.new), Policy{Backward, true})
			if err != nil {
				t.Fatal(err)
			}
			if (len(list) == 0) != tt.want {
				t.Errorf("got %v", list)
			}
		})
	}
}

func TestModes(t *testing.T) {
	versions := []json.RawMessage{json.RawMessage(`{"type":"integer"}`), json.RawMessage(`{"type":"number"}`)}
	narrow := json.RawMessage(`{"type":["number","null"]}`)
	for mode, want := range map[Mode]string{
		None: "[]", Backward: "[]", BackwardTransitive: "[]",
		Forward:           "[version 2 at /: new data may be null, the old schema wants number (breaks old readers)]",
		Full:              "[version 2 at /: new data may be null, the old schema wants number (breaks old readers)]",
		ForwardTransitive: "[version 1 at /: new data may be null or a number that is no integer, the old schema wants integer (breaks old readers) version 2 at /: new data may be null, the old schema wants number (breaks old readers)]",
		FullTransitive:    "[version 1 at /: new data may be null or a number that is no integer, the old schema wants integer (breaks old readers) version 2 at /: new data may be null, the old schema wants number (breaks old readers)]",
	} {
		list, err := Compatible(versions, narrow, Policy{Mode: mode})
		if got := fmt.Sprint(list); err != nil || got != want {
			t.Errorf("%s: got %s %v\nwant %s", mode, got, err, want)
		}
		if refused := Refusal("x", list); (refused == nil) != (want == "[]") || refused != nil && !errors.Is(refused, fault.Conflict) {
			t.Errorf("%s: refused with %v", mode, refused)
		}
	}
	if _, err := Compatible(versions, narrow, Policy{Mode: "backwards"}); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), `did you mean "backward"`) {
		t.Errorf("got %v", err)
	}
	if _, err := Compatible(versions, json.RawMessage(`{"type":7}`), Policy{Mode: Full}); !errors.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}

// TestComparisonKnowsEveryRule fails when the validator learns a rule that a comparison would miss.
func TestComparisonKnowsEveryRule(t *testing.T) {
	known := []string{
		"DraftVersion", "Location", "ID", "Anchor", "RecursiveAnchor", "DynamicAnchor", "Title", "Description", // no rules
		"Default", "Comment", "ReadOnly", "WriteOnly", "Examples", "Deprecated",
		"RecursiveRef", "DynamicRef", "Extensions", "Items", "AdditionalItems", // oddity, and what draft 2020-12 has not
		"Bool", "Ref", "Types", "Enum", "Const", "Not", "AllOf", "AnyOf", "OneOf", "If", "Then", "Else", "Format",
		"MaxProperties", "MinProperties", "Required", "PropertyNames", "Properties", "PatternProperties", "AdditionalProperties",
		"Dependencies", "DependentRequired", "DependentSchemas", "UnevaluatedProperties",
		"MinItems", "MaxItems", "UniqueItems", "Contains", "MinContains", "MaxContains", "PrefixItems", "Items2020", "UnevaluatedItems",
		"MinLength", "MaxLength", "Pattern", "ContentEncoding", "ContentMediaType", "ContentSchema",
		"Maximum", "Minimum", "ExclusiveMaximum", "ExclusiveMinimum", "MultipleOf",
	}
	for f := range reflect.TypeFor[validator.Schema]().Fields() {
		if f.IsExported() && !slices.Contains(known, f.Name) {
			t.Errorf("%s is not compared", f.Name)
		}
	}
}

// whole makes schemas with all that is compared, and values that nearly fit them.
type whole struct{ maker }

func (m whole) schema(depth int) string {
	if depth == 0 || m.often(5) {
		return m.maker.schema(depth)
	}
	inner := func() string { return m.schema(depth - 1) }
	some := func() string {
		list := []string{inner()}
		for m.often(5) {
			list = append(list, inner())
		}
		return strings.Join(list, ",")
	}
	rules := []string{m.one(`"title":"x"`, `"type":["object","array"]`, `"type":"object"`, `"minimum":1`, `"multipleOf":2`, `"pattern":"^a"`, `"uniqueItems":true`)}
	shapes := []string{ // a schema in the place of each $, some of them in that of @
		`"anyOf":[@]`, `"oneOf":[@]`, `"allOf":[@]`, `"not":$`, `"if":$,"then":$`, `"if":$,"then":$,"else":$`,
		`"patternProperties":{"^n":$}`, `"patternProperties":{"a":$,"^n":$},"additionalProperties":$`,
		`"properties":{"a":$,"n":$}`, `"properties":{"a":{"\u0024ref":"#"}}`, `"items":{"\u0024ref":"#"}`,
		`"prefixItems":[@],"items":$`, `"contains":$`, `"contains":$,"minContains":2,"maxContains":3`,
		`"propertyNames":{"maxLength":1}`, `"propertyNames":$`, `"dependentRequired":{"a":["n"]}`, `"dependentSchemas":{"a":$}`,
		`"required":["a"]`, `"unevaluatedProperties":false`, `"minItems":1`, `"maxProperties":1`,
	}
	for range 1 + m.IntN(2) {
		var rule strings.Builder
		for _, r := range m.one(shapes...) {
			switch r {
			case '$':
				rule.WriteString(inner())
			case '@':
				rule.WriteString(some())
			default:
				rule.WriteRune(r)
			}
		}
		rules = append(rules, rule.String())
	}
	seen := map[string]bool{}
	rules = slices.DeleteFunc(rules, func(rule string) bool {
		key, _, _ := strings.Cut(rule, ":")
		if key == `"prefixItems"` {
			key = `"items"` // as it has items too
		}
		before := seen[key] || strings.Contains(rule, `"additionalProperties"`) && seen[`"patternProperties"`]
		seen[key] = true
		return before
	})
	return "{" + strings.Join(rules, ",") + "}"
}

// evolved changes a schema in a few places as people do, or makes another one.
func (m whole) evolved(doc any, depth int) any {
	rules, ok := doc.(map[string]any)
	if !ok || m.often(1) {
		return decoded(m.schema(min(depth, 2)))
	}
	out := map[string]any{}
	for _, key := range sorted(rules) {
		v := rules[key]
		switch {
		case m.often(1):
			continue
		case key == "properties" && m.often(5):
			members := map[string]any{m.name(): decoded(m.schema(1))}
			if old, isObject := v.(map[string]any); isObject {
				for name, one := range old {
					members[name] = one
				}
			}
			v = members
		case key == "additionalProperties" && m.often(3):
			v = m.often(5)
		case key == "type" && m.often(3):
			v = []any{"null", "integer", "string", "object"}
		case key == "anyOf" || key == "allOf" || key == "oneOf":
			var list []any
			for _, one := range v.([]any) {
				if m.often(3) {
					one = m.evolved(one, depth-1)
				}
				list = append(list, one)
			}
			v = list
		case (key == "items" || key == "not" || key == "then" || key == "contains") && m.often(5):
			v = m.evolved(v, depth-1)
		case strings.HasPrefix(key, "min") || strings.HasPrefix(key, "max"):
			if m.often(5) {
				v = json.Number(fmt.Sprint(m.limit()))
			}
		}
		out[key] = v
	}
	if _, has := out["$ref"]; !has && m.often(1) {
		out["required"] = []any{m.name()}
	}
	return out
}

func sorted(m map[string]any) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func decoded(raw string) any {
	v, err := decode([]byte(raw))
	if err != nil {
		panic(raw + ": " + err.Error())
	}
	return v
}

// values makes values that one of the schemas may accept.
func (m whole) values(n int, docs ...any) [][]byte {
	var out [][]byte
	for i := range n {
		doc := docs[i%len(docs)]
		for range 3 { // into an alternative
			rules, ok := doc.(map[string]any)
			if !ok {
				break
			}
			for _, key := range []string{"anyOf", "oneOf", "allOf"} {
				if list, ok := rules[key].([]any); ok && m.often(5) {
					doc = list[m.IntN(len(list))]
				}
			}
			for _, key := range []string{"then", "if", "else", "not"} {
				if inner, ok := rules[key]; ok && m.often(3) {
					doc = inner
				}
			}
		}
		out = append(out, []byte(m.maker.value(doc, 4)))
	}
	return out
}

// sound fails t if old is said to fit new and a value shows that it does not.
func sound(t *testing.T, oldRaw, newRaw string, values [][]byte) (compatible bool, accepted int) {
	t.Helper()
	a, b := compiled(t, oldRaw), compiled(t, newRaw)
	why := a.fits(b, false, "old", "new")
	for _, v := range values {
		if a.Check(v) != nil {
			continue
		}
		accepted++
		if err := b.Check(v); err != nil && len(why) == 0 {
			t.Errorf("old %s\nnew %s\nsaid to be compatible; %s says no: %v", oldRaw, newRaw, v, err)
		}
	}
	return len(why) == 0, accepted
}

// TestCompatibleIsSound compares the verdict with the validator on many pairs of one seed, and wants both verdicts often.
func TestCompatibleIsSound(t *testing.T) {
	const pairs, valuesEach = 1500, 40
	m := whole{maker{rand.New(rand.NewPCG(11, 23))}}
	var compatible, evolvedToo, accepted int
	for i := range pairs {
		oldRaw := m.schema(3)
		doc := decoded(oldRaw)
		newRaw := oldRaw
		if i%20 != 0 {
			newRaw = text(m.evolved(doc, 3))
		}
		if _, err := Compile(json.RawMessage(oldRaw)); err != nil {
			continue // as one that refers to itself without end
		}
		if _, err := Compile(json.RawMessage(newRaw)); err != nil {
			continue
		}
		ok, n := sound(t, oldRaw, newRaw, m.values(valuesEach, doc, decoded(newRaw)))
		accepted += n
		if ok {
			compatible++
			if newRaw != oldRaw {
				evolvedToo++
			}
		}
	}
	t.Logf("%d pairs, %d compatible, %d of them after a change; %d values accepted", pairs, compatible, evolvedToo, accepted)
	if compatible < pairs/10 || evolvedToo < pairs/20 || accepted < pairs*valuesEach/10 {
		t.Error("the test compares too little")
	}
}

// TestDeclaredIsSound is the same for writers that write what is declared, with values that hold nothing else.
func TestDeclaredIsSound(t *testing.T) {
	m := whole{maker{rand.New(rand.NewPCG(5, 9))}}
	found := 0
	for range 1500 {
		oldRaw := m.schema(3)
		doc := decoded(oldRaw)
		newRaw := text(m.evolved(doc, 3))
		a, err := Compile(json.RawMessage(oldRaw))
		if err != nil {
			continue
		}
		b, err := Compile(json.RawMessage(newRaw))
		if err != nil || len(a.fits(b, true, "old", "new")) > 0 || len(a.fits(b, false, "old", "new")) == 0 {
			continue
		}
		found++
		names := map[string]bool{}
		declaredNames(doc, names)
		for _, v := range m.values(60, doc) {
			if a.Check(v) == nil && onlyNames(decoded(string(v)), names) && b.Check(v) != nil && flat(doc) {
				t.Errorf("old %s\nnew %s\n%s", oldRaw, newRaw, v)
			}
		}
	}
	if found < 8 {
		t.Errorf("only %d pairs are compatible by what is declared alone", found)
	}
}

// declaredNames collects the names of properties at any depth.
func declaredNames(doc any, names map[string]bool) {
	switch doc := doc.(type) {
	case map[string]any:
		if members, ok := doc["properties"].(map[string]any); ok {
			for name := range members {
				names[name] = true
			}
		}
		for _, one := range doc {
			declaredNames(one, names)
		}
	case []any:
		for _, one := range doc {
			declaredNames(one, names)
		}
	}
}

func onlyNames(v any, names map[string]bool) bool {
	switch v := v.(type) {
	case map[string]any:
		for name, one := range v {
			if !names[name] || !onlyNames(one, names) {
				return false
			}
		}
	case []any:
		for _, one := range v {
			if !onlyNames(one, names) {
				return false
			}
		}
	}
	return true
}

// flat says that all properties of a schema are declared at one place, so that a name at any depth is one that is declared there.
func flat(doc any) bool {
	return strings.Count(text(doc), `"properties"`) <= 1
}

func FuzzCompatible(f *testing.F) {
	f.Add(`{"type":"integer"}`, `{"type":"number"}`, []byte(`1`))
	f.Add(`{"anyOf":[{"type":"null"},{"items":{"$ref":"#"}}]}`, `{"oneOf":[{"type":"null"},{"type":"array"}]}`, []byte(`[null]`))
	f.Add(`{"properties":{"a":{}},"additionalProperties":false}`, `{"propertyNames":{"const":"a"}}`, []byte(`{"a":1}`))
	m := whole{maker{rand.New(rand.NewPCG(3, 4))}}
	for range 30 {
		raw := m.schema(2)
		doc := decoded(raw)
		for _, v := range m.values(1, doc) {
			f.Add(raw, text(m.evolved(doc, 2)), v)
		}
	}
	f.Fuzz(func(t *testing.T, oldRaw, newRaw string, value []byte) {
		for _, raw := range []string{oldRaw, newRaw} {
			if _, err := Compile(json.RawMessage(raw)); err != nil || len(value) > DataMax {
				return
			}
		}
		sound(t, oldRaw, newRaw, [][]byte{value})
	})
}
