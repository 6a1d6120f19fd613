package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"polity.run/fault"
)

// node is a value of a document: an object, a list or a scalar. It does not change once it is read.
type node struct {
	line   int // from 1
	keys   []string
	fields map[string]*node // nil if it is no object
	items  []*node          // nil if it is no list
	raw    json.RawMessage  // of a scalar
	text   string           // of a scalar that is a text, and of a number as it is written
}

// get returns a field of an object, or nil.
func (n *node) get(name string) *node {
	if n == nil {
		return nil
	}
	return n.fields[name]
}

// word returns a field's text, or "".
func (n *node) word(name string) string {
	if f := n.get(name); f != nil {
		return f.text
	}
	return ""
}

// yes says whether a field is true.
func (n *node) yes(name string) bool {
	f := n.get(name)
	return f != nil && string(f.raw) == "true"
}

// list returns the items of a field.
func (n *node) list(name string) []*node {
	if f := n.get(name); f != nil {
		return f.items
	}
	return nil
}

// names returns the texts of a list.
func (n *node) names(name string) []string {
	var out []string
	for _, item := range n.list(name) {
		out = append(out, item.text)
	}
	return out
}

// value returns the node as encoding/json writes it.
func (n *node) value() any {
	switch {
	case n.fields != nil:
		out := make(map[string]any, len(n.keys))
		for _, k := range n.keys {
			out[k] = n.fields[k].value()
		}
		return out
	case n.items != nil:
		out := make([]any, len(n.items))
		for i, item := range n.items {
			out[i] = item.value()
		}
		return out
	default:
		return n.raw
	}
}

// tree makes nodes within the limits.
type tree struct{ nodes int }

// read reads a document, JSON or YAML.
func read(data []byte) (*node, error) {
	if len(data) > DocumentMax {
		return nil, fault.Invalid.New("the document has %d bytes; at most %d are allowed", len(data), DocumentMax)
	}
	t := &tree{}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if text := bytes.TrimSpace(data); len(text) > 0 && text[0] == '{' && json.Valid(data) {
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		return t.json(d, &lines{data: data}, 0)
	}
	doc, err := parseYAML(data)
	if err != nil {
		return nil, err
	}
	return t.yaml(doc, 0)
}

// parseYAML returns the one document of a text. A panic of the parser is a defect of it that the text uncovers.
func parseYAML(data []byte) (doc *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			doc, err = nil, fault.Invalid.New("the document is neither JSON nor YAML: the parser broke on it: %v", p)
		}
	}()
	d := yaml.NewDecoder(bytes.NewReader(data))
	var n, more yaml.Node
	if err := d.Decode(&n); errors.Is(err, io.EOF) || err == nil && len(n.Content) == 0 {
		return nil, fault.Invalid.New("the document is empty")
	} else if err != nil {
		return nil, fault.Invalid.New("the document is neither JSON nor YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fault.Invalid.New("more than one document is in the file; keep one of them")
	}
	return n.Content[0], nil
}

// count takes a value into account.
func (t *tree) count(line, depth int) error {
	t.nodes++
	switch {
	case t.nodes > NodesMax:
		return fault.Invalid.New("line %d: the document has more than %d values, its aliases written out", line, NodesMax)
	case depth > DepthMax:
		return fault.Invalid.New("line %d: the document is more than %d levels deep", line, DepthMax)
	default:
		return nil
	}
}

// set adds a field to an object.
func (n *node) set(line int, key string, value *node) error {
	if n.fields[key] != nil {
		return fault.Invalid.New("line %d: %.100q is set twice", line, key)
	}
	n.fields[key] = value
	n.keys = append(n.keys, key)
	return nil
}

