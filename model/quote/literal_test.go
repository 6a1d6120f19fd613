package quote

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStatedValues(t *testing.T) {
	enum := []any{"low", "low risk", "high", true, json.Number("7"), nil}
	integer := func(text string) (any, bool) { return literal("integer", text) }
	number := func(text string) (any, bool) { return literal("number", text) }
	boolean := func(text string) (any, bool) { return literal("boolean", text) }
	word := func(text string) (any, bool) { return choice(enum, text) }
	tests := map[string]struct {
		field, text string
		read        func(string) (any, bool)
		want        any
	}{
		"colon":                {"count", "count: 12", integer, json.Number("12")},
		"equals":               {"count", "the Count=12;", integer, json.Number("12")},
		"is":                   {"count", "The count is 12.", integer, json.Number("12")},
		"in bold":              {"count", "**count**: 12", integer, json.Number("12")},
		"of two words":         {"lineCount", "line-count: 3", integer, json.Number("3")},
		"with a unit":          {"coverage", "coverage: 12% of it", integer, json.Number("12")},
		"end of a clause":      {"count", "count: 12, and more", integer, json.Number("12")},
		"negative":             {"count", "count: -12", integer, json.Number("-12")},
		"fraction":             {"ratio", "ratio: 0.25", number, json.Number("0.25")},
		"fraction, whole":      {"ratio", "ratio: 0.25", integer, nil},
		"the second says it":   {"count", "count: none, count: 4", integer, json.Number("4")},
		"a version":            {"go", "go: 1.26.0", number, nil},
		"a date":               {"year", "year: 2026-01-02", integer, nil},
		"thousands":            {"count", "count: 12,000", integer, nil},
		"an address":           {"port", "port: 80:81", integer, nil},
		"with letters":         {"count", "count: 12th", integer, nil},
		"part of another name": {"count", "discount: 12", integer, nil},
		"end of another name":  {"count", "line_count: 12", integer, nil},
		"only the word":        {"count", "count 12", integer, nil},
		"no name":              {"", ": 12", integer, nil},
		"signs alone":          {"--", "--: 12", integer, nil},
		"name too long":        {strings.Repeat("a", 200), strings.Repeat("a", 200) + ": 1", integer, nil},
		"true":                 {"signed", "signed: TRUE", boolean, true},
		"false":                {"signed", "signed: false", boolean, false},
		"neither":              {"signed", "signed: falsely", boolean, nil},
		"word":                 {"risk", "Risk: High!", word, "high"},
		"longest word":         {"risk", "risk: low risk", word, "low risk"},
		"word's beginning":     {"risk", "risk: highest", word, nil},
		"number of an enum":    {"risk", "risk: 7", word, json.Number("7")},
		"truth of an enum":     {"risk", "risk: true", word, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got any
			for _, text := range newStatement(tt.field).values(passage{text: tt.text, lower: strings.ToLower(tt.text)}) {
				if v, ok := tt.read(text); ok {
					got = v
					break
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefer(t *testing.T) {
	root := json.RawMessage(`{"$defs":{"a/b":{"type":"string"},"list":[{"type":"null"},{"type":"integer"}]},"type":"object"}`)
	tests := map[string]struct{ ref, want string }{
		"the whole":        {"#", "object"},
		"escaped":          {"#/$defs/a~1b", "string"},
		"in a list":        {"#/$defs/list/1", "integer"},
		"beyond the list":  {"#/$defs/list/2", ""},
		"before the list":  {"#/$defs/list/-1", ""},
		"nothing":          {"#/$defs/c", ""},
		"an anchor":        {"#c", ""},
		"another document": {"x.json#/a", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n, err := refer(root, tt.ref)
			if err != nil {
				n = &node{}
			}
			if diff := cmp.Diff(tt.want, strings.Join(n.Type, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
