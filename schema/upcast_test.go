package schema_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"polity.run/fault"
	"polity.run/schema"
)

func ExampleMapping() {
	var m schema.Mapping
	err := json.Unmarshal([]byte(`[
		{"rename": "/lines/*/qty", "to": "quantity"},
		{"move": "/customer_name", "to": "/customer/name"},
		{"default": "/currency", "value": "EUR"},
		{"drop": "/legacy"}
	]`), &m)
	if err != nil {
		panic(err)
	}
	out, err := m.Apply(json.RawMessage(`{"customer_name": "Ada", "lines": [{"qty": 2.50}, {"qty": 1}], "legacy": true}`))
	if err != nil {
		panic(err)
	}
	fmt.Println(string(out))
	// Output: {"currency":"EUR","customer":{"name":"Ada"},"lines":[{"quantity":2.50},{"quantity":1}]}
}

func ExampleUpcasts() {
	// Version 1 were cents, version 2 the same in whole units, version 3 has a currency.
	prices := schema.Upcasts[string]{
		func(cents string) (string, error) { return cents + "/100", nil },
		func(units string) (string, error) { return units + " EUR", nil },
	}
	for _, version := range []int{1, 2, 3, 4} {
		price, err := prices.Read("250", version, schema.Range{From: 2, To: 3})
		fmt.Println(version, price, err)
	}
	// Output:
	// 1 250 version 1 is older than what is read here, which is 2-3
	// 2 250 EUR <nil>
	// 3 250 <nil>
	// 4 250 version 4 is newer than what is read here, which is 2-3: upgrade the reader first
}

func TestMapping(t *testing.T) {
	for name, tt := range map[string]struct{ mapping, data, want string }{
		"nothing there":          {`[{"rename":"/a/b","to":"c"},{"move":"/x","to":"/y"},{"drop":"/z"}]`, `{"a":1}`, `{"a":1}`},
		"a default in each":      {`[{"default":"/*/n","value":{"x":[1]}}]`, `[{"n":null},{}]`, `[{"n":null},{"n":{"x":[1]}}]`},
		"no object, no default":  {`[{"default":"/a/n","value":1}]`, `{}`, `{}`},
		"of every property":      {`[{"drop":"/*/n"}]`, `{"a":{"n":1},"b":{"n":2,"m":3},"c":4}`, `{"a":{},"b":{"m":3},"c":4}`},
		"upward":                 {`[{"move":"/a/b","to":"/b"},{"drop":"/a"}]`, `{"a":{"b":1}}`, `{"b":1}`},
		"escaped":                {`[{"rename":"/a~1b","to":"c~d"}]`, `{"a/b":1}`, `{"c~d":1}`},
		"in order":               {`[{"rename":"/a","to":"b"},{"rename":"/b","to":"c"}]`, `{"a":"<é>"}`, `{"c":"<é>"}`},
		"numbers as they were":   {`[]`, `{"n":1.50e2,"big":123456789012345678901}`, `{"big":123456789012345678901,"n":1.50e2}`},
		"taken":                  {`[{"rename":"/a","to":"b"}]`, `{"a":1,"b":2}`, `"a" cannot become "b", which is there already`},
		"a number on the way":    {`[{"move":"/a","to":"/b/c"}]`, `{"a":1,"b":2}`, `something else than an object`},
		"an array at the top":    {`[{"rename":"/a","to":"b"}]`, `[1]`, `[1]`},
		"no JSON":                {`[]`, `{"a"`, `not JSON`},
		"two at once":            {`[{"rename":"/a","drop":"/b","to":"c"}]`, `{}`, `set exactly one`},
		"none":                   {`[{"to":"c"}]`, `{}`, `set exactly one`},
		"without to":             {`[{"rename":"/a"}]`, `{}`, `have a "to"`},
		"without value":          {`[{"default":"/a"}]`, `{}`, `has a "value"`},
		"a value too many":       {`[{"drop":"/a","value":1}]`, `{}`, `has a "value"`},
		"no pointer":             {`[{"drop":"a"}]`, `{}`, `want a JSON pointer`},
		"all of them":            {`[{"drop":"/a/*"}]`, `{}`, `ends with *`},
		"a place as a name":      {`[{"rename":"/a","to":"/b"}]`, `{}`, `rename wants a name`},
		"many moved":             {`[{"move":"/*/a","to":"/b"}]`, `{}`, `* stands for many`},
		"into itself":            {`[{"move":"/a","to":"/a/b"}]`, `{}`, `into itself`},
		"an unknown field":       {`[{"renam":"/a","to":"b"}]`, `{}`, `did you mean "rename"?`},
		"null, and not there":    {`[{"default":"/a","value":null}]`, `{}`, `{"a":null}`},
		"each with its own copy": {`[{"default":"/*/a","value":{}},{"default":"/x/a/b","value":1}]`, `{"x":{},"y":{}}`, `{"x":{"a":{"b":1}},"y":{"a":{}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			var m schema.Mapping
			err := json.Unmarshal([]byte(tt.mapping), &m)
			if err == nil {
				err = m.Check()
			}
			var out json.RawMessage
			if err == nil {
				out, err = m.Apply(json.RawMessage(tt.data))
			}
			if err != nil && (!errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.want)) || err == nil && string(out) != tt.want {
				t.Errorf("got %s %v\nwant %s", out, err, tt.want)
			}
		})
	}
}

// FuzzMapping wants changes that pass the check to make JSON of JSON, and the same of the same.
func FuzzMapping(f *testing.F) {
	f.Add([]byte(`[{"rename":"/a/*","to":"c"},{"move":"/x","to":"/y/z"}]`), []byte(`{"a":[{}],"x":1}`))
	f.Add([]byte(`[{"default":"/*/a","value":[1]},{"drop":"/~01"}]`), []byte(`[{"a":2},{}]`))
	f.Fuzz(func(t *testing.T, mapping, data []byte) {
		var m schema.Mapping
		if json.Unmarshal(mapping, &m) != nil || m.Check() != nil {
			return
		}
		out, err := m.Apply(data)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		again, err := m.Apply(data)
		if err != nil || string(again) != string(out) || !json.Valid(out) {
			t.Fatalf("%s and %s %v", out, again, err)
		}
	})
}

func TestRange(t *testing.T) {
	for text, want := range map[string]string{"3": "3", "1-3": "1-3", "v2-v4": "2-4", "0": "", "3-1": "", "x": "", "": "", "1-": ""} {
		r, err := schema.ParseRange(text)
		if want == "" != (err != nil) || err == nil && r.String() != want {
			t.Errorf("%q: got %v %v", text, r, err)
		}
	}
	if _, err := (schema.Upcasts[int]{nil}).Read(1, 1, schema.Range{From: 1, To: 3}); !errors.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}