func (t *tree) yaml(y *yaml.Node, depth int) (*node, error) {
	if err := t.count(y.Line, depth); err != nil {
		return nil, err
	}
	switch y.Kind {
	case yaml.AliasNode:
		return t.yaml(y.Alias, depth+1)
	case yaml.SequenceNode:
		n := &node{line: y.Line, items: make([]*node, 0, len(y.Content))}
		for _, c := range y.Content {
			item, err := t.yaml(c, depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
		return n, nil
	case yaml.MappingNode:
		return t.mapping(y, depth)
	default:
		return scalar(y)
	}
}

// mapping reads an object. What it merges (<<) is below what it sets itself.
func (t *tree) mapping(y *yaml.Node, depth int) (*node, error) {
	n := &node{line: y.Line, fields: make(map[string]*node, len(y.Content)/2)}
	var merged []*node
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := y.Content[i]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			return nil, fault.Invalid.New("line %d: a key is not a text", key.Line)
		}
		value, err := t.yaml(y.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		if key.ShortTag() == "!!merge" {
			if value.fields == nil && value.items == nil {
				return nil, fault.Invalid.New("line %d: << merges objects and nothing else", key.Line)
			}
			merged = append(append(merged, value), value.items...)
			continue
		}
		if err := n.set(key.Line, key.Value, value); err != nil {
			return nil, err
		}
	}
	for _, m := range merged {
		for _, key := range m.keys {
			if t.nodes++; n.fields[key] == nil {
				n.fields[key] = m.fields[key]
				n.keys = append(n.keys, key)
			}
		}
	}
	return n, nil
}

// scalar reads a text, a number, true, false or null. Dates are texts.
func scalar(y *yaml.Node) (*node, error) {
	n := &node{line: y.Line, text: y.Value}
	var v any
	switch y.ShortTag() {
	case "!!null":
		n.text = ""
	case "!!bool":
		var b bool
		if err := y.Decode(&b); err != nil {
			return nil, fault.Invalid.New("line %d: %.100q is neither true nor false", y.Line, y.Value)
		}
		v, n.text = b, ""
	case "!!int", "!!float":
		if json.Valid([]byte(y.Value)) {
			v = json.Number(y.Value)
			break
		}
		var f float64
		if i, err := strconv.ParseInt(y.Value, 0, 64); err == nil {
			v = i
		} else if err := y.Decode(&f); err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			return nil, fault.Invalid.New("line %d: the number %.100s cannot be written as JSON", y.Line, y.Value)
		} else {
			v = f
		}
	default:
		v = y.Value
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fault.Invalid.New("line %d: %w", y.Line, err)
	}
	n.raw = raw
	return n, nil
}

// lines tells the line of growing offsets.
type lines struct {
	data    []byte
	at, now int
}

func (l *lines) of(offset int64) int {
	l.now += bytes.Count(l.data[l.at:offset], []byte("\n"))
	l.at = int(offset)
	return l.now + 1
}

// json reads one value of a text that is known to be JSON.
func (t *tree) json(d *json.Decoder, l *lines, depth int) (*node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, fault.Invalid.New("the document is not JSON: %w", err)
	}
	n := &node{line: l.of(d.InputOffset())}
	if err := t.count(n.line, depth); err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Delim:
		return n, t.inner(n, v, d, l, depth)
	case string:
		n.text = v
	case json.Number:
		n.text = v.String()
	}
	n.raw, err = json.Marshal(token)
	if err != nil {
		return nil, fault.Invalid.New("line %d: %w", n.line, err)
	}
	return n, nil
}

// inner reads the members of an object or a list, and its end.
func (t *tree) inner(n *node, open json.Delim, d *json.Decoder, l *lines, depth int) error {
	if open == '{' {
		n.fields = map[string]*node{}
	} else {
		n.items = []*node{}
	}
	for d.More() {
		key := ""
		if open == '{' {
			token, err := d.Token()
			if err != nil {
				return fault.Invalid.New("the document is not JSON: %w", err)
			}
			key = fmt.Sprint(token)
		}
		value, err := t.json(d, l, depth+1)
		if err != nil {
			return err
		}
		if open == '[' {
			n.items = append(n.items, value)
		} else if err := n.set(value.line, key, value); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fault.Invalid.New("the document is not JSON: %w", err)
	}
	return nil
}
