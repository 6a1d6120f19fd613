// Package schema checks JSON against JSON Schema (draft 2020-12) and derives schemas from Go types.
//
// It exists so that everything that enters (a manifest's input, a model's answer, a tool's result)
// is checked at the door by one rule, with errors that name the place.
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"polity.run/fault"
)

var _ = errors.Is
var _ = kind.Type{}
var _ = message.NewPrinter
var _ = language.English
var _ = bytes.NewReader
var _ = strings.Join

// Schema is a compiled JSON Schema. It is safe for concurrent use. A nil *Schema accepts every JSON value.
type Schema struct {
	s *validator.Schema
}

// Compile reads a schema. Empty or null raw compiles to nil, which accepts every JSON value. It returns
// fault.Invalid for anything that is not a schema, and for a $ref that leaves the document.
func Compile(raw json.RawMessage) (*Schema, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fault.Invalid.New("schema: %w", err)
	}
	c := validator.NewCompiler()
	c.UseLoader(validator.SchemeURLLoader{})
	if err := c.AddResource("schema.json", doc); err != nil {
		return nil, fault.Invalid.New("schema: %w", err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		return nil, fault.Invalid.New("schema: %w", err)
	}
	return &Schema{s}, nil
}

// Check returns nil if data is JSON that the schema accepts, else fault.Invalid naming each place.
func (s *Schema) Check(data json.RawMessage) error {
	if s == nil {
		if !json.Valid(data) {
			return fault.Invalid.New("not JSON")
		}
		return nil
	}
	v, err := validator.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return fault.Invalid.New("not JSON: %w", err)
	}
	if err := s.s.Validate(v); err != nil {
		return fault.Invalid.New("%w", err)
	}
	return nil
}

// For derives the schema of T from its fields and json and jsonschema tags.
func For[T any]() (json.RawMessage, error) {
	s, err := jsonschema.For[T](nil)
	if err != nil {
		return nil, fault.Invalid.New("schema: derive: %w", err)
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("schema: derive: %w", err)
	}
	return raw, nil
}
