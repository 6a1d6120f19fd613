package openapi

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"polity.run/fault"
	"polity.run/schema"
)

// schemas writes the schemas of a document as one JSON Schema: what is referred to stands in its $defs, once, so that what contains
// itself has an end. Properties that go the other way only are left out.
type schemas struct {
	d        *document
	away     string            // readOnly in a request, writeOnly in an answer
	names    map[string]string // references -> names in $defs
	defs     map[string]any
	left     int // parts that may still be looked at
	problems []error
	warnings []string
}

func newSchemas(d *document, away string) *schemas {
	return &schemas{d: d, away: away, names: map[string]string{}, defs: map[string]any{}, left: partsMax}
}

func (s *schemas) add(n *node, format string, args ...any) {
	s.problems = append(s.problems, fault.Invalid.New("line %d: %w", n.line, fmt.Errorf(format, args...)))
}

// spend takes a part into account and says whether there may be more.
func (s *schemas) spend(n *node) bool {
	if s.left--; s.left == 0 {
		s.add(n, "the schema has more than %d parts, what it refers to included", partsMax)
	}
	return s.left > 0
}

// text writes a schema with the definitions that it needs, or returns what is wrong with it.
func (s *schemas) text(root map[string]any) (json.RawMessage, []error) {
	if len(s.problems) > 0 {
		return nil, s.problems
	}
	if len(s.defs) > 0 {
		root["$defs"] = s.defs
	}
	raw, err := json.Marshal(root)
	if err == nil && len(raw) > schemaMax {
		err = fault.Invalid.New("a schema has %d bytes; at most %d are allowed", len(raw), schemaMax)
	}
	if err == nil {
		_, err = schema.Compile(raw)
	}
	if err != nil {
		return nil, []error{err}
	}
	return raw, nil
}

// How the keywords of JSON Schema hold what they hold. What is not among them does not restrict a value, and is left out.
var keywords = func() map[string]string {
	out := map[string]string{}
	for form, words := range map[string]string{
		"schema":  "items additionalProperties not if then else contains propertyNames unevaluatedProperties unevaluatedItems contentSchema",
		"list":    "allOf anyOf oneOf prefixItems",
		"named":   "properties patternProperties dependentSchemas",
		"value":   "type enum const default examples title description format pattern minimum maximum multipleOf minLength maxLength minItems maxItems uniqueItems minProperties maxProperties minContains maxContains dependentRequired required exclusiveMinimum exclusiveMaximum deprecated contentEncoding contentMediaType",
		"refused": "$id $anchor $dynamicRef $dynamicAnchor $recursiveRef",
	} {
		for _, w := range strings.Fields(words) {
			out[w] = form
		}
	}
	return out
}()

// of writes one schema. The names in hidden are of properties that go the other way.
func (s *schemas) of(n *node, hidden []string) any {
	if !s.spend(n) {
		return true
	}
	switch {
	case n.fields == nil && (string(n.raw) == "true" || string(n.raw) == "false"):
		return n.raw
	case n.fields == nil:
		s.add(n, "a schema is an object")
		return true
	}
	out := map[string]any{}
	if ref := n.get("$ref"); ref != nil {
		out["$ref"] = s.refer(ref)
		if s.d.old() {
			return out
		}
	}
	hidden = slices.Concat(hidden, s.hides(n, map[*node]bool{}))
	for _, key := range n.keys {
		s.keyword(out, n, key, hidden)
	}
	s.translate(out, n)
	return out
}

func (s *schemas) keyword(out map[string]any, n *node, key string, hidden []string) {
	v := n.fields[key]
	switch keywords[key] {
	case "schema":
		out[key] = s.of(v, nil)
	case "list":
		var inherited []string
		if key == "allOf" {
			inherited = hidden
		}
		all := []any{}
		for _, one := range v.items {
			all = append(all, s.of(one, inherited))
		}
		out[key] = all
	case "named":
		out[key] = s.named(key, v, hidden)
	case "value":
		s.restriction(out, key, v, hidden)
	case "refused":
		s.add(v, "%s is not supported in a schema; refer by #/components/schemas/NAME", key)
	}
}

// named writes schemas that have names.
func (s *schemas) named(key string, v *node, hidden []string) map[string]any {
	named := map[string]any{}
	for _, name := range v.keys {
		switch {
		case key == "properties" && slices.Contains(hidden, name):
		case key == "patternProperties" && !s.pattern(v.fields[name], name):
		default:
			named[name] = s.of(v.fields[name], nil)
		}
	}
	return named
}

// restriction writes a keyword that holds no schemas.
func (s *schemas) restriction(out map[string]any, key string, v *node, hidden []string) {
	switch {
	case key == "required" && v.items != nil:
		names := []string{}
		for _, item := range v.items {
			if !slices.Contains(hidden, item.text) {
				names = append(names, item.text)
			}
		}
		out[key] = names
	case key == "pattern" && !s.pattern(v, v.text):
	case key == "required": // a boolean, as a parameter has: not of a schema
	case strings.HasPrefix(key, "exclusive") && v.text == "": // a boolean: see translate
	default:
		if s.spend(v) {
			out[key] = v.value()
		}
	}
}

