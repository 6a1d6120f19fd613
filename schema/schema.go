// Package schema checks JSON against JSON Schema (draft 2020-12) and derives schemas from Go types.
//
// It exists so that everything that enters (a request's input, a model's answer, a tool's result)
// is checked at the door by one rule, with errors that name the place. A schema is compiled once
// and then checks any number of values:
//
//	Compile(schema) -> *Schema -> Check(value), Check(value) ...
//
// Schemas and values may come from strangers: both are limited in size, depth and in the work that
// they cause, and a schema never loads a file or an address.
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"polity.run/fault"
)

// The limits. What exceeds one is refused as fault.Invalid.
const (
	SchemaMax = 1 << 20  // bytes of a schema
	DataMax   = 16 << 20 // bytes of a value
	DepthMax  = 64       // arrays and objects inside each other, in a schema and in a value
)

// location is the address that a schema has for the validator. Nothing can be loaded from it.
const location = "schema:///root.json"

// Schema is a compiled JSON Schema. It is safe for concurrent use and does not change. A nil
// *Schema accepts every JSON value.
type Schema struct {
	root  *validator.Schema
	known map[string][]string // property names by the location of the schema that declares them
	cost  []float64           // evaluations that a value at each depth can cause, from depth 0
	fast  *fast               // nil if the schema asks for what only the validator knows
}

// Compile reads a schema. Empty, null, true and {} compile to nil, which accepts every JSON value.
// It returns fault.Invalid for what is not a schema or exceeds a limit, and for a $ref that leaves
// the document: only the JSON Schema specification's own schemas are built in.
// The same text gives the same Schema as long as it is kept: see keptMax.
func Compile(raw json.RawMessage) (*Schema, error) {
	raw = bytes.TrimSpace(raw)
	switch string(raw) {
	case "", "null", "true", "{}":
		return nil, nil
	}
	if len(raw) > SchemaMax {
		return nil, fault.Invalid.New("schema: %d bytes; at most %d are allowed", len(raw), SchemaMax)
	}
	if s := remembered.find(raw); s != nil {
		return s, nil
	}
	s, err := compile(raw)
	if err != nil {
		return nil, err
	}
	remembered.keep(raw, s)
	return s, nil
}

func compile(raw json.RawMessage) (*Schema, error) {
	if err := new(scan).read(raw); err != nil {
		return nil, fault.Invalid.New("schema: %w", err)
	}
	doc, err := decode(raw)
	if err != nil {
		return nil, fault.Invalid.New("schema: %w", err)
	}
	c := validator.NewCompiler()
	c.UseLoader(noLoader{})
	if err := c.AddResource(location, doc); err != nil {
		return nil, fault.Invalid.New("schema: %w", err)
	}
	root, err := c.Compile(location)
	if err != nil {
		return nil, fault.Invalid.New("schema: %s", explain(err))
	}
	g := newGraph(root)
	cost, err := g.cost()
	if err != nil {
		return nil, err
	}
	return &Schema{root: root, known: g.properties(), cost: cost, fast: newFast(root, cost)}, nil
}

// Check returns nil if data is one JSON value that the schema accepts, else fault.Invalid with one
// line for each place that is wrong, in the order of the places:
//
//	at /claims/0/line: got string, want integer
//
// The whole value is the place "/". Check keeps no part of data.
func (s *Schema) Check(data json.RawMessage) error {
	if len(data) > DataMax {
		return fault.Invalid.New("value: %d bytes; at most %d are allowed", len(data), DataMax)
	}
	shortcut := anything
	if s != nil {
		shortcut = s.fast
	}
	if shortcut.surely(data) {
		return nil
	}
	return s.validate(data)
}

// validate is what Check does with a value of allowed size if there is no shortcut: it gives the
// whole answer and words it.
func (s *Schema) validate(data []byte) error {
	var sc scan
	if err := sc.read(data); err != nil {
		return fault.Invalid.New("value: %w", err)
	}
	if s == nil {
		if !json.Valid(data) {
			return fault.Invalid.New("value: %w", notJSON(data))
		}
		return nil
	}
	if err := sc.afford(s.cost); err != nil {
		return err
	}
	v, err := decode(data)
	if err != nil {
		return fault.Invalid.New("value: %w", err)
	}
	if err := s.root.Validate(v); err != nil {
		var places *validator.ValidationError
		if !errors.As(err, &places) {
			return fault.Invalid.New("value: check: %w", err)
		}
		return fault.Invalid.New("%s", s.report(places))
	}
	return nil
}

// noLoader refuses every document but the built-in ones.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fault.Invalid.New("%q is another document; a schema may only refer to itself ($defs)", url)
}

// explain words a compile error: by places in the schema where it is no schema, and without the
// validator's address of the document.
func explain(err error) string {
	var meta *validator.SchemaValidationError
	var places *validator.ValidationError
	if errors.As(err, &meta) && errors.As(meta.Err, &places) {
		return (&Schema{}).report(places)
	}
	text := strings.ReplaceAll(err.Error(), location+"#", "#")
	return strings.ReplaceAll(text, location, "#")
}
