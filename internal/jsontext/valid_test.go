package jsontext

import (
	"encoding/json"
	"strings"
	"testing"
)

var texts = []string{
	``, ` `, `0`, `-0`, `00`, `01`, `-`, `+1`, `1.`, `.5`, `1.5`, `1e`, `1e5`, `1E+05`, `1e-`, `-0.0e-0`, `1 2`, `0x1`, `null`, `nul`, `nulls`, `true`, `false `, ` fals`, `NaN`,
	`""`, `"`, `"a`, `"\`, `"\"`, `"\""`, `"\u00e4"`, `"\u00g4"`, `"\u00"`, `"\u`, `"\x"`, `"\/\b\f\n\r\t\\"`, "\"\x1f\"", "\"\x20\"", "\"\x7f\xff\xfe\"", "\"tab\t\"",
	`"1234567"`, `"12345678"`, `"1234567\"8"`, `"12345678`, "\"1234567\n89\"", "\"12345\x00\"", "\"!\"", "\"1234567!\"", "\"#1234567]\"",
	`[]`, `[ ]`, `[1,2]`, `[1,]`, `[,1]`, `[1 2]`, `[`, `]`, `[[[]]]`, `[[]`, `{}`, `{ }`, `{"a":1}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":1,"a":[{"b":null}]}`, `{`, `}`, `{"a`, `{"a":1`,
	"\ufeff1", "1\x00", "\t\n\r {\"a\" : [ 1 , \"x\" ] } \n", strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001),
	strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), strings.Repeat(`{"a":`, 10_001) + "1" + strings.Repeat("}", 10_001), strings.Repeat("[", 1<<20),
}

func TestValid(t *testing.T) {
	for _, s := range texts {
		if got, want := Valid([]byte(s)), json.Valid([]byte(s)); got != want {
			t.Errorf("%.40q: %v; encoding/json says %v", s, got, want)
		}
	}
	for at := range 20 { // each byte at each place of a word
		for c := range 256 {
			b := []byte(`"` + strings.Repeat("x", 20) + `"`)
			b[1+at] = byte(c)
			if got, want := Valid(b), json.Valid(b); got != want {
				t.Errorf("%q: %v; encoding/json says %v", b, got, want)
			}
		}
	}
}

// FuzzValid compares with encoding/json.
func FuzzValid(f *testing.F) {
	for _, s := range texts {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := Valid(b), json.Valid(b); got != want {
			t.Errorf("%q: %v; encoding/json says %v", b, got, want)
		}
	})
}

func BenchmarkValid(b *testing.B) {
	for name, valid := range map[string]func([]byte) bool{"here": Valid, "encoding/json": json.Valid} {
		for kind, data := range map[string]string{"text": `"` + strings.Repeat("x", 16<<10) + `"`, "records": "[" + strings.Repeat(`{"sku":"A-17","count":2,"note":null},`, 455) + "0]"} {
			b.Run(kind+" of 16 KiB "+name, func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				for b.Loop() {
					if !valid([]byte(data)) {
						b.Fatal("not JSON")
					}
				}
			})
		}
	}
}