// pattern says whether a regular expression can be checked. Those that cannot are not checked, with a warning.
func (s *schemas) pattern(n *node, text string) bool {
	if _, err := regexp.Compile(text); err != nil {
		s.warnings = append(s.warnings, fmt.Sprintf("line %d: the pattern %.100q is not checked: this program does not know its syntax", n.line, text))
		return false
	}
	return true
}

// translate writes in today's words what OpenAPI 3.0 says in its own.
func (s *schemas) translate(out map[string]any, n *node) {
	for exclusive, limit := range map[string]string{"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"} {
		if n.yes(exclusive) && n.get(limit) != nil {
			out[exclusive] = out[limit]
			delete(out, limit)
		}
	}
	if e := n.get("example"); e != nil && out["examples"] == nil && s.spend(e) {
		out["examples"] = []any{e.value()}
	}
	if !n.yes("nullable") {
		return
	}
	if enum, ok := out["enum"].([]any); ok {
		out["enum"] = append(enum, nil)
	}
	if t := n.word("type"); t != "" {
		out["type"] = []string{t, "null"}
		return
	}
	if _, typed := out["type"]; typed || len(out) == 0 {
		return
	}
	inner := map[string]any{}
	for key, v := range out {
		inner[key] = v
	}
	clear(out)
	out["anyOf"] = []any{inner, map[string]any{"type": "null"}}
}

// refer returns the reference to a definition, which it writes if that is new.
func (s *schemas) refer(ref *node) string {
	if name, known := s.names[ref.text]; known {
		return "#/$defs/" + name
	}
	n, err := s.d.at(ref.text)
	if err != nil {
		s.add(ref, "%w", err)
		return "#"
	}
	base := unnamed.ReplaceAllString(ref.text[strings.LastIndexByte(ref.text, '/')+1:], "_")
	name := base
	for i := 2; s.defs[name] != nil; i++ {
		name = fmt.Sprintf("%s_%d", base, i)
	}
	s.names[ref.text], s.defs[name] = name, true
	s.defs[name] = s.of(n, nil)
	return "#/$defs/" + name
}

var unnamed = regexp.MustCompile(`[^A-Za-z0-9_.-]`)

// hides returns the properties of an object that go the other way, those of the schemas it consists of included.
func (s *schemas) hides(n *node, seen map[*node]bool) []string {
	if seen[n] || !s.spend(n) {
		return nil
	}
	seen[n] = true
	var out []string
	if ref := n.get("$ref"); ref != nil {
		if to, err := s.d.at(ref.text); err == nil {
			out = s.hides(to, seen)
		}
	}
	if p := n.get("properties"); p != nil {
		for _, name := range p.keys {
			to, err := s.d.resolve(p.fields[name])
			if p.fields[name].yes(s.away) || err == nil && to.yes(s.away) {
				out = append(out, name)
			}
		}
	}
	for _, one := range n.list("allOf") {
		out = append(out, s.hides(one, seen)...)
	}
	return out
}

// object are the fields of a schema that says nothing else than these.
type object struct {
	names    []string
	fields   map[string]*node
	required []string
}

// flat returns the fields of an object, and false for a schema whose fields cannot stand beside others.
func (s *schemas) flat(n *node) (*object, bool) {
	o := &object{fields: map[string]*node{}}
	if !s.flatInto(o, n, map[*node]bool{}) {
		return nil, false
	}
	hidden := s.hides(n, map[*node]bool{})
	gone := func(name string) bool { return slices.Contains(hidden, name) }
	o.names, o.required = slices.DeleteFunc(o.names, gone), slices.DeleteFunc(o.required, gone)
	for _, name := range o.required {
		if o.fields[name] == nil {
			return nil, false
		}
	}
	return o, len(o.names) > 0
}

func (s *schemas) flatInto(o *object, n *node, seen map[*node]bool) bool {
	if seen[n] || !s.spend(n) || n.fields == nil {
		return false
	}
	seen[n] = true
	if ref := n.get("$ref"); ref != nil {
		to, err := s.d.at(ref.text)
		return err == nil && (s.d.old() || len(n.keys) == 1) && s.flatInto(o, to, seen)
	}
	for _, key := range n.keys {
		v := n.fields[key]
		switch key {
		case "type":
			if v.text != "object" {
				return false
			}
		case "properties":
			for _, name := range v.keys {
				if o.fields[name] != nil {
					return false
				}
				o.fields[name] = v.fields[name]
				o.names = append(o.names, name)
			}
		case "required":
			o.required = append(o.required, n.names(key)...)
		case "allOf":
			for _, one := range v.items {
				if !s.flatInto(o, one, seen) {
					return false
				}
			}
		case "additionalProperties":
			if string(v.raw) != "false" {
				return false
			}
		case "title", "description", "default", "examples", "deprecated":
		default:
			if keywords[key] != "" || n.yes("nullable") {
				return false
			}
		}
	}
	return true
}
