package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// maker makes schemas of the subset that has a shortcut, and values that nearly fit them. The same
// seed makes the same ones.
type maker struct{ *rand.Rand }

func (m maker) one(of ...string) string { return of[m.IntN(len(of))] }

// often says true n times in ten.
func (m maker) often(n int) bool { return m.IntN(10) < n }

func (m maker) name() string { return m.one("a", "b", "n", "née", "A", "", "a b", "name", "names") }

func (m maker) scalar() string {
	return m.one(`"a"`, `"é"`, `""`, `"for"`, `0`, `1`, `-1`, `7`, `100`, `true`, `false`, `null`)
}

func (m maker) limit() int { return m.IntN(5) }

// schema makes the text of a schema that goes at most depth levels down.
func (m maker) schema(depth int) string {
	if depth == 0 || m.often(1) {
		return m.one(`true`, `{}`, `{"type":"integer"}`, `{"type":"string"}`, `{"type":"number"}`, `{"type":"boolean"}`, `{"type":["null","string"]}`)
	}
	var rules []string
	add := func(tenths int, format string, make func() any) {
		if m.often(tenths) {
			rules = append(rules, fmt.Sprintf(format, make()))
		}
	}
	limit := func() any { return m.limit() }
	bound := func() any { return m.IntN(9) - 4 }
	inner := func() any { return m.schema(depth - 1) }
	kind := m.one("object", "object", "array", "string", "number", "integer", "any", "listed")
	add(6, `"type":%s`, func() any { return m.types(kind) })
	add(1, `"title":%q`, func() any { return m.name() })
	add(1, `"format":%q`, func() any { return m.one("date-time", "email", "own") })
	switch kind {
	case "object":
		add(9, `"properties":{%s}`, func() any { return m.properties(depth) })
		add(6, `"required":[%s]`, func() any { return m.required() })
		add(5, `"additionalProperties":%s`, func() any { return m.one("false", "true", m.schema(depth-1)) })
		add(1, `"minProperties":%d`, limit)
		add(1, `"maxProperties":%d`, limit)
	case "array":
		add(8, `"items":%s`, inner)
		add(2, `"minItems":%d`, limit)
		add(2, `"maxItems":%d`, limit)
	case "string":
		add(5, `"minLength":%d`, limit)
		add(5, `"maxLength":%d`, limit)
	case "number", "integer":
		add(4, `"minimum":%d`, bound)
		add(4, `"maximum":%d`, bound)
		add(2, `"exclusiveMinimum":%d`, bound)
		add(2, `"exclusiveMaximum":%d`, bound)
	case "listed":
		if m.often(3) {
			add(10, `"const":%s`, func() any { return m.scalar() })
		} else {
			add(10, `"enum":[%s]`, func() any { return m.distinct(m.scalar) })
		}
	}
	return "{" + strings.Join(rules, ",") + "}"
}

func (m maker) types(kind string) string {
	switch kind {
	case "any":
		return `["object","array","integer"]`
	case "listed":
		return `["string","integer","boolean","null"]`
	}
	return m.one(`"`+kind+`"`, `"`+kind+`"`, `["null","`+kind+`"]`)
}

