package pattern

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"polity.run/fault"
)

// requestID is what a reference calls the request.
const requestID = "input"

// reference is "$id.path": a value of a step's output, or of the request.
type reference struct {
	id   string
	path []string
}

// String writes the reference as it stands in a plan.
func (r reference) String() string {
	return "$" + strings.Join(append([]string{r.id}, r.path...), ".")
}

var referenceText = regexp.MustCompile(`^\$[a-z0-9][a-z0-9_-]*(\.[A-Za-z0-9_-]+)*$`)

// parseText reads a string of a step's input: a reference, or else the text that it stands for.
// It returns Invalid for a dollar sign that begins neither.
func parseText(s string) (ref *reference, text string, err error) {
	switch {
	case !strings.HasPrefix(s, "$"):
		return nil, s, nil
	case strings.HasPrefix(s, "$$"):
		return nil, s[1:], nil
	case !referenceText.MatchString(s):
		return nil, "", fault.Invalid.New("%q is not a reference such as \"$step.field\"; for text that begins with a dollar sign write %q",
			clip(s, 60), clip("$"+s, 60))
	}
	parts := strings.Split(s[1:], ".")
	return &reference{parts[0], parts[1:]}, "", nil
}

// replaceTexts returns v with each string replaced by what fn returns for it. It goes through an
// object's fields in the order of their names, so that the same input meets the same error.
func replaceTexts(v any, fn func(string) (any, error)) (any, error) {
	var err error
	switch v := v.(type) {
	case string:
		return fn(v)
	case []any:
		for i := range v {
			if v[i], err = replaceTexts(v[i], fn); err != nil {
				return nil, err
			}
		}
		return v, nil
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if v[name], err = replaceTexts(v[name], fn); err != nil {
				return nil, err
			}
		}
		return v, nil
	default:
		return v, nil
	}
}

// decode reads one JSON value and keeps its numbers as they are written.
func decode(data json.RawMessage) (any, error) {
	if !json.Valid(data) {
		return nil, fault.Invalid.New("not JSON")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fault.Invalid.New("not JSON: %w", err)
	}
	return v, nil
}

// located is a reference where it first stands in an input.
type located struct {
	reference
	at string // the path there, as in .why[2]
}

// misread is a string that begins with a dollar sign and is no reference.
type misread struct {
	path string
	err  error
}

// references lists the references of a step's input in the order of its fields' names, each once, and
// what cannot be read.
func references(input json.RawMessage) (refs []located, bad []misread) {
	if len(input) == 0 {
		return nil, nil
	}
	v, err := decode(input)
	if err != nil {
		return nil, []misread{{"", err}}
	}
	seen := map[string]bool{}
	eachText(v, "", func(path, s string) {
		ref, _, err := parseText(s)
		if err != nil {
			bad = append(bad, misread{path, err})
		}
		if ref != nil && !seen[s] {
			seen[s] = true
			refs = append(refs, located{*ref, path})
		}
	})
	return refs, bad
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_$-]+$`)

// eachText calls fn for each string in v with the path there, in the order that replaceTexts has. In a
// path a field is .name, or ["a name"] if it holds anything else than letters, digits, _, $ and -.
func eachText(v any, path string, fn func(path, s string)) {
	switch v := v.(type) {
	case string:
		fn(path, v)
	case []any:
		for i := range v {
			eachText(v[i], path+"["+strconv.Itoa(i)+"]", fn)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			next := path + "." + name
			if !plainName.MatchString(name) {
				next = path + "[" + strconv.Quote(name) + "]"
			}
			eachText(v[name], next, fn)
		}
	}
}

// substitute returns the input with its references replaced by the values that look finds. It
// returns look's error, and Invalid if what results is larger than max bytes.
func substitute(input json.RawMessage, max int, look func(reference) (json.RawMessage, error)) (json.RawMessage, error) {
	v, err := decode(input)
	if err != nil {
		return nil, err
	}
	size := len(input)
	v, err = replaceTexts(v, func(s string) (any, error) {
		ref, text, err := parseText(s)
		if err != nil || ref == nil {
			return text, err
		}
		value, err := look(*ref)
		if err != nil {
			return nil, err
		}
		if size += len(value); size > max {
			return nil, fault.Invalid.New("%s: the input grows beyond %d bytes; reference less", *ref, max)
		}
		return value, nil
	})
	if err != nil {
		return nil, err
	}
	return marshal(v)
}

// follow returns the value that the reference's path leads to within value.
func (r reference) follow(value json.RawMessage) (json.RawMessage, error) {
	at := "$" + r.id
	for _, name := range r.path {
		next, known, ok := member(value, name)
		if !ok {
			return nil, fault.Invalid.New("%s: %s has no field %q%s", r, at, name, known)
		}
		value, at = next, at+"."+name
	}
	return value, nil
}

// member returns the named field of an object or the numbered element of an array; known describes
// what there is instead.
func member(value json.RawMessage, name string) (next json.RawMessage, known string, ok bool) {
	var object map[string]json.RawMessage
	if json.Unmarshal(value, &object) == nil && object != nil {
		next, ok = object[name]
		return next, among(slices.Sorted(maps.Keys(object)), name), ok
	}
	var list []json.RawMessage
	if json.Unmarshal(value, &list) == nil && list != nil {
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(list) {
			return list[i], "", true
		}
		return nil, "; it is a list of " + strconv.Itoa(len(list)), false
	}
	return nil, "; it is neither an object nor a list", false
}

// shape is what a JSON Schema says about the fields of a value.
type shape struct {
	Properties map[string]json.RawMessage `json:"properties"`
	Additional json.RawMessage            `json:"additionalProperties"`
	Pattern    json.RawMessage            `json:"patternProperties"`
	Items      json.RawMessage            `json:"items"`
	Ref        string                     `json:"$ref"`
	All        json.RawMessage            `json:"allOf"`
	Any        json.RawMessage            `json:"anyOf"`
	One        json.RawMessage            `json:"oneOf"`
}

// readShape returns what the schema says, and false if fields cannot be told from it.
func readShape(schema json.RawMessage) (shape, bool) {
	var s shape
	if len(schema) == 0 || json.Unmarshal(schema, &s) != nil {
		return s, false
	}
	return s, s.Ref == "" && s.All == nil && s.Any == nil && s.One == nil && s.Pattern == nil
}

// open says whether the schema invites fields beside those that it declares.
func (s shape) open() bool {
	extra := string(bytes.TrimSpace(s.Additional))
	return s.Properties == nil || extra != "" && extra != "false"
}

// closed says whether the schema refuses fields beside those that it declares.
func (s shape) closed() bool { return string(bytes.TrimSpace(s.Additional)) == "false" }

// declared checks the path against what the schema declares. It returns nil where the schema says
// nothing.
func (r reference) declared(schema json.RawMessage) error {
	at := "$" + r.id
	for _, name := range r.path {
		s, ok := readShape(schema)
		if !ok {
			return nil
		}
		next, known := s.Properties[name]
		if _, err := strconv.Atoi(name); !known && err == nil && s.Items != nil {
			next, known = s.Items, true
		}
		if !known && s.open() {
			return nil
		}
		if !known {
			return fault.Invalid.New("%s: the output schema of %s declares no field %q%s", r, at, name,
				among(slices.Sorted(maps.Keys(s.Properties)), name))
		}
		schema, at = next, at+"."+name
	}
	return nil
}
