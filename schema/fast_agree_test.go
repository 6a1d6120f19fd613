package schema

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
)

// agree fails t if the shortcut is sure of what the validator refuses, and says what each said.
func agree(t *testing.T, s *Schema, raw string, data []byte) (sure, valid bool) {
	t.Helper()
	sure = shortcut(s).surely(data)
	err := s.validate(data)
	if sure && err != nil {
		t.Errorf("schema %s\nvalue %q\nthe shortcut is sure, the validator says %v", raw, data, err)
	}
	if sure && !json.Valid(data) {
		t.Errorf("value %q: the shortcut takes it for JSON", data)
	}
	return sure, err == nil
}

// TestFastAgrees compares the shortcut with the validator on many schemas and values of one seed.
// It also wants the shortcut to be taken for most of what is valid: asking always agrees, too.
func TestFastAgrees(t *testing.T) {
	const schemas, valuesEach = 800, 30
	m := maker{rand.New(rand.NewPCG(7, 19))}
	var sureCount, validCount, pairs int
	for range schemas {
		raw := m.schema(3)
		s := compiled(t, raw)
		if shortcut(s) == nil {
			t.Fatalf("%s has no shortcut", raw)
		}
		doc, err := decode([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		for range valuesEach {
			sure, valid := agree(t, s, raw, m.mutate(m.value(doc, 4)))
			pairs++
			if valid {
				validCount++
			}
			if sure {
				sureCount++
			}
		}
	}
	t.Logf("%d pairs, %d valid, %d surely", pairs, validCount, sureCount)
	if validCount < pairs/10 || pairs-validCount < pairs/10 {
		t.Errorf("of %d values %d are valid: the test compares too little", pairs, validCount)
	}
	if sureCount < validCount*9/10 {
		t.Errorf("of %d valid values the shortcut was sure of only %d", validCount, sureCount)
	}
}

// FuzzFastAgrees holds the shortcut to the validator for any schema and any bytes.
func FuzzFastAgrees(f *testing.F) {
	f.Add(tiny, []byte(`{"n":1}`))
	f.Add(``, []byte(` [1,-2.5e+3,"a\"\\b\u00e9",true,false,null,{},[]]`))
	f.Add(reportSchema, []byte(reportData))
	f.Add(`{"enum":["a",1,null,true]}`, []byte(`"a"`))
	f.Add(`{"exclusiveMinimum":-1,"maximum":3,"type":"number"}`, []byte(`-0.5`))
	f.Add(`{"minLength":2,"maxLength":3}`, []byte(`"\ud83d\ude00é"`))
	f.Add(`{"minProperties":2,"additionalProperties":{"type":["null","integer"]}}`, []byte(`{"a":1,"a":2,"b":null}`))
	f.Add(`{"items":{"items":{"const":0}},"minItems":1,"maxItems":2}`, []byte("[[0,-0],[]]"))
	f.Add(`{"$schema":"http://json-schema.org/draft-04/schema#","maximum":3,"exclusiveMaximum":true}`, []byte("3"))
	m := maker{rand.New(rand.NewPCG(1, 2))}
	for range 20 {
		raw := m.schema(2)
		doc, err := decode([]byte(raw))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, m.mutate(m.value(doc, 3)))
	}
	f.Fuzz(func(t *testing.T, raw string, data []byte) {
		s, err := Compile(json.RawMessage(raw))
		if err != nil || len(data) > DataMax {
			return
		}
		agree(t, s, raw, data)
	})
}