// distinct makes up to four texts that differ, in a row.
func (m maker) distinct(make func() string) string {
	var out []string
	for range 1 + m.IntN(4) {
		if text := make(); !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return strings.Join(out, ",")
}

func (m maker) required() string {
	return m.distinct(func() string { return quote(m.name()) })
}

func (m maker) properties(depth int) string {
	var parts []string
	for _, name := range strings.Split(m.distinct(func() string { return quote(m.name()) }), ",") {
		parts = append(parts, name+":"+m.schema(depth-1))
	}
	return strings.Join(parts, ",")
}

func quote(s string) string { return `"` + s + `"` }

// value makes the text of a value that mostly fits the schema, as decode returns it.
func (m maker) value(schema any, depth int) string {
	rules, ok := schema.(map[string]any)
	if !ok || depth == 0 || m.often(1) {
		return m.free(depth)
	}
	if v, ok := rules["const"]; ok {
		return text(v)
	}
	if list, ok := rules["enum"].([]any); ok {
		return text(list[m.IntN(len(list))])
	}
	switch m.kind(rules) {
	case "object":
		return m.object(rules, depth)
	case "array":
		var parts []string
		for range m.limit() {
			parts = append(parts, m.value(rules["items"], depth-1))
		}
		return "[" + strings.Join(parts, m.one(",", " , ")) + "]"
	case "string":
		return m.one(`"a"`, `"ab"`, `"éé"`, `"abc"`, `"a\n\"b"`, `"\u00e9\ud83d\ude00"`, `""`)
	case "integer", "number":
		return m.number()
	case "boolean":
		return m.one("true", "false")
	case "null":
		return "null"
	default:
		return m.free(depth)
	}
}

// kind chooses what sort of value the rules speak of.
func (m maker) kind(rules map[string]any) string {
	switch types := rules["type"].(type) {
	case string:
		return types
	case []any:
		if kind, ok := types[m.IntN(len(types))].(string); ok {
			return kind
		}
	}
	for _, hint := range []struct{ rule, kind string }{
		{"properties", "object"}, {"required", "object"}, {"items", "array"}, {"minItems", "array"},
		{"minLength", "string"}, {"maxLength", "string"}, {"minimum", "integer"}, {"maximum", "number"},
	} {
		if _, ok := rules[hint.rule]; ok {
			return hint.kind
		}
	}
	return ""
}

func (m maker) number() string {
	return m.one("0", "1", "-1", "2", "3", "-0", "4", "-4", "0.5", "-0.5", "1.0", "1.5e1", "-3.25", "1e2", "18446744073709551617", "-9")
}

func (m maker) object(rules map[string]any, depth int) string {
	properties, _ := rules["properties"].(map[string]any) // without properties the names come from required
	required, _ := rules["required"].([]any)
	var parts []string
	member := func(name string) {
		inner, ok := properties[name]
		if !ok {
			inner = rules["additionalProperties"]
		}
		parts = append(parts, m.written(name)+m.one(":", " : ")+m.value(inner, depth-1))
	}
	for _, name := range required {
		if _, declared := properties[name.(string)]; !declared && m.often(9) {
			member(name.(string))
		}
	}
	for _, name := range []string{"a", "b", "n", "née", "A", "", "a b", "name", "names"} {
		if _, ok := properties[name]; ok && m.often(9) {
			member(name)
		}
	}
	if m.often(2) {
		member(m.name())
	}
	m.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	return "{" + strings.Join(parts, ",") + "}"
}

// written writes a name as JSON, now and then with an escape.
func (m maker) written(name string) string {
	if name != "" && name[0] < 'z' && m.IntN(50) == 0 {
		return fmt.Sprintf(`"\u%04x%s"`, name[0], name[1:])
	}
	return quote(name)
}

// free makes a value that no schema asked for.
func (m maker) free(depth int) string {
	if depth == 0 || m.often(6) {
		return m.one(m.scalar(), m.number())
	}
	return m.one(`[`+m.free(depth-1)+`]`, `{"`+m.name()+`":`+m.free(depth-1)+`}`, `[]`, `{}`)
}

// text writes a value as JSON. What decode returned can always be written.
func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// mutate spoils a third of the values in one place.
func (m maker) mutate(value string) []byte {
	data := []byte(value)
	if len(data) == 0 || !m.often(3) {
		return data
	}
	at := m.IntN(len(data))
	some := []byte(m.one(`"`, `\`, `,`, `]`, `}`, `0`, `-`, `.`, `e`, "\xff", "\n", "\x00", `:`, `{`, ` `, `\u0061`))
	switch m.IntN(4) {
	case 0:
		return slices.Delete(data, at, at+1)
	case 1:
		return slices.Insert(data, at, some...)
	case 2:
		return slices.Concat(data[:at], some, data[at+1:])
	default:
		other := m.IntN(len(data))
		return slices.Concat(data[:max(at, other)], bytes.Clone(data[min(at, other):]))
	}
}
