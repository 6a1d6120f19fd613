package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"polity.run/fault"
)

// Limits of a mapping.
const (
	MappingMax = 200     // changes
	pointerMax = 1 << 10 // bytes of a place
)

// Mapping makes data of one version of a schema into data of the next, by changes that are made in order. It is data and not code: the
// same data always becomes the same.
type Mapping []Change

// Change is one change of a mapping. Exactly one of Rename, Move, Default and Drop is set: a place in the data as a JSON pointer, in
// which * stands for every item of an array or every property of an object. A place that is not there is left alone; only Default looks
// for what is missing.
type Change struct {
	Rename  string          `json:"rename,omitempty"`  // a property, which is then named To
	Move    string          `json:"move,omitempty"`    // a value, to the place To; without *
	Default string          `json:"default,omitempty"` // a property, which is Value where its object has none
	Drop    string          `json:"drop,omitempty"`    // a property
	To      string          `json:"to,omitempty"`
	Value   json.RawMessage `json:"value,omitempty"`
}

// UnmarshalJSON refuses fields that there are not.
func (c *Change) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return fault.Invalid.New("a change: want an object, as in {\"rename\": \"/qty\", \"to\": \"quantity\"}: %w", err)
	}
	known := []string{"rename", "move", "default", "drop", "to", "value"}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if slices.Contains(known, name) {
			continue
		}
		text := fmt.Sprintf("unknown field %q of a change", name)
		if near := fault.Nearest(name, known); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		return fault.Invalid.New("%s", text)
	}
	type plain Change
	return json.Unmarshal(data, (*plain)(c))
}

// Check returns fault.Invalid for a mapping that cannot be made, with all problems.
func (m Mapping) Check() error {
	if len(m) > MappingMax {
		return fault.Invalid.New("mapping: %d changes; at most %d are allowed", len(m), MappingMax)
	}
	var problems []error
	for i, c := range m {
		if err := c.check(); err != nil {
			problems = append(problems, fault.Invalid.New("mapping: change %d: %w", i+1, err))
		}
	}
	return errors.Join(problems...)
}

func (c Change) check() error {
	set := 0
	for _, at := range []string{c.Rename, c.Move, c.Default, c.Drop} {
		if at != "" {
			set++
		}
	}
	if set != 1 {
		return fault.Invalid.New("set exactly one of rename, move, default and drop")
	}
	path, err := parsePointer(c.Rename + c.Move + c.Default + c.Drop)
	if err != nil {
		return err
	}
	needsTo := c.Rename != "" || c.Move != ""
	switch {
	case path[len(path)-1] == "*":
		return fault.Invalid.New("the place ends with *; name a property")
	case needsTo != (c.To != ""):
		return fault.Invalid.New(`rename and move have a "to", the others none`)
	case (c.Default != "") != (c.Value != nil):
		return fault.Invalid.New(`default has a "value", the others none`)
	case c.Rename != "" && strings.Contains(c.To, "/"):
		return fault.Invalid.New("to %q is a place; rename wants a name, move moves", c.To)
	case c.Value != nil:
		return new(scan).read(c.Value)
	case c.Move == "":
		return nil
	}
	to, err := parsePointer(c.To)
	switch {
	case err != nil:
		return err
	case slices.Contains(path, "*") || slices.Contains(to, "*"):
		return fault.Invalid.New("move moves one value; * stands for many")
	case len(to) > len(path) && slices.Equal(to[:len(path)], path):
		return fault.Invalid.New("a value cannot be moved into itself")
	}
	return nil
}

// parsePointer reads a JSON pointer (RFC 6901) of at least one step.
func parsePointer(text string) ([]string, error) {
	if len(text) > pointerMax || !strings.HasPrefix(text, "/") {
		return nil, fault.Invalid.New("place %.80q: want a JSON pointer, as in /customer/name", text)
	}
	path := strings.Split(text[1:], "/")
	if len(path) > DepthMax {
		return nil, fault.Invalid.New("place %.80q: deeper than %d", text, DepthMax)
	}
	for i, step := range path {
		path[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
	}
	return path, nil
}

// Apply makes the changes. It returns fault.Invalid for data that is not JSON or beyond a limit, and for a change that would overwrite
// something. The result's properties are sorted.
func (m Mapping) Apply(data json.RawMessage) (json.RawMessage, error) {
	if len(data) > DataMax {
		return nil, fault.Invalid.New("value: %d bytes; at most %d are allowed", len(data), DataMax)
	}
	if err := new(scan).read(data); err != nil {
		return nil, fault.Invalid.New("value: %w", err)
	}
	v, err := decode(data)
	if err != nil {
		return nil, fault.Invalid.New("value: %w", err)
	}
	for i, c := range m {
		if err := c.apply(v); err != nil {
			return nil, fault.Invalid.New("mapping: change %d: %w", i+1, err)
		}
	}
	return encode(v)
}

// encode writes a value that decode made, with its properties sorted.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fault.Internal.New("value: write: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Canonical writes JSON in one way: without spaces, its properties sorted, its numbers as they were. It returns fault.Invalid for what is
// not JSON or beyond a limit.
func Canonical(raw json.RawMessage) (json.RawMessage, error) { return Mapping{}.Apply(raw) }

func (c Change) apply(v any) error {
	path, err := parsePointer(c.Rename + c.Move + c.Default + c.Drop)
	if err != nil {
		return err
	}
	name := path[len(path)-1]
	return visit(v, path[:len(path)-1], func(in map[string]any) error {
		value, there := in[name]
		switch {
		case c.Default != "":
			if there {
				return nil
			}
			fresh, err := decode(c.Value)
			if err != nil {
				return err
			}
			in[name] = fresh
		case !there:
		case c.Drop != "":
			delete(in, name)
		case c.Rename != "":
			return put(in, name, in, c.To, value)
		default:
			return c.move(v, in, name, value)
		}
		return nil
	})
}

// move moves a value to another place, and makes the objects on the way.
func (c Change) move(root any, in map[string]any, name string, value any) error {
	to, err := parsePointer(c.To)
	if err != nil {
		return err
	}
	object, ok := root.(map[string]any)
	for _, step := range to[:len(to)-1] {
		if !ok {
			break
		}
		if _, there := object[step]; !there {
			object[step] = map[string]any{}
		}
		object, ok = object[step].(map[string]any)
	}
	if !ok {
		return fault.Invalid.New("move to %s: there is something else than an object on the way", c.To)
	}
	return put(in, name, object, to[len(to)-1], value)
}

// put takes a property away from one object and gives it to another.
func put(from map[string]any, name string, to map[string]any, as string, value any) error {
	if _, taken := to[as]; taken {
		return fault.Invalid.New("%q cannot become %q, which is there already", name, as)
	}
	delete(from, name)
	to[as] = value
	return nil
}

// visit calls do for each object at the path.
func visit(v any, path []string, do func(map[string]any) error) error {
	switch v := v.(type) {
	case map[string]any:
		if len(path) == 0 {
			return do(v)
		}
		if path[0] != "*" {
			return visit(v[path[0]], path[1:], do)
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if err := visit(v[name], path[1:], do); err != nil {
				return err
			}
		}
	case []any:
		if len(path) == 0 || path[0] != "*" {
			return nil
		}
		for _, one := range v {
			if err := visit(one, path[1:], do); err != nil {
				return err
			}
		}
	}
	return nil
}
